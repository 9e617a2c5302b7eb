"""Venue reports of every type: what each does to orders, cash, PnL and breaks, over HTTP and the command line."""

import json
from decimal import Decimal as D
from typing import Any, get_args

import httpx
import pytest

from api.daybook import Daybook
from api.intake.venue_reports.parsing import SCHEMAS, VENUE_REPORT
from domain.account import BreakAged, BreakChanged, BreakOpened, BreakResolved
from domain.ledger import Report, scan
from tests.api.client import BTC, fill, listing
from tests.api.command_line import Run, parsed
from tests.derived import derived

pytestmark = pytest.mark.slow

AT = "2026-01-02T03:04:05Z"
CONTRADICTION = "one id has one content"
OF_A_STATEMENT = {BreakOpened, BreakChanged, BreakAged, BreakResolved}  # what a statement leads to


def sent(desk: httpx.Client, *reports: dict[str, Any]) -> list[dict[str, Any]]:
    answer = desk.post("/v1/venue-reports", json={"reports": list(reports)})
    assert answer.status_code in (200, 207, 422), answer.text
    return answer.json()["answers"]


def statuses(desk: httpx.Client, *reports: dict[str, Any]) -> list[str]:
    return [each["status"] for each in sent(desk, *reports)]


def of(type_: str, **other: Any) -> dict[str, Any]:
    return {"type": type_, "account_id": "main", "transact_time": AT} | other


def usdt(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USDT"}


def shown(desk: httpx.Client, path: str, **params: Any) -> Any:
    return desk.get(path, params=params | {"min_seq": desk.get("/ready").json()["seq"]}).json()


def balance(desk: httpx.Client, asset: str) -> tuple[D, D]:
    rows = shown(desk, "/v1/balances", account_id="main", asset=asset)["items"]
    return sum((D(row["total"]) for row in rows), D(0)), sum((D(row["available"]) for row in rows), D(0))


def examples(desk: httpx.Client) -> dict[str, dict[str, Any]]:
    content = desk.get("/openapi.json").json()["paths"]["/v1/venue-reports"]["post"]["requestBody"]["content"]
    return {type_: each["value"] for type_, each in content["application/json"]["examples"].items()}


def test_every_report_of_the_ledger_has_a_type_whose_example_is_recorded(desk: httpx.Client):
    bodies = examples(desk)
    assert len(bodies) == len(SCHEMAS)
    reports = {type_: report for type_, body in bodies.items() for report in body["reports"]}
    for wanted in ("recorded", "known"):
        found = dict(zip(reports, sent(desk, *reports.values()), strict=True))
        assert found.pop("commission")["status"] == "known", "the example of its fill has the same fee"
        assert [(type_, each) for type_, each in found.items() if each["status"] != wanted or each["rule"]] == []
    breaks = shown(desk, "/v1/breaks", account_id="main")["items"]
    assert {row["kind"] for row in breaks} == {"UNREADABLE", "RECONCILIATION"}  # the evidence, the statement's
    reached = {type(VENUE_REPORT.validate_python(report).report()) for report in reports.values()}
    assert reached | OF_A_STATEMENT == set(get_args(Report))


def test_a_correction_and_a_bust_amend_fills_in_any_order_of_arrival(desk: httpx.Client):
    correct = of("corrected", cl_ord_id="A-1", exec_id="E-4", exec_ref_id="E-2", last_qty="1", last_px="79900",
                 commission=usdt("7"))  # fmt: skip
    bust = of("busted", cl_ord_id="A-1", exec_id="E-5", exec_ref_id="E-3", reason="")
    assert statuses(desk, correct, bust) == ["broken", "broken"]
    assert statuses(desk, fill("E-2"), fill("E-3", trade_seq=2)) == ["recorded", "recorded"]
    assert statuses(desk, correct, bust) == ["known", "known"]
    (row,) = shown(desk, "/v1/positions", account_id="main")["items"]
    assert (row["quantity"], row["cost"], row["fees"]) == ("1", "79900", {"USDT": "7"})
    assert shown(desk, "/v1/breaks")["items"] == []


def test_an_order_never_sent_is_adopted_with_its_terms_and_counts_against_the_limits(desk: httpx.Client):
    terms = {"instrument_id": BTC, "side": "BUY", "order_qty": "3", "price": "97", "strategy_id": "trend"}
    assert statuses(desk, of("accepted", cl_ord_id="T-1", order_id="V-1", **terms)) == ["recorded"]
    row = shown(desk, "/v1/orders/main/T-1")
    assert (row["status"], row["order_qty"], row["price"], row["strategy_id"]) == ("NEW", "3", "97", "trend")
    desk.post("/v1/limits", json={"account_id": "main", "measure": "MAX_POSITION", "limit": "4"})
    order = {"account_id": "main", "cl_ord_id": "B-1", "instrument_id": BTC, "side": "BUY", "order_qty": "2",
             "price": "97", "strategy_id": "trend"}  # fmt: skip
    assert desk.post("/v1/orders", json=order).status_code == 409
    replaced = of("replaced", cl_ord_id="T-2", orig_cl_ord_id="T-1", order_qty="2")
    assert statuses(desk, replaced, fill("E-1", cl_ord_id="T-2", side="BUY")) == ["recorded", "recorded"]
    row = shown(desk, "/v1/orders/main/T-1")
    assert (row["order_qty"], row["cum_qty"], row["terms_cl_ord_id"]) == ("2", "1", "T-2")
    assert shown(desk, "/v1/orders/main/T-2") == row
    assert sent(desk, of("accepted", cl_ord_id="T-3", side="BUY"))[0]["status"] == "unreadable"
    unlisted = of("accepted", cl_ord_id="T-4", **terms | {"instrument_id": "X.BINANCE"})
    assert sent(desk, unlisted)[0]["errors"][0]["field"] == "instrument_id"


def test_cash_moves_balances_capital_and_equity_as_each_type_says(desk: httpx.Client):
    reports = [
        of("deposit", transfer_id="D-1", amount=usdt("10000")),
        of("withdrawal", transfer_id="W-1", amount=usdt("100"), fee=usdt("1")),
        of("interest", entry_id="I-1", amount=usdt("-0.5")),
        of("income", entry_id="I-2", amount=usdt("2")),
        of("fee", fee_id="F-1", amount=usdt("3")),
        of("borrowed", entry_id="L-1", amount=usdt("500")),
        of("repaid", entry_id="L-2", amount=usdt("200")),
        of("staked", entry_id="K-1", amount=usdt("40")),
        of("unstaked", entry_id="K-2", amount=usdt("10")),
        of("converted", entry_id="C-1", sold=usdt("9"), bought={"amount": "0.01", "currency": "BNB"},
           fee={"amount": "0.001", "currency": "BNB"}),
        of("deposit", transfer_id="D-2", amount={"amount": "2", "currency": "BTC"}, instrument_id=BTC, cost="150"),
        of("staking_reward", entry_id="S-1", amount={"amount": "1", "currency": "BTC"}, instrument_id=BTC, cost="80"),
    ]  # fmt: skip
    assert statuses(desk, *reports) == ["recorded"] * len(reports)
    assert statuses(desk, *reversed(reports)) == ["known"] * len(reports)
    total = D(10000) - 101 - D("0.5") + 2 - 3 + 300 - 9
    assert balance(desk, "USDT") == (total, total - 30)
    assert balance(desk, "BNB") == (D("0.009"), D("0.009"))
    assert balance(desk, "BTC") == (D(3), D(3))
    row, *cash = shown(desk, "/v1/pnl", account_id="main", mark=f"{BTC}=80")["items"]
    assert [(each["kind"], each["settle"], each["income"], each["fees_settle"]) for each in cash] == [
        ("CASH", "BNB", "0", "0.001"), ("CASH", "USDT", "1.5", "4"),
    ]  # fmt: skip
    assert (row["income"], row["net"]) == ("80", "90")  # 80 of the reward, and 240 for what cost 230
    journal = shown(desk, "/v1/trial-balance", account_id="main")["items"]
    sums = {(each["account"], each["asset"]): D(each["debit"]) - D(each["credit"]) for each in journal}
    assert sums["Liabilities:Loans", "USDT"] == -300
    assert sums["Assets:Unassigned:Staked", "USDT"] == 30
    assert all(sum(each for (_, of_), each in sums.items() if of_ == asset) == 0 for asset in ("USDT", "BTC", "BNB"))
    for changed in (
        of("deposit", transfer_id="D-1", amount=usdt("9000")),
        of("interest", entry_id="I-1", amount=usdt("0.5")),
        of("income", entry_id="I-1", amount=usdt("-0.5")),
        of("staking_reward", entry_id="S-1", amount={"amount": "1", "currency": "BTC"}, instrument_id=BTC, cost="81"),
    ):
        (answer,) = sent(desk, changed)
        assert answer["status"] == "broken", changed
    assert balance(desk, "USDT")[0] == total
    row = shown(desk, "/v1/breaks", account_id="main", kind="ACCOUNT")["items"][-1]
    both = [row[name]["leg"]["amount"]["amount"] for name in ("report", "on_record")]
    assert (row["rule"], both) == (CONTRADICTION, ["9000", "10000"])


IMPOSSIBLE = (
    (of("deposit", transfer_id="D", amount=usdt("-1")), "amount.amount"),
    (of("interest", entry_id="I", amount=usdt("0")), "amount.amount"),
    (of("deposit", transfer_id="D", amount={"amount": "1", "currency": "ETH"}, instrument_id=BTC, cost="1"),
     "amount.currency"),
    (of("deposit", transfer_id="D", amount=usdt("1"), instrument_id=BTC), ""),
    (of("converted", entry_id="C", sold=usdt("1"), bought=usdt("1")), "bought.currency"),
    (of("fee", fee_id="F", amount={"amount": 1.5, "currency": "USDT"}), "amount.amount"),
    (of("statement", statement_id="S", positions=[{"instrument_id": BTC, "quantity": "1"}]),
     "positions.0.instrument_id"),
)  # fmt: skip


def test_what_cannot_be_is_evidence_and_books_nothing(desk: httpx.Client):
    answers = sent(desk, *(report for report, _ in IMPOSSIBLE))
    assert {each["status"] for each in answers} == {"unreadable"}
    for answer, (report, field) in zip(answers, IMPOSSIBLE, strict=True):
        assert field in answer["errors"][0]["field"], report
    assert [row["kind"] for row in shown(desk, "/v1/breaks")["items"]] == ["UNREADABLE"] * len(IMPOSSIBLE)


def test_differences_from_a_venue_statement_are_breaks_until_a_statement_agrees(desk: httpx.Client):
    sent(desk, of("deposit", transfer_id="D-1", amount=usdt("10")))

    def stated(amount: str, hour: int, **more: Any) -> dict[str, Any]:
        at = f"2026-01-02T{hour:02}:00:00Z"
        balances = [{"currency": "USDT", "amount": amount}]
        return of("statement", statement_id=f"S-{hour}", balances=balances, **more) | {"transact_time": at}

    (answer,) = sent(desk, stated("12", 5))
    (found,) = answer["breaks"]
    assert (answer["status"], found["kind"], found["ours"]["amount"], found["theirs"]["amount"]) == (
        "recorded", "AMOUNT_DIFFERS", "10", "12"
    )  # fmt: skip
    (row,) = shown(desk, "/v1/breaks", kind="RECONCILIATION")["items"]
    assert (row["about"], row["status"], row["source"]) == (found["break_id"], "OPEN", "S-5")
    (again,) = sent(desk, stated("12", 5))
    assert (again["status"], len(again["breaks"])) == ("known", 1)
    (early,) = sent(desk, stated("7", 2))  # nothing was there then
    assert (early["status"], early["breaks"][0]["ours"]["amount"]) == ("recorded", "0")
    (row,) = shown(desk, "/v1/breaks", kind="RECONCILIATION")["items"]
    assert (row["status"], row["source"]) == ("OPEN", "S-5")
    sent(desk, of("entry", entry_id="X", kind="ADJUSTMENT", amount=usdt("2")))
    (resolved,) = sent(desk, stated("12", 5))
    assert (resolved["status"], resolved["breaks"]) == ("known", [])
    (row,) = shown(desk, "/v1/breaks", kind="RECONCILIATION")["items"]
    assert row["status"] == "RESOLVED"
    (other,) = sent(desk, stated("12", 6, open_orders=[], fills=[]))
    assert other["errors"][0]["field"] == "fills_from"


def test_a_break_is_corrected_to_what_the_venue_states(desk: httpx.Client, daybook: Daybook):
    sent(desk, of("deposit", transfer_id="D-1", amount=usdt("10")), of("accepted", cl_ord_id="A-1", order_id="V-1"))
    fields = fill("E-1", cl_ord_id="", order_id="V-9", transact_time="2026-01-02T03:30:00Z")
    line = {name: value for name, value in fields.items() if name not in ("type", "account_id")}
    at = {"transact_time": "2026-01-02T05:00:00Z", "fills_from": "2026-01-02T00:00:00Z"}
    balances = [{"currency": "USDT", "amount": "-85"}, {"currency": "BTC", "amount": "1"}]
    statement = of("statement", statement_id="S", venue="BINANCE", balances=balances, fills=[line]) | at
    (answer,) = sent(desk, statement)
    assert [each["about"] for each in answer["breaks"]] == ["FillLine", "BalanceLine"], answer
    for each, recorded in zip(answer["breaks"], ["OrderFilled", "BookEntry"], strict=True):
        body = {"account_id": "main", "break_id": each["break_id"]}
        done = desk.post("/v1/breaks/correct", json=body, headers={"Idempotency-Key": each["break_id"]})
        assert (done.status_code, done.json()["recorded"]) == (201, [recorded]), done.text
        assert desk.post("/v1/breaks/correct", json=body).json()["rule"] == "an open break"
        again = desk.post("/v1/breaks/correct", json=body, headers={"Idempotency-Key": each["break_id"]})
        assert (again.status_code, again.json()) == (201, done.json())
    assert [row["status"] for row in shown(desk, "/v1/breaks", kind="RECONCILIATION")["items"]] == ["RESOLVED"] * 2
    assert (balance(desk, "USDT")[0], balance(desk, "BTC")[0]) == (-85, 1)
    assert sent(desk, statement)[0]["breaks"] == []
    assert derived([logged.recorded for logged in scan(daybook.log)]).faults == ()


def test_the_command_line_takes_reports_and_cash(book: Run, tmp_path):
    lines = tmp_path / "reports.jsonl"
    lines.write_text(
        "\n".join(json.dumps(each) for each in (of("accepted", cl_ord_id="Z-1"), fill("E-9"), {"type": 1}))
    )
    done = book("venue-report", str(lines), "--json")
    answers = json.loads(done.stdout)["answers"]
    assert (done.returncode, [each["status"] for each in answers]) == (1, ["recorded", "recorded", "unreadable"])
    deposit = ("cash", "deposit", "100", "USDT", "--id", "D-1", "--json")
    assert parsed(book(*deposit))["recorded"] == 1
    assert parsed(book(*deposit))["known"] == 1
    assert parsed(book("cash", "interest", "-0.5", "USDT", "--id", "I-1", "--at", AT, "--json"))["recorded"] == 1
    assert parsed(book("cash", "convert", "9", "USDT", "0.01", "BNB", "--id", "C-1", "--json"))["recorded"] == 1
    assert book("cash", "deposit", "1", "USDT", "--id", "D-1").returncode == 1
    balances = parsed(book("report", "balances", "--format", "json"))["items"]
    assert next(row["total"] for row in balances if row["asset"] == "BNB") == "0.01"
    missing = book("venue-report", str(tmp_path / "none.json"))
    assert (missing.returncode, "none.json" in missing.stderr) == (1, True)


def test_a_reason_makes_a_transfer_income_of_its_worth(desk: httpx.Client):
    assert desk.post("/v1/instruments", json=listing(instrument_id="ADAUSDT.BINANCE", base="ADA")).status_code == 201
    reward = {"account_id": "main", "instrument_id": "ADAUSDT.BINANCE", "transfer_id": "S-1", "side": "BUY",
              "quantity": "10", "cost": "4", "reason": "STAKING", "transact_time": AT}  # fmt: skip
    assert desk.post("/v1/transfers", json=reward).status_code == 201
    assert desk.post("/v1/transfers", json=reward).status_code == 200
    assert desk.post("/v1/transfers", json=reward | {"reason": "DEPOSIT"}).status_code == 409
    (row,) = shown(desk, "/v1/pnl", mark="ADAUSDT.BINANCE=0.4")["items"]
    assert (row["income"], row["net"]) == ("4", "4")

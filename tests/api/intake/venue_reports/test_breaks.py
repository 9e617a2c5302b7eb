"""Breaks over HTTP and at the command line: an id in every answer that opens one, dismissed or corrected by hand."""

import json
from pathlib import Path
from typing import Any

import httpx

from api.daybook import Daybook
from domain.ledger import scan
from tests.api.client import BTC, fill, order
from tests.api.command_line import Run
from tests.derived import derived

AT = "2026-01-02T04:00:00Z"
LATE = {"transact_time": "2026-01-02T05:00:00Z"}
PERP = "BTC-PERP.BINANCE"


def payment(amount: str) -> dict[str, Any]:
    return {"type": "funding", "account_id": "main", "instrument_id": BTC, "funding_id": "F-1",
            "amount": {"amount": amount, "currency": "USDT"}, "transact_time": AT}  # fmt: skip


def deposit(amount: str) -> dict[str, Any]:
    return {"type": "deposit", "account_id": "main", "transfer_id": "D-1",
            "amount": {"amount": amount, "currency": "USDT"}, "transact_time": AT}  # fmt: skip


def sent(client: httpx.Client, *reports: dict[str, Any]) -> list[dict[str, Any]]:
    body = client.post("/v1/venue-reports", json={"reports": reports}).json()
    answers: list[dict[str, Any]] = body["answers"]
    return answers


def shown(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    seq = client.get("/ready").json()["seq"]
    rows: list[dict[str, Any]] = client.get("/v1/breaks", params={"min_seq": seq} | query).json()["items"]
    return rows


def broken(client: httpx.Client) -> dict[str, str]:
    """One break of each kind that a report opens; their ids by kind."""
    reports = (
        fill("E-1"), fill("E-2", last_qty="3"), payment("1"), payment("2"), deposit("1"), deposit("2"),
        {"type": "filled", "account_id": "main"},
    )  # fmt: skip
    client.post("/v1/orders", json=order())
    answers, again = sent(client, *reports), sent(client, *reports)
    ids = [each["break_id"] for each in answers]
    assert [each["break_id"] for each in again] == ids, "sent again it is the same break"
    assert [break_id is None for break_id in ids] == [True, False, True, False, True, False, False]
    rows = {row["break_id"]: row["kind"] for row in shown(client)}
    assert rows.keys() == {each for each in ids if each is not None}
    return {kind: break_id for break_id, kind in rows.items()}


def test_every_break_of_a_report_has_an_id_to_follow_and_to_dismiss_it_by(desk: httpx.Client, daybook: Daybook):
    found = broken(desk)
    assert found.keys() == {"ORDER", "POSITION", "ACCOUNT", "UNREADABLE"}
    for kind, break_id in found.items():
        (row,) = shown(desk, break_id=break_id)
        assert (row["kind"], row["status"], row["reason"]) == (kind, "OPEN", None)
    for kind in ("ORDER", "POSITION", "ACCOUNT"):
        body = {"account_id": "main", "break_id": found[kind], "reason": "the venue was asked"}
        assert desk.post("/v1/breaks/dismiss", json=body).status_code == 201
        assert desk.post("/v1/breaks/dismiss", json=body).json()["rule"] == "an open break"
        assert desk.post("/v1/breaks/dismiss", json=body | {"account_id": "other"}).status_code == 409
        assert [row["reason"] for row in shown(desk, break_id=found[kind])] == ["the venue was asked"]
    assert {row["kind"] for row in shown(desk, status="OPEN")} == {"UNREADABLE"}
    for break_id in ("order:main:A-1@1", "order:main:A-1@99", "order:main:none@1", "a@b", "x"):
        body = {"account_id": "main", "break_id": break_id, "reason": "none"}
        assert desk.post("/v1/breaks/dismiss", json=body).json()["rule"] == "an open break", break_id
    assert derived([logged.recorded for logged in scan(daybook.log)]).faults == ()


def test_a_break_is_corrected_by_reports_in_the_name_of_who_sends_them(desk: httpx.Client, daybook: Daybook):
    break_id = broken(desk)["ORDER"]
    bust = {"type": "busted", "account_id": "main", "cl_ord_id": "A-1", "exec_id": "X", "exec_ref_id": "E-2"} | LATE
    body = {"account_id": "main", "break_id": break_id}
    assert desk.post("/v1/breaks/correct", json=body).json()["code"] == "BREAK_CORRECTION", "no report is derived"
    for wrong in ([{"type": "busted"}], [bust | {"account_id": "other"}], [fill("E-9", instrument_id="NO.BINANCE")]):
        refused = desk.post("/v1/breaks/correct", json=body | {"reports": wrong})
        assert refused.status_code == 422, refused.text
        assert [row["status"] for row in shown(desk, break_id=break_id)] == ["OPEN"]
    done = desk.post("/v1/breaks/correct", json=body | {"reports": [bust]}, headers={"Idempotency-Key": "K"})
    assert (done.status_code, done.json()["recorded"]) == (201, ["OrderFillBusted"]), done.text
    again = desk.post("/v1/breaks/correct", json=body | {"reports": [bust]}, headers={"Idempotency-Key": "K"})
    assert again.json() == done.json()
    (event,) = desk.get("/v1/events", params={"topic": "OrderFillBusted"}).json()["items"]
    assert event["actor"] == "desk"
    assert not shown(desk, break_id=break_id), "a fill that is void breaks no rule: the break is withdrawn"
    assert derived([logged.recorded for logged in scan(daybook.log)]).faults == ()


def test_a_break_is_dismissed_and_corrected_at_the_command_line(desk: httpx.Client, run: Run, tmp_path: Path):
    found = broken(desk)
    done = run("break", "dismiss", found["ACCOUNT"], "--reason", "known", "--json")
    assert (done.returncode, json.loads(done.stdout)["break_id"]) == (0, found["ACCOUNT"]), done.stderr
    lines = tmp_path / "reports.jsonl"
    lines.write_text(json.dumps(payment("1") | {"funding_id": "F-2"}))
    done = run("break", "correct", found["POSITION"], "--report", str(lines), "--json")
    assert (done.returncode, json.loads(done.stdout)["recorded"]) == (0, ["SettleFunding"]), done.stderr
    rows = {row["kind"]: (row["status"], row["reason"]) for row in shown(desk)}
    assert rows["ACCOUNT"] == ("RESOLVED", "known")
    assert rows["POSITION"] == ("RESOLVED", "corrected by hand")


def test_a_difference_that_no_report_is_derived_for_is_corrected_by_one_that_is_given(desk: httpx.Client):
    sent(desk, {"type": "accepted", "account_id": "main", "cl_ord_id": "A-1", "order_id": "V-1",
                "instrument_id": BTC, "side": "BUY", "order_qty": "2", "price": "100", "transact_time": AT},
         {"type": "canceled", "account_id": "main", "cl_ord_id": "A-1", "transact_time": AT})  # fmt: skip
    working = {"order_id": "V-1", "cl_ord_id": "A-1", "instrument_id": BTC, "side": "BUY", "order_qty": "2"}
    (answer,) = sent(desk, {"type": "statement", "account_id": "main", "statement_id": "S-1",
                            "open_orders": [working | {"price": "100"}]} | LATE)  # fmt: skip
    (found,) = answer["breaks"]
    body = {"account_id": "main", "break_id": found["break_id"]}
    assert desk.post("/v1/breaks/correct", json=body).json()["code"] == "BREAK_CORRECTION"
    taken = fill("E-1", last_qty="2")
    assert desk.post("/v1/breaks/correct", json=body | {"reports": [taken]}).json()["recorded"] == ["OrderFilled"]
    (row,) = shown(desk, break_id=found["break_id"])
    assert (row["status"], row["reason"]) == ("RESOLVED", "corrected by hand")

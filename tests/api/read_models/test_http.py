"""Read models over HTTP: what was written can be read, paged, valued, recosted, and had as of any moment."""

import csv
import io
import time
from typing import Any

import httpx
import psycopg
import pytest

from api.daybook import Daybook
from tests.api.client import BTC, bought_and_sold, fill, order, trade

LISTS = ("orders", "executions", "positions", "lots", "matches", "pnl", "exposure", "limits", "breaks",
         "balances", "journal", "trial-balance")  # fmt: skip


def test_what_was_written_can_be_read_at_once(desk: httpx.Client):
    for number in range(20):
        answer = desk.post("/v1/orders", json=order(f"A-{number}"))
        shown = desk.get("/v1/orders", params={"min_seq": answer.headers["Daybook-Seq"], "limit": 1})
        assert shown.json()["items"][0]["cl_ord_id"] == f"A-{number}"
        assert shown.json()["seq"] >= int(answer.headers["Daybook-Seq"])
        assert shown.headers["Daybook-Seq"] == str(shown.json()["seq"])


def test_a_seq_that_does_not_come_is_waited_for_only_so_long(desk: httpx.Client, daybook: Daybook):
    assert desk.get("/v1/positions", params={"min_seq": 1}).status_code == 200  # so there is such a read model by now
    object.__setattr__(daybook.settings, "wait_seconds_max", 0.3)
    with psycopg.connect(daybook.url) as connection:  # the read model of positions cannot move while this lock is held
        locked = connection.execute("SELECT 1 FROM read.progress WHERE projection = 'positions' FOR UPDATE")
        assert locked.rowcount == 1
        seq = int(desk.post("/v1/orders", json=order()).headers["Daybook-Seq"])
        began = time.monotonic()
        answer = desk.get("/v1/positions", params={"min_seq": seq})
        assert 0.3 <= time.monotonic() - began < 15
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == "urn:daybook:problem:behind"
        assert (answer.json()["min_seq"], answer.json()["projections"]) == (seq, ["positions"])
    object.__setattr__(daybook.settings, "wait_seconds_max", 30)
    assert desk.get("/v1/positions", params={"min_seq": seq}).status_code == 200
    beyond = desk.get("/v1/positions", params={"min_seq": 10_000})
    assert (beyond.status_code, beyond.json()["errors"][0]["field"]) == (422, "min_seq")


def test_pnl_is_realized_by_the_accounts_cost_basis_and_valued_at_the_given_mark(desk: httpx.Client):
    seq = bought_and_sold(desk)
    stated = desk.get("/v1/pnl", params={"min_seq": seq, "mark": f"{BTC}=250"}).json()
    (row,) = stated["items"]
    assert (row["quantity"], row["cost"], row["realized"], row["unrealized"]) == ("1", "200", "200", "50")
    assert (row["fees_settle"], row["net"], row["mark"], row["mark_source"]) == ("0.3", "249.7", "250", "given")
    assert [(total["settle"], total["net"]) for total in stated["totals"]] == [("USDT", "249.7")]


def test_without_a_mark_nothing_is_guessed_and_a_recorded_mark_is_used(desk: httpx.Client):
    seq = bought_and_sold(desk)
    stated = desk.get("/v1/pnl", params={"min_seq": seq}).json()
    assert (stated["items"][0]["mark"], stated["items"][0]["unrealized"], stated["items"][0]["net"]) == (
        None,
        None,
        None,
    )
    assert stated["totals"][0]["missing_marks"] == [BTC]
    desk.post("/v1/marks", json={"marks": [{"instrument_id": BTC, "price": "260"}]})
    assert desk.get("/v1/pnl").json()["items"][0]["unrealized"] == "60"
    assert desk.get("/v1/exposure").json()["totals"][0]["gross"] == "260"


def test_another_cost_basis_can_be_requested(desk: httpx.Client):
    seq = bought_and_sold(desk)
    realized = {
        method: desk.get("/v1/pnl", params={"min_seq": seq, "method": method, "mark": f"{BTC}=250"}).json()["items"][0]
        for method in ("AVERAGE", "FIFO", "LIFO", "HIFO")
    }
    assert {method: row["realized"] for method, row in realized.items()} == {
        "AVERAGE": "150", "FIFO": "200", "LIFO": "100", "HIFO": "100",
    }  # fmt: skip
    assert {row["net"] for row in realized.values()} == {"249.7"}
    assert {row["cost_basis"] for row in realized.values()} == {"AVERAGE", "FIFO", "LIFO", "HIFO"}
    lifo = desk.get("/v1/lots", params={"method": "LIFO"}).json()["items"]
    assert [(lot["lot_id"], lot["quantity"]) for lot in lifo] == [("E-1", "1")]
    own = desk.get("/v1/lots").json()["items"]
    assert [(lot["lot_id"], lot["cost"]) for lot in own] == [("E-2", "200")]
    matches = desk.get("/v1/matches", params={"method": "LIFO"}).json()["items"]
    assert [(match["exec_id"], match["lot_id"], match["gain"]) for match in matches] == [("E-3", "E-2", "100")]


def test_a_fee_policy_moves_fees_into_cost_and_leaves_the_net_alone(desk: httpx.Client):
    seq = bought_and_sold(desk)
    requested = {"min_seq": seq, "fee_policy": "CAPITALISED", "mark": f"{BTC}=250"}
    (row,) = desk.get("/v1/pnl", params=requested).json()["items"]
    assert (row["fees_settle"], row["realized"], row["cost"], row["net"]) == ("0", "199.8", "200.1", "249.7")


def test_a_past_moment_is_answered_as_it_was_recorded(desk: httpx.Client):
    submitted = desk.post("/v1/orders", json=order()).headers["Daybook-Seq"]
    first = trade(desk, fill("E-1"))
    then = desk.get("/v1/pnl", params={"min_seq": first, "mark": f"{BTC}=250"}).json()
    seen_at = desk.get(f"/v1/events/{first}").json()["recorded_at"]
    one = desk.get("/v1/orders/main/A-1", params={"min_seq": first}).json()
    early = desk.get("/v1/orders/main/A-1", params={"as_of": submitted}).json()
    assert early["cum_qty"] == "0" != one["cum_qty"]
    desk.post("/v1/orders", json=order("A-2", side="SELL"))
    second = trade(desk, fill("E-2", cl_ord_id="A-2", side="SELL", last_px="50", trade_seq=2))
    for moment in ({"as_of": first}, {"as_of": seen_at}, {"known_at": first}, {"as_of_seq": first}):
        past = desk.get("/v1/pnl", params={**moment, "mark": f"{BTC}=250"}).json()
        assert (past["items"], past["totals"]) == (then["items"], then["totals"])
        assert (past["seq"], past["recorded_at"]) == (int(first), seen_at)
        assert [row["cl_ord_id"] for row in desk.get("/v1/orders", params=moment).json()["items"]] == ["A-1"]
        assert len(desk.get("/v1/executions", params=moment).json()["items"]) == 1
        stood = desk.get("/v1/orders/main/A-1", params=moment)
        assert (stood.json()["status"], stood.headers["Daybook-Seq"]) == (one["status"], first)
        assert desk.get("/v1/orders/main/A-2", params=moment).status_code == 404
    for path in LISTS:
        live = desk.get(f"/v1/{path}", params={"min_seq": second}).json()
        replayed = desk.get(f"/v1/{path}", params={"as_of": live["seq"]}).json()
        assert (path, replayed["items"]) == (path, live["items"])
    assert desk.get("/v1/positions", params={"as_of": 0}).json()["items"] == []
    assert desk.get("/v1/positions", params={"as_of": 10_000}).status_code == 422
    assert desk.get("/v1/positions", params={"as_of_seq": 1, "as_of": seen_at}).status_code == 422


@pytest.mark.parametrize("path", ["accounts", "accounts/main", "instruments", f"instruments/{BTC}"])
def test_what_is_known_of_now_alone_refuses_another_moment(desk: httpx.Client, path: str):
    assert desk.get(f"/v1/{path}").status_code == 200
    refused = desk.get(f"/v1/{path}", params={"as_of": 1})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "as_of")


def test_a_past_moment_is_valued_at_the_marks_on_record_by_then(desk: httpx.Client):
    def seen(price: str, at: str) -> None:
        desk.post("/v1/marks", json={"marks": [{"instrument_id": BTC, "price": price, "mark_at": at}]})

    seen("110", "2026-01-01T00:00:00Z")
    seq = trade(desk, fill("E-1", cl_ord_id="O-1"))
    time.sleep(0.01)
    seen("500", "2026-01-01T00:00:01Z")  # seen before the fill was recorded, known after it
    later = trade(desk, fill("E-2", cl_ord_id="O-2", trade_seq=2))
    recorded_at = desk.get(f"/v1/events/{seq}").json()["recorded_at"]
    for path in ("pnl", "exposure"):
        for moment, mark in (
            ({"min_seq": later}, "500"), ({"as_of": later}, "500"), ({"as_of": seq}, "110"),
            ({"as_of": recorded_at}, "110"), ({"as_of": seq, "mark": f"{BTC}=90"}, "90"),
        ):  # fmt: skip
            (row,) = desk.get(f"/v1/{path}", params=moment).json()["items"]
            assert (path, moment, row["mark"]) == (path, moment, mark)
            assert (row["mark_at"] is None) == ("mark" in moment), "a price that is given is of no time"


def test_what_was_true_is_shown_as_it_was_known(desk: httpx.Client):
    """A fill of the past is reported late: what had happened by then depends on when it is known."""
    day = "2026-01-02T{}:00:00Z"
    first = trade(desk, fill("E-1", cl_ord_id="O-1", transact_time=day.format("10")))
    late = trade(desk, fill("E-2", cl_ord_id="O-2", last_px="200", trade_seq=2, transact_time=day.format("09")))
    trade(desk, fill("E-3", cl_ord_id="O-3", trade_seq=3, transact_time=day.format("11")))
    quantities = {
        known_at: {
            path: [row["quantity"] for row in desk.get(f"/v1/{path}", params=requested).json()["items"]]
            for path in ("positions", "pnl", "exposure", "lots")
            for requested in [{"as_of": day.format("10"), "known_at": known_at}]
        }
        for known_at in (first, late, "now")
    }
    assert quantities[first] == {"positions": ["1"], "pnl": ["1"], "exposure": ["1"], "lots": ["1"]}
    assert quantities[late] == {"positions": ["2"], "pnl": ["2"], "exposure": ["2"], "lots": ["1", "1"]}
    assert quantities["now"] == quantities[late]
    stated = desk.get("/v1/executions", params={"as_of": day.format("10"), "known_at": "now"}).json()
    assert [row["exec_id"] for row in stated["items"]] == ["E-2", "E-1"]
    assert (stated["occurred_by"], stated["recorded_at"]) == ("2026-01-02T10:00:00Z", None)
    costed = desk.get("/v1/pnl", params={"as_of": day.format("10"), "known_at": "now", "method": "LIFO"}).json()
    assert costed["items"][0]["cost"] == "300"


def test_reports_only_as_recorded_refuse_another_view(desk: httpx.Client):
    both = {"as_of": "2026-01-02T10:00:00Z", "known_at": "now"}
    for path in ("orders", "limits", "breaks"):
        answer = desk.get(f"/v1/{path}", params=both)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "known_at")
    for requested in ({"as_of": 1, "known_at": "now"}, {"as_of": "now", "known_at": 1}, {"as_of": "x", "known_at": 1}):
        answer = desk.get("/v1/positions", params=requested)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "as_of")


def test_pages_follow_each_other_without_gap_or_overlap(desk: httpx.Client):
    desk.post("/v1/accounts", json={"account_id": "b", "base_currency": "USDT", "cost_basis": "FIFO"})
    seq = trade(
        desk,
        *(fill(f"E-{n}", cl_ord_id=f"O-{n}", trade_seq=n, account_id="main" if n % 2 else "b") for n in range(1, 12)),
        *(fill(f"X-{n}", cl_ord_id=f"X-{n}", trade_seq=50 + n, side="SELL", last_qty="0.7") for n in range(5)),
    )
    bad = [fill(f"B-{n}", last_qty=n + 0.5) for n in range(5)]
    seq = desk.post("/v1/venue-reports", json={"reports": bad}).headers["Daybook-Seq"] or seq
    for path in ("orders", "executions", "positions", "lots", "matches", "breaks", "lots?method=LIFO"):
        requested = {"min_seq": seq} | ({"method": "LIFO"} if "?" in path else {})
        url = f"/v1/{path.partition('?')[0]}"
        whole = desk.get(url, params=requested | {"limit": 1000}).json()
        assert len(whole["items"]) > 1, path
        assert whole["next"] is None
        paged, cursor = [], None
        for _ in range(100):
            page = desk.get(url, params=requested | {"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            paged += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        assert (path, paged) == (path, whole["items"])


def test_rows_are_filtered(desk: httpx.Client):
    seq = trade(desk, fill("E-1", cl_ord_id="O-1", strategy_id="trend"), fill("E-2", cl_ord_id="O-2"))
    requested = {"min_seq": seq, "strategy_id": "trend"}
    for path in ("orders", "executions", "positions", "lots", "pnl", "exposure"):
        rows = desk.get(f"/v1/{path}", params=requested).json()["items"]
        assert (path, {row["strategy_id"] for row in rows}) == (path, {"trend"})
    assert [r["cl_ord_id"] for r in desk.get("/v1/executions", params={"cl_ord_id": "O-2"}).json()["items"]] == ["O-2"]
    assert desk.get("/v1/orders", params={"status": "FILLED"}).json()["items"] == []
    assert len(desk.get("/v1/orders", params={"status": ["FILLED", "PARTIALLY_FILLED"]}).json()["items"]) == 2
    assert desk.get("/v1/positions", params={"account_id": "unknown"}).json()["items"] == []


def test_totals_are_by_any_group(desk: httpx.Client):
    seq = trade(desk, fill("E-1", cl_ord_id="O-1", strategy_id="trend"), fill("E-2", cl_ord_id="O-2"))
    requested = {"min_seq": seq, "by": ["strategy_id", "venue"], "mark": f"{BTC}=120"}
    totals = desk.get("/v1/exposure", params=requested).json()["totals"]
    assert [(row["strategy_id"], row["venue"], row["gross"], row["account_id"]) for row in totals] == [
        ("main", "BINANCE", "120", None),
        ("trend", "BINANCE", "120", None),
    ]


def test_pnl_has_a_row_of_what_cash_earned_and_totals_count_it(desk: httpx.Client):
    at = {"account_id": "main", "transact_time": "2026-01-02T10:00:00Z"}
    paid = {"type": "interest", "entry_id": "I-1", "amount": {"amount": "3", "currency": "EUR"}, **at}
    charged = {"type": "fee", "fee_id": "F-1", "amount": {"amount": "2", "currency": "USDT"}, **at}
    seq = trade(desk, fill("E-1"), paid, charged)
    requested: dict[str, Any] = {"min_seq": seq, "mark": f"{BTC}=120"}
    whole = desk.get("/v1/pnl", params=requested).json()
    assert [(row["kind"], row["settle"], row["income"], row["fees_settle"], row["net"]) for row in whole["items"]] == [
        ("SPOT", "USDT", "0", "0.1", "19.9"), ("CASH", "EUR", "3", "0", "3"), ("CASH", "USDT", "0", "2", "-2"),
    ]  # fmt: skip
    assert [(each["settle"], each["income"], each["net"]) for each in whole["totals"]] == [
        ("EUR", "3", "3"), ("USDT", "0", "17.9"),
    ]  # fmt: skip
    by_strategy = desk.get("/v1/pnl", params=requested | {"by": "strategy_id"}).json()["totals"]
    assert [(each["strategy_id"], each["settle"], each["net"]) for each in by_strategy] == [
        ("", "EUR", "3"), ("", "USDT", "-2"), ("main", "USDT", "19.9"),
    ]  # fmt: skip
    (total,) = desk.get("/v1/pnl", params=requested | {"strategy_id": "main"}).json()["totals"]
    assert total["net"] == "19.9"
    report = desk.get("/v1/reports/pnl", params=requested).json()
    assert [row["net"] for row in report["items"]] == [row["net"] for row in whole["items"]]
    before = {"as_of": "2026-01-02T02:00:00Z", "known_at": seq, "mark": f"{BTC}=120"}
    assert desk.get("/v1/pnl", params=before).json()["items"] == []


def test_limits_show_what_is_used_of_them(desk: httpx.Client):
    desk.post("/v1/limits", json={"account_id": "main", "measure": "MAX_POSITION", "limit": "4"})
    answer = desk.post("/v1/orders", json=order(order_qty="3"))
    (row,) = desk.get("/v1/limits", params={"min_seq": answer.headers["Daybook-Seq"]}).json()["items"]
    assert (row["limit"], row["used"], row["utilisation"], row["held_buy"]) == ("4", "3", "0.75", "3")


def test_every_list_comes_as_csv_with_the_same_numbers(desk: httpx.Client):
    seq = bought_and_sold(desk)
    for path in LISTS:
        rows = desk.get(f"/v1/{path}", params={"min_seq": seq}).json()["items"]
        answer = desk.get(f"/v1/{path}", headers={"Accept": "text/csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.text == desk.get(f"/v1/{path}", params={"format": "csv"}).text
        stated = list(csv.DictReader(io.StringIO(answer.text)))
        assert (path, len(stated)) == (path, len(rows))
        for line, row in zip(stated, rows, strict=True):
            assert line.keys() == row.keys()
            assert {k: v for k, v in row.items() if isinstance(v, str)} == {
                k: line[k] for k, v in row.items() if isinstance(v, str)
            }
    page = desk.get("/v1/executions", params={"format": "csv", "limit": 1})
    assert page.headers["Daybook-Next"]


def test_a_bad_parameter_is_named_by_field(desk: httpx.Client):
    for query, field in [
        ({"min_seq": "x"}, "min_seq"), ({"min_seq": -1}, "min_seq"), ({"min_seq": 2**63}, "min_seq"),
        ({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"cursor": "zzz"}, "cursor"),
        ({"cursor": "WyJ4Il0"}, "cursor"), ({"cursor": "e30"}, "cursor"), ({"account_id": "a;b"}, "account_id"),
        ({"instrument_id": "BTC"}, "instrument_id"), ({"as_of": "2026"}, "as_of"), ({"as_of_seq": "1.5"}, "as_of_seq"),
        ({"format": "xml"}, "format"), ({"acount_id": "main"}, "acount_id"),
    ]:  # fmt: skip
        answer = desk.get("/v1/executions", params=query)
        found = (query, answer.status_code, answer.json()["errors"][0]["field"])
        assert found == (query, 422, field)
    for mark in ("BTC=5", f"{BTC}=x", f"{BTC}=-1", f"{BTC}=NaN", BTC, "=5"):
        answer = desk.get("/v1/pnl", params={"mark": mark})
        assert (mark, answer.status_code, answer.json()["errors"][0]["field"]) == (mark, 422, "mark")
    assert desk.get("/v1/orders", params={"status": "closed"}).status_code == 422
    assert desk.get("/v1/pnl", params={"method": "fifo"}).status_code == 422

"""Requests that are declared as forms: done once, known again, refused with other terms, missing what they name."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.main import get_command

from api import cli
from api.intake.forms.catalog import OPERATIONS
from tests.api.client import BTC, fill, listing, order
from tests.api.command_line import Run, parsed

pytestmark = pytest.mark.slow

FUTURE = "BTC-1JAN26.SIM"
OPTION = {"kind": "OPTION", "settle": "BTC", "strike": "90000", "put_or_call": "CALL"}
MOVE = {"account_id": "main", "instrument_id": BTC, "to_strategy_id": "hedge", "transfer_id": "M-1", "quantity": "0.5"}
SETTLE = {"account_id": "main", "instrument_id": FUTURE, "settlement_id": "S-1", "underlying_px": "110"}
CASH = {"account_id": "main", "transfer_id": "W-1", "amount": {"amount": "10", "currency": "EUR"}}
LOT = {"lot_id": "old", "quantity": "1", "cost": "90", "opened_at": "2024-01-01T00:00:00Z"}
OTHER_LOT = LOT | {"lot_id": "other", "quantity": "2"}
ASSIGN = {"account_id": "main", "instrument_id": BTC}
TRANSFER = {
    "account_id": "main", "instrument_id": BTC, "transfer_id": "T-1", "quantity": "1", "cost": "90",
    "transact_time": "2025-06-01T00:00:00Z", "reason": "DEPOSIT", "lots": [LOT],
}  # fmt: skip
PARENT = {"account_id": "main", "cl_ord_id": "P-1", "instrument_id": BTC, "side": "BUY", "order_qty": "2"}

SENT: list[tuple[str, dict[str, Any], int, str]] = [  # path, body, status, and what the answer has in it
    ("orders/main/A-1/replace", {"requested_as": "A-1b", "price": "101"}, 201, "PENDING_REPLACE"),
    ("orders/main/A-1/replace", {"requested_as": "A-1b", "price": "101"}, 200, "PENDING_REPLACE"),
    ("orders/main/A-1/replace", {"requested_as": "A-1b", "price": "102"}, 409, "one cl_ord_id names one request"),
    ("orders/main/A-1b/replace", {"requested_as": "A-1c", "order_qty": "3"}, 201, '"orig_cl_ord_id":"A-1b"'),
    ("orders/main/A-1/replace", {"requested_as": "A-1d", "order_qty": None}, 422, "leave it out to keep it"),
    ("orders/main/A-1/replace", {"price": "102"}, 422, "requested_as"),
    ("orders/main/none/replace", {"requested_as": "A-1d", "price": "102"}, 404, "order none of account main"),
    ("parents", PARENT, 201, '"status":"NEW"'),
    ("parents", PARENT, 200, '"status":"NEW"'),
    ("parents", PARENT | {"order_qty": "3"}, 409, "one cl_ord_id names one parent order"),
    ("parents", PARENT | {"cl_ord_id": "P-2", "instrument_id": "NOPE.SIM"}, 409, "list it first"),
    ("orders", order("A-2", parent="P-1", order_qty="1.5"), 201, '"parent":"P-1"'),
    ("orders", order("A-3", parent="P-1", order_qty="1"), 409, "children do not exceed their parent"),
    ("parents/main/P-1/close", {}, 201, '"working_qty":"1.5"'),
    ("parents/main/P-1/close", {"reason": "again"}, 200, '"is_closed":true'),
    ("parents/main/none/close", {}, 404, "parent order none"),
    (f"instruments/{BTC}/amend", {"tick_size": "0.1", "effective_at": "2199-01-01T00:00:00Z"}, 201, '"0.1"'),
    (f"instruments/{BTC}/amend", {"tick_size": "0.1", "effective_at": "2199-01-01T00:00:00Z"}, 200, '"0.1"'),
    (f"instruments/{BTC}/amend", {"lot_size": "1", "effective_at": "2198-01-01T00:00:00Z"}, 409, "after the last one"),
    (f"instruments/{BTC}/amend", {}, 422, "one of contract_size"),
    ("instruments/NOPE.SIM/amend", {"tick_size": "0.1"}, 404, "instrument NOPE.SIM"),
    ("instruments/NOPE.SIM/delist", {}, 404, "instrument NOPE.SIM"),
    ("instruments", listing(instrument_id="C.SIM", expiry="2026-03-01T00:00:00Z", **OPTION), 201, '"strike":"90000"'),
    ("instruments", listing(instrument_id="P.SIM", kind="OPTION"), 409, "an option has strike"),
    ("transfers", TRANSFER, 201, '"lot_id":"old"'),
    ("transfers", TRANSFER, 200, '"reason":"DEPOSIT"'),
    ("transfers", TRANSFER | {"reason": "AIRDROP"}, 409, "one transfer_id names one transfer"),
    ("transfers", TRANSFER | {"transfer_id": "T-2", "lots": [LOT]}, 422, "a new lot"),
    ("transfers", TRANSFER | {"transfer_id": "T-2", "lots": [OTHER_LOT]}, 422, "which its lots sum to"),
    ("transfers", TRANSFER | {"account_id": "none"}, 422, "open it first"),
    ("positions/move", MOVE, 201, '"lots":[{"lot_id":"old@M-1","quantity":"0.5","cost":"45"'),
    ("positions/move", MOVE, 200, '"quantity_left":"1.5"'),
    ("positions/move", MOVE | {"quantity": "0.4"}, 409, "one transfer_id names one transfer"),
    ("positions/move", MOVE | {"transfer_id": "M-2", "to_account_id": "none"}, 409, "open it first"),
    ("positions/move", MOVE | {"transfer_id": "M-2", "instrument_id": "NOPE.SIM"}, 404, "a position"),
    ("positions/settle", SETTLE, 201, '"realized":"10"'),
    ("positions/settle", SETTLE, 200, '"realized":"10"'),
    ("positions/settle", SETTLE | {"underlying_px": "111"}, 409, "one settlement_id names one settlement"),
    ("positions/settle", SETTLE | {"settlement_id": "S-2"}, 409, "an open position to settle"),
    ("positions/settle", SETTLE | {"instrument_id": BTC}, 409, "only what expires is settled"),
    ("lots/assign", ASSIGN | {"exec_id": "E-1", "lot_ids": ["old"]}, 409, "SPECIFIC"),
    ("lots/assign", ASSIGN | {"exec_id": "no", "lot_ids": []}, 404, "transfer no"),
    ("cash-transfers", CASH, 409, "a cash account is not overdrawn"),
    ("cash-transfers", CASH | {"amount": {"amount": "0", "currency": "EUR"}}, 422, "above zero"),
    ("cash-transfers", CASH | {"indicator": "CREDIT"}, 201, "PENDING"),
    ("cash-transfers", CASH | {"indicator": "CREDIT"}, 200, "PENDING"),
    ("cash-transfers/main/W-1/settle", {}, 201, "SETTLED"),
    ("cash-transfers/main/W-1/settle", {}, 200, "SETTLED"),
    ("cash-transfers/main/W-1/return", {"reason": "recalled"}, 201, "RETURNED"),
    ("cash-transfers/main/W-2/settle", {}, 404, "transfer W-2 of account main"),
    ("accounts/main/close", {"reason": "x"}, 409, "all balances at zero"),
    ("accounts/none/close", {"reason": "x"}, 404, "account none"),
    ("trading-day", {"account_id": "main", "starts_at_hour": 24}, 422, "an hour from 0 to 23"),
    ("trading-day", {"account_id": "main", "starts_at_hour": 8}, 201, "8"),
    ("trading-day", {"account_id": "main", "starts_at_hour": 8}, 200, "8"),
    ("conversions", {"account_id": "main", "instrument_id": FUTURE}, 409, "spot or a perpetual"),
    ("conversions", {"account_id": "main", "instrument_id": BTC}, 201, '"base":"BTC"'),
    ("risk/assess", {"account_id": "none"}, 409, "open it first"),
    ("subjects/none/forget", {}, 404, "subject none"),
]  # fmt: skip


def test_a_form_is_done_once_and_refused_with_a_reason(desk: httpx.Client):
    future = listing(instrument_id=FUTURE, kind="LINEAR", expiry="2026-01-01T08:00:00Z")
    assert desk.post("/v1/instruments", json=future).status_code == 201
    assert desk.post("/v1/orders", json=order("A-1", order_qty="2")).status_code == 201
    fills = [fill("E-1"), fill("E-2", instrument_id=FUTURE, cl_ord_id="F-1", transact_time="2025-12-30T00:00:00Z")]
    assert desk.post("/v1/venue-reports", json={"reports": fills}).json()["recorded"] == 2
    for path, body, status, has in SENT:
        done = desk.post(f"/v1/{path}", json=body)
        assert (done.status_code, has in done.text) == (status, True), (path, body, done.status_code, done.text)
    assert desk.patch(f"/v1/instruments/{BTC}", json={"kind": "LINEAR"}).status_code == 422
    read = {
        path: desk.get(f"/v1/{path}").json()
        for path in (
            "parents?account_id=main", "parents/main/P-1", "cash-transfers?account_id=main",
            "trading-day?account_id=main", "conversions?account_id=main",
        )
    }  # fmt: skip
    (parent,) = read["parents?account_id=main"]["items"]
    assert parent == read["parents/main/P-1"]
    assert [child["cl_ord_id"] for child in parent["children"]] == ["A-2"]
    assert [each["status"] for each in read["cash-transfers?account_id=main"]["items"]] == ["RETURNED"]
    assert read["trading-day?account_id=main"]["starts_at_hour"] == 8
    assert [each["instrument_id"] for each in read["conversions?account_id=main"]["items"]] == [BTC]
    assert desk.get("/v1/parents/main/none").status_code == 404
    found = desk.get("/v1/events", params={"stream": "parentorder:main:P-1"}).json()["items"]
    before, opened = found[0]["seq"] - 1, found[0]["seq"]
    past = [desk.get("/v1/parents", params={"as_of": place}).json() for place in (before, opened)]
    assert [(each["seq"], len(each["items"])) for each in past] == [(before, 0), (opened, 1)]
    assert past[1]["items"][0]["children"] == []
    assert desk.get("/v1/parents/main/P-1", params={"as_of": before}).status_code == 404
    assert desk.get("/v1/parents/main/P-1", params={"as_of": opened}).json()["is_closed"] is False
    assert desk.get("/v1/parents", params={"as_of": 10**9}).status_code == 422
    assert desk.get("/v1/parents", params={"min_seq": 10**9}).status_code == 422


def test_a_form_with_a_key_gets_the_first_answer_again_and_waits_where_two_are_needed(desk: httpx.Client):
    hour = {"account_id": "main", "starts_at_hour": 3}
    first, again = (desk.post("/v1/trading-day", json=hour, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    other = desk.post("/v1/trading-day", json=hour | {"starts_at_hour": 4}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    assert desk.post("/v1/approval-policy", json={"actions": ["limit", "forget"]}).status_code == 201
    waiting = desk.post("/v1/trading-day", json=hour | {"starts_at_hour": 4})
    assert (waiting.status_code, waiting.json()["request"]["type"]) == (202, "SetTradingDay")
    owned = {"account_id": "o", "base_currency": "USDT", "owner": {"subject_id": "s-1", "name": "N"}}
    assert desk.post("/v1/accounts", json=owned).status_code == 201
    assert desk.post("/v1/subjects/s-1/forget").status_code == 202
    assert desk.get("/v1/trading-day?account_id=main").json()["starts_at_hour"] == 3


def test_a_command_takes_the_same_fields_and_prints_what_is_on_record(book: Run):
    bought = ("--instrument", BTC, "--side", "BUY", "--qty")
    assert book("order", "submit", "A-1", *bought, "2", "--price", "100", "--display", "1").returncode == 0
    replaced = parsed(book("order", "replace", "A-1", "--as", "A-1b", "--display-qty", "none", "--json"))
    assert (replaced["display_qty"], replaced["price"], replaced["is_changed"]) == (None, "100", True)
    again = book("order", "replace", "A-1", "--as", "A-1b", "--display-qty", "none")
    assert "A-1 is PENDING_REPLACE: 2 at 100 was requested as A-1b" in again.stdout
    assert "nothing has changed" in again.stderr
    unreadable = book("cash-transfer", "request", "W-1", "--amount", "10USDT")
    assert unreadable.returncode == 2 and 'such as "25000 USDT"' in unreadable.stderr
    unknown = book("position", "move", "--instrument", BTC, "--to-strategy", "x", "--id", "M-1", "--qty", "1", "--json")
    assert unknown.returncode == 1 and '"status":404' in unknown.stderr
    assert parsed(book("parent", "open", "P-1", *bought, "2", "--json"))["leaves_qty"] == "2"
    child = parsed(book("order", "submit", "A-2", *bought, "1", "--price", "100", "--parent", "P-1", "--json"))
    assert (child["parent"], child["ord_type"]) == ("P-1", "LIMIT")
    (parent,) = parsed(book("parent", "list", "--json"))["parents"]
    assert [each["cl_ord_id"] for each in parent["children"]] == ["A-2"]


def test_every_form_shows_its_example_in_its_help():
    groups = get_command(cli.app).commands  # type: ignore[attr-defined]
    for operation in OPERATIONS:
        group, _, name = operation.command.partition(" ")
        command = groups[group].commands[name]
        assert f"Example: daybook {operation.command} " in command.help, operation.command
        assert "json" in {parameter.name for parameter in command.params}


ClientFor = Callable[..., httpx.Client]


def test_who_may_read_may_not_request(client_for: ClientFor):
    reader = client_for("read")
    for operation in OPERATIONS:
        path = operation.path.replace(":path", "").format(**operation.example)
        done = reader.request(operation.method, f"/v1{path}", json={})
        assert (done.status_code, operation.scope.value in done.json()["detail"]) == (403, True), operation.name

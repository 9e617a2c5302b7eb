"""Options and dated futures over HTTP, from the listing to expiry: cash, coin, delivery, and what is left behind."""

from typing import Any

import httpx
import pytest

EXPIRY = "2026-01-30T08:00:00Z"
OPTION = {"kind": "OPTION", "base": "BTC", "quote": "USD", "expiry": EXPIRY, "tick_size": "0.0001", "lot_size": "0.1"}
LISTED: dict[str, dict[str, Any]] = {
    "BTCUSD.SIM": {"kind": "SPOT", "base": "BTC", "quote": "USD", "tick_size": "0.5", "lot_size": "0.1"},
    "PUT.SIM": OPTION | {"settle": "USD", "strike": "90000", "put_or_call": "PUT", "exercise_style": "AMERICAN"},
    "CALL.SIM": OPTION | {"settle": "USD", "strike": "90000", "put_or_call": "CALL"},
    "COIN-C.SIM": OPTION | {"settle": "BTC", "strike": "80000", "put_or_call": "CALL"},
    "INV.SIM": {
        "kind": "INVERSE", "base": "BTC", "quote": "USD", "contract_size": "10", "expiry": EXPIRY, "tick_size": "0.5",
        "lot_size": "1",
    },
}  # fmt: skip


def posted(client: httpx.Client, path: str, status: int = 201, **body: Any) -> httpx.Response:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer


def traded(name: str, side: str, quantity: str, price: str) -> dict[str, Any]:
    currency = LISTED[name].get("settle", "USD")
    return {
        "type": "filled", "account_id": "opt", "cl_ord_id": f"o-{name}", "instrument_id": name, "side": side,
        "exec_id": "E1", "last_qty": quantity, "last_px": price, "transact_time": "2026-01-05T00:00:00Z",
        "commission": {"amount": "0", "currency": currency},
    }  # fmt: skip


@pytest.fixture
def book(client: httpx.Client) -> httpx.Client:
    posted(client, "accounts", account_id="opt", base_currency="USD", cost_basis="FIFO", is_margin=True)
    for name, facts in LISTED.items():
        listed = posted(client, "instruments", instrument_id=name, **facts).json()
        assert listed["exercise_style"] == (
            facts.get("exercise_style", "EUROPEAN") if facts["kind"] == "OPTION" else None
        )
    return client


def shown(client: httpx.Client, what: str, seq: str, **where: Any) -> Any:
    found = client.get(f"/v1/{what}", params={"account_id": "opt", "min_seq": seq, **where})
    assert found.status_code == 200, found.text
    return found.json()


def held(client: httpx.Client, seq: str, name: str) -> tuple[str, str, str]:
    (row,) = shown(client, "positions", seq, instrument_id=name)["items"]
    return row["quantity"], row["cost"], row["realized"]


def coins(client: httpx.Client, seq: str) -> dict[str, str]:
    items = shown(client, "balances", seq)["items"]
    return {row["asset"]: row["total"] for row in items}


def test_an_assigned_put_takes_delivery_at_the_strike_and_keeps_its_premium(book: httpx.Client):
    posted(book, "venue-reports", 200, reports=[traded("PUT.SIM", "SELL", "2", "1200")])
    query = {
        "account_id": "opt", "instrument_id": "PUT.SIM", "delivery_id": "A1", "to_instrument_id": "BTCUSD.SIM",
        "quantity": "1", "transact_time": "2026-01-20T00:00:00Z",
    }  # fmt: skip
    done = posted(book, "positions/deliver", **query)
    assert posted(book, "positions/deliver", 200, **query).json() == done.json()
    assert {name: done.json()[name] for name in ("price", "quantity_left", "realized", "cost_there")} == {
        "price": "90000", "quantity_left": "-1", "realized": "1200", "cost_there": "90000",
    }  # fmt: skip
    settled = posted(
        book, "positions/settle", account_id="opt", instrument_id="PUT.SIM", settlement_id="X1", underlying_px="95000"
    )
    seq = settled.headers["Daybook-Seq"]
    assert held(book, seq, "PUT.SIM") == ("0", "0", "2400")
    assert held(book, seq, "BTCUSD.SIM") == ("1", "90000", "0")
    assert coins(book, seq) == {"USD": "-87600", "BTC": "1"}
    (lot,) = shown(book, "lots", seq, instrument_id="BTCUSD.SIM")["items"]
    assert (lot["opened_at"], lot["cost"]) == ("2026-01-20T00:00:00Z", "90000")
    net = shown(book, "pnl", seq, mark="BTCUSD.SIM=85000")["totals"][0]["net"]
    assert net == "-2600"  # 2400 of premiums, less 5000 of the coin
    exposed = shown(book, "exposure", seq, mark="BTCUSD.SIM=85000")
    assert [(row["base"], row["quantity"], row["notional"]) for row in exposed["items"]] == [("BTC", "1", "85000")]


def test_an_exercised_call_may_have_its_premium_in_the_cost_of_what_it_delivers(book: httpx.Client):
    posted(book, "venue-reports", 200, reports=[traded("CALL.SIM", "BUY", "2", "1200")])
    query = {
        "account_id": "opt", "instrument_id": "CALL.SIM", "delivery_id": "A1", "to_instrument_id": "BTCUSD.SIM",
        "is_premium_in_cost": True,
    }  # fmt: skip
    seq = posted(book, "positions/deliver", **query).headers["Daybook-Seq"]
    assert held(book, seq, "CALL.SIM") == ("0", "0", "0")
    assert held(book, seq, "BTCUSD.SIM") == ("2", "182400", "0")
    assert coins(book, seq) == {"USD": "-182400", "BTC": "2"}


def test_a_call_in_coin_settles_in_coin_and_a_short_one_expires_worthless(book: httpx.Client):
    posted(book, "venue-reports", 200, reports=[traded("COIN-C.SIM", "BUY", "2", "0.05")])
    posted(book, "venue-reports", 200, reports=[traded("CALL.SIM", "SELL", "3", "100")])
    expired = {"account_id": "opt", "settlement_id": "X1", "underlying_px": "100000"}
    coin = posted(book, "positions/settle", instrument_id="COIN-C.SIM", **expired).json()
    # (100000 - 80000) / 100000 = 0.2 BTC each, 0.05 paid for each
    assert (coin["settlement_px"], coin["quantity"], coin["realized"], coin["settle"]) == ("0.2", "0", "0.3", "BTC")
    short = posted(
        book, "positions/settle", account_id="opt", settlement_id="X1", underlying_px="89999", instrument_id="CALL.SIM"
    )
    assert (short.json()["settlement_px"], short.json()["realized"]) == ("0", "300")
    assert coins(book, short.headers["Daybook-Seq"]) == {"BTC": "0.3", "USD": "300"}


def test_an_inverse_dated_future_is_settled_in_coin(book: httpx.Client):
    posted(book, "venue-reports", 200, reports=[traded("INV.SIM", "BUY", "100", "50000")])
    early = {"account_id": "opt", "instrument_id": "INV.SIM", "settlement_id": "X1"}
    refused = posted(
        book, "positions/settle", 409, **early, underlying_px="40000", transact_time="2026-01-29T08:00:00Z"
    )
    assert refused.json()["code"] == "NOT_EXPIRED"
    done = posted(book, "positions/settle", **early, underlying_px="40000")
    # 1000 USD / 50000 - 1000 USD / 40000
    assert (done.json()["realized"], done.json()["settle"]) == ("-0.005", "BTC")
    seq = done.headers["Daybook-Seq"]
    assert held(book, seq, "INV.SIM") == ("0", "0", "-0.005")
    assert coins(book, seq) == {"BTC": "-0.005"}
    (coin,) = shown(book, "exposure", seq, mark="BTCUSD.SIM=40000")["items"]
    assert (coin["base"], coin["quantity"], coin["notional"]) == ("BTC", "-0.005", "-200")

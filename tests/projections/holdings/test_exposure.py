"""Exposure is of what is held by coin: what has left, for another coin or as a fee, is none."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal as D

from hypothesis import given, settings

from domain.account import Account
from domain.holdings import balances
from domain.instrument import Kind
from domain.values import ZERO, Money, Side, exact
from projections.analytics import exposure
from projections.analytics.closing import closing, own_pairs
from projections.models import capital_flows, positions
from projections.runner.runner import as_of
from projections.storage.rows import MemoryRows
from tests.desk import BTC, T0, Desk, fill, mark
from tests.projections.holdings.books import BNB, CROSS, ETH, PAIRS, desk_of, marks, steps, traded

EVER = timedelta(days=10_000)
BASES = {"main": "USDT", "hedge": "USDT"}
PRICES = marks((5, 7, 3))
Book = Sequence[Sequence[int]]


def cash_of(rows: MemoryRows) -> list[exposure.CashRow]:
    """The cash of accounts, less what is borrowed."""
    found: dict[tuple[str, str], D] = {}
    for row in capital_flows.cash_of(rows):
        moved = row["external"] + row["income"] - row["fees"] + row["converted"]
        place = (row["account_id"], row["currency"])
        found[place] = found.get(place, ZERO) + moved
    return [
        {"account_id": account_id, "venue": "", "asset": asset, "quantity": exact(amount), "seq": 1}
        for (account_id, asset), amount in found.items()
    ]


def holdings(desk: Desk, currency: str = "USDT") -> list[exposure.SizedRow]:
    rows = as_of(desk.log, projections=(positions.PROJECTION, capital_flows.PROJECTION))
    held = positions.positions(rows)
    close = closing(T0, PRICES, PAIRS, EVER, own=own_pairs(held))
    return exposure.holdings(held, cash_of(rows), close, currency, BASES)


def sized(desk: Desk, prices: dict[str, str]) -> list[exposure.ExposureRow]:
    held = positions.positions(as_of(desk.log))
    return exposure.exposure(held, (), exposure.Pricing({name: mark(name, each) for name, each in prices.items()}))


def crossed() -> Desk:
    """USDT to BTC to ETH and back, with marks that do not agree with each other."""
    desk = desk_of()
    desk.report(
        fill("E1", Side.BUY, "1", "80000"),
        fill("E2", Side.BUY, "20", "0.05", 1, instrument_id=CROSS),
        fill("E3", Side.SELL, "20", "4100", 2, instrument_id=ETH),
    )
    return desk


def test_after_a_round_of_crosses_nothing_is_exposed() -> None:
    found = holdings(crossed())
    for by in ((), ("asset",), ("account_id",), ("strategy_id",), ("venue", "asset")):
        for cut in exposure.cut(found, by):
            assert (cut["gross"], cut["net"], cut["delta_value"]) == (0, 0, 0)
    for total in exposure.totals(sized(crossed(), {BTC: "81000", CROSS: "0.07", ETH: "4131"}), ("base",)):
        assert (total["gross"], total["net"]) == (0, 0)


def test_what_has_left_needs_no_mark() -> None:
    for total in exposure.totals(sized(crossed(), {}), ()):
        assert (total["gross"], total["net"], total["missing_marks"]) == (0, 0, [])


def test_a_payment_and_a_fee_count_against_the_strategy_that_paid_them() -> None:
    desk = desk_of()
    desk.report(
        fill("E1", Side.BUY, "1", "20"),
        fill("E2", Side.BUY, "2", "0.25", 1, instrument_id=CROSS, strategy_id="maker", fee=Money(D(1), "BNB")),
        fill("E3", Side.BUY, "3", "3", 1, instrument_id=BNB),
    )
    cuts = exposure.cut(holdings(desk), ("strategy_id", "asset"))
    assert {(row["strategy_id"], row["asset"]): row["delta"] for row in cuts} == {
        ("maker", "BNB"): -1, ("maker", "BTC"): D("-0.5"), ("maker", "ETH"): 2,
        ("trend", "BNB"): 3, ("trend", "BTC"): 1,
    }  # fmt: skip
    whole = {row["asset"]: row["delta"] for row in exposure.cut(holdings(desk), ("asset",))}
    assert whole == {"BNB": 2, "BTC": D("0.5"), "ETH": 2}


@given(steps)
@settings(max_examples=80)
def test_delta_by_coin_is_the_balance_and_what_derivatives_add(book: Book) -> None:
    desk = traded(book)
    found = [row for row in holdings(desk) if row["account_id"] == "main"]
    own = [each for each in desk.states("position").values() if each.key.account_id == "main"]
    account: Account = desk.states("account")["account:main"]
    owed = {currency: -amount for currency, amount in account.cash.loans.items()}
    held = balances.total(account.cash.balances, owed, *map(balances.moved_by, own))
    derivatives: dict[str, D] = {}
    for row in found:
        if row["kind"] not in (Kind.SPOT, exposure.COIN):
            derivatives[row["asset"] or ""] = derivatives.get(row["asset"] or "", ZERO) + (row["delta"] or ZERO)
    coins = (held.keys() | derivatives.keys()) - {"USDT"}
    shown = {cut["asset"]: cut["delta"] for cut in exposure.cut(found, ("asset",))}
    for coin in coins:
        assert shown.get(coin, ZERO) == held.get(coin, ZERO) + derivatives.get(coin, ZERO)
    assert all(row["asset"] != "USDT" for row in found), "the base currency is cash"


def test_coins_with_a_price_are_sized_and_the_rest_is_named() -> None:
    held = positions.positions(as_of(crossed().log))
    cash: list[exposure.CashRow] = [
        {"account_id": "main", "venue": "", "asset": asset, "quantity": D(2), "seq": 9}
        for asset in ("BNB", "DOGE", "USDT")
    ]
    pricing = exposure.Pricing({BNB: mark(BNB, "7")}, {BNB: PAIRS[BNB]}, BASES)
    items = exposure.exposure(held, cash, pricing)
    coins = {row["base"]: (row["notional"], row["priced_by"]) for row in items if row["kind"] == exposure.COIN}
    assert coins == {"BTC": (None, BTC), "BNB": (14, BNB)}
    rest = exposure.uncounted(held, cash, pricing)
    assert {(row["asset"], row["strategy_id"]): row["quantity"] for row in rest} == {
        ("DOGE", ""): 2, ("USDT", ""): 2, ("USDT", "trend"): 2000,
    }  # fmt: skip

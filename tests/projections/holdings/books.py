"""Random books: pairs that cross, derivatives of each kind, fees in third coins, transfers, income and funding."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

from hypothesis import strategies as st

from domain.account import BookEntry, ConvertMoney, EntryKind, Indicator, Leg, SettleTransfer
from domain.instrument import Contract, Kind, ListInstrument
from domain.position import PositionKey, SettleFunding, Transfer, TransferReason
from domain.values import Mark, Money, Side
from tests.desk import ACCOUNTS, BTC, STRATEGIES, T0, Desk, fill

ETH, CROSS, BNB = "ETHUSDT.SIM", "ETHBTC.SIM", "BNBUSDT.SIM"
LINEAR, INVERSE = "BTC-PERP.SIM", "BTCUSD.SIM"
INSTRUMENTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    ETH: Contract(Kind.SPOT, "ETH", "USDT", "USDT"),
    CROSS: Contract(Kind.SPOT, "ETH", "BTC", "BTC"),
    BNB: Contract(Kind.SPOT, "BNB", "USDT", "USDT"),
    LINEAR: Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.5")),
    INVERSE: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(10)),
}
USD = "USDUSDT.SIM"
PAIRS = {name: each for name, each in INSTRUMENTS.items() if each.kind is Kind.SPOT} | {
    USD: Contract(Kind.SPOT, "USD", "USDT", "USDT")
}
NAMES = tuple(INSTRUMENTS)
COINS = ("USDT", "BTC", "BNB", "ETH")
DAYS = 4
small = st.integers(0, 11)
steps = st.lists(st.tuples(st.integers(0, 9), small, small, small, small), max_size=25)
prices = st.lists(st.tuples(*(st.integers(1, 12) for _ in range(3))), min_size=DAYS + 1, max_size=DAYS + 1)


def desk_of() -> Desk:
    """A desk with all instruments listed."""
    desk = Desk()
    for name, contract in INSTRUMENTS.items():
        desk.request(ListInstrument(name, contract, D("0.01"), D("0.01")))
    return desk


def step(desk: Desk, number: int, chosen: Sequence[int]) -> None:
    """Report one thing: mostly a fill with fees in up to two coins."""
    kind, a, b, c, d = chosen
    at = T0 + timedelta(hours=(a * 7 + c * 5 + d) % (24 * (DAYS - 1)))
    account_id, strategy_id = ACCOUNTS[0], STRATEGIES[b % 2]
    instrument_id = NAMES[(b + c) % len(NAMES)]
    key = PositionKey(account_id, strategy_id, instrument_id)
    coin = Money(D(1 + d) / 4, COINS[c % len(COINS)])
    way = Indicator.DEBIT if d % 3 == 0 else Indicator.CREDIT
    match kind:
        case 7:
            entry = (EntryKind.INTEREST, EntryKind.OPENING, EntryKind.STAKING, EntryKind.LOAN)[a % 4]
            desk.report(BookEntry(account_id, f"N{number}", entry, way, coin, "", at))
        case 8 if d % 2:
            desk.report(SettleTransfer(account_id, Leg(f"T{number}", way, coin, Money(D(1) / 100, "BNB")), at))
        case 8:
            desk.report(ConvertMoney(account_id, f"C{number}", coin, Money(D(3) / 4, "BNB"), None, "", at))
        case 9 if d % 2 and INSTRUMENTS[instrument_id].kind in (Kind.LINEAR, Kind.INVERSE):
            funding = Money(D(a - 5) / 100, INSTRUMENTS[instrument_id].settle)
            desk.report(SettleFunding(key, f"F{number}", funding, at))
        case 9:
            reason = TransferReason.STAKING if a % 2 else TransferReason.DEPOSIT
            desk.report(Transfer(key, f"M{number}", Side.BUY, D(1 + a) / 10, D(1 + b), at, reason))
        case _:
            fee = Money(D(a % 4) / 100, ("BNB", "BTC", "USDT", "ETH")[d % 4])
            side = Side.BUY if (a + d) % 2 else Side.SELL
            desk.report(
                fill(
                    f"E{number}",
                    side,
                    D(1 + a) / 10,
                    D(1 + b),
                    (at - T0) // timedelta(minutes=1),
                    strategy_id=strategy_id,
                    instrument_id=instrument_id,
                    fee=fee,
                )
            )


def traded(chosen: Sequence[Sequence[int]]) -> Desk:
    """A desk with a random book."""
    desk = desk_of()
    for number, each in enumerate(chosen):
        step(desk, number, each)
    return desk


def marks(chosen: Sequence[int]) -> dict[str, Mark]:
    """Marks that do not agree with each other: a cross at its own price."""
    btc, eth, bnb = (D(each) for each in chosen)
    seen: Mapping[str, Any] = {
        BTC: btc * 4, ETH: eth, CROSS: D(bnb) / 8, BNB: bnb, LINEAR: btc * 5, INVERSE: btc * 4, USD: D(2),
    }  # fmt: skip
    return {name: Mark(name, price, "SIM", T0) for name, price in seen.items()}

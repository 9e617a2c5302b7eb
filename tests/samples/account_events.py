"""One of every event of accounts and statements, with every field filled; `tests.samples` has the others."""

from datetime import UTC, date, datetime
from decimal import Decimal as D

from domain.account import (
    AccountBroken,
    AccountClosed,
    BalanceLine,
    BreakAged,
    BreakChanged,
    BreakKind,
    BreakOpened,
    BreakResolved,
    CashEntry,
    EntryBooked,
    EntryKind,
    FeeCharged,
    FillLine,
    Indicator,
    Leg,
    OrderLine,
    PositionLine,
    PositionOpened,
    SettleTransfer,
    StatementTaken,
    TransferPending,
    TransferReturned,
    TransferSettled,
    break_of,
)
from domain.values import Liquidity, Money, Side

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DAY, NEXT = date(2026, 1, 2), date(2026, 1, 4)
PERP = "BTCUSDT-PERP.SIM"
USDT = Money(D("250.5"), "USDT")
LEG = Leg("T-1", Indicator.DEBIT, USDT, Money(D("0.8"), "USDT"), "treasury", "0x71c7")
BACK = (CashEntry(Indicator.CREDIT, USDT),)
FEE = (CashEntry(Indicator.DEBIT, Money(D(3), "USDT")),)
FILL = FillLine(
    "E7", 7, "V-9", "A-1", PERP, Side.BUY, D("0.5"), D("97500.25"), Money(D("0.02"), "USDT"), AT, Liquidity.MAKER,
    "trend",
)  # fmt: skip
ORDER = OrderLine("V-9", "A-1", PERP, Side.BUY, D("0.5"), D("0.1"), D("97500.25"), "trend")
AMOUNT = break_of(
    "main", BreakKind.AMOUNT_DIFFERS, ("amount",), BalanceLine("USDT", D(10)), BalanceLine("USDT", D("9.5"))
)
PRICE = break_of("main", BreakKind.PRICE_DIFFERS, ("last_px",), FILL, FILL)

EVENTS = (
    PositionOpened("main", "trend", PERP, AT),
    TransferPending("main", LEG, AT),
    TransferSettled("main", LEG, LEG.entries, DAY, NEXT, AT),
    TransferReturned("main", LEG, "wrong network", BACK, DAY, NEXT, AT),
    FeeCharged("main", "F-1", FEE, "market data", DAY, NEXT, AT),
    EntryBooked("main", "R-1", EntryKind.INTEREST, BACK, "margin lent", DAY, NEXT, AT),
    BreakOpened("main", AMOUNT, "S-1", AT),
    BreakChanged("main", PRICE, "S-2", AT),
    BreakAged("main", AMOUNT.break_id, "S-3", AT, AT),
    BreakResolved("main", AMOUNT.break_id, "S-4", "no longer found", AT, AT),
    AccountClosed("main", "moved to another venue", AT),
    AccountBroken("main", "one id has one content", "transfer T-1", SettleTransfer("main", LEG, AT, DAY, NEXT), AT),
    StatementTaken(
        "main", "SIM", "S-1", "rest", (BalanceLine("USDT", D("9.5")),), (PositionLine(PERP, D("-0.4"), D(97500)),),
        (ORDER,), AT, 1, "9f86d081884c7d65", AT,
    ),
)  # fmt: skip

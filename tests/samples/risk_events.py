"""One of every event of the limits, with every field filled."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from domain.instrument import Contract, Kind
from domain.marks import MarkSeen
from domain.order import OrderKey
from domain.risk import (
    AccountRegistered,
    AssessmentMissed,
    AssessmentResumed,
    BreachCleared,
    CapitalBasis,
    CapitalStated,
    CarriedCell,
    CarriedHold,
    Change,
    ConversionSet,
    DayOpened,
    DeadManSwitchArmed,
    DeadManSwitchDisarmed,
    DeadManSwitchFired,
    EquityAssessed,
    EquityUsed,
    FirmUsageChanged,
    FirmWatchEnded,
    FirmWatchStarted,
    GainsPosted,
    HoldAdjusted,
    HoldExpired,
    Holding,
    HoldPlaced,
    HoldPosted,
    HoldRefused,
    HoldVoided,
    LimitBreached,
    LimitCheck,
    LimitSet,
    Measure,
    Mode,
    PriceBasis,
    Scope,
    ScopeHigh,
    ShadowDecided,
    SwitchEngaged,
    SwitchReleased,
    TradingDaySet,
    UsageCarried,
    Valuation,
)
from domain.values import Mark, Money, Side

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DAY = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
ORDER = OrderKey("main", "A-1")
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT", D(1))
SCOPE = Scope("trend", BTC, "SIM", "BTC")
MARK = Mark(BTC, D("97400.5"), "SIM", AT - timedelta(seconds=2))
SEEN = (MarkSeen(MARK, 2000),)
LIMIT_CHECK = LimitCheck(Measure.MAX_GROSS_EXPOSURE, SCOPE, 2, D(500000), D("1.5"), D(2), "USDT", "main")
VALUATION = Valuation(D("97500.25"), PriceBasis.LIMIT)
EQUITY = EquityUsed("USDT", D(100000), D("12.5"), CapitalBasis.STATED, AT)
GAINS = (Money(D("1.5"), "USDT"), Money(D("-0.001"), "BNB"))
POSTED = HoldPosted(ORDER, "trend", BTC, "E7", D("0.5"), D("0.5"), AT, D("48750.125"), GAINS, SPOT)

EVENTS = (
    LimitSet("main", SCOPE, Measure.MAX_GROSS_EXPOSURE, D(500000), "USDT", 2, AT),
    HoldPlaced(
        ORDER, "trend", BTC, Side.BUY, D("0.5"), D("48750.125"), MARK, (LIMIT_CHECK,), AT, SPOT, SEEN, D("97500.25"),
        VALUATION, EQUITY,
    ),
    HoldRefused(
        ORDER, "trend", BTC, Side.BUY, D("9.5"), D("48750.125"), MARK, "a fresh mark", LIMIT_CHECK, AT,
        {"age_ms": "61000"}, (LIMIT_CHECK,), SEEN, "A-2", VALUATION, EQUITY,
    ),
    HoldAdjusted(
        ORDER, "trend", BTC, Side.BUY, D("0.5"), D("0.7"), SPOT, AT, "A-2", D("68180.35"), MARK, (LIMIT_CHECK,), SEEN,
        D("97400.5"), VALUATION, EQUITY,
    ),
    POSTED,
    GainsPosted("main", "trend", BTC, "F1", (Change(AT, D(0), D("0.25"), GAINS),)),
    HoldVoided(ORDER, "trend", BTC, D("0.1"), AT),
    HoldExpired(ORDER, "trend", BTC, D("0.1"), AT),
    SwitchEngaged("main", SCOPE, Mode.REDUCE_ONLY, "daily loss", "alice", 1, AT),
    SwitchReleased("main", SCOPE, "looked into", "bob", 2, AT),
    LimitBreached("main", SCOPE, Measure.MAX_POSITION_NOTIONAL, BTC, 2, D(100), "USDT", D("100.5"), SEEN, AT),
    BreachCleared("main", SCOPE, Measure.MAX_POSITION_NOTIONAL, BTC, 2, D(100), "USDT", D("99.5"), SEEN, AT),
    AssessmentMissed("main", SCOPE, Measure.MAX_DAILY_LOSS, "a fresh mark", {"instrument_id": BTC}, AT),
    AssessmentResumed("main", SCOPE, Measure.MAX_DAILY_LOSS, AT),
    EquityAssessed(
        "main", "USDT", D(100000), D("12.5"), D(13), SEEN, AT, CapitalBasis.BOOK,
        (Money(D(1), "BTC"), Money(D("2599.5"), "USDT")), (ScopeHigh(SCOPE, D("7.5")),),
    ),
    CapitalStated("main", Money(D(100000), "USDT"), AT),
    DayOpened("main", DAY, SEEN, AT),
    TradingDaySet("main", 8, AT),
    ConversionSet("main", BTC, SPOT, AT),
    AccountRegistered("main", AT),
    FirmWatchStarted("main", AT),
    FirmWatchEnded("main", AT),
    UsageCarried(
        "main",
        (CarriedCell("trend", BTC, SPOT, Holding(D(2), D(180000), {"USDT": D(5)}), Holding(), DAY),),
        (CarriedHold(ORDER, "trend", BTC, Side.BUY, D("0.5"), "A-2", SPOT),),
        AT, 1, 2,
    ),
    FirmUsageChanged("main", POSTED),
    DeadManSwitchArmed("main", "maker", 30000, True, 2, AT),
    DeadManSwitchDisarmed("main", "maker", 2, AT),
    DeadManSwitchFired("main", "maker", 30000, True, 2, AT - timedelta(seconds=31), AT - timedelta(seconds=1), AT),
    ShadowDecided(
        "main", SCOPE, Measure.MAX_GROSS_EXPOSURE, 2,
        HoldRefused(
            ORDER, "trend", BTC, Side.BUY, D("9.5"), D("48750.125"), MARK, "MAX_GROSS_EXPOSURE is not exceeded",
            LIMIT_CHECK, AT, {"age_ms": "61000"}, (LIMIT_CHECK,), SEEN, "A-2",
        ),
    ),
)  # fmt: skip

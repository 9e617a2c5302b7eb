"""One record of every kind of event, with every field filled; and with each field that was added later."""

from datetime import UTC, datetime
from decimal import Decimal as D

from domain.account import AccountOpened, CostBasis, Costing, FeePolicy, RawReportKept, SubjectForgotten
from domain.instrument import (
    Contract,
    InstrumentAmended,
    InstrumentDelisted,
    InstrumentListed,
    InstrumentRedenominated,
    Kind,
    PutOrCall,
)
from domain.ledger import (
    ClockConfirmed,
    Recorded,
    SigningKeyHandedOver,
    SigningKeyLost,
    SigningKeyStarted,
    schema,
)
from domain.marks import MarksRecorded, PriceKind
from domain.policies import HedgeBand, Policy, PolicySet
from domain.position import (
    ContractDelivered,
    Effect,
    FundingSettled,
    Lot,
    LotChange,
    LotMatch,
    LotsAssigned,
    Moved,
    PositionBroken,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    Restated,
    Sums,
    TradeBooked,
    TradeReversed,
    TransferReason,
)
from domain.risk import Mode
from domain.sealed.figures import FiguresClosed
from domain.values import Liquidity, Money, Occurrence, OpenedAt, Side, TradeKind
from tests.samples import access_events, account_events, order_events, risk_events

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
POSITION = PositionKey("main", "trend", BTC)
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT", D(1))
OPTION = Contract(Kind.OPTION, "BTC", "USD", "BTC", D("0.1"), AT, D(90000), PutOrCall.CALL)
FIFO = Costing(CostBasis.FIFO, FeePolicy.EXPENSED, 8)
PLACE = OpenedAt(AT, 7, "E7")
LOT = Lot("E7", PLACE, D("0.5"), D("48750.125"), D("0.4"), D("39000.1"))
EFFECT = Effect(
    D("-0.1"),
    D("-9750.025"),
    D("1.5"),
    D("0.000000001"),
    D("0.02"),
    D("0.5"),
    (LOT,),
    (LotMatch("E1", D("0.1"), D("9750.025"), D("1.500000001")),),
)

EVENTS = (
    AccountOpened("main", "USDT", FIFO, AT),
    InstrumentListed(BTC, SPOT, D("0.01"), D("0.000001")),
    InstrumentAmended("BTC-C.SIM", OPTION, D("0.01"), D("0.1"), AT),
    InstrumentDelisted(BTC, AT),
    InstrumentRedenominated(BTC, "gxs-rei", "REIUSDT.SIM", D(10), D(1), AT, "main"),
    *order_events.EVENTS,
    TradeBooked(
        POSITION, SPOT, FIFO, "A-1", "E7", 7, Side.BUY, D("0.5"), D("97500.25"), Money(D("0.02"), "USDT"),
        Liquidity.MAKER, AT, EFFECT, True, TradeKind.LIQUIDATION,
    ),
    TradeReversed(POSITION, SPOT, "E7", 7, AT, Money(D("0.02"), "USDT"), EFFECT, "busted"),
    LotsAssigned(POSITION, "E7", ("E1", "E3"), AT),
    ContractDelivered(POSITION, "DEL-1", PositionKey("main", "main", BTC), D(2), AT, D("93500.5"), True),
    PositionBroken(POSITION, "a spot position is not below zero", "E7", D("-0.1"), AT),
    PositionTransferred(
        POSITION, SPOT, FIFO, "opening", Side.BUY, D("0.01"), D(92), AT, EFFECT, False, TransferReason.INTERNAL,
        PositionKey("main", "hedge", BTC), (LOT,), True,
    ),
    FundingSettled(POSITION, "F1", Money(D("-1.25"), "USDT"), AT),
    PositionRestated(
        POSITION, ("E6",), (Restated("E7", 7, AT, Sums(D(1), D(2), D("0.5"), D(0)), EFFECT),),
        (LotChange(LOT, D("-0.1"), D("-9750.025")),), 1, 2, Occurrence(AT, 7, "E7", 250, "BUY A1"),
        (Moved(983_045, D("-1.5"), D("-1.25"), D("0.5")),),
    ),
    RawReportKept("main", "BINANCE", "trades.csv:7", "7,x,y", "price: 'x' is not a finite decimal number"),
    *account_events.EVENTS,
    SubjectForgotten("client-17", "asked to be forgotten", AT),
    *risk_events.EVENTS,
    *access_events.EVENTS,
    ClockConfirmed("the time server was wrong; corrected", AT, 4, AT),
    SigningKeyStarted("daybook/1+0a1b2c3d+AQID", 0),
    SigningKeyHandedOver("daybook/1+0a1b2c3e+AQIE", 1250, "daybook/1+0a1b2c3d+AQID", "daybook/1\n1250\nAQID\n"),
    SigningKeyLost("daybook/1+0a1b2c3f+AQIF", 2500, "daybook/1+0a1b2c3e+AQIE"),
    PolicySet(
        "main", Policy.HEDGE, is_on=True, reason="flat overnight", version=2, transact_time=AT, mode=Mode.HALT,
        interval_seconds=60, band=HedgeBand("BTC", "BTCPERP.SIM", "hedge", D("1.5"), D("-0.5")),
        ages_seconds=(3600, 86400),
    ),
    FiguresClosed(1207, AT.date(), 41, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", 1, {"positions": 5}, AT),
    MarksRecorded(
        PriceKind.MARK, "binance", first_id=5001, last_id=5002, count=2, first_at=AT, last_at=AT, instruments=(BTC,),
        instrument_count=1, root="6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", is_earlier=True,
    ),
)  # fmt: skip

RECORDS = tuple(Recorded(f"sample:{schema.topic_of(event)}", 7, AT, "alice", "req-1", event) for event in EVENTS)

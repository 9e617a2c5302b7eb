"""A book on which every policy has something to do, and what the pure process managers make of its log."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

from adapters.log.postgres import PostgresLog
from domain.account import BalanceLine, BreakKind, BreakOpened, Costing, OpenAccount, break_of
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import EventLog, Ledger, scan
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder, TimeInForce
from domain.policies import HedgeBand, Policy, SetPolicy
from domain.reactions.catalog import PROCESSES
from domain.reactions.process import Process, Reaction
from domain.risk import AssessMarks, Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Mark, Money, Side

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
BTC, PERP = "BTCUSDT.SIM", "BTCPERP.SIM"
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    PERP: Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.1")),
}
BAND = HedgeBand("BTC", PERP, "hedge", D(1))
LATER = T0 + timedelta(hours=2)  # when the dates of orders have passed, and the break has an age


def submit(name: str, until: datetime | None = None, account: str = "main") -> SubmitOrder:
    in_force = TimeInForce.GTC if until is None else TimeInForce.GTD
    terms = OrderTerms(
        "trend", BTC, Side.BUY, ord_type=OrdType.LIMIT, order_qty=D(1), price=D(100), time_in_force=in_force,
        expire_time=until,
    )  # fmt: skip
    return SubmitOrder(OrderKey(account, name), terms, T0)


def bought(name: str, exec_id: str, qty: str) -> OrderFilled:
    return OrderFilled(
        OrderKey("main", name), "trend", BTC, order_id="", side=Side.BUY, exec_id=exec_id, trade_seq=0, last_qty=D(qty),
        last_px=D(100), commission=Money(ZERO, "USDT"), liquidity=Liquidity.TAKER, transact_time=T0,
    )  # fmt: skip


def opened(ledger: Ledger) -> None:
    """Two accounts, two instruments, and a break."""
    for account in ("main", "dated"):
        ledger.request(OpenAccount(account, "USDT", Costing(), T0), actor="trader")
    for instrument, contract in CONTRACTS.items():
        lot = D("0.001") if instrument == BTC else D(1)
        ledger.request(ListInstrument(instrument, contract, D("0.01"), lot), actor="trader")
    band = SetPolicy("main", Policy.HEDGE, is_on=True, reason="", transact_time=T0, band=BAND)
    ledger.request(band, actor="trader")
    ours, theirs = BalanceLine("USDT", D(1)), BalanceLine("USDT", D(2))
    found = break_of("main", BreakKind.AMOUNT_DIFFERS, ("total",), ours, theirs)
    ledger.report([BreakOpened("main", found, "S1", T0)], actor="venue")


def traded(ledger: Ledger, orders: int) -> None:
    """Orders with and without a date, in two accounts, a fill out of the hedge's band, a loss beyond its limit."""
    ledger.request(SetLimit("main", Scope(), Measure.MAX_DAILY_LOSS, D(50), "USDT", T0), actor="trader")
    for number in range(orders):
        ledger.request(submit(f"A{number}"), actor="trader")
        ledger.request(submit(f"D{number}", T0 + timedelta(minutes=1 + number), "dated"), actor="trader")
    ledger.report([bought("B", "E1", "3")], actor="venue")
    ledger.request(AssessMarks("main", (Mark(BTC, D(80), "SIM", T0), Mark(PERP, D(80), "SIM", T0)), T0), actor="trader")


def replayed(process: Process, log: EventLog, *, after: int = 0, now: datetime = LATER) -> list[Reaction]:
    """What a process manager requests once each for the log after a seq, and by the time between its events."""
    state, requested = process.state(), []
    for logged in scan(log):
        state, timed = process.due(state, logged.recorded.recorded_at)
        state, reactions = process.react(state, logged)
        requested += (*timed, *reactions) if logged.seq > after else ()
    return [each for each in (*requested, *process.due(state, now)[1]) if each.is_once]


def recorded(log: EventLog) -> Counter[str]:
    """How many requests or reports of each id policies have on record."""
    counted: Counter[str] = Counter()
    for logged in scan(log):
        record = logged.recorded
        states = ("SwitchEngaged", "OrderCancelRequested", "OrderSubmitted", "OrderRefused", "BreakAged")
        if record.actor.startswith("policy:") and type(record.event).__name__ in states:
            assert record.cause.startswith("event:")
            counted[record.request_id] += 1
    return counted


def check_all_once(log: PostgresLog, *, after: int = 0) -> None:
    """Every reaction that the log calls for was carried out once, and no other."""
    expected = {(each.actor, each.request_id): each for p in PROCESSES for each in replayed(p, log, after=after)}
    carried_out = {(each.actor, each.key): each for each in log.kept(list(expected))}
    assert carried_out.keys() == expected.keys()
    on_record = recorded(log)
    assert set(on_record.values()) == {1}
    for (_, request_id), kept in carried_out.items():
        has_events = kept.last_seq >= kept.first_seq
        assert on_record[request_id] == has_events, (request_id, kept.answer)
    assert on_record.keys() <= {request_id for _, request_id in expected}


def summary(log: EventLog) -> dict[str, Any]:
    """How many events of each name policies have recorded."""
    found = (each.recorded for each in scan(log) if each.recorded.actor.startswith("policy:"))
    return dict(Counter(type(each.event).__name__ for each in found))

"""The command side: what one command adds to which streams, all or nothing, beside any other writers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import order, position, risk
from domain.account import Costing, OpenAccount, RawReportKept
from domain.errors import InvalidInput, ReportUnreadable, RequestRefused, StreamConflict
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger
from domain.order import (
    CancelOrder,
    OrderCanceled,
    OrderFilled,
    OrderKey,
    OrderRefused,
    OrderTerms,
    OrdStatus,
    OrdType,
    SubmitOrder,
)
from domain.position import PositionKey, SettleFunding, Transfer
from domain.risk import Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Mark, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
PERP = "BTC-PERP.SIM"
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")


def opened(log=None, now=lambda: T0, **more):
    """A ledger with one account and one instrument."""
    log = log if log is not None else MemoryLog()
    ledger = Ledger(log, now, **more)
    ledger.request(OpenAccount("main", "USDT", Costing(), T0), actor="alice")
    ledger.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="alice")
    return ledger, log


def submit(name, side="BUY", qty="1", price="100", strategy="trend"):
    kind = OrdType.MARKET if price is None else OrdType.LIMIT
    terms = OrderTerms(strategy, BTC, Side(side), kind, D(qty), None if price is None else D(price))
    return SubmitOrder(OrderKey("main", name), terms, T0)


UNPRICED = SubmitOrder(
    OrderKey("main", "A"), OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(1), None), T0
)  # fmt: skip


def fill(name, exec_id, side="BUY", qty="1", price="100", at=0, strategy="trend"):
    return OrderFilled(
        OrderKey("main", name), strategy, BTC, "", Side(side), exec_id, at, D(qty), D(price),
        Money(ZERO, "USDT"), Liquidity.TAKER, T0 + timedelta(seconds=at),
    )  # fmt: skip


def max_position(limit, strategy=None):
    return SetLimit("main", Scope(strategy, BTC), Measure.MAX_POSITION, D(limit), None, T0)


def topics(records):
    return [(recorded.stream.partition(":")[0], type(recorded.event).__name__) for recorded in records]


def test_an_order_is_submitted_and_its_quantity_held_in_one_append():
    ledger, log = opened()
    answer = ledger.request(submit("A"), actor="bot", request_id="r1")
    assert topics(answer.records) == [("order", "OrderSubmitted"), ("limit", "HoldPlaced")]
    assert answer.seq == log.head().seq
    assert {(recorded.actor, recorded.request_id) for recorded in answer.records} == {("bot", "r1")}


def test_a_fill_moves_order_position_and_limit_in_one_append():
    ledger, _ = opened()
    ledger.report([fill("first", "E0")], actor="venue")
    ledger.request(submit("A"), actor="bot")
    before = ledger._log.head().seq
    (answer,) = ledger.report([fill("A", "E1", at=1)], actor="venue")
    assert topics(answer.records) == [("order", "OrderFilled")]
    added = [logged.recorded for logged in ledger._log.select(after=before)]
    assert topics(added) == [("order", "OrderFilled"), ("position", "TradeBooked"), ("limit", "HoldPosted")]
    assert ledger.state(order.stream(OrderKey("main", "A"))).status is OrdStatus.FILLED
    assert ledger.state(risk.stream("main")).holds == {}


def test_the_same_order_twice_is_one_order_and_another_under_its_name_is_refused():
    ledger, _ = opened()
    ledger.request(submit("A"), actor="bot")
    assert ledger.request(submit("A"), actor="bot").records == ()
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order"):
        ledger.request(submit("A", qty="2"), actor="bot")


def test_a_refusal_by_risk_names_its_numbers_is_on_record_and_repeats():
    ledger, log = opened()
    ledger.request(max_position("1.5"), actor="risk")
    ledger.request(submit("A"), actor="bot")
    for _ in range(2):
        with pytest.raises(RequestRefused, match="MAX_POSITION is not exceeded") as refused:
            ledger.request(submit("B"), actor="bot")
        facts = {name: str(value) for name, value in refused.value.facts.items()}
        assert facts["limit"] == "1.5"
        assert facts["used"] == "1"
        assert facts["asked"] == "2"
    assert topics(logged.recorded for logged in log.select(after=log.head().seq - 2)) == [
        ("order", "OrderRefused"),
        ("limit", "HoldRefused"),
    ]


def test_a_canceled_order_gives_its_room_back_only_when_the_venue_reports_it():
    ledger, _ = opened()
    ledger.request(max_position("1"), actor="risk")
    ledger.request(submit("A"), actor="bot")
    ledger.request(CancelOrder(OrderKey("main", "A"), "user", T0), actor="bot")
    with pytest.raises(RequestRefused):
        ledger.request(submit("B"), actor="bot")
    ledger.report([OrderCanceled(OrderKey("main", "A"), "user", T0)], actor="venue")
    ledger.request(submit("C"), actor="bot")


def test_an_order_that_reduces_an_oversized_position_passes():
    ledger, _ = opened()
    ledger.report([fill("X", "E1", qty="5")], actor="venue")
    ledger.request(max_position("1"), actor="risk")
    ledger.request(submit("A", side="SELL", qty="3"), actor="bot")
    with pytest.raises(RequestRefused):
        ledger.request(submit("B", side="BUY", qty="0.001"), actor="bot")


def test_a_notional_limit_values_a_market_order_at_the_mark_and_refuses_without_one():
    marks = {}
    ledger, _ = opened(marks=marks.get)
    limit = SetLimit("main", Scope(), Measure.MAX_ORDER_NOTIONAL, D(150), "USDT", T0)
    ledger.request(limit, actor="risk")
    with pytest.raises(RequestRefused, match="a mark to value it by"):
        ledger.request(submit("A", price=None), actor="bot")
    marks[BTC] = Mark(BTC, D(100), "SIM", T0)
    placed = ledger.request(submit("B", price=None), actor="bot").records[-1].event
    assert (placed.notional, placed.mark) == (100, marks[BTC])
    with pytest.raises(RequestRefused, match="MAX_ORDER_NOTIONAL is not exceeded"):
        ledger.request(submit("C", price=None, qty="2"), actor="bot")


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (submit("A", qty="0"), "order_qty above zero"),
        (submit("A", qty="NaN"), "order_qty above zero"),
        (submit("A", price="-1"), "price above zero"),
        (CancelOrder(OrderKey("main", "unknown"), "user", T0), "an order on record"),
        (SubmitOrder(OrderKey("unknown", "A"), submit("A").terms, T0), "the account is open"),
        (max_position("NaN"), "a limit of zero or more"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(request_, rule):
    ledger, log = opened()
    before = log.head()
    with pytest.raises(RequestRefused, match=rule):
        ledger.request(request_, actor="bot")
    assert log.head() == before


@pytest.mark.parametrize(
    ("request_", "rule", "code", "facts"),
    [
        (submit("A", qty="1.0001"), "order_qty in steps of the lot size", "LOT_SIZE", {"order_qty": "1.0001"}),
        (submit("A", price="100.001"), "price in steps of the tick size", "TICK_SIZE", {"price": "100.001"}),
        (UNPRICED, "a limit order has a price above zero", "PRICE_REQUIRED", {"ord_type": "LIMIT"}),
    ],
)
def test_what_refuses_an_order_is_on_record_and_the_same_order_gets_the_same_refusal(request_, rule, code, facts):
    ledger, log = opened()
    refusals = []
    for _ in range(2):
        with pytest.raises(RequestRefused) as refused:
            ledger.request(request_, actor="bot")
        refusals.append((refused.value.rule, refused.value.code, refused.value.sentence))
        assert facts.items() <= {name: str(fact) for name, fact in refused.value.facts.items()}.items()
        head = log.head().seq
    assert refusals == [(rule, code, refusals[0][2])] * 2
    (stored,) = log.read("order:main:A")
    assert isinstance(stored.event, OrderRefused)
    assert (stored.event.rule, stored.event.terms) == (rule, request_.terms)
    assert log.head().seq == head
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order"):
        ledger.request(submit("A"), actor="bot")


def test_an_order_of_an_unknown_account_or_instrument_is_not_on_record():
    ledger, log = opened()
    before = log.head()
    terms = submit("A").terms
    for key, changed, code in (
        (OrderKey("unknown", "A"), terms, "UNKNOWN_ACCOUNT"),
        (OrderKey("main", "A"), replace(terms, instrument_id="NOPE.SIM"), "UNKNOWN_INSTRUMENT"),
    ):
        with pytest.raises(RequestRefused) as refused:
            ledger.request(SubmitOrder(key, changed, T0), actor="bot")
        assert refused.value.code == code
    assert log.head() == before


def test_a_fill_of_an_order_we_never_sent_is_adopted_and_a_repeat_adds_nothing():
    ledger, log = opened()
    (answer,) = ledger.report([fill("X", "E1")], actor="venue")
    assert topics(answer.records) == [("order", "OrderAdopted"), ("order", "OrderFilled")]
    before = log.head()
    assert ledger.report([fill("X", "E1")], actor="venue")[0].records == ()
    assert log.head() == before


def test_a_fill_that_contradicts_one_on_record_is_kept_as_a_break_and_not_booked():
    ledger, _ = opened()
    ledger.report([fill("X", "E1")], actor="venue")
    for expected in ([("order", "OrderBroken")], []):
        (answer,) = ledger.report([fill("X", "E1", price="101")], actor="venue")
        assert topics(answer.records) == expected
    assert ledger.state("position:main:trend:BTCUSDT.SIM").book.cost == 100


def test_an_execution_reported_under_two_orders_is_booked_once():
    ledger, log = opened()
    ledger.request(submit("A"), actor="bot")
    ledger.report([fill("A", "E1"), fill("BTCUSDT-E1", "E1")], actor="venue")
    before = log.head()
    (again,) = ledger.report([fill("BTCUSDT-E1", "E1")], actor="import")
    other_process = Ledger(log, lambda: T0)
    assert again.records == other_process.report([fill("BTCUSDT-E1", "E1")], actor="import")[0].records == ()
    assert log.head() == before
    assert other_process.state("position:main:trend:BTCUSDT.SIM").quantity == 1


def test_an_execution_booked_under_another_order_is_a_break_of_the_one_it_is_reported_for():
    ledger, _ = opened()
    ledger.report([fill("BTCUSDT-E1", "E1")], actor="import")
    ledger.request(submit("A"), actor="bot")
    for expected in ([("order", "OrderBroken")], []):
        (answer,) = ledger.report([fill("A", "E1")], actor="venue")
        assert topics(answer.records) == expected
    assert ledger.state("position:main:trend:BTCUSDT.SIM").quantity == 1


def test_a_report_that_cannot_be_placed_is_answered_for_itself_and_spoils_no_neighbour():
    ledger, _ = opened()
    stray = OrderFilled(
        OrderKey("main", "Y"),
        "trend",
        "ETHUSDT.SIM",
        "",
        Side.BUY,
        "E2",
        0,
        D(1),
        D(1),
        Money(ZERO, "USDT"),
        Liquidity.TAKER,
        T0,
    )
    first, second = ledger.report([stray, fill("X", "E1")], actor="venue")
    assert isinstance(first.error, InvalidInput)
    assert first.error.field == "instrument_id"
    assert second.error is None
    assert second.records


def test_funding_in_another_currency_than_the_settlement_currency_is_an_entry_of_the_account():
    """Some venues settle in credits; the position's funding is one sum in its own currency."""
    ledger, _ = opened()
    ledger.request(ListInstrument(PERP, Contract(Kind.LINEAR, "BTC", "USDT", "USDT"), D("0.1"), D("0.001")), actor="a")
    key = PositionKey("main", "trend", PERP)
    paid = SettleFunding(key, "F-1", Money(D(-1), "BNFCR"), T0)
    (answer,) = ledger.report([paid], actor="venue")
    assert ("account", "EntryBooked") in topics(answer.records)
    assert ledger.state("account:main").cash.balances == {"BNFCR": D(-1)}
    assert ledger.report([paid], actor="venue")[0].records == ()
    other = SettleFunding(key, "F-1", Money(D(-2), "BNFCR"), T0)
    assert topics(ledger.report([other], actor="venue")[0].records) == [("account", "AccountBroken")]
    of_spot = SettleFunding(PositionKey("main", "trend", BTC), "F-1", Money(D(-1), "BNFCR"), T0)
    assert isinstance(ledger.report([of_spot], actor="venue")[0].error, ReportUnreadable)


def test_raw_evidence_is_kept_once():
    ledger, _ = opened()
    kept = RawReportKept("main", "SIM", "f.csv:3", "a,b", "price: 'b' is not a finite decimal number")
    assert len(ledger.report([kept], actor="import")[0].records) == 1
    assert ledger.report([kept], actor="import")[0].records == ()


def test_recorded_at_never_decreases_when_the_clock_steps_back():
    clock = iter([T0 + timedelta(hours=2), T0 + timedelta(hours=2)] + [T0] * 20)
    ledger, log = opened(now=lambda: next(clock))
    ledger.request(submit("A"), actor="bot")
    assert {logged.recorded.recorded_at for logged in log.select()} == {T0 + timedelta(hours=2)}


def test_a_second_ledger_on_the_log_sees_what_the_first_did():
    ours, log = opened()
    theirs = Ledger(log, lambda: T0)
    ours.request(max_position("1"), actor="risk")
    assert theirs.state(risk.stream("main")).limits
    ours.request(submit("A"), actor="bot")
    with pytest.raises(RequestRefused):
        theirs.request(submit("B"), actor="bot")
    theirs.report([OrderCanceled(OrderKey("main", "A"), "user", T0)], actor="venue")
    ours.request(submit("C"), actor="bot")


def test_a_writer_that_is_always_overtaken_is_busy():
    _ledger, log = opened()

    class Overtaken:
        def __getattr__(self, name):
            return getattr(log, name)

        def append(self, records):
            raise StreamConflict(records[0].stream)

    hopeless = Ledger(Overtaken(), lambda: T0)
    with pytest.raises(StreamConflict, match="overtaken by other writers"):
        hopeless.request(submit("A"), actor="bot")


def test_a_transfer_in_counts_against_the_limit():
    ledger, _ = opened()
    key = PositionKey("main", "trend", BTC)
    ledger.report([Transfer(key, "opening", Side.BUY, D(2), D(180), T0)], actor="ops")
    ledger.request(max_position("2"), actor="risk")
    with pytest.raises(RequestRefused):
        ledger.request(submit("A"), actor="bot")
    assert ledger.state(position.stream(key)).book.cost == 180


def test_a_fee_in_another_spelling_of_the_instrument_s_currency_is_unreadable():
    ledger, _ = opened()
    (answer,) = ledger.report([replace(fill("X", "E1"), commission=Money(D(1), "usdt"))], actor="venue")
    assert (answer.error.field, answer.error.rule) == (
        "commission.currency", "written as the instrument has it, USDT",
    )  # fmt: skip
    (answer,) = ledger.report([replace(fill("X", "E1"), commission=Money(D(1), "usdtx"))], actor="venue")
    assert answer.error is None


def test_a_venue_s_own_id_that_reads_like_a_shared_one_is_an_execution_of_its_own():
    ledger, log = opened()
    shared = [fill("A", "E1"), fill("B", "E1", qty="2"), fill("C", "E1#2", qty="4"), fill("D", "E1:#2", qty="8")]
    for _ in range(2):  # reported again, each is known
        for report in shared:
            (answer,) = ledger.report([report], actor="venue")
            assert answer.error is None
    records = [each for name in "ABCD" for each in log.read(order.stream(OrderKey("main", name)))]
    fills = [each.event for each in records if isinstance(each.event, OrderFilled)]
    assert [each.last_qty for each in fills] == [1, 2, 4, 8]
    assert len({each.id_on_record for each in fills}) == 4

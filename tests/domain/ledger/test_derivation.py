"""Derivation: honest logs follow from their requests and reports; any change of what follows is named."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal as D
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from domain import order, position, risk
from domain.account import StatementTaken
from domain.instrument import Contract, Kind, ListInstrument, PutOrCall
from domain.ledger import ORIGINS, Item, Origin, Recorded, origins, scan, schema
from domain.order import OrderAliased, OrderBreakWithdrawn, OrderBroken, OrderCanceled, OrderFilled, OrderKey
from domain.position import (
    Effect,
    PositionRestated,
    Restated,
    SettleContract,
    SettleFunding,
    Sums,
    TradeBooked,
)
from domain.risk import AssessMarks, HoldVoided, Measure, Scope, SetLimit
from domain.values import Mark, Money, Side
from tests import GOLDEN, samples
from tests.days import STEPS
from tests.derived import derived, derived_items, items
from tests.desk import (
    BTC,
    POSITION,
    T0,
    Desk,
    cash_days,
    costings,
    days,
    fill,
    fill_days,
    fill_of,
    new_order,
    order_days,
    risk_days,
)

any_day = st.sampled_from([days, fill_days, order_days, risk_days, cash_days]).flatmap(lambda drawn: drawn)
# of a monitoring: the capital it was requested with, and that a limit lacked a mark, or did not any more
OF_A_MONITORING = (risk.EquityAssessed, risk.AssessmentMissed, risk.AssessmentResumed)
TAKEN_AS_GIVEN = {"mark", "marks"}  # fields of events that follow which the decision was given


def history(desk: Desk) -> list[Recorded]:
    return [logged.recorded for logged in scan(desk.log)]


def follows(desk: Desk) -> list[Recorded]:
    """The records of a desk, all of which follow."""
    records = history(desk)
    found = derived(records)
    assert not found.faults, "\n".join(map(str, found.faults))
    assert found.events + sum(found.given.values()) == len(records) and not found.other_code
    return records


class StandingDesk(Desk):
    """A desk whose clock stands: the envelopes of its appends are alike."""

    def _now(self) -> datetime:
        return T0


class HoardingDesk(StandingDesk):
    """A desk that sends its reports four at a time, in one append."""

    waiting: list[Any] = []  # noqa: RUF012

    def report(self, *reports: Any) -> list[Any]:
        self.waiting = [*self.waiting, *reports]
        if len(self.waiting) < 4:
            return []
        sent, self.waiting = self.waiting, []
        return super().report(*sent)


# The table of origins


def test_every_event_has_an_origin():
    """A new event is entered in ORIGINS: what it is to the decision that records it."""
    assert set(ORIGINS) == set(schema.NEWEST)


@pytest.mark.parametrize("event", samples.EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_states_the_request_or_report_that_its_origin_says(event):
    match ORIGINS[type(event)]:
        case Origin.REQUEST:
            assert origins.request_of(event) is not None and origins.report_of(event) is None
        case Origin.REPORT:
            reported = event if not hasattr(event, "report") or event.report is not None else None
            assert origins.report_of(event) is not None or reported is None
        case Origin.FOLLOWS | Origin.GIVEN:
            assert origins.report_of(event) is None


# Honest logs


@pytest.mark.parametrize("kind", [Desk, StandingDesk, HoardingDesk])
@given(day=any_day, costing=costings)
@settings(max_examples=60)
def test_any_day_follows_from_its_requests_and_reports(kind, day, costing):
    desk = kind(costing=costing)
    desk.live(day)
    follows(desk)


def test_every_kind_of_step_follows():
    """Or the property above shows nothing of some of them."""
    random_steps = random.Random(5)
    desk = Desk()
    for number in range(1500):
        step = (number % len(STEPS), *(random_steps.randrange(12) for _ in range(3)), random_steps.randrange(31))
        desk.live([step])
    seen = {type(record.event) for record in follows(desk)}
    wanted = {OrderBroken, OrderBreakWithdrawn, OrderAliased, PositionRestated, risk.HoldAdjusted, risk.UsageCarried}
    assert wanted <= seen


def test_an_order_refused_by_its_instrument_its_own_terms_or_a_limit_follows():
    desk = Desk()
    desk.request(SetLimit("main", Scope(), Measure.MAX_POSITION, D(5), None, T0))
    for number, (quantity, price) in enumerate((("1", "100.0001"), ("0.0000001", "100"), ("6", "100"), ("1", "100"))):
        desk.request(new_order(f"R-{number}", quantity, price))
    kinds = [type(record.event).__name__ for record in follows(desk) if record.stream.startswith("order:main:R-")]
    assert kinds == ["OrderRefused"] * 3 + ["OrderSubmitted"]


def test_a_batch_is_booked_in_the_order_of_reports_that_left_no_trace():
    desk = Desk()
    funding = SettleFunding(position.PositionKey("main", "trend", BTC), "F1", Money(D(1), "USDT"), T0)
    desk.report(funding)
    desk.report(funding, fill("E1", Side.BUY, "1", "100", strategy_id="maker"), fill("E2", Side.BUY, "1", "100"))
    booked = [record.stream for record in follows(desk) if isinstance(record.event, TradeBooked)]
    assert booked == [POSITION, f"position:main:maker:{BTC}"]


def test_marks_that_a_decision_used_are_taken_from_its_events():
    desk = Desk()
    for measure in (Measure.MAX_ORDER_NOTIONAL, Measure.MAX_POSITION_NOTIONAL):
        desk.request(SetLimit("main", Scope(None, BTC), measure, D(150), "USDT", T0))
    market = replace(new_order("A-1"), terms=replace(new_order("A-1").terms, ord_type=order.OrdType.MARKET, price=None))
    desk.request(market)
    desk.report(fill_of("A-1", "E1"))
    desk.request(AssessMarks("main", (Mark(BTC, D(200), "SIM", T0),), T0, Money(D(1000), "USDT")))
    desk.request(replace(market, key=OrderKey("main", "A-2")))
    stale = replace(market, key=OrderKey("main", "A-3"), transact_time=T0 + timedelta(hours=1))
    desk.request(stale)
    seen = {type(record.event) for record in follows(desk)}
    assert {risk.HoldPlaced, risk.HoldRefused, risk.LimitBreached, risk.EquityAssessed} <= seen


@pytest.mark.parametrize("underlying", ["61234.5", "50000", "49000", "0.000123456789"])
@pytest.mark.parametrize("settle", ["USDT", "BTC"])
def test_the_settlement_of_an_option_follows_at_any_price(settle, underlying):
    desk = Desk()
    option = Contract(Kind.OPTION, "BTC", "USDT", settle, D("0.1"), T0, D(50000), PutOrCall.PUT)
    desk.request(ListInstrument("BTC-50000-P.SIM", option, D("0.01"), D("0.01")))
    desk.report(fill("E1", Side.BUY, "3", "10", -60, instrument_id="BTC-50000-P.SIM", fee=Money(D(0), settle)))
    key = position.PositionKey("main", "trend", "BTC-50000-P.SIM")
    desk.request(SettleContract(key, "S1", D(underlying), T0))
    assert any(getattr(record.event, "kind", "") == "EXERCISE" for record in follows(desk))


# Changes of what follows


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case D() | int():
            return value + 1
        case Enum():
            return next((other for other in type(value) if other is not value), None)
        case str():
            return value + "x"
        case datetime():
            return value + timedelta(seconds=1)
        case _:
            return None


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """The paths to all values in an event that can be changed, without those that the decision was given."""
    if isinstance(value, Struct):
        for name in value.__struct_fields__:
            if name not in TAKEN_AS_GIVEN:
                yield from ((name, *rest) for rest in _paths(getattr(value, name)))
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from ((index, *rest) for rest in _paths(each))
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from ((name, *rest) for rest in _paths(each))
    elif _other(value) is not None:
        yield ()


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    """The value with another one at a path."""
    if not path:
        return _other(value)
    first, rest = path[0], path[1:]
    if isinstance(value, Struct):
        return replace(value, **{first: changed(getattr(value, first), rest)})
    if isinstance(value, tuple):
        return (*value[:first], changed(value[first], rest), *value[first + 1 :])
    return value | {first: changed(value[first], rest)}


def append_of(records: Sequence[Recorded], at: int) -> tuple[int, int]:
    """The first and last place of the append that a record is of."""
    same = [place for place, record in enumerate(records) if record.recorded_at == records[at].recorded_at]
    return same[0], same[-1]


def renumbered(records: Sequence[Recorded]) -> list[Recorded]:
    """The records with the versions that their places give them, as one who seals them again would number them."""
    versions: dict[str, int] = {}
    numbered = []
    for record in records:
        versions[record.stream] = versions.get(record.stream, 0) + 1
        numbered.append(replace(record, version=versions[record.stream]))
    return numbered


def is_monitoring(records: Sequence[Recorded]) -> bool:
    """Whether an append is a monitoring: it has no event that states its request, whose time and capital are given."""
    return origins.is_monitored(records[0].event)


def check_named(records: Sequence[Recorded], first: int, last: int, done: str) -> None:
    """Check that the first fault is within the append of these places."""
    found = derived(renumbered(records))
    assert found.faults, f"{done} is not named"
    assert first + 1 <= found.faults[0].seq <= last + 2, f"{done} at {first + 1} to {last + 1}: {found.faults[0]}"


@given(day=any_day, costing=costings, draw=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_any_change_of_what_follows_is_named(day, costing, draw):
    """A field of it, its removal, its repetition in its append, or beside: sealed again by one who has all keys."""
    desk = Desk(costing=costing)
    desk.live(day)
    records = history(desk)
    places = [at for at, record in enumerate(records) if ORIGINS[type(record.event)] is Origin.FOLLOWS]
    for at in draw.sample(places, min(3, len(places))):
        event, (first, last) = records[at].event, append_of(records, at)
        name = type(event).__name__
        if (paths := list(_paths(event))) and not is_monitoring(records[first : last + 1]):
            path = draw.choice(paths)
            forged = replace(records[at], event=changed(event, path))
            check_named([*records[:at], forged, *records[at + 1 :]], first, last, f"{name}.{path}")
        if last > first and not isinstance(event, OF_A_MONITORING):
            check_named([*records[:at], *records[at + 1 :]], first, last - 1, f"a removed {name}")
        check_named([*records[: at + 1], *records[at:]], first, last + 1, f"a second {name}")
        later = replace(records[at], recorded_at=records[-1].recorded_at + timedelta(seconds=1))
        check_named([*records, later], len(records), len(records), f"a {name} of its own")


# Forgeries


@pytest.fixture
def traded() -> list[Recorded]:
    """An order, its fill, its cancellation; and another fill."""
    desk = Desk()
    desk.request(new_order("A-1", "2"))
    desk.report(fill_of("A-1", "E1"))
    desk.report(OrderCanceled(OrderKey("main", "A-1"), "user", T0 + timedelta(seconds=9)))
    desk.report(fill("E2", Side.SELL, "1", "110", 1))
    return follows(desk)


def forged(records: list[Recorded], stream: str, event: Any) -> list[Recorded]:
    """The records and one more, in an append of its own."""
    at = records[-1].recorded_at + timedelta(seconds=1)
    return renumbered([*records, Recorded(stream, 1, at, "venue", "r", event)])


def last_of(records: Sequence[Recorded], event_class: type) -> Any:
    return next(record for record in reversed(records) if isinstance(record.event, event_class))


def test_a_booking_without_a_fill_is_named(traded):
    booked = last_of(traded, TradeBooked).event
    event = replace(
        booked, exec_id="E9", side=Side.BUY, last_qty=D(1000), effect=Effect(D(1000), D(100_000), opened=())
    )
    (fault,) = derived(forged(traded, POSITION, event)).faults
    assert (fault.seq, fault.topic, fault.stream) == (len(traded) + 1, "TradeBooked.v3", POSITION)
    assert fault.reason == "no request or report of its append leads to it"


def test_a_wrong_cost_is_named_with_what_follows_and_what_is_on_record(traded):
    at = traded.index(last_of(traded, TradeBooked))
    event = traded[at].event
    wrong = replace(event, effect=replace(event.effect, realized=D(1_000_000)))
    fault = derived([*traded[:at], replace(traded[at], event=wrong), *traded[at + 1 :]]).faults[0]
    assert fault.seq == at + 1
    assert fault.reason == 'effect.realized is "1000000" on record, and "10" follows'
    assert fault.expected is not None and fault.found is not None
    assert (fault.expected.event, fault.found.event) == (event, wrong)


@pytest.mark.parametrize(
    ("stream", "event"),
    [
        ("limit:main", HoldVoided(OrderKey("main", "A-1"), "trend", BTC, D(1), T0)),
        ("order:main:A-1", OrderBreakWithdrawn(OrderKey("main", "A-1"), "a rule", fill_of("A-1", "E1"))),
        (
            POSITION,
            PositionRestated(
                position.PositionKey("main", "trend", BTC), ("E1",),
                (Restated("E1", 0, T0, Sums(D(100), D(0), D(0), D(0)), Effect(D(1), D(100), D(5))),),
            ),
        ),
        ("venueorder:SIM:main:V9", order.VenueOrderLinked("SIM", "main", "V9", BTC, "A-1", T0)),
        ("limit:main", risk.LimitBreached("main", Scope(), Measure.MAX_POSITION, BTC, 1, D(1), None, D(9), (), T0)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Struct) else "",
)  # fmt: skip
def test_an_event_that_nothing_leads_to_is_named(traded, stream, event):
    found = derived(forged(traded, stream, event))
    assert [fault.seq for fault in found.faults] == [len(traded) + 1]


def test_what_is_missing_is_named_at_the_place_where_it_would_be(traded):
    at = traded.index(last_of(traded, TradeBooked))
    found = derived(renumbered([*traded[:at], *traded[at + 2 :]]))
    assert found.faults[0].seq == at + 1 and found.faults[0].found is None
    assert found.faults[0].reason == "it follows from what is before it, and is missing"


def test_an_execution_under_two_orders_is_named(traded):
    fill_record = last_of(traded, OrderFilled)
    again = replace(fill_record.event, key=OrderKey("main", "B-1"))
    found = derived(forged(traded, "order:main:B-1", again))
    assert "its execution is on record before" in found.faults[0].reason
    assert found.faults[0].seq == len(traded) + 1


def test_one_fault_is_named_once_and_the_rest_is_decided_on_what_is_on_record(traded):
    records = forged(traded, POSITION, replace(last_of(traded, TradeBooked).event, exec_id="E9"))
    desk = Desk(type(Desk().log)(records))  # a desk that goes on from there, forged or not
    desk._seconds = len(records) + 99
    desk.report(fill("E5", Side.BUY, "1", "120", 9))
    found = derived(history(desk))
    assert [fault.seq for fault in found.faults] == [len(traded) + 1]


# What is not decided again


def older(topic: str) -> Any:
    return schema.decode(topic, (GOLDEN / f"{topic}.json").read_bytes().strip())


def in_an_older_shape(records: Sequence[Recorded], effect: Effect | None = None) -> list[Item]:
    """The records with their bookings in an older shape and, if given, of another effect."""
    return [
        item._replace(
            topic="TradeBooked.v2",
            recorded=replace(
                item.recorded, event=replace(item.recorded.event, effect=effect or item.recorded.event.effect)
            ),
        )
        if isinstance(item.recorded.event, TradeBooked)
        else item
        for item in items(records)
    ]


def test_appends_in_an_older_shape_that_other_code_decided_are_listed_and_never_passed_in_silence():
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "1", "100"))
    log = in_an_older_shape(history(desk), Effect(D(1), D(99)))
    found = derived_items(log)
    assert not found.faults
    (listed,) = found.other_code
    of_the_fill = [item.seq for item in log if item.recorded.recorded_at == log[-1].recorded.recorded_at]
    assert listed == ("TradeBooked.v2", len(of_the_fill), of_the_fill[0], of_the_fill[-1])


def test_no_other_code_has_booked_what_no_report_leads_to():
    log = items(history(Desk()))
    log.append(log[-1]._replace(seq=len(log) + 1, recorded=older("TradeBooked"), topic="TradeBooked"))
    (fault,) = derived_items(log).faults
    assert (fault.seq, fault.reason) == (len(log), "no request or report of its append leads to it")


def test_an_older_shape_after_the_newer_one_is_named(traded):
    log = items(traded)
    record = replace(older("TradeBooked.v2"), recorded_at=T0 + timedelta(days=1))
    log.append(log[-1]._replace(seq=len(log) + 1, recorded=record, topic="TradeBooked.v2"))
    alone, late = derived_items(log).faults
    assert alone.seq == late.seq == len(log) and "no release writes the older after the newer" in late.reason


def test_an_older_shape_that_is_decided_alike_follows():
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "1", "100"))
    log = in_an_older_shape(history(desk))
    found = derived_items(log)
    assert not found.faults and not found.other_code and found.events == len(log)


def test_what_is_taken_as_given_is_counted():
    desk = Desk()
    statement = StatementTaken("main", "SIM", "S1", "test", (), (), (), None, 0, "", T0)
    records = [*history(desk), Recorded("statement:main:1", 1, T0 + timedelta(hours=1), "venue", "r", statement)]
    found = derived(records)
    assert not found.faults and found.given == {"StatementTaken": 1}

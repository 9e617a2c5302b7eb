"""The simulated venue: one seed is one day, and bad reporting changes nothing but the reports."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.exchanges import Exchange
from adapters.exchanges.simulated import FAULTLESS, INVERSE, LINEAR, SPOT, Faults, SimulatedVenue, Tick
from adapters.log.memory import MemoryLog
from adapters.writer.writer import Writer
from domain import order, position, risk
from domain.account import CostBasis, Costing, OpenAccount
from domain.errors import RequestRefused
from domain.ledger import Report
from domain.order import (
    CancelOrder,
    Order,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderTerms,
    OrdStatus,
    OrdType,
    SubmitOrder,
    TimeInForce,
)
from domain.position import PositionKey, SettleFunding
from domain.values import Liquidity, Mark, Side

START = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=5)
STEPS = 200
QUIET_STEPS = 45  # beyond the latest report, late and repeated as late as may be
STRATEGIES = ("a", "b")
SIZES = {SPOT: Decimal("0.35"), LINEAR: Decimal("0.5"), INVERSE: Decimal(80)}
BAD = Faults(duplicate_per_mille=150, late_per_mille=200, late_steps_max=9, fill_after_cancel_per_mille=700)


def at(steps: int) -> datetime:
    return START + STEP * steps


def scripted(seed: int, steps: int) -> list[list[SubmitOrder | CancelOrder]]:
    """Requests by step, decided beforehand: so that no report can change what is sent."""
    random, tick = Random(seed), {SPOT: Decimal("0.01"), LINEAR: Decimal("0.1"), INVERSE: Decimal("0.5")}
    script: list[list[SubmitOrder | CancelOrder]] = [[] for _ in range(steps)]
    for number in range(steps * 3):
        step, name = random.randrange(steps - 1), random.choice([SPOT, LINEAR, INVERSE])
        key, side = OrderKey("desk", f"o-{number}"), random.choice(list(Side))
        price = None
        if random.random() < 0.8:
            price = Decimal(random.randrange(59_000, 61_000)) // tick[name] * tick[name]
        terms = OrderTerms(
            random.choice(STRATEGIES), name, side, OrdType.LIMIT if price else OrdType.MARKET, SIZES[name], price,
            random.choice([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
        )  # fmt: skip
        script[step].append(SubmitOrder(key, terms, at(step)))
        if random.random() < 0.7:
            later = min(step + random.randrange(4), steps - 1)
            script[later].append(CancelOrder(key, "scripted", at(later)))
    for number in range(steps * 3):  # nothing is left working
        script[-1].append(CancelOrder(OrderKey("desk", f"o-{number}"), "the end", at(steps)))
    return script


def run(seed: int, faults: Faults = FAULTLESS, *, steps: int = STEPS) -> list[Tick]:
    """A scripted day at the venue, until it is quiet."""
    venue, ticks = SimulatedVenue(seed, START, faults), []
    for requests in scripted(seed, steps):
        for request in requests:
            if isinstance(request, SubmitOrder):
                venue.submit(request)
            else:
                venue.cancel(request)
        ticks.append(venue.advance(STEP))
    ticks += [venue.advance(STEP) for _ in range(QUIET_STEPS)]
    assert venue.is_quiet
    return ticks


def reports(ticks: Sequence[Tick]) -> list[Report]:
    return [report for tick in ticks for report in tick.reports]


def booked(seed: int, ticks: Sequence[Tick], costing: Costing, *, steps: int = STEPS) -> Writer:
    """The book after the same requests and these reports."""
    writer = Writer(MemoryLog(), lambda: START)
    writer.request(OpenAccount("desk", "USDT", costing, START), actor="tester")
    for listing in SimulatedVenue(seed, START).instruments():
        writer.request(listing, actor="tester")
    script = scripted(seed, steps)
    for number, tick in enumerate(ticks):
        for request in script[number] if number < len(script) else ():
            with suppress(RequestRefused):  # what is closed for the book may be open at the venue
                writer.request(request, actor="tester")
        writer.report(tick.reports, actor="venue")
    return writer


def books(writer: Writer) -> dict[tuple[str, str], Any]:
    found = {}
    for strategy_id in STRATEGIES:
        for instrument_id in SIZES:
            held = writer.state(position.stream(PositionKey("desk", strategy_id, instrument_id)))
            found[strategy_id, instrument_id] = held and (
                held.quantity, held.book.cost, list(held.book.lots), held.realized, held.rounding, held.fees,
                held.fee_cost, held.funding,
            )  # fmt: skip
    return found


def test_one_seed_is_one_day_and_another_is_another() -> None:
    assert run(1) == run(1)
    assert run(1, BAD) == run(1, BAD)
    assert [tick.marks for tick in run(1)] != [tick.marks for tick in run(2)]


def test_orders_do_not_move_the_price() -> None:
    lonely = SimulatedVenue(1, START)
    assert [lonely.advance(STEP).marks for _ in range(STEPS)] == [tick.marks for tick in run(1)][:STEPS]


def test_prices_are_on_the_tick_and_stay_reasonable() -> None:
    ticks = {listing.instrument_id: listing.tick_size for listing in SimulatedVenue(1, START).instruments()}
    for seed in range(5):
        venue = SimulatedVenue(seed, START)
        for _ in range(288):
            tick = venue.advance(STEP)
            assert [mark.mark_at for mark in tick.marks] == [tick.now] * 3
            for mark in tick.marks:
                assert mark.price % ticks[mark.instrument_id] == 0
                assert 40_000 < mark.price < 90_000


def test_a_day_has_everything_a_venue_does() -> None:
    kinds = Counter(type(report) for report in reports(run(1)))
    expected = {
        OrderAccepted, OrderRejected, OrderFilled, OrderCanceled, OrderExpired, OrderCancelRejected, SettleFunding
    }  # fmt: skip
    assert set(kinds) == expected
    fills = [report for report in reports(run(1)) if isinstance(report, OrderFilled)]
    assert {fill.liquidity for fill in fills} == {Liquidity.MAKER, Liquidity.TAKER}
    assert len({fill.exec_id for fill in fills}) == len(fills)
    assert [fill.trade_seq for fill in fills] == sorted(fill.trade_seq for fill in fills)
    assert [fill.transact_time for fill in fills] == sorted(fill.transact_time for fill in fills)
    assert max(Counter(fill.key for fill in fills).values()) > 1, "some orders fill in parts"


def test_fees_are_paid_in_the_currency_of_their_market() -> None:
    paid = {
        (fill.instrument_id, fill.side, fill.liquidity, fill.commission.currency, fill.commission.amount > 0)
        for fill in reports(run(1))
        if isinstance(fill, OrderFilled)
    }
    assert paid == {
        (name, side, liquidity, paid_in, name != INVERSE or liquidity is Liquidity.TAKER)
        for name, side, paid_in in [
            (SPOT, Side.BUY, "BTC"), (SPOT, Side.SELL, "USDT"), (LINEAR, Side.BUY, "USDT"), (LINEAR, Side.SELL, "USDT"),
            (INVERSE, Side.BUY, "BTC"), (INVERSE, Side.SELL, "BTC"),
        ]
        for liquidity in (Liquidity.MAKER, Liquidity.TAKER)
    }  # fmt: skip


def test_no_order_trades_more_than_its_quantity_nor_worse_than_its_price() -> None:
    terms = {
        request.key: request.terms
        for step in scripted(1, STEPS)
        for request in step
        if isinstance(request, SubmitOrder)
    }
    filled: Counter[OrderKey] = Counter()
    for fill in reports(run(1)):
        if isinstance(fill, OrderFilled):
            requested = terms[fill.key]
            filled[fill.key] += fill.last_qty  # type: ignore[assignment]
            assert filled[fill.key] <= requested.order_qty
            assert requested.price is None or requested.side.sign * (requested.price - fill.last_px) >= 0
    for key, requested in terms.items():
        if requested.time_in_force is TimeInForce.FOK and requested.ord_type is OrdType.LIMIT:
            assert filled[key] in (0, requested.order_qty)


def test_funding_is_settled_every_eight_hours_on_what_is_held() -> None:
    funding = [report for report in reports(run(1)) if isinstance(report, SettleFunding)]
    assert {report.transact_time for report in funding} == {START + timedelta(hours=8), START + timedelta(hours=16)}
    assert {(report.key.instrument_id, report.amount.currency) for report in funding} == {
        (LINEAR, "USDT"),
        (INVERSE, "BTC"),
    }
    venue = SimulatedVenue(1, START)
    terms = OrderTerms("a", LINEAR, Side.BUY, OrdType.MARKET, Decimal(2))
    venue.submit(SubmitOrder(OrderKey("desk", "long"), terms, START))
    tick = venue.advance(timedelta(hours=8))
    (settled,) = (report for report in tick.reports if isinstance(report, SettleFunding))
    (mark,) = (mark for mark in tick.marks if mark.instrument_id == LINEAR)
    assert abs(settled.amount.amount) <= 2 * mark.price * Decimal("0.00035")
    assert settled.amount.amount.as_tuple().exponent >= -8


def test_a_strategy_without_orders_gets_no_reports() -> None:
    venue = SimulatedVenue(1, START)
    assert venue.is_quiet
    assert reports([venue.advance(STEP) for _ in range(200)]) == []


def test_a_cl_ord_id_sent_twice_is_one_order_and_an_unknown_cancel_is_rejected() -> None:
    venue = SimulatedVenue(3, START)
    sent = SubmitOrder(OrderKey("desk", "x"), OrderTerms("a", LINEAR, Side.BUY, OrdType.MARKET, Decimal(1)), START)
    venue.submit(sent)
    venue.submit(sent)
    venue.cancel(CancelOrder(OrderKey("desk", "y"), "why not", START))
    reported = venue.advance(STEP).reports
    assert Counter(type(report) for report in reported)[OrderAccepted] == 1
    assert sum(report.last_qty for report in reported if isinstance(report, OrderFilled)) == 1
    assert isinstance(reported[-1], OrderCancelRejected)


def test_the_venue_is_an_exchange() -> None:
    def reported(exchange: Exchange) -> tuple[str, int, list[Any]]:
        return exchange.venue, len(exchange.instruments()), list(exchange.reports())

    assert reported(SimulatedVenue(1, START)) == ("SIM", 3, [])


@pytest.mark.parametrize("basis", CostBasis)
def test_with_faults_the_book_ends_the_same(basis: CostBasis) -> None:
    good, bad = run(1), run(1, BAD)
    assert reports(good) != reports(bad)
    assert Counter(map(repr, reports(bad))).keys() == Counter(map(repr, reports(good))).keys(), "nothing is lost"
    straight, crooked = booked(1, good, Costing(basis)), booked(1, bad, Costing(basis))
    assert books(crooked) == books(straight)
    assert crooked.state(risk.stream("desk")) == straight.state(risk.stream("desk"))
    assert any(held and held[0] for held in books(straight).values())


@given(
    seed=st.integers(0, 10_000),
    faults=st.builds(
        Faults, st.integers(0, 600), st.integers(0, 600), st.integers(1, 20), st.integers(0, 1000)
    ),
    basis=st.sampled_from(CostBasis),
)  # fmt: skip
@settings(max_examples=25)
def test_with_any_faults_the_book_ends_the_same(seed: int, faults: Faults, basis: CostBasis) -> None:
    steps, costing = 25, Costing(basis)
    good, bad = run(seed, steps=steps), run(seed, faults, steps=steps)
    assert books(booked(seed, bad, costing, steps=steps)) == books(booked(seed, good, costing, steps=steps))


def test_a_fill_that_happened_before_a_cancel_reported_first_is_booked_and_no_break() -> None:
    faults = Faults(fill_after_cancel_per_mille=1000)
    bad = run(1, faults)
    canceled: set[OrderKey] = set()
    late = [
        report.key
        for report in reports(bad)
        if (isinstance(report, OrderCanceled) and canceled.add(report.key))  # type: ignore[func-returns-value]
        or (isinstance(report, OrderFilled) and report.key in canceled)
    ]
    assert late, "the seed has a race"
    writer = booked(1, bad, Costing())
    for key in late:
        state: Order = writer.state(order.stream(key))
        assert (state.breaks, state.status) == ((), OrdStatus.CANCELED)
        assert state.cum_qty > 0


def test_marks_are_there_before_the_first_step() -> None:
    marks = SimulatedVenue(1, START).marks()
    assert marks[0] == Mark(SPOT, Decimal(60_000), "SIM", START)

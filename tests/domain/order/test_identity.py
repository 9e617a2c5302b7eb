"""Execution identity: what distinguishes executions, what completes one, and what contradicts it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain.account import Costing, OpenAccount
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import (
    OrderAccepted,
    OrderBroken,
    OrderFillCompleted,
    OrderFilled,
    OrderKey,
    OrderTerms,
    OrdType,
    SubmitOrder,
    completed,
    stream,
)
from domain.order.identity import PRICE_DIGITS_MIN
from domain.position import Position, TradeBooked
from domain.values import Liquidity, Money, Occurrence, Side, rounded

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
LASTING, DAILY = "BTCUSDT.SIM", "BTCUSDT.FLOOR"  # a venue whose ids last, and one we know nothing of
POSITIONS = {name: f"position:main:trend:{name}" for name in (LASTING, DAILY)}


def opened() -> Ledger:
    ledger = Ledger(MemoryLog(), lambda: T0)
    ledger.request(OpenAccount("main", "USDT", Costing(), T0), actor="desk")
    for name in (LASTING, DAILY):
        contract = Contract(Kind.LINEAR, "BTC", "USDT", "USDT")
        ledger.request(ListInstrument(name, contract, D("0.0001"), D("0.0001")), actor="desk")
    return ledger


def fill(cl_ord_id: str, exec_id: str = "T1", **other: Any) -> OrderFilled:
    known: dict[str, Any] = {
        "strategy_id": "trend", "instrument_id": LASTING, "order_id": "", "side": Side.BUY, "exec_id": exec_id,
        "trade_seq": 0, "last_qty": D(1), "last_px": D("100.1234"), "commission": Money(D(0), "USDT"),
        "liquidity": Liquidity.UNKNOWN, "transact_time": T0,
    }  # fmt: skip
    return OrderFilled(OrderKey("main", cl_ord_id), **known | other)


def report(ledger: Ledger, *fills: OrderFilled) -> list[str]:
    """What each report adds to the streams of orders, in one word each."""
    words = []
    for each in fills:
        (answer,) = ledger.report([each], actor="venue")
        assert answer.error is None
        assert answer.on_record is not None, "nothing is answered that is not on record"
        kinds = {type(record.event) for record in answer.records}
        broken = "broken" if OrderBroken in kinds else None
        words.append(
            ("recorded" if OrderFilled in kinds else None)
            or ("completed" if OrderFillCompleted in kinds else None)
            or broken
            or "known"
        )
    return words


def held(ledger: Ledger, instrument_id: str = LASTING) -> Position:
    position: Position = ledger.state(POSITIONS[instrument_id])
    return position


@pytest.mark.parametrize(
    ("first", "second", "expected", "quantity"),
    [
        pytest.param(fill("A"), fill("A"), "known", 1, id="the same words"),
        pytest.param(fill("A"), fill("B"), "recorded", 2, id="two orders of ours under one trade id"),
        pytest.param(fill("A"), fill("B", side=Side.SELL), "recorded", 0, id="both sides of a self-trade"),
        pytest.param(
            fill("A", order_id="V1"), fill("A", order_id="V1", side=Side.SELL), "recorded", 0, id="one order, two sides"
        ),
        pytest.param(fill("A"), fill("A", commission=Money(D(2), "BNB")), "completed", 1, id="a fee that comes later"),
        pytest.param(fill("A", commission=Money(D(2), "BNB")), fill("A"), "known", 1, id="a fee that is known already"),
        pytest.param(
            fill("A", commission=Money(D("2.12"), "BNB")), fill("A", commission=Money(D("2.1249"), "BNB")), "completed",
            1, id="a fee with more digits",
        ),
        pytest.param(
            fill("A", commission=Money(D(2), "BNB")), fill("A", commission=Money(D(2), "USDT")), "broken", 1,
            id="a fee in another currency",
        ),
        pytest.param(fill("A"), fill("A", liquidity=Liquidity.MAKER), "completed", 1, id="liquidity known now"),
        pytest.param(
            fill("A", liquidity=Liquidity.TAKER), fill("A", liquidity=Liquidity.MAKER), "broken", 1,
            id="another liquidity",
        ),
        pytest.param(
            fill("A"), fill("A", transact_time=T0 + timedelta(microseconds=123456)), "completed", 1, id="a finer time"
        ),
        pytest.param(fill("A"), fill("A", nanos=789), "completed", 1, id="a time in nanoseconds"),
        pytest.param(
            fill("A", transact_time=T0 + timedelta(microseconds=1)), fill("A", transact_time=T0 + timedelta(seconds=2)),
            "broken", 1, id="another time",
        ),
        pytest.param(fill("A"), fill("A", last_px=D("100.12339")), "completed", 1, id="a price with more digits"),
        pytest.param(fill("A", last_px=D(100)), fill("A", last_px=D("100.4")), "broken", 1, id="another price"),
        pytest.param(fill("A"), fill("A", last_qty=D("1.1")), "broken", 1, id="another quantity"),
        pytest.param(fill("A"), fill("A", order_id="V1"), "completed", 1, id="an order id known now"),
        pytest.param(fill("A"), fill("A", trade_seq=7), "completed", 1, id="a trade sequence known now"),
        pytest.param(fill("A"), fill("SIM-V1", order_id="V1"), "completed", 1, id="ours, then by the venue's id alone"),
        pytest.param(fill("SIM-V1", order_id="V1"), fill("A"), "known", 1, id="by the venue's id alone, then ours"),
        pytest.param(fill("A"), fill("BTCUSDT-T1"), "known", 1, id="ours, then from a file without order ids"),
        pytest.param(
            fill("A"), fill("SIM-V1", order_id="V1", last_qty=D(2)), "recorded", 3,
            id="other orders of one trade, of which each report knows one id",
        ),
        pytest.param(
            fill("A"), fill("A", transact_time=T0 + DAY), "broken", 1, id="another day, where ids last"
        ),
        pytest.param(
            fill("A", instrument_id=DAILY), fill("A", instrument_id=DAILY, transact_time=T0 + DAY), "recorded", 2,
            id="another day, where ids may start again",
        ),
        pytest.param(
            fill("A", instrument_id=DAILY),
            fill("A", instrument_id=DAILY, last_qty=D(2), transact_time=T0 + timedelta(hours=1)), "broken", 1,
            id="another time of one day, where ids may start again",
        ),
        pytest.param(
            fill("A", order_id="V1"), fill("A", order_id="V2", side=Side.SELL, exec_id="T2"), "recorded", 0,
            id="a ClOrdID used again",
        ),
    ],
)  # fmt: skip
def test_two_reports_are_of_one_execution_or_of_two(
    first: OrderFilled, second: OrderFilled, expected: str, quantity: int
) -> None:
    ledger = opened()
    assert report(ledger, first, second) == ["recorded", expected]
    assert held(ledger, first.instrument_id).quantity == quantity
    before = ledger._log.head()
    again = report(ledger, first, second)
    assert again[0] == "known"
    assert again[1] == "known"
    assert ledger._log.head() == before, "reported again, both are on record"


def test_a_completed_fill_is_booked_as_it_is_known_now_at_its_place() -> None:
    ledger = opened()
    later = fill("B", "T2", side=Side.SELL, last_px=D(110), transact_time=T0 + timedelta(minutes=1))
    assert report(ledger, fill("A", commission=Money(D(0), "USDT")), later) == ["recorded"] * 2
    better = fill("A", commission=Money(D("1.24"), "USDT"), last_px=D("100.12345"), liquidity=Liquidity.MAKER)
    assert report(ledger, better) == ["completed"]
    position = held(ledger)
    assert position.fees == {"USDT": D("1.24")}
    assert position.realized == D("9.87655")
    assert [type(record.event) for record in records(ledger)].count(OrderFillCompleted) == 1


def records(ledger: Ledger) -> list[Any]:
    return [recorded for _, recorded in scan(ledger._log)]


def test_an_amended_fill_is_completed_and_stays_amended() -> None:
    from domain.order import OrderFillBusted, OrderFillCorrected

    ledger = opened()
    report(ledger, fill("A"), fill("B", "T2"))
    ledger.report([OrderFillCorrected(OrderKey("main", "A"), "T1", D("0.5"), D(99), T0)], actor="venue")
    ledger.report([OrderFillBusted(OrderKey("main", "B"), "T2", "error", T0)], actor="venue")
    fee = Money(D("1.24"), "USDT")
    assert report(ledger, fill("A", commission=fee), fill("B", "T2", commission=fee)) == ["completed"] * 2
    position = held(ledger)
    assert (position.quantity, position.book.cost, position.fees["USDT"]) == (D("0.5"), D("49.5"), D("1.24"))


def test_three_trades_a_bot_reported_and_then_the_file_of_the_venue() -> None:
    """A batch that reports them again under other order ids, while later fills are on record, books nothing twice."""
    ledger = opened()
    at = [T0 + timedelta(seconds=n) for n in range(3)]
    ledger.report([fill(f"bot-{n}", f"T{n}", transact_time=at[n]) for n in range(3)], actor="bot")
    file = [fill(f"BTCUSDT-T{n}", f"T{n}", transact_time=at[n], commission=Money(D(1), "BNB")) for n in range(3)]
    answers = ledger.report(file, actor="import")
    assert all(isinstance(answer.records[0].event, OrderFillCompleted) for answer in answers)
    assert held(ledger).quantity == 3
    assert held(ledger).fees["BNB"] == 3
    assert ledger.report(file, actor="import")[0].records == ()


def test_a_bust_of_a_shared_exec_id_is_of_its_own_order() -> None:
    from domain.order import OrderFillBusted

    ledger = opened()
    report(ledger, fill("A"), fill("B", last_qty=D(3)))
    ledger.report([OrderFillBusted(OrderKey("main", "B"), "T1", "error", T0)], actor="venue")
    assert held(ledger).quantity == 1
    assert ledger.state(stream(OrderKey("main", "B"))).cum_qty == 0


def test_a_contradiction_shows_both() -> None:
    ledger = opened()
    known, other = fill("A"), fill("A", last_qty=D(5))
    ledger.report([known], actor="venue")
    (answer,) = ledger.report([other], actor="venue")
    (broken,) = (record.event for record in answer.records)
    assert (broken.report, broken.on_record) == (other, known)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("999", "1000"), ("952357507764053", "1109260071634171"), ("T-9", "T-10"), ("a9b", "a10a"), ("9", "a"),
        ("0000e1a7.6a3ee99e.01.01", "0000e1a7.6a3ee99e.01.02"),
    ],
)  # fmt: skip
def test_ids_of_one_moment_are_in_the_order_of_their_numbers(first: str, second: str) -> None:
    assert Occurrence(T0, 0, first) < Occurrence(T0, 0, second)
    assert Occurrence(T0, 2, first) > Occurrence(T0, 1, second)
    assert Occurrence(T0, 0, second, nanos=1) < Occurrence(T0, 0, first, nanos=2)


def test_a_description_completes_another_in_either_order_alike() -> None:
    coarse = fill("A", last_px=D("100.12"))
    fine = fill("A", commission=Money(D(1), "USDT"), transact_time=T0 + timedelta(microseconds=5), trade_seq=3)
    one, other = completed(coarse, fine), completed(fine, coarse)
    assert one is not None
    assert other == one


# A venue that reuses ids, reported by adapters of different knowledge


@dataclass(frozen=True)
class Truth:
    """One execution as it was."""

    order: int
    exec_id: str
    fill: OrderFilled


SCHEMES = ("symbol", "shared", "day", "order")
QUANTITIES = st.sampled_from([D(1), D("0.5"), D("0.25")])


@st.composite
def venues(draw: st.DrawFn) -> list[Truth]:
    """Executions of orders of ours at a venue that numbers them in one of the ways venues do."""
    scheme = draw(st.sampled_from(SCHEMES))
    instrument_id = LASTING if scheme in ("symbol", "shared") else DAILY
    sides = draw(st.lists(st.sampled_from(Side), min_size=1, max_size=4))
    truths: list[Truth] = []
    of_order, of_day = dict.fromkeys(range(len(sides)), 0), dict.fromkeys(range(3), 0)
    for number in range(1, draw(st.integers(1, 6)) + 1):
        day = draw(st.integers(0, 2))
        at = T0 + day * DAY + timedelta(microseconds=draw(st.integers(0, 10**7)))
        price = D(draw(st.integers(1_000_000, 1_100_000))).scaleb(-4)
        quantity = draw(QUANTITIES)
        order = draw(st.integers(0, len(sides) - 1))
        orders = {order}
        if scheme == "shared":  # every order of ours that the one trade fills
            orders |= set(draw(st.lists(st.integers(0, len(sides) - 1), max_size=2)))
        of_day[day] += 1
        of_order[order] += 1
        exec_id = {"symbol": f"{number}", "shared": f"{number}", "day": f"{of_day[day]}", "order": f"{of_order[order]}"}
        for each in sorted(orders):
            fee = Money(D(draw(st.integers(1, 9999))).scaleb(-4), draw(st.sampled_from(["USDT", "BNB"])))
            described = fill(
                f"ours-{each}", exec_id[scheme], instrument_id=instrument_id, order_id=f"V{each}", side=sides[each],
                last_qty=quantity, last_px=price, transact_time=at, commission=fee,
                liquidity=draw(st.sampled_from([Liquidity.MAKER, Liquidity.TAKER])),
            )  # fmt: skip
            truths.append(Truth(each, exec_id[scheme], described))
    return truths


def worded(draw: st.DrawFn, truth: OrderFilled) -> OrderFilled:
    """A report of an execution by an adapter that knows some of it."""
    known = truth
    knows = draw(st.sampled_from(["both", "ours", "venue"]))
    if knows == "ours":
        known = replace(known, order_id="")
    if knows == "venue":
        venue = known.instrument_id.rpartition(".")[2]
        known = replace(known, key=OrderKey("main", f"{venue}-{known.order_id}"))
    if draw(st.booleans()):
        known = replace(known, commission=Money(D(0), "USDT"))
    if draw(st.booleans()):
        known = replace(known, liquidity=Liquidity.UNKNOWN)
    if draw(st.booleans()):
        known = replace(known, transact_time=known.transact_time.replace(microsecond=0))
    rounded_px = rounded(known.last_px, 2)
    if draw(st.booleans()) and len(rounded_px.as_tuple().digits) >= PRICE_DIGITS_MIN:
        known = replace(known, last_px=rounded_px)
    return known


@st.composite
def reported_in_pieces(draw: st.DrawFn) -> tuple[list[Truth], list[OrderFilled]]:
    """A venue's executions, and the reports of them: each once in full and up to three times in part, in any order."""
    truths = draw(venues())
    reports = [each.fill for each in truths]
    for each in truths:
        reports += [worded(draw, each.fill) for _ in range(draw(st.integers(0, 3)))]
    return truths, draw(st.permutations(reports))


def with_orders(ledger: Ledger, truths: list[Truth]) -> Ledger:
    """The orders of a venue, sent and acknowledged."""
    for order in sorted({each.order for each in truths}):
        example = next(each.fill for each in truths if each.order == order)
        key = OrderKey("main", f"ours-{order}")
        terms = OrderTerms("trend", example.instrument_id, example.side, OrdType.LIMIT, D(100), D(100))
        ledger.request(SubmitOrder(key, terms, T0), actor="bot")
        ledger.report([OrderAccepted(key, f"V{order}", T0, venue=example.instrument_id.rpartition(".")[2])], actor="x")
    return ledger


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(reported_in_pieces(), st.integers(1, 5))
def test_however_a_venue_names_and_reports_them_every_execution_is_booked_once(
    drawn: tuple[list[Truth], list[OrderFilled]], size: int
) -> None:
    truths, reports = drawn
    ledger = with_orders(opened(), truths)
    for first in range(0, len(reports), size):
        for answer in ledger.report(reports[first : first + size], actor="venue"):
            assert answer.error is None
            assert answer.on_record is not None
            assert not any(
                isinstance(record.event, OrderBroken) and record.event.on_record is not None
                for record in answer.records
            ), "nothing contradicts"
    in_order = with_orders(opened(), truths)
    for each in sorted(truths, key=lambda each: each.fill.transact_time):
        in_order.report([each.fill], actor="venue")
    expected, found = held(in_order, truths[0].fill.instrument_id), held(ledger, truths[0].fill.instrument_id)
    for name in ("quantity", "fees", "realized", "rounding", "fee_cost"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.book.cost == expected.book.cost
    booked = [record.event for record in records(ledger) if isinstance(record.event, OrderFilled)]
    assert len(booked) == len(truths)
    assert len({each.id_on_record for each in booked}) == len(booked)
    trades = [record.event for record in records(ledger) if isinstance(record.event, TradeBooked)]
    assert {each.exec_id for each in trades} == {each.id_on_record for each in booked}
    before = ledger._log.head()
    ledger.report(reports, actor="again")
    assert ledger._log.head() == before, "reported again, all of it is on record"

"""The life of an order and of cash by venue reports alone: in any order, doubled, in any batches, they end alike.

No report is called known that is not on record.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain import account, order, position, risk
from domain.account import (
    BookEntry,
    ChargeFee,
    ConvertMoney,
    Costing,
    EntryKind,
    Indicator,
    Leg,
    OpenAccount,
    ReturnTransfer,
    SettleTransfer,
    cash,
)
from domain.holdings import balances
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Answer, Ledger, Report, scan
from domain.order import (
    OrderAccepted,
    OrderAliased,
    OrderBroken,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderDoneForDay,
    OrderExpired,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReport,
    OrderRestated,
    OrderSuspended,
    OrderTerms,
    OrderTriggered,
    OrdStatus,
    OrdType,
)
from domain.position import PositionKey, SettleFunding, Transfer, TransferReason
from domain.values import Liquidity, Money, Side
from tests.derived import derived

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
KEY, SECOND, UNKNOWN = (OrderKey("main", name) for name in ("A", "A-2", "X"))
TERMS = OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, D(10), D(100))
HELD = PositionKey("main", "trend", BTC)


def at(second: int) -> datetime:
    return T0 + timedelta(seconds=second)


def usdt(amount: int | str) -> Money:
    return Money(D(amount), "USDT")


def fill(exec_id: str, qty: int, second: int, key: OrderKey = KEY, price: int = 100) -> OrderFilled:
    return OrderFilled(
        key, "trend", BTC, "", Side.BUY, exec_id, second, D(qty), D(price), usdt("0.1"), Liquidity.TAKER, at(second)
    )


def leg(name: str, amount: int, indicator: Indicator = Indicator.CREDIT) -> Leg:
    return Leg(name, indicator, usdt(amount))


def entry(name: str, kind: EntryKind, amount: int, indicator: Indicator = Indicator.CREDIT) -> BookEntry:
    return BookEntry("main", name, kind, indicator, usdt(amount), "", at(5))


ORDER_LIFE: tuple[OrderReport, ...] = (
    OrderPendingNew(KEY, at(1)),
    OrderAccepted(KEY, "V1", at(2), TERMS),
    OrderTriggered(KEY, at(3)),
    fill("E1", 2, 4),
    fill("E2", 1, 5, price=101),
    OrderFillCorrected(KEY, "E1", D(3), D(99), at(6), usdt("0.2"), exec_id="C1"),
    OrderFillCorrected(KEY, "C1", D(2), D(98), at(7), exec_id="C2"),
    OrderFillBusted(KEY, "E2", "error", at(8), exec_id="B1"),
    OrderPendingReplace(KEY, at(9), requested_as="A-2"),
    OrderReplaced(KEY, at(10), D(97), order_qty=D(8), requested_as="A-2"),
    OrderReplaceRejected(KEY, "late", at(11), requested_as="A-3"),
    fill("E3", 1, 12),
    OrderSuspended(KEY, "halt", at(13)),
    OrderRestated(KEY, "option", at(14), order_qty=D(9)),
    OrderPendingCancel(KEY, at(15)),
    OrderCancelRejected(KEY, "late", at(16)),
    OrderDoneForDay(KEY, at(17)),
    OrderCanceled(KEY, "", at(19)),
    OrderRejected(UNKNOWN, "no", at(1)),
    OrderExpired(OrderKey("main", "Y"), "", at(2)),
    OrderCalculated(OrderKey("main", "Z"), at(3)),
)
CASH_LIFE: tuple[Report, ...] = (
    SettleTransfer("main", leg("D1", 1000), at(1)),
    SettleTransfer("main", leg("W1", 50, Indicator.DEBIT), at(2)),
    ReturnTransfer("main", leg("W1", 50, Indicator.DEBIT), "came back", at(3)),
    ChargeFee("main", "F1", usdt(2), "data", at(4)),
    entry("L1", EntryKind.LOAN, 300),
    entry("L2", EntryKind.LOAN, 100, Indicator.DEBIT),
    entry("K1", EntryKind.STAKE, 40, Indicator.DEBIT),
    entry("I1", EntryKind.INTEREST, 1, Indicator.DEBIT),
    entry("N1", EntryKind.INCOME, 7),
    ConvertMoney("main", "X1", usdt(9), Money(D("0.01"), "BNB"), Money(D("0.001"), "BNB"), "dust", at(6)),
    SettleFunding(HELD, "FU1", usdt("-1"), at(7)),
    Transfer(HELD, "S1", Side.BUY, D(1), D(90), at(8), TransferReason.STAKING),
)
LIFE = (*ORDER_LIFE, *CASH_LIFE)


def opened() -> Ledger:
    ledger = Ledger(MemoryLog(), lambda: at(100))
    ledger.request(OpenAccount("main", "USDT", Costing(), T0), actor="alice")
    ledger.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="alice")
    return ledger


def book(ledger: Ledger) -> dict[str, Any]:
    """What reports end in: holdings, money, and what the order is."""
    held = ledger.state(position.stream(HELD))
    money = ledger.state(account.stream("main"))
    known = ledger.state(order.stream(KEY))
    limits = ledger.state(risk.stream("main"))
    found: dict[str, Any] = {
        "cash": money.cash.balances, "loans": money.cash.loans, "staked": money.cash.staked,
        "holds": {key: hold.quantity for key, hold in limits.holds.items()} if limits else {},
    }  # fmt: skip
    if held is not None:  # a fill that is busted in its own batch opens no position; in two batches an empty one
        fees = {currency: fee for currency, fee in held.fees.items() if fee}
        sums = (held.quantity, held.book.cost, held.realized, held.income, held.funding)
        found |= {"held": (sums, fees)} if fees or any(sums) else {}
        found |= {"moved": moved} if (moved := balances.total(balances.moved_by(held))) else {}
    if known is not None and not known.alias_of:
        found["order"] = (
            known.status, known.order_qty, known.cum_qty, known.cum_cost, known.leaves_qty, known.cl_ord_id,
            known.terms, known.order_ids, sorted((each.rule, repr(each.report)) for each in known.breaks),
        )  # fmt: skip
    return found


def is_on_record(ledger: Ledger, report: Report) -> bool:
    """Whether the log has a report word for word, as an event or in a break, or what it moves."""
    if isinstance(report, cash.CashReport):
        known = ledger.state(account.stream("main")).cash
        if isinstance(report, SettleTransfer | ReturnTransfer):
            moved = known.transfers.get(report.leg.transfer_id)
            times = (moved.settled_at, moved.returned_at) if moved is not None else (None, None)
            return times[isinstance(report, ReturnTransfer)] is not None
        return known.entries.get(cash.id_of(report)) is not None
    if isinstance(report, SettleFunding | Transfer):
        held = ledger.state(position.stream(HELD))
        return (held.fundings if isinstance(report, SettleFunding) else held.transfers).get(
            report.funding_id if isinstance(report, SettleFunding) else report.transfer_id
        ) is not None
    events = [logged.recorded.event for logged in scan(ledger._log)]
    stated = [each.report if isinstance(each, OrderBroken) else each for each in events]
    return report in [order.as_reported(each) if isinstance(each, order.StateReport) else each for each in stated]


def in_batches(arrived: list[Report], sizes: list[int]) -> list[list[Report]]:
    batches, first = [], 0
    for size in [*sizes, len(arrived)]:
        batches.append(arrived[first : first + size])
        first += size
    return [batch for batch in batches if batch]


def report_all(ledger: Ledger, batches: list[list[Report]]) -> None:
    for batch in batches:
        answers: list[Answer] = ledger.report(batch, actor="venue")
        for report, answer in zip(batch, answers, strict=True):
            assert answer.error is None
            assert answer.records or is_on_record(ledger, report), f"called known, and not on record: {report}"


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Report], list[list[Report]]]:
    """Some of the reports as they happened, and as they arrive: shuffled, some twice, in batches."""
    chosen = draw(st.lists(st.sampled_from(LIFE), unique=True, min_size=1))
    doubled = draw(st.lists(st.sampled_from(chosen), max_size=5))
    arrived = draw(st.permutations([*chosen, *doubled]))
    happened = [report for report in LIFE if report in chosen]
    return happened, in_batches(arrived, draw(st.lists(st.integers(1, 5), max_size=12)))


@given(arrivals())
@example((list(LIFE), [list(LIFE[::-1]), list(LIFE)]))
@example(([LIFE[4], LIFE[7]], [[LIFE[4]], [LIFE[7]]]))
@settings(max_examples=120)
def test_reports_in_any_order_doubled_and_in_any_batches_end_in_the_same_book(drawn):
    happened, batches = drawn
    ordered, shuffled = opened(), opened()
    report_all(ordered, [happened])
    report_all(shuffled, batches)
    report_all(shuffled, [happened])
    assert book(shuffled) == book(ordered)
    for ledger in (ordered, shuffled):
        assert derived([logged.recorded for logged in scan(ledger._log)]).faults == ()


def test_a_whole_life_ends_as_its_venue_says():
    ledger = opened()
    report_all(ledger, [[report] for report in LIFE])
    known = ledger.state(order.stream(KEY))
    assert (known.status, known.cum_qty, known.cum_cost, known.breaks) == (OrdStatus.CANCELED, 3, 296, ())
    assert ledger.state(account.stream("main")).cash.balances == {"USDT": D(1000 - 2 + 300 - 100 - 1 + 7 - 9),
                                                                  "BNB": D("0.009")}  # fmt: skip
    assert ledger.state(account.stream("main")).cash.available("USDT", {}) == 1195 - 40


def test_fills_under_the_cl_ord_id_of_a_replacement_by_others_are_of_the_order():
    ledger = opened()
    report_all(
        ledger, [[OrderAccepted(KEY, "V1", at(1))], [OrderReplaced(KEY, at(2), requested_as="A-2", order_qty=D(3))]]
    )
    report_all(ledger, [[fill("E1", 2, 3, SECOND)]])
    assert (ledger.state(order.stream(SECOND)).alias_of, ledger.state(order.stream(KEY)).cum_qty) == ("A", 2)
    aliased = [each.recorded.event for each in scan(ledger._log) if isinstance(each.recorded.event, OrderAliased)]
    assert [(each.key, each.cl_ord_id) for each in aliased] == [(SECOND, "A")]


@pytest.mark.parametrize("first", [report for report in ORDER_LIFE if not isinstance(report, OrderFilled)], ids=repr)
def test_any_report_on_an_order_adopts_it(first):
    ledger = opened()
    (answer,) = ledger.report([first], actor="venue")
    stream = order.stream(first.key)
    state = reduce(order.evolve, (record.event for record in answer.records if record.stream == stream), None)
    assert state == ledger.state(order.stream(first.key))
    waits = isinstance(first, OrderFillBusted | OrderFillCorrected)
    assert [broken.rule for broken in state.breaks] == (["an amended fill is on record"] if waits else [])

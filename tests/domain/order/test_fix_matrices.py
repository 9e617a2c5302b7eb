"""Orders against the FIX specification's order state matrices, and against another library's reading of them.

Messages are mapped to our requests and reports by what they say: ExecType what has happened, OrdStatus what the order
is then; where the library's table gives no more than that, it is what has happened too. Every code is read by
`domain.order.fix_codes`, and every OrdStatus goes on to the order. Prices and exec ids that a table leaves out are made
up.
"""

import csv
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import order
from domain.errors import ReportUnreadable
from domain.order import (
    CancelOrder,
    Changes,
    Order,
    OrderAccepted,
    OrderBroken,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderCommissionReported,
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
    OrderRestated,
    OrderSuspended,
    OrderTerms,
    OrdStatus,
    OrdType,
    ReplaceOrder,
    SubmitOrder,
    TimeInForce,
)
from domain.values import Liquidity, Money, Side, divide
from tests import oracles

ORACLES = oracles.ROOT / "fix"
ENDED = "48C"
ORDER_STATUS = "I"  # ExecType(150) the status of an order, on request
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
KEY = OrderKey("main", "X")


def at(step: int) -> datetime:
    """The time of a sequence's message."""
    return START + timedelta(seconds=step)


def terms(order_qty: str, time_in_force: TimeInForce = TimeInForce.GTC) -> OrderTerms:
    return OrderTerms("trend", "BTCUSDT.SIM", Side.BUY, OrdType.LIMIT, D(order_qty), D(100), time_in_force)


def time_in_force_of(case: dict[str, Any]) -> TimeInForce:
    """DAY if the order has nothing left once it is done for the day; a table does not say more."""
    events = case["events"]
    is_of_day = any(event.get("exec_type") == "3" and D(event.get("leaves_qty", "1")) == 0 for event in events)
    return TimeInForce.DAY if is_of_day else TimeInForce.GTC


def fill(exec_id: str, last_qty: D, last_px: D, step: int) -> OrderFilled:
    return OrderFilled(
        KEY, "trend", "BTCUSDT.SIM", "V1", Side.BUY, exec_id, step, last_qty, last_px, Money(D(0), "USDT"),
        Liquidity.UNKNOWN, at(step),
    )  # fmt: skip


def reject_of(
    requested_as: str, is_cancel: bool, step: int, **stated: Any
) -> OrderCancelRejected | OrderReplaceRejected:
    """The reject of a request; a sequence's requests say which kind it was."""
    kind = OrderCancelRejected if is_cancel else OrderReplaceRejected
    return kind(KEY, "too late", at(step), requested_as=requested_as, **stated)


def commands(case: dict[str, Any]) -> list[Any]:
    """A matrix as our requests and reports, one a message."""
    cancels = {event["cl_ord_id"] for event in case["events"] if event["msg"] == "OrderCancelRequest"}
    is_ours = any(event["msg"] == "NewOrderSingle" for event in case["events"])
    tif = time_in_force_of(case)
    found = []
    for step, event in enumerate(case["events"], 1):
        try:
            sent = request(event, step, tif) if event["dir"] == "in" else command(event, step, cancels)
        except ReportUnreadable:
            sent = None
        if isinstance(sent, OrderAccepted) and not is_ours:
            sent = replace(sent, terms=terms(event["order_qty"], tif))
        found.append(sent)
    return found


def request(event: dict[str, Any], step: int, tif: TimeInForce) -> Any:
    """A message of ours; None for one that requests nothing of the order."""
    name, requested_as = event["msg"], event["cl_ord_id"]
    if name == "NewOrderSingle":
        return SubmitOrder(KEY, terms(event["order_qty"], tif), at(step))
    if name == "OrderCancelRequest":
        return CancelOrder(KEY, "requested", at(step), requested_as)
    if name == "OrderCancelReplaceRequest":
        changes = Changes(order_qty=D(event["order_qty"]))
        return ReplaceOrder(KEY, requested_as, changes, at(step), event["orig_cl_ord_id"])
    return None


def reported_status(code: str) -> type[Any] | None:
    """The report that states a status and nothing else; None for one of an end, which it would repeat."""
    if code in ENDED:
        return None
    return OrderRestated if code in "12" else order.report_type_of(code)


def command(event: dict[str, Any], step: int, cancels: set[str]) -> Any:
    """A message of the venue. Raises ReportUnreadable for a code without a meaning of ours."""
    requested_as, exec_id = event["cl_ord_id"], event.get("exec_id", f"#{step}")
    stated: dict[str, Any] = {"exec_id": exec_id, "ord_status": order.ord_status_of(event["ord_status"])}
    if event["msg"] == "OrderCancelReject":
        return reject_of(requested_as, requested_as in cancels, step, **stated)
    kind = (
        reported_status(event["ord_status"])
        if event["exec_type"] == ORDER_STATUS
        else (order.report_type_of(event["exec_type"]))
    )
    if kind is None:
        return None
    if kind is OrderFilled:
        return fill(exec_id, D(event["last_qty"]), D(event.get("last_px", "100")), step)
    stated["order_qty"] = D(event["order_qty"]) if D(event.get("order_qty", "0")) else None
    if kind is OrderFillCorrected:
        px = D(event.get("last_px", "100"))
        return OrderFillCorrected(KEY, event["exec_ref_id"], D(event["last_qty"]), px, at(step), **stated)
    if kind is OrderFillBusted:
        return OrderFillBusted(KEY, event["exec_ref_id"], "", at(step), **stated)
    if kind is OrderAccepted:
        return OrderAccepted(KEY, "V1", at(step), **stated)
    if kind in (OrderCanceled, OrderReplaced, OrderPendingCancel, OrderPendingReplace):
        stated["requested_as"] = requested_as
    if "reason" in kind.__struct_fields__:
        stated["reason"] = ""
    return kind(KEY, transact_time=at(step), **stated)


def carried_out(state: Order | None, given_command: Any) -> Order | None:
    if given_command is None:
        return state
    rule = order.decide if isinstance(given_command, SubmitOrder | CancelOrder | ReplaceOrder) else order.admit
    for event in rule(state, given_command):
        state = order.evolve(state, event)
    return state


def stated(state: Order) -> tuple[Any, ...]:
    """What must not depend on the order of arrival."""
    return (
        state.status, state.order_qty, state.cum_qty, state.leaves_qty, state.cum_cost, state.terms, state.cl_ord_id,
        dict(state.fills), state.ended, {(broken.rule, repr(broken.report)) for broken in state.breaks},
    )  # fmt: skip


def cases() -> list[Any]:
    params = []
    for path in sorted(ORACLES.glob("*.json")):
        found = json.loads(path.read_text())
        if str(found.get("schema", "")).startswith("fix_matrix/"):
            params += [pytest.param(case, id=case["case_id"]) for case in found["cases"]]
    return params or [
        pytest.param(None, marks=pytest.mark.skip(reason=f"no FIX matrices under {ORACLES}; set DAYBOOK_ORACLES"))
    ]


def check_stated(event: dict[str, Any], state: Order) -> None:
    """The state is what the message says it is."""
    assert state.status is order.ord_status_of(event["ord_status"]), event
    if "cum_qty" in event:
        assert state.order_qty == D(event["order_qty"]), event
        assert state.cum_qty == D(event["cum_qty"]), event
        assert state.leaves_qty == D(event["leaves_qty"]), event
    if "avg_px" in event:
        assert (divide(state.cum_cost, state.cum_qty) if state.cum_qty else D(0)) == D(event["avg_px"]), event


@pytest.mark.oracle
@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("times", [1, 2], ids=["once", "doubled"])
def test_a_matrix_gives_its_states(case, times):
    state: Any = None
    for event, given_command in zip(case["events"], commands(case), strict=True):
        state = carried_out(state, given_command)
        for _ in range(times - 1):
            assert carried_out(state, given_command) == state, "a repeated message changes nothing"
        if event["dir"] == "out" and given_command is not None:
            check_stated(event, state)
    assert not state.breaks
    assert not state.late


@pytest.mark.oracle
@pytest.mark.parametrize("case", cases())
@given(seed=st.randoms(use_true_random=False))
def test_a_matrix_ends_alike_however_its_reports_are_delayed(case, seed):
    in_order = commands(case)
    expected: Any = None
    for given_command in in_order:
        expected = carried_out(expected, given_command)
    is_report = [
        event["dir"] == "out" and sent is not None for event, sent in zip(case["events"], in_order, strict=True)
    ]
    delayed = [
        (step + (seed.choice([0, 0, 1.5, 3.5, 20.5]) if is_report[step] else 0)) for step in range(len(in_order))
    ]
    arrival = sorted(range(len(in_order)), key=lambda step: delayed[step])
    state: Any = None
    for step in arrival:
        state = carried_out(state, in_order[step])
        if seed.random() < 0.3:
            state = carried_out(state, in_order[step])
    assert stated(state) == stated(expected)
    reports = [step for step in arrival if is_report[step]]
    if reports != sorted(reports):
        assert state.late or state.breaks, "what arrived out of order is on record"


# Another library's state table: the order in a status, a message, the status it has after it.


@dataclass(frozen=True)
class Reading:
    """A row: `message` is 8 (execution report) or 9 (cancel reject), `says` the OrdStatus it carries."""

    status: str
    message: str
    exec_type: str
    says: str
    result: str

    def __str__(self) -> str:
        return f"{self.status}-{self.message}{self.exec_type}-{self.says}"


# Where we read the standard otherwise, and why. A rule covers rows by what they have in common.
OTHERWISE = {
    "a fill of an order we never sent is adopted, with the order, and never refused": (
        lambda row: row.status == "Z" and row.says in "12"
    ),
    "a fill is booked after an end as well; FILLED outranks every end": (
        lambda row: row.status in ENDED and row.says == "2"
    ),
    "PENDING_CANCEL and PENDING_REPLACE outrank FILLED, CALCULATED too (FIX precedence; matrices B.1.c and C.1.c)": (
        lambda row: row.status == "2" and row.says in "6EB"
    ),
    "DONE_FOR_DAY outranks FILLED (FIX precedence)": lambda row: row.status == "2" and row.says == "3",
    "STOPPED belongs to trading floors: it is unreadable here": lambda row: row.result == "7",
    "an order may be done for the day whenever it works, acknowledged or not": (
        lambda row: row.status in "A19" and row.says == "3"
    ),
    "a venue may say of an order that is pending that it is": lambda row: row.status == "A" and row.says == "A",
    "an order that was acknowledged is not pending again": (lambda row: row.message == "9" and row.says == "A"),
    "PENDING_CANCEL outranks PENDING_REPLACE (FIX precedence)": (
        lambda row: row.status == "E" and row.message + row.exec_type == "8F" and row.says == "6"
    ),
    "an end is an end, also where something else than a cancel was pending, or it is none that was requested": (
        lambda row: (
            row.message + row.exec_type == "8F"
            and ((row.status == "6" and row.says in "8C") or (row.status == "E" and row.says in ENDED))
        )
    ),
    "an order may end before it was acknowledged or while it is suspended": (
        lambda row: row.status in "A9" and row.says == "C"
    ),
    "a fill shows that a suspended order works again, in part or in full": (
        lambda row: row.status == "9" and row.says == "2"
    ),
    "what a venue says of an order that was just replaced is as good as at any other time": (
        lambda row: row.message + row.exec_type == "85" and row.says in "389C"
    ),
    "an order that we never sent is adopted by any report on it": (
        lambda row: row.status == "Z" and row.says in "469BCE"
    ),
}


def readings() -> list[Any]:
    params = [
        pytest.param(Reading(*row.values()), id=str(Reading(*row.values())))
        for path in sorted(ORACLES.glob("*transitions*.csv"))
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    return params or [
        pytest.param(None, marks=pytest.mark.skip(reason=f"no transition table under {ORACLES}; set DAYBOOK_ORACLES"))
    ]


def history(row: Reading) -> list[Any]:
    """How an order got into the row's status, with the fills that a reject in answer to it names."""
    submitted, accepted = SubmitOrder(KEY, terms("10"), at(1)), OrderAccepted(KEY, "V1", at(2))
    working: list[Any] = [submitted, accepted]
    if (row.message == "9" or row.exec_type == "5") and row.says == "1":
        working.append(fill("F1", D(4), D(100), 3))
    cancel = [CancelOrder(KEY, "requested", at(4), "Y"), OrderPendingCancel(KEY, at(5), requested_as="Y")]
    smaller = ReplaceOrder(KEY, "Y", Changes(order_qty=D(8)), at(4))
    pending_replace = [smaller, OrderPendingReplace(KEY, at(5), requested_as="Y")]
    full: list[Any] = []
    if row.message == "9" and row.says == "2":
        full = [fill("F2", D(10), D(100), 6)]
    if row.exec_type == "5" and row.says == "2":
        full = [fill("F2", D(8), D(100), 6)]
    return {
        "Z": [],
        "A": [submitted],
        "0": working,
        "1": [*working, fill("F1", D(4), D(100), 3)],
        "2": [*working, fill("F1", D(10), D(100), 3)],
        "4": [*working, OrderCanceled(KEY, "", at(3))],
        "6": [*working, *cancel, *full],
        "8": [submitted, OrderRejected(KEY, "", at(2))],
        "9": [*working, OrderSuspended(KEY, "", at(3))],
        "C": [*working, OrderExpired(KEY, "", at(3))],
        "3": [*working, OrderDoneForDay(KEY, at(3))],
        "B": [*working, fill("F1", D(10), D(100), 3), OrderCalculated(KEY, at(3))],
        "E": [*working, *pending_replace, *full],
    }[row.status]


def notice(status: OrdStatus, state: Order | None) -> list[Any]:
    """The report of a status, for a message that carries no more; a fill where the status is one of fills."""
    step = 10
    leaves = state.order_qty - state.cum_qty if state is not None and state.order_qty is not None else D(10)
    stated: dict[str, Any] = {"ord_status": status}
    match status:
        case OrdStatus.PENDING_NEW:
            return [OrderPendingNew(KEY, at(step), **stated)]
        case OrdStatus.NEW:
            return [OrderAccepted(KEY, "V1", at(step), **stated)]
        case OrdStatus.PARTIALLY_FILLED:
            return [fill("F9", min(D(1), leaves) or D(1), D(100), step)]
        case OrdStatus.FILLED:
            return [fill("F9", leaves or D(1), D(100), step)]
        case OrdStatus.DONE_FOR_DAY:
            return [OrderDoneForDay(KEY, at(step), **stated)]
        case OrdStatus.CANCELED:
            return [OrderCanceled(KEY, "", at(step), **stated)]
        case OrdStatus.PENDING_CANCEL:
            return [OrderPendingCancel(KEY, at(step), requested_as="YY", **stated)]
        case OrdStatus.REJECTED:
            return [OrderRejected(KEY, "", at(step), **stated)]
        case OrdStatus.SUSPENDED:
            return [OrderSuspended(KEY, "", at(step), **stated)]
        case OrdStatus.CALCULATED:
            return [OrderCalculated(KEY, at(step), **stated)]
        case OrdStatus.EXPIRED:
            return [OrderExpired(KEY, "", at(step), **stated)]
        case OrdStatus.PENDING_REPLACE:
            return [OrderPendingReplace(KEY, at(step), requested_as="YY", **stated)]


def message(row: Reading, state: Order | None) -> list[Any]:
    """The message of a row as our reports: what it answers, and the status it states. Raises ReportUnreadable."""
    status = order.ord_status_of(row.says)
    shown = notice(status, state)
    if row.message == "8" and row.exec_type != "5":
        order.report_type_of(row.exec_type)
        return shown
    answered: Any = OrderReplaced(KEY, at(10), requested_as="Y", ord_status=status)
    if row.message == "9":
        answered = reject_of("Y", row.status == "6", 10, ord_status=status)
    return [answered] if row.says in "012" else [answered, *shown]


@pytest.mark.oracle
@pytest.mark.parametrize("row", readings())
def test_a_transition_is_read_as_elsewhere_or_otherwise_for_a_reason(row):
    before: Any = None
    for given_command in history(row):
        before = carried_out(before, given_command)
    assert before is None or before.status is order.ord_status_of(row.status) or row.message + row.exec_type != "8F"
    state = before
    try:
        for report in message(row, before):
            state = carried_out(state, report)
        is_readable = True
    except ReportUnreadable:
        is_readable = False
    breaks = state.breaks if state is not None else ()
    if row.result == "error":
        agrees = not is_readable or any(isinstance(broken, OrderBroken) for broken in breaks)
    elif row.result == "none":
        agrees = not is_readable or (state is not None and before is not None and state.status is before.status)
    else:
        agrees = is_readable and state is not None and state.status is order.ord_status_of(row.result)
    reasons = [reason for reason, covers in OTHERWISE.items() if covers(row)]
    assert agrees != bool(reasons), f"{before and before.status} -> {state and state.status}, expected {row.result}"


# Codes


@pytest.mark.parametrize("code", ["5", "7", "D", "Z", "a", "", "00", "NEW", " 0"])
def test_a_status_without_a_meaning_of_ours_is_unreadable(code):
    with pytest.raises(ReportUnreadable) as caught:
        order.ord_status_of(code)
    assert (caught.value.field, caught.value.value) == ("ord_status", code)


@pytest.mark.parametrize("code", ["7", "I", "J", "K", "Z", ""])
def test_an_exec_type_without_a_meaning_of_ours_is_unreadable(code):
    with pytest.raises(ReportUnreadable) as caught:
        order.report_type_of(code)
    assert (caught.value.field, caught.value.value) == ("exec_type", code)


def test_every_status_and_every_report_has_a_code():
    codes = "0123456789ABCDEFGHIL"
    read: dict[str, set[Any]] = {"status": set(), "report": set()}
    for code in codes:
        for name, reader in (("status", order.ord_status_of), ("report", order.report_type_of)):
            with suppress(ReportUnreadable):
                read[name].add(reader(code))
    assert read["status"] == set(OrdStatus)
    others = {OrderCancelRejected, OrderReplaceRejected, OrderCommissionReported}  # messages of their own
    assert read["report"] == set(get_args(order.OrderReport)) - others

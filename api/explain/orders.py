"""Why an order passed its pre-trade check or was refused: each limit with its version and numbers, and the marks used.

All of it is on record: a decision's event has the limits it met, their versions, the usage without and with the order,
and the marks with their age. Nothing is computed again but differences. Beside these are the limits that were in force
and covered the order, but of which the decision has no numbers, with the reason; which limits were in force is read
from the log up to the decision.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import asdict, replace

from adapters.log.queries import of_streams
from api.problems import not_found
from api.read_models.log_search import LogFilter, search
from domain import instrument, risk
from domain.errors import RequestRefused
from domain.instrument import Instrument
from domain.ledger import schema
from domain.order import (
    OrderAdopted,
    OrderAliased,
    OrderCancelRequested,
    OrderKey,
    OrderRefused,
    OrderReplaceRequested,
    OrderSubmitted,
    stream,
)
from domain.risk import (
    FIRM,
    EquityUsed,
    FirmUsageChanged,
    HoldAdjusted,
    HoldPlaced,
    HoldRefused,
    LimitCheck,
    LimitSet,
    LimitStatus,
)
from domain.values import exact

if TYPE_CHECKING:
    from adapters.log.postgres import Stored
    from api.daybook import Daybook

PAGE_EVENTS = 1000
APPEND_EVENTS_MAX = 64  # of the append of one request, before and behind
Decided = OrderSubmitted | OrderRefused | OrderAdopted | OrderReplaceRequested | OrderCancelRequested
Hold = HoldPlaced | HoldRefused | HoldAdjusted
_ABOUT: dict[type, str] = {
    OrderSubmitted: "SUBMIT",
    OrderRefused: "SUBMIT",
    OrderAdopted: "ADOPT",
    OrderReplaceRequested: "REPLACE",
    OrderCancelRequested: "CANCEL",
}
ACCEPTED, REFUSED, NOT_CHECKED = "ACCEPTED", "REFUSED", "NOT_CHECKED"


class Placed(NamedTuple):
    """An event of the log with its place and envelope."""

    seq: int
    recorded_at: datetime
    actor: str
    request_id: str
    event: Any


class Checks(NamedTuple):
    """The checks of one decision: by the account's limits and by the firm's, as recorded."""

    seq: int
    hold: Hold
    firm: Hold | None = None


def why(daybook: "Daybook", account_id: str, cl_ord_id: str) -> dict[str, Any]:
    """Return every decision about an order with its reasons, in the order of the log. Raises Problem (404)."""
    key, history = _history(daybook, OrderKey(account_id, cl_ord_id))
    decided = [one for one in history if type(one.event) in _ABOUT]
    decisions = [(one, _checks(daybook, key, one)) for one in decided]
    known = {checks.seq for _, checks in decisions if checks is not None}
    refused = _refused_replacements(daybook, key, history[0].seq)
    decisions += [(one, Checks(one.seq, one.event)) for one in refused if one.seq not in known]
    decisions.sort(key=lambda decision: decision[0].seq)
    limits = _Limits(daybook, (key.account_id, FIRM), upto=decisions[-1][0].seq)
    return {
        "account_id": key.account_id,
        "cl_ord_id": key.cl_ord_id,
        "requested_as": cl_ord_id if cl_ord_id != key.cl_ord_id else None,
        "decisions": [_decision(one, checks, limits, _unit(daybook, history[0].event)) for one, checks in decisions],
    }


def _history(daybook: "Daybook", key: OrderKey) -> tuple[OrderKey, list[Placed]]:
    """Return the order's first id, and the events of its stream. Raises Problem (404)."""
    history = list(_events_of(daybook, stream(key)))
    if not history:
        raise not_found(
            f"order {key.cl_ord_id} of account {key.account_id}", account_id=key.account_id, cl_ord_id=key.cl_ord_id
        )
    first = history[0].event
    if isinstance(first, OrderAliased):
        return _history(daybook, OrderKey(key.account_id, first.cl_ord_id))
    return key, history


def _events_of(daybook: "Daybook", of_stream: str) -> Iterator[Placed]:
    after, upto = 0, daybook.history.head().seq
    while page := of_streams(daybook.history, [of_stream], after=after, upto=upto, limit=PAGE_EVENTS):
        yield from map(_placed, page)
        after = page[-1].seq


def _placed(stored: "Stored") -> Placed:
    record = schema.decode(stored.topic, stored.state)
    return Placed(stored.seq, stored.recorded_at, record.actor, request_id=record.request_id, event=record.event)


def _checks(daybook: "Daybook", key: OrderKey, decided: Placed) -> Checks | None:
    """Return the checks recorded in the same append, if the decision had any."""
    match decided.event:
        case OrderSubmitted() | OrderRefused():
            change_id = ""
        case OrderReplaceRequested(requested_as=change_id):
            pass
        case _:
            return None
    own: Placed | None = None
    firm: Hold | None = None
    for near in _same_append(daybook, decided):
        if (hold := _hold(near.event, key, change_id)) is None:
            continue
        if isinstance(near.event, FirmUsageChanged):
            firm = hold
        else:
            own = near
    return None if own is None else Checks(own.seq, own.event, firm)


def _same_append(daybook: "Daybook", decided: Placed) -> list[Placed]:
    """Return the events recorded with one, by the same request at the same time."""
    first = max(decided.seq - APPEND_EVENTS_MAX, 1)
    found = daybook.history.stored(
        after=first - 1, upto=decided.seq + APPEND_EVENTS_MAX, limit=2 * APPEND_EVENTS_MAX + 1
    )
    places = [_placed(one) for one in found if one.recorded_at == decided.recorded_at]
    return [one for one in places if one[2:4] == decided[2:4]]


def _hold(event: Any, key: OrderKey, change_id: str) -> Hold | None:
    """Return the check of an order's submission, or of a change of it, that an event of the account or firm has."""
    found = event.change if isinstance(event, FirmUsageChanged) else event
    if not isinstance(found, HoldPlaced | HoldRefused | HoldAdjusted) or found.key != key:
        return None
    checked_id = "" if isinstance(found, HoldPlaced) else found.change_id
    is_checked = bool(change_id) or not isinstance(found, HoldAdjusted)
    return found if checked_id == change_id and is_checked else None


def _refused_replacements(daybook: "Daybook", key: OrderKey, after: int) -> list[Placed]:
    """Return the refusals of replacements: these are in no event of the order's own stream."""
    wanted = LogFilter(event=("HoldRefused",), stream=risk.stream(key.account_id), account_id=key.account_id)
    found = (_placed(stored) for stored in _all(daybook, wanted, after=after))
    return [one for one in found if one.event.key == key and one.event.change_id]


def _all(daybook: "Daybook", wanted: LogFilter, *, after: int = 0) -> Iterator["Stored"]:
    while True:
        page = search(daybook, wanted, after=after, limit=PAGE_EVENTS, scanned_max=None)
        yield from (stored for stored in page.found if stored.stream == wanted.stream)
        if page.is_last:
            return
        after = page.last


def _active(one: Placed) -> Placed | None:
    """Return what an event set of an active limit: one that was moved to another status is lifted; else None."""
    event: LimitSet = one.event
    if event.status is LimitStatus.ACTIVE:
        return one
    if event.moved_from is not LimitStatus.ACTIVE:
        return None
    return one._replace(event=replace(event, limit=None, version=0))


class _Limits:
    """The limits of an account and of the firm as they were set, up to a place in the log."""

    def __init__(self, daybook: "Daybook", account_ids: Iterable[str], upto: int) -> None:
        self._set: list[Placed] = []
        for account_id in account_ids:
            wanted = LogFilter(event=("LimitSet",), stream=risk.stream(account_id), account_id=account_id)
            placed = (_placed(stored) for stored in _all(daybook, wanted) if stored.seq <= upto)
            self._set += (active for one in placed if (active := _active(one)) is not None)
        self._set.sort(key=lambda one: one.seq)

    def source_of(self, check: LimitCheck, account_id: str, seq: int) -> Placed | None:
        """Return the event that set the limit of a check."""
        found = None
        for one in self._set:
            event: LimitSet = one.event
            is_it = (event.account_id, event.measure, event.scope) == (account_id, check.measure, check.scope)
            if one.seq < seq and is_it and event.version == check.version:
                found = one
        return found

    def in_force(self, hold: Hold, asset: str | None, seq: int, account_ids: Sequence[str]) -> list[Placed]:
        """Return the limits in force at a place that cover an order."""
        newest: dict[Any, Placed] = {}
        for one in self._set:
            if one.seq < seq and one.event.account_id in account_ids:
                newest[one.event.account_id, one.event.measure, one.event.scope] = one
        return [
            one
            for one in newest.values()
            if one.event.limit is not None and one.event.scope.covers(hold.strategy_id, hold.instrument_id, asset)
        ]


def _unit(daybook: "Daybook", first: Any) -> str | None:
    """Return the unit of an order's quantities; None for an instrument that is not on record."""
    terms = getattr(first, "terms", None) or first
    instrument_id = getattr(terms, "instrument_id", "")
    listed: Instrument | None = daybook.state(instrument.stream(instrument_id))
    return listed.contract.unit if listed is not None else None


def _decision(one: Placed, checks: Checks | None, limits: _Limits, unit: str | None) -> dict[str, Any]:
    hold = checks.hold if checks is not None else None
    found: dict[str, Any] = {
        "seq": one.seq,
        "recorded_at": one.recorded_at,
        "actor": one.actor,
        "request_id": one.request_id,
        "about": _ABOUT.get(type(one.event), "REPLACE"),
        "requested_as": getattr(one.event, "requested_as", "") or getattr(hold, "change_id", "") or None,
        "transact_time": one.event.transact_time,
    }
    if hold is None or checks is None:
        refusal = one.event if isinstance(one.event, OrderRefused) else None
        return found | {
            "outcome": REFUSED if refusal else NOT_CHECKED,
            **_stated(RequestRefused(refusal.rule, **refusal.facts) if refusal else None, _unchecked(one.event), unit),
            "facts": dict(refusal.facts) if refusal else {},
            **dict.fromkeys(("side", "quantity", "was", "notional", "price_used", "priced_by", "equity", "hold_seq")),
            "checks": [],
            "marks": [],
            "without_numbers": [],
        }
    is_refused = isinstance(hold, HoldRefused)
    rows = [_check(each, hold.key.account_id, checks.seq, limits) for each in hold.judged]
    if checks.firm is not None:
        rows += [_check(each, FIRM, checks.seq, limits) for each in checks.firm.judged]
    if isinstance(hold, HoldRefused) and hold.failed is not None:
        rows.append(_check(hold.failed, hold.key.account_id, checks.seq, limits, is_failed=True))
    marks = {seen.mark.instrument_id: seen for each in (hold, checks.firm) if each is not None for seen in each.marks}
    return found | {
        "outcome": REFUSED if is_refused else ACCEPTED,
        **_stated(risk.refusal(hold) if isinstance(hold, HoldRefused) else None, _accepted(rows), unit),
        "facts": dict(hold.facts) if isinstance(hold, HoldRefused) else {},
        "side": hold.side,
        "quantity": hold.quantity,
        "was": hold.was if isinstance(hold, HoldAdjusted) else None,
        "notional": hold.notional,
        "price_used": hold.valuation.price if hold.valuation is not None else None,
        "priced_by": hold.valuation.basis if hold.valuation is not None else None,
        "equity": _equity(hold.equity),
        "hold_seq": checks.seq,
        "checks": rows,
        "marks": [
            {
                "instrument_id": name,
                "price": seen.mark.price,
                "source": seen.mark.source,
                "mark_at": seen.mark.mark_at,
                "age_ms": seen.age_ms,
            }
            for name, seen in sorted(marks.items())
        ],
        "without_numbers": _without_numbers(hold, checks, rows, limits),
    }


def _equity(used: EquityUsed | None) -> dict[str, Any] | None:
    """Return the equity that the account's limits were measured by."""
    return None if used is None else {**asdict(used), "total": used.total}


def _stated(refusal: RequestRefused | None, otherwise: str, unit: str | None = None) -> dict[str, Any]:
    """Return the rule of a decision with its code, and the decision in a sentence."""
    if refusal is None:
        return {"rule": otherwise, "code": None, "detail": otherwise}
    refusal.unit = unit
    return {"rule": refusal.rule, "code": refusal.code, "detail": refusal.sentence}


def _unchecked(event: Any) -> str:
    match event:
        case OrderCancelRequested():
            return "a cancel is not checked against limits: it only releases what the order holds"
        case OrderAdopted():
            return "the venue had the order already: what has happened is not checked"
        case _:
            return "no limit or kill switch of the account or the firm was on record"


def _accepted(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "no limit with numbers covered the order, and no kill switch was engaged"
    return "every limit that covered the order was kept" + (
        ", or the order moved towards it" if any(row["outcome"] == "LET_THROUGH" for row in rows) else ""
    )


def _check(check: LimitCheck, account_id: str, seq: int, limits: _Limits, *, is_failed: bool = False) -> dict[str, Any]:
    whose = check.account_id or account_id
    source = limits.source_of(check, whose, seq)
    is_over = abs(check.asked) > check.limit
    return {
        "account_id": whose,
        "measure": check.measure,
        **{name: getattr(check.scope, name) for name in ("strategy_id", "instrument_id", "venue", "asset")},
        "version": check.version,
        "set_seq": source.seq if source else None,
        "set_at": source.recorded_at if source else None,
        "set_by": source.actor if source else None,
        "limit": check.limit,
        "currency": check.currency,
        "used": check.used,
        "with_order": check.asked,
        "headroom_before": exact(check.limit - abs(check.used)),
        "headroom": exact(check.limit - abs(check.asked)),
        "outcome": "FAILED" if is_failed else "LET_THROUGH" if is_over else "PASSED",
        "reason": _reason(check, is_failed=is_failed, is_over=is_over),
    }


def _reason(check: LimitCheck, *, is_failed: bool, is_over: bool) -> str:
    unit = f" {check.currency}" if check.currency else ""
    with_order, limit = abs(check.asked), check.limit
    if is_failed:
        by = _text(exact(with_order - limit))
        return f"{_text(with_order)}{unit} with the order exceeds {_text(limit)}{unit} by {by}{unit}"
    if is_over:
        return f"over {_text(limit)}{unit}, but the order reduces what is used, or the position"
    return f"{_text(with_order)}{unit} with the order is within {_text(limit)}{unit}"


def _text(number: Decimal) -> str:
    return format(number, "f")


def _without_numbers(
    hold: Hold, checks: Checks, rows: Sequence[dict[str, Any]], limits: _Limits
) -> list[dict[str, Any]]:
    """Return the limits in force that covered the order, and of which the decision has no numbers."""
    named = {(row["account_id"], row["measure"], row["strategy_id"], row["instrument_id"], row["venue"], row["asset"])
             for row in rows}  # fmt: skip
    contract = getattr(hold, "contract", None)
    is_of_firm = checks.firm is not None or (isinstance(hold, HoldRefused) and _is_firms(hold))
    accounts = (hold.key.account_id, FIRM) if is_of_firm else (hold.key.account_id,)
    found = []
    for one in limits.in_force(hold, contract.base if contract is not None else None, checks.seq, accounts):
        event: LimitSet = one.event
        scope = event.scope
        if (event.account_id, event.measure, scope.strategy_id, scope.instrument_id, scope.venue, scope.asset) in named:
            continue
        if not isinstance(hold, HoldRefused):
            reason = "it could not be measured, as a mark was missing, and the order reduced the position"
        elif _is_firms(hold) and event.account_id != FIRM:
            reason = "it was kept: the firm's limits were checked after it, and only their numbers are on record"
        elif hold.failed is None:
            reason = "the order was refused for another reason, before or while this limit was measured"
        else:
            reason = "not reached: the check ended at the limit that failed"
        found.append(
            {
                "account_id": event.account_id,
                "measure": event.measure,
                **{name: getattr(scope, name) for name in ("strategy_id", "instrument_id", "venue", "asset")},
                "version": event.version,
                "set_seq": one.seq,
                "limit": event.limit,
                "currency": event.currency,
                "reason": reason,
            }
        )
    return found


def _is_firms(hold: HoldRefused) -> bool:
    found = (*hold.judged, *(() if hold.failed is None else (hold.failed,)))
    return any(check.account_id == FIRM for check in found)

"""What if: history told again to a ledger in memory, with other conventions, fees, marks or limits.

Every request and report on record is carried out in the order of `seq` by the domain's own decisions, and what comes of
it is compared with what came of it. Nothing is written: the log is only read, the other book is never kept. The same
history and the same changes give the same answer.

Three rules where history cannot say what would have been. An order that is refused now was never at the venue: its
reports are left out, its fills are told as lost. An order that was refused then is told as accepted, but nobody knows
how it would have fared: it fills nothing, and holds nothing from then on. Funding follows the position: it is paid in
proportion where another quantity is held. Kill switches stay as they were engaged and released. A refused replacement
is on record without its changes, and is not asked again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from api.what_if import commands
from api.what_if.commands import Changed
from domain.account import stream as account_stream
from domain.errors import InvalidInput, LedgerError, RequestRefused
from domain.instrument import Contract
from domain.ledger import Ledger, Logged, scan
from domain.order import (
    OrderCanceled,
    OrderFilled,
    OrderKey,
    OrderRefused,
    OrderReplaceRequested,
    OrderReport,
    OrderSubmitted,
)
from domain.position import (
    AssignLots,
    FundingSettled,
    LotsAssigned,
    PositionKey,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
)
from domain.position import stream as position_stream
from domain.risk import FIRM, FirmUsageChanged, HoldAdjusted, HoldPlaced, HoldRefused, SetLimit
from domain.values import EARLIEST, EPOCH, ZERO, Mark, Money, divide, exact
from projections.analytics import pnl
from projections.analytics.valuation import Marks
from projections.models import positions
from projections.storage.rows import MemoryRows
from projections.storage.tables import AnyRow, Row

ACTOR = "what-if"
STREAMS_MAX = 10_000_000  # nothing is forgotten while history is told
PROGRESS_EVENTS = 1000
ACCEPTED, REFUSED = "ACCEPTED", "REFUSED"
SUMS = ("realized", "rounding", "funding", "income", "fee_cost", "fees_settle", "unrealized", "net")

Lookup = Callable[[str, datetime], Mark | None]


class Verdict(NamedTuple):
    """An order or a replacement that fares otherwise: what was said then and is said now, and why."""

    account_id: str
    cl_ord_id: str
    seq: int
    kind: str  # NEW or REPLACE
    strategy_id: str
    instrument_id: str
    side: str
    order_qty: Decimal
    price: Decimal | None
    transact_time: datetime
    then: str
    now: str
    rule: str
    facts: dict[str, str]


class Found(NamedTuple):
    """What came of it: how many orders were judged, which fare otherwise, and every position then and now.

    `lost_fills` are those of orders that are refused now, `lost_qty` their quantities by instrument; `untold` says what
    could not be told again, by rule.
    """

    seq: int
    orders: int
    verdicts: list[Verdict]
    lost_fills: int
    lost_qty: dict[str, Decimal]
    untold: dict[str, int]
    then: MemoryRows
    now: MemoryRows


class _Unit(NamedTuple):
    """Events that one request or batch of reports appended."""

    recorded_at: datetime
    logged: list[Logged]


class Retelling:
    """One history told again."""

    def __init__(self, changed: Changed, lookup: Lookup) -> None:
        self._changed = changed
        self._lookup = lookup
        self._now = EPOCH
        self._log = MemoryLog()
        self._ledger = Ledger(self._log, lambda: self._now, self._mark, cached_streams_max=STREAMS_MAX)
        self._seen: dict[str, Mark] = {}
        self._gone: set[OrderKey] = set()
        self._unasked: set[tuple[str, str]] = set()
        self._moves: set[tuple[str, frozenset[PositionKey]]] = set()
        self._contracts: dict[str, Contract] = {}
        self._held: dict[PositionKey, Decimal] = {}
        self._then = MemoryRows()
        self._orders = 0
        self._verdicts: list[Verdict] = []
        self._lost: dict[str, Decimal] = {}
        self._lost_fills = 0
        self._untold: dict[str, int] = {}

    def tell(self, history: Iterable[Logged], on_progress: Callable[[int], None] | None = None) -> Found:
        """Carry it all out again; what came of it."""
        seq = 0
        self._set_limits(FIRM, EARLIEST)
        for unit in _units(history):
            self._now = unit.recorded_at
            self._seen = _marks_seen(unit.logged)
            self._tell(unit.logged)
            for logged in unit.logged:
                positions.PROJECTION.fold(self._then, [logged])
                self._hold(logged.recorded.event)
            seq = unit.logged[-1].seq
            if on_progress is not None and seq % PROGRESS_EVENTS < len(unit.logged):
                on_progress(seq)
        self._check_limits()
        now = MemoryRows()
        positions.PROJECTION.fold(now, scan(self._log))
        return Found(
            seq, self._orders, self._verdicts, self._lost_fills, dict(sorted(self._lost.items())), self._untold,
            self._then, now,
        )  # fmt: skip

    def _mark(self, instrument_id: str) -> Mark | None:
        """As given, else as the decision saw it then, else as it was known at that moment."""
        if (given := self._changed.marks.get(instrument_id)) is not None:
            return replace(given, mark_at=self._now)
        if (seen := self._seen.get(instrument_id)) is not None:
            return seen
        return self._lookup(instrument_id, self._now)

    def _set_limits(self, account_id: str, at: datetime) -> None:
        for (owner, scope, measure), (limit, currency) in self._changed.limits.items():
            if owner == account_id and limit is not None:
                self._ledger.request(SetLimit(owner, scope, measure, limit, currency, at), actor=ACTOR)

    def _check_limits(self) -> None:
        for account_id, _, _ in self._changed.limits:
            if account_id != FIRM and self._ledger.state(account_stream(account_id)) is None:
                raise InvalidInput("limits.account_id", account_id, f"an account on record, nor {FIRM}")

    def _tell(self, unit: Sequence[Logged]) -> None:
        """Reports of one append are told together, as they came; requests one by one."""
        reports: list[Any] = []
        for logged in unit:
            event = logged.recorded.event
            if isinstance(event, OrderReport) and self._is_left_out(event):
                continue
            request = commands.setting(event, self._changed) or commands.asked(event) or self._other(event)
            if request is not None:
                self._report(reports)
                reports = []
                self._request(logged, request)
                continue
            report = commands.reported(event, self._changed, self._contracts.get(getattr(event, "instrument_id", "")))
            if report is not None:
                reports.append(self._in_proportion(report) if isinstance(event, FundingSettled) else report)
        self._report(reports)

    def _is_left_out(self, event: Any) -> bool:
        """Whether a report is of an order that never left, or answers a replacement that was never asked."""
        if event.key in self._gone:
            if isinstance(event, OrderFilled):
                self._lost_fills += 1
                known = self._lost.get(event.instrument_id, ZERO)
                self._lost[event.instrument_id] = exact(known + event.last_qty)
            return True
        return (event.key.account_id, getattr(event, "requested_as", "")) in self._unasked

    def _other(self, event: Any) -> Any:
        """Requests that take more than their event to tell."""
        match event:
            case PositionTransferred() if commands.is_move(event):
                assert event.counterparty is not None, "a move has two sides"
                move = (event.transfer_id, frozenset((event.key, event.counterparty)))
                if move in self._moves:
                    self._moves.discard(move)
                    return None
                self._moves.add(move)
                return commands.moved(event)
            case LotsAssigned():
                booked = self._log.read(position_stream(event.key))
                found = [
                    r.event for r in booked if isinstance(r.event, TradeBooked) and r.event.exec_id == event.exec_id
                ]
                if found:
                    return AssignLots(
                        event.key, event.exec_id, found[-1].trade_seq, event.lot_ids, event.transact_time
                    )  # fmt: skip
        return None

    def _request(self, logged: Logged, request: Any) -> None:
        event = logged.recorded.event
        key = getattr(event, "key", None)
        if isinstance(key, OrderKey) and key in self._gone:
            return
        refused: RequestRefused | None = None
        try:
            self._ledger.request(request, actor=getattr(event, "actor", "") or ACTOR)
        except RequestRefused as refusal:
            refused = refusal
        if isinstance(event, OrderSubmitted | OrderRefused):
            self._judged(logged, event, refused)
        elif isinstance(event, OrderReplaceRequested) and refused is not None:
            self._unasked.add((event.key.account_id, event.requested_as))
            self._verdicts.append(_verdict(logged, event, refused))
        elif refused is not None:
            self._untold[refused.rule] = self._untold.get(refused.rule, 0) + 1
        if hasattr(event, "contract") and hasattr(event, "instrument_id") and event.contract is not None:
            self._contracts[event.instrument_id] = event.contract
        if type(request).__name__ == "OpenAccount":
            self._set_limits(request.account_id, request.transact_time)

    def _judged(self, logged: Logged, event: OrderSubmitted | OrderRefused, refused: RequestRefused | None) -> None:
        self._orders += 1
        was_refused = isinstance(event, OrderRefused)
        if was_refused != (refused is not None):
            self._verdicts.append(_verdict(logged, event, refused))
        if refused is not None and not was_refused:  # what a venue told of an order refused then is a fact
            self._gone.add(event.key)
        if was_refused and refused is None:
            self._report([OrderCanceled(event.key, "nobody knows how it would have fared", event.transact_time)])

    def _report(self, reports: Sequence[Any]) -> None:
        if not reports:
            return
        try:
            answers = self._ledger.report(reports, actor=ACTOR)
        except LedgerError as error:
            self._untold[str(error)] = self._untold.get(str(error), 0) + len(reports)
            return
        for answer in answers:
            if answer.error is not None:
                self._untold[str(answer.error)] = self._untold.get(str(answer.error), 0) + 1

    def _in_proportion(self, report: Any) -> Any:
        """Funding for what is held now, where it is not what was held then."""
        then, state = self._held.get(report.key, ZERO), self._ledger.state(position_stream(report.key))
        now = state.quantity if state is not None else ZERO
        if not then or now == then:
            return report
        return replace(report, amount=Money(divide(report.amount.amount * now, then), report.amount.currency))

    def _hold(self, event: Any) -> None:
        if isinstance(event, TradeBooked | PositionTransferred):
            self._held[event.key] = exact(self._held.get(event.key, ZERO) + event.effect.quantity)
        elif isinstance(event, TradeReversed):
            self._held[event.key] = exact(self._held.get(event.key, ZERO) - event.effect.quantity)


def _units(history: Iterable[Logged]) -> Iterator[_Unit]:
    def envelope(logged: Logged) -> tuple[Any, ...]:
        recorded = logged.recorded
        return recorded.recorded_at, recorded.actor, recorded.request_id, recorded.cause

    for (recorded_at, *_), members in groupby(history, envelope):
        yield _Unit(recorded_at, list(members))


def _marks_seen(unit: Sequence[Logged]) -> dict[str, Mark]:
    """The marks that decisions of an append are on record to have used."""
    seen: dict[str, Mark] = {}
    for logged in unit:
        event = logged.recorded.event
        told = event.change if isinstance(event, FirmUsageChanged) else event
        if isinstance(told, HoldPlaced | HoldRefused | HoldAdjusted):
            seen |= {each.mark.instrument_id: each.mark for each in told.marks}
            if told.mark is not None:
                seen[told.mark.instrument_id] = told.mark
    return seen


def _verdict(logged: Logged, event: Struct, refused: RequestRefused | None) -> Verdict:
    assert isinstance(event, OrderSubmitted | OrderRefused | OrderReplaceRequested), "an order or a replacement"
    terms, key = event.terms, event.key
    then = REFUSED if isinstance(event, OrderRefused) else ACCEPTED
    if refused is not None:
        rule, facts = refused.rule, {name: str(fact) for name, fact in refused.facts.items() if fact is not None}
    else:
        rule, facts = (event.rule, event.facts) if isinstance(event, OrderRefused) else ("", {})
    return Verdict(
        key.account_id, key.cl_ord_id, logged.seq, "REPLACE" if isinstance(event, OrderReplaceRequested) else "NEW",
        terms.strategy_id, terms.instrument_id, terms.side.value, terms.order_qty, terms.price, event.transact_time,
        then, ACCEPTED if refused is None else REFUSED, rule, facts,
    )  # fmt: skip


def compared(found: Found, then: Marks, now: Marks) -> list[Row]:
    """Every position's PnL then and now, at the marks on record and at those with the changed ones."""
    rows: dict[tuple[str, ...], dict[str, pnl.PnlRow]] = {}
    for name, source, marks in (("then", found.then, then), ("now", found.now, now)):
        for row in pnl.pnl(source, marks=marks):
            place = tuple(row[column] for column in ("account_id", "strategy_id", "instrument_id"))
            rows.setdefault(place, {})[name] = row
    return [_compared(place, sides.get("then"), sides.get("now")) for place, sides in sorted(rows.items())]


def _compared(place: tuple[str, ...], then: pnl.PnlRow | None, now: pnl.PnlRow | None) -> Row:
    row: Row = dict(zip(("account_id", "strategy_id", "instrument_id"), place, strict=True))
    side = then or now
    assert side is not None, "a position is on one side at least"
    sides = {"then": _side(then), "now": _side(now)}
    differences = {
        name: None if sides["now"][name] is None or sides["then"][name] is None
        else exact(sides["now"][name] - sides["then"][name])
        for name in ("quantity", *SUMS)
    }  # fmt: skip
    is_changed = any(change != 0 for change in differences.values())
    return row | {"settle": side["settle"]} | sides | {"difference": differences, "is_changed": is_changed}


def _side(row: AnyRow | None) -> Row:
    if row is None:
        return dict.fromkeys(("quantity", *SUMS), ZERO) | {"mark": None}
    return {name: row[name] for name in ("quantity", *SUMS, "mark")}


def differences(rows: Sequence[Row]) -> list[Row]:
    """The sums of `compared` rows in each settlement currency; None where one is not known."""
    totals = []
    for settle in sorted({row["settle"] or "" for row in rows}):
        members = [row for row in rows if (row["settle"] or "") == settle]
        total: Row = {"settle": settle}
        for side in ("then", "now", "difference"):
            parts = {name: [row[side][name] for row in members] for name in SUMS}
            total[side] = {name: None if None in part else exact(sum(part, ZERO)) for name, part in parts.items()}
        totals.append(total)
    return totals

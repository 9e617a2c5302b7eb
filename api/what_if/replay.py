"""What-if replay: the log applied again to a ledger in memory, with other conventions, fees, marks or limits.

Every recorded request and report is carried out in the order of `seq` by the domain's own decisions, and the outcome is
compared with the recorded one. Nothing is written: the log is only read, the replayed ledger is discarded. The same
history and the same changes give the same result.

Three rules where the log cannot show what would have happened. An order that is refused in the replay never reached the
venue: its reports are left out, its fills are listed as lost. An order that was refused as recorded is listed as
accepted, but its fills cannot be known: it has none, and holds nothing from then on. Funding follows the position: it
is paid in proportion where another quantity is held. Kill switches stay as they were engaged and released. A refused
replacement is recorded without its changes, and is not replayed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from adapters.market.mark_store import KnownBy
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
from projections.storage.tables import POSITION, AnyRow, Row, position_of

ACTOR = "what-if"
STREAMS_MAX = 10_000_000  # nothing is evicted while history is replayed
PROGRESS_EVENTS = 1000
ACCEPTED, REFUSED = "ACCEPTED", "REFUSED"
SUMS = ("realized", "rounding", "funding", "income", "fee_cost", "fees_settle", "unrealized", "net")

Lookup = Callable[[str, KnownBy], Mark | None]


class ChangedOrder(NamedTuple):
    """An order or a replacement with another outcome: as recorded (`then`), as replayed (`now`), and the rule."""

    account_id: str
    cl_ord_id: str
    seq: int
    kind: str  # NEW or REPLACE
    strategy_id: str
    instrument_id: str
    position_side: str
    side: str
    order_qty: Decimal
    price: Decimal | None
    transact_time: datetime
    then: str
    now: str
    rule: str
    facts: dict[str, str]


class ReplayResult(NamedTuple):
    """How many orders were checked, those with another outcome, and every position as recorded and as replayed.

    `lost_fills` are those of orders that the replay refuses, `lost_qty` their quantities by instrument; `untold` counts
    what could not be replayed, by rule.
    """

    seq: int
    orders: int
    verdicts: list[ChangedOrder]
    lost_fills: int
    lost_qty: dict[str, Decimal]
    untold: dict[str, int]
    then: MemoryRows
    now: MemoryRows


class _Append(NamedTuple):
    """Events that one request or batch of reports appended."""

    recorded_at: datetime
    logged: list[Logged]


class Replay:
    """One replay of a history."""

    def __init__(self, changed: Changed, lookup: Lookup) -> None:
        self._changed = changed
        self._lookup = lookup
        self._now = EPOCH
        self._before = 0
        self._log = MemoryLog()
        self._ledger = Ledger(self._log, lambda: self._now, self._mark, cached_streams_max=STREAMS_MAX)
        self._seen: dict[str, Mark] = {}
        self._gone: set[OrderKey] = set()
        self._refused_replacements: set[tuple[str, str]] = set()
        self._moves: set[tuple[str, frozenset[PositionKey]]] = set()
        self._contracts: dict[str, Contract] = {}
        self._held: dict[PositionKey, Decimal] = {}
        self._then = MemoryRows()
        self._orders = 0
        self._changed_orders: list[ChangedOrder] = []
        self._lost: dict[str, Decimal] = {}
        self._lost_fills = 0
        self._not_replayed: dict[str, int] = {}

    def run(self, history: Iterable[Logged], on_progress: Callable[[int], None] | None = None) -> ReplayResult:
        """Carry out every request and report again; return the result. Runs once."""
        seq = 0
        self._set_limits(FIRM, EARLIEST)
        for append in _appends(history):
            self._now = append.recorded_at
            self._before = append.logged[0].seq - 1
            self._seen = _marks_seen(append.logged)
            self._replay(append.logged)
            for logged in append.logged:
                positions.PROJECTION.fold(self._then, [logged])
                self._hold(logged.recorded.event)
            seq = append.logged[-1].seq
            if on_progress is not None and seq % PROGRESS_EVENTS < len(append.logged):
                on_progress(seq)
        self._check_limits()
        now = MemoryRows()
        positions.PROJECTION.fold(now, scan(self._log))
        return ReplayResult(
            seq=seq, orders=self._orders, verdicts=self._changed_orders, lost_fills=self._lost_fills,
            lost_qty=dict(sorted(self._lost.items())), untold=self._not_replayed, then=self._then, now=now,
        )  # fmt: skip

    def _mark(self, instrument_id: str) -> Mark | None:
        """Return the changed mark, else the one the recorded decision used, else the one known at that moment."""
        if (given := self._changed.marks.get(instrument_id)) is not None:
            return replace(given, mark_at=self._now)
        if (seen := self._seen.get(instrument_id)) is not None:
            return seen
        return self._lookup(instrument_id, KnownBy(self._before, self._now))

    def _set_limits(self, account_id: str, at: datetime) -> None:
        for (owner, scope, measure), (limit, currency) in self._changed.limits.items():
            if owner == account_id and limit is not None:
                request = SetLimit(
                    account_id=owner, scope=scope, measure=measure, limit=limit, currency=currency, transact_time=at
                )
                self._ledger.request(request, actor=ACTOR)

    def _check_limits(self) -> None:
        for account_id, _, _ in self._changed.limits:
            if account_id != FIRM and self._ledger.state(account_stream(account_id)) is None:
                raise InvalidInput("limits.account_id", account_id, f"an account on record, nor {FIRM}")

    def _replay(self, append: Sequence[Logged]) -> None:
        """Carry out the reports of one append together, as they were recorded; requests one by one."""
        reports: list[Any] = []
        for logged in append:
            event = logged.recorded.event
            if isinstance(event, OrderReport) and self._is_left_out(event):
                continue
            request = commands.setting(event, self._changed) or commands.requested(event) or self._other(event)
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
        """Whether a report is of an order or a replacement that the replay refused."""
        if event.key in self._gone:
            if isinstance(event, OrderFilled):
                self._lost_fills += 1
                known = self._lost.get(event.instrument_id, ZERO)
                self._lost[event.instrument_id] = exact(known + event.last_qty)
            return True
        return (event.key.account_id, getattr(event, "requested_as", "")) in self._refused_replacements

    def _other(self, event: Any) -> Any:
        """Return a request that is recovered from more than its event: a move, or lots assigned."""
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
                        key=event.key, exec_id=event.exec_id, trade_seq=found[-1].trade_seq, lot_ids=event.lot_ids,
                        transact_time=event.transact_time,
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
            self._compare(logged, event, refused)
        elif isinstance(event, OrderReplaceRequested) and refused is not None:
            self._refused_replacements.add((event.key.account_id, event.requested_as))
            self._changed_orders.append(_changed_order(logged, event, refused))
        elif refused is not None:
            self._count_not_replayed(refused.rule)
        if hasattr(event, "contract") and hasattr(event, "instrument_id") and event.contract is not None:
            self._contracts[event.instrument_id] = event.contract
        if type(request).__name__ == "OpenAccount":
            self._set_limits(request.account_id, request.transact_time)

    def _compare(self, logged: Logged, event: OrderSubmitted | OrderRefused, refused: RequestRefused | None) -> None:
        self._orders += 1
        was_refused = isinstance(event, OrderRefused)
        if was_refused != (refused is not None):
            self._changed_orders.append(_changed_order(logged, event, refused))
        if refused is not None and not was_refused:  # venue reports of an order refused as recorded are facts
            self._gone.add(event.key)
        if was_refused and refused is None:
            self._report([OrderCanceled(event.key, "its fills cannot be known", event.transact_time)])

    def _report(self, reports: Sequence[Any]) -> None:
        if not reports:
            return
        try:
            answers = self._ledger.report(reports, actor=ACTOR)
        except LedgerError as error:
            self._count_not_replayed(str(error), len(reports))
            return
        for answer in answers:
            if answer.error is not None:
                self._count_not_replayed(str(answer.error))

    def _count_not_replayed(self, rule: str, times: int = 1) -> None:
        self._not_replayed[rule] = self._not_replayed.get(rule, 0) + times

    def _in_proportion(self, report: Any) -> Any:
        """Return funding for the replayed quantity, where it differs from the recorded one."""
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


def _appends(history: Iterable[Logged]) -> Iterator[_Append]:
    def envelope(logged: Logged) -> tuple[Any, ...]:
        recorded = logged.recorded
        return recorded.recorded_at, recorded.actor, recorded.request_id, recorded.cause

    for (recorded_at, *_), members in groupby(history, envelope):
        yield _Append(recorded_at, list(members))


def _marks_seen(append: Sequence[Logged]) -> dict[str, Mark]:
    """Return the marks that the recorded decisions of an append used."""
    seen: dict[str, Mark] = {}
    for logged in append:
        event = logged.recorded.event
        decided = event.change if isinstance(event, FirmUsageChanged) else event
        if isinstance(decided, HoldPlaced | HoldRefused | HoldAdjusted):
            seen |= {each.mark.instrument_id: each.mark for each in decided.marks}
            if decided.mark is not None:
                seen[decided.mark.instrument_id] = decided.mark
    return seen


def _changed_order(logged: Logged, event: Struct, refused: RequestRefused | None) -> ChangedOrder:
    assert isinstance(event, OrderSubmitted | OrderRefused | OrderReplaceRequested), "an order or a replacement"
    terms, key = event.terms, event.key
    then = REFUSED if isinstance(event, OrderRefused) else ACCEPTED
    if refused is not None:
        rule, facts = refused.rule, {name: str(fact) for name, fact in refused.facts.items() if fact is not None}
    else:
        rule, facts = (event.rule, event.facts) if isinstance(event, OrderRefused) else ("", {})
    return ChangedOrder(
        account_id=key.account_id, cl_ord_id=key.cl_ord_id, seq=logged.seq,
        kind="REPLACE" if isinstance(event, OrderReplaceRequested) else "NEW", strategy_id=terms.strategy_id,
        instrument_id=terms.instrument_id, position_side=terms.leg.value,
        side=terms.side.value, order_qty=terms.order_qty, price=terms.price,
        transact_time=event.transact_time, then=then, now=ACCEPTED if refused is None else REFUSED, rule=rule,
        facts=facts,
    )  # fmt: skip


def compared(found: ReplayResult, then: Marks, now: Marks) -> list[Row]:
    """Return every position's PnL as recorded and as replayed, at the recorded and at the changed marks."""
    rows: dict[tuple[str, ...], dict[str, pnl.PnlRow]] = {}
    for name, source, marks in (("then", found.then, then), ("now", found.now, now)):
        for row in pnl.pnl(source, marks=marks):
            place = position_of(row)
            rows.setdefault(place, {})[name] = row
    return [_compared(place, sides.get("then"), sides.get("now")) for place, sides in sorted(rows.items())]


def _compared(place: tuple[str, ...], then: pnl.PnlRow | None, now: pnl.PnlRow | None) -> Row:
    row: Row = dict(zip(POSITION, place, strict=True))
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
    """Return the sums of `compared` rows in each settlement currency; None where one is not known."""
    totals = []
    for settle in sorted({row["settle"] or "" for row in rows}):
        members = [row for row in rows if (row["settle"] or "") == settle]
        total: Row = {"settle": settle}
        for side in ("then", "now", "difference"):
            parts = {name: [row[side][name] for row in members] for name in SUMS}
            total[side] = {name: None if None in part else exact(sum(part, ZERO)) for name, part in parts.items()}
        totals.append(total)
    return totals

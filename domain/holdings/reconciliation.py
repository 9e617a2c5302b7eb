"""Reconciliation of our records with a venue statement: the breaks between them, and the reports that resolve each.

`compare` goes from cause to consequence: fills, orders, positions, balances. The reports that resolve a break are
applied before the next section is compared, so that a fill we missed is one break, and not also a wrong order, position
and two wrong balances. Invariants, each a property in the tests:

1. Our own records, stated as a venue would, have no breaks.
2. Resolved records agree: once the reports of `mend` for every break are on record, comparing again finds nothing.
3. One cause is one break: one fill missing, doubled or changed on either side gives exactly one, at any size.
4. Stable: a break's id depends on its subject, not on numbers, statement or order of arrival.
5. Deterministic: the same breaks in the same order, however the statement's lines and the log's reports were shuffled.
6. Only what is stated is compared: no break about a section that is None, or a fill from before `fills_from`.
7. What is younger than `in_flight` at the statement's moment is in flight and no break, nor is what it explains.
8. Opened once, resolved once: `react` to the same comparison twice adds nothing; a break no longer found is resolved,
   if the statement covers it.

A proposal is a report that the ledger can record, or none where a person has to decide: an order that ended here works
at the venue, a fill that was busted is stated again or is on the other side, less of an order is filled than here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.account import (
    Account,
    BalanceLine,
    BookEntry,
    Break,
    BreakAged,
    BreakChanged,
    BreakEvent,
    BreakKind,
    BreakOpened,
    BreakResolved,
    EntryKind,
    FillLine,
    Indicator,
    Line,
    OpenBreak,
    OrderLine,
    PositionLine,
    Statement,
    age_steps,
    break_of,
    digest_of,
)
from domain.errors import ReportUnreadable
from domain.holdings.holdings import Holdings, order_line
from domain.instrument import Kind
from domain.order import (
    OrderAccepted,
    OrderCanceled,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderReport,
    OrderRestated,
    OrderTerms,
    OrdType,
    adopted_id,
)
from domain.position import PositionKey, Transfer, TransferReason
from domain.values import ZERO, Liquidity, Money, PositionSide, Side, by_currency, divide, exact, leg_of, stated_leg

Mending = OrderReport | Transfer | BookEntry

REASON = "reconciliation"


class Tolerances(Struct, frozen=True):
    """The differences that are ignored: of balances by currency, of positions by instrument.

    `in_flight` is how long a report may be under way between the venue and us. `strategy_id` receives what the venue
    has and no strategy of ours.
    """

    amounts: Mapping[str, Decimal] = {}
    quantities: Mapping[str, Decimal] = {}
    in_flight: timedelta = timedelta(0)
    strategy_id: str = "unassigned"


EXACT = Tolerances()
NOTHING: Mapping[str, Decimal] = MappingProxyType({})


def compare(ours: Holdings, theirs: Statement, tolerances: Tolerances = EXACT) -> tuple[Break, ...]:
    """The breaks between our holdings at the statement's moment and the statement: fills, orders, positions, balances.

    `ours` is used up: the reports that resolve the breaks are applied to it.
    """
    assert (ours.account_id, ours.at) == (theirs.account_id, theirs.transact_time), "one account at one moment"
    found: list[Break] = []
    for section in (_fills, _orders, _positions, _balances):
        for broken in sorted(section(ours, theirs, tolerances), key=_precedence):
            line = broken.line
            held = (
                ours.held_by(line.instrument_id, leg_of(line.position_side)) if isinstance(line, PositionLine) else {}
            )
            for report in mend(broken, theirs, tolerances, held):
                ours.apply(report)
            if not _is_under_way(broken, theirs, tolerances):
                found.append(broken)
    return tuple(found)


def _held(ours: Holdings, line: Line) -> Mapping[str, Decimal]:
    """What each strategy holds of the leg of a position's line."""
    return ours.held_by(line.instrument_id, leg_of(line.position_side)) if isinstance(line, PositionLine) else NOTHING


def _precedence(found: Break) -> tuple[object, ...]:
    """The sort key of the breaks of one section: fills by occurrence, the rest by id."""
    line = found.line
    at = (line.transact_time, line.trade_seq) if isinstance(line, FillLine) else ()
    return (*at, found.break_id)


def _is_under_way(found: Break, theirs: Statement, tolerances: Tolerances) -> bool:
    """Whether a fill is so young that one side may not have received it."""
    line = found.line
    return isinstance(line, FillLine) and line.transact_time > theirs.transact_time - tolerances.in_flight


def _fills(ours: Holdings, theirs: Statement, tolerances: Tolerances) -> Iterator[Break]:
    if theirs.fills is None or theirs.fills_from is None:
        return
    stated = {(line.instrument_id, line.exec_id): _named(ours, line, tolerances) for line in theirs.fills}
    booked = defaultdict(list)
    for line in ours.fills():
        booked[line.instrument_id, line.exec_id].append(line)
    surplus: list[FillLine] = []
    missing: list[FillLine] = []
    for key in sorted(booked.keys() | stated.keys()):
        line_stated = stated.get(key)
        copies = sorted(booked.get(key, ()), key=lambda copy: (not _is_of_order(copy, line_stated), copy.cl_ord_id))
        if line_stated is None:
            surplus += (copy for copy in copies if copy.transact_time >= theirs.fills_from)
        elif not copies:
            missing.append(line_stated)
        else:
            yield from _differing_fill(ours.account_id, copies[0], line_stated)
            for copy in copies[1:]:
                yield break_of(
                    ours.account_id, kind=BreakKind.DUPLICATE, fields=("cl_ord_id",), ours=copy, theirs=line_stated
                )
    known = {_content(line): line for line in stated.values() if (line.instrument_id, line.exec_id) in booked}
    renamed = defaultdict(list)
    for line in missing:
        renamed[_content(line)].append(line)
    for copy in surplus:
        content = _content(copy)
        if renamed[content]:
            yield break_of(
                ours.account_id,
                kind=BreakKind.DUPLICATE,
                fields=("exec_id",),
                ours=copy,
                theirs=renamed[content].pop(0),
            )
        elif content in known:
            yield break_of(ours.account_id, kind=BreakKind.DUPLICATE, fields=(), ours=copy, theirs=known[content])
        else:
            yield break_of(ours.account_id, kind=BreakKind.MISSING_AT_VENUE, fields=(), ours=copy, theirs=None)
    for line in (line for lines in renamed.values() for line in lines):
        fields = ("exec_ref_id",) if ours.is_busted(line) else ()
        yield break_of(ours.account_id, kind=BreakKind.MISSING_AT_US, fields=fields, ours=None, theirs=line)


def _named(ours: Holdings, line: FillLine, tolerances: Tolerances) -> FillLine:
    """A venue's fill with our ClOrdID and strategy of its order."""
    known = ours.find(line.cl_ord_id, line.order_id, line.instrument_id)
    if known is not None:
        strategy_id = known.strategy_id or tolerances.strategy_id
        return replace(line, cl_ord_id=known.key.cl_ord_id, strategy_id=strategy_id)
    cl_ord_id = line.cl_ord_id or adopted_id(line.instrument_id, line.order_id, line.exec_id)
    return replace(line, cl_ord_id=cl_ord_id, strategy_id=line.strategy_id or tolerances.strategy_id)


def _is_of_order(copy: FillLine, stated: FillLine | None) -> bool:
    return stated is not None and copy.cl_ord_id == stated.cl_ord_id


def _content(line: FillLine) -> tuple[object, ...]:
    """The fields that make two fills the same trade under any id."""
    return (line.instrument_id, line.side, line.last_qty, line.last_px, line.transact_time)


def _differing_fill(account_id: str, ours: FillLine, theirs: FillLine) -> Iterator[Break]:
    found = [field for field in ("side", "last_qty") if getattr(ours, field) != getattr(theirs, field)]
    found += ["commission"] if set(by_currency(ours.commissions)) != set(by_currency(theirs.commissions)) else []
    found += ["position_side"] if theirs.position_side and theirs.position_side != ours.position_side else []
    fields = (*found, *(("last_px",) if ours.last_px != theirs.last_px else ()))
    if fields:
        kind = BreakKind.PRICE_DIFFERS if fields == ("last_px",) else BreakKind.AMOUNT_DIFFERS
        yield break_of(account_id, kind, fields, ours, theirs=theirs)


def _orders(ours: Holdings, theirs: Statement, tolerances: Tolerances) -> Iterator[Break]:
    if theirs.open_orders is None:
        return
    settled_before = theirs.transact_time - tolerances.in_flight
    working = {line.cl_ord_id: line for line in ours.open_orders()}
    for stated in theirs.open_orders:
        known = ours.find(stated.cl_ord_id, stated.order_id, stated.instrument_id)
        if known is None:
            cl_ord_id = stated.cl_ord_id or adopted_id(stated.instrument_id, stated.order_id)
            settle = _settle(ours, stated)
            line = replace(stated, cl_ord_id=cl_ord_id, strategy_id=tolerances.strategy_id, settle=settle)
            yield break_of(ours.account_id, kind=BreakKind.MISSING_AT_US, fields=(), ours=None, theirs=line)
            continue
        cl_ord_id = known.key.cl_ord_id
        working.pop(cl_ord_id, None)
        if ours.touched[cl_ord_id] > settled_before:
            continue
        line = replace(stated, cl_ord_id=cl_ord_id, strategy_id=known.strategy_id, settle=_settle(ours, stated))
        if not known.is_open:
            yield break_of(
                ours.account_id,
                kind=BreakKind.MISSING_AT_US,
                fields=("ord_status",),
                ours=order_line(known),
                theirs=line,
            )
        else:
            yield from _differing_order(ours.account_id, order_line(known), line)
    for cl_ord_id, line in working.items():
        if ours.touched[cl_ord_id] <= settled_before:
            yield break_of(ours.account_id, kind=BreakKind.MISSING_AT_VENUE, fields=(), ours=line, theirs=None)


def _settle(ours: Holdings, line: OrderLine) -> str:
    contract = ours.contract(line.instrument_id, ours.at)
    return contract.settle if contract is not None else ""


def _differing_order(account_id: str, ours: OrderLine, theirs: OrderLine) -> Iterator[Break]:
    fields = [field for field in ("order_qty", "cum_qty") if getattr(ours, field) != getattr(theirs, field)]
    if theirs.position_side and theirs.position_side != ours.position_side and ours.order_qty is not None:
        fields.append("position_side")
    kind = BreakKind.AMOUNT_DIFFERS if fields else BreakKind.PRICE_DIFFERS
    if theirs.price is not None and theirs.price != ours.price:
        fields.append("price")
    if not fields and not ours.order_id:
        kind, fields = BreakKind.MISSING_AT_US, ["order_id"]
    if fields:
        yield break_of(account_id, kind, fields=tuple(fields), ours=ours, theirs=theirs)


def _positions(ours: Holdings, theirs: Statement, tolerances: Tolerances) -> Iterator[Break]:
    if theirs.positions is None:
        return
    for known, line in _position_pairs(ours, theirs.positions):
        contract = ours.contract(line.instrument_id, theirs.transact_time)
        if contract is not None and contract.kind is Kind.SPOT:
            rule = "a derivative; a spot holding is a balance"
            raise ReportUnreadable("positions.instrument_id", line.instrument_id, rule)
        if abs(line.quantity - known.quantity) <= tolerances.quantities.get(line.instrument_id, ZERO):
            continue
        cost = line.cost
        if line.avg_px is not None and contract is not None:
            cost = exact(contract.value(line.quantity, line.avg_px))
        kind = _kind(known.quantity, line.quantity)
        yield break_of(ours.account_id, kind, ("quantity",), ours=known, theirs=replace(line, cost=cost))


def _position_pairs(ours: Holdings, theirs: Iterable[PositionLine]) -> Iterator[tuple[PositionLine, PositionLine]]:
    """Our line and the venue's of every position: of each leg, or of their net where the venue states that alone."""
    net, legs = ours.positions(), ours.legs()
    stated: dict[str, dict[PositionSide, PositionLine]] = defaultdict(dict)
    for line in theirs:
        stated[line.instrument_id][leg_of(line.position_side)] = line
    for instrument_id in sorted(stated.keys() | {name for name, _ in legs}):
        lines = stated[instrument_id]
        if lines.keys() == {PositionSide.BOTH}:
            flat = PositionLine(instrument_id, ZERO)
            yield net.get(instrument_id, flat), lines[PositionSide.BOTH]
            continue
        for leg in PositionSide:
            flat = PositionLine(instrument_id, ZERO, position_side=stated_leg(leg))
            if leg in lines or (instrument_id, leg) in legs:
                yield legs.get((instrument_id, leg), flat), lines.get(leg, flat)


def _balances(ours: Holdings, theirs: Statement, tolerances: Tolerances) -> Iterator[Break]:
    if theirs.balances is None:
        return
    held, stated = ours.balances(), {line.currency: line for line in theirs.balances}
    for currency in sorted(held.keys() | stated.keys()):
        none = BalanceLine(currency, ZERO)
        line, known = stated.get(currency, none), held.get(currency, none)
        if abs(line.amount - known.amount) > tolerances.amounts.get(currency, ZERO):
            yield break_of(
                ours.account_id, kind=_kind(known.amount, line.amount), fields=("amount",), ours=known, theirs=line
            )


def _kind(ours: Decimal, theirs: Decimal) -> BreakKind:
    if not ours:
        return BreakKind.MISSING_AT_US
    return BreakKind.AMOUNT_DIFFERS if theirs else BreakKind.MISSING_AT_VENUE


def mend(
    found: Break,
    statement: Statement,
    tolerances: Tolerances = EXACT,
    held: Mapping[str, Decimal] = MappingProxyType({}),
) -> tuple[Mending, ...]:
    """The reports that would make our records agree with the statement on this break; () if a person has to decide.

    `held` is what each strategy holds of the leg that a break of a position is about.
    """
    match found.ours, found.theirs:
        case (FillLine() | None) as ours, (FillLine() | None) as theirs:
            return _mend_fill(found, ours, theirs, statement)
        case (OrderLine() | None) as ours, (OrderLine() | None) as theirs:
            return _mend_order(found, ours, theirs, statement)
        case PositionLine() as ours, PositionLine() as theirs:
            return _mend_position(found, ours, theirs, statement, tolerances=tolerances, held=held)
        case BalanceLine() as ours, BalanceLine() as theirs:
            difference = exact(theirs.amount - ours.amount)
            return (
                BookEntry(
                    found.account_id, entry_id=_mend_id(found, statement), kind=EntryKind.ADJUSTMENT,
                    indicator=Indicator.CREDIT if difference > 0 else Indicator.DEBIT,
                    amount=Money(abs(difference), ours.currency),
                    reason=f"{REASON} with statement {statement.statement_id}", transact_time=statement.transact_time,
                ),
            )  # fmt: skip
        case _:
            raise AssertionError("both lines of a break have one subject")


def _mend_id(found: Break, statement: Statement) -> str:
    """An id for the report that resolves a break as it is now: found again with other numbers, it is resolved again."""
    return f"{REASON}-{digest_of((found, statement.statement_id, statement.transact_time))[:16]}"


def _mend_fill(
    found: Break, ours: FillLine | None, theirs: FillLine | None, statement: Statement
) -> tuple[OrderReport, ...]:
    reports: list[OrderReport] = []
    if ours is not None and (theirs is None or found.kind is BreakKind.DUPLICATE):
        key = OrderKey(found.account_id, ours.cl_ord_id)
        reports.append(
            OrderFillBusted(key=key, exec_ref_id=ours.exec_id, reason=REASON, transact_time=statement.transact_time)
        )
    is_new = found.kind is BreakKind.MISSING_AT_US and not found.fields
    if theirs is not None and (is_new or found.fields == ("exec_id",)):
        reports.append(
            OrderFilled(
                key=OrderKey(found.account_id, theirs.cl_ord_id), strategy_id=theirs.strategy_id,
                instrument_id=theirs.instrument_id, order_id=theirs.order_id, side=theirs.side, exec_id=theirs.exec_id,
                trade_seq=theirs.trade_seq, last_qty=theirs.last_qty, last_px=theirs.last_px,
                commission=theirs.commission, liquidity=theirs.liquidity, transact_time=theirs.transact_time,
                further_commissions=theirs.commissions[1:], position_side=leg_of(theirs.position_side),
            )
        )  # fmt: skip
    if "position_side" in found.fields and ours is not None and theirs is not None:
        return _mend_leg(found, ours, theirs)
    is_change = found.kind in (BreakKind.AMOUNT_DIFFERS, BreakKind.PRICE_DIFFERS) and "side" not in found.fields
    if ours is not None and theirs is not None and is_change:
        reports.append(
            OrderFillCorrected(
                key=OrderKey(found.account_id, ours.cl_ord_id), exec_ref_id=ours.exec_id, last_qty=theirs.last_qty,
                last_px=theirs.last_px, commission=theirs.commission, transact_time=statement.transact_time,
                further_commissions=theirs.commissions[1:],
            )
        )  # fmt: skip
    return tuple(reports)


def _mend_leg(found: Break, ours: FillLine, theirs: FillLine) -> tuple[OrderReport, ...]:
    """The fill again with its leg, where we have it without; of another leg a person decides."""
    if ours.position_side or found.fields != ("position_side",):
        return ()
    return (
        OrderFilled(
            key=OrderKey(found.account_id, ours.cl_ord_id), strategy_id=ours.strategy_id,
            instrument_id=ours.instrument_id, order_id=ours.order_id, side=ours.side, exec_id=ours.exec_id,
            trade_seq=ours.trade_seq, last_qty=ours.last_qty, last_px=ours.last_px, commission=ours.commission,
            liquidity=ours.liquidity, transact_time=ours.transact_time, further_commissions=ours.commissions[1:],
            position_side=leg_of(theirs.position_side),
        ),
    )  # fmt: skip


def _mend_order(
    found: Break, ours: OrderLine | None, theirs: OrderLine | None, statement: Statement
) -> tuple[OrderReport, ...]:
    at = statement.transact_time
    if theirs is None:
        assert ours is not None
        key = OrderKey(found.account_id, ours.cl_ord_id)
        return (OrderCanceled(key=key, order_id=ours.order_id, reason=REASON, transact_time=at),)
    key = OrderKey(found.account_id, theirs.cl_ord_id)
    if {"ord_status", "position_side"} & set(found.fields):
        return ()
    reports: list[OrderReport] = []
    if ours is None or ours.order_qty is None:
        reports.append(OrderAccepted(key=key, order_id=theirs.order_id, transact_time=at, terms=_terms(theirs)))
    elif "order_id" in found.fields:
        reports.append(OrderAccepted(key=key, order_id=theirs.order_id, transact_time=at))
    elif found.fields != ("cum_qty",):
        reports.append(
            OrderRestated(
                key=key, order_id=theirs.order_id, reason=REASON, transact_time=at, order_qty=theirs.order_qty,
                price=theirs.price,
            )
        )  # fmt: skip
    unseen = theirs.cum_qty - (ours.cum_qty if ours is not None else ZERO)
    if unseen > 0 and theirs.price is not None and theirs.settle:
        reports.append(_inferred_fill(found, key, line=theirs, quantity=exact(unseen), statement=statement))
    return tuple(reports)


def _terms(line: OrderLine) -> OrderTerms:
    assert line.order_qty is not None, "a venue states the quantity of an order"
    ord_type = OrdType.MARKET if line.price is None else OrdType.LIMIT
    return OrderTerms(
        line.strategy_id, line.instrument_id, line.side, ord_type, order_qty=line.order_qty, price=line.price,
        position_side=line.position_side,
    )  # fmt: skip


def _inferred_fill(
    found: Break, key: OrderKey, line: OrderLine, quantity: Decimal, statement: Statement
) -> OrderFilled:
    """A fill inferred from cum_qty, at the order's own price; once the venue's own arrives, it shows as a surplus."""
    assert line.price is not None
    return OrderFilled(
        key, line.strategy_id, line.instrument_id, line.order_id, side=line.side, exec_id=_mend_id(found, statement),
        trade_seq=0, last_qty=quantity, last_px=line.price, commission=Money(ZERO, line.settle),
        liquidity=Liquidity.UNKNOWN, transact_time=statement.transact_time, position_side=leg_of(line.position_side),
    )  # fmt: skip


def _mend_position(
    found: Break, ours: PositionLine, theirs: PositionLine, statement: Statement, *, tolerances: Tolerances,
    held: Mapping[str, Decimal],
) -> tuple[Transfer, ...]:  # fmt: skip
    """The transfers from our net to theirs: down at our average cost, so that no gain arises; up at theirs, or ours.

    A leg of hedge mode is reduced where it is held, because no strategy can have less than nothing of it.
    """
    cost, strategy_id = ours.cost or ZERO, tolerances.strategy_id
    moves: list[tuple[str, Decimal, Decimal]] = []
    kept = ours.quantity
    if kept * theirs.quantity < 0 or not theirs.quantity:
        moves += _reduced(ours, -kept, -cost, held=held, strategy_id=strategy_id)
        kept = ZERO
    rest = theirs.quantity - kept
    if rest and abs(theirs.quantity) < abs(kept):
        moves += _reduced(ours, rest, divide(cost * rest, kept), held=held, strategy_id=strategy_id)
    elif rest and theirs.cost is not None:
        moves.append((strategy_id, rest, divide(theirs.cost * rest, theirs.quantity)))
    elif rest:
        moves.append((strategy_id, rest, divide(cost * rest, ours.quantity) if ours.quantity else ZERO))
    leg = leg_of(ours.position_side)
    return tuple(
        Transfer(
            PositionKey(found.account_id, owner, ours.instrument_id, leg),
            transfer_id=f"{_mend_id(found, statement)}-{number}", side=Side.BUY if quantity > 0 else Side.SELL,
            quantity=exact(abs(quantity)), cost=exact(worth), transact_time=statement.transact_time,
            reason=TransferReason.ADJUSTMENT,
        )
        for number, (owner, quantity, worth) in enumerate(moves, 1)
        if quantity
    )  # fmt: skip


def _reduced(
    ours: PositionLine, quantity: Decimal, worth: Decimal, held: Mapping[str, Decimal], strategy_id: str
) -> Iterator[tuple[str, Decimal, Decimal]]:
    """The strategies that a reduction is taken from, each with its part: of a leg those that hold most of it first."""
    left, left_worth = quantity, worth
    sizes = {owner: size for owner, size in held.items() if size * quantity < 0} if ours.position_side else {}
    for owner in sorted(sizes, key=lambda name: (-abs(sizes[name]), name)):
        if left:
            part = max(left, -sizes[owner]) if left < 0 else min(left, -sizes[owner])
            part_worth = left_worth if part == left else divide(worth * part, quantity)
            yield owner, part, part_worth
            left, left_worth = exact(left - part), exact(left_worth - part_worth)
    if left:
        yield strategy_id, left, left_worth


def react(account: Account, statement: Statement, found: Iterable[Break]) -> tuple[BreakEvent, ...]:
    """The events of the account's breaks that follow from a comparison.

    New breaks open, known ones change and age, those no longer found are resolved if the statement covers them. A
    statement from before a break was opened changes nothing of it.
    """
    at, statement_id = statement.transact_time, statement.statement_id
    events: list[BreakEvent] = []
    seen = set()
    for broken in found:
        seen.add(broken.break_id)
        known = account.breaks.get(broken.break_id)
        if known is None:
            events.append(BreakOpened(account.account_id, broken, statement_id, at))
            continue
        if known.opened_at > at:
            continue
        if known.found != broken:
            events.append(BreakChanged(account.account_id, broken, statement_id, at))
        if age_steps(at - known.opened_at) > known.age_steps:
            events.append(
                BreakAged(account.account_id, broken.break_id, statement_id, known.opened_at, transact_time=at)
            )
    for break_id in sorted(account.breaks.keys() - seen):
        known = account.breaks[break_id]
        if known.opened_at <= at and _is_covered(known, statement):
            events.append(
                BreakResolved(
                    account.account_id,
                    break_id,
                    statement_id,
                    reason="no longer found",
                    opened_at=known.opened_at,
                    transact_time=at,
                )
            )
    return tuple(events)


def _is_covered(known: OpenBreak, statement: Statement) -> bool:
    """Whether a statement would show the break if it were still there."""
    line: Line = known.found.line
    match line:
        case FillLine():
            return statement.fills_from is not None and line.transact_time >= statement.fills_from
        case OrderLine():
            return statement.open_orders is not None
        case PositionLine():
            return statement.positions is not None
        case BalanceLine():
            return statement.balances is not None
        case _:
            assert_never(line)

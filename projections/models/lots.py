"""Open lots, and the matches of disposals with lots (none under AVERAGE).

Signed as in `domain.position.costing`: a short lot's quantity is below zero. A match belongs to a disposal and has a
`line`, in the order in which the cost basis consumed the lots. Both tables are the book by time of occurrence: the
restatement of a late or reversed trade replaces the matches of every disposal it changed and corrects the open lots.
Where a restatement is by half hour, the matches after it are costed from the position's executions when they are read.
A lot moved by a transfer keeps its age.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from domain.account import Costing
from domain.ledger import Logged
from domain.position import (
    Book,
    Lot,
    LotMatch,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
    costing,
)
from domain.values import Occurrence, exact
from projections.models import executions
from projections.models.executions import TradeRow, costing_entry_of
from projections.storage.copy_out import CopyOut
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    NUMBER,
    POSITION,
    WHOLE,
    PositionColumns,
    Projection,
    Row,
    Rows,
    fact,
    key,
    position_filter,
    position_of,
    position_row,
    table,
)

PAGE_ROWS_MAX = 1000
OPENED = (*POSITION, "opened_at", "opened_trade_seq", "lot_id")
DISPOSED = (*POSITION, "disposed_at", "disposed_trade_seq", "exec_id", "line")

lots_table = table(
    "lots",
    "lots",
    *map(key, POSITION),
    key("lot_id"),
    fact("opened_at", AT),
    fact("opened_trade_seq", WHOLE),
    fact("opened_quantity", NUMBER),
    fact("opened_cost", NUMBER),
    fact("quantity", NUMBER),
    fact("cost", NUMBER),
    indexes=(OPENED,),
)
matches_table = table(
    "lots",
    "matches",
    *map(key, POSITION),
    key("exec_id"),
    key("line", WHOLE),
    fact("disposed_at", AT),
    fact("disposed_trade_seq", WHOLE),
    fact("lot_id"),
    fact("quantity", NUMBER),
    fact("cost", NUMBER),
    fact("gain", NUMBER),
    indexes=(DISPOSED,),
)
COPIED_LOTS = CopyOut(lots_table, ", ".join(OPENED))


class RecostedLotRow(PositionColumns):
    """An open lot: quantities signed, in base units or contracts, costs in settlement currency."""

    lot_id: str
    opened_at: datetime
    opened_trade_seq: int
    opened_quantity: Decimal
    opened_cost: Decimal
    quantity: Decimal
    cost: Decimal


class LotRow(RecostedLotRow):
    """An open lot by the account's own conventions."""

    seq: int


class RecostedMatchRow(PositionColumns):
    """A match of a disposal with a lot: `quantity` in base units or contracts, `cost` and `gain` in settlement
    currency.
    """

    exec_id: str
    line: int
    disposed_at: datetime
    disposed_trade_seq: int
    lot_id: str
    quantity: Decimal
    cost: Decimal
    gain: Decimal


class MatchRow(RecostedMatchRow):
    """A match by the account's own conventions."""

    seq: int


def _lot_row(lot: Lot) -> Row:
    return {
        "lot_id": lot.lot_id,
        "opened_at": lot.opened_at.transact_time,
        "opened_trade_seq": lot.opened_at.trade_seq,
        "opened_quantity": lot.opened_quantity,
        "opened_cost": lot.opened_cost,
        "quantity": lot.quantity,
        "cost": lot.cost,
    }


def _match_rows(exec_id: str, at: datetime, trade_seq: int, matched: Sequence[LotMatch]) -> list[Row]:
    return [
        {
            "exec_id": exec_id,
            "line": line,
            "disposed_at": at,
            "disposed_trade_seq": trade_seq,
            "lot_id": match.lot_id,
            "quantity": match.quantity,
            "cost": match.cost,
            "gain": match.gain,
        }
        for line, match in enumerate(matched, 1)
    ]


def _booked(rows: Rows, logged: Logged, event: TradeBooked | PositionTransferred) -> None:
    effect, position = event.effect, event.key
    if not effect.opened and not effect.closed:
        return
    seq, place = {"seq": logged.seq}, position_row(position)
    if isinstance(event, TradeBooked):
        exec_id, trade_seq = event.exec_id, event.trade_seq
    else:
        exec_id, trade_seq = event.transfer_id, 0
    for row in _match_rows(exec_id, event.transact_time, trade_seq, effect.closed):
        rows.put(matches_table, place | row | seq)
    if not event.is_late:  # the restatement that follows a late disposal corrects the lots it consumed
        for match in effect.closed:
            lot = rows.get(lots_table, *place.values(), match.lot_id)
            assert lot is not None, f"lot {match.lot_id} is open"
            left = match.quantity.copy_sign(lot["quantity"])
            _put_lot(rows, lot | {"quantity": lot["quantity"] - left, "cost": lot["cost"] - match.cost} | seq)
    for opened in effect.opened:
        rows.put(lots_table, place | _lot_row(opened) | seq)


def _put_lot(rows: Rows, lot: Row) -> None:
    """Put an open lot, or delete it if nothing of it is left."""
    lot["quantity"], lot["cost"] = exact(lot["quantity"]), exact(lot["cost"])
    if lot["quantity"] or lot["cost"]:
        rows.put(lots_table, lot)
    else:
        rows.delete(lots_table, *(lot[name] for name in POSITION), lot["lot_id"])


def _unmatch(rows: Rows, place: Row, exec_ids: Iterable[str]) -> None:
    for row in rows.find(matches_table, **place, exec_id=tuple(exec_ids)):
        rows.delete(matches_table, *place.values(), row["exec_id"], row["line"])


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    """Delete its matches; the restatement that follows corrects its lots and those it consumed."""
    if event.effect.closed:
        _unmatch(rows, position_row(event.key), (event.exec_id,))


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    seq, place = {"seq": logged.seq}, position_row(event.key)
    _unmatch(rows, place, (item.exec_id for item in event.items))
    for item in event.items:
        for row in _match_rows(item.exec_id, item.transact_time, item.trade_seq, item.now.closed):
            rows.put(matches_table, place | row | seq)
    for change in event.lots:
        lot = rows.get(lots_table, *place.values(), change.lot.lot_id)
        if lot is None:
            rows.put(lots_table, place | _lot_row(change.lot) | seq)
        else:
            moved = {"quantity": lot["quantity"] + change.quantity, "cost": lot["cost"] + change.cost}
            _put_lot(rows, lot | moved | seq)


PROJECTION = Projection(
    "lots",
    4,
    (lots_table, matches_table),
    {
        TradeBooked: _booked,
        TradeReversed: _reversed,
        PositionTransferred: _booked,
        PositionRestated: _restated,
    },
)


def open_lots(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: tuple[str, str, str, str, datetime, int, str] | None = None,
) -> list[LotRow]:
    """Return open lots by position, the oldest first. The next page is `after` the last row's `OPENED` columns."""
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    return cast(list[LotRow], fetch(source, lots_table, where=where, by=OPENED, after=after, limit=limit))


def matches(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    exec_id: str | None = None,
    occurred_by: datetime | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: tuple[str, str, str, str, datetime, int, str, int] | None = None,
) -> list[MatchRow]:
    """Return matches by position and time of disposal, all or those of disposals that had `occurred_by` a moment.

    The next page is `after` the last row's `DISPOSED` columns.
    """
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    reaches = executions.restatements(source, **where)
    since = {position: min(reach.since for reach in found) for position, found in reaches.items()}
    chosen = where | {"exec_id": exec_id}
    kept = _kept(source, chosen, since, occurred_by=occurred_by, after=after, limit=limit)
    for position, place in since.items():
        if after is None or position >= after[:4]:
            derived = _derived(source, position, place, occurred_by=occurred_by, exec_id=exec_id)
            kept += [row for row in derived if after is None or _disposed(row) > tuple(after)]
    if since:
        kept.sort(key=_disposed)
    return cast(list[MatchRow], kept[:limit])


def _disposed(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in DISPOSED)


def _kept(
    source: Source,
    where: Row,
    since: Mapping[executions.Position, Occurrence],
    *,
    occurred_by: datetime | None,
    after: tuple[Any, ...] | None,
    limit: int | None,
) -> list[Row]:
    """Return the first matches of the table, without those that a restatement by half hour replaced."""
    before = {position: _before(source, position, place) for position, place in since.items()}
    at_most = {"disposed_at": occurred_by}
    kept: list[Row] = []
    while True:
        page = fetch(source, matches_table, where=where, at_most=at_most, by=DISPOSED, after=after, limit=limit)
        for row in page:
            position = position_of(row)
            at = since[position][0] if position in since else None
            is_at = row["disposed_at"] == at and (row["disposed_trade_seq"], row["exec_id"]) in before[position]
            if at is None or row["disposed_at"] < at or is_at:
                kept.append(row)
        if limit is None or len(page) < limit or len(kept) >= limit:
            return kept
        after = _disposed(page[-1])


def _before(source: Source, position: executions.Position, place: Occurrence) -> set[tuple[int, str]]:
    """Return the entries at a place's moment that come before it, by trade sequence and exec id."""
    where = dict(zip(POSITION, position, strict=True)) | {"transact_time": place.transact_time}
    found = cast(list[TradeRow], fetch(source, executions.executions, where=where))
    return {(row["trade_seq"], row["exec_id"]) for row in found if executions.occurrence_of(row) < place}


def _derived(
    source: Source,
    position: executions.Position,
    since: Occurrence,
    *,
    occurred_by: datetime | None,
    exec_id: str | None,
) -> list[Row]:
    """Return the matches of a position's disposals from a place on, costed in order of occurrence."""
    place: Row = dict(zip(POSITION, position, strict=True))
    found = []
    for row, effect in executions.effects(source, position, occurred_by):
        if effect.closed and executions.occurrence_of(row) >= since and exec_id in (None, row["exec_id"]):
            matched = _match_rows(row["exec_id"], row["transact_time"], row["trade_seq"], effect.closed)
            found += [place | match | {"seq": row["seq"]} for match in matched]
    return found


def recosted(
    trades: Sequence[TradeRow], conventions: Costing
) -> tuple[list[RecostedMatchRow], list[RecostedLotRow], Book]:
    """Return matches, open lots and book of one position's trades (`executions.history`) under other conventions.

    The rows have the columns of `matches` and `open_lots` but for `seq`.
    """
    assert len({tuple(trade[name] for name in POSITION) for trade in trades}) <= 1, "the trades of one position"
    book = costing.empty(conventions.cost_basis)
    if not trades:
        return [], [], book
    place: Row = {name: trades[0][name] for name in POSITION}
    entries = sorted(map(costing_entry_of, trades), key=lambda entry: entry.occurrence)
    effects, book = costing.replay(entries, conventions, book, is_recosted=True)
    matched = [
        place | row
        for entry, effect in zip(entries, effects, strict=True)
        for row in _match_rows(
            entry.occurrence.exec_id, entry.occurrence.transact_time, entry.occurrence.trade_seq, effect.closed
        )
    ]
    matched.sort(key=lambda row: (row["disposed_at"], row["disposed_trade_seq"], row["exec_id"], row["line"]))
    opened = sorted(book.lots, key=lambda lot: (lot.opened_at.transact_time, lot.opened_at.trade_seq, lot.lot_id))
    lots = cast(list[RecostedLotRow], [place | _lot_row(lot) for lot in opened])
    return cast(list[RecostedMatchRow], matched), lots, book

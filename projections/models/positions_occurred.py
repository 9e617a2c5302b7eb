"""Positions as of a moment of occurrence, as known now or at a past place in the log.

An entry's effect depends only on the entries that occurred before it, and every version of a position sums all that was
booked by then. So the position at a moment is the last version that had reached no further, plus the amounts added
since for moments up to it (`projections.models.positions.late`); `tests.domain.as_of.as_occurred` folds the same from
the events. Each is a look-up: its cost depends on the late entries around the moment, not on the number of trades.
Reversed trades do not count.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa

from domain.position import MICROSECOND
from domain.values import EPOCH, ZERO, Occurrence, exact
from projections.models.daily_sums import added
from projections.models.executions import TRADE, effects, executions, restatements, restatements_table
from projections.models.positions import (
    COUNTS,
    EVERY_SUM,
    RESTATED,
    PositionRow,
    average_price,
    fundings,
    late,
    positions_table,
)
from projections.storage.history import AsOf, history_of, path
from projections.storage.rows import Source, fetch
from projections.storage.tables import AT, POSITION, TEXT, WHOLE, PositionId, Row, position_filter
from projections.storage.tables import position_of as _key

KEPT = ("kind", "base", "quote", "settle", "contract_size", "cost_basis", "fee_policy", "money_places")
LAST = tuple(f"last_{name}" for name in ("transact_time", "trade_seq", "exec_id"))
OCCURRED = ("nanos", "side", "cl_ord_id", "entry")  # of an execution: what orders those of one time
NEVER = 2**62  # beyond every place in the log
MOMENT_LEVELS = 60  # of the tree over microseconds, in which `late` is filed
Key = PositionId


def positions(
    source: Source,
    occurred_by: datetime,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    limit: int | None = None,
    after: PositionId | None = None,
) -> list[PositionRow]:
    """Return rows like `projections.models.positions.positions`. `last_*` is the latest occurrence that stands."""
    assert isinstance(source, sa.Connection | AsOf), "a replay is not read as occurred"
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    known = {_key(row): row for row in fetch(source, positions_table, where=where, after=after)}
    further = [key for key, row in known.items() if row["reached"] > occurred_by]
    held = known | {key: _nothing(known[key]) for key in further}
    if further:
        held |= {_key(row): row for row in _reached(source, further, occurred_by)}
        for row in _since(source, further, occurred_by):
            held[_key(row)] = _with(held[_key(row)], row)
        for key in _restated(source, further, occurred_by):
            held[key] = held[key] | _costed(source, key, occurred_by)
    standing = [row for row in held.values() if row["entries"] or row["payments"]][:limit]
    traded = [_key(row) for row in standing if row["entries"]]
    latest = _latest(source, {key: min(known[key]["reached"], occurred_by) for key in traded})
    return [_shown(row, latest.get(_key(row))) for row in standing]


def changes(
    connection: sa.Connection,
    occurred_by: datetime,
    after: int,
    upto: int,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
) -> dict[PositionId, list[int]]:
    """Return by position the seqs, beyond `after` and up to `upto`, that changed what had `occurred_by` then."""
    where = position_filter(account_id, strategy_id, instrument_id, position_side)
    ended, reaches = history_of(executions), restatements_table
    queries = [
        sa.select(*(columns[name] for name in POSITION), changed.label("changed"))
        .where(columns["transact_time"] <= occurred_by, changed > after, changed <= upto)
        .where(*(columns[name] == value for name, value in where.items() if value is not None))
        for columns, changed in (
            (executions.c, executions.c.booked_seq), (ended.c, ended.c.booked_seq), (ended.c, ended.c.until),
            (fundings.c, fundings.c.booked_seq),
        )
    ]  # fmt: skip
    reached = sa.select(*(reaches.c[name] for name in POSITION), reaches.c.restated_seq.label("changed"))
    queries.append(
        reached.where(reaches.c.since_at <= occurred_by, reaches.c.restated_seq > after, reaches.c.restated_seq <= upto)
        .where(*(reaches.c[name] == value for name, value in where.items() if value is not None))
    )  # fmt: skip
    found: dict[PositionId, list[int]] = {}
    for *key, seq in connection.execute(sa.union(*queries)):
        found.setdefault((key[0], key[1], key[2], key[3]), []).append(seq)
    return {key: sorted(seqs) for key, seqs in found.items()}


def _restated(source: sa.Connection | AsOf, keys: Sequence[Key], moment: datetime) -> list[Key]:
    """Return the positions with a restatement by half hour that begins by the moment."""
    wanted = {name: values.pop() for name, *each in zip(POSITION, *keys, strict=True) if len(values := set(each)) == 1}
    found = restatements(source, **wanted)
    return [key for key in keys if any(reach.since[0] <= moment for reach in found.get(key, ()))]


def _costed(source: sa.Connection | AsOf, key: Key, moment: datetime) -> Row:
    """Return a position's sums at a moment, costed from its entries up to then."""
    found = [effect for _, effect in effects(source, key, moment)]
    return {name: exact(sum((getattr(effect, name) for effect in found), ZERO)) for name in RESTATED}


def _occurrence(row: Row) -> Occurrence:
    tie = f"{row['side']} {row['cl_ord_id']}" if row["entry"] == TRADE else ""
    at, trade_seq, exec_id = (row[name] for name in LAST)
    return Occurrence(at, trade_seq, exec_id, nanos=row["nanos"], tie=tie)


_NOTHING: Row = {
    **dict.fromkeys(LAST), **dict.fromkeys(EVERY_SUM, ZERO), **dict.fromkeys(COUNTS, 0), "fees": {}, "seq": 0
}  # fmt: skip


def _nothing(row: Row) -> Row:
    """Return a position before its first occurrence."""
    return row | _NOTHING


def _with(row: Row, more: Row) -> Row:
    """Return a position with the amounts of late entries added."""
    sums = {name: exact(row[name] + more[name]) for name in EVERY_SUM}
    counts = {name: row[name] + int(more[name]) for name in COUNTS}
    paid = ({currency: Decimal(amount) for currency, amount in fees.items()} for fees in more["fees"] or ())
    return row | sums | counts | {"fees": added((row["fees"], *paid)), "seq": max(row["seq"], more["seq"])}


def _shown(row: Row, last: Row | None) -> PositionRow:
    """Return the position with the contract and conventions of its latest entry; with funding alone none are known."""
    if not row["entries"]:
        row = row | dict.fromkeys((*KEPT, *LAST)) | {"settle": row["settle"]}
    elif last is not None:
        row = row | {name: last[name] for name in (*KEPT, *LAST)}
    shown = {name: row[name] for name in (*POSITION, *KEPT, *LAST, *EVERY_SUM, "seq")}
    fees = {currency: amount for currency, amount in row["fees"].items() if amount}
    return cast(PositionRow, shown | {"fees": fees, "avg_px": average_price(row)})


def _run(source: sa.Connection | AsOf, query: sa.Select[Any], keys: Sequence[Key], **more: Any) -> list[Row]:
    """Return a query's rows for these positions."""
    connection, seq = source if isinstance(source, AsOf) else (source, NEVER)
    values = dict(zip(POSITION, map(list, zip(*keys, strict=True)), strict=True)) | {"seq": seq} | more
    return [dict(row) for row in connection.execute(query, values).mappings()]


def _reached(source: sa.Connection | AsOf, keys: Sequence[Key], moment: datetime) -> list[Row]:
    """Return the last version of each position that had not reached beyond the moment, if there was one."""
    return _run(source, _REACHED, keys, moment=moment)


def _since(source: sa.Connection | AsOf, keys: Sequence[Key], moment: datetime) -> list[Row]:
    """Return by position the amounts booked after it had reached beyond the moment, of what had occurred by then."""
    at = (moment - EPOCH) // MICROSECOND
    return _run(source, _LATE, keys, at=at, nodes=path(at, MOMENT_LEVELS))


def _latest(source: sa.Connection | AsOf, upto: Mapping[Key, datetime]) -> dict[Key, Row]:
    """Return the contract and conventions of each position's latest standing entry, up to a moment of its own."""
    found: dict[Key, Row] = {}
    if not upto:
        return found
    rows = _run(source, _LATEST, list(upto), moments=list(upto.values()))
    if isinstance(source, AsOf):  # entries changed since have their former version in the history only
        rows += _run(source, _LATEST_ENDED, list(upto), moments=list(upto.values()), nodes=path(source.seq))
    for row in rows:
        known = found.get(_key(row))
        if known is None or _occurrence(row) > _occurrence(known):
            found[_key(row)] = row
    return found


def _wanted(*more: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
    """Return the wanted positions as a table."""
    keys = [sa.bindparam(name, type_=sa.ARRAY(TEXT)) for name in POSITION]
    names = (*POSITION, *(column.name for column in more))
    return sa.func.unnest(*keys, *more).table_valued(*names, name="wanted").render_derived()


def _same(one: Any, other: Any) -> list[sa.ColumnElement[bool]]:
    return [one.c[name] == other.c[name] for name in POSITION]


_SEQ = sa.bindparam("seq", type_=WHOLE)
_NODES = sa.any_(sa.bindparam("nodes", type_=sa.ARRAY(WHOLE)))


def _reached_query() -> sa.Select[Any]:
    ended, wanted = history_of(positions_table), _wanted()
    versions = sa.select(*(ended.c[column.name] for column in positions_table.columns))
    fits = versions.where(*_same(ended, wanted), ended.c.reached <= sa.bindparam("moment", type_=AT))
    last = fits.order_by(ended.c.reached.desc(), ended.c.seq.desc()).limit(1).lateral("last")
    return sa.select(last).select_from(wanted.join(last, sa.true()))


def _late_query() -> sa.Select[Any]:
    c, wanted, at = late.c, _wanted(), sa.bindparam("at", type_=WHOLE)
    key = [c[name] for name in POSITION]
    sums = [sa.func.sum(c[name]).label(name) for name in (*EVERY_SUM, *COUNTS)]
    fees = sa.func.jsonb_agg(c.fees).filter(sa.cast(c.fees, sa.Text) != "{}").label("fees")
    query = sa.select(*key, *sums, fees, sa.func.max(c.seq).label("seq"))
    fits = (c.node == _NODES, c.since <= at, c.until > at, c.seq <= _SEQ)
    return query.join_from(late, wanted, sa.and_(*_same(late, wanted))).where(*fits).group_by(*key)


def _entries(of: sa.Table | sa.Subquery) -> list[sa.ColumnElement[Any]]:
    return [
        *(of.c[name] for name in (*POSITION, *KEPT, *OCCURRED)),
        *(of.c[name.removeprefix("last_")].label(name) for name in LAST),
    ]


def _upto() -> sa.TableValuedAlias:
    return _wanted(sa.bindparam("moments", type_=sa.ARRAY(AT)).label("moment"))


def _latest_query() -> sa.Select[Any]:
    """Return the query over live executions, all of the latest time: a later restatement does not change it."""
    c, wanted = executions.c, _upto()
    stood = sa.or_(c.reversal.is_(None), c.seq > _SEQ)
    entries = sa.select(*_entries(executions)).where(*_same(executions, wanted), c.booked_seq <= _SEQ, stood)
    upto = entries.where(c.transact_time <= wanted.c.moment)
    last = upto.order_by(c.transact_time.desc()).fetch(1, with_ties=True).lateral("last")
    return sa.select(last).select_from(wanted.join(last, sa.true()))


def _latest_ended_query() -> sa.Select[Any]:
    """Return the query over versions of executions that have ended since, those of the latest time."""
    ended, wanted = history_of(executions), _upto()
    c = ended.c
    held = (c.node == _NODES, c.until > _SEQ, c.seq <= _SEQ, c.reversal.is_(None), c.transact_time <= wanted.c.moment)
    rank = sa.func.rank().over(partition_by=[c[name] for name in POSITION], order_by=c.transact_time.desc())
    entries = sa.select(*_entries(ended), rank.label("rank"))
    ranked = entries.join_from(ended, wanted, sa.and_(*_same(ended, wanted))).where(*held).subquery()
    return sa.select(ranked).where(ranked.c.rank == 1)


_REACHED = _reached_query()
_LATE = _late_query()
_LATEST = _latest_query()
_LATEST_ENDED = _latest_ended_query()

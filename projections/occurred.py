"""Positions as occurred: what was held at a moment of occurrence, of what is known now or was at a past place.

What an entry does depends on the entries that occurred before it and on nothing else, and `projections.executions` has
every entry's effect in its place of occurrence, restated whenever something came in before it. So the sum of the
effects of what had occurred by a moment is the position at that moment (`domain.asof.as_occurred` folds the same anew).
Trades that were taken back never were.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from domain.position import TransferReason
from domain.values import ZERO, exact
from projections.executions import POSITION, TRANSFER, executions
from projections.history import AsOf, held_at, history_of, place
from projections.positions import average_price, fundings
from projections.rows import Source
from projections.tables import Row

SUMS = ("quantity", "cost", "realized", "rounding", "fee_cost")
INCOME = tuple(reason.value for reason in TransferReason if reason.is_income)
KEPT = ("kind", "base", "quote", "settle", "contract_size", "cost_basis", "fee_policy", "money_places")
PLACE = ("transact_time", "trade_seq", "exec_id")


def positions(
    source: Source,
    occurred_by: datetime,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    limit: int | None = None,
    after: tuple[str, str, str] | None = None,
) -> list[Row]:
    """Rows as `projections.positions.positions` has them. `last_*` is the latest occurrence that stands."""
    assert isinstance(source, sa.Connection | AsOf), "a replay is not read as occurred"
    where = dict(zip(POSITION, (account_id, strategy_id, instrument_id), strict=True))
    asked = _Asked(source, occurred_by, {name: value for name, value in where.items() if value is not None})
    held = {_key(row): row for row in asked.sums()}
    for row in asked.latest(list(held.values())):
        known = held[_key(row)]
        if known["last_exec_id"] is None or _place(row) > _place(known):
            known |= row
    for row in asked.fees():
        held[_key(row)]["fees"][row["currency"]] = exact(row["amount"])
    for row in asked.funding():
        known = held.setdefault(_key(row), _bare(row))
        known["funding"], known["settle"] = exact(row["amount"]), known["settle"] or row["currency"]
        known["seq"] = max(known["seq"], row["seq"])
    found = [row for _, row in sorted(held.items()) if after is None or _key(row) > after][:limit]
    return [row | {"avg_px": average_price(row)} for row in found]


def changes(
    connection: sa.Connection,
    occurred_by: datetime,
    after: int,
    upto: int,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
) -> dict[tuple[str, str, str], list[int]]:
    """By position, the places in the log, behind `after` and up to `upto`, that changed what had `occurred_by` then."""
    where = dict(zip(POSITION, (account_id, strategy_id, instrument_id), strict=True))
    ended = history_of(executions)
    queries = [
        sa.select(*(columns[name] for name in POSITION), changed.label("changed"))
        .where(columns["transact_time"] <= occurred_by, changed > after, changed <= upto)
        .where(*(columns[name] == value for name, value in where.items() if value is not None))
        for columns, changed in (
            (executions.c, executions.c.booked_seq), (ended.c, ended.c.until), (fundings.c, fundings.c.booked_seq)
        )
    ]  # fmt: skip
    found: dict[tuple[str, str, str], list[int]] = {}
    for *key, seq in connection.execute(sa.union(*queries)):
        found.setdefault((key[0], key[1], key[2]), []).append(seq)
    return {key: sorted(seqs) for key, seqs in found.items()}


def _key(row: Row) -> tuple[str, str, str]:
    return row["account_id"], row["strategy_id"], row["instrument_id"]


def _place(row: Row) -> tuple[Any, ...]:
    return tuple(row[f"last_{name}"] for name in PLACE)


def _bare(row: Row) -> Row:
    """A position of which only funding is known."""
    names = (*KEPT, *(f"last_{name}" for name in PLACE))
    sums = dict.fromkeys((*SUMS, "income", "transferred", "funding"), ZERO)
    return {name: row[name] for name in POSITION} | dict.fromkeys(names) | sums | {"fees": {}, "seq": 0}


class _Asked:
    """The statements over what had occurred by a moment, as far as it is known in `source`."""

    def __init__(self, source: sa.Connection | AsOf, occurred_by: datetime, where: dict[str, str]) -> None:
        self._source = source
        self._occurred_by = occurred_by
        self._where = where
        self._entries = self._known(executions)

    def _known(self, table: sa.Table) -> sa.CTE:
        """A table's rows as they are, or were, known."""
        queries = held_at(table) if isinstance(self._source, AsOf) else [sa.select(table)]
        bounded = []
        for query in queries:
            columns = query.selected_columns
            wanted = [columns[name] == value for name, value in self._where.items()]
            bounded.append(query.where(columns["transact_time"] <= self._occurred_by, *wanted))
        return (sa.union_all(*bounded) if len(bounded) > 1 else bounded[0]).cte(f"known_{table.name}")

    def _rows(self, query: sa.Select[Any]) -> list[Row]:
        if isinstance(self._source, AsOf):
            found = self._source.connection.execute(query, place(self._source.seq))
        else:
            found = self._source.execute(query)
        return [dict(row) for row in found.mappings()]

    def sums(self) -> list[Row]:
        """A row a position, with its sums and the time of its last entry."""
        c = self._entries.c
        key = [c[name] for name in POSITION]
        is_transfer = c.entry == TRANSFER
        sums = [sa.func.sum(c[f"effect_{name}" if name in ("quantity", "cost") else name]).label(name) for name in SUMS]
        sums += [
            sa.func.coalesce(sa.func.sum(c.cost).filter(is_transfer, c.reason.in_(INCOME)), 0).label("income"),
            sa.func.coalesce(sa.func.sum(c.cost).filter(is_transfer, c.reason.not_in(INCOME)), 0).label("transferred"),
        ]
        latest = [sa.func.max(c.transact_time).label("last_transact_time"), sa.func.max(c.seq).label("seq")]
        rows = self._rows(sa.select(*key, *sums, *latest).where(c.reversal.is_(None)).group_by(*key))
        exacted = (*SUMS, "income", "transferred")
        return [_bare(row) | row | {name: exact(row[name]) for name in exacted} for row in rows]

    def latest(self, held: list[Row]) -> list[Row]:
        """The contract and conventions of the entries at positions' last moments, and their places."""
        c, names = self._entries.c, (*POSITION, "transact_time")
        asked = [(*POSITION, "last_transact_time"), names]
        columns = [
            sa.literal([row[of] for row in held], sa.ARRAY(executions.c[name].type))
            for of, name in zip(*asked, strict=True)
        ]
        last = sa.func.unnest(*columns).table_valued(*names, name="last").render_derived()
        told = [c[name] for name in (*POSITION, *KEPT)] + [c[name].label(f"last_{name}") for name in PLACE]
        same = [c[name] == last.c[name] for name in names]
        return self._rows(sa.select(*told).join_from(last, self._entries, sa.and_(*same)).where(c.reversal.is_(None)))

    def fees(self) -> list[Row]:
        """What was expensed, by position and currency."""
        c = self._entries.c
        key = [*(c[name] for name in POSITION), c.commission_currency.label("currency")]
        query = sa.select(*key, sa.func.sum(c.fee).label("amount")).where(c.reversal.is_(None), c.fee != 0)
        return self._rows(query.group_by(*key))

    def funding(self) -> list[Row]:
        """What was received, by position."""
        c = self._known(fundings).c
        key = [c[name] for name in POSITION]
        sums = [sa.func.sum(c.amount).label("amount"), sa.func.min(c.currency).label("currency")]
        return self._rows(sa.select(*key, *sums, sa.func.max(c.seq).label("seq")).group_by(*key))

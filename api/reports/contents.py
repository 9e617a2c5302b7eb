"""The contents of reports: how the rows of each are read, and the schemas of their parts.

Rows of the read models are streamed: a report of any length is read page by page from one snapshot of the database, so
memory stays flat. Those that are computed are in `api.reports.analyses`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from api.analytics import coin_answers as gained
from api.analytics import schemas as analytic
from api.parameters import Where, parsed_day
from api.read_models import limit_usage, schemas, views
from api.read_models.recosting import Conventions
from api.reports import analyses
from api.reports.analyses import Basis, Content, distinct
from api.reports.catalog import Parameters, Part, Report, report_of
from api.statements import schemas as stated
from projections.analytics import disposals, exposure
from projections.analytics.daily_balances import daily_balances
from projections.models import balances, executions, journal, lots, orders
from projections.storage.changes import changes
from projections.storage.rows import MemoryRows, Source
from projections.storage.tables import POSITION, AnyRow

PAGE_ROWS = 5000
WHICH = {name: name for name in POSITION}
OneRow = TypeVar("OneRow", bound=AnyRow)
Rows = Callable[[Source, Parameters], Iterable[AnyRow]]


class Stored(NamedTuple):
    """Rows read from one table: those of a page and after it, sorted `by` columns, and how they are shown.

    `filters` are the columns that parameters select by; an `asset` selects by `has_asset`. `read` and `shown` turn rows
    of the table into those of `select`, and those into rows of the report. `is_derived` returns whether some rows are
    costed again when they are read, so that their `seq` does not show all changes.
    """

    table: sa.Table
    select: Callable[..., Sequence[AnyRow]]
    by: tuple[str, ...]
    filters: Mapping[str, str] = WHICH
    is_descending: bool = False
    read: Callable[[Any], AnyRow] = lambda row: row
    shown: Callable[[Iterable[Any]], Iterable[AnyRow]] = iter
    has_asset: Callable[[AnyRow, str], bool] | None = None
    is_derived: Callable[[Source, Where], bool] = lambda _source, _where: False

    def rows(self, source: Source, parameters: Parameters) -> Iterator[AnyRow]:
        """Yield every row, page by page; a replay is in memory already and is read at once."""
        where = {name: getattr(parameters, name) for name in self.filters}
        if self.has_asset is not None:
            where["asset"] = parameters.asset
        return iter(self.shown(_pages(source, partial(self.select, **where), self.by)))

    def changes(self, source: Source, parameters: Parameters, since: int) -> tuple[list[AnyRow], list[AnyRow]]:
        """Return the rows set since a place in the log, in their order, and those removed since."""
        where = {column: getattr(parameters, name) for name, column in self.filters.items()}
        found = changes(source, self.table, since, where)
        return self._shown(found.touched, parameters), self._shown(found.removed, parameters)

    def _shown(self, rows: Iterable[AnyRow], parameters: Parameters) -> list[AnyRow]:
        asset, has_asset = parameters.asset, self.has_asset
        kept = [row for row in rows if asset is None or has_asset is None or has_asset(row, asset)]
        kept.sort(key=lambda row: tuple(row[name] for name in self.by), reverse=self.is_descending)
        return list(self.shown(map(self.read, kept)))


def _pages(source: Source, select: Callable[..., Sequence[OneRow]], by: tuple[str, ...]) -> Iterator[OneRow]:
    if isinstance(source, MemoryRows):
        yield from select(source, limit=None)
        return
    after: Any = None
    while page := select(source, limit=PAGE_ROWS, after=after):
        yield from page
        if len(page) < PAGE_ROWS:
            return
        after = page[-1][by[0]] if len(by) == 1 else tuple(page[-1][name] for name in by)


def _restated(source: Source, where: Where) -> bool:
    return bool(executions.restatements(source, **where._asdict()))


def _moves(row: AnyRow, asset: str) -> bool:
    return any(line[1] == asset for line in row["lines"])


def _priced(row: Any) -> AnyRow:
    return {**row, "avg_px": orders.average_price(row)}


STORED = {
    "journal": Stored(
        journal.entries_table, journal.entries, journal.CURSOR, WHICH | {"day": "value_date"},
        read=journal.with_amounts, shown=journal.lines_of, has_asset=_moves,
    ),
    "blotter": Stored(orders.orders, orders.blotter, ("opened_seq",), is_descending=True, read=_priced),
    "executions": Stored(
        executions.executions, executions.trades, ("booked_seq",), is_descending=True, is_derived=_restated
    ),
    "lots": Stored(lots.lots_table, lots.open_lots, lots.OPENED),
    "matches": Stored(lots.matches_table, lots.matches, lots.DISPOSED, is_derived=_restated),
}  # fmt: skip


def paged_entries(source: Source, account_id: str | None) -> Iterator[journal.JournalEntryRow]:
    """Yield every journal entry, in the order of the log."""
    return _pages(source, partial(journal.entries, account_id=account_id), journal.CURSOR)


def conventions_of(parameters: Parameters) -> Conventions:
    """Return the conventions that replace the accounts' own."""
    return Conventions(parameters.method, parameters.fee_policy)


def is_recosted(parameters: Parameters) -> bool:
    """Whether rows are costed again from the trades: by other conventions, or as occurred."""
    return conventions_of(parameters) != views.OWN or parameters.occurred_by is not None


def models_of(report: Report, parameters: Parameters) -> tuple[str, ...]:
    """Return the read models that a report is read from, and those that show whether what it selects is on record."""
    names = dict.fromkeys(report.models)
    if is_recosted(parameters):
        names["executions"] = None
    if parameters.strategy_id is not None:
        names |= dict.fromkeys(("positions", "orders"))
    if parameters.asset or parameters.currency or parameters.equal:
        names["references"] = None
    return tuple(names)


def _positions(basis: Basis) -> Content:
    return Content({"items": views.positions_of(basis.at, basis.parameters.where, conventions_of(basis.parameters))})


def _pnl(basis: Basis) -> Content:
    rows = views.pnl_of(basis.at, basis.parameters.where, basis.marks, conventions_of(basis.parameters))
    totals = views.pnl_totals(rows, (), basis.at, basis.marks)
    missing = _unmarked(rows)
    missing += [f"no rate for fees of {amount:f} {name}" for row in totals for name, amount in row["left_out"].items()]
    return Content({"items": rows, "totals": totals}, missing=distinct(missing))


def _exposure(basis: Basis) -> Content:
    found = views.exposure_of(basis.at, basis.parameters.where, basis.marks)
    totals = exposure.totals(found.items, ())
    parts: dict[str, Sequence[AnyRow]] = {"items": found.items, "totals": totals, "uncounted": found.uncounted}
    missing = distinct(f"no mark of {row['priced_by']}" for row in found.items if row["mark"] is None)
    return Content(parts, missing=missing)


def _unmarked(rows: Sequence[AnyRow]) -> list[str]:
    return distinct(f"no mark of {row['instrument_id']}" for row in rows if row["quantity"] and row["mark"] is None)


def _balances(basis: Basis) -> Content:
    selected = basis.parameters
    return Content({"items": balances.balances(basis.at.source, account_id=selected.account_id, asset=selected.asset)})


def _trial_balance(basis: Basis) -> Content:
    selected = basis.parameters
    rows = journal.trial_balance(
        basis.at.source, account_id=selected.account_id, asset=selected.asset, upto=selected.day
    )  # fmt: skip
    return Content({"items": rows, "totals": views.trial_balance_totals(rows)})


def _blotter(basis: Basis) -> Content:
    if (limit := basis.parameters.limit) is not None:
        return Content({"items": orders.blotter(basis.at.source, **basis.parameters.where._asdict(), limit=limit)})
    return _stored("blotter", basis)


def _risk(basis: Basis) -> Content:
    selected = basis.parameters
    rows = limit_usage.usage(
        basis.daybook, basis.at, selected.account_id, strategy_id=selected.strategy_id,
        instrument_id=selected.instrument_id,
    )  # fmt: skip
    return Content({"items": rows}, missing=distinct(analyses.unmonitored(rows)))


def _lots(name: str, basis: Basis) -> Content:
    if not is_recosted(basis.parameters):
        return _stored(name, basis)
    found = views.lots_of(basis.at, basis.parameters.where, conventions_of(basis.parameters))
    return Content({"items": found.opened if name == "lots" else found.matched})


def _matches(basis: Basis) -> Content:
    (found,) = _lots("matches", basis).parts.values()
    return Content({"items": _described(found, basis)})


def _described(matches: Iterable[AnyRow], basis: Basis) -> Iterator[AnyRow]:
    """Yield disposals of the selected time, with the acquisitions of their lots."""
    selected = basis.parameters
    chosen = disposals.Filter(selected.since, selected.until)
    days = disposals.LONG_TERM_DAYS if selected.long_term_days is None else selected.long_term_days
    kept = (row for row in matches if chosen.has(row))
    acquisitions = disposals.Acquisitions(basis.at.source)
    while page := list(islice(kept, PAGE_ROWS)):
        yield from acquisitions.described(page, days)


def _daily_balances(basis: Basis) -> Content:
    selected = basis.parameters
    first, last = (None if day is None else parsed_day(day) for day in (selected.first, selected.last))
    rows = daily_balances(
        basis.at.source, account_id=selected.account_id, asset=selected.asset, first=first, last=last
    )  # fmt: skip
    return Content({"items": rows})


def _stored(name: str, basis: Basis) -> Content:
    return Content({"items": STORED[name].rows(basis.at.source, basis.parameters)})


CONTENTS: dict[str, Callable[[Basis], Content]] = {
    "pnl": _pnl,
    "exposure": _exposure,
    "positions": _positions,
    "balances": _balances,
    "daily-balances": _daily_balances,
    "journal": partial(_stored, "journal"),
    "trial-balance": _trial_balance,
    "blotter": _blotter,
    "executions": partial(_stored, "executions"),
    "risk": _risk,
    "lots": partial(_lots, "lots"),
    "matches": _matches,
    "gains": analyses.gains,
    "daily": analyses.daily,
    "equity": analyses.equity,
    "reconciliation": analyses.reconciliation,
    "nav": analyses.nav,
    "statistics": analyses.statistics,
    "quality": analyses.quality,
    "leverage": analyses.leverage,
    "restatement": analyses.restatement,
    "statement": analyses.statement,
}
SHAPES: dict[tuple[str, str], type[schemas.Answer]] = {
    ("pnl", "items"): schemas.PnlRow,
    ("pnl", "totals"): schemas.PnlSum,
    ("exposure", "items"): schemas.ExposureRow,
    ("exposure", "totals"): schemas.ExposureSum,
    ("exposure", "uncounted"): schemas.UncountedRow,
    ("positions", "items"): schemas.PositionRow,
    ("balances", "items"): schemas.BalanceRow,
    ("daily-balances", "items"): schemas.DailyBalanceRow,
    ("journal", "items"): schemas.JournalLineRow,
    ("trial-balance", "items"): schemas.TrialBalanceRow,
    ("trial-balance", "totals"): schemas.TrialBalanceTotal,
    ("blotter", "items"): schemas.OrderReportRow,
    ("executions", "items"): schemas.ExecutionRow,
    ("risk", "items"): schemas.LimitRow,
    ("lots", "items"): schemas.LotRow,
    ("matches", "items"): schemas.MatchRow,
    ("gains", "items"): gained.GainRow,
    ("gains", "totals"): gained.GainTotal,
    ("gains", "years"): gained.GainYear,
    ("gains", "income"): gained.GainIncome,
    ("gains", "derivatives"): gained.GainDerivative,
    ("gains", "left"): gained.GainLeft,
    ("gains", "removed"): gained.GainRemoved,
    ("gains", "coins"): gained.GainCoin,
    ("daily", "items"): analytic.DailyPnlRow,
    ("daily", "totals"): analytic.DailyPnlTotal,
    ("daily", "rates"): analytic.RateAnswer,
    ("equity", "items"): analytic.EquityRow,
    ("nav", "items"): analytic.NavRow,
    ("reconciliation", "items"): analytic.ReconciliationRow,
    ("reconciliation", "totals"): analytic.ReconciliationTotal,
    ("statistics", "figures"): analytic.StatisticsFigures,
    ("statistics", "losses"): analytic.LossAnswer,
    ("quality", "items"): analytic.QualityRow,
    ("quality", "totals"): analytic.QualityTotal,
    ("leverage", "figures"): analytic.RiskFigures,
    ("leverage", "exposure"): analytic.CutRow,
    ("leverage", "limits"): analytic.HeadroomRow,
    ("leverage", "positions"): analytic.SizedRow,
    ("restatement", "items"): schemas.RestatementItem,
    ("restatement", "positions"): schemas.RestatementRow,
    ("restatement", "totals"): schemas.RestatementTotal,
    ("statement", "balances"): stated.StatementBalance,
    ("statement", "result"): stated.StatementResult,
    ("statement", "by_instrument"): stated.StatementInstrument,
    ("statement", "positions"): stated.StatementPosition,
    ("statement", "entries"): stated.StatementEntry,
}


def content_of(name: str, basis: Basis) -> Content:
    """Return a report's rows. Raises InvalidInput, Problem."""
    return CONTENTS[name](basis)


def shape_of(report: Report, part: Part) -> type[schemas.Answer]:
    """Return the schema of a part's rows."""
    return SHAPES[report.name, part.name]


def columns_of(report: Report, part: Part) -> tuple[str, ...]:
    """Return the names of a part's columns, in order."""
    return tuple(field.alias or "".join(name) for name, field in shape_of(report, part).model_fields.items())


def all_columns() -> frozenset[str]:
    """Return the names of the columns of every report."""
    return frozenset(
        name for report, part in SHAPES for name in columns_of(report_of(report), report_of(report).part(part))
    )


def changes_of(name: str, basis: Basis, since: int) -> tuple[list[AnyRow], list[AnyRow]] | None:
    """Return the rows set since a place in the log, and those removed; None where all rows have to be compared."""
    stored, parameters = STORED.get(name), basis.parameters
    if stored is None or is_recosted(parameters) or stored.is_derived(basis.at.source, parameters.where):
        return None
    touched, removed = stored.changes(basis.at.source, parameters, since)
    return ([*_described(touched, basis)], [*_described(removed, basis)]) if name == "matches" else (touched, removed)

"""The catalog of reports: rows of one moment, independent of the format they are written in.

A report is selected by name and parameters; together with its place in the log they are its `Digest`
(`api.reports.digest`), from which it can be reproduced. Rows are streamed: a report of any length is read page by page
from one snapshot of the database, so memory stays flat.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

from msgspec import Struct

from api.parameters import Where
from api.problems import not_found
from api.read_models import schemas, views
from api.read_models.recosting import Conventions
from api.read_models.snapshot import Reading
from domain.account import CostBasis, FeePolicy
from projections.analytics import disposals, exposure, pnl
from projections.analytics.daily_balances import daily_balances
from projections.analytics.disposals import LONG_TERM_DAYS
from projections.analytics.valuation import Marks, mark_of
from projections.models import balances, executions, journal, limits, lots, orders
from projections.storage.rows import MemoryRows, Source
from projections.storage.tables import AnyRow

PAGE_ROWS = 5000
DECIMALS = 18


class Parameters(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The parameters of a report. `mark` are INSTRUMENT=PRICE; `day` is a date, of a statement also a month.

    `occurred_by`: positions, lots, PnL and exposure of only what had happened by that time. `since` and `until` bound
    the time of disposals, and `long_term_days` is how long a lot is held for long. `first` and `last` are value dates.
    """

    account_id: str | None = None
    strategy_id: str | None = None
    instrument_id: str | None = None
    asset: str | None = None
    day: str | None = None
    method: CostBasis | None = None
    fee_policy: FeePolicy | None = None
    mark: tuple[str, ...] = ()
    limit: int | None = None
    decimals: int = DECIMALS
    occurred_by: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    long_term_days: int = LONG_TERM_DAYS
    first: date | None = None
    last: date | None = None

    @property
    def where(self) -> Where:
        """The positions selected."""
        return Where(self.account_id, self.strategy_id, self.instrument_id)

    @property
    def conventions(self) -> Conventions:
        """The conventions that replace the account's own."""
        return Conventions(self.method, self.fee_policy)


Rows = Callable[[Source, Parameters, Marks], Iterable[AnyRow]]
Totals = Callable[[list[AnyRow]], Sequence[AnyRow]]
OneRow = TypeVar("OneRow", bound=AnyRow)


class Report(NamedTuple):
    """One kind of report: the shape of its rows, the read models it needs, and how its rows are read from them."""

    title: str
    shape: type[schemas.Answer]
    names: tuple[str, ...]
    rows: Rows
    totals: Totals | None = None
    is_valued: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in order."""
        return tuple("".join(name) for name in self.shape.model_fields)  # SQLAlchemy's are a kind of str

    def needs(self, parameters: Parameters) -> tuple[str, ...]:
        """Return the read models it is read from; recosting and as-occurred reports need the trades as well."""
        is_own = parameters.conventions == views.OWN and parameters.occurred_by is None
        return self.names if is_own or "executions" in self.names else (*self.names, "executions")


def _pages(
    source: Source, select: Callable[..., list[OneRow]], by: str | tuple[str, ...], **where: Any
) -> Iterator[OneRow]:
    """Yield every row of a paged query; a replay is in memory already and is read at once."""
    if isinstance(source, MemoryRows):
        yield from select(source, **where, limit=None)
        return
    after = None
    while page := select(source, **where, limit=PAGE_ROWS, after=after):
        yield from page
        if len(page) < PAGE_ROWS:
            return
        last = page[-1]
        after = last[by] if isinstance(by, str) else tuple(last[name] for name in by)


def _reading(source: Source, parameters: Parameters) -> Reading:
    return Reading(source, 0, occurred_by=parameters.occurred_by)


def _positions(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    return views.positions_of(_reading(source, parameters), parameters.where, parameters.conventions)


def _pnl(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    held = views.positions_of(_reading(source, parameters), parameters.where, parameters.conventions)
    return [pnl.valued(row, mark_of(row, marks)) for row in held]


def _exposure(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    held = views.positions_of(_reading(source, parameters), parameters.where)
    return [exposure.sized(row, mark_of(row, marks)) for row in held if row["quantity"]]


def _balances(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    return balances.balances(source, account_id=parameters.account_id, asset=parameters.asset)


def _daily_balances(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    return daily_balances(
        source, account_id=parameters.account_id, asset=parameters.asset, first=parameters.first, last=parameters.last
    )


def _journal(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    wanted = {**parameters.where._asdict(), "asset": parameters.asset, "day": parameters.day}
    return journal.lines_of(_pages(source, journal.entries, journal.CURSOR, **wanted))


def paged_entries(source: Source, account_id: str | None) -> Iterator[journal.JournalEntryRow]:
    """Yield every journal entry, in the order of the log."""
    return _pages(source, journal.entries, journal.CURSOR, account_id=account_id)


def _trial_balance(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    return journal.trial_balance(source, account_id=parameters.account_id, asset=parameters.asset, upto=parameters.day)


def _blotter(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    if parameters.limit is not None:
        return orders.blotter(source, **parameters.where._asdict(), limit=parameters.limit)
    return _pages(source, orders.blotter, "opened_seq", **parameters.where._asdict())


def _executions(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    return _pages(source, executions.trades, "booked_seq", **parameters.where._asdict())


def _risk(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    wanted = {"strategy_id": parameters.strategy_id, "instrument_id": parameters.instrument_id}
    found: list[AnyRow] = [*limits.utilisation(source, parameters.account_id)]
    return [row for row in found if all(v is None or row[name] in (None, v) for name, v in wanted.items())]


def _lots(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    if parameters.conventions != views.OWN or parameters.occurred_by is not None:
        return views.lots_of(_reading(source, parameters), parameters.where, parameters.conventions).opened
    return _pages(source, lots.open_lots, lots.OPENED, **parameters.where._asdict())


def _matches(source: Source, parameters: Parameters, marks: Marks) -> Iterable[AnyRow]:
    found: Iterable[Any]
    if parameters.conventions != views.OWN or parameters.occurred_by is not None:
        found = views.lots_of(_reading(source, parameters), parameters.where, parameters.conventions).matched
    else:
        found = _pages(source, lots.matches, lots.DISPOSED, **parameters.where._asdict())
    chosen = disposals.Filter(parameters.since, parameters.until)
    kept = (row for row in found if chosen.has(row))
    acquisitions = disposals.Acquisitions(source)
    while page := list(islice(kept, PAGE_ROWS)):
        yield from acquisitions.described(page, parameters.long_term_days)


def _trial_balance_totals(rows: list[AnyRow]) -> Sequence[AnyRow]:
    return views.trial_balance_totals(cast(list[journal.TrialBalanceRow], rows))


def _pnl_totals(rows: list[AnyRow]) -> Sequence[AnyRow]:
    return pnl.totals(cast(list[pnl.PnlRow], rows), ())


def _exposure_totals(rows: list[AnyRow]) -> Sequence[AnyRow]:
    return exposure.totals(cast(list[exposure.ExposureRow], rows), ())


REPORTS = {
    "pnl": Report("PnL", schemas.PnlRow, ("positions",), _pnl, totals=_pnl_totals, is_valued=True),
    "exposure": Report(
        "Exposure", schemas.ExposureRow, ("positions",), _exposure, totals=_exposure_totals, is_valued=True
    ),
    "positions": Report("Positions", schemas.PositionRow, ("positions",), _positions),
    "balances": Report("Balances", schemas.BalanceRow, ("balances",), _balances),
    "daily-balances": Report("Daily balances", schemas.DailyBalanceRow, ("journal",), _daily_balances),
    "journal": Report("Journal", schemas.JournalLineRow, ("journal",), _journal),
    "trial-balance": Report(
        "Trial balance", schemas.TrialBalanceRow, ("journal",), _trial_balance, totals=_trial_balance_totals
    ),
    "blotter": Report("Blotter", schemas.OrderRow, ("orders",), _blotter),
    "executions": Report("Executions", schemas.ExecutionRow, ("executions",), _executions),
    "risk": Report("Limits", schemas.LimitRow, ("limits",), _risk),
    "lots": Report("Open lots", schemas.LotRow, ("lots", "positions"), _lots),
    "matches": Report("Matches", schemas.MatchRow, ("lots", "positions", "executions"), _matches),
}


def report_of(name: str) -> Report:
    """Return the report of a name. Raises Problem."""
    known = REPORTS.get(name)
    if known is None:
        raise not_found(f"a report {name!r} (there are {', '.join(REPORTS)})", report=name)
    return known

"""Reports that are computed: days, equity, statistics, execution quality, leverage, restatements and statements.

Each names the marks and rates that it lacks. A figure that needs one is null.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from adapters.market.mark_store import KnownBy
from api.analytics import gains as coin_gains
from api.analytics import service
from api.analytics.closing_marks import Valuing, days_of
from api.analytics.gains import GainsRequest
from api.analytics.service import Span
from api.clock import now
from api.daybook import Daybook
from api.explain import restatement as restating
from api.parameters import (
    ARRIVAL_SECONDS,
    DAY_SECONDS,
    FLOW_MARK_SECONDS,
    Moment,
    given_marks,
    parsed_day,
    parsed_equals,
    place_of,
)
from api.read_models.snapshot import Reading
from api.reports.catalog import Parameters, report_of
from api.statements.periods import period_of
from api.statements.statement import Statement, gathered
from domain.errors import InvalidInput
from domain.values import ZERO
from projections import calendar
from projections.analytics.valuation import Marks
from projections.calendar import MIDNIGHT
from projections.storage.tables import AnyRow, Row


class Basis(NamedTuple):
    """What a report is computed from. `marks` value positions; a reading has the moment that other marks are of."""

    daybook: Daybook
    at: Reading
    parameters: Parameters
    marks: Marks


class Content(NamedTuple):
    """The rows of a report's parts, in order, what JSON has before them, and the marks and rates that are missing."""

    parts: Mapping[str, Iterable[AnyRow]]
    about: Mapping[str, Any] = {}
    missing: Sequence[str] = ()


def close_of(parameters: Parameters) -> calendar.Close:
    """Return when the days of a report end."""
    return calendar.parsed(parameters.close) if parameters.close else MIDNIGHT


def span_of(parameters: Parameters) -> Span:
    """Return the days of a report."""
    first, last = (None if day is None else parsed_day(day) for day in (parameters.first, parameters.last))
    return Span(close_of(parameters), first, last)


def valuing_of(parameters: Parameters) -> Valuing:
    """Return how the closes of a report are valued."""
    age_max = timedelta(seconds=parameters.mark_age_max or DAY_SECONDS)
    return Valuing(age_max, tuple(map(parsed_equals, parameters.equal)), given_marks(list(parameters.mark)))


def _groups(parameters: Parameters, name: str) -> tuple[str, ...]:
    return parameters.by or report_of(name).grouped_by


def daily(basis: Basis) -> Content:
    """Return PnL by day, in all, and the rates used."""
    parameters = basis.parameters
    found = service.daily_pnl(
        basis.daybook, basis.at, parameters.where, span_of(parameters), by=_groups(parameters, "daily"),
        valuing=valuing_of(parameters),
    )  # fmt: skip
    missing = [
        f"no fresh mark of {name} at the close of {row['day']}" for row in found.items for name in row["missing_marks"]
    ]
    missing += [
        f"no rate from {rate['from_currency']} to {rate['to_currency']} at the close of {rate['day']}: {rate['reason']}"
        for rate in found.rates
        if rate["reason"]
    ]
    return Content({"items": found.items, "totals": found.totals, "rates": found.rates}, missing=distinct(missing))


def _curve(basis: Basis) -> tuple[service.Equity, list[str]]:
    """Return the equity curve, and what it lacks."""
    parameters = basis.parameters
    found = service.equity_curve(
        basis.daybook, basis.at, parameters.account_id, span_of(parameters), valuing=valuing_of(parameters),
        currency=parameters.currency, capital=parameters.capital or ZERO,
    )  # fmt: skip
    missing = []
    for row in found.rows:
        lacking = [f"{_lacks(one)} at the close of {row['day']}" for one in row["lacking"]]
        missing += lacking
        if not lacking and None in (row["equity"], row["external"], row["pnl"], row["turnover"]):
            missing.append(f"no mark or rate for {_unknown(row)} of {row['day']}")
    return found, missing


def _lacks(reason: str) -> str:
    return f"no {reason.removeprefix('a ').removesuffix(' is lacking')}"


def _unknown(row: AnyRow) -> str:
    names = {"equity": "equity", "external": "what was brought in", "pnl": "PnL", "turnover": "turnover"}
    return ", ".join(shown for name, shown in names.items() if row[name] is None)


def equity(basis: Basis) -> Content:
    """Return the equity at each close."""
    found, missing = _curve(basis)
    return Content({"items": found.rows}, {"currency": found.currency}, distinct(missing))


def reconciliation(basis: Basis) -> Content:
    """Return the lines from the equity of one close to the next, and those of all days together."""
    parameters = basis.parameters
    found = service.equity_reconciliation(
        basis.daybook, basis.at, parameters.account_id, span_of(parameters), valuing=valuing_of(parameters),
        currency=parameters.currency,
    )  # fmt: skip
    missing = [f"{_lacks(one)} at the close of {row['day']}" for row in found.rows for one in row["lacking"]]
    return Content({"items": found.rows, "totals": [found.total]}, {"currency": found.currency}, distinct(missing))


def nav(basis: Basis) -> Content:
    """Return the net asset value at each close and now, and the time-weighted return."""
    parameters = basis.parameters
    found = service.nav(
        basis.daybook, basis.at, parameters.account_id, span_of(parameters), valuing=valuing_of(parameters),
        currency=parameters.currency, capital=parameters.capital or ZERO,
        flow_mark_age_max=timedelta(seconds=parameters.flow_mark_age_max or FLOW_MARK_SECONDS),
    )  # fmt: skip
    missing = [f"{_lacks(one)} at the close of {row['day']}" for row in found.rows for one in row["lacking"]]
    about = {"currency": found.currency, "time_weighted_return": found.time_weighted_return}
    return Content({"items": found.rows}, about, distinct(missing))


def statistics(basis: Basis) -> Content:
    """Return the statistics of an equity curve's closed days."""
    parameters = basis.parameters
    found, missing = _curve(basis)
    figures = service.equity_statistics(found.rows, parameters.risk_free or ZERO, parameters.target or ZERO)
    single: Row = {"account_id": parameters.account_id, "currency": found.currency} | figures
    losses = single.pop("losses")
    parts: dict[str, list[Row]] = {"figures": [single], "losses": losses}
    return Content(parts, missing=distinct(missing))


def quality(basis: Basis) -> Content:
    """Return the execution quality of orders, one by one and in all."""
    parameters = basis.parameters
    seconds = parameters.mark_age_max or ARRIVAL_SECONDS
    found = service.execution_quality(
        basis.daybook, basis.at, parameters.where, span_of(parameters), by=_groups(parameters, "quality"),
        age_max=timedelta(seconds=seconds),
    )  # fmt: skip
    missing = [
        f"no mark of {row['instrument_id']} within {seconds} s before the order {row['cl_ord_id']} of"
        f" {row['account_id']}"
        for row in found.items
        if row["arrival_px"] is None and row["cum_qty"]
    ]
    return Content({"items": found.items, "totals": found.totals}, missing=distinct(missing))


def leverage(basis: Basis) -> Content:
    """Return exposure in one currency, leverage, concentration, and limits with their headroom."""
    parameters = basis.parameters
    found = service.risk_report(
        basis.daybook, basis.at, parameters.where, _groups(parameters, "leverage"), valuing=valuing_of(parameters),
        currency=parameters.currency, capital=parameters.capital or ZERO,
    )  # fmt: skip
    missing = [_lacks(one) for one in found["lacking"]]
    missing += [
        f"no {'rate from' if ' to ' in row['lacking'] else 'mark of'} {row['lacking']}"
        for row in found["positions"]
        if row["lacking"]
    ]
    missing += unmonitored(found["limits"])
    parts = ("exposure", "limits", "positions")
    figures = {name: value for name, value in found.items() if name not in parts}
    return Content({"figures": [figures]} | {name: found[name] for name in parts}, missing=distinct(missing))


def restatement(basis: Basis) -> Content:
    """Return a day's PnL as it was reported and as it is known, and the causes of the difference."""
    parameters = basis.parameters
    if parameters.day is None:
        raise InvalidInput("day", None, "given: the date of the day's close")
    known_at = None if parameters.known_at is None else place_of(parameters.known_at, "known_at", now())
    day = restating.day_of(parameters.day, parameters.close or "00:00", known_at, Moment(seq=basis.at.seq))
    found = restating.restatement_record(restating.restated_at(basis.daybook, basis.at, day, parameters.where))
    missing = [
        f"no mark of {row['instrument_id']} at the start or the end of the day"
        for row in found["positions"]
        if row["difference"] is None
    ]
    about = {name: found[name] for name in ("day_start", "day_end", "reported_seq")}
    return Content({name: found[name] for name in ("items", "positions", "totals")}, about, distinct(missing))


def statement_of(basis: Basis) -> Statement:
    """Return the statement of an account. Raises InvalidInput unless it is of one account and a day or a month."""
    requested = basis.parameters
    if requested.account_id is None or requested.day is None:
        lacking = "account_id" if requested.account_id is None else "day"
        raise InvalidInput(lacking, None, "given: a statement is of an account, for a day or a month")
    period = period_of(requested.day, "day")
    return gathered(basis.at.source, requested.account_id, period, seq=basis.at.seq, marks=basis.marks)


def missing_of(statement: Statement) -> list[str]:
    """Return the marks that a statement lacks."""
    return distinct(
        f"no mark of {row['instrument_id']} by the end of {statement.period.name}"
        for row in statement.positions
        if row["mark"] is None and row["quantity"]
    )


def statement(basis: Basis) -> Content:
    """Return the parts of a statement."""
    made = statement_of(basis)
    parts = ("balances", "result", "by_instrument", "positions", "entries")
    about: dict[str, Any] = {"account_id": made.account_id, "period": made.period._asdict()}
    about |= {"entries_count": made.entries_count, "trades_count": made.trades_count, "curves": made.curves}
    return Content({name: getattr(made, name) for name in parts}, about, missing_of(made))


def gains(basis: Basis) -> Content:
    """Return the gains of disposals of coins, in one currency, with what they lack."""
    given = basis.parameters
    requested = GainsRequest(
        given.account_id, given.asset, given.method, given.fee_policy,
        scope=given.scope, withdrawals=given.withdrawals,
        year=given.year, zone=given.zone, since=given.since, until=given.until, long_term_days=given.long_term_days,
        currency=given.currency, equal=given.equal, mark_age_max=given.mark_age_max,
    )  # fmt: skip
    found = coin_gains.gains(basis.daybook, basis.at, requested)
    parts = ("items", "totals", "years", "income", "derivatives", "left", "removed", "coins")
    return Content({name: getattr(found, name) for name in parts}, {"currency": found.currency}, found.missing)


def last_close(parameters: Parameters, present: datetime) -> datetime:
    """Return the newest close that a report of days includes and that is over."""
    close = close_of(parameters)
    over = close.at(close.day_of(present) - timedelta(days=1))
    return over if parameters.last is None else min(over, close.at(parsed_day(parameters.last)))


def days_at(parameters: Parameters, moment: datetime) -> tuple[date, date]:
    """Return the first and the last day of a report as of a moment."""
    pinned = KnownBy(0, moment)
    days = days_of(Reading(None, 0, pinned=pinned), *span_of(parameters))  # type: ignore[arg-type]
    return days.dates[0], days.dates[-1]


def unmonitored(rows: Iterable[AnyRow]) -> list[str]:
    """Return the limits that cannot be monitored at present, and why."""
    return [
        f"the limit {row['measure']} of {row['account_id']} is not monitored: {row['unassessed']}"
        for row in rows
        if row["unassessed"]
    ]


def distinct(missing: Iterable[str]) -> list[str]:
    """Return what is missing, each once."""
    return list(dict.fromkeys(missing))

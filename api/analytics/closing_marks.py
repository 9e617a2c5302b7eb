"""The marks and conversion rates of closes, as they are known at a reading.

Only pairs that can be part of a path between the currencies in use are looked up, and only those that have a mark.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from api.clock import now
from api.daybook import Daybook
from api.parameters import Where
from api.read_models.snapshot import Reading, marks_at
from domain.errors import InvalidInput
from domain.values import FUTURE_MAX, Mark
from projections import calendar
from projections.analytics.closing import Closing, closing, own_pairs
from projections.analytics.conversion import relevant
from projections.analytics.equity import EquityInputs
from projections.calendar import MIDNIGHT, Close, Days
from projections.models import capital_flows, daily_sums, reference_data
from projections.models.capital_flows import CashFlowRow
from projections.models.daily_sums import DailySumRow
from projections.storage.tables import AnyRow

LOOKUPS_MAX = 200_000
DAYS_SHOWN = 30
DAY_FIRST = date(2009, 1, 3)


class Valuing(NamedTuple):
    """How to value: how old a mark may be, which currencies are taken as equal, which prices are given."""

    mark_age_max: timedelta
    equals: tuple[tuple[str, str], ...] = ()
    given: dict[str, Mark] = {}  # noqa: RUF012 (never changed)


def moment_of(at: Reading) -> datetime:
    """Return the moment a reading is of: now, when its seq was recorded, or that of the report it is for."""
    return at.known_at or now()


def days_of(at: Reading, close: Close, first: date | None, last: date | None) -> Days:
    """Return the days requested; by default the last 30 up to the present. Raises InvalidInput."""
    today = close.day_of(moment_of(at))
    until = min(last or today, today)
    since = first or until - timedelta(days=DAYS_SHOWN - 1)
    if since > until:
        rule = f"a day that has begun: it is {today.isoformat()}" if first else f"a day since {since.isoformat()}"
        raise InvalidInput("from" if first else "to", since.isoformat(), rule)
    return calendar.days(close, max(since, DAY_FIRST), until)


def closings_of(
    daybook: Daybook,
    at: Reading,
    days: Days,
    sums: Iterable[DailySumRow],
    *,
    currencies: Iterable[str],
    valuing: Valuing,
) -> list[Closing]:
    """Return the closing before the days, and that of each; for a day that is not over, as of the present moment."""
    present = moment_of(at)
    moments = [min(bound, present) for bound in days.bounds]
    rows = list(sums)
    instruments = {row["instrument_id"] for row in rows}
    wanted = {currency for row in rows for currency in (row["settle"], row["quote"], *row["other_fees"]) if currency}
    newest = marks_at(daybook, at, valuing.given)
    accounts = sorted({row["account_id"] for row in rows})
    pairs = relevant(reference_data.pairs(at.source, accounts), wanted | set(currencies))
    own = own_pairs(rows)
    named = sorted((instruments | pairs.keys()) & newest.keys())
    if len(named) * len(moments) > LOOKUPS_MAX:
        raise InvalidInput("from", days.dates[0].isoformat(), "fewer days, or name an account or an instrument")
    ahead = present + FUTURE_MAX  # a venue's clock may run ahead of ours: its present marks count as of now
    observed_by = [ahead if moment == present else moment for moment in moments]
    found = daybook.market.latest_at(named, observed_by, at.known)
    return [
        closing(moment, marks | valuing.given, pairs, valuing.mark_age_max, equals=valuing.equals, own=own)
        for moment, marks in zip(moments, found, strict=True)
    ]


def present_closing(at: Reading, rows: Sequence[AnyRow], valuing: Valuing, marks: Mapping[str, Mark]) -> Closing:
    """Return the closing at the present moment of a reading, for rows of positions, by its marks."""
    moment = moment_of(at)
    accounts = sorted({row["account_id"] for row in rows})
    pairs = reference_data.pairs(at.source, accounts)
    return closing(moment, marks, pairs, valuing.mark_age_max, equals=valuing.equals, own=own_pairs(rows))


def equity_inputs(at: Reading, days: Days, account_id: str | None) -> EquityInputs:
    """Return the inputs of the equity of one account or of all."""
    sums = daily_sums.sums(at.source, days.close, days.bounds, account_id=account_id)
    return EquityInputs(
        sums, capital_flows.cash_of(at.source, account_id, days.slots[0]), capital_flows.moved_of(at.source, account_id)
    )


def cash_flows(at: Reading, days: Days, where: Where) -> list[CashFlowRow]:
    """Return the cash flows of whole accounts; none where a strategy, an instrument or a leg is selected."""
    if any(name is not None for name in where[1:]):
        return []
    return capital_flows.cash_of(at.source, where.account_id, days.slots[0])


def sums_of(at: Reading, days: Days, where: Where) -> list[DailySumRow]:
    """Return the sums of the positions and days selected."""
    return daily_sums.sums(at.source, days.close, days.bounds, **where._asdict())


def up_to_now(at: Reading) -> Days:
    """Return an empty range of days: all that has occurred by the moment of the reading lies before it."""
    return Days(MIDNIGHT, (), (MIDNIGHT.at(MIDNIGHT.day_of(moment_of(at)) + timedelta(days=1)),))


def currency_of(
    at: Reading, account_id: str | None, requested: str | None, *, known_bases: Mapping[str, str] | None = None
) -> str:
    """Return the currency of equity: the one requested, else the base currency that the accounts share.

    `known_bases` are those of all accounts, where they are known. Raises InvalidInput if they share none.
    """
    bases = reference_data.base_currencies(at.source) if known_bases is None else known_bases
    if account_id is not None and account_id not in bases:
        raise InvalidInput("account_id", account_id, "an account on record")
    chosen = set(bases.values()) if account_id is None else {bases[account_id]}
    if requested:
        return requested
    if len(chosen) != 1:
        raise InvalidInput("currency", requested, "named: the accounts do not share one base currency")
    return chosen.pop()

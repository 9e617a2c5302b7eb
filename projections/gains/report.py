"""The gains of disposals of coins, in one currency: matches with lots, totals by year, income, and what is left.

What derivatives gained or cost is a part of its own: rows of what was realized, of funding, premiums and fees.

Sums are of rows that are valued; beside them is stated how many rows, and which quantity, are not. Years are those of
a time zone. Terms: LONG where a lot was held for `long_term_days` whole days of 24 hours or longer, else SHORT, and
UNKNOWN where its acquisition is not on record.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

from domain.account import CostBasis
from domain.holdings.gains import (
    AVERAGE_UNKNOWN,
    Acquired,
    Charged,
    Earned,
    Gains,
    Held,
    Lot,
    Match,
    Movement,
    Received,
    Scope,
    Taken,
    Worth,
)
from domain.values import ZERO, exact
from projections.storage.tables import Row

LONG, SHORT, UNKNOWN = "LONG", "SHORT", "UNKNOWN"
MISSING_MAX = 100  # named one by one
TERMS = {True: LONG, False: SHORT, None: UNKNOWN}
OTHERS = ("income", "derivatives", "expenses")
AMOUNTS = ("proceeds", "cost", "gain")


class Selection(NamedTuple):
    """Which disposals are shown, by account, coin, time and year, and how terms and years are determined."""

    zone: tzinfo
    long_term_days: int
    account_id: str | None = None
    coin: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    year: int | None = None

    def has(self, account_id: str, coin: str, at: datetime) -> bool:
        """Return whether a movement is selected."""
        is_in_time = (self.since is None or at >= self.since) and (self.until is None or at < self.until)
        return is_in_time and self.has_place(account_id, coin) and self.year in (None, self.year_of(at))

    def has_place(self, account_id: str, coin: str) -> bool:
        """Return whether an account ("": all together) and coin are selected."""
        return (self.account_id in (None, account_id) or not account_id) and self.coin in (None, coin)

    def year_of(self, at: datetime) -> int:
        """Return the year of a moment."""
        return at.astimezone(self.zone).year


class Report(NamedTuple):
    """The parts of a report of gains, each as rows, and what is missing for some of its figures."""

    currency: str
    items: Iterable[Row]
    totals: Sequence[Row]
    years: Sequence[Row]
    income: Sequence[Row]
    derivatives: Sequence[Row]
    left: Sequence[Row]
    removed: Sequence[Row]
    coins: Sequence[Row]
    missing: Sequence[str]


def report(
    movements: Iterable[Movement], scope: Scope, bases: Mapping[str, CostBasis], selection: Selection, currency: str
) -> Report:
    """Return the gains of movements; `bases` has each account's cost basis, or that of "" for all together."""
    gains = Gains(scope, bases.__getitem__)
    made = _Made(selection)
    for movement in movements:
        made.move(movement)
        for match in gains.apply(movement):
            made.match(match)
    left = [*_left(gains, selection)]
    for _, held, _ in left:
        if held.cost is None:
            made.lacks(_lacking_of(held))
    return Report(
        currency,
        items=made.items(currency),
        totals=made.totals(currency),
        years=made.years(currency),
        income=[_income_row(one, selection, currency) for one in made.income],
        derivatives=[_derivative_row(one, selection, currency) for one in made.derivatives],
        left=[_left_row(account_id, held, is_in_transit, currency) for account_id, held, is_in_transit in left],
        removed=[
            _removed_row(taken, currency)
            for taken in gains.removed
            if selection.has(taken.what.account_id, taken.coin, taken.what.at)
        ],
        coins=_coins(gains, selection, [(account_id, held) for account_id, held, away in left if not away], currency),
        missing=made.missing(),
    )


class _Made:
    """The selected matches, and their sums."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._matches: list[Match] = []
        self.income: list[Acquired | Received] = []
        self.derivatives: list[Earned] = []
        self._totals: dict[tuple[Any, ...], Row] = {}
        self._years: dict[int, Row] = {}
        self._missing: dict[str, None] = {}
        self._missing_more = 0

    def match(self, match: Match) -> None:
        """Add a match, if it is selected."""
        what, coin, selection = match.disposed.what, match.disposed.coin, self._selection
        if not selection.has(what.account_id, coin, what.at):
            return
        self._matches.append(match)
        year, term = selection.year_of(what.at), TERMS[match.is_long_term(selection.long_term_days)]
        place = (year, what.account_id, coin, term)
        if (total := self._totals.get(place)) is None:
            names = ("year", "account_id", "coin", "term")
            started: Row = dict(zip(names, place, strict=True)) | _nothing()
            total = self._totals[place] = started | {"quantity": ZERO, "unvalued_quantity": ZERO}
        total["quantity"] += match.quantity
        self._count(total, match)
        of_year = self._year(year)
        self._count(of_year, match)
        gain = match.gain
        if gain is None:
            total["unvalued_quantity"] += match.quantity
            self.lacks(*match.lacking)
        else:
            of_year[f"gain_{term.lower()}"] += gain

    def _count(self, row: Row, match: Match) -> None:
        row["disposals"] += 1
        if (gain := match.gain) is None:
            row["unvalued"] += 1
            return
        row["proceeds"] += match.proceeds
        row["cost"] += match.cost
        row["gain"] += gain

    def move(self, movement: Movement) -> None:
        """Add income, expenses and what derivatives gained, if they are selected."""
        what, selection = movement.what, self._selection
        match movement:
            case Acquired(is_income=True, coin=coin, cost=worth) | Received(currency=coin, worth=worth):
                if selection.has(what.account_id, coin, what.at):
                    self.income.append(movement)
                    self._add("income", what.at, worth)
            case Earned(settle=coin, worth=worth):
                if selection.has(what.account_id, coin, what.at):
                    self.derivatives.append(movement)
                    self._add("derivatives", what.at, worth)
            case Charged(paid_in=coin, worth=worth):
                if selection.has(what.account_id, coin, what.at):
                    self._add("expenses", what.at, worth)
            case _:
                pass

    def _add(self, name: str, at: datetime, worth: Worth) -> None:
        of_year = self._year(self._selection.year_of(at))
        if worth.amount is None:
            of_year[f"unvalued_{name}"] += 1
            self.lacks(worth.lacking)
        else:
            of_year[name] += worth.amount

    def _year(self, year: int) -> Row:
        if (known := self._years.get(year)) is None:
            gained = dict.fromkeys(("gain_long", "gain_short", "gain_unknown", *OTHERS), ZERO)
            unvalued = {f"unvalued_{name}": 0 for name in OTHERS}
            known = self._years[year] = {"year": year, **_nothing(), **gained, **unvalued}
        return known

    def lacks(self, *reasons: str) -> None:
        """Note what is missing."""
        for reason in reasons:
            if reason in self._missing:
                continue
            if len(self._missing) < MISSING_MAX:
                self._missing[reason] = None
            else:
                self._missing_more += 1

    def missing(self) -> list[str]:
        """Return what is missing, each once; of many the number of the rest."""
        more = [f"{self._missing_more} more rates or acquisitions"] if self._missing_more else []
        return [*self._missing, *more]

    def items(self, currency: str) -> Iterator[Row]:
        """Yield the rows of matches, in order of disposal."""
        return (_match_row(match, self._selection, currency) for match in self._matches)

    def totals(self, currency: str) -> list[Row]:
        """Return the sums by year, account, coin and term."""
        return [_exact(row) | {"currency": currency} for _, row in sorted(self._totals.items())]

    def years(self, currency: str) -> list[Row]:
        """Return the sums by year."""
        return [_exact(row) | {"currency": currency} for _, row in sorted(self._years.items())]


def _nothing() -> Row:
    return {"disposals": 0, **dict.fromkeys(AMOUNTS, ZERO), "unvalued": 0}


def _exact(row: Row) -> Row:
    return {name: exact(value) if isinstance(value, Decimal) else value for name, value in row.items()}


def _rated(name: str, worth: Worth | None) -> Row:
    """Return the rate of an amount: what a unit of which currency was worth, by which marks, of when."""
    rate = None if worth is None else worth.rate
    return {
        f"{name}_rate": None if rate is None else rate.value,
        f"{name}_rate_of": None if rate is None else rate.currency or None,
        f"{name}_rate_at": None if rate is None else rate.rate_at,
        f"{name}_rate_source": None if rate is None else rate.source or None,
    }


def _lot_columns(lot: Lot | None) -> Row:
    return {
        "lot_id": None if lot is None else lot.lot_id,
        "acquired_account_id": None if lot is None else lot.what.account_id,
        "acquired_by": None if lot is None else lot.what.kind.value,
        "acquired_at": None if lot is None else lot.acquired_at,
    }


def _match_row(match: Match, selection: Selection, currency: str) -> Row:
    what, lot = match.disposed.what, match.lot
    return {
        "account_id": what.account_id,
        "coin": match.disposed.coin,
        "disposed_at": what.at,
        "kind": what.kind.value,
        "instrument_id": what.instrument_id or None,
        "reference": what.reference,
        "line": match.line,
        "quantity": match.quantity,
        **_lot_columns(lot),
        "holding_days": match.holding_days,
        "term": TERMS[match.is_long_term(selection.long_term_days)],
        "year": selection.year_of(what.at),
        "currency": currency,
        "cost": match.cost,
        "proceeds": match.proceeds,
        "gain": match.gain,
        **_rated("cost", None if lot is None else lot.cost),
        **_rated("proceeds", match.disposed.proceeds),
        "missing": "; ".join(match.lacking) or None,
    }


def _income_row(income: Acquired | Received, selection: Selection, currency: str) -> Row:
    what = income.what
    worth = income.cost if isinstance(income, Acquired) else income.worth
    return {
        "account_id": what.account_id,
        "coin": income.coin if isinstance(income, Acquired) else income.currency,
        "received_at": what.at,
        "kind": what.kind.value,
        "instrument_id": what.instrument_id or None,
        "reference": what.reference,
        "quantity": income.quantity if isinstance(income, Acquired) else income.worth.amount,
        "year": selection.year_of(what.at),
        "currency": currency,
        "value": worth.amount,
        **_rated("value", worth),
        "missing": worth.lacking or None,
    }


def _derivative_row(earned: Earned, selection: Selection, currency: str) -> Row:
    what, worth = earned.what, earned.worth
    return {
        "account_id": what.account_id,
        "settled_at": what.at,
        "kind": what.kind.value,
        "instrument_id": what.instrument_id or None,
        "reference": what.reference,
        "settle": earned.settle,
        "amount": earned.amount,
        "year": selection.year_of(what.at),
        "currency": currency,
        "value": worth.amount,
        **_rated("value", worth),
        "missing": worth.lacking or None,
    }


def _left(gains: Gains, selection: Selection) -> Iterator[tuple[str, Held, bool]]:
    """Yield what is left of lots, by the account that holds it ("": all together), and whether it is in transit."""
    for account_id, held in gains.left():
        if selection.has_place(account_id, held.lot.coin):
            yield account_id, held, False
    for held in gains.in_transit():
        if selection.has_place(held.lot.what.account_id, held.lot.coin):
            yield held.lot.what.account_id, held, True


def _left_row(account_id: str, held: Held, is_in_transit: bool, currency: str) -> Row:
    lot = held.lot
    return {
        "account_id": account_id or None,
        "coin": lot.coin,
        **_lot_columns(lot),
        "is_in_transit": is_in_transit,
        "quantity": held.quantity,
        "currency": currency,
        "cost": held.cost,
        **_rated("cost", lot.cost),
        "missing": None if held.cost is not None else _lacking_of(held),
    }


def _lacking_of(held: Held) -> str:
    return held.lot.cost.lacking or AVERAGE_UNKNOWN.format(coin=held.lot.coin)


def _removed_row(taken: Taken, currency: str) -> Row:
    what = taken.what
    return {
        "account_id": what.account_id,
        "coin": taken.coin,
        "removed_at": what.at,
        "kind": what.kind.value,
        "reference": what.reference,
        "quantity": taken.quantity,
        **_lot_columns(taken.lot),
        "currency": currency,
        "cost": taken.cost,
    }


def _coins(gains: Gains, selection: Selection, left: Sequence[tuple[str, Held]], currency: str) -> list[Row]:
    """Return what moved of each coin in each place: the quantities and costs that add up to what is left."""
    quantities: dict[tuple[str, str], Decimal] = {}
    costs: dict[tuple[str, str], Decimal] = {}
    for account_id, held in left:
        place = (account_id, held.lot.coin)
        quantities[place] = quantities.get(place, ZERO) + held.quantity
        costs[place] = costs.get(place, ZERO) + (held.cost or ZERO)
    rows = []
    for place, flow in gains.flows().items():
        if not selection.has_place(*place):
            continue
        account_id, coin = place
        rows.append(
            {
                "account_id": account_id or None,
                "coin": coin,
                "acquired": flow.acquired,
                "moved": flow.moved,
                "uncovered": flow.uncovered,
                "disposed": flow.disposed,
                "removed": flow.removed,
                "left": exact(quantities.get(place, ZERO)),
                "unvalued": flow.unvalued,
                "currency": currency,
                "acquired_cost": flow.acquired_cost,
                "moved_cost": flow.moved_cost,
                "disposed_cost": flow.disposed_cost,
                "removed_cost": flow.removed_cost,
                "left_cost": exact(costs.get(place, ZERO)),
            }
        )
    return rows

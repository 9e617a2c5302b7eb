"""Equity: what accounts are worth in one currency at each close, and what they returned. Pure.

Equity is the cash (deposits, entries and what trades, fees and funding moved) plus the positions at the marks of the
close: spot and options at their value, futures at their unrealized gain. External flows are no gain: a day's `pnl` is
the change of equity less what came in, and its `return` is the modified Dietz return

    pnl / (equity before + sum of each flow x the part of the day it was there for)

A flow counts from the start of its half hour, in the rate (or at the mark) of the day's close. Returns of days multiply
to the time-weighted return; `index` is that product, 1 at first, `drawdown` how far the index is below its highest.
Where equity is unknown (a mark or rate is missing or too old) nothing is guessed: the next known close has the return
since the last known one, over `days_spanned` days. Without capital on record there is no return: gains on nothing are
not a fraction of anything.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from domain.instrument import Kind
from domain.values import ONE, ZERO, divide, exact, rounded
from projections.analytics.closing import Closing, converted, held_at_closes, unrealized, worth
from projections.analytics.valuation import total, value
from projections.calendar import Days, slot_start
from projections.storage.tables import Row, contract_of

SECOND = timedelta(seconds=1)
NO_CAPITAL = "no capital is on record; name some"
NO_EARLIER = "no earlier equity is known"
INDEX_PLACES = 18
MOVING = ("quantity", "cost", "realized", "rounding", "fee_cost", "fees_settle", "funding", "income", "transferred")
_FUTURES = (Kind.LINEAR.value, Kind.INVERSE.value, None)


class Valued(NamedTuple):
    """Accounts at one close, in one currency: None where it is not known, for want of what `lacking` says."""

    cash: Decimal | None
    positions: Decimal | None
    equity: Decimal | None
    lacking: tuple[str, ...] = ()


class Flow(NamedTuple):
    """What came in (above zero) or went out, and when; None where its worth is not known."""

    at: datetime
    amount: Decimal | None


class Book(NamedTuple):
    """What an equity curve is made of: rows of `daily.sums`, `capital.cash_of` and `capital.moved_of`."""

    sums: Sequence[Row]
    cash: Sequence[Row]
    moved: Sequence[Row]


def curve(book: Book, days: Days, closings: Sequence[Closing], currency: str, capital: Decimal = ZERO) -> list[Row]:
    """A row for each day. `closings` has one more than there are days: the first is the moment before them.

    `capital` is what was there beside what is on record, in `currency`, from the beginning.
    """
    values = [_with(valued, capital) for valued in valued_at_closes(book, days, closings, currency)]
    flows = _flows(book, days, closings, currency)
    turnovers = _turnovers(book.sums, closings, currency)
    rows: list[Row] = []
    funded = bool(capital) or bool(flows[0])
    index = high = ONE
    known, since = (values[0].equity, 0)
    for number, day in enumerate(days.dates, 1):
        now = values[number]
        funded = funded or bool(flows[number])
        span = [flow for each in range(since + 1, number + 1) for flow in flows[each]]
        gained, returned, reason = _returned(
            known, now.equity, span, closings[since].at, closings[number].at, now.lacking
        )
        if returned is not None and not funded:
            returned, reason = None, NO_CAPITAL
        if returned is not None:
            index = rounded(index * (ONE + returned), INDEX_PLACES)
            high = max(high, index)
        rows.append(
            _row(day, closings[number], now, total([flow.amount for flow in flows[number]]))
            | {"currency": currency, "pnl": gained, "return": returned, "reason": reason, "index": index}
            | {"drawdown": ZERO if not high else exact(ONE - divide(index, high)), "days_spanned": number - since}
            | {"turnover": turnovers[number]}
        )
        if now.equity is not None:
            known, since = now.equity, number
    return rows


def _with(valued: Valued, capital: Decimal) -> Valued:
    if not capital:
        return valued
    return valued._replace(
        cash=None if valued.cash is None else exact(valued.cash + capital),
        equity=None if valued.equity is None else exact(valued.equity + capital),
    )


def _row(day: date, close: Closing, now: Valued, external: Decimal | None) -> Row:
    return {
        "day": day,
        "close_at": close.at,
        "equity": now.equity,
        "cash": now.cash,
        "positions": now.positions,
        "external": external,
        "lacking": list(now.lacking),
    }


def _returned(
    before: Decimal | None, after: Decimal | None, flows: Sequence[Flow], start: datetime, end: datetime,
    lacking: Sequence[str],
) -> tuple[Decimal | None, Decimal | None, str | None]:  # fmt: skip
    """PnL, return, and why there is none."""
    brought = total([flow.amount for flow in flows])
    if after is None or brought is None:
        return None, None, "; ".join(lacking) or "the worth of what was brought in or taken out is not known"
    if before is None:
        return None, None, NO_EARLIER
    gained = exact(after - before - brought)
    working = exact(before + sum((_weighted(flow, start, end) for flow in flows), ZERO))
    if working <= 0:
        return gained, None, NO_CAPITAL
    return gained, divide(gained, working), None


def _weighted(flow: Flow, start: datetime, end: datetime) -> Decimal:
    """The flow times the part of the span it was there for."""
    assert flow.amount is not None, "unknown flows are told before"
    left, whole = end - max(flow.at, start), end - start
    return divide(flow.amount * (left // SECOND), Decimal(whole // SECOND)) if left > timedelta(0) else ZERO


def valued_at_closes(book: Book, days: Days, closings: Sequence[Closing], currency: str) -> list[Valued]:
    """What all of the book is worth at the opening and at each close."""
    cash = _cash_at_closes(book, days)
    valued = []
    for held, paid, close in zip(held_at_closes(book.sums, len(days.dates), MOVING), cash, closings, strict=True):
        balances = dict(paid)
        values: dict[str, Decimal] = {}
        lacking: dict[str, None] = {}
        for position in held:
            _add(balances, position["settle"], settled(position))
            found = unrealized(position, close) if is_future(position) else worth(position, close)
            if found is None:
                age = "a fresh mark" if position["instrument_id"] in close.stale else "a mark"
                lacking[f"{age} of {position['instrument_id']}"] = None
            else:
                _add(values, position["settle"], found)
        is_complete = not lacking
        in_cash, in_positions = (_in(currency, amounts, close, lacking) for amounts in (balances, values))
        in_positions = in_positions if is_complete else None
        told = tuple(f"{each} is lacking" for each in lacking)
        valued.append(Valued(in_cash, in_positions, total([in_cash, in_positions]), told))
    return valued


def _in(currency: str, amounts: Mapping[str, Decimal], close: Closing, lacking: dict[str, None]) -> Decimal | None:
    parts = []
    for held_in, amount in sorted(amounts.items()):
        parts.append(converted(amount, held_in, currency, close))
        if parts[-1] is None:
            lacking[f"a rate from {held_in} to {currency} ({close.rates.rate(held_in, currency).reason})"] = None
    return total(parts)


def is_future(position: Row) -> bool:
    """Whether trading it moves no money but fees until it is closed."""
    return position["kind"] in _FUTURES


def settled(position: Row) -> Decimal:
    """What the position moved of its settlement currency, fees included (as `domain.balances.moved_by` has it)."""
    moved = position["realized"] + position["rounding"] - position["fee_cost"] + position["funding"]
    moved -= position["fees_settle"]
    if not is_future(position):
        moved += position["transferred"] + position["income"] - position["cost"]
    return exact(moved)


def _cash_at_closes(book: Book, days: Days) -> list[dict[str, Decimal]]:
    """Balances that positions' settlement currencies do not tell: own entries, and fees in third currencies."""
    bounds = days.slots
    parts: list[list[tuple[str, Decimal]]] = [[] for _ in bounds]
    for row in book.cash:
        if row["slot"] < bounds[-1]:
            amount = row["external"] + row["income"] - row["fees"]
            parts[_day(row["slot"], bounds)].append((row["currency"], amount))
    for row in book.sums:
        parts[row["day"]] += [(currency, -paid) for currency, paid in row["other_fees"].items()]
    balances: dict[str, Decimal] = {}
    told = []
    for part in parts:
        for currency, amount in part:
            _add(balances, currency, amount)
        told.append(dict(balances))
    return told


def _day(slot: int, bounds: Sequence[int]) -> int:
    return bisect_right(bounds, slot)


def _add(sums: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    sums[currency] = exact(sums.get(currency, ZERO) + amount)


def _flows(book: Book, days: Days, closings: Sequence[Closing], currency: str) -> list[list[Flow]]:
    """External flows of each day; those of day 0 came before."""
    bounds = days.slots
    flows: list[list[Flow]] = [[] for _ in bounds]

    def put(rows: Iterable[Row], told: Callable[[Row, Closing], Decimal | None]) -> None:
        for row in rows:
            if row["slot"] < bounds[-1]:
                day = _day(row["slot"], bounds)
                flows[day].append(Flow(slot_start(row["slot"]), told(row, closings[day])))

    put(
        (row for row in book.cash if row["external"]),
        lambda row, close: converted(row["external"], row["currency"], currency, close),
    )
    put(book.moved, lambda row, close: converted(_moved_worth(row, close), row["settle"], currency, close))
    return flows


def _moved_worth(row: Row, close: Closing) -> Decimal | None:
    """What was moved in is worth its value at the close; a future what it had gained by then."""
    contract, mark = contract_of(row), close.marks.get(row["instrument_id"])
    found = value(row, mark) if contract is not None else None
    return exact(found - row["cost"]) if found is not None and is_future(row) else found


def _turnovers(sums: Sequence[Row], closings: Sequence[Closing], currency: str) -> list[Decimal | None]:
    parts: list[list[Decimal | None]] = [[] for _ in closings]
    for row in sums:
        if row["day"] and row["turnover"]:
            close = closings[row["day"]]
            parts[row["day"]].append(converted(row["turnover"], row["quote"] or row["settle"], currency, close))
    return [total(part) for part in parts]

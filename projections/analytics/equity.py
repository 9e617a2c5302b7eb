"""Equity of accounts in one currency at each close, and their returns. Pure.

Equity is what is held, by coin: cash (deposits, entries other than loans, and the cash flows of trades, fees and
funding) plus the positions at the marks of the close: the coins of spot, each at its one price, options at their value,
futures at their unrealized gain. A coin that has left again, for another one or as a fee, needs no price. External
flows are not gains: a day's `pnl` is the change of equity less the net flow, and its `return` the modified Dietz return

    pnl / (equity before + sum of each flow x the fraction of the day after it)

A flow counts from the start of its half hour, in the rate (or at the mark) of the day's close. Returns of days multiply
to the time-weighted return; `index` is that product, starting at 1, `drawdown` its fraction below its highest value.
Where equity is unknown (a mark or rate is missing or too old) it is not estimated: the next known close has the return
since the last known one, over `days_spanned` days. Without capital on record there is no return, as there is nothing
to divide by.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, TypedDict

from domain.instrument import Kind
from domain.values import ONE, ZERO, divide, exact, rounded
from projections.analytics.closing import (
    MOVING,
    Closing,
    converted,
    held_at_closes,
    is_future,
    settled,
    unrealized,
    worth,
)
from projections.analytics.conversion import Rate
from projections.analytics.valuation import total, value
from projections.calendar import Days, slot_start
from projections.models.capital_flows import CashFlowRow, QuantityFlowRow
from projections.models.daily_sums import DailySumRow
from projections.storage.tables import contract_of

SECOND = timedelta(seconds=1)
NO_CAPITAL = "no capital is on record; name some"
NO_EARLIER = "no earlier equity is known"
INDEX_PLACES = 18


class Valued(NamedTuple):
    """Accounts at one close, in one currency; None where a mark or rate named in `lacking` is missing."""

    cash: Decimal | None
    positions: Decimal | None
    equity: Decimal | None
    lacking: tuple[str, ...] = ()


class Flow(NamedTuple):
    """An external flow, in (above zero) or out, and its time; `amount` is None where its value is not known."""

    at: datetime
    amount: Decimal | None


class EquityInputs(NamedTuple):
    """Inputs of an equity curve: rows of `daily_sums.sums`, `capital_flows.cash_of` and `capital_flows.moved_of`."""

    sums: Sequence[DailySumRow]
    cash: Sequence[CashFlowRow]
    moved: Sequence[QuantityFlowRow]


class EquityPoint(TypedDict("_Return", {"return": Decimal | None})):  # no name in Python
    """Equity at the close of a day, in `currency`: `return`, `index` and `drawdown` are fractions; None for the
    `reason` given, or for the marks and rates that are `lacking`.
    """

    day: date
    close_at: datetime
    equity: Decimal | None
    cash: Decimal | None
    positions: Decimal | None
    external: Decimal | None
    lacking: list[str]
    currency: str
    pnl: Decimal | None
    reason: str | None
    index: Decimal
    drawdown: Decimal
    days_spanned: int
    turnover: Decimal | None


def curve(
    inputs: EquityInputs,
    days: Days,
    closings: Sequence[Closing],
    currency: str,
    capital: Decimal = ZERO,
    *,
    flow_closings: Sequence[Closing] | None = None,
) -> list[EquityPoint]:
    """Return a row for each day. `closings` has one more than there are days: the first is the first day's opening.

    `capital` is added to what is on record, in `currency`, from the beginning. A day's flows are converted as of its
    `flow_closings` where these have the marks and rates, else as of its close.
    """
    values = [_with(valued, capital) for valued in valued_at_closes(inputs, days, closings, currency)]
    flows = _flows(inputs, days, closings, currency)
    if flow_closings is not None:
        at_start = _flows(inputs, days, flow_closings, currency)
        flows = [
            [early if early.amount is not None else late for early, late in zip(*each, strict=True)]
            for each in zip(at_start, flows, strict=True)
        ]
    turnovers = _turnovers(inputs.sums, closings, currency)
    rows: list[EquityPoint] = []
    funded = bool(capital) or bool(flows[0])
    index = high = ONE
    known, since = (values[0].equity, 0)
    for number, day in enumerate(days.dates, 1):
        now = values[number]
        funded = funded or bool(flows[number])
        span = [flow for each in range(since + 1, number + 1) for flow in flows[each]]
        start, end = closings[since].at, closings[number].at
        gained, returned, reason = _returned(known, now, span, start=start, end=end)
        if returned is not None and not funded:
            returned, reason = None, NO_CAPITAL
        if returned is not None:
            index = rounded(index * (ONE + returned), INDEX_PLACES)
            high = max(high, index)
        rows.append(
            {
                "day": day,
                "close_at": end,
                "equity": now.equity,
                "cash": now.cash,
                "positions": now.positions,
                "external": total([flow.amount for flow in flows[number]]),
                "lacking": list(now.lacking),
                "currency": currency,
                "pnl": gained,
                "return": returned,
                "reason": reason,
                "index": index,
                "drawdown": ZERO if not high else exact(ONE - divide(index, high)),
                "days_spanned": number - since,
                "turnover": turnovers[number],
            }
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


def _returned(
    before: Decimal | None, now: Valued, flows: Sequence[Flow], *, start: datetime, end: datetime
) -> tuple[Decimal | None, Decimal | None, str | None]:
    """Return PnL, return, and the reason if either is None."""
    net_flow, after = total([flow.amount for flow in flows]), now.equity
    if after is None or net_flow is None:
        return None, None, "; ".join(now.lacking) or "the worth of what was brought in or taken out is not known"
    if before is None:
        return None, None, NO_EARLIER
    gained = exact(after - before - net_flow)
    working = exact(before + sum((_weighted(flow, start, end) for flow in flows), ZERO))
    if working <= 0:
        return gained, None, NO_CAPITAL
    return gained, divide(gained, working), None


def _weighted(flow: Flow, start: datetime, end: datetime) -> Decimal:
    """Return the flow times the fraction of the span after it."""
    assert flow.amount is not None, "unknown flows are reported before"
    left, whole = end - max(flow.at, start), end - start
    return divide(flow.amount * (left // SECOND), Decimal(whole // SECOND)) if left > timedelta(0) else ZERO


def valued_at_closes(inputs: EquityInputs, days: Days, closings: Sequence[Closing], currency: str) -> list[Valued]:
    """Value cash and positions at the opening and at each close."""
    cash = _cash_at_closes(inputs, days)
    valued = []
    for held, paid, close in zip(held_at_closes(inputs.sums, len(days.dates), MOVING), cash, closings, strict=True):
        balances = dict(paid)
        values: dict[str, Decimal] = {}
        lacking: dict[str, None] = {}
        for position in held:
            _add(balances, position["settle"], settled(position))
            if position["kind"] == Kind.SPOT:
                _add(values, position["base"], position["quantity"])
                continue
            found = unrealized(position, close) if is_future(position) else worth(position, close)
            if found is None:
                age = "a fresh mark" if position["instrument_id"] in close.stale else "a mark"
                lacking[f"{age} of {position['instrument_id']}"] = None
            else:
                _add(values, position["settle"], found)
        is_complete = not lacking
        in_cash, in_positions = (_in(currency, amounts, close, {}) for amounts in (balances, values))
        in_positions = in_positions if is_complete else None
        worth_ = total([in_cash, in_positions])
        if worth_ is None:  # what is both held and owed needs no price
            held_in_all = dict(balances)
            for coin, amount in values.items():
                _add(held_in_all, coin, amount)
            traded = {position["instrument_id"] for position in held}
            known = _in(currency, held_in_all, close, lacking, own=traded)
            worth_ = known if is_complete else None
        reasons = tuple(f"{each} is lacking" for each in lacking)
        valued.append(Valued(in_cash, in_positions, worth_, reasons))
    return valued


def _in(
    currency: str, amounts: Mapping[str, Decimal], close: Closing, lacking: dict[str, None], own: Set[str] = frozenset()
) -> Decimal | None:
    parts = []
    for held_in, amount in sorted(amounts.items()):
        parts.append(converted(amount, held_in, currency, close))
        if parts[-1] is None:
            lacking |= dict.fromkeys(_lacking(close.rates.rate(held_in, currency), own))
    return total(parts)


def _lacking(rate: Rate, own: Set[str]) -> list[str]:
    """Return what a rate lacks: marks of the instruments that the accounts trade in, or a path."""
    if {*rate.missing, *rate.stale} & own:
        return [f"a mark of {name}" for name in rate.missing] + [f"a fresh mark of {name}" for name in rate.stale]
    return [f"a rate from {rate.held_in} to {rate.wanted} ({rate.reason})"]


def _cash_at_closes(inputs: EquityInputs, days: Days) -> list[dict[str, Decimal]]:
    """Return the balances apart from positions' settlement flows: cash entries, and fees in third currencies."""
    bounds = days.slots
    parts: list[list[tuple[str, Decimal]]] = [[] for _ in bounds]
    for row in inputs.cash:
        if row["slot"] < bounds[-1]:
            amount = row["external"] + row["income"] - row["fees"] + row["converted"]
            parts[_day(row["slot"], bounds)].append((row["currency"], amount))
    for sums in inputs.sums:
        parts[sums["day"]] += [(currency, -paid) for currency, paid in sums["other_fees"].items()]
    balances: dict[str, Decimal] = {}
    at_closes = []
    for part in parts:
        for currency, amount in part:
            _add(balances, currency, amount)
        at_closes.append(dict(balances))
    return at_closes


def _day(slot: int, bounds: Sequence[int]) -> int:
    return bisect_right(bounds, slot)


def _add(sums: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    sums[currency] = exact(sums.get(currency, ZERO) + amount)


def _flows(inputs: EquityInputs, days: Days, closings: Sequence[Closing], currency: str) -> list[list[Flow]]:
    """Return the external flows of each day; those of day 0 are all earlier ones."""
    bounds = days.slots
    flows: list[list[Flow]] = [[] for _ in bounds]

    for row in inputs.cash:
        if row["external"] and row["slot"] < bounds[-1]:
            day = _day(row["slot"], bounds)
            amount = converted(row["external"], row["currency"], currency, closings[day])
            flows[day].append(Flow(slot_start(row["slot"]), amount))
    for moved in inputs.moved:
        if moved["slot"] < bounds[-1]:
            day = _day(moved["slot"], bounds)
            amount = moved_worth(moved, currency, closings[day])
            flows[day].append(Flow(slot_start(moved["slot"]), amount))
    return flows


def moved_worth(row: QuantityFlowRow, currency: str, close: Closing) -> Decimal | None:
    """Return the value at the close of quantity that was transferred; of a future its unrealized gain."""
    if row["kind"] == Kind.SPOT:
        return converted(row["quantity"], row["base"], currency, close)
    contract, mark = contract_of(row), close.marks.get(row["instrument_id"])
    found = value(row, mark) if contract is not None else None
    gained = exact(found - row["cost"]) if found is not None and is_future(row) else found
    return converted(gained, row["settle"], currency, close)


def _turnovers(sums: Sequence[DailySumRow], closings: Sequence[Closing], currency: str) -> list[Decimal | None]:
    parts: list[list[Decimal | None]] = [[] for _ in closings]
    for row in sums:
        if row["day"] and row["turnover"]:
            close = closings[row["day"]]
            parts[row["day"]].append(converted(row["turnover"], row["quote"] or row["settle"], currency, close))
    return [total(part) for part in parts]

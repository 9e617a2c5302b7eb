"""Reconciliation of equity: the lines that lead from one close to the next, in one currency. Pure.

    equity_before
    + trading_pnl        the PnL of positions: realized, rounding, unrealized, funding, income in kind, less fees
    + revaluation        of what positions have left in other currencies: gains kept in them, payments of crosses,
                         fees in third coins (`projections.analytics.daily_pnl`)
    + cash_income        interest, rebates, rewards and other income
    - cash_charges       charges apart from trades
    + cash_revaluation   of cash in other currencies, and what conversions gained
    + deposits           cash that was brought in or taken out, and opening balances
    + transfers          quantity that was moved in or out, at its value at the close
    + transfer_result    what it was recorded at (its cost), less that value
    + conversion_rounding  amounts are converted one by one, and rounded at 18 places
    = equity

Trading PnL and revaluation are the sums of the daily PnL of positions by any breakdown. Each amount is converted at the
rate of the day's close. A line that needs a mark or rate that is missing is None, and `lacking` names it.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TypedDict, cast

from domain.values import exact
from projections.analytics.closing import Closing, converted, is_future
from projections.analytics.daily_pnl import daily_pnl
from projections.analytics.equity import EquityInputs, moved_worth, valued_at_closes
from projections.analytics.valuation import total
from projections.calendar import Days
from projections.models.capital_flows import CASH
from projections.storage.tables import AnyRow, Row

TRADING = ("realized", "rounding", "unrealized_change", "funding", "income")
PAID = ("fee_cost", "fees")
LINES = (
    "trading_pnl", "revaluation", "cash_income", "cash_charges", "cash_revaluation", "deposits", "transfers",
    "transfer_result", "conversion_rounding",
)  # fmt: skip
SUBTRACTED = ("cash_charges",)
SUMMED = (*TRADING, *PAID, *LINES)


class ReconciliationRow(TypedDict):
    """The lines from the equity of one close to that of the next, in `currency`; None where a mark or rate is missing.

    `realized` to `fees` are the parts of `trading_pnl`, of which `fee_cost` and `fees` are subtracted.
    """

    day: date
    close_at: datetime
    currency: str
    equity_before: Decimal | None
    realized: Decimal | None
    rounding: Decimal | None
    unrealized_change: Decimal | None
    funding: Decimal | None
    income: Decimal | None
    fee_cost: Decimal | None
    fees: Decimal | None
    trading_pnl: Decimal | None
    revaluation: Decimal | None
    cash_income: Decimal | None
    cash_charges: Decimal | None
    cash_revaluation: Decimal | None
    deposits: Decimal | None
    transfers: Decimal | None
    transfer_result: Decimal | None
    conversion_rounding: Decimal | None
    equity: Decimal | None
    lacking: list[str]


def reconciliation(
    inputs: EquityInputs, days: Days, closings: Sequence[Closing], currency: str
) -> list[ReconciliationRow]:
    """Return the lines of each day. `closings` has one more than there are days: the first is the opening."""
    accounts = {row["account_id"] for row in (*inputs.sums, *inputs.cash)}
    rows = daily_pnl(inputs.sums, days, closings, dict.fromkeys(accounts, currency), cash=inputs.cash)
    by_day: dict[date, list[AnyRow]] = {day: [] for day in days.dates}
    for row in rows:
        by_day[row["day"]].append(row)
    values = valued_at_closes(inputs, days, closings, currency)
    lines: list[ReconciliationRow] = []
    for number, day in enumerate(days.dates, 1):
        before, after, close = values[number - 1], values[number], closings[number]
        line: Row = {"day": day, "close_at": close.at, "currency": currency, "equity_before": before.equity}
        line |= _results(by_day[day])
        line |= _flows(inputs, days, number, close, currency=currency)
        line["conversion_rounding"] = _rest(line, before.equity, after.equity)
        line |= {"equity": after.equity, "lacking": sorted({*before.lacking, *after.lacking})}
        lines.append(cast(ReconciliationRow, line))
    return lines


def _results(rows: Sequence[AnyRow]) -> Row:
    """Return the lines of PnL: of positions, and of cash."""
    held = [row["in_base"] for row in rows if row["kind"] != CASH]
    cash = [row["in_base"] for row in rows if row["kind"] == CASH]
    parts: Row = {name: total([each[name] for each in held]) for name in (*TRADING, *PAID)}
    signed = [part if name not in PAID or part is None else -part for name, part in parts.items()]
    return parts | {
        "trading_pnl": total(signed),
        "revaluation": total([each["revaluation"] for each in held]),
        "cash_income": total([each["income"] for each in cash]),
        "cash_charges": total([each["fees"] for each in cash]),
        "cash_revaluation": total([each["revaluation"] for each in cash]),
    }


def _flows(inputs: EquityInputs, days: Days, number: int, close: Closing, *, currency: str) -> Row:
    """Return the lines of flows: cash, and quantity at its value and at the cost it was recorded at."""
    first, end = days.slots[number - 1], days.slots[number]
    deposits = [
        converted(row["external"], row["currency"], currency, close)
        for row in inputs.cash
        if first <= row["slot"] < end and row["external"]
    ]
    moved = [moved_worth(row, currency, close) for row in inputs.moved if first <= row["slot"] < end]
    recorded = [
        converted(_recorded(row), row["settle"], currency, close)
        for row in inputs.sums
        if row["day"] == number and (row["transferred"] or row["income"])
    ]
    transfers, cost = total(moved), total(recorded)
    result = exact(cost - transfers) if cost is not None and transfers is not None else None
    return {"deposits": total(deposits), "transfers": transfers, "transfer_result": result}


def _recorded(row: AnyRow) -> Decimal:
    """Return what quantity was recorded at beside PnL. The cost of a future is not paid, so it is no equity."""
    amount: Decimal = -row["income"] if is_future(row) else row["transferred"]
    return amount


def _rest(line: Row, before: Decimal | None, after: Decimal | None) -> Decimal | None:
    """Return what the lines do not explain: amounts are converted and rounded one by one."""
    signed = [_signed(name, line[name]) for name in LINES if name in line]
    explained = total([before, *signed])
    return exact(after - explained) if after is not None and explained is not None else None


def _signed(name: str, amount: Decimal | None) -> Decimal | None:
    return -amount if name in SUBTRACTED and amount is not None else amount


def over_days(rows: Sequence[ReconciliationRow]) -> Row:
    """Return the lines of all days together, as one row from the first opening to the last close."""
    found: Iterable[AnyRow] = rows
    lines = list(found)
    sums: Row = {name: total([row[name] for row in lines]) for name in SUMMED}
    return {
        "currency": lines[0]["currency"],
        "equity_before": lines[0]["equity_before"],
        **sums,
        "equity": lines[-1]["equity"],
        "lacking": sorted({reason for row in lines for reason in row["lacking"]}),
    }


def difference(row: AnyRow) -> Decimal | None:
    """Return what the lines of a row leave unexplained: zero, or None where a line is unknown."""
    explained = total([row["equity_before"], *(_signed(name, row[name]) for name in LINES)])
    return None if explained is None or row["equity"] is None else exact(row["equity"] - explained)

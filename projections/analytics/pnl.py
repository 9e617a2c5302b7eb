"""PnL of positions, realized and at given marks, and of cash. A view of the rows of `projections.models`.

All in the position's settlement currency: `realized` + `rounding` is the exact gain of closed quantity, `unrealized`
the value at the mark less the cost, `funding` as received, `income` earnings in kind, at their value then. `fee_cost`
is the cost of base-currency fees, `fees` are expensed commissions by the currency they were paid in: those in `settle`
count, those in base are the `fee_cost`, others are listed in `other_fees` and not converted. `net` is realized +
rounding + unrealized + funding + income - fees. `transferred` is not a gain: net + transferred is the change of equity.

What cash earned and was charged apart from trades (interest, rebates, rewards; fees of accounts and transfers) has rows
of kind CASH, one for each account and currency, without strategy and instrument: `income` and `fees_settle`. What
another currency's cash is worth now is no part of them.

Totals count `other_fees` too: `fees_converted` is their value at the marks, and part of `net`. What has no rate is not
in it, and named in `left_out`.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NotRequired, TypedDict, cast

from domain.instrument import Contract, Kind
from domain.values import ZERO, Mark, PositionSide, exact, venue_of
from projections.analytics.closing import own_pairs
from projections.analytics.conversion import Converter
from projections.analytics.valuation import MarkColumns, Marks, grouped, mark_of, marked, value
from projections.models.capital_flows import CASH, CashFlowRow
from projections.models.daily_sums import added
from projections.models.positions import PositionRow, positions
from projections.storage.rows import Source
from projections.storage.tables import AnyRow, Row

SUMS = ("realized", "rounding", "funding", "income", "fee_cost", "fees_settle", "unrealized", "net")


class PnlRow(PositionRow, MarkColumns):
    """A position and its PnL at a mark, or what cash earned: sums in `settle`, `other_fees` by currency."""

    venue: str
    value: Decimal | None
    unrealized: Decimal | None
    fees_settle: Decimal
    other_fees: dict[str, Decimal]
    net: Decimal | None


class PnlTotal(TypedDict):
    """Sums of PnL rows in one settlement currency, with the columns they are summed by; None if a part is unknown."""

    account_id: NotRequired[str]
    strategy_id: NotRequired[str]
    instrument_id: NotRequired[str]
    position_side: NotRequired[str]
    venue: NotRequired[str]
    base: NotRequired[str]
    settle: str
    realized: Decimal
    rounding: Decimal
    funding: Decimal
    income: Decimal
    fee_cost: Decimal
    fees_settle: Decimal
    unrealized: Decimal | None
    net: Decimal | None
    other_fees: dict[str, Decimal]
    fees_converted: Decimal
    left_out: dict[str, Decimal]
    missing_marks: list[str]
    stale_marks: list[str]


def pnl(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    position_side: str | None = None,
    marks: Marks,
) -> list[PnlRow]:
    """Return every position's PnL, realized and at the marks, by account, strategy and instrument."""
    rows = positions(
        source, account_id=account_id, strategy_id=strategy_id, instrument_id=instrument_id,
        position_side=position_side,
    )  # fmt: skip
    return [valued(row, mark_of(row, marks)) for row in rows]


def of_cash(flows: Iterable[CashFlowRow]) -> list[PnlRow]:
    """Return what cash earned and was charged, by account and currency; a row only where there is any of it."""
    sums: dict[tuple[str, str], tuple[Decimal, Decimal, int]] = {}
    for flow in flows:
        if flow["income"] or flow["fees"]:
            place = (flow["account_id"], flow["currency"])
            income, charges, seq = sums.get(place, (ZERO, ZERO, 0))
            sums[place] = (exact(income + flow["income"]), exact(charges + flow["fees"]), max(seq, flow["seq"]))
    return [
        {
            "account_id": account_id, "strategy_id": "", "instrument_id": "", "position_side": PositionSide.BOTH.value,
            "kind": CASH, "base": currency, "quote": None, "settle": currency, "contract_size": None, "venue": "",
            "cost_basis": None, "fee_policy": None, "money_places": None, "quantity": ZERO, "cost": ZERO,
            "realized": ZERO, "rounding": ZERO, "fees": {currency: charges} if charges else {}, "fee_cost": ZERO,
            "funding": ZERO, "income": income, "transferred": ZERO, "last_transact_time": None,
            "last_trade_seq": None, "last_exec_id": None, "seq": seq, "avg_px": None, **marked(None), "value": ZERO,
            "unrealized": ZERO, "fees_settle": charges, "other_fees": {}, "net": exact(income - charges),
        }
        for (account_id, currency), (income, charges, seq) in sorted(sums.items())
    ]  # fmt: skip


def rates_of(rows: Sequence[PnlRow], marks: Marks, pairs: Mapping[str, Contract]) -> Converter:
    """Return the rates at the marks; coins that the positions trade in have their price from these pairs."""
    return Converter(pairs, marks, own=own_pairs(cast(Sequence[AnyRow], rows)))


def totals(rows: Sequence[PnlRow], by: Sequence[str], rates: Converter | None = None) -> list[PnlTotal]:
    """Sum `pnl` rows by the key of a position, venue and base (any of these columns) and by currency `settle`.

    Fees in other currencies are summed by currency, in `other_fees`, and counted in `net` where there are rates.
    """
    names = (*by, "settle")
    fees: dict[tuple[str, ...], list[dict[str, Decimal]]] = {}
    found: Sequence[AnyRow] = rows
    for row in found:
        fees.setdefault(tuple(row[name] or "" for name in names), []).append(row["other_fees"])
    sums = grouped(rows, names, SUMS)
    for group in sums:
        paid = added(fees[tuple(group[name] for name in names)])
        group.update(other_fees=paid, **_counted(paid, group["settle"], rates))
        if group["net"] is not None:
            group["net"] = exact(group["net"] - group["fees_converted"])
    return cast(list[PnlTotal], sums)


def _counted(paid: Mapping[str, Decimal], settle: str, rates: Converter | None) -> Row:
    """Return the value of fees in a settlement currency, and the fees without a rate."""
    counted, left_out = ZERO, {}
    for currency, amount in paid.items():
        worth = rates.rate(currency, settle).convert(amount) if rates is not None else None
        if worth is None:
            left_out[currency] = amount
        else:
            counted = exact(counted + worth.amount)
    return {"fees_converted": counted, "left_out": left_out}


def valued(row: PositionRow, mark: Mark | None) -> PnlRow:
    """Return a row of `positions` with its value and PnL at the mark; `unrealized` and `net` are None without one."""
    worth = value(row, mark)
    unrealized = None if worth is None else exact(worth - row["cost"])
    fees = row["fees"]
    fees_settle = fees.get(row["settle"] or "", ZERO)
    counted = (row["settle"], row["base"] if row["kind"] == Kind.SPOT else None)
    booked = row["realized"] + row["rounding"] + row["funding"] + row["income"] - row["fee_cost"] - fees_settle
    return {
        **row,
        "venue": venue_of(row["instrument_id"]),
        **marked(mark),
        "value": worth,
        "unrealized": unrealized,
        "fees_settle": fees_settle,
        "other_fees": {currency: amount for currency, amount in fees.items() if currency not in counted},
        "net": None if unrealized is None else exact(booked + unrealized),
    }

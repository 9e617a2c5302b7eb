"""Bookkeeping: ledger lines of one event, which sum to zero in each asset. Pure arithmetic.

A line's amount is a debit above zero, a credit below. A venue that *credits* our account owes us more: our asset
account is debited. Exchanges of one asset for another run through `Equity:Trading`, which so mirrors the position:
minus its quantity in the traded asset, its cost in settlement currency. For quantity q, cost c, realized r, rounding o,
fee f and fee cost k of a trade:

| account                | asset          | spot          | option     | future (linear, inverse) |
|------------------------|----------------|---------------|------------|--------------------------|
| Assets:VENUE           | settlement     | r + o - c - k | r + o - c  | r + o                    |
| Assets:VENUE           | base           | q             |            |                          |
| Liabilities:Contracts  | settlement     |               |            | -c, to be paid           |
| Liabilities:Contracts  | the instrument |               | q          | q                        |
| Equity:Trading         | settlement     | c             | c          | c                        |
| Equity:Trading         | base, else instrument | -q     | -q         | -q                       |
| Income:Realized        | settlement     | -r            | -r         | -r                       |
| Income:Rounding        | settlement     | -o            | -o         | -o                       |
| Expenses:FeesInKind    | settlement     | k             |            |                          |
| Expenses:Fees, Assets:VENUE | the fee's | f, -f         | f, -f      | f, -f                    |

A short position has all signs turned. A spot fee in the base currency is `FeesInKind`, at its cost; q is reduced by
it. Quantity transferred in without a trade has its stated cost in Equity:Transfers, Equity:Opening, Equity:Adjustments
or an income account in place of cash; a transferred future has only its contract lines. A restatement is two entries
an item, the old one reversed and the new one booked; of spot and options, whose cash does not change, through
Equity:Restated, which is zero again after every event.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from domain.account import CashEntry, EntryBooked, EntryKind
from domain.holdings.balances import is_future
from domain.instrument import Contract, Kind
from domain.position import (
    Effect,
    PositionTransferred,
    Sums,
    TradeBooked,
    TradeReversed,
    TransferReason,
    expensed,
    paid_in_base,
)
from domain.values import exact, venue_of

ASSETS = "Assets"
UNASSIGNED = "Unassigned"  # cash of an account without a single venue
CONTRACTS = "Liabilities:Contracts"
TRADING = "Equity:Trading"
TRANSFERS = "Equity:Transfers"
OPENING = "Equity:Opening"
ADJUSTMENTS = "Equity:Adjustments"
RESTATED = "Equity:Restated"
REALIZED = "Income:Realized"
ROUNDING = "Income:Rounding"
FUNDING = "Income:Funding"
INTEREST = "Income:Interest"
REBATES = "Income:Rebates"
STAKING = "Income:Staking"
AIRDROPS = "Income:Airdrops"
OTHER_INCOME = "Income:Other"
LOANS = "Liabilities:Loans"
CONVERSIONS = "Equity:Conversions"
STAKED = "Staked"  # below the account of a venue's assets
FEES = "Expenses:Fees"
FEES_IN_KIND = "Expenses:FeesInKind"

REASON_ACCOUNTS = {
    TransferReason.OPENING: OPENING,
    TransferReason.ADJUSTMENT: ADJUSTMENTS,
    TransferReason.AIRDROP: AIRDROPS,
    TransferReason.STAKING: STAKING,
    TransferReason.INTEREST: INTEREST,
    TransferReason.REBATE: REBATES,
}  # every other reason is a transfer
ENTRY_ACCOUNTS = {
    EntryKind.OPENING: OPENING,
    EntryKind.ADJUSTMENT: ADJUSTMENTS,
    EntryKind.INTEREST: INTEREST,
    EntryKind.REBATE: REBATES,
    EntryKind.FUNDING: FUNDING,
    EntryKind.INCOME: OTHER_INCOME,
    EntryKind.STAKING: STAKING,
    EntryKind.AIRDROP: AIRDROPS,
    EntryKind.LOAN: LOANS,
    EntryKind.CONVERSION: CONVERSIONS,
    EntryKind.REDENOMINATION: CONVERSIONS,
}


class Line(NamedTuple):
    """A debit (above zero) or credit (below) of one account in one asset, in canonical form."""

    account: str
    asset: str
    amount: Decimal


def asset_account(venue: str) -> str:
    """Return the account of assets held at a venue ("" if that is not known)."""
    return f"{ASSETS}:{venue or UNASSIGNED}"


def settled_lines(sums: Effect | Sums, contract: Contract, venue: str) -> list[Line]:
    """Return an effect's balanced lines in settlement currency; see the table above."""
    settle = contract.settle
    gained = sums.realized + sums.rounding
    lines = [Line(TRADING, settle, sums.cost), Line(REALIZED, settle, -sums.realized)]
    if is_future(contract):
        lines += [Line(asset_account(venue), settle, exact(gained)), Line(CONTRACTS, settle, -sums.cost)]
    else:
        lines.append(Line(asset_account(venue), settle, exact(gained - sums.cost - sums.fee_cost)))
    return [*lines, Line(ROUNDING, settle, -sums.rounding), Line(FEES_IN_KIND, settle, sums.fee_cost)]


def _quantity_lines(effect: Effect, contract: Contract, instrument_id: str, venue: str) -> list[Line]:
    if contract.kind is Kind.SPOT:
        held, asset = asset_account(venue), contract.base
    else:
        held, asset = CONTRACTS, instrument_id
    return [Line(held, asset, effect.quantity), Line(TRADING, asset, -effect.quantity)]


def traded_lines(event: TradeBooked | TradeReversed, sign: int = 1) -> list[Line]:
    """Return a trade's balanced lines; with `sign` -1 those of its reversal."""
    effect, contract = event.effect, event.contract
    venue = venue_of(event.key.instrument_id)
    lines = settled_lines(effect, contract, venue)
    lines += _quantity_lines(effect, contract, event.key.instrument_id, venue)
    fees = expensed(effect, event.commission)
    in_base = paid_in_base(contract, fees)
    for amount, currency in ((fee.amount, fee.currency) for fee in fees if fee is not in_base):
        lines += [Line(FEES, currency, amount), Line(asset_account(venue), currency, -amount)]
    return lines if sign > 0 else _negated(lines)


def transferred_lines(event: PositionTransferred) -> list[Line]:
    """Return the balanced lines of quantity moved in or out without a trade."""
    contract, venue = event.contract, venue_of(event.key.instrument_id)
    lines = settled_lines(event.effect, contract, venue)
    if not is_future(contract):
        stated = Line(REASON_ACCOUNTS.get(event.reason, TRANSFERS), contract.settle, -event.cost)
        lines = [_plus(line, event.cost) if line.account.startswith(ASSETS) else line for line in lines] + [stated]
    return lines + _quantity_lines(event.effect, contract, event.key.instrument_id, venue)


def _plus(line: Line, amount: Decimal) -> Line:
    return Line(line.account, line.asset, exact(line.amount + amount))


def _negated(lines: Iterable[Line]) -> list[Line]:
    return [Line(account, asset, -amount) for account, asset, amount in lines]


def restated_lines(sums: Effect | Sums, contract: Contract, venue: str, sign: int) -> list[Line]:
    """Return a restated entry's lines as reversed (`sign` -1) or as now: cash paid at the trade is not paid again."""
    lines = settled_lines(sums, contract, venue)
    lines = lines if sign > 0 else _negated(lines)
    if is_future(contract):
        return lines
    return [Line(RESTATED, line.asset, line.amount) if line.account.startswith(ASSETS) else line for line in lines]


def entry_lines(event: EntryBooked, venue: str) -> list[Line]:
    """Return the lines of an entry that is neither transfer nor fee; a conversion's third entry is its fee."""
    if event.kind is EntryKind.STAKE:
        first = event.entries[0]
        assets, signed = asset_account(venue), first.indicator.sign * first.amount.amount
        currency = first.amount.currency
        return [Line(assets, currency, signed), Line(f"{assets}:{STAKED}", currency, -signed)]
    lines = cash_lines(event.entries[:2], venue, ENTRY_ACCOUNTS[event.kind])
    return lines + cash_lines(event.entries[2:], venue, FEES)


def cash_lines(entries: Sequence[CashEntry], venue: str, against: str) -> list[Line]:
    """Return the lines of cash entries at a venue, each against one ledger account."""
    assets = asset_account(venue)
    lines = []
    for entry in entries:
        signed = entry.indicator.sign * entry.amount.amount
        lines += [Line(assets, entry.amount.currency, signed), Line(against, entry.amount.currency, -signed)]
    return lines

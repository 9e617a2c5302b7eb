"""Balances of accounts by venue and asset: total, held and available.

One row an account, venue and asset. `total` is the booked amount: spot and options move money as they trade, a future
when it is closed (its wallet: realized gains, fees and funding, by the account's own cost basis). `held` is the amount
of pending outgoing transfers, fees included, and what is staked; `available` = total - held. What is borrowed is part
of `total`. Orders hold exposure against limits, not money. `venue` is the instrument's for money moved by trades; for
other money it is the account's venue, "" if it has no single one. Unlike a venue statement, total nets nothing between
strategies: see `domain.holdings.balances.Wallets`.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import TypedDict, cast

from domain.account import (
    AccountOpened,
    EntryBooked,
    EntryKind,
    FeeCharged,
    Indicator,
    TransferPending,
    TransferReturned,
    TransferSettled,
)
from domain.holdings.balances import is_future, moved
from domain.instrument import Contract
from domain.ledger import Logged
from domain.position import (
    FundingSettled,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
)
from domain.values import ZERO, Money, exact, venue_of
from projections.storage.rows import Source, fetch
from projections.storage.tables import NUMBER, Amounts, Projection, Row, Rows, fact, key, table

balances_table = table(
    "balances",
    "balances",
    key("account_id"),
    key("venue"),
    key("asset"),
    fact("total", NUMBER),
    fact("held", NUMBER),
)
pending_table = table("balances", "pending", key("account_id"), key("transfer_id"), fact("held", Amounts()))
venues_table = table("balances", "venues", key("account_id"), fact("venue"))
futures_table = table("balances", "futures", key("instrument_id"), fact("settle"))


class BalanceRow(TypedDict):
    """A balance of one asset: amounts in units of the asset; `available` = total - held."""

    account_id: str
    venue: str
    asset: str
    total: Decimal
    held: Decimal
    seq: int
    available: Decimal


class PendingTransferRow(TypedDict):
    """A pending outgoing transfer: `held` amounts by currency, fees included."""

    account_id: str
    transfer_id: str
    held: dict[str, Decimal]
    seq: int


def _add(rows: Rows, logged: Logged, place: tuple[str, str], total: Money, *, held: Money | None = None) -> None:
    """Add to the balance at a place: account and venue."""
    (account_id, venue), asset = place, total.currency
    known = rows.get(balances_table, account_id, venue, asset)
    was = (known["total"], known["held"]) if known is not None else (ZERO, ZERO)
    row = {
        "account_id": account_id,
        "venue": venue,
        "asset": asset,
        "total": exact(was[0] + total.amount),
        "held": exact(was[1] + held.amount) if held else was[1],
        "seq": logged.seq,
    }
    rows.put(balances_table, row)


def _add_at_venue(rows: Rows, logged: Logged, position: PositionKey, moneys: Iterable[Money]) -> None:
    place = (position.account_id, venue_of(position.instrument_id))
    for money in moneys:
        if money.amount:
            _add(rows, logged, place, money)


def _booked(rows: Rows, logged: Logged, event: TradeBooked | TradeReversed | PositionTransferred) -> None:
    moneys = list(moved(event))
    if is_future(event.contract):
        # a future's cost is not paid: only realized gains and fees change its wallet
        sign = -1 if isinstance(event, TradeReversed) else 1
        moneys.append(Money(sign * event.effect.cost, event.contract.settle))
        _put_future(rows, logged, event.key.instrument_id, event.contract)
    sums: dict[str, Money] = {}
    for money in moneys:
        was = sums.get(money.currency, Money(ZERO, money.currency))
        sums[money.currency] = Money(was.amount + money.amount, money.currency)
    _add_at_venue(rows, logged, event.key, sums.values())


def _put_future(rows: Rows, logged: Logged, instrument_id: str, contract: Contract) -> None:
    if rows.get(futures_table, instrument_id) is None:
        rows.put(futures_table, {"instrument_id": instrument_id, "settle": contract.settle, "seq": logged.seq})


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    """Add the change of a future's wallet; the cash paid for spot and options does not change."""
    future = rows.get(futures_table, event.key.instrument_id)
    if future is None:
        return
    gained = sum(
        (item.now.realized + item.now.rounding - item.was.realized - item.was.rounding for item in event.items), ZERO
    )
    gained += sum((moved.realized + moved.rounding for moved in event.moved), ZERO)
    money = Money(exact(gained), future["settle"])
    _add_at_venue(rows, logged, event.key, (money,))


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    _add_at_venue(rows, logged, event.key, (event.amount,))


def _opened(rows: Rows, logged: Logged, event: AccountOpened) -> None:
    rows.put(venues_table, {"account_id": event.account_id, "venue": event.venue, "seq": logged.seq})


def _venue(rows: Rows, account_id: str) -> str:
    known = rows.get(venues_table, account_id)
    return known["venue"] if known is not None else ""


def _pending(rows: Rows, logged: Logged, event: TransferPending) -> None:
    if event.leg.indicator is Indicator.CREDIT:
        return
    currencies = sorted({entry.amount.currency for entry in event.leg.entries})
    held = {name: amount for name in currencies if (amount := event.leg.debit(name))}
    transfer = {"account_id": event.account_id, "transfer_id": event.leg.transfer_id, "held": held, "seq": logged.seq}
    rows.put(pending_table, transfer)
    _hold(rows, logged, transfer, 1)


def _hold(rows: Rows, logged: Logged, transfer: Row, sign: int) -> None:
    place = (transfer["account_id"], _venue(rows, transfer["account_id"]))
    for asset, amount in transfer["held"].items():
        _add(rows, logged, place, Money(ZERO, asset), held=Money(sign * amount, asset))


def _settled(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned) -> None:
    transfer = rows.get(pending_table, event.account_id, event.leg.transfer_id)
    if transfer is not None:
        _hold(rows, logged, transfer, -1)
        rows.delete(pending_table, event.account_id, event.leg.transfer_id)
    _entered(rows, logged, event)


def _entered(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned | FeeCharged | EntryBooked) -> None:
    signed = (Money(entry.indicator.sign * entry.amount.amount, entry.amount.currency) for entry in event.entries)
    place = (event.account_id, _venue(rows, event.account_id))
    if isinstance(event, EntryBooked) and event.kind is EntryKind.STAKE:
        first = event.entries[0]  # what leaves what is available, or comes back to it
        held = Money(-first.indicator.sign * first.amount.amount, first.amount.currency)
        _add(rows, logged, place, Money(ZERO, held.currency), held=held)
        return
    for money in signed:
        if money.amount:
            _add(rows, logged, place, money)


PROJECTION = Projection(
    "balances",
    1,
    (balances_table, pending_table, venues_table, futures_table),
    {
        AccountOpened: _opened,
        TradeBooked: _booked,
        TradeReversed: _booked,
        PositionTransferred: _booked,
        PositionRestated: _restated,
        FundingSettled: _funded,
        TransferPending: _pending,
        TransferSettled: _settled,
        TransferReturned: _settled,
        FeeCharged: _entered,
        EntryBooked: _entered,
    },
)


def balances(
    source: Source,
    *,
    account_id: str | None = None,
    asset: str | None = None,
    limit: int | None = None,
    after: tuple[str, str, str] | None = None,
) -> list[BalanceRow]:
    """Return balances by account, venue and asset, with `available`; the next page is `after` the last row's three."""
    where = {"account_id": account_id, "asset": asset}
    found = fetch(source, balances_table, where=where, after=after, limit=limit)
    return cast(list[BalanceRow], [row | {"available": exact(row["total"] - row["held"])} for row in found])


def venues(source: Source) -> dict[str, str]:
    """Return the venue of every account, "" of one without a single venue."""
    return {row["account_id"]: row["venue"] for row in fetch(source, venues_table)}


def pending_transfers(source: Source, account_id: str | None = None) -> list[PendingTransferRow]:
    """Return the pending outgoing transfers of one account or of all, by account and transfer id."""
    return cast(list[PendingTransferRow], fetch(source, pending_table, where={"account_id": account_id}))

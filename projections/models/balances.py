"""Balances: what an account has of each asset at each venue, and how much of that is still its own to move.

One row an account, venue and asset. `total` is what is booked: spot and options move money as they trade, a future when
it is closed (its wallet: realized gains, fees and funding, by the account's own cost basis). `held` is what pending
transfers are to take out, fees included; `available` = total - held. Orders hold exposure against limits, not
money. `venue` is the instrument's for what trades move; for other money it is where the account is kept, "" if that is
no one place. Unlike a venue's statement, total nets nothing between strategies: see `domain.balances.Wallets`.
"""

from collections.abc import Iterable

from domain.account import (
    AccountOpened,
    EntryBooked,
    FeeCharged,
    Indicator,
    TransferPending,
    TransferReturned,
    TransferSettled,
)
from domain.balances import is_future, moved
from domain.instrument import Contract
from domain.ledger import Logged
from domain.position import (
    FundingSettled,
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


def _add(rows: Rows, logged: Logged, account_id: str, venue: str, total: Money, held: Money | None = None) -> None:
    asset = total.currency
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


def _add_all(rows: Rows, logged: Logged, account_id: str, venue: str, moneys: Iterable[Money]) -> None:
    for money in moneys:
        if money.amount:
            _add(rows, logged, account_id, venue, money)


def _booked(rows: Rows, logged: Logged, event: TradeBooked | TradeReversed | PositionTransferred) -> None:
    moneys = list(moved(event))
    if is_future(event.contract):
        # a future's flow is its wallet less what is open, at cost: the cost is not paid
        sign = -1 if isinstance(event, TradeReversed) else 1
        moneys.append(Money(sign * event.effect.cost, event.contract.settle))
        _learn(rows, logged, event.key.instrument_id, event.contract)
    sums: dict[str, Money] = {}
    for money in moneys:
        was = sums.get(money.currency, Money(ZERO, money.currency))
        sums[money.currency] = Money(was.amount + money.amount, money.currency)
    _add_all(rows, logged, event.key.account_id, venue_of(event.key.instrument_id), sums.values())


def _learn(rows: Rows, logged: Logged, instrument_id: str, contract: Contract) -> None:
    if rows.get(futures_table, instrument_id) is None:
        rows.put(futures_table, {"instrument_id": instrument_id, "settle": contract.settle, "seq": logged.seq})


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    """Of spot and options what was paid does not change."""
    future = rows.get(futures_table, event.key.instrument_id)
    if future is None:
        return
    gained = sum(
        (item.now.realized + item.now.rounding - item.was.realized - item.was.rounding for item in event.items), ZERO
    )
    money = Money(exact(gained), future["settle"])
    _add_all(rows, logged, event.key.account_id, venue_of(event.key.instrument_id), (money,))


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    _add_all(rows, logged, event.key.account_id, venue_of(event.key.instrument_id), (event.amount,))


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
    for asset, amount in transfer["held"].items():
        venue = _venue(rows, transfer["account_id"])
        _add(rows, logged, transfer["account_id"], venue, Money(ZERO, asset), Money(sign * amount, asset))


def _settled(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned) -> None:
    transfer = rows.get(pending_table, event.account_id, event.leg.transfer_id)
    if transfer is not None:
        _hold(rows, logged, transfer, -1)
        rows.delete(pending_table, event.account_id, event.leg.transfer_id)
    _entered(rows, logged, event)


def _entered(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned | FeeCharged | EntryBooked) -> None:
    signed = (Money(entry.indicator.sign * entry.amount.amount, entry.amount.currency) for entry in event.entries)
    _add_all(rows, logged, event.account_id, _venue(rows, event.account_id), signed)


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
) -> list[Row]:
    """Balances by account, venue and asset, with `available`; the next page is `after` the last row's three."""
    where = {"account_id": account_id, "asset": asset}
    found = fetch(source, balances_table, where=where, after=after, limit=limit)
    return [row | {"available": exact(row["total"] - row["held"])} for row in found]

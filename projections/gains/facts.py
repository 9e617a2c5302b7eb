"""The facts that moved coins, read from executions and coin entries in order of occurrence.

A spot trade moves both its legs and its fees; a future what it realizes, where that is a coin; an option its premium. A
transfer between accounts of ours is one departure and one arrival, and what did not arrive of it was its network's fee.
A transfer that was returned never left. Rows are streamed, so memory does not grow with their number.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from heapq import merge
from itertools import groupby
from typing import Any, NamedTuple, cast

import msgspec
import sqlalchemy as sa

from domain.account import EntryKind
from domain.holdings.balances import is_future
from domain.holdings.gains import (
    Arrival,
    Departure,
    Exchange,
    Fact,
    Kind,
    Loan,
    Payment,
    Receipt,
    Removal,
    Repayment,
    Settlement,
    What,
    Withdrawals,
)
from domain.instrument import Contract
from domain.instrument import Kind as ContractKind
from domain.position import Lot, TransferReason, expensed
from domain.values import ZERO, Money, Side, exact, natural
from projections.gains import coin_entries
from projections.gains.coin_entries import CoinEntryRow
from projections.models import executions
from projections.models.executions import TRADE, TRANSFER, Position, TradeRow
from projections.storage.history import AsOf, held_at, place
from projections.storage.rows import MemoryRows, Source, fetch
from projections.storage.tables import POSITION, Row, contract_of, position_of

STREAMED_ROWS = 2000
COLUMNS = (
    *POSITION, "exec_id", "cl_ord_id", "entry", "reason", "trade_seq", "nanos", "side", "last_qty", "last_px", "cost",
    "commissions", "counterparty_account_id", "lots", "lot_ids", "transact_time", "kind", "base", "quote", "settle",
    "contract_size", "realized", "rounding", "fees", "reversal",
)  # fmt: skip
ENTRY_COLUMNS = tuple(column.name for column in coin_entries.entries_table.columns)
INCOME_KINDS = {
    TransferReason.AIRDROP: Kind.AIRDROP, TransferReason.STAKING: Kind.STAKING, TransferReason.INTEREST: Kind.INTEREST,
    TransferReason.REBATE: Kind.REBATE,
}  # fmt: skip


Keyed = tuple[tuple[Any, ...], Fact]


class Wanted(NamedTuple):
    """Which facts: of these accounts (None: all), by a moment; what withdrawals are."""

    accounts: tuple[str, ...] | None = None
    occurred_by: datetime | None = None
    withdrawals: Withdrawals = Withdrawals.REMOVED


class _Leg(NamedTuple):
    """The other side of a transfer between accounts of ours: how much, and when."""

    amount: Decimal
    at: datetime


def linked(source: Source, account_id: str) -> tuple[str, ...]:
    """Return the accounts whose lots may have reached one by transfers, itself included."""
    others: dict[str, set[str]] = {}
    moved: Iterable[Any] = fetch(source, executions.executions, where={"entry": TRANSFER})
    pairs = [(row["account_id"], row["counterparty_account_id"]) for row in moved]
    pairs += [(row["account_id"], row["counter_account_id"]) for row in coin_entries.transfers(source)]
    for one, other in pairs:
        if other:
            others.setdefault(one, set()).add(other)
            others.setdefault(other, set()).add(one)
    found, waiting = {account_id}, [account_id]
    while waiting:
        new = others.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return tuple(sorted(found))


def facts(source: Source, wanted: Wanted) -> Iterator[Fact]:
    """Yield the facts in order of occurrence."""
    reader = _Reader(source, wanted)
    for _, fact in merge(reader.executions(), reader.entries(), key=lambda keyed: keyed[0]):
        yield fact


class _Reader:
    """The rows of a source, as facts with the keys that sort them."""

    def __init__(self, source: Source, wanted: Wanted) -> None:
        self._source = source
        self._wanted = wanted
        where = {"account_id": wanted.accounts, "entry": TRANSFER}
        moved = fetch(source, executions.executions, where=where, at_most={"transact_time": wanted.occurred_by})
        self._moved = {
            (row["account_id"], row["counterparty_account_id"], row["instrument_id"], row["exec_id"], row["side"])
            for row in moved
            if row["counterparty_account_id"] and row["reversal"] is None
        }
        self._legs: dict[tuple[str, str, str, int], _Leg] = {}
        self._returned: set[tuple[str, str]] = set()
        for entry in coin_entries.transfers(source):
            if wanted.occurred_by is not None and entry["transact_time"] > wanted.occurred_by:
                continue
            if entry["entry"] == coin_entries.RETURN and entry["entries"]:
                self._returned.add((entry["account_id"], entry["reference"]))
            elif entry["counter_account_id"] and entry["entries"]:
                (currency, text), *_ = entry["entries"]
                amount = Decimal(text)
                leg = (entry["account_id"], entry["reference"], currency, 1 if amount > 0 else -1)
                self._legs[leg] = _Leg(abs(amount), entry["transact_time"])
        self._restated = _restated(source, wanted)

    def executions(self) -> Iterator[Keyed]:
        """Yield the facts of executions."""
        for _, several in groupby(_streamed(self._source, executions.executions, COLUMNS, self._wanted), key=_at):
            keyed = [(_execution_key(row), cast(TradeRow, row)) for row in several if row["reversal"] is None]
            for key, row in sorted(keyed, key=lambda pair: pair[0]):
                for number, fact in enumerate(self._of_execution(row)):
                    yield (*key, number), fact

    def entries(self) -> Iterator[Keyed]:
        """Yield the facts of coin entries."""
        rows = _streamed(self._source, coin_entries.entries_table, ENTRY_COLUMNS, self._wanted)
        for _, several in groupby(rows, key=_at):
            keyed = [(_entry_key(row), cast(CoinEntryRow, row)) for row in several]
            for key, row in sorted(keyed, key=lambda pair: pair[0]):
                for number, fact in enumerate(self._of_entry(row)):
                    yield (*key, number), fact

    def _of_execution(self, row: TradeRow) -> Iterator[Fact]:
        contract = contract_of(row)
        assert contract is not None, "a booked entry has a contract"
        what = What(
            row["account_id"], row["exec_id"], row["transact_time"], Kind.SALE, instrument_id=row["instrument_id"]
        )
        if row["entry"] == TRADE and contract.kind is ContractKind.SPOT:
            assert row["last_px"] is not None, "a trade has a price"
            yield Exchange(
                what, Side(row["side"]), Money(row["last_qty"], contract.base),
                Money(exact(contract.value(row["last_qty"], row["last_px"])), contract.quote),
                fees=_moneys(row["commissions"]), lot_ids=tuple(row["lot_ids"] or ()),
            )  # fmt: skip
        elif row["entry"] == TRADE:
            yield from self._of_derivative(row, contract, what)
        elif contract.kind is ContractKind.SPOT:
            yield from self._of_transfer(row, contract, what)
        elif is_future(contract):
            realized, _ = self._effect(row)
            yield from _settled(what, Kind.REALIZED, Money(realized, contract.settle))

    def _of_derivative(self, row: TradeRow, contract: Contract, what: What) -> Iterator[Fact]:
        """Yield what a future realizes, or an option's premium, and the fees that are not part of either."""
        realized, fees = self._effect(row)
        if is_future(contract):
            yield from _settled(what, Kind.REALIZED, Money(realized, contract.settle))
        else:
            assert row["last_px"] is not None, "a trade has a price"
            value = contract.value(Side(row["side"]).sign * row["last_qty"], row["last_px"])
            yield from _settled(what, Kind.PREMIUM, Money(exact(-value), contract.settle))
            fees = _moneys(row["commissions"])
        for fee in fees:
            yield from _settled(what, Kind.FEE if fee.amount > 0 else Kind.REBATE, Money(-fee.amount, fee.currency))

    def _effect(self, row: TradeRow) -> tuple[Decimal, tuple[Money, ...]]:
        """Return what an entry realized, and its fees that are an expense."""
        if (effect := self._restated.get((position_of(row), row["exec_id"], row["transact_time"]))) is not None:
            return effect
        return exact(row["realized"] + row["rounding"]), tuple(Money(each, of) for of, each in row["fees"].items())

    def _of_transfer(self, row: TradeRow, contract: Contract, what: What) -> Iterator[Fact]:
        """Yield quantity in kind that was received or sent without a trade."""
        amount, other = Money(row["last_qty"], contract.base), row["counterparty_account_id"]
        if not amount.amount:
            return  # it corrects the cost of one that was sent before
        account_id, is_sent = row["account_id"], Side(row["side"]) is Side.SELL
        if other == account_id:
            return  # between strategies of one account nothing moves
        side = Side.BUY if is_sent else Side.SELL
        if other and (other, account_id, row["instrument_id"], row["exec_id"], side.value) in self._moved:
            here, there = (account_id, other) if is_sent else (other, account_id)
            route, moved = f"{row['instrument_id']} {row['exec_id']} {here} {there}", _as(what, Kind.TRANSFER)
            yield Departure(moved, amount, route) if is_sent else Arrival(moved, amount.currency, route)
            return
        reason = TransferReason(row["reason"])
        if is_sent and reason is TransferReason.NETWORK_FEE:
            yield Payment(_as(what, Kind.FEE), amount, True)
            return
        if is_sent and reason.is_disposal:
            stated = Money(abs(row["cost"] or ZERO), contract.settle)
            yield Payment(_as(what, INCOME_KINDS.get(reason, Kind.DISPOSAL)), amount, stated=stated)
            return
        if is_sent:
            kind = Kind.ADJUSTMENT if reason is TransferReason.ADJUSTMENT else Kind.WITHDRAWAL
            yield self._left(_as(what, kind), amount)
            return
        kinds = {TransferReason.OPENING: Kind.OPENING, TransferReason.ADJUSTMENT: Kind.ADJUSTMENT} | INCOME_KINDS
        what = _as(what, kinds.get(reason, Kind.DEPOSIT))
        if row["lots"]:
            for lot in msgspec.convert(row["lots"], tuple[Lot, ...]):
                stated = Money(abs(lot.cost), contract.settle)
                yield Receipt(
                    _called(what, lot.lot_id), Money(abs(lot.quantity), contract.base), stated, reason.is_income,
                    acquired_at=lot.opened_at.transact_time,
                )  # fmt: skip
            return
        yield Receipt(what, amount, Money(abs(row["cost"] or ZERO), contract.settle), reason.is_income)

    def _left(self, what: What, amount: Money) -> Fact:
        is_disposal = self._wanted.withdrawals is Withdrawals.DISPOSED and what.kind is Kind.WITHDRAWAL
        return Payment(what, amount) if is_disposal else Removal(what, amount)

    def _of_entry(self, row: CoinEntryRow) -> Iterator[Fact]:
        what = What(
            row["account_id"], row["reference"], row["transact_time"], Kind.FEE, instrument_id=row["instrument_id"]
        )
        moneys = [Money(Decimal(text), currency) for currency, text in row["entries"]]
        if not moneys:
            return
        match row["entry"]:
            case coin_entries.TRANSFER:
                if (row["account_id"], row["reference"]) not in self._returned:
                    yield from self._of_cash_transfer(row, what, moneys[0])
                    for fee in moneys[1:]:
                        yield from _gained(what, Kind.FEE, fee)
            case coin_entries.FEE:
                for fee in moneys:
                    yield from _gained(what, Kind.FEE, fee)
            case coin_entries.FUNDING:
                yield from _settled(what, Kind.FUNDING, moneys[0])
            case coin_entries.ENTRY:
                yield from self._of_other(what, EntryKind(row["kind"]), moneys)
            case _:
                pass  # a return undoes its transfer

    def _of_cash_transfer(self, row: CoinEntryRow, what: What, money: Money) -> Iterator[Fact]:
        """Yield money or coins transferred: to or from outside, or between two accounts of ours."""
        here, there, is_sent = row["account_id"], row["counter_account_id"], money.amount < 0
        amount = Money(abs(money.amount), money.currency)
        other = self._legs.get((there, row["reference"], money.currency, 1 if is_sent else -1)) if there else None
        if other is None or (there, row["reference"]) in self._returned:
            if is_sent:
                yield self._left(_as(what, Kind.WITHDRAWAL), amount)
            else:
                yield Receipt(_as(what, Kind.DEPOSIT), amount)
            return
        moved, at = _as(what, Kind.TRANSFER), row["transact_time"]
        first, last = (here, there) if is_sent else (there, here)
        route = f"{row['reference']} {first} {last}"
        if not is_sent:
            if at >= other.at:
                yield Arrival(moved, money.currency, route)
            if amount.amount > other.amount:
                more = exact(amount.amount - other.amount)
                yield Receipt(_as(what, Kind.ADJUSTMENT), Money(more, money.currency))
            return
        yield Departure(moved, Money(min(amount.amount, other.amount), money.currency), route)
        if other.at < at:  # by the clocks of two venues
            yield Arrival(What(there, row["reference"], at, Kind.TRANSFER), money.currency, route)
        if amount.amount > other.amount:
            yield Payment(what, Money(exact(amount.amount - other.amount), money.currency), True)

    def _of_other(self, what: What, kind: EntryKind, moneys: list[Money]) -> Iterator[Fact]:
        first = moneys[0]
        amount = Money(abs(first.amount), first.currency)
        match kind:
            case EntryKind.STAKE:
                return  # what is locked up is still held
            case EntryKind.LOAN:
                owed = _as(what, Kind.LOAN)
                yield Loan(owed, amount) if first.amount > 0 else Repayment(owed, amount)
            case EntryKind.CONVERSION if len(moneys) > 1:
                bought, fees = moneys[1], tuple(Money(-fee.amount, fee.currency) for fee in moneys[2:])
                yield Exchange(_as(what, Kind.CONVERSION), Side.BUY, bought, amount, fees=fees)
            case EntryKind.OPENING | EntryKind.ADJUSTMENT:
                named = _as(what, Kind(kind.value))
                yield Receipt(named, amount) if first.amount > 0 else Removal(named, amount)
            case _:
                yield from _gained(what, Kind(kind.value), first)


def _gained(what: What, kind: Kind, money: Money) -> Iterator[Fact]:
    """Yield money earned, at its market value, or paid: an expense."""
    if money.amount > 0:
        yield Receipt(_as(what, kind), money, is_income=True)
    elif money.amount < 0:
        yield Payment(_as(what, kind), Money(-money.amount, money.currency), True)


def _settled(what: What, kind: Kind, money: Money) -> Iterator[Fact]:
    """Yield what a derivative gained or cost, where it is anything."""
    if money.amount:
        yield Settlement(_as(what, kind), money)


def _as(what: What, kind: Kind) -> What:
    return What(what.account_id, what.reference, what.at, kind, instrument_id=what.instrument_id)


def _called(what: What, reference: str) -> What:
    return What(what.account_id, reference, what.at, what.kind, instrument_id=what.instrument_id)


def _moneys(stored: Iterable[Mapping[str, str]] | None) -> tuple[Money, ...]:
    return tuple(Money(Decimal(each["amount"]), each["currency"]) for each in stored or ())


def _restated(
    source: Source, wanted: Wanted
) -> dict[tuple[Position, str, datetime], tuple[Decimal, tuple[Money, ...]]]:
    """Return what entries of futures realized and paid, where a restatement by half hour changed it."""
    found = {}
    for position in executions.restatements(source):
        if wanted.accounts is not None and position[0] not in wanted.accounts:
            continue
        for row, effect in executions.effects(source, position, wanted.occurred_by):
            contract = contract_of(row)
            if contract is None or not is_future(contract):
                break
            fees = expensed(effect, Money(ZERO, row["commission_currency"] or ""))
            place_ = (position, row["exec_id"], row["transact_time"])
            found[place_] = (exact(effect.realized + effect.rounding), fees)
    return found


def _at(row: Row) -> datetime:
    at: datetime = row["transact_time"]
    return at


def _execution_key(row: Row) -> tuple[Any, ...]:
    """Return the key of order of occurrence: of one moment trades by the venue's sequence, then by their ids."""
    tie = f"{row['side']} {row['cl_ord_id']}"
    base, _, suffix = row["exec_id"].partition("#")
    ids = (natural(base), tie, natural(suffix))
    places = tuple(row[name] for name in POSITION)
    is_departure = row["entry"] == TRANSFER and row["side"] == Side.SELL and bool(row["counterparty_account_id"])
    step = (1, 0 if is_departure else 1)
    return (row["transact_time"], row["nanos"], row["trade_seq"], *step, *ids, *places, row["entry"])


def _entry_key(row: Row) -> tuple[Any, ...]:
    """Return the key of order of occurrence: of one moment entries come before trades, what is received first."""
    is_paid = bool(row["entries"]) and row["entries"][0][1].startswith("-")
    is_ours = row["counter_account_id"] != ""
    steps = {(False, False): 0, (True, True): 1, (True, False): 2, (False, True): 3}
    places = tuple(row[name] for name in POSITION)
    step = (0, steps[is_ours, is_paid])
    return (row["transact_time"], row["nanos"], 0, *step, natural(row["reference"]), row["entry"], *places)


def _streamed(source: Source, table: sa.Table, columns: tuple[str, ...], wanted: Wanted) -> Iterator[Row]:
    """Yield rows by time, without those of other accounts or later than the moment wanted."""
    if isinstance(source, MemoryRows):
        by = ("transact_time",)
        where = {"account_id": wanted.accounts}
        yield from fetch(source, table, where=where, at_most={"transact_time": wanted.occurred_by}, by=by)
        return
    connection, values = (source.connection, place(source.seq)) if isinstance(source, AsOf) else (source, {})
    parts = held_at(table) if isinstance(source, AsOf) else (sa.select(table),)
    chosen = []
    for part in parts:
        found = part.selected_columns
        query = part.with_only_columns(*(found[name] for name in columns), maintain_column_froms=True)
        if wanted.accounts is not None:
            query = query.where(found["account_id"].in_(wanted.accounts))
        if wanted.occurred_by is not None:
            query = query.where(found["transact_time"] <= wanted.occurred_by)
        chosen.append(query)
    if len(chosen) == 1:
        ordered = chosen[0].order_by(sa.column("transact_time"))
    else:
        both = sa.union_all(*chosen).subquery()
        ordered = sa.select(both).order_by(both.c.transact_time)
    options = {"stream_results": True, "yield_per": STREAMED_ROWS}
    for row in connection.execute(ordered, values, execution_options=options):
        yield dict(zip(columns, row, strict=True))

"""Venue reports of facts: fills, transfers, fees, entries, conversions and funding, each with an id.

An id is the venue's own where the file has one. Else it is made of the content (moment, assets, amounts, direction),
with a number for the second and further of equal ones in one moment: the same file, a piece of it, one that overlaps
it, and another file of the venue that says the same have the same ids. See ADR 0055.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from adapters.exchanges import Unreadable
from adapters.exchanges.files.contracts import listing
from adapters.exchanges.files.facts import Converted, Fact, Funded, Ignored, Moved, Reported, Source, Traded, What
from adapters.exchanges.files.grouping import Together
from domain import names
from domain.account import BookEntry, ChargeFee, ConvertMoney, EntryKind, Indicator, Leg, SettleTransfer
from domain.errors import InvalidInput
from domain.instrument import ListInstrument
from domain.ledger import Report
from domain.order import OrderFilled, OrderKey, adopted_id
from domain.position import PositionKey, SettleFunding
from domain.values import ZERO, Money, Side, exact

DIGEST_CHARACTERS = 12
REASON_MAX = 200
ENTRIES = {
    What.INTEREST: EntryKind.INTEREST,
    What.STAKING: EntryKind.STAKING,
    What.AIRDROP: EntryKind.AIRDROP,
    What.REBATE: EntryKind.REBATE,
    What.INCOME: EntryKind.INCOME,
    What.SETTLEMENT: EntryKind.INCOME,
    What.FUNDING: EntryKind.FUNDING,
    What.LOAN: EntryKind.LOAN,
}  # others are adjustments


class Whose(NamedTuple):
    """The account and strategy that reports are for, and the venue of rows that name none."""

    account_id: str
    strategy_id: str
    venue: str


class Booked(Struct, frozen=True):
    """A report, the rows it says, and the request that lists its instrument."""

    report: Report
    sources: tuple[Source, ...]
    kind: str
    listing: ListInstrument | None = None


class Skipped(NamedTuple):
    """A row that moves nothing, and why."""

    line: int
    reason: str


def reports(found: Iterable[Together], whose: Whose) -> Iterator[Booked | Skipped | Unreadable]:
    """Yield the reports of the facts of one moment. Each row is named by one of them."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    for fact, every in found:
        sources = tuple(source for source in every if source.line not in seen)
        seen.update(source.line for source in every)
        try:
            yield _report(fact, sources, whose, counts)
        except InvalidInput as error:
            yield from (Unreadable(source.line, source.raw, error) for source in sources)


def _report(fact: Fact, sources: tuple[Source, ...], whose: Whose, counts: Counter[str]) -> Booked | Skipped:
    match fact:
        case Ignored(source=source, reason=reason):
            return Skipped(source.line, reason)
        case Reported():
            return _reported(fact, sources, whose)
        case Traded():
            return _fill(fact, sources, whose, counts)
        case Funded():
            return _funding(fact, sources, whose, counts)
        case Converted():
            return Booked(_conversion(fact, whose, counts), sources, "conversion")
        case Moved():
            return _movement(fact, sources, whose, counts)


def _reported(fact: Reported, sources: tuple[Source, ...], whose: Whose) -> Booked:
    report = replace(fact.report, key=OrderKey(whose.account_id, fact.report.key.cl_ord_id))
    if not isinstance(report, OrderFilled):
        return Booked(report, sources, "order")
    listed = listing(report.instrument_id, fact.contract) if fact.contract is not None else None
    return Booked(replace(report, strategy_id=whose.strategy_id), sources, "fill", listed)


def _fill(fact: Traded, sources: tuple[Source, ...], whose: Whose, counts: Counter[str]) -> Booked:
    instrument_id = f"{fact.symbol}.{fact.venue or whose.venue}"
    if fact.id:
        exec_id = names.execution_id(fact.id, "id")
    else:
        amount = exact(fact.price * fact.quantity) if fact.amount is None else fact.amount
        content = (
            fact.contract.base,
            fact.contract.quote,
            fact.side,
            _plain(fact.quantity),
            _plain(amount),
            fact.order_id,
        )
        exec_id = _made(fact.source.at, "B" if fact.side is Side.BUY else "S", content[:5], counts)
    order_id = names.name(fact.order_id, "order_id") if fact.order_id else ""
    fees = fact.fees or (Money(ZERO, ""),)
    report = OrderFilled(
        key=OrderKey(whose.account_id, adopted_id(instrument_id, order_id, exec_id)),
        strategy_id=whose.strategy_id,
        instrument_id=names.instrument_id(instrument_id),
        order_id=order_id,
        side=fact.side,
        exec_id=exec_id,
        trade_seq=fact.seq,
        last_qty=fact.quantity,
        last_px=fact.price,
        commission=fees[0],
        further_commissions=fees[1:],
        liquidity=fact.liquidity,
        transact_time=fact.source.at,
        nanos=fact.source.nanos,
    )
    return Booked(report, sources, "fill", listing(instrument_id, fact.contract))


def _funding(fact: Funded, sources: tuple[Source, ...], whose: Whose, counts: Counter[str]) -> Booked:
    instrument_id = names.instrument_id(f"{fact.symbol}.{fact.venue or whose.venue}")
    funding_id = names.execution_id(fact.id, "id") if fact.id else _made(
        fact.source.at, "FUNDING", (fact.symbol, fact.amount.currency, _plain(fact.amount.amount)), counts
    )  # fmt: skip
    key = PositionKey(whose.account_id, whose.strategy_id, instrument_id)
    report = SettleFunding(key, funding_id, fact.amount, fact.source.at, nanos=fact.source.nanos)
    return Booked(report, sources, "funding", listing(instrument_id, fact.contract))


def _conversion(fact: Converted, whose: Whose, counts: Counter[str]) -> ConvertMoney:
    content = (fact.sold.currency, _plain(fact.sold.amount), fact.bought.currency, _plain(fact.bought.amount))
    entry_id = _id(fact.id, fact.source.at, "CONVERSION", content, counts=counts, whose=whose)
    return ConvertMoney(
        whose.account_id, entry_id, fact.sold, fact.bought, fee=fact.fee, reason=_reason(fact.note),
        transact_time=fact.source.at,
    )  # fmt: skip


def _movement(fact: Moved, sources: tuple[Source, ...], whose: Whose, counts: Counter[str]) -> Booked:
    at, kind, amount = fact.source.at, fact.what.lower(), Money(abs(fact.amount), fact.asset)
    indicator = Indicator.CREDIT if fact.amount > 0 else Indicator.DEBIT
    content = (fact.asset, _plain(fact.amount), *((fact.wallet,) if fact.what is What.INTERNAL else ()))
    if not fact.amount:
        assert fact.fee is not None, "a movement has an amount or a fee"
        fee_id = _id(fact.id, at, "FEE", (fact.fee.currency, _plain(fact.fee.amount)), counts=counts, whose=whose)
        return Booked(
            ChargeFee(whose.account_id, fee_id, fact.fee, _reason(fact.note), transact_time=at), sources, "fee"
        )
    id_ = _id(fact.id, at, fact.what, content, counts=counts, whose=whose)
    report: Report
    match fact.what:
        case What.DEPOSIT | What.WITHDRAWAL:
            leg = Leg(id_, indicator, amount, fact.fee, counterparty=_reason(fact.note))
            report = SettleTransfer(whose.account_id, leg, at)
        case What.FEE | What.TRADE_FEE if fact.amount < 0:
            kind = "fee"
            report = ChargeFee(whose.account_id, id_, _with_fee(amount, fact.fee), _reason(fact.note), transact_time=at)
        case What.FEE | What.TRADE_FEE:
            kind = "rebate"
            report = _entry(EntryKind.REBATE, fact, id_, amount=amount, whose=whose)
        case _:
            report = _entry(ENTRIES.get(fact.what, EntryKind.ADJUSTMENT), fact, id_, amount=amount, whose=whose)
    return Booked(report, sources, kind)


def _entry(kind: EntryKind, fact: Moved, entry_id: str, amount: Money, whose: Whose) -> BookEntry:
    """Return an entry; a fee in its own asset that is taken beside it is taken off it, so that the balance is right."""
    signed = amount.amount if fact.amount > 0 else -amount.amount
    if fact.fee is not None and fact.fee.currency == fact.asset:
        signed = exact(signed - fact.fee.amount)
    return BookEntry(
        whose.account_id, entry_id, kind, Indicator.CREDIT if signed > 0 else Indicator.DEBIT,
        amount=Money(abs(signed), fact.asset), reason=_reason(fact.note), transact_time=fact.source.at,
    )  # fmt: skip


def _with_fee(amount: Money, fee: Money | None) -> Money:
    if fee is None or fee.currency != amount.currency:
        return amount
    return Money(exact(amount.amount + fee.amount), amount.currency)


def _id(own: str, at: datetime, kind: str, content: tuple[str, ...], counts: Counter[str], whose: Whose) -> str:
    return names.joined(whose.venue, own) if own else names.joined(whose.venue, _made(at, kind, content, counts))


def _made(at: datetime, kind: str, content: tuple[str, ...], counts: Counter[str]) -> str:
    """Make an id of a content; of equal ones in one moment the second ends in `-2`, and so on."""
    digest = hashlib.sha256("|".join((kind, *content)).encode()).hexdigest()[:DIGEST_CHARACTERS]
    made = f"{at:%Y%m%dT%H%M%S}-{kind}-{digest}"
    counts[made] += 1
    return made if counts[made] == 1 else f"{made}-{counts[made]}"


def _plain(number: object) -> str:
    return f"{number:f}"


def _reason(note: str) -> str:
    return " ".join(note.split())[:REASON_MAX]

"""Costing: the effect of a trade on a book of quantity, cost and lots, under a cost basis. Pure arithmetic.

All quantities are signed (long above zero), all costs are signed in settlement currency and follow
`Contract.value`: a long in spot has positive cost, a short negative; an inverse long negative, a short positive.
For every trade, exactly: cash = realized + rounding - change of cost, where cash is minus the traded value (minus the
capitalised fee). Divisions happen here, once, rounded at 18 places; the result is recorded and from then on only added.
Where a division splits a sum over several lots, the last part is the remainder, so the parts sum to the whole.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract, Kind
from domain.values import ZERO, Money, Occurrence, OpenedAt, Side, divide, exact, nanoseconds, natural, rounded

MICROSECOND = timedelta(microseconds=1)
LOTS_CHUNK_MAX = 64


class Lot(Struct, frozen=True, gc=False, omit_defaults=True):
    """An acquisition not yet used up: `quantity` and `cost` remain of `opened_quantity` and `opened_cost`."""

    lot_id: str
    opened_at: OpenedAt
    opened_quantity: Decimal
    opened_cost: Decimal
    quantity: Decimal
    cost: Decimal
    opened_nanos: int = 0  # of opened_at, beyond its microsecond

    @property
    def unit_cost(self) -> Decimal:
        """The cost a unit when it was opened, unsigned, to 18 places."""
        return abs(divide(self.opened_cost, self.opened_quantity))


class LotMatch(Struct, frozen=True, gc=False):
    """A part of a lot used up by a disposal: unsigned quantity, the cost released, the gain before money rounding."""

    lot_id: str
    quantity: Decimal
    cost: Decimal
    gain: Decimal


class LotChange(Struct, frozen=True, gc=False):
    """The change of one open lot by a restatement. `lot` describes in full a lot that was not open before."""

    lot: Lot
    quantity: Decimal
    cost: Decimal


class Entry(Struct, frozen=True, gc=False):
    """A trade or transfer as costing sees it; a transfer has a `cost`, and neither price nor commission.

    `lots` are those a transfer carries (none: it opens one of its own); `lot_ids` those assigned to a disposal. What is
    sent `is_at_cost` takes each lot at its own cost.
    """

    occurrence: Occurrence
    contract: Contract
    side: Side
    quantity: Decimal
    price: Decimal | None
    commission: Money | None = None
    cost: Decimal | None = None
    lots: tuple[Lot, ...] = ()
    lot_ids: tuple[str, ...] = ()
    further_commissions: tuple[Money, ...] = ()
    is_at_cost: bool = False

    @property
    def commissions(self) -> tuple[Money, ...]:
        """All fees of a trade, one a currency."""
        return (self.commission, *self.further_commissions) if self.commission is not None else ()

    @property
    def is_trade(self) -> bool:
        """Whether it is a trade, and no transfer."""
        return self.price is not None


class Effect(Struct, frozen=True, gc=False):
    """The effect of an entry on the book. All sums are changes, in settlement currency but for `quantity` and `fee`.

    `realized` is booked at the account's money places, `rounding` is the rest. `fee` is the part of the commission (in
    its own currency) that is an expense, `further_fees` are those of further commissions; `fee_cost` is the cost that
    left the position to pay a base-currency fee.
    """

    quantity: Decimal
    cost: Decimal
    realized: Decimal = ZERO
    rounding: Decimal = ZERO
    fee: Decimal = ZERO
    fee_cost: Decimal = ZERO
    opened: tuple[Lot, ...] = ()
    closed: tuple[LotMatch, ...] = ()
    further_fees: tuple[Money, ...] | UnsetType = UNSET


def expensed(effect: Effect, commission: Money) -> tuple[Money, ...]:
    """The fees of a trade that are an expense, one a currency, each in its own."""
    first = (Money(effect.fee, commission.currency),) if effect.fee else ()
    return first if effect.further_fees is UNSET else (*first, *effect.further_fees)


def paid_in_base(contract: Contract, commissions: Iterable[Money]) -> Money | None:
    """The fee of a spot trade that is paid out of what was traded; None if there is none."""
    if contract.kind is not Kind.SPOT:
        return None
    return next((paid for paid in commissions if paid.currency == contract.base), None)


class Lots(Struct, frozen=True, gc=False, eq=False):
    """Open lots, sorted as a cost basis uses them up. Persistent: a change leaves the old value as it was.

    Kept as chunks of at most `LOTS_CHUNK_MAX`, so that adding or removing a lot copies little, however many are open.
    """

    basis: CostBasis
    chunks: tuple[tuple[tuple[Any, Lot], ...], ...] = ()

    def __iter__(self) -> Iterator[Lot]:
        return (lot for _, lot in chain.from_iterable(self.chunks))

    def __bool__(self) -> bool:
        return bool(self.chunks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lots) and self.basis is other.basis and list(self) == list(other)

    def __hash__(self) -> int:
        return hash((self.basis, tuple(self)))

    @classmethod
    def of(cls, basis: CostBasis, lots: Iterable[Lot]) -> "Lots":
        """These lots, each in its place."""
        entries = sorted(((precedence(basis, lot), lot) for lot in lots), key=lambda entry: entry[0])
        half = LOTS_CHUNK_MAX // 2
        return cls(basis, tuple(tuple(entries[at : at + half]) for at in range(0, len(entries), half)))

    def add(self, lot: Lot) -> "Lots":
        """The lots with one more, in its place."""
        entry = (precedence(self.basis, lot), lot)
        if not self.chunks:
            return Lots(self.basis, ((entry,),))
        at = min(bisect_left(self.chunks, entry[0], key=lambda chunk: chunk[-1][0]), len(self.chunks) - 1)
        chunk = self.chunks[at]
        place = bisect_left(chunk, entry[0], key=lambda pair: pair[0])
        added = (*chunk[:place], entry, *chunk[place:])
        half = len(added) // 2
        parts = (added,) if len(added) <= LOTS_CHUNK_MAX else (added[:half], added[half:])
        return Lots(self.basis, self.chunks[:at] + parts + self.chunks[at + 1 :])

    def change(self, lot_id: str, quantity: Decimal, cost: Decimal) -> "Lots":
        """The lots with `quantity` and `cost` added to one of them; a lot left with neither is removed."""
        for at, chunk in enumerate(self.chunks):
            for place, (rank, lot) in enumerate(chunk):
                if lot.lot_id == lot_id:
                    left = Lot(
                        lot.lot_id, lot.opened_at, lot.opened_quantity, lot.opened_cost,
                        quantity=lot.quantity + quantity, cost=lot.cost + cost, opened_nanos=lot.opened_nanos,
                    )  # fmt: skip
                    kept = ((rank, left),) if left.quantity or left.cost else ()
                    shrunk = chunk[:place] + kept + chunk[place + 1 :]
                    return Lots(self.basis, self.chunks[:at] + ((shrunk,) if shrunk else ()) + self.chunks[at + 1 :])
        raise AssertionError(f"lot {lot_id} is not open")


def precedence(basis: CostBasis, lot: Lot) -> tuple[Any, ...]:
    """The sort key of a lot: a cost basis uses up lots from the lowest on."""
    age = by_age(basis, lot.opened_at, lot.opened_nanos, lot_id=lot.lot_id)
    match basis:
        case CostBasis.HIFO:
            return (-lot.unit_cost, *age)
        case CostBasis.LOFO:
            return (lot.unit_cost, *age)
        case _:
            return age


def by_age(basis: CostBasis, opened_at: OpenedAt, nanos: int, *, lot_id: str) -> tuple[Any, ...]:
    """The sort key of a lot among those of one cost: the oldest is used up first, under LIFO the newest."""
    at, parts = nanoseconds(opened_at.transact_time, nanos), natural(lot_id)
    if basis is CostBasis.LIFO:
        return (-at, -opened_at.trade_seq, _descending(parts))
    return (at, opened_at.trade_seq, parts)


def _descending(parts: tuple[str | int, ...]) -> tuple[Any, ...]:
    """A key in the opposite order of `natural`."""
    return (*(-part if isinstance(part, int) else (*(-ord(letter) for letter in part), 1) for part in parts), 1)


class Book(Struct, frozen=True, gc=False):
    """The quantity held, its cost, and the lots it is held in (none under AVERAGE)."""

    lots: Lots
    quantity: Decimal = ZERO
    cost: Decimal = ZERO


def empty(basis: CostBasis) -> Book:
    """A flat book."""
    return Book(Lots(basis))


def book_with(book: Book, effect: Effect) -> Book:
    """The book after an effect; only additions."""
    lots = book.lots
    for match in effect.closed:
        sign = -1 if book.quantity > 0 else 1
        lots = lots.change(match.lot_id, sign * match.quantity, -match.cost)
    for lot in effect.opened:
        lots = lots.add(lot)
    return Book(lots, book.quantity + effect.quantity, book.cost + effect.cost)


def effect_of(book: Book, entry: Entry, costing: Costing) -> Effect:
    """The effect of `entry` on `book`. A trade through zero closes all that is open, then opens the rest."""
    signed = entry.side.sign * entry.quantity
    if entry.price is None:
        assert entry.cost is not None, "a transfer states its cost"
        return _moved(book, entry, signed, value=entry.cost, price=None, costing=costing)
    contract = entry.contract
    value = contract.value(signed, entry.price)
    paid = entry.commissions
    in_base = paid_in_base(contract, paid)
    if costing.fee_policy is FeePolicy.CAPITALISED:
        in_settle = next((fee for fee in paid if fee.currency == contract.settle), None)
        if in_base is not None or in_settle is not None:
            bought = signed - in_base.amount if in_base is not None else signed
            value = value + in_settle.amount if in_settle is not None else value
            moved = _moved(book, entry, signed=bought, value=value, price=None, costing=costing)
            return _with_fees(moved, [fee for fee in paid if fee not in (in_base, in_settle)], entry)
    fee = entry.commission.amount if entry.commission else ZERO
    moved = _moved(book, entry, signed, value, price=entry.price, costing=costing, fee=fee)
    if in_base is not None and in_base.amount:
        moved = _pay_in_base(book, moved, entry, in_base.amount, price=entry.price, costing=costing)
    return _with_fees(moved, paid, entry)


def _with_fees(effect: Effect, fees: Iterable[Money], entry: Entry) -> Effect:
    """The effect of a trade with several commissions, of which `fees` are an expense."""
    if not entry.further_commissions:
        return effect
    amounts = {fee.currency: exact(fee.amount) for fee in fees if fee.amount}
    assert entry.commission is not None, "further commissions are beside a first one"
    first = amounts.pop(entry.commission.currency, ZERO)
    further = tuple(Money(amount, currency) for currency, amount in amounts.items())
    return replace(effect, fee=first, further_fees=further or UNSET)


def change_of_quantity(entry: Entry) -> Decimal:
    """The change of the quantity held by an entry: the same on every book."""
    signed, paid = entry.side.sign * entry.quantity, paid_in_base(entry.contract, entry.commissions)
    return signed - paid.amount if paid is not None else signed


def _moved(
    book: Book,
    entry: Entry,
    signed: Decimal,
    value: Decimal,
    price: Decimal | None,
    costing: Costing,
    fee: Decimal = ZERO,
) -> Effect:
    """The effect of `signed` quantity for `value`: first the part that closes, then the part that opens.

    With a `price` the closing part's value is its own quantity at that price; without, its share of `value`. `fee` is
    recorded as an expense.
    """
    closing = -book.quantity if abs(signed) > abs(book.quantity) else signed
    if not book.quantity or (signed > 0) == (book.quantity > 0):
        closing = ZERO
    opening = signed - closing
    cost = released = gain = close_value = ZERO
    matches: tuple[LotMatch, ...] = ()
    if closing:
        if not opening:
            close_value = value
        elif price is not None:
            close_value = entry.contract.value(closing, price)
        else:
            close_value = divide(value * closing, signed)
        if costing.cost_basis is CostBasis.AVERAGE:
            released = _part(book.cost, closing, book.quantity)
        else:
            matches = _match(book.lots, closing, value=close_value, price=price, entry=entry)
            released = sum((match.cost for match in matches), ZERO)
        gain = -close_value - released
    elif not opening:
        gain = -value  # the fee used up the whole quantity: nothing is held for the money
    if opening:
        cost = value - close_value
    lots: tuple[Lot, ...] = ()
    if opening and costing.cost_basis is not CostBasis.AVERAGE:
        lots = _opened(entry, exact(opening), exact(cost), is_whole=not closing)
    realized = rounded(gain, costing.money_places) if gain else ZERO
    rounding = exact(gain - realized) if gain else ZERO
    return Effect(
        quantity=exact(signed),
        cost=exact(cost - released),
        realized=realized,
        rounding=rounding,
        fee=fee,
        fee_cost=ZERO,
        opened=lots,
        closed=matches,
    )


def _opened(entry: Entry, quantity: Decimal, cost: Decimal, *, is_whole: bool) -> tuple[Lot, ...]:
    """The lots an entry opens: those it carries, if it opens all its quantity; else one of its own."""
    if entry.lots and is_whole:
        return entry.lots
    at = entry.occurrence
    return (
        Lot(
            at.exec_id, OpenedAt(at.transact_time, at.trade_seq, at.exec_id), opened_quantity=quantity,
            opened_cost=cost, quantity=quantity, cost=cost, opened_nanos=at.nanos,
        ),
    )  # fmt: skip


def _part(cost: Decimal, quantity: Decimal, whole: Decimal) -> Decimal:
    """The cost of `quantity` out of `whole`; all of it for all, so that a closed position leaves nothing behind."""
    return cost if abs(quantity) == abs(whole) else divide(cost * abs(quantity), abs(whole))


def _match(lots: Lots, closing: Decimal, value: Decimal, price: Decimal | None, entry: Entry) -> tuple[LotMatch, ...]:
    matches = []
    left, value_left = abs(closing), value
    for lot in _assigned_first(lots, entry.lot_ids):
        quantity = min(left, abs(lot.quantity))
        if entry.is_at_cost and quantity != left:
            share = -_part(lot.cost, quantity, lot.quantity)
        elif quantity == left:
            share = value_left
        elif price is not None:
            share = entry.contract.value(quantity.copy_sign(closing), price)
        else:
            share = divide(value * quantity, abs(closing))
        cost = _part(lot.cost, quantity, lot.quantity)
        matches.append(LotMatch(lot.lot_id, exact(quantity), exact(cost), exact(-share - cost)))
        left -= quantity
        value_left -= share
        if not left:
            return tuple(matches)
    raise AssertionError("open lots sum to the quantity held")


def _assigned_first(lots: Lots, assigned: tuple[str, ...]) -> Iterable[Lot]:
    """Assigned lots first, as they were named; then the others as the cost basis uses them up."""
    if not assigned:
        return lots
    named = {lot.lot_id: lot for lot in lots if lot.lot_id in assigned}
    first = [named[lot_id] for lot_id in assigned if lot_id in named]
    return chain(first, (lot for lot in lots if lot.lot_id not in named))


def release(book: Book, quantity: Decimal, costing: Costing) -> tuple[Decimal, tuple[Lot, ...]]:
    """The cost and lots of `quantity` (unsigned, at most what is held) that moves to another position.

    The lots keep their age; under AVERAGE there are none. Costs are signed like the book's.
    """
    if costing.cost_basis is CostBasis.AVERAGE:
        return exact(_part(book.cost, quantity, book.quantity)), ()
    moved, left = [], quantity
    for lot in book.lots:
        if not left:
            break
        part = min(left, abs(lot.quantity))
        signed, cost = exact(part.copy_sign(lot.quantity)), exact(_part(lot.cost, part, lot.quantity))
        moved.append(replace(lot, opened_quantity=signed, opened_cost=cost, quantity=signed, cost=cost))
        left -= part
    return exact(sum((lot.cost for lot in moved), ZERO)), tuple(moved)


def misplaced(matches: Iterable[LotMatch], held: Lots) -> tuple[LotMatch, ...]:
    """The matches of a cost basis kept over several accounts together whose lot the disposing account does not hold.

    Where a cost basis is kept over all accounts, the next lot may be in another account; such a disposal cannot be
    carried out as matched.
    """
    here = {lot.lot_id: abs(lot.quantity) for lot in held}
    return tuple(match for match in matches if here.get(match.lot_id, ZERO) < match.quantity)


def _pay_in_base(book: Book, moved: Effect, entry: Entry, fee: Decimal, price: Decimal, costing: Costing) -> Effect:
    """The effect with an expensed base-currency fee: the quantity falls by `fee` at cost, so paying it has no gain.

    Under AVERAGE the cost is the average after the fill; under lots that of the lot the fill opened, else of the next
    one. A flat or short position owes the fee: it increases at its average cost, or at the price when flat.
    """
    after = book_with(book, moved)
    if costing.cost_basis is CostBasis.AVERAGE and after.quantity and not 0 < after.quantity < fee:
        cost = divide(after.cost * fee, after.quantity) if fee != after.quantity else after.cost
        return _with(moved, quantity=moved.quantity - fee, cost=moved.cost - cost, fee=fee, fee_cost=cost)
    from_lot = ZERO
    if moved.opened:
        (lot,) = moved.opened
        from_lot = fee if lot.quantity < 0 else min(fee, lot.quantity)
        worth = entry.contract.value(from_lot, price)
        quantity, cost = exact(lot.quantity - from_lot), exact(lot.cost - worth)
        left = (
            (replace(lot, opened_quantity=quantity, opened_cost=cost, quantity=quantity, cost=cost),)
            if quantity
            else ()
        )
        moved = _with(moved, quantity=moved.quantity - from_lot, cost=moved.cost - worth, fee_cost=worth, opened=left)
    rest = exact(fee - from_lot)
    if not rest:
        return _with(moved, fee=fee)
    # The rest of the fee is taken from older lots, or makes the position short: a disposal at the fill's own price.
    worth = entry.contract.value(rest, price)
    paid = _moved(book=book_with(book, moved), entry=entry, signed=-rest, value=-worth, price=price, costing=costing)
    return _with(
        moved, quantity=moved.quantity + paid.quantity, cost=moved.cost + paid.cost,
        realized=moved.realized + paid.realized, rounding=moved.rounding + paid.rounding,
        fee=fee, fee_cost=moved.fee_cost + worth, opened=moved.opened or paid.opened, closed=moved.closed + paid.closed,
    )  # fmt: skip


def _with(effect: Effect, **changed: Any) -> Effect:
    exacted = {field: exact(value) if isinstance(value, Decimal) else value for field, value in changed.items()}
    return replace(effect, **exacted)


def _at_own_cost(book: Book, entry: Entry, costing: Costing) -> Entry:
    """What is sent at cost, with its cost on a book that holds it; a correction of no quantity without effect."""
    if not entry.quantity:
        return replace(entry, cost=ZERO)
    is_held = entry.quantity <= abs(book.quantity) and entry.side.sign * book.quantity < 0
    if not entry.is_at_cost or not is_held:
        return entry
    return replace(entry, cost=exact(-release(book, entry.quantity, costing)[0]))


def replay(
    entries: Iterable[Entry], costing: Costing, book: Book | None = None, *, is_recosted: bool = False
) -> tuple[list[Effect], Book]:
    """Every entry's effect in order of occurrence, and the resulting book: the same fills under other conventions.

    With `is_recosted`, what is sent at cost leaves at the cost that it has under these conventions, and what corrected
    the recorded cost has no effect.
    """
    current = book or empty(costing.cost_basis)
    effects = []
    for each in sorted(entries, key=lambda entry: entry.occurrence):
        entry = _at_own_cost(current, each, costing) if is_recosted and not each.is_trade else each
        effects.append(effect_of(current, entry, costing))
        current = book_with(current, effects[-1])
    return effects, current

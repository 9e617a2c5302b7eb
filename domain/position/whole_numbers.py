"""Costing of many entries in whole numbers: the sums of `domain.position.costing`, several times as fast.

A late entry changes all that occurred after it, but what is recorded of that are sums. Here entries are replayed for
their sums alone, in integers: quantities in units of 1e-18, money in the largest units of `UNITS` in which all values
of the position are whole (those of 1e-54 hold every product of a quantity, a price and a size). Divisions round as
`domain.values.divide` does, at 18 places. The result is that of `costing.effect_of` and `costing.book_with` for every
cost basis and fee policy, to the last digit.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Kind
from domain.position import costing
from domain.position.costing import Book, Entry, Lot, Lots
from domain.values import EPOCH, EXACT, ZERO, Occurrence, OpenedAt, exact

QUANTITY_PLACES = 18
MONEY_PLACES = 54  # of totals
SLOT_SECONDS = 1800
HALF_HOUR = timedelta(seconds=SLOT_SECONDS)
_new_lot = tuple.__new__
_CHUNK = costing.LOTS_CHUNK_MAX // 2


class HeldLot(NamedTuple):
    """An open lot in whole numbers, with its precedence first: held lots are sorted by it."""

    precedence: Any
    lot_id: str
    quantity: int
    cost: int
    opened_at: tuple[OpenedAt, int]  # and nanoseconds
    opened_quantity: int
    opened_cost: int


class State(NamedTuple):
    """A book in whole numbers."""

    quantity: int
    cost: int
    lots: tuple[HeldLot, ...] = ()


class Units(NamedTuple):
    """The units of money: 10^-`places`. Prices are counted in 10^-`price_places`."""

    places: int
    price_places: int
    per_place: int  # units in 10^-18
    per_price: int  # parts of a unit in the product of a quantity and a price
    in_total: int  # the units of totals in one


UNITS = tuple(
    Units(
        places,
        price_places,
        per_place=10 ** (places - 18),
        per_price=10 ** (18 + price_places - places),
        in_total=10 ** (MONEY_PLACES - places),
    )
    for places, price_places in ((18, 18), (36, 18), (54, 36))
)


class TooFine(ArithmeticError):
    """A number is not whole in these units."""


class Totals(NamedTuple):
    """The changes that entries made: of cost, realized, realized + rounding, and the cost of fees, in whole numbers."""

    cost: int = 0
    realized: int = 0
    gain: int = 0
    fee_cost: int = 0

    def plus(self, other: "Totals", sign: int = 1) -> "Totals":
        """The totals with others added, or with `sign` -1 subtracted."""
        return Totals(*(mine + sign * theirs for mine, theirs in zip(self, other, strict=True)))


class Row(NamedTuple):
    """An entry in whole numbers.

    `each` is the value of one unit of quantity where a part of the entry is worth its own quantity at the entry's
    price, None where it is worth its share of `value`, the entry itself where its contract computes it (inverse).
    `fee` is a fee in base currency that is an expense. `lot` is the lot that the entry opens if all of it opens. A row
    that `is_plain` has no such fee, carries no lots, was assigned none, and has a quantity.
    """

    signed: int
    value: int
    each: Any
    fee: int
    entry: Entry
    lot: HeldLot | None
    is_plain: bool


def whole(number: Decimal, places: int) -> int:
    """A number as a count of units of 10^-places."""
    scaled = number.scaleb(places, EXACT)
    count = int(scaled)
    if count != scaled:
        raise TooFine
    return count


def _times(quantity: int, price: int, units: Units) -> int:
    value, rest = divmod(quantity * price, units.per_price)
    if rest:
        raise TooFine
    return value


def decimal_of(count: int, places: int) -> Decimal:
    """A count of units of 10^-places as a number, canonical."""
    return exact(Decimal(count).scaleb(-places, EXACT)) if count else ZERO


def slot_of(place: Occurrence) -> int:
    """The half hour of an occurrence, counted from 1970."""
    return (place.transact_time - EPOCH) // HALF_HOUR


def half_hour_start(slot: int) -> datetime:
    """The start of a half hour, counted from 1970."""
    return EPOCH + slot * HALF_HOUR


class Rows(NamedTuple):
    """Consecutive entries in whole numbers.

    `first_in` are the same as the replay of lots in the order of their opening needs them: signed quantity, value, the
    lot that the entry opens if all of it opens, and the row. None if another replay is needed.
    """

    rows: Sequence[Row]
    first_in: Sequence[tuple[int, int, HeldLot, Row]] | None = None

    def part(self, first: int, end: int) -> "Rows":
        """The entries from one up to another."""
        return Rows(self.rows[first:end], None if self.first_in is None else self.first_in[first:end])

    def followed_by(self, others: "Rows") -> "Rows":
        """These entries and others, which occurred after them."""
        first_in = None
        if self.first_in and others.first_in and self.first_in[-1][2][0] < others.first_in[0][2][0]:
            first_in = [*self.first_in, *others.first_in]
        return Rows([*self.rows, *others.rows], first_in)


_FIRST_IN = (CostBasis.FIFO, CostBasis.SPECIFIC)


def rows_of(entries: Iterable[Entry], conventions: Costing, units: Units) -> Rows:
    """Entries in order of occurrence in whole numbers. Raises TooFine."""
    rows = [row_of(entry, conventions, units) for entry in entries]
    if conventions.cost_basis not in _FIRST_IN:
        return Rows(rows)
    first_in = [(row.signed, row.value, row.lot, row) for row in rows if row.is_plain and row.lot is not None]
    is_ascending = all(one[2][0] < other[2][0] for one, other in pairwise(first_in))
    return Rows(rows, first_in if len(first_in) == len(rows) and is_ascending else None)


def row_of(entry: Entry, conventions: Costing, units: Units) -> Row:
    """An entry in whole numbers. Raises TooFine."""
    places = units.places
    signed = whole(entry.quantity, QUANTITY_PLACES) * entry.side.sign
    fee = 0
    each: Any = None
    if entry.price is None:
        assert entry.cost is not None, "a transfer states its cost"
        value = whole(entry.cost, places)
    else:
        contract = entry.contract
        if contract.kind is Kind.INVERSE:
            value, each = whole(contract.value(entry.side.sign * entry.quantity, entry.price), places), entry
        else:
            each = whole(entry.price * contract.contract_size, units.price_places)
            value = _times(signed, each, units)
        is_capitalised = conventions.fee_policy is FeePolicy.CAPITALISED
        for paid in entry.commissions:
            is_base_fee = contract.kind is Kind.SPOT and paid.currency == contract.base
            if is_base_fee and is_capitalised:
                signed, each = signed - whole(paid.amount, QUANTITY_PLACES), None
            elif is_base_fee:
                fee = whole(paid.amount, QUANTITY_PLACES)
            elif is_capitalised and paid.currency == contract.settle:
                value, each = value + whole(paid.amount, places), None
    lot = None
    if conventions.cost_basis is not CostBasis.AVERAGE and signed:
        part = min(fee, signed) if signed > 0 else fee
        if signed - part:
            worth = _times(part, each, units) if part else 0
            left, cost = (signed - part, value - worth) if part else (signed, value)  # one number is kept once
            lot = _lot(conventions.cost_basis, entry, left, cost, units=units)
    is_plain = bool(signed) and not fee and not entry.lots and not entry.lot_ids
    return Row(signed, value, each, fee, entry=entry, lot=lot, is_plain=is_plain)


def _lot(basis: CostBasis, entry: Entry, quantity: int, cost: int, units: Units) -> HeldLot:
    at = entry.occurrence
    opened_at = OpenedAt(at.transact_time, at.trade_seq, at.exec_id)
    if basis not in (CostBasis.HIFO, CostBasis.LOFO):
        precedence = costing.by_age(basis, opened_at, at.nanos, lot_id=at.exec_id)
    else:
        signed, paid = decimal_of(quantity, QUANTITY_PLACES), decimal_of(cost, units.places)
        lot = Lot(
            at.exec_id, opened_at, opened_quantity=signed, opened_cost=paid, quantity=signed, cost=paid,
            opened_nanos=at.nanos,
        )  # fmt: skip
        precedence = costing.precedence(basis, lot)
    made = (precedence, at.exec_id, quantity, cost, (opened_at, at.nanos), quantity, cost)
    return _new_lot(HeldLot, made)


def state_of(book: Book, units: Units) -> State:
    """A book in whole numbers. Raises TooFine."""
    lots = tuple(_held(book.lots.basis, lot, units) for lot in book.lots)
    return State(whole(book.quantity, QUANTITY_PLACES), whole(book.cost, units.places), lots)


def _held(basis: CostBasis, lot: Lot, units: Units) -> HeldLot:
    return HeldLot(
        costing.precedence(basis, lot), lot.lot_id, whole(lot.quantity, QUANTITY_PLACES), whole(lot.cost, units.places),
        opened_at=(lot.opened_at, lot.opened_nanos), opened_quantity=whole(lot.opened_quantity, QUANTITY_PLACES),
        opened_cost=whole(lot.opened_cost, units.places),
    )  # fmt: skip


def book_of(state: State, basis: CostBasis, units: Units) -> Book:
    """The book of a state."""
    entries = tuple((held.precedence, _open(held, units.places)) for held in state.lots)
    chunks = tuple(entries[at : at + _CHUNK] for at in range(0, len(entries), _CHUNK))
    quantity, cost = decimal_of(state.quantity, QUANTITY_PLACES), decimal_of(state.cost, units.places)
    return Book(Lots(basis, chunks), quantity, cost)


def _open(held: HeldLot, places: int) -> Lot:
    quantity, cost = decimal_of(held.quantity, QUANTITY_PLACES), decimal_of(held.cost, places)
    if held.quantity == held.opened_quantity and held.cost == held.opened_cost:
        opened_quantity, opened_cost = quantity, cost
    else:
        opened_quantity = decimal_of(held.opened_quantity, QUANTITY_PLACES)
        opened_cost = decimal_of(held.opened_cost, places)
    opened_at, nanos = held.opened_at
    return Lot(
        held.lot_id, opened_at, opened_quantity, opened_cost, quantity=quantity, cost=cost, opened_nanos=nanos
    )  # fmt: skip


def replayed(state: State, rows: Rows, conventions: Costing, units: Units) -> tuple[State, Totals]:
    """The book after entries in their order, and what they changed together. Raises TooFine."""
    unit = 10 ** (units.places - conventions.money_places)
    if conventions.cost_basis is CostBasis.AVERAGE:
        after, totals = _at_average(state, rows.rows, unit, units)
    elif rows.first_in and (not state.lots or state.lots[-1][0] < rows.first_in[0][2][0]):
        after, totals = _first_in(state, rows.first_in, conventions.cost_basis, unit=unit, units=units)
    else:
        after, totals = _with_lots(state, rows.rows, conventions.cost_basis, unit=unit, units=units)
    factor = units.in_total
    return after, Totals(*(total * factor for total in totals))


def _divided(dividend: int, divisor: int, units: Units) -> int:
    """dividend / divisor as money, rounded half to even at 18 places; `dividend` is money times `divisor`'s units."""
    if divisor < 0:
        dividend, divisor = -dividend, -divisor
    divisor *= units.per_place
    quotient, rest = divmod(dividend, divisor)
    rest += rest
    if rest > divisor or (rest == divisor and quotient & 1):
        quotient += 1
    return quotient * units.per_place


def _rounded(money: int, unit: int) -> int:
    quotient, rest = divmod(money, unit)
    rest += rest
    if rest > unit or (rest == unit and quotient & 1):
        quotient += 1
    return quotient * unit


def _closing_value(row: Row, signed: int, value: int, closing: int, units: Units) -> int:
    """The value of the part of an entry that closes, where another part opens."""
    each = row.each
    if each is None:
        return _divided(value * closing, signed, units)
    if isinstance(each, int):
        return _times(closing, each, units)
    closed = each.contract.value(decimal_of(closing, QUANTITY_PLACES), each.price)
    return whole(closed, units.places)


def _at_average(state: State, rows: Sequence[Row], unit: int, units: Units) -> tuple[State, Totals]:
    quantity, cost = state.quantity, state.cost
    per_place, twice, half = units.per_place, 2 * units.per_place, unit // 2
    realized = gains = fee_cost = 0
    for row in rows:
        signed, value, _, fee, _, _, _ = row
        if signed > 0 if quantity > 0 else signed < 0 if quantity else signed:
            quantity += signed
            cost += value
        else:
            left = quantity + signed
            if left > 0 if quantity > 0 else left < 0:
                # `-_divided(cost * signed, quantity)` in place: most of the time is spent here
                divisor = quantity * twice
                released, rest = divmod(quantity * per_place - 2 * cost * signed, divisor)
                if not rest and released & 1:
                    released -= 1
                released *= per_place
                gain = -value - released
                cost -= released
            elif not left:
                gain = -value - cost
                cost = 0
            else:
                closed = _closing_value(row, signed, value, -quantity, units=units)
                gain = -closed - cost
                cost = value - closed
            quantity = left
            gains += gain
            part, rest = divmod(gain + half, unit)
            if not rest and part & 1 and half:
                part -= 1
            realized += part
        if fee:
            if quantity and not 0 < quantity < fee:
                paid = cost if fee == quantity else _divided(cost * fee, quantity, units)
                cost -= paid
            else:
                paid = _times(fee, row.each, units)
                if quantity:
                    gain = _times(quantity, row.each, units) - cost
                    gains += gain
                    realized += _rounded(gain, unit) // unit
                cost = _times(quantity - fee, row.each, units)
            quantity -= fee
            fee_cost += paid
    return State(quantity, cost), Totals(cost - state.cost, realized * unit, gains, fee_cost)


def _first_in(
    state: State, rows: Sequence[tuple[int, int, HeldLot, Row]], basis: CostBasis, unit: int, units: Units
) -> tuple[State, Totals]:
    """As `_with_lots`, of plain rows and lots in the order of their opening; the first lot's amounts are kept apart."""
    quantity, cost, held = state.quantity, state.cost, list(state.lots)
    per_place, half = units.per_place, unit // 2
    realized = gains = first = 0
    left, left_cost = held[0][2:4] if held else (0, 0)
    for signed, value, lot, row in rows:
        if signed > 0 if quantity > 0 else signed < 0 if quantity else True:
            if not quantity:
                left, left_cost = signed, value
            held.append(lot)
            quantity += signed
            cost += value
            continue
        after = quantity + signed
        if after > 0 if quantity > 0 else after < 0:
            wanted = -signed  # signed as what is held
            released = 0
            while wanted >= left if quantity > 0 else wanted <= left:
                released += left_cost
                wanted -= left
                first += 1
                left, left_cost = held[first][2:4]
            if wanted:
                part, rest = divmod(2 * left_cost * wanted + left * per_place, 2 * left * per_place)
                if not rest and part & 1:
                    part -= 1
                part *= per_place
                released += part
                left -= wanted
                left_cost -= part
            gain = -value - released
            cost -= released
        else:
            closed = _closing_value(row, signed, value, -quantity, units=units) if after else value
            gain = -closed - cost
            cost = value - closed
            held, first = [_lot(basis, row.entry, after, cost, units=units)] if after else [], 0
            left, left_cost = (after, cost) if after else (0, 0)
        quantity = after
        gains += gain
        part, rest = divmod(gain + half, unit)
        if not rest and part & 1 and half:
            part -= 1
        realized += part
    if first < len(held):
        held[first] = _changed(held[first], left, left_cost)
    return State(quantity, cost, tuple(held[first:])), Totals(cost - state.cost, realized * unit, gains, 0)


def _changed(lot: HeldLot, quantity: int, cost: int) -> HeldLot:
    return lot if lot[2] == quantity and lot[3] == cost else _new_lot(HeldLot, (*lot[:2], quantity, cost, *lot[4:]))


def _with_lots(  # noqa: PLR0912, PLR0915 (calls would take half of the time)
    state: State, rows: Sequence[Row], basis: CostBasis, unit: int, units: Units
) -> tuple[State, Totals]:
    quantity, cost, held = state.quantity, state.cost, list(state.lots)
    half = unit // 2
    realized = gains = fee_cost = 0
    for row in rows:
        signed, value, _, fee, entry, lot, _ = row
        part = rest = 0
        if (signed > 0 and quantity >= 0) or (signed < 0 and quantity <= 0):
            if fee:
                part = min(fee, signed) if signed > 0 else fee
            if entry.lots:
                for carried in entry.lots:
                    insort(held, _held(basis, carried, units))
            elif lot is not None:
                if held and lot[0] <= held[-1][0]:
                    insort(held, lot)
                else:
                    held.append(lot)
            opened_value = value
        else:
            closing = -quantity if abs(signed) > abs(quantity) else signed
            opening = signed - closing
            closed = _closing_value(row, signed, value, closing, units=units) if opening else value
            released = 0
            if closing:
                wanted = -closing if closing < 0 else closing
                released = _used(held, wanted, entry.lot_ids, units) if entry.lot_ids else _use(held, wanted, units)[1]
            gain = -closed - released
            gains += gain
            rounded, rest = divmod(gain + half, unit)
            if not rest and rounded & 1 and half:
                rounded -= 1
            realized += rounded * unit
            opened_value = value - closed
            cost -= released
            if opening:
                if fee:
                    part = min(fee, opening) if opening > 0 else fee
                if opening - part:
                    own_value = opened_value - (_times(part, row.each, units) if part else 0)
                    insort(held, _lot(basis, entry, opening - part, own_value, units=units))
            else:
                opened_value = 0
        quantity += signed - part
        cost += opened_value
        if fee:
            worth = _times(part, row.each, units) if part else 0
            cost -= worth
            rest = fee - part
            if rest:
                change, gain = _paid_from(held, rest, quantity, row=row, basis=basis, units=units)
                fee_cost += _times(rest, row.each, units)
                cost += change
                gains += gain
                realized += _rounded(gain, unit)
                quantity -= rest
            fee_cost += worth
    return State(quantity, cost, tuple(held)), Totals(cost - state.cost, realized, gains, fee_cost)


def _paid_from(
    held: list[HeldLot], fee: int, quantity: int, *, row: Row, basis: CostBasis, units: Units
) -> tuple[int, int]:
    """Dispose of a fee at the fill's own price, from the lots held, or make the position short; the change of cost and
    the gain.
    """
    paid = _times(fee, row.each, units)
    if quantity <= 0:
        insort(held, _lot(basis, row.entry, -fee, -paid, units=units))
        return -paid, 0
    closing = min(fee, quantity)
    released = _used(held, closing, row.entry.lot_ids, units)
    gain = _times(closing, row.each, units) - released
    if fee == closing:
        return -released, gain
    opened = _times(closing - fee, row.each, units)
    insort(held, _lot(basis, row.entry, closing - fee, opened, units=units))
    return opened - released, gain


def _used(held: list[HeldLot], quantity: int, named: Iterable[str], units: Units) -> int:
    """Use up lots, those named first; the cost released."""
    released = 0
    for lot_id in named:
        at = next((at for at, lot in enumerate(held) if lot.lot_id == lot_id), None)
        if at is not None and quantity:
            first = [held.pop(at)]
            quantity, cost = _use(first, quantity, units)
            released += cost
            held[at:at] = first
    _, cost = _use(held, quantity, units)
    return released + cost


def _use(held: list[HeldLot], quantity: int, units: Units) -> tuple[int, int]:
    """Use up lots from the first on; the quantity still wanted, and the cost released."""
    released = count = 0
    for lot in held:
        if not quantity:
            break
        precedence, lot_id, of_lot, whole_cost, opened_at, opened_quantity, opened_cost = lot
        left = of_lot - quantity if of_lot > 0 else of_lot + quantity
        if left > 0 if of_lot > 0 else left < 0:
            divisor = 2 * of_lot * units.per_place
            cost, rest = divmod(2 * whole_cost * (of_lot - left) + divisor // 2, divisor)
            if not rest and cost & 1:
                cost -= 1
            cost *= units.per_place
            changed = (precedence, lot_id, left, whole_cost - cost, opened_at, opened_quantity, opened_cost)
            held[count] = _new_lot(HeldLot, changed)
            released += cost
            quantity = 0
            break
        released += whole_cost
        quantity -= of_lot if of_lot > 0 else -of_lot
        count += 1
    del held[:count]
    return quantity, released

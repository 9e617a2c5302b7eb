"""Lots of one coin, and the order in which a cost basis uses them up.

A lot is an acquisition; `Held` is what is left of it in one place. A part of a lot costs its share of what is left of
the lot's cost, rounded once at 18 places; the last part is the remainder, so that the parts sum to the whole.
Under AVERAGE all units cost alike: the pool's cost is divided once for each disposal, and the oldest lots go first, so
that a holding period is known.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from domain.account import CostBasis
from domain.holdings.gains.movements import What, Worth
from domain.values import ZERO, divide, exact, nanoseconds


class Lot(Struct, frozen=True, gc=False):
    """An acquisition: what brought it, how much, and at what cost. `order` is its place among all acquisitions.

    `acquired_at` is None where the acquisition is not on record. A redenominated lot has the quantity in the new coin.
    """

    what: What
    coin: str
    quantity: Decimal
    cost: Worth
    acquired_at: datetime | None
    order: int

    @property
    def lot_id(self) -> str:
        """The id of the report that acquired it: what specific identification names."""
        return self.what.reference

    @property
    def age(self) -> tuple[int, int]:
        """The key of order of occurrence."""
        return nanoseconds(self.acquired_at or self.what.at), self.order

    @property
    def unit_cost(self) -> Decimal | None:
        """The cost a unit, to 18 places."""
        return None if self.cost.amount is None else divide(self.cost.amount, self.quantity)


class Held:
    """What is left of a lot in one place; its cost is None where the lot's is not known."""

    __slots__ = ("cost", "lot", "quantity")

    def __init__(self, lot: Lot, quantity: Decimal, cost: Decimal | None) -> None:
        self.lot = lot
        self.quantity = quantity
        self.cost = cost

    def take(self, quantity: Decimal) -> "Part":
        """Use up at most a quantity of it."""
        if quantity >= self.quantity:
            part = Part(self.lot, self.quantity, self.cost)
            self.quantity, self.cost = ZERO, None if self.cost is None else ZERO
            return part
        cost = None if self.cost is None else divide(self.cost * quantity, self.quantity)
        self.quantity = exact(self.quantity - quantity)
        if self.cost is not None and cost is not None:
            self.cost = exact(self.cost - cost)
        return Part(self.lot, quantity, cost)


class Part(NamedTuple):
    """A part of a lot that was used up, and its cost. No lot: a quantity whose acquisition is not on record."""

    lot: Lot | None
    quantity: Decimal
    cost: Decimal | None


class Pool(Protocol):
    """The lots of one coin in one place."""

    def add(self, held: Held) -> None:
        """Add a lot, or what is left of one."""

    def take(self, quantity: Decimal, named: "Named") -> list[Part]:
        """Use up a quantity, in the order of the cost basis; the last part has no lot if there is not enough."""

    def held(self) -> Iterator[Held]:
        """Yield what is left, the oldest first."""


class Named(NamedTuple):
    """The lots that a disposal names, and its instrument: a lot acquired in that one goes before another."""

    lot_ids: tuple[str, ...] = ()
    instrument_id: str = ""


NONE_NAMED = Named()


def pool(basis: CostBasis) -> Pool:
    """An empty pool of a cost basis."""
    return Average() if basis is CostBasis.AVERAGE else Ranked(basis)


def _precedence(basis: CostBasis, lot: Lot) -> tuple[Any, ...]:
    """The key that sorts lots as a cost basis uses them up; lots of unknown cost rank last by cost."""
    age = lot.age
    match basis:
        case CostBasis.LIFO:
            return -age[0], -age[1]
        case CostBasis.HIFO | CostBasis.LOFO:
            unit = lot.unit_cost
            if unit is None:
                return True, ZERO, age
            return False, -unit if basis is CostBasis.HIFO else unit, age
        case _:
            return age


class Ranked:
    """Lots that are used up one after the other, ranked by age or unit cost."""

    def __init__(self, basis: CostBasis) -> None:
        self._basis = basis
        self._heap: list[tuple[Any, int, Held]] = []
        self._numbers = count()
        self._by_id: dict[str, list[Held]] = {}

    def add(self, held: Held) -> None:
        """Add a lot, or what is left of one."""
        heappush(self._heap, (_precedence(self._basis, held.lot), next(self._numbers), held))
        if self._basis is CostBasis.SPECIFIC:
            self._by_id.setdefault(held.lot.lot_id, []).append(held)

    def take(self, quantity: Decimal, named: Named = NONE_NAMED) -> list[Part]:
        """Use up named lots, then others in their order."""
        parts: list[Part] = []
        for held in self._named(named):
            if not quantity:
                return parts
            parts.append(held.take(quantity))
            quantity = exact(quantity - parts[-1].quantity)
        while quantity and self._heap:
            held = self._heap[0][2]
            if held.quantity:
                parts.append(held.take(quantity))
                quantity = exact(quantity - parts[-1].quantity)
            if not held.quantity:
                heappop(self._heap)
                self._forget(held)
        return [*parts, Part(None, quantity, None)] if quantity else parts

    def _named(self, named: Named) -> Iterator[Held]:
        if self._basis is not CostBasis.SPECIFIC:
            return
        for lot_id in named.lot_ids:
            found = [held for held in self._by_id.get(lot_id, ()) if held.quantity]
            yield from sorted(
                found, key=lambda held: (held.lot.what.instrument_id != named.instrument_id, held.lot.age)
            )

    def _forget(self, held: Held) -> None:
        if (known := self._by_id.get(held.lot.lot_id)) is not None:
            known.remove(held)
            if not known:
                del self._by_id[held.lot.lot_id]

    def held(self) -> Iterator[Held]:
        """Yield what is left, the oldest first."""
        left = (held for _, _, held in self._heap if held.quantity)
        yield from sorted(left, key=lambda held: held.lot.age)


class Average:
    """Lots that all cost alike a unit. While one of them has no known cost, the pool has none."""

    def __init__(self) -> None:
        self._lots = Ranked(CostBasis.FIFO)
        self._quantity = ZERO
        self._cost: Decimal | None = ZERO

    def add(self, held: Held) -> None:
        """Add a lot, or what is left of one."""
        self._lots.add(held)
        self._quantity = exact(self._quantity + held.quantity)
        self._cost = None if self._cost is None or held.cost is None else exact(self._cost + held.cost)

    def take(self, quantity: Decimal, named: Named = NONE_NAMED) -> list[Part]:  # noqa: ARG002 (all units are alike)
        """Use up the oldest lots, at their share of the pool's cost."""
        parts = self._lots.take(quantity)
        missing = parts.pop() if parts and parts[-1].lot is None else None
        taken = exact(sum((part.quantity for part in parts), ZERO))
        cost = None
        if self._cost is not None:
            cost = self._cost if taken == self._quantity else divide(self._cost * taken, self._quantity)
        shared = split(cost, [part.quantity for part in parts])
        self._quantity = exact(self._quantity - taken)
        if not self._quantity:
            self._cost = ZERO
        elif self._cost is not None and cost is not None:
            self._cost = exact(self._cost - cost)
        found = [Part(part.lot, part.quantity, share) for part, share in zip(parts, shared, strict=True)]
        return found if missing is None else [*found, missing]

    def held(self) -> Iterator[Held]:
        """Yield what is left, the oldest first, each at its share of the pool's cost."""
        left = list(self._lots.held())
        for one, cost in zip(left, split(self._cost, [held.quantity for held in left]), strict=True):
            yield Held(one.lot, one.quantity, cost)


def split(amount: Decimal | None, quantities: list[Decimal]) -> list[Decimal | None]:
    """An amount shared out in proportion to quantities, each share rounded once; the last one is the remainder."""
    shares: list[Decimal | None] = []
    left, quantity_left = amount, sum(quantities, ZERO)
    for quantity in quantities:
        if left is None:
            shares.append(None)
            continue
        share = left if quantity == quantity_left else divide(left * quantity, quantity_left)
        left, quantity_left = exact(left - share), quantity_left - quantity
        shares.append(share)
    return shares

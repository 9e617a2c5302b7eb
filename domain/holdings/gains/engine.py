"""Gains: movements of coins in order of occurrence, matched with the lots they use up.

Lots are kept for each account, or over all accounts together. Lots that go from one account of ours to another keep
their cost and date; nothing is disposed of. A disposal uses only lots that were acquired before it. What no lot covers
is matched with none: its cost is not known, and it stays counted as uncovered.

Of each place and coin, exactly: acquired + moved + uncovered = disposed + removed + left, in quantity; and, but for
what is uncovered, in cost, where every acquisition is valued.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.account import CostBasis
from domain.holdings.gains.lots import NONE_NAMED, Held, Lot, Named, Part, Pool, pool, split
from domain.holdings.gains.movements import (
    Acquired,
    Arrived,
    Borrowed,
    Charged,
    Departed,
    Disposed,
    Earned,
    Kind,
    Movement,
    Received,
    Redenominated,
    Removed,
    Repaid,
    What,
    Worth,
    exact_rate,
)
from domain.values import ZERO, exact

DAY = timedelta(days=1)
AVERAGE_UNKNOWN = "an average cost of {coin}: a part of it has no known cost"
NOT_ON_RECORD = "no acquisition on record of {quantity:f} {coin}"


class Scope(StrEnum):
    """Where the lots of a disposal are looked for: in its own account, or over all accounts."""

    ACCOUNT = "ACCOUNT"
    ALL = "ALL"


class Withdrawals(StrEnum):
    """What a withdrawal to outside is: its coins are REMOVED with their lots, or DISPOSED of at their market value."""

    REMOVED = "REMOVED"
    DISPOSED = "DISPOSED"


class Taken(Struct, frozen=True, gc=False):
    """A part of a lot that left the book with a removal; no lot where none is on record."""

    what: What
    coin: str
    quantity: Decimal
    lot: Lot | None
    cost: Decimal | None


class Match(Struct, frozen=True, gc=False):
    """A part of a disposal and the part of a lot that it used up. `line` numbers the parts of a disposal, from 1.

    No `lot`: its acquisition is not on record. No `cost` or `proceeds`: a rate is lacking.
    """

    disposed: Disposed
    line: int
    quantity: Decimal
    proceeds: Decimal | None
    lot: Lot | None
    cost: Decimal | None

    @property
    def gain(self) -> Decimal | None:
        """Proceeds less cost; None unless both are known."""
        return None if self.proceeds is None or self.cost is None else exact(self.proceeds - self.cost)

    @property
    def holding_days(self) -> int | None:
        """Whole days of 24 hours from acquisition to disposal; None if the acquisition is not on record."""
        acquired_at = self.lot.acquired_at if self.lot is not None else None
        return None if acquired_at is None else (self.disposed.what.at - acquired_at) // DAY

    def is_long_term(self, long_term_days: int) -> bool | None:
        """Whether the lot was held for so many days; None if that is not known."""
        return None if self.holding_days is None else self.holding_days >= long_term_days

    @property
    def lacking(self) -> tuple[str, ...]:
        """Why it has no gain; empty if it has one."""
        reasons = []
        if self.lot is None:
            reasons.append(NOT_ON_RECORD.format(quantity=self.quantity, coin=self.disposed.coin))
        elif self.cost is None:
            reasons.append(self.lot.cost.lacking or AVERAGE_UNKNOWN.format(coin=self.lot.coin))
        if self.proceeds is None:
            reasons.append(self.disposed.proceeds.lacking)
        return tuple(dict.fromkeys(reasons))


class Flow(Struct):
    """What moved of one coin in one place: quantities and, of known ones, costs.

    `unvalued` is what was acquired at an unknown cost. `moved` is signed: what came from other places of ours or by a
    redenomination, less what went. `uncovered` is what was disposed of, removed or moved and never acquired on record.
    """

    acquired: Decimal = ZERO
    acquired_cost: Decimal = ZERO
    unvalued: Decimal = ZERO
    disposed: Decimal = ZERO
    disposed_cost: Decimal = ZERO
    uncovered: Decimal = ZERO
    removed: Decimal = ZERO
    removed_cost: Decimal = ZERO
    moved: Decimal = ZERO
    moved_cost: Decimal = ZERO

    def add(self, name: str, quantity: Decimal, cost: Decimal | None) -> None:
        """Add a quantity, and its cost where that is known."""
        setattr(self, name, exact(getattr(self, name) + quantity))
        if cost is not None:
            setattr(self, f"{name}_cost", exact(getattr(self, f"{name}_cost") + cost))


class _Debt:
    """What is owed of a loan, and the worth at which it was received."""

    __slots__ = ("quantity", "worth")

    def __init__(self, quantity: Decimal, worth: Worth) -> None:
        self.quantity = quantity
        self.worth = worth


class Gains:
    """Lots of all coins, and what moved; `apply` takes movements in order of occurrence.

    `basis_of` is the cost basis of an account, or of "" where lots are kept over all accounts. `removed` receives the
    parts of lots that left the book.
    """

    def __init__(self, scope: Scope, basis_of: Callable[[str], CostBasis]) -> None:
        self._scope = scope
        self._basis_of = basis_of
        self._pools: dict[tuple[str, str], Pool] = {}
        self._flows: dict[tuple[str, str], Flow] = {}
        self._transit: dict[tuple[str, str], list[Held]] = {}
        self._debts: dict[tuple[str, str], list[_Debt]] = {}
        self._order = 0
        self.removed: list[Taken] = []

    def apply(self, movement: Movement) -> list[Match]:
        """The matches that a movement makes."""
        match movement:
            case Acquired():
                self._acquire(movement)
            case Disposed():
                return self._dispose(movement)
            case Borrowed(what=what, coin=coin, quantity=quantity, worth=worth):
                self._debts.setdefault(self._place(what, coin), []).append(_Debt(quantity, worth))
                self._acquire(Acquired(what, coin, quantity, worth))
            case Repaid():
                found = [match for disposed in self._settle(movement) for match in self._dispose(disposed)]
                return [replace(match, line=line) for line, match in enumerate(found, 1)]
            case Removed(what=what, coin=coin, quantity=quantity):
                for part in self._take(what, coin, quantity):
                    self._flow(self._place(what, coin)).add("removed", part.quantity, part.cost)
                    self.removed.append(Taken(what, coin, part.quantity, part.lot, cost=part.cost))
            case Departed():
                self._depart(movement)
            case Arrived():
                self._arrive(movement)
            case Redenominated():
                self._redenominate(movement)
            case Received() | Earned() | Charged():
                pass
            case _:
                assert_never(movement)
        return []

    def _place(self, what: What, coin: str) -> tuple[str, str]:
        return ("" if self._scope is Scope.ALL else what.account_id), coin

    def _pool(self, place: tuple[str, str]) -> Pool:
        if (known := self._pools.get(place)) is None:
            known = self._pools[place] = pool(self._basis_of(place[0]))
        return known

    def _flow(self, place: tuple[str, str]) -> Flow:
        return self._flows.setdefault(place, Flow())

    def _acquire(self, acquired: Acquired) -> None:
        self._order += 1
        what, place = acquired.what, self._place(acquired.what, acquired.coin)
        lot = Lot(
            what, acquired.coin, acquired.quantity, acquired.cost, acquired_at=acquired.acquired_at or what.at,
            order=self._order,
        )  # fmt: skip
        self._pool(place).add(Held(lot, lot.quantity, lot.cost.amount))
        flow = self._flow(place)
        flow.add("acquired", lot.quantity, lot.cost.amount)
        if lot.cost.amount is None:
            flow.unvalued = exact(flow.unvalued + lot.quantity)

    def _take(self, what: What, coin: str, quantity: Decimal, named: Named = NONE_NAMED) -> list[Part]:
        place = self._place(what, coin)
        parts = self._pool(place).take(quantity, named)
        if parts and parts[-1].lot is None:
            flow = self._flow(place)
            flow.uncovered = exact(flow.uncovered + parts[-1].quantity)
        return parts

    def _dispose(self, disposed: Disposed) -> list[Match]:
        named = Named(disposed.lot_ids, disposed.what.instrument_id)
        parts = self._take(disposed.what, disposed.coin, disposed.quantity, named)
        flow = self._flow(self._place(disposed.what, disposed.coin))
        for part in parts:
            flow.add("disposed", part.quantity, part.cost)
        proceeds = split(disposed.proceeds.amount, [part.quantity for part in parts])
        return [
            Match(disposed, line, part.quantity, share, lot=part.lot, cost=part.cost)
            for line, (part, share) in enumerate(zip(parts, proceeds, strict=True), 1)
        ]

    def _settle(self, repaid: Repaid) -> Iterator[Disposed]:
        """Yield the disposals that a repayment is: of each debt, the oldest first, for what was owed of it."""
        what, left = repaid.what, repaid.quantity
        debts = self._debts.get(self._place(what, repaid.coin), [])
        while left and debts:
            debt, quantity = debts[0], min(left, debts[0].quantity)
            share = debt.worth.part(quantity, debt.quantity)
            debt.quantity = exact(debt.quantity - quantity)
            debt.worth = debt.worth.plus(share, -1)
            if not debt.quantity:
                debts.pop(0)
            left = exact(left - quantity)
            yield Disposed(what, repaid.coin, quantity, share)
        if left:
            yield Disposed(what, repaid.coin, left, repaid.worth.part(left, repaid.quantity))

    def _depart(self, departed: Departed) -> None:
        what, coin = departed.what, departed.coin
        if self._scope is Scope.ALL:
            return  # lots over all accounts are where they were
        flow = self._flow(self._place(what, coin))
        leaving = self._transit.setdefault((departed.route, coin), [])
        for part in self._take(what, coin, departed.quantity):
            flow.add("moved", -part.quantity, None if part.cost is None else -part.cost)
            leaving.append(Held(part.lot or self._unknown(what, coin, part.quantity), part.quantity, part.cost))

    def _arrive(self, arrived: Arrived) -> None:
        place = self._place(arrived.what, arrived.coin)
        for held in self._transit.pop((arrived.route, arrived.coin), ()):
            self._pool(place).add(held)
            self._flow(place).add("moved", held.quantity, held.cost)

    def _unknown(self, what: What, coin: str, quantity: Decimal) -> Lot:
        """A lot for what was transferred and never acquired on record."""
        self._order += 1
        lacking = NOT_ON_RECORD.format(quantity=quantity, coin=coin)
        cost = Worth(None, exact_rate(""), lacking)
        return Lot(replace(what, kind=Kind.UNKNOWN), coin, quantity, cost, acquired_at=None, order=self._order)

    def _redenominate(self, changed: Redenominated) -> None:
        ratio = changed.ratio
        for place in [place for place in self._pools if place[1] == changed.coin]:
            new = (place[0], changed.new_coin)
            for held in list(self._pools.pop(place).held()):
                self._flow(place).add("moved", -held.quantity, None if held.cost is None else -held.cost)
                lot = replace(held.lot, coin=changed.new_coin, quantity=exact(held.lot.quantity * ratio))
                became = Held(lot, exact(held.quantity * ratio), held.cost)
                self._pool(new).add(became)
                self._flow(new).add("moved", became.quantity, became.cost)
        for place in [place for place in self._debts if place[1] == changed.coin]:
            for debt in (debts := self._debts.pop(place)):
                debt.quantity = exact(debt.quantity * ratio)
            self._debts.setdefault((place[0], changed.new_coin), []).extend(debts)

    def left(self) -> Iterator[tuple[str, Held]]:
        """Yield what is left of every lot, by place and coin, the oldest first."""
        for place in sorted(self._pools):
            for held in self._pools[place].held():
                yield place[0], held

    def in_transit(self) -> Iterator[Held]:
        """Yield what has left one account of ours and not arrived in the other."""
        for place in sorted(self._transit):
            yield from self._transit[place]

    def flows(self) -> dict[tuple[str, str], Flow]:
        """What moved, by place and coin; the place is "" where lots are kept over all accounts."""
        return dict(sorted(self._flows.items()))

"""Conversion: what an amount of one currency is in another, through a path of pairs at given marks. Pure.

A step sells base for quote at a pair's mark, or quote for base at one over it. Of all paths over usable marks the one
with the fewest steps is taken, of equally short ones the first by its pairs' names. A mark that is missing, or older
than allowed, is no step; where no path is left, the answer names the pairs that would have made one. No currency is
another's equal (a stablecoin is not its dollar) unless `equals` says so.

A rate is a fraction, so a product of inverses loses nothing: an amount is rounded once, ROUND_HALF_EVEN at 18 places,
and what the rounding left out is told as a fraction.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from domain.instrument import Contract
from domain.marks import edges_of, shortest_path
from domain.values import EARLIEST, ONE, PLACES_MAX, Mark, exact
from projections.storage.tables import Row

STEPS_MAX = 4
PARITY = "="  # stands for the pair of two currencies that are held to be equal
_SCALE = 10**PLACES_MAX


class Step(NamedTuple):
    """One pair on the way. Its base is sold if `is_base`, else its quote; a parity has no mark."""

    instrument_id: str
    is_base: bool
    mark: Mark | None

    @property
    def factor(self) -> Fraction:
        """What one unit becomes."""
        if self.mark is None:
            return Fraction(1)
        price = Fraction(self.mark.price)
        return price if self.is_base else 1 / price


class Converted(NamedTuple):
    """An amount rounded at 18 places, and what is to be added to it to have it exactly."""

    amount: Decimal
    remainder: Fraction


class Rate(NamedTuple):
    """How much of `wanted` one unit of `held_in` is; where no path is left `factor` is None and `reason` says why."""

    held_in: str
    wanted: str
    factor: Fraction | None
    steps: tuple[Step, ...] = ()
    missing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why there is no rate."""
        if self.factor is not None:
            return None
        lacks = [f"no mark of {name}" for name in self.missing] + [f"too old a mark of {name}" for name in self.stale]
        return "; ".join(lacks) or f"no pairs lead from {self.held_in} to {self.wanted}"

    def convert(self, amount: Decimal) -> Converted | None:
        """The amount in the wanted currency; zero is zero in any, and an amount what it is in its own. None without a
        rate.
        """
        if not amount or self.held_in == self.wanted:
            return Converted(amount, NOTHING.remainder)
        return None if self.factor is None else rounded_once(Fraction(amount) * self.factor)

    def told(self) -> Row:
        """The rate as a row: its value to 18 places, and each step with its mark's price, source and time."""
        value = rounded_once(self.factor).amount if self.factor is not None else None
        return {
            "from_currency": self.held_in,
            "to_currency": self.wanted,
            "rate": value,
            "path": [_told(step) for step in self.steps],
            "missing": list(self.missing),
            "stale": list(self.stale),
            "reason": self.reason,
        }


NOTHING = Converted(Decimal(0), Fraction(0))


def _told(step: Step) -> Row:
    mark = step.mark
    return {
        "instrument_id": step.instrument_id,
        "is_inverse": not step.is_base,
        "price": ONE if mark is None else mark.price,
        "source": "parity" if mark is None else mark.source,
        "mark_at": mark.mark_at if mark is not None and mark.mark_at > EARLIEST else None,
    }


def rounded_once(value: Fraction) -> Converted:
    """The fraction at 18 places, half to even, and the rest."""
    units = round(value * _SCALE)  # of a Fraction: half to even, exactly
    amount = exact(Decimal(units).scaleb(-PLACES_MAX))
    return Converted(amount, value - Fraction(units, _SCALE))


class Converter:
    """Rates at one moment: from pairs (by instrument), marks, and currencies that are held to be equal.

    Marks older than `age_max` at `at` are not used; those that somebody just supposes are of any time.
    """

    def __init__(
        self,
        pairs: Mapping[str, Contract],
        marks: Mapping[str, Mark],
        *,
        at: datetime | None = None,
        age_max: timedelta | None = None,
        equals: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._marks = marks
        self._at = at
        self._age_max = age_max
        named = [(instrument_id, contract.base, contract.quote) for instrument_id, contract in pairs.items()]
        self._edges = edges_of((*named, *((f"{one}{PARITY}{other}", one, other) for one, other in equals)))
        self._rates: dict[tuple[str, str], Rate] = {}

    def rate(self, held_in: str, wanted: str) -> Rate:
        """The rate from one currency to another."""
        if (known := self._rates.get((held_in, wanted))) is None:
            known = self._rates[held_in, wanted] = self._found(held_in, wanted)
        return known

    def _found(self, held_in: str, wanted: str) -> Rate:
        path = shortest_path(self._edges, held_in, wanted, STEPS_MAX, self._is_usable)
        if path is not None:
            factor = Fraction(1)
            steps = tuple(self._step(name, is_base) for name, is_base in path)
            for step in steps:
                factor *= step.factor
            return Rate(held_in, wanted, factor, steps)
        anyhow = shortest_path(self._edges, held_in, wanted, STEPS_MAX) or ()
        lacking = [name for name, _ in anyhow if not self._is_usable(name)]
        stale = tuple(name for name in lacking if self._has_price(name))
        return Rate(held_in, wanted, None, (), tuple(name for name in lacking if name not in stale), stale)

    def _step(self, name: str, is_base: bool) -> Step:
        return Step(name, is_base, None if PARITY in name else self._marks[name])

    def _has_price(self, name: str) -> bool:
        return name in self._marks and self._marks[name].price > 0

    def _is_usable(self, name: str) -> bool:
        if PARITY in name:
            return True
        return self._has_price(name) and is_fresh(self._marks[name], self._at, self._age_max)


def relevant(pairs: Mapping[str, Contract], wanted: Iterable[str]) -> dict[str, Contract]:
    """The pairs that can be part of a path between wanted currencies: without dead ends."""
    kept, ends = dict(pairs), frozenset(wanted)
    while True:
        neighbours: dict[str, set[str]] = {}
        for contract in kept.values():
            neighbours.setdefault(contract.base, set()).add(contract.quote)
            neighbours.setdefault(contract.quote, set()).add(contract.base)
        dead = {currency for currency, others in neighbours.items() if len(others) < 2} - ends
        if not dead:
            return kept
        kept = {name: pair for name, pair in kept.items() if not dead & {pair.base, pair.quote}}


def is_fresh(mark: Mark, at: datetime | None, age_max: timedelta | None) -> bool:
    """Whether a mark may be used at a moment."""
    return at is None or age_max is None or mark.mark_at == EARLIEST or at - mark.mark_at <= age_max

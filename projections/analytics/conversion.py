"""Currency conversion through a path of pairs at given marks. Pure.

A step sells base for quote at a pair's mark, or quote for base at its inverse. Of all paths over usable marks the one
with the fewest steps is used, of equally short ones the first by its pairs' names. A pair whose mark is missing or
older than allowed is not used; where no path is left, the rate names the pairs that would have made one. Currencies
are equal (a stablecoin and its dollar) only where `equals` states it, and then they are, under any pairs.

A coin that is traded in pairs of its `own` has its price from these, of several from the one with the shortest path;
from other pairs only where these do not lead to the wanted currency. So a coin has one price in a statement, and that
of the pair it is traded in.

A rate is a fraction, so a product of inverses is exact: an amount is rounded once, ROUND_HALF_EVEN at 18 places, and
the remainder is returned as a fraction.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal, Inexact, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import NamedTuple, TypedDict

from domain.instrument import Contract
from domain.marks import Edges, PairPath, edges_of, shortest_path
from domain.values import EARLIEST, ONE, PLACES_MAX, Mark, exact, rounded

STEPS_MAX = 4
GRAPHS_MAX = 64
PARITY = "="  # stands for the pair of two currencies that count as equal
_SCALE = 10**PLACES_MAX
_NO_PAIRS: Mapping[str, Contract] = MappingProxyType({})


class Step(NamedTuple):
    """One pair of a path. Its base is sold if `is_base`, else its quote; a parity has no mark."""

    instrument_id: str
    is_base: bool
    mark: Mark | None

    @property
    def factor(self) -> Fraction:
        """Units bought per unit sold."""
        if self.mark is None:
            return Fraction(1)
        price = Fraction(self.mark.price)
        return price if self.is_base else 1 / price


class Converted(NamedTuple):
    """An amount rounded at 18 places, and the remainder: exact value - amount."""

    amount: Decimal
    remainder: Fraction


class RateStepRow(TypedDict):
    """One pair of a path, used at `price` (if `is_inverse` at 1 / price); `mark_at` is None of supposed marks."""

    instrument_id: str
    is_inverse: bool
    price: Decimal
    source: str
    mark_at: datetime | None


class RateRow(TypedDict):
    """A rate: units of `to_currency` per unit of `from_currency`, to 18 places; None for the `reason` given."""

    from_currency: str
    to_currency: str
    rate: Decimal | None
    path: list[RateStepRow]
    missing: list[str]
    stale: list[str]
    reason: str | None


class Rate(NamedTuple):
    """Units of `wanted` per unit of `held_in`. Without a path `factor` is None and `reason` is the explanation."""

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
        """Convert an amount to the wanted currency. None without a rate, unless it is zero or needs no conversion."""
        if not amount or self.held_in == self.wanted:
            return Converted(amount, NOTHING.remainder)
        return None if self.factor is None else rounded_once(Fraction(amount) * self.factor)

    def amount_of(self, amount: Decimal) -> Decimal | None:
        """Return what `convert` does, without the remainder.

        A path on which only bases are sold is a product; where that has as many digits as are exact, no fraction.
        """
        if self.factor is not None and amount and self.steps and all(step.is_base for step in self.steps):
            with suppress(Inexact, InvalidOperation):
                prices = (step.mark.price for step in self.steps if step.mark is not None)
                return rounded(prod(prices, start=amount), PLACES_MAX)
        found = self.convert(amount)
        return None if found is None else found.amount

    def as_row(self) -> RateRow:
        """Return the rate to 18 places and its path: each step with its mark's price, source and time."""
        value = rounded_once(self.factor).amount if self.factor is not None else None
        return {
            "from_currency": self.held_in,
            "to_currency": self.wanted,
            "rate": value,
            "path": [_step_row(step) for step in self.steps],
            "missing": list(self.missing),
            "stale": list(self.stale),
            "reason": self.reason,
        }


NOTHING = Converted(Decimal(0), Fraction(0))


def _step_row(step: Step) -> RateStepRow:
    mark = step.mark
    return {
        "instrument_id": step.instrument_id,
        "is_inverse": not step.is_base,
        "price": ONE if mark is None else mark.price,
        "source": "parity" if mark is None else mark.source,
        "mark_at": mark.mark_at if mark is not None and mark.mark_at > EARLIEST else None,
    }


def rounded_once(value: Fraction) -> Converted:
    """Round a fraction at 18 places, half to even, and return the remainder with it."""
    units = round(value * _SCALE)  # of a Fraction: half to even, exactly
    amount = exact(Decimal(units).scaleb(-PLACES_MAX))
    return Converted(amount, value - Fraction(units, _SCALE))


class Converter:
    """Rates at one moment, from pairs (by instrument), marks, and currencies that count as equal.

    Marks older than `age_max` at `at` are not used; supposed marks (as of EARLIEST) never are too old.
    """

    def __init__(
        self,
        pairs: Mapping[str, Contract],
        marks: Mapping[str, Mark],
        *,
        at: datetime | None = None,
        age_max: timedelta | None = None,
        equals: Iterable[tuple[str, str]] = (),
        own: Mapping[str, Contract] = _NO_PAIRS,
    ) -> None:
        self._marks = marks
        self._at = at
        self._age_max = age_max
        named = [(instrument_id, pair.base, pair.quote) for instrument_id, pair in {**pairs, **own}.items()]
        parities = [(f"{one}{PARITY}{other}", one, other) for one, other in equals]
        edges = _graph((*named, *parities))
        self._edges = {name: sorted(others, key=_is_pair) for name, others in edges.items()} if parities else edges
        self._parities = _graph(tuple(parities))
        self._ends = {name: ends for name, *ends in (*named, *parities)}
        self._own: dict[str, list[str]] = {}
        self._quotes = {instrument_id: pair.quote for instrument_id, pair in own.items()}
        for instrument_id, pair in sorted(own.items()):
            self._own.setdefault(pair.base, []).append(instrument_id)
        self._rates: dict[tuple[str, str], Rate] = {}

    def rate(self, held_in: str, wanted: str) -> Rate:
        """Return the rate from one currency to another."""
        if (known := self._rates.get((held_in, wanted))) is None:
            known = self._rates[held_in, wanted] = self._found(held_in, wanted)
        return known

    def is_equal(self, one: str, other: str) -> bool:
        """Whether two currencies are one, or taken as equal."""
        return one == other or shortest_path(self._parities, one, other, STEPS_MAX) is not None

    def _found(self, held_in: str, wanted: str) -> Rate:
        path: PairPath | None
        if self._parities and (path := shortest_path(self._parities, held_in, wanted, STEPS_MAX)) is not None:
            return self._along(path, held_in, wanted)
        if held_in in self._own and held_in != wanted:
            return self._by_own(held_in, wanted)
        path = shortest_path(self._edges, held_in, wanted, STEPS_MAX, is_usable=self._is_usable)
        if path is not None:
            return self._along(path, held_in, wanted)
        return self._lacking(held_in, wanted)

    def _along(self, path: PairPath, held_in: str, wanted: str) -> Rate:
        factor = Fraction(1)
        steps = tuple(self._step(name, is_base) for name, is_base in path)
        for step in steps:
            factor *= step.factor
        return Rate(held_in, wanted, factor, steps)

    def _by_own(self, held_in: str, wanted: str) -> Rate:
        """Return the rate by the own pair of a coin that leads to the wanted currency in the fewest steps."""
        unusable = [name for name in self._own[held_in] if not self._is_usable(name)]
        rest = []
        for name in self._own[held_in]:
            if name in unusable:
                continue
            ahead = self._ahead(self._quotes[name], wanted, held_in)
            if ahead.factor is not None:
                steps = (Step(name, is_base=True, mark=self._marks[name]), *ahead.steps)
                rest.append(Rate(held_in, wanted, steps[0].factor * ahead.factor, steps))
        if rest:
            return min(rest, key=lambda rate: len(rate.steps))
        if len(unusable) < len(self._own[held_in]):
            path = shortest_path(self._edges, held_in, wanted, STEPS_MAX, is_usable=self._is_usable)
            return self._lacking(held_in, wanted) if path is None else self._along(path, held_in, wanted)
        stale = tuple(name for name in unusable if self._has_price(name))
        missing = tuple(name for name in unusable if name not in stale)
        return Rate(held_in, wanted, None, missing=missing, stale=stale)

    def _ahead(self, quote: str, wanted: str, coin: str) -> Rate:
        """Return the rate of the quote of a coin's pair, by a path that does not lead back over the coin."""
        if quote == wanted:
            return Rate(quote, wanted, Fraction(1))
        for name in self._own.get(quote, ()):
            if self._quotes[name] == wanted and self._is_usable(name):
                return self._along(((name, True),), quote, wanted)

        def leads_on(name: str) -> bool:
            return coin not in self._ends[name] and self._is_usable(name)

        path = shortest_path(self._edges, quote, wanted, STEPS_MAX - 1, is_usable=leads_on)
        return Rate(quote, wanted, None) if path is None else self._along(path, quote, wanted)

    def _lacking(self, held_in: str, wanted: str) -> Rate:
        unfiltered = shortest_path(self._edges, held_in, wanted, STEPS_MAX) or ()
        lacking = [name for name, _ in unfiltered if not self._is_usable(name)]
        stale = tuple(name for name in lacking if self._has_price(name))
        missing = tuple(name for name in lacking if name not in stale)
        return Rate(held_in, wanted, None, missing=missing, stale=stale)

    def _step(self, name: str, is_base: bool) -> Step:
        return Step(name, is_base, None if PARITY in name else self._marks[name])

    def _has_price(self, name: str) -> bool:
        return name in self._marks and self._marks[name].price > 0

    def _is_usable(self, name: str) -> bool:
        if PARITY in name:
            return True
        return self._has_price(name) and is_fresh(self._marks[name], self._at, self._age_max)


@lru_cache(GRAPHS_MAX)
def _graph(pairs: tuple[tuple[str, str, str], ...]) -> Edges:  # the closes of many days have the same pairs
    return edges_of(pairs)


def _is_pair(edge: tuple[str, bool, str]) -> bool:
    return PARITY not in edge[0]


def relevant(pairs: Mapping[str, Contract], wanted: Iterable[str]) -> dict[str, Contract]:
    """Return the pairs that can be part of a path between wanted currencies: without dead ends."""
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

"""Rates of currencies in the currency of the gains, each at its own moment, from marks on record.

A rate leads through pairs of listed instruments, as any other conversion does (`projections.analytics.conversion`):
the shortest path over marks that are not too old. First the shortest path of all is looked up; only where one of its
marks is lacking, all pairs that could be part of another one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

from domain.account import FeePolicy
from domain.holdings.gains import Fact, Movement, amounts_rated, exact_rate, moment_rated, movements_of
from domain.holdings.gains import Rate as CoinRate
from domain.instrument import Contract
from domain.marks import edges_of, shortest_path
from domain.values import Mark
from projections.analytics.conversion import PARITY, STEPS_MAX, Converter, Rate, Step, is_fresh, relevant

FACTS_MAX = 2000  # valued at once

Place = tuple[str, datetime]  # a currency, or an instrument, at a moment
PairPath = tuple[tuple[str, bool], ...]  # pairs, and whether their base is sold
LookUp = Callable[[Sequence[Place]], Sequence[Mark | None]]


class Valuing(NamedTuple):
    """How to value: in which currency, by which pairs, with marks of at most which age, what counts as equal."""

    currency: str
    pairs: Mapping[str, Contract]
    age_max: timedelta
    equals: tuple[tuple[str, str], ...] = ()


class Rates:
    """Rates at moments. `look_up` returns for each instrument and moment the latest mark by then."""

    def __init__(self, valuing: Valuing, look_up: LookUp) -> None:
        self._valuing = valuing
        self._look_up = look_up
        named = [(name, contract.base, contract.quote) for name, contract in valuing.pairs.items()]
        self._edges = edges_of((*named, *((f"{one}{PARITY}{other}", one, other) for one, other in valuing.equals)))
        self._paths: dict[str, PairPath] = {}

    def of(self, wanted: Iterable[Place]) -> dict[Place, CoinRate]:
        """Return the rate of each currency at its moment; one that is not on record names what is lacking."""
        places = list(dict.fromkeys(wanted))
        marks = self._marks([(name, at) for currency, at in places for name, _ in self._path(currency)])
        found = {place: self._direct(place, marks) for place in places}
        again = [place for place, rate in found.items() if rate is None]
        others = {currency: self._pairs_for(currency) for currency in {place[0] for place in again}}
        marks |= self._marks([(name, at) for currency, at in again for name in others[currency]])
        return {
            place: _coin_rate(rate or self._rate(place, others[place[0]], marks), place[1])
            for place, rate in found.items()
        }

    def _path(self, currency: str) -> PairPath:
        if currency not in self._paths:
            self._paths[currency] = shortest_path(self._edges, currency, self._valuing.currency, STEPS_MAX) or ()
        return self._paths[currency]

    def _direct(self, place: Place, marks: Mapping[Place, Mark]) -> Rate | None:
        """Return the rate by the shortest path of all; None where a mark of it is lacking or too old."""
        currency, at = place
        steps, factor = [], Fraction(1)
        for name, is_base in self._path(currency):
            mark = marks.get((name, at))
            if PARITY not in name and (mark is None or not is_fresh(mark, at, self._valuing.age_max)):
                return None
            steps.append(Step(name, is_base, mark))
            factor *= steps[-1].factor
        return Rate(currency, self._valuing.currency, factor, tuple(steps)) if steps else None

    def _pairs_for(self, currency: str) -> dict[str, Contract]:
        ends = {currency, self._valuing.currency, *(each for pair in self._valuing.equals for each in pair)}
        return relevant(self._valuing.pairs, ends)

    def _marks(self, wanted: Iterable[Place]) -> dict[Place, Mark]:
        places = [place for place in dict.fromkeys(wanted) if PARITY not in place[0]]
        found = zip(places, self._look_up(places), strict=True)
        return {place: mark for place, mark in found if mark is not None}

    def _rate(self, place: Place, pairs: Mapping[str, Contract], marks: Mapping[Place, Mark]) -> Rate:
        currency, at = place
        known = {name: marks[name, at] for name in pairs if (name, at) in marks}
        valuing = self._valuing
        converter = Converter(pairs, known, at=at, age_max=valuing.age_max, equals=valuing.equals)
        return converter.rate(currency, valuing.currency)


def _coin_rate(rate: Rate, at: datetime) -> CoinRate:
    if rate.factor is None:
        lacking = f"no rate from {rate.held_in} to {rate.wanted} at {at:%Y-%m-%dT%H:%M:%SZ}: {rate.reason}"
        return CoinRate(rate.held_in, None, lacking=lacking)
    steps, times = [], []
    for step in rate.steps:
        if step.mark is None:
            steps.append(step.instrument_id)
            continue
        mark = step.mark
        times.append(mark.mark_at)
        how = "" if step.is_base else "1/"
        steps.append(f"{how}{mark.instrument_id} {mark.price:f} {mark.source} {mark.mark_at:%Y-%m-%dT%H:%M:%S.%fZ}")
    return CoinRate(rate.held_in, rate.factor, "; ".join(steps), rate_at=min(times, default=None))


def valued(
    facts: Iterable[Fact], valuing: Valuing, look_up: LookUp, policy_of: Callable[[str], FeePolicy]
) -> Iterator[Movement]:
    """Yield the movements that follow from facts, in their order, each valued at the rates of its moment."""
    rates, currency = Rates(valuing, look_up), valuing.currency
    itself = exact_rate(currency)
    source = iter(facts)
    while several := list(islice(source, FACTS_MAX)):
        known = rates.of((held, moment_rated(fact)) for fact in several for held in amounts_rated(fact, currency))
        for fact in several:
            moments = _AtMoment(known, moment_rated(fact), itself)
            yield from movements_of(fact, currency, moments.rate_of, policy_of(fact.what.account_id))


class _AtMoment(NamedTuple):
    """The rates of one moment."""

    known: Mapping[Place, CoinRate]
    at: datetime
    itself: CoinRate

    def rate_of(self, currency: str) -> CoinRate:
        """Return the rate of a currency."""
        return self.itself if currency == self.itself.currency else self.known[currency, self.at]

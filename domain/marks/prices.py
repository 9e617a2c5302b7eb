"""Marks: their quality and age, and the fresh marks that one decision used.

Nothing is guessed: where a price is needed and missing, or too old, a refusal names it. Sums in several currencies are
converted into one at the marks of the instruments that an account has named for that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from domain.errors import RequestRefused
from domain.instrument import Contract
from domain.values import EPOCH, Mark, divide, exact

MARK_AGE_MAX = timedelta(seconds=60)
CONVERSIONS_MAX = 3
MILLISECOND = timedelta(milliseconds=1)


PairPath = tuple[tuple[str, bool], ...]  # names of pairs, and whether the base is sold
Edges = Mapping[str, Sequence[tuple[str, bool, str]]]  # of a currency: a pair, whether it is its base, the other one


class Quality(StrEnum):
    """The kind of price a mark is."""

    MARK = "MARK"  # the venue's own mark price
    INDEX = "INDEX"  # of an index over venues
    TRADE = "TRADE"  # of the last trade
    CLOSE = "CLOSE"  # of a candle's last trade
    MID = "MID"  # between bid and offer
    MANUAL = "MANUAL"  # entered by a person
    UNSTATED = "UNSTATED"


class QualifiedMark(Mark, frozen=True):
    """A mark with the kind of price it is."""

    quality: Quality = Quality.UNSTATED


class MarkOnRecord(QualifiedMark, frozen=True):
    """A mark as it is on record, its age at the moment that it values, and whether that makes it stale."""

    recorded_at: datetime = EPOCH
    age_ms: int = 0
    is_stale: bool = False
    mark_id: int = 0


class MarkSeen(Struct, frozen=True):
    """A mark that a decision used, and its age then."""

    mark: Mark
    age_ms: int


class Prices:
    """The fresh marks of one decision: remembers which were used, and converts currencies at them.

    A conversion goes through at most `CONVERSIONS_MAX` of the instruments in `conversions`, or, where these do not lead
    to the other currency, of `others` too.
    """

    def __init__(
        self, marks: Iterable[Mark], at: datetime, age_max: timedelta, conversions: Mapping[str, Contract],
        others: Callable[[], Mapping[str, Contract]] = dict,
    ) -> None:  # fmt: skip
        self._marks = {mark.instrument_id: mark for mark in marks}
        self._at = at
        self._age_max = age_max
        self._conversions = conversions
        self._others = others
        self._used: dict[str, MarkSeen] = {}
        self._compared: dict[str, MarkSeen] = {}
        self._paths: dict[tuple[str, str], PairPath] = {}

    @property
    def seen(self) -> tuple[MarkSeen, ...]:
        """The marks that were used, by instrument."""
        used = self._compared | self._used
        return tuple(used[instrument_id] for instrument_id in sorted(used))

    @property
    def oldest_ms(self) -> int:
        """The greatest age of the marks used, 0 if none was; not of those only compared with."""
        return max((seen.age_ms for seen in self._used.values()), default=0)

    def has_fresh(self, instrument_id: str) -> bool:
        """Whether there is a fresh mark."""
        mark = self._marks.get(instrument_id)
        return mark is not None and self._at - mark.mark_at <= self._age_max

    def mark(self, instrument_id: str, rule: str = "a mark of every instrument that is measured") -> Mark:
        """The fresh mark of an instrument. Raises RequestRefused."""
        mark = self._marks.get(instrument_id)
        if mark is None:
            raise RequestRefused(rule, instrument_id=instrument_id, missing=f"a mark of {instrument_id}: record one")
        age = self._at - mark.mark_at
        if age > self._age_max:
            raise RequestRefused(
                "a fresh mark", instrument_id=instrument_id, price=mark.price, mark_at=mark.mark_at,
                age_ms=age // MILLISECOND, age_max_ms=self._age_max // MILLISECOND,
                missing=f"a fresh mark of {instrument_id}: record a newer one",
            )  # fmt: skip
        self._used[instrument_id] = MarkSeen(mark, age // MILLISECOND)
        return mark

    def see(self, instrument_id: str) -> MarkSeen:
        """The fresh mark of an instrument and its age. Raises RequestRefused."""
        self.mark(instrument_id)
        return self._used[instrument_id]

    def compare(self, instrument_id: str, age_max: timedelta) -> Mark | None:
        """The newest mark of an instrument to compare a price with, at most `age_max` old; None if there is none."""
        mark = self._marks.get(instrument_id)
        if mark is None or self._at - mark.mark_at > age_max:
            return None
        self._compared[instrument_id] = MarkSeen(mark, (self._at - mark.mark_at) // MILLISECOND)
        return mark

    def price(self, instrument_id: str) -> Decimal:
        """The price of the fresh mark. Raises RequestRefused."""
        return self.mark(instrument_id).price

    def convert(self, amount: Decimal, held_in: str, wanted: str) -> Decimal:
        """`amount` in another currency; divided prices are rounded at 18 places. Raises RequestRefused."""
        if held_in == wanted or not amount:
            return amount
        path = self._paths.get((held_in, wanted))
        if path is None:
            path = self._paths[held_in, wanted] = self._path_between(held_in, wanted)
        for instrument_id, is_base in path:
            price = self.price(instrument_id)
            if price <= 0:
                raise RequestRefused("a mark above zero to convert by", instrument_id=instrument_id, price=price)
            amount = exact(amount * price) if is_base else divide(amount, price)
        return amount

    def _path_between(self, held_in: str, wanted: str) -> PairPath:
        path = _path(self._conversions, held_in, wanted)
        if path is None:
            path = _path({**self._others(), **self._conversions}, held_in, wanted)
        if path is not None:
            return path
        raise RequestRefused(
            "an instrument to convert currencies by", held_in=held_in, wanted=wanted,
            missing=f"a rate from {held_in} to {wanted}: name an instrument to convert by, and record its mark",
        )  # fmt: skip


def _path(contracts: Mapping[str, Contract], held_in: str, wanted: str) -> PairPath | None:
    pairs = ((name, contract.base, contract.quote) for name, contract in contracts.items())
    return shortest_path(edges_of(pairs), held_in, wanted, CONVERSIONS_MAX)


def edges_of(pairs: Iterable[tuple[str, str, str]]) -> Edges:
    """Return the edges of a graph of currencies, from pairs of a name, a base and a quote."""
    edges: dict[str, list[tuple[str, bool, str]]] = {}
    for name, base, quote in pairs:
        edges.setdefault(base, []).append((name, True, quote))
        edges.setdefault(quote, []).append((name, False, base))
    return {currency: sorted(others) for currency, others in edges.items()}


def shortest_path(
    edges: Edges, held_in: str, wanted: str, steps_max: int, is_usable: Callable[[str], bool] = lambda _: True
) -> PairPath | None:
    """Return the shortest path over usable pairs, of equally short ones the first by its pairs' names; None if there
    is none of at most `steps_max`.
    """
    if held_in == wanted:
        return ()
    reached = {held_in}
    paths: list[tuple[str, PairPath]] = [(held_in, ())]
    for _ in range(steps_max):
        longer: list[tuple[str, PairPath]] = []
        for currency, path in paths:
            for name, is_base, other in edges.get(currency, ()):
                if other in reached or not is_usable(name):
                    continue
                if other == wanted:
                    return (*path, (name, is_base))
                reached.add(other)
                longer.append((other, (*path, (name, is_base))))
        paths = longer
    return None

"""The geometry of a statement's charts: lines, bars, ticks and labels in a unit box, for any renderer.

Floats are for pixels only; the figures beside a chart are exact.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from math import floor, log10
from typing import NamedTuple

POINTS_MAX = 600
LABEL_MAX = 24  # characters


class Tick(NamedTuple):
    """A label at a place along an axis, from 0 to 1."""

    place: float
    label: str


class Curve(NamedTuple):
    """A step line in a unit box, y upwards; `zero` is where 0 is."""

    points: list[tuple[float, float]]
    zero: float
    levels: list[Tick]
    times: list[Tick]


class Bar(NamedTuple):
    """A bar from `start` to `end` along a unit axis."""

    label: str
    start: float
    end: float
    value: Decimal


def curve(steps: Sequence[tuple[datetime, Decimal]], first: datetime, end: datetime) -> Curve:
    """Return the curve of a cumulative result, zero at `first`."""
    values = [0.0, *(float(value) for _, value in steps)]
    low, high, levels = _levels(min(values), max(values))
    span, whole = high - low, (end - first).total_seconds()
    points, level = [(0.0, (0.0 - low) / span)], 0.0
    for at, value in _thinned(steps):
        x = min(max((at - first).total_seconds() / whole, 0.0), 1.0)
        points += [(x, (level - low) / span), (x, (float(value) - low) / span)]
        level = float(value)
    points.append((1.0, (level - low) / span))
    ticks = [Tick((value - low) / span, label) for value, label in levels]
    return Curve(points, (0.0 - low) / span, ticks, _times(first, end))


def _thinned(steps: Sequence[tuple[datetime, Decimal]]) -> Sequence[tuple[datetime, Decimal]]:
    """Return at most POINTS_MAX of the steps, always with the last."""
    every = -(-len(steps) // POINTS_MAX)
    return [step for number, step in enumerate(steps) if (len(steps) - 1 - number) % every == 0] if steps else []


def _levels(low: float, high: float) -> tuple[float, float, list[tuple[float, str]]]:
    """Return the bounds and the levels of an axis: three to six round numbers around a range."""
    span = (high - low) or max(abs(high), 1.0)
    power = 10.0 ** floor(log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first, last = floor(low / step), -floor(-high / step)
    places = max(0, -floor(log10(step)))
    if first == last:
        last += 1
    return first * step, last * step, [(n * step, f"{n * step:,.{places}f}") for n in range(first, last + 1)]


def _times(first: datetime, end: datetime) -> list[Tick]:
    days = (end - first).days
    if days <= 1:
        return [Tick(hour / 24, f"{hour:02d}:00") for hour in (0, 6, 12, 18, 24)]
    return [Tick((day - 1) / days, str(day)) for day in range(1, days + 1, 5)]


def _short(label: str) -> str:
    return label if len(label) <= LABEL_MAX else label[: LABEL_MAX - 3] + "..."


def bars(values: Sequence[tuple[str, Decimal]], shown_max: int = 8) -> tuple[list[Bar], float]:
    """Return the largest values as bars, and the place of zero."""
    largest = sorted(values, key=lambda pair: (-abs(pair[1]), pair[0]))[:shown_max]
    numbers = [float(value) for _, value in largest]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    span = (high - low) or 1.0
    zero = -low / span
    ends = [(number - low) / span for number in numbers]
    made = [
        Bar(_short(label), min(zero, end), max(zero, end), value)
        for (label, value), end in zip(largest, ends, strict=True)
    ]
    return made, zero

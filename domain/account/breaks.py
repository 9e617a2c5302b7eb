"""Break: one difference between our records and a venue statement, from when it is found until it is resolved.

A break is identified by its subject (account and balance, position, order or fill), not by its numbers: found again in
the next statement it is the same break, older. `ours` and `theirs` are the full lines of each side, so that a break can
be read, and resolved, by itself.

What a report broke is identified by its place in the log instead: the stream and version of the event that keeps it.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from msgspec import Struct

from domain.account.venue_statement import BalanceLine, FillLine, Line, OrderLine, PositionLine, digest_of

VERSION_DIGITS_MAX = 18
AGES = (timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=30))


class BreakKind(StrEnum):
    """The kind of difference.

    MISSING_AT_US, MISSING_AT_VENUE: on one side only. AMOUNT_DIFFERS: a quantity or sum (and maybe more).
    PRICE_DIFFERS: only the price of the amounts. DUPLICATE: one fill that we have on record twice, or under another id.
    """

    MISSING_AT_US = "MISSING_AT_US"
    MISSING_AT_VENUE = "MISSING_AT_VENUE"
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"
    PRICE_DIFFERS = "PRICE_DIFFERS"
    DUPLICATE = "DUPLICATE"


class Break(Struct, frozen=True):
    """A difference; `fields` names those that differ between both lines. A balance or position has both lines."""

    break_id: str
    account_id: str
    kind: BreakKind
    fields: tuple[str, ...]
    ours: Line | None
    theirs: Line | None

    @property
    def line(self) -> Line:
        """The venue's line, or ours where it has none."""
        line = self.theirs or self.ours
        assert line is not None, "a break has a line"
        return line


class OpenBreak(Struct, frozen=True):
    """A break not yet resolved: as last found, since when, and how many of `AGES` it has passed."""

    found: Break
    opened_at: datetime
    age_steps: int = 0


def break_of(
    account_id: str, kind: BreakKind, fields: tuple[str, ...], ours: Line | None, theirs: Line | None
) -> Break:
    """The break with its id: a digest of its subject."""
    is_surplus = kind in (BreakKind.DUPLICATE, BreakKind.MISSING_AT_VENUE)
    line = ours if is_surplus else theirs or ours
    assert line is not None, "a break has a line"
    return Break(
        break_id=digest_of((account_id, *_about(line, is_surplus=is_surplus)))[:16],
        account_id=account_id,
        kind=kind,
        fields=fields,
        ours=ours,
        theirs=theirs,
    )


def reported_id(stream: str, version: int) -> str:
    """The id of the break of a report: the place of the event that keeps it."""
    return f"{stream}@{version}"


def place_of(break_id: str) -> tuple[str, int] | None:
    """The stream and version of the event that keeps the break of a report; None for a difference from a statement."""
    stream, _, version = break_id.rpartition("@")
    is_place = bool(stream) and version.isascii() and version.isdecimal() and len(version) <= VERSION_DIGITS_MAX
    return (stream, int(version)) if is_place else None


def _about(line: Line, *, is_surplus: bool) -> tuple[str, ...]:
    match line:
        case BalanceLine(currency=currency):
            return ("balance", currency)
        case PositionLine(instrument_id=instrument_id):
            return ("position", instrument_id, *([line.position_side] if line.position_side else []))
        case OrderLine(instrument_id=instrument_id, order_id=order_id, cl_ord_id=cl_ord_id):
            return ("order", instrument_id, order_id or cl_ord_id)
        case FillLine(instrument_id=instrument_id, exec_id=exec_id, cl_ord_id=cl_ord_id):
            return ("fill", instrument_id, exec_id, cl_ord_id if is_surplus else "")
        case _:
            assert_never(line)


def age_steps(age: timedelta) -> int:
    """The number of `AGES` that an age has passed."""
    return sum(1 for step in AGES if age >= step)

"""Exchanges: what a venue reports, in the words of the domain, and the facts of its instruments.

An adapter yields domain reports literally, together with the facts of the instruments they are about; what it cannot
read it yields as `Unreadable`, raw, because it may be evidence. It never decides whether a report is new: a report may
be yielded again, late or out of order, and the ledger takes it down once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from domain.errors import InvalidInput
from domain.instrument import ListInstrument
from domain.ledger import Report


class Unreadable(NamedTuple):
    """Material that could not be read: its place in its source (a line of a file, from 1), the text itself, and why.

    `raw` is the text as it came. Where that was no clean UTF-8, bytes are written `\\xNN` and backslashes doubled.
    """

    line: int
    raw: str
    error: InvalidInput


class Exchange(Protocol):
    """A venue as seen through one of its interfaces: a file, REST, a socket, a simulation."""

    @property
    def venue(self) -> str:
        """Our code of the venue, the last part of its instrument ids."""

    def instruments(self) -> Sequence[ListInstrument]:
        """The facts of the instruments this adapter can vouch for."""

    def reports(self) -> Iterator[Report | Unreadable]:
        """What has happened there, in order of arrival."""

"""Exchange adapters: translate what venues report into the domain's reports.

An adapter yields domain reports and the specifications of their instruments; material that it cannot read it yields
raw, as `Unreadable`, because it may be evidence. It does not decide whether a report is new: reports may be yielded
more than once, late or out of sequence, and the ledger records each once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from domain.errors import InvalidInput
from domain.instrument import ListInstrument
from domain.ledger import Report


class Unreadable(NamedTuple):
    """Material that could not be read: its place in its source (a line of a file, from 1), the text itself, and why.

    `raw` is the text as received. If that was not valid UTF-8, bytes are written `\\xNN` and backslashes doubled.
    """

    line: int
    raw: str
    error: InvalidInput


class Exchange(Protocol):
    """One interface of a venue: a file, REST, a socket, a simulation."""

    @property
    def venue(self) -> str:
        """Our code of the venue: the last part of its instrument ids."""

    def instruments(self) -> Sequence[ListInstrument]:
        """Return the specifications of the instruments that this adapter knows."""

    def reports(self) -> Iterator[Report | Unreadable]:
        """Yield reports in sequence of arrival."""

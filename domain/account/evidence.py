"""Evidence: venue material that could not be recorded, kept raw, once, with the reason.

The stream's id is the SHA-256 of venue, account and raw text, so the same unreadable line is kept once however often it
is sent.
"""

import hashlib
from functools import lru_cache
from typing import assert_never

from msgspec import Struct

from domain import names

HEADER_KEPT = "the header of rows that are kept"
"""What the `reason` of a header begins with. A header is kept so that rows below it can be read again."""
STREAM_NAMES_MAX = 1024  # cached: a command needs a name several times


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class RawReportKept(Struct, frozen=True, gc=False, tag="RawReportKept"):
    """A venue report that could not be read. `source` is where it was found (file and line, channel); `reason` which
    field broke which rule."""

    account_id: str
    venue: str
    source: str
    raw: str
    reason: str

    @property
    def is_header(self) -> bool:
        """Whether it is the header of rows that are kept, and itself nothing that should have been recorded."""
        return self.reason.startswith(HEADER_KEPT)


EvidenceEvent = RawReportKept
EvidenceReport = RawReportKept


@lru_cache(maxsize=STREAM_NAMES_MAX)
def stream(report: RawReportKept) -> str:
    """The stream of one piece of raw material."""
    digest = hashlib.sha256(f"{report.venue}\0{report.account_id}\0{report.raw}".encode()).hexdigest()
    return names.stream("evidence", report.account_id, digest[:32])


def admit(kept: RawReportKept | None, report: EvidenceReport) -> tuple[EvidenceEvent, ...]:
    """The report, if it is not kept already."""
    return () if kept is not None else (report,)


def evolve(kept: RawReportKept | None, event: EvidenceEvent) -> RawReportKept:
    """The evidence after an event. Total and unconditional."""
    match event:
        case RawReportKept():
            return event
        case _:
            assert_never(event)

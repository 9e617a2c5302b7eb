"""Ledger: the log and its stored format, and the routing of a request or venue report to its aggregates."""

from domain.ledger.clock import STREAM as CLOCK_STREAM
from domain.ledger.clock import ClockConfirmed, Confirmation, confirmation, latest_at, part_at
from domain.ledger.commands import (
    Answer,
    Command,
    EvidenceOf,
    Outcome,
    Report,
    Request,
    streams_begun_by,
    streams_of,
)
from domain.ledger.ledger import ATTEMPTS_MAX, Ledger, decided, executions, no_marks
from domain.ledger.log import NO_SNAPSHOTS, PAGE_EVENTS, EventLog, Head, Logged, Recorded, Snapshots, pages, scan
from domain.ledger.oversight import OVERSEEN, Lapse, Oversight
from domain.ledger.unit_of_work import AGGREGATES, CACHED_STREAMS_MAX, Aggregates, BaseLayer, UnitOfWork

__all__ = [
    "AGGREGATES",
    "ATTEMPTS_MAX",
    "CACHED_STREAMS_MAX",
    "CLOCK_STREAM",
    "NO_SNAPSHOTS",
    "OVERSEEN",
    "PAGE_EVENTS",
    "Aggregates",
    "Answer",
    "BaseLayer",
    "ClockConfirmed",
    "Command",
    "Confirmation",
    "EventLog",
    "EvidenceOf",
    "Head",
    "Lapse",
    "Ledger",
    "Logged",
    "Outcome",
    "Oversight",
    "Recorded",
    "Report",
    "Request",
    "Snapshots",
    "UnitOfWork",
    "confirmation",
    "decided",
    "executions",
    "latest_at",
    "no_marks",
    "pages",
    "part_at",
    "scan",
    "streams_begun_by",
    "streams_of",
]

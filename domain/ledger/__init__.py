"""Ledger: the log and its stored format, and the routing of one request or venue report to its aggregates."""

from domain.ledger.ledger import (
    ATTEMPTS_MAX,
    Answer,
    Command,
    Ledger,
    Outcome,
    Report,
    Request,
    Stray,
    begun_by,
    decided,
    executions,
    no_marks,
    streams_of,
)
from domain.ledger.log import FORGETFUL, PAGE_EVENTS, EventLog, Head, Logged, Recorded, Snapshots, pages, scan
from domain.ledger.unit_of_work import AGGREGATES, CACHED_STREAMS_MAX, Aggregates, Ground, Unit

__all__ = [
    "AGGREGATES",
    "ATTEMPTS_MAX",
    "CACHED_STREAMS_MAX",
    "FORGETFUL",
    "PAGE_EVENTS",
    "Aggregates",
    "Answer",
    "Command",
    "EventLog",
    "Ground",
    "Head",
    "Ledger",
    "Logged",
    "Outcome",
    "Recorded",
    "Report",
    "Request",
    "Snapshots",
    "Stray",
    "Unit",
    "begun_by",
    "decided",
    "executions",
    "no_marks",
    "pages",
    "scan",
    "streams_of",
]

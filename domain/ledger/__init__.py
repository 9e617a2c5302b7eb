"""Ledger: the log and its stored format, and the routing of a request or venue report to its aggregates."""

from domain.ledger.ledger import (
    ATTEMPTS_MAX,
    Answer,
    Command,
    EvidenceOf,
    Ledger,
    Outcome,
    Report,
    Request,
    decided,
    executions,
    no_marks,
    streams_begun_by,
    streams_of,
)
from domain.ledger.log import NO_SNAPSHOTS, PAGE_EVENTS, EventLog, Head, Logged, Recorded, Snapshots, pages, scan
from domain.ledger.unit_of_work import AGGREGATES, CACHED_STREAMS_MAX, Aggregates, BaseLayer, UnitOfWork

__all__ = [
    "AGGREGATES",
    "ATTEMPTS_MAX",
    "CACHED_STREAMS_MAX",
    "NO_SNAPSHOTS",
    "PAGE_EVENTS",
    "Aggregates",
    "Answer",
    "BaseLayer",
    "Command",
    "EventLog",
    "EvidenceOf",
    "Head",
    "Ledger",
    "Logged",
    "Outcome",
    "Recorded",
    "Report",
    "Request",
    "Snapshots",
    "UnitOfWork",
    "decided",
    "executions",
    "no_marks",
    "pages",
    "scan",
    "streams_begun_by",
    "streams_of",
]

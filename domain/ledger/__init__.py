"""Ledger: the log and its stored format, and the routing of a request or venue report to its aggregates."""

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
from domain.ledger.derivation import Derivation, Derived, Item, PastLog, Undecided, envelope, merged
from domain.ledger.derivation import Fault as DerivationFault
from domain.ledger.given.clock import STREAM as CLOCK_STREAM
from domain.ledger.given.clock import ClockConfirmed, Confirmation, confirmation, latest_at, part_at
from domain.ledger.given.signing import STREAM as SIGNING_STREAM
from domain.ledger.given.signing import SigningEvent, SigningKeyHandedOver, SigningKeyLost, SigningKeyStarted
from domain.ledger.ledger import ATTEMPTS_MAX, Ledger, carried_out, executions, no_marks
from domain.ledger.limits import cash_of, funds_of, wallets_of
from domain.ledger.log import (
    NO_SNAPSHOTS,
    PAGE_EVENTS,
    EventLog,
    Head,
    Logged,
    Recorded,
    Snapshots,
    Streams,
    pages,
    scan,
)
from domain.ledger.origins import ORIGINS, Origin, report_of, request_of
from domain.ledger.oversight import OVERSEEN, Lapse, Oversight
from domain.ledger.unit_of_work import AGGREGATES, CACHED_STREAMS_MAX, Aggregates, BaseLayer, UnitOfWork

__all__ = [
    "AGGREGATES",
    "ATTEMPTS_MAX",
    "CACHED_STREAMS_MAX",
    "CLOCK_STREAM",
    "NO_SNAPSHOTS",
    "ORIGINS",
    "OVERSEEN",
    "PAGE_EVENTS",
    "SIGNING_STREAM",
    "Aggregates",
    "Answer",
    "BaseLayer",
    "ClockConfirmed",
    "Command",
    "Confirmation",
    "Derivation",
    "DerivationFault",
    "Derived",
    "EventLog",
    "EvidenceOf",
    "Head",
    "Item",
    "Lapse",
    "Ledger",
    "Logged",
    "Origin",
    "Outcome",
    "Oversight",
    "PastLog",
    "Recorded",
    "Report",
    "Request",
    "SigningEvent",
    "SigningKeyHandedOver",
    "SigningKeyLost",
    "SigningKeyStarted",
    "Snapshots",
    "Streams",
    "Undecided",
    "UnitOfWork",
    "carried_out",
    "cash_of",
    "confirmation",
    "envelope",
    "executions",
    "funds_of",
    "latest_at",
    "merged",
    "no_marks",
    "pages",
    "part_at",
    "report_of",
    "request_of",
    "scan",
    "streams_begun_by",
    "streams_of",
    "wallets_of",
]

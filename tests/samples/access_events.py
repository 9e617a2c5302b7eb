"""One of every event about keys and approvals, with every field filled."""

from datetime import UTC, datetime
from decimal import Decimal as D

from domain.access import (
    Action,
    ActionProposed,
    ApiKey,
    ApprovalPolicySet,
    Bounds,
    Claim,
    KeyBounded,
    KeyIssued,
    KeyRegistered,
    KeyRescoped,
    KeyRevoked,
    KeyRotated,
    OsAccount,
    ProposalApproved,
    ProposalExpired,
    ProposalRejected,
)
from domain.risk import Measure, Scope, SetLimit

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PRINT = "9f" * 32
ADA = OsAccount(0, "root", "desk-1", 65534, 1000, "ada", (Claim("--actor", "b%C3%B6b"), Claim("SUDO_USER", "ada")))
BOB = ApiKey("0123456789ab", "bob")
RAISED = SetLimit("main", Scope("trend", "BTCUSDT.SIM"), Measure.MAX_POSITION, D("2.5"), None, AT)

EVENTS = (
    KeyIssued("0123456789ab", "bob", ("admin", "trade"), PRINT, ADA, AT),
    KeyRegistered("ba9876543210", "bot", ("report",), PRINT, AT, AT, AT),
    KeyRescoped("0123456789ab", "bob", ("read",), ("admin", "trade"), AT),
    KeyBounded("0123456789ab", "bob", Bounds(("main",), ("trend",), AT), Bounds(("main", "other")), AT),
    KeyRotated("0123456789ab", "bob", PRINT, AT, ADA, AT),
    KeyRevoked("0123456789ab", "bob", "left", AT),
    ApprovalPolicySet((Action.KEY, Action.LIMIT), 24, True, AT),
    ActionProposed("P1", Action.LIMIT, RAISED, ADA, AT, AT),
    ProposalApproved("P1", ADA, BOB, AT),
    ProposalRejected("P2", BOB, "too much", AT),
    ProposalExpired("P3", AT, AT),
)

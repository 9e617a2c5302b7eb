"""Approvals: which actions need a second person, and the requests that wait for one.

A deployment may require that actions which loosen its controls are proposed by one person and approved by another. The
requirement is on record itself; taking any of it back needs two as well. A proposal holds the request, and the
ledger decides it again, by the state of that moment, when it is approved. Who may be one person is decided by
`domain.access.identity`; which requests are such actions by `domain.ledger.approval`.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.access.identity import Identity, Part, label, likeness
from domain.access.keys import REASON_MAX, BoundKey, IssueKey, RescopeKey, RotateKey
from domain.account import ForgetSubject, ResolveBreak
from domain.errors import RequestRefused
from domain.immutable import PersistentMap
from domain.policies import SetPolicy
from domain.risk import EngageSwitch, ReleaseSwitch, SetConversion, SetLimit, SetTradingDay, StateCapital

STREAM = "approval:all"
VALID_HOURS = 24
VALID_HOURS_MAX = 24 * 31
PENDING_MAX = 1000


class Action(StrEnum):
    """An action that may need a second person."""

    LIMIT = "limit"  # raise or lift a limit, or change what one is measured by
    SWITCH = "switch"  # release a kill switch, or let it allow more
    BREAK = "break"  # dismiss a break by hand
    FORGET = "forget"  # forget a person
    POLICY = "policy"  # let a policy do less, or change what is hedged
    KEY = "key"  # issue an API key with the scope admin, give one that scope, wider bounds or another secret


class SetApprovalPolicy(Struct, frozen=True, tag="SetApprovalPolicy"):
    """Require a second person for these actions and for no others. A stored format too, in a proposal."""

    actions: tuple[Action, ...]
    valid_hours: int
    transact_time: datetime
    counts_issuer: bool = False


# What may be proposed: a stored format. The fields of these requests outlive this code; add new ones with defaults.
GuardedRequest = (
    SetLimit
    | SetTradingDay
    | SetConversion
    | StateCapital
    | EngageSwitch
    | ReleaseSwitch
    | ResolveBreak
    | ForgetSubject
    | IssueKey
    | RescopeKey
    | BoundKey
    | RotateKey
    | SetApprovalPolicy
    | SetPolicy
)


class Status(StrEnum):
    """Where a proposal stands."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class ApprovalPolicySet(Struct, frozen=True, tag="ApprovalPolicySet"):
    """From here on these actions, and no others, need a second person, within `valid_hours` of the proposal.

    With `counts_issuer` who issued a key counts as its holder, because of having seen its secret.
    """

    actions: tuple[Action, ...]
    valid_hours: int
    counts_issuer: bool
    transact_time: datetime


class ActionProposed(Struct, frozen=True, tag="ActionProposed"):
    """A request was made that needs a second person; it has no effect yet. `action` is None for the policy itself."""

    proposal_id: str
    action: Action | None
    request: GuardedRequest
    proposed_by: Identity
    expires_at: datetime
    transact_time: datetime


class ProposalApproved(Struct, frozen=True, tag="ProposalApproved"):
    """A proposal was approved by another person; the events of its request are in the same append, behind this one."""

    proposal_id: str
    proposed_by: Identity
    approved_by: Identity
    transact_time: datetime


class ProposalRejected(Struct, frozen=True, tag="ProposalRejected"):
    """A proposal was rejected, or withdrawn by who made it; it will have no effect."""

    proposal_id: str
    rejected_by: Identity
    reason: str
    transact_time: datetime


class ProposalExpired(Struct, frozen=True, tag="ProposalExpired"):
    """A proposal was not decided in time; it will have no effect. Recorded when a later request finds it."""

    proposal_id: str
    expires_at: datetime
    transact_time: datetime


ApprovalEvent = ApprovalPolicySet | ActionProposed | ProposalApproved | ProposalRejected | ProposalExpired


class ApproveProposal(Struct, frozen=True):
    """Approve a proposal, so that its request is carried out."""

    proposal_id: str
    transact_time: datetime


class RejectProposal(Struct, frozen=True):
    """Reject a proposal, or withdraw one's own."""

    proposal_id: str
    reason: str
    transact_time: datetime


class Proposal(Struct, frozen=True):
    """A proposal and where it stands; `decided_by` approved or rejected it."""

    proposal_id: str
    action: Action | None
    request: GuardedRequest
    proposed_by: Identity
    proposed_at: datetime
    expires_at: datetime
    status: Status = Status.PENDING
    decided_by: Identity | None = None
    reason: str = ""

    def status_at(self, now: datetime) -> Status:
        """Where it stands at a moment: one that is past its time counts as expired before that is on record."""
        return Status.EXPIRED if self.status is Status.PENDING and now >= self.expires_at else self.status


class Approvals(Struct, frozen=True):
    """The policy in force, and all proposals by their id."""

    actions: tuple[Action, ...] = ()
    valid_hours: int = VALID_HOURS
    counts_issuer: bool = False
    proposals: PersistentMap[str, Proposal] = PersistentMap()
    pending: tuple[str, ...] = ()

    def waiting(self, now: datetime) -> tuple[Proposal, ...]:
        """The proposals that can be approved at a moment, oldest first."""
        found = (self.proposals[name] for name in self.pending)
        return tuple(each for each in found if each.status_at(now) is Status.PENDING)


class Proposing(NamedTuple):
    """A request that needs a second person, why, and who makes it."""

    action: Action | None
    request: GuardedRequest
    proposed_by: Identity | None


def cause(proposal_id: str) -> str:
    """The cause in the envelope of what an approved proposal leads to."""
    return f"approval:{proposal_id}"


def check_policy(known: Approvals, request: SetApprovalPolicy) -> tuple[ApprovalEvent, ...]:
    """The events that set the policy; () if it is in force. Raises RequestRefused."""
    if not 1 <= request.valid_hours <= VALID_HOURS_MAX:
        raise RequestRefused(f"a proposal is valid for 1 to {VALID_HOURS_MAX} hours", valid_hours=request.valid_hours)
    actions = tuple(sorted(set(request.actions)))
    wanted = (actions, request.valid_hours, request.counts_issuer)
    if wanted == (known.actions, known.valid_hours, known.counts_issuer):
        return ()
    return (ApprovalPolicySet(*wanted, transact_time=request.transact_time),)


def is_loosened(known: Approvals, request: SetApprovalPolicy) -> bool:
    """Whether a policy would require less than the one in force: fewer actions, more time, or not to count issuers."""
    is_weaker = request.valid_hours > known.valid_hours or (known.counts_issuer and not request.counts_issuer)
    return bool(known.actions) and (is_weaker or bool(set(known.actions) - set(request.actions)))


def same(known: Approvals, proposing: Proposing, now: datetime) -> Proposal | None:
    """The proposal that waits for the same request of the same identity, but for its time; None if there is none."""
    wanted = replace(proposing.request, transact_time=now)
    for each in known.waiting(now):
        if each.proposed_by == proposing.proposed_by and replace(each.request, transact_time=now) == wanted:
            return each
    return None


def propose(known: Approvals, proposing: Proposing, now: datetime) -> tuple[ApprovalEvent, ...]:
    """The event that records a proposal, and those of proposals that have expired. Raises RequestRefused."""
    action, request, who = proposing
    if who is None or isinstance(who, Part):
        raise RequestRefused("what needs a second person is requested under an API key or an account", action=action)
    expired = _expired(known, now)
    if len(known.pending) - len(expired) >= PENDING_MAX:
        raise RequestRefused(f"at most {PENDING_MAX} proposals wait; approve or reject some", pending=PENDING_MAX)
    proposal_id = f"P{len(known.proposals) + 1}"
    expires_at = now + timedelta(hours=known.valid_hours)
    return (ActionProposed(proposal_id, action, request, who, expires_at=expires_at, transact_time=now), *expired)


def to_approve(known: Approvals, proposal_id: str, who: Identity | None, now: datetime) -> Proposal | None:
    """The proposal that an identity may approve; None if it has done so already. Raises RequestRefused."""
    proposal = _proposal(known, proposal_id)
    if proposal.status is Status.APPROVED and proposal.decided_by == who:
        return None
    _check_pending(proposal, now)
    if who is None or isinstance(who, Part):
        raise RequestRefused("a proposal is approved under an API key or an account", proposal_id=proposal_id)
    alike = likeness(proposal.proposed_by, who)
    if alike is not None:
        raise RequestRefused(
            f"a proposal is approved by another person than who made it; both have {alike}",
            proposal_id=proposal_id, proposed_by=label(proposal.proposed_by), approved_by=label(who),
        )  # fmt: skip
    return proposal


def approved(proposal: Proposal, who: Identity, now: datetime) -> tuple[ApprovalEvent, ...]:
    """The event that records an approval."""
    return (ProposalApproved(proposal.proposal_id, proposal.proposed_by, who, now),)


def reject(known: Approvals, request: RejectProposal, who: Identity | None, now: datetime) -> tuple[ApprovalEvent, ...]:
    """The events that reject a proposal; () if it is rejected already. Raises RequestRefused."""
    proposal = _proposal(known, request.proposal_id)
    if proposal.status is Status.REJECTED:
        return ()
    _check_pending(proposal, now)
    if who is None:
        raise RequestRefused("a proposal is rejected under an API key or an account", proposal_id=request.proposal_id)
    if not request.reason.strip() or len(request.reason) > REASON_MAX:
        raise RequestRefused(f"a reason of 1 to {REASON_MAX} characters", proposal_id=request.proposal_id)
    return (ProposalRejected(request.proposal_id, who, request.reason, now),)


def _proposal(known: Approvals, proposal_id: str) -> Proposal:
    proposal: Proposal | None = known.proposals.get(proposal_id)
    if proposal is None:
        raise RequestRefused("the proposal is on record; list those that wait", proposal_id=proposal_id)
    return proposal


def _check_pending(proposal: Proposal, now: datetime) -> None:
    status = proposal.status_at(now)
    if status is not Status.PENDING:
        raise RequestRefused(
            "only a pending proposal is decided; request the action again", proposal_id=proposal.proposal_id,
            status=status, expires_at=proposal.expires_at.isoformat(),
        )  # fmt: skip


def _expired(known: Approvals, now: datetime) -> tuple[ProposalExpired, ...]:
    found = (known.proposals[name] for name in known.pending)
    return tuple(ProposalExpired(each.proposal_id, each.expires_at, now) for each in found if now >= each.expires_at)


def evolve(known: Approvals | None, event: ApprovalEvent) -> Approvals:
    """The approvals after an event. Total and unconditional."""
    known = known or Approvals()
    match event:
        case ApprovalPolicySet():
            return replace(
                known, actions=event.actions, valid_hours=event.valid_hours, counts_issuer=event.counts_issuer
            )
        case ActionProposed():
            proposal = Proposal(
                event.proposal_id, event.action, event.request, event.proposed_by, proposed_at=event.transact_time,
                expires_at=event.expires_at,
            )  # fmt: skip
            pending = (*known.pending, event.proposal_id)
            return replace(known, proposals=known.proposals.put(event.proposal_id, proposal), pending=pending)
        case ProposalApproved():
            return _decided(known, event.proposal_id, Status.APPROVED, event.approved_by)
        case ProposalRejected():
            return _decided(known, event.proposal_id, Status.REJECTED, event.rejected_by, reason=event.reason)
        case ProposalExpired():
            return _decided(known, event.proposal_id, Status.EXPIRED, None)
        case _:
            assert_never(event)


def _decided(
    known: Approvals, proposal_id: str, status: Status, who: Identity | None, *, reason: str = ""
) -> Approvals:
    pending = tuple(name for name in known.pending if name != proposal_id)
    proposal: Proposal | None = known.proposals.get(proposal_id)
    if proposal is None:
        return replace(known, pending=pending)
    proposal = replace(proposal, status=status, decided_by=who, reason=reason)
    return replace(known, proposals=known.proposals.put(proposal_id, proposal), pending=pending)

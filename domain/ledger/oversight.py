"""Oversight: whether every action on record that needed a second person had one, and every key its giver's rights.

Reads events about controls in the order of the log, and decides each again by `domain.ledger.approval` on what the log
had until then. The request that an event carries out is read back from it.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from domain.access import (
    ActionProposed,
    ApprovalPolicySet,
    ApproveProposal,
    BoundKey,
    Found,
    GuardedRequest,
    IssueKey,
    KeyBounded,
    KeyIssued,
    KeyRegistered,
    KeyRequest,
    KeyRescoped,
    KeyRevoked,
    KeyRotated,
    Proposal,
    ProposalApproved,
    ProposalExpired,
    ProposalRejected,
    RescopeKey,
    RevokeKey,
    RotateKey,
    SetApprovalPolicy,
    present,
)
from domain.account import BreakResolved, ForgetSubject, SubjectForgotten, dismissal_of
from domain.errors import RequestRefused
from domain.ledger import approval
from domain.ledger.log import Logged, Recorded
from domain.ledger.unit_of_work import AGGREGATES
from domain.policies import PolicySet, SetPolicy
from domain.risk import (
    CapitalStated,
    ConversionSet,
    EngageSwitch,
    LimitSet,
    ReleaseSwitch,
    SetConversion,
    SetLimit,
    SetTradingDay,
    StateCapital,
    SwitchEngaged,
    SwitchReleased,
    TradingDaySet,
)

OVERSEEN = (
    LimitSet, SwitchEngaged, SwitchReleased, TradingDaySet, ConversionSet, CapitalStated, PolicySet, BreakResolved,
    SubjectForgotten, KeyIssued, KeyRegistered, KeyRescoped, KeyBounded, KeyRotated, KeyRevoked,
    ApprovalPolicySet, ActionProposed, ProposalApproved, ProposalRejected, ProposalExpired,
)  # fmt: skip

KINDS = ("access", "approval", "limit", "policy")  # the streams that decisions about controls read


class Lapse(NamedTuple):
    """An event that should not have been recorded as it is, and why."""

    seq: int
    topic: str
    stream: str
    reason: str


def request_of(event: Any) -> Any:
    """Return the request about a control that an event carries out; None for another event."""
    return _of_risk(event) or _of_access(event)


def _of_risk(event: Any) -> Any:
    match event:
        case LimitSet():
            return SetLimit(
                event.account_id, event.scope, event.measure, event.limit, currency=event.currency,
                transact_time=event.transact_time, status=event.status,
            )  # fmt: skip
        case SwitchEngaged():
            return EngageSwitch(
                event.account_id, event.scope, event.mode, event.reason, transact_time=event.transact_time
            )
        case SwitchReleased():
            return ReleaseSwitch(event.account_id, event.scope, event.reason, event.transact_time)
        case TradingDaySet():
            return SetTradingDay(event.account_id, event.starts_at_hour, event.transact_time)
        case ConversionSet():
            is_used = event.contract is not None
            return SetConversion(event.account_id, event.instrument_id, event.transact_time, is_used)
        case CapitalStated():
            return StateCapital(event.account_id, event.capital, event.transact_time)
        case _:
            return None


def _of_access(event: Any) -> Any:
    match event:
        case PolicySet():
            return SetPolicy(
                account_id=event.account_id, policy=event.policy, is_on=event.is_on, reason=event.reason,
                transact_time=event.transact_time, mode=event.mode, interval_seconds=event.interval_seconds,
                band=event.band, ages_seconds=event.ages_seconds,
            )  # fmt: skip
        case BreakResolved() if event.is_dismissal:
            return dismissal_of(event)
        case SubjectForgotten():
            return ForgetSubject(event.subject_id, event.reason, event.transact_time)
        case KeyIssued():
            return IssueKey(
                event.key_id, event.name, event.scopes, event.fingerprint, transact_time=event.transact_time,
                bounds=event.bounds,
            )  # fmt: skip
        case KeyRescoped():
            return RescopeKey(event.key_id, event.scopes, event.transact_time)
        case KeyBounded():
            return BoundKey(event.key_id, event.bounds, event.transact_time)
        case KeyRotated():
            overlap = (event.previous_until - event.transact_time) // timedelta(seconds=1)
            return RotateKey(event.key_id, event.fingerprint, overlap, event.transact_time)
        case KeyRevoked():
            return RevokeKey(event.key_id, event.reason, event.transact_time)
        case KeyRegistered(revoked_at=at) if at == event.transact_time:
            found = Found(event.name, event.scopes, event.fingerprint, event.issued_at)
            return RevokeKey(event.key_id, "", event.transact_time, found)
        case ApprovalPolicySet():
            return SetApprovalPolicy(event.actions, event.valid_hours, event.transact_time, event.counts_issuer)
        case ActionProposed():
            return event.request
        case ProposalApproved():
            return ApproveProposal(event.proposal_id, event.transact_time)
        case _:
            return None


class Oversight:
    """A check under way. `add` takes the events of `OVERSEEN`, by seq; it keeps their streams' states."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}
        self._approved: tuple[Proposal, int] | None = None  # carried out by the next event
        self.now = datetime.min  # noqa: DTZ901 (before the first event)
        self.checked = 0

    def state(self, stream: str) -> Any:
        """The state of a stream so far."""
        return self._states.get(stream)

    def add(self, logged: Logged) -> Lapse | None:
        """Check one more event; why it should not be there, if so."""
        seq, record = logged
        self.now = record.recorded_at
        try:
            reason = self._reason(seq, record)
        except RequestRefused as refused:
            reason = refused.rule
        kind = record.stream.partition(":")[0]
        if kind in KINDS:
            self._states[record.stream] = AGGREGATES[kind].evolve(self._states.get(record.stream), record.event)
        return Lapse(seq, type(record.event).__name__, record.stream, reason) if reason else None

    def _reason(self, seq: int, record: Recorded) -> str:
        event, who = record.event, record.by or record.actor
        request, carried_out = request_of(event), self._approved
        self._approved = None
        if isinstance(event, ProposalApproved):
            self.checked += 1
            proposal = approval.to_approve(self, request, event.approved_by)
            if proposal is None or (record.by, record.approved_by) != (event.proposed_by, event.approved_by):
                return "it does not name who proposed and approved it"
            self._approved = proposal, seq
            return ""
        if request is None or isinstance(event, ActionProposed):
            return ""
        if isinstance(request, KeyRequest):
            self.checked += 1
            approval.decided_keys(self, request, who)
        if record.approved_by is not None:
            is_it = self._is_carried_out(carried_out, seq, request)
            return "" if is_it else "no such proposal was approved right before it"
        wanted = approval.proposing(self, request, who)
        if wanted is None:
            return ""
        return f"it needed a second person ({wanted.action or 'policy'}), and no one approved it"

    def _is_carried_out(self, carried_out: tuple[Proposal, int] | None, seq: int, request: GuardedRequest) -> bool:
        """Whether a request is the one approved right before, but for its time and what the ledger fills in."""
        if carried_out is None or seq != carried_out[1] + 1:
            return False
        fillable = {name: getattr(request, name) for name in ("actor", "contract") if hasattr(request, name)}
        proposed = replace(carried_out[0].request, transact_time=request.transact_time, **fillable)
        if isinstance(proposed, SetPolicy):
            known = {name: value for name in _KEPT if (value := getattr(request, name)) is not None}
            given = {name: value for name in _KEPT if (value := getattr(proposed, name)) is not None}
            proposed = replace(proposed, **(known | given), asset=None)
        return _present(proposed) == _present(request)


_KEPT = (
    "mode",
    "interval_seconds",
    "ages_seconds",
    "band",
)  # kept by a policy where a request names none


def _present(request: GuardedRequest) -> GuardedRequest:
    """The request with scopes by their present names and bounds in sequence, as a key is issued with them."""
    if isinstance(request, IssueKey):
        return replace(request, scopes=present(request.scopes), bounds=request.bounds.present())
    if isinstance(request, RescopeKey):
        return replace(request, scopes=present(request.scopes))
    if isinstance(request, BoundKey):
        return replace(request, bounds=request.bounds.present())
    if isinstance(request, SetApprovalPolicy):
        return replace(request, actions=tuple(sorted(set(request.actions))))
    return request

"""Routing to access: API keys, the policy that requires a second person, and the requests that wait for one.

`action_of` decides by the state of the moment whether a request loosens something that the policy guards. A request
that does is decided once to see that it is not refused, and recorded as a proposal only; approved, it is decided again
and recorded in the name of who proposed it, with who approved it beside. What a key may do is that of the log.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from domain import policies, risk
from domain.access import (
    Action,
    Actor,
    ApiKey,
    Approvals,
    ApproveProposal,
    BoundKey,
    GuardedRequest,
    Identity,
    IssueKey,
    Key,
    KeyEvent,
    KeyRequest,
    Proposal,
    RejectProposal,
    RescopeKey,
    RotateKey,
    Scope,
    SetApprovalPolicy,
    approvals,
    identity,
    keys,
    likeness,
    rights,
)
from domain.access.approvals import Proposing
from domain.account import ForgetSubject, ResolveBreak
from domain.errors import RequestRefused
from domain.ledger.unit_of_work import UnitOfWork
from domain.marks import MARK_AGE_MAX
from domain.policies import SetPolicy
from domain.risk import (
    EngageSwitch,
    LimitStatus,
    Measure,
    Mode,
    ReleaseSwitch,
    Risk,
    SetConversion,
    SetLimit,
    SetTradingDay,
    StateCapital,
)

AccessRequest = KeyRequest | SetApprovalPolicy


class States(Protocol):
    """What decisions about access read: the present state of a stream, and the time."""

    now: datetime

    def state(self, stream: str) -> Any:
        """The state of a stream; None if it is empty."""


def state(work: States) -> Approvals:
    """The policy and the proposals."""
    known: Approvals | None = work.state(approvals.STREAM)
    return known or Approvals()


def carry_out(work: UnitOfWork, request: AccessRequest, actor: Actor) -> None:
    """Carry out a request about keys or the policy. Raises RequestRefused."""
    if isinstance(request, SetApprovalPolicy):
        work.record(approvals.STREAM, approvals.check_policy(state(work), request))
        return
    work.record(keys.stream(request.key_id), decided_keys(work, request, actor))


def decided_keys(work: States, request: KeyRequest, actor: Actor) -> tuple[KeyEvent, ...]:
    """The events of a request about a key, by the rights that its actor has on record. Raises RequestRefused."""
    who = identity(actor)
    return keys.decide(work.state(keys.stream(request.key_id)), request, _own_rights(work, who), who)


def _own_rights(work: States, who: Identity | None) -> frozenset[str] | None:
    """The rights of a key as on record, none of one that is not; None for an operator, who has all.

    One that is bounded to accounts or strategies manages no keys and approves nothing, with any scopes.
    """
    if not isinstance(who, ApiKey):
        return None
    key: Key | None = work.state(keys.stream(who.key_id))
    if key is None or not key.is_valid or key.is_expired(work.now):
        return frozenset()
    return rights(key.scopes) - {Scope.ADMIN} if key.bounds.is_partial else rights(key.scopes)


def is_guardable(request: object) -> bool:
    """Whether a policy could require a second person for requests of this kind."""
    return isinstance(request, GuardedRequest)


def proposing(work: States, request: object, actor: Actor) -> Proposing | None:
    """The request as one that needs a second person; None if it needs none by the policy and state of now."""
    if not isinstance(request, GuardedRequest):
        return None
    required = state(work)
    if isinstance(request, SetApprovalPolicy):
        return Proposing(None, request, identity(actor)) if approvals.is_loosened(required, request) else None
    if not required.actions:
        return None
    action = action_of(work, request)
    return Proposing(action, request, identity(actor)) if action in required.actions else None


def action_of(work: States, request: GuardedRequest) -> Action | None:
    """What a request loosens; None if it loosens nothing."""
    match request:
        case SetLimit():
            return Action.LIMIT if _is_limit_loosened(_risk(work, request.account_id), request) else None
        case SetTradingDay():
            is_changed = request.starts_at_hour != _risk(work, request.account_id).starts_at_hour
            return Action.LIMIT if is_changed else None
        case SetConversion():
            is_changed = request.is_used != (request.instrument_id in _risk(work, request.account_id).conversions)
            return Action.LIMIT if is_changed else None
        case StateCapital():
            return Action.LIMIT if _is_capital_changed(_risk(work, request.account_id), request) else None
        case ReleaseSwitch():
            return Action.SWITCH if request.scope in _risk(work, request.account_id).switches else None
        case EngageSwitch():
            known = _risk(work, request.account_id).switches.get(request.scope)
            is_looser = known is not None and known.mode is Mode.HALT and request.mode is not Mode.HALT
            return Action.SWITCH if is_looser else None
        case ResolveBreak():
            return Action.BREAK
        case SetPolicy():
            own, firm = (work.state(policies.stream(each)) for each in (request.account_id, risk.FIRM))
            return Action.POLICY if policies.is_loosened(own, firm, request) else None
        case ForgetSubject():
            return Action.FORGET
        case IssueKey(scopes=scopes):
            return Action.KEY if Scope.ADMIN in scopes else None
        case RescopeKey(key_id=key_id, scopes=scopes):
            return Action.KEY if Scope.ADMIN in scopes and not _is_admin(work, key_id) else None
        case BoundKey(key_id=key_id, bounds=bounds):
            bounded: Key | None = work.state(keys.stream(key_id))
            is_wider = bounded is not None and bounds.is_looser_than(bounded.bounds)
            return Action.KEY if is_wider and _is_admin(work, key_id) else None
        case RotateKey(key_id=key_id):
            return Action.KEY if _is_admin(work, key_id) else None
        case _:
            return None


def _is_admin(work: States, key_id: str) -> bool:
    key: Key | None = work.state(keys.stream(key_id))
    return key is not None and Scope.ADMIN in key.scopes


def _risk(work: States, account_id: str) -> Risk:
    known: Risk | None = work.state(risk.stream(account_id))
    return known or Risk()


def _is_limit_loosened(known: Risk, request: SetLimit) -> bool:
    """Whether an active limit is raised, lifted or moved to another status, or counts in another currency."""
    if request.status is not LimitStatus.ACTIVE:
        return risk.moved(known, request) is LimitStatus.ACTIVE
    limit = known.limits.get((request.scope, request.measure))
    if limit is None or limit.limit is None:
        allowed = (
            Decimal(MARK_AGE_MAX.seconds) if request.measure is Measure.MAX_MARK_AGE else None
        )  # unless one is set
        return allowed is not None and request.limit is not None and request.limit > allowed
    was: Decimal = limit.limit
    return request.limit is None or request.limit > was or request.currency != limit.currency


def _is_capital_changed(known: Risk, request: StateCapital) -> bool:
    """Whether limits of equity would measure by a larger capital, or by another one that may be larger."""
    before = known.statement.capital if known.statement is not None else None
    capital = request.capital
    if before is None or capital is None or before.currency != capital.currency:
        return before != capital
    return capital.amount > before.amount


def propose(work: UnitOfWork, wanted: Proposing) -> str:
    """Record a proposal, unless the same one waits already; its id. Raises RequestRefused."""
    known = state(work)
    waiting = approvals.same(known, wanted, work.now)
    if waiting is not None:
        return waiting.proposal_id
    recorded = work.record(approvals.STREAM, approvals.propose(known, wanted, work.now))
    proposal_id: str = recorded[0].event.proposal_id
    return proposal_id


def to_approve(work: States, request: ApproveProposal, actor: Actor) -> Proposal | None:
    """The proposal that is to be carried out; None if this identity has approved it before. Raises RequestRefused."""
    who = identity(actor)
    own = _own_rights(work, who)
    if own is not None and Scope.ADMIN not in own:
        raise RequestRefused("a proposal is approved by a key with the scope admin", proposal_id=request.proposal_id)
    proposal = approvals.to_approve(state(work), request.proposal_id, who, work.now)
    if proposal is None:
        return None
    if state(work).counts_issuer and who is not None:
        _check_issuers(work, proposal, who)
    proposer = _own_rights(work, proposal.proposed_by)
    if proposer is not None and Scope.ADMIN not in proposer:
        raise RequestRefused(
            "the key that proposed it is valid and has the scope admin still", proposal_id=request.proposal_id
        )
    return proposal


def _check_issuers(work: States, proposal: Proposal, who: Identity) -> None:
    """Check that neither person issued the other's key, and so has seen its secret. Raises RequestRefused."""
    for holder, other in ((proposal.proposed_by, who), (who, proposal.proposed_by)):
        key: Key | None = work.state(keys.stream(holder.key_id)) if isinstance(holder, ApiKey) else None
        if key is not None and (key.issued_by is None or likeness(key.issued_by, other) is not None):
            raise RequestRefused(
                "a proposal is approved by another person than who issued the key, and has seen its secret",
                proposal_id=proposal.proposal_id, key_id=key.key_id,
            )  # fmt: skip


def record_approval(work: UnitOfWork, proposal: Proposal, who: Identity) -> None:
    """Record that a proposal was approved."""
    work.record(approvals.STREAM, approvals.approved(proposal, who, work.now))


def reject(work: UnitOfWork, request: RejectProposal, actor: Actor) -> None:
    """Record that a proposal is rejected. Raises RequestRefused."""
    work.record(approvals.STREAM, approvals.reject(state(work), request, identity(actor), work.now))

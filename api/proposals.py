"""Proposals: requests that wait for a second person, as records, and what their approval does beside the log."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from api.encoding import plain
from domain.access import Approvals, Proposal, RescopeKey, approvals
from domain.access.identity import Identity, text
from domain.account import ForgetSubject

if TYPE_CHECKING:
    from api.daybook import Daybook

SECRET = ("fingerprint",)  # of no use to who approves


def proposal_record(proposal: Proposal, now: datetime) -> dict[str, Any]:
    """Return a proposal as a record: the request with its kind, who made it and who decided it, both in full."""
    fields = {name: value for name, value in plain(proposal.request).items() if name not in SECRET}
    return {
        "proposal_id": proposal.proposal_id,
        "status": proposal.status_at(now),
        "action": proposal.action or "policy",
        "request": {"type": type(proposal.request).__name__, **fields},
        "proposed_by": identity_record(proposal.proposed_by),
        "proposed_at": proposal.proposed_at,
        "expires_at": proposal.expires_at,
        "decided_by": identity_record(proposal.decided_by) if proposal.decided_by is not None else None,
        "reason": proposal.reason,
    }


def identity_record(one: Identity) -> dict[str, Any]:
    """Return an identity as it is stored, with its text for people."""
    return {"text": text(one), **msgspec.to_builtins(one)}


def policy_record(known: Approvals) -> dict[str, Any]:
    """Return the policy in force."""
    return {
        "actions": list(known.actions), "valid_hours": known.valid_hours, "counts_issuer": known.counts_issuer,
    }  # fmt: skip


def known_approvals(daybook: "Daybook") -> Approvals:
    """Return the policy and the proposals as of now, read apart from the writer."""
    known: Approvals | None = daybook.state(approvals.STREAM)
    return known or Approvals()


def settle(daybook: "Daybook", proposal: Proposal) -> None:
    """Do beside the log what an approved request leads to there; done again it changes nothing."""
    match proposal.request:
        case RescopeKey(key_id=key_id):
            daybook.keys.settle(key_id)
        case ForgetSubject(subject_id=subject_id):
            daybook.subjects.forget(subject_id)
        case _:
            pass

"""Proposals: requests that wait for a second person, and what their approval does beside the log."""

from typing import TYPE_CHECKING

from domain.access import Approvals, Proposal, RescopeKey, approvals
from domain.account import ForgetSubject

if TYPE_CHECKING:
    from api.daybook import Daybook


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

"""A request of the command line: carried out in the name of who runs it, or shown as a proposal that waits."""

from typing import TYPE_CHECKING

import typer

from api.clock import now
from api.terminal.options import actor
from api.terminal.output import note, say, write_json
from domain.access import approvals

if TYPE_CHECKING:
    from api.daybook import Daybook
    from domain.ledger import Answer, Request


def requested(daybook: "Daybook", request: "Request", *, json: bool) -> "Answer":
    """Carry out a request and return its answer. One that needs a second person is shown, and the command ends."""
    done = daybook.writer.request(request, actor=actor())
    if done.proposal_id:
        show_proposal(daybook, done.proposal_id, json=json)
        raise typer.Exit
    return done


def show_proposal(daybook: "Daybook", proposal_id: str, *, json: bool) -> None:
    """Show a proposal that waits, and how it is approved."""
    from api.encoding import proposal_record

    proposal = daybook.writer.state(approvals.STREAM).proposals[proposal_id]
    if json:
        write_json(proposal_record(proposal, now()))
        return
    say(f"Proposed as {proposal_id}: it takes effect when another person approves it.")
    note(f"daybook approve {proposal_id}, by {proposal.expires_at:%Y-%m-%d %H:%M} UTC")

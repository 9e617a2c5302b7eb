"""A request of the command line: carried out in the name of who runs it, or shown as a proposal that waits."""

from typing import TYPE_CHECKING, cast, get_args

import typer

from api.clock import now
from api.terminal.options import actor
from api.terminal.output import note, say, write_json
from domain import ledger
from domain.access import approvals

if TYPE_CHECKING:
    from api.daybook import Daybook
    from domain.ledger import Answer, Report, Request


def requested(daybook: "Daybook", request: "Request | Report", *, json: bool) -> "Answer":
    """Carry out a request, or record a report, and return the answer. Raises what the ledger raises.

    One that needs a second person is shown, and the command ends.
    """
    who = actor()
    if not isinstance(request, get_args(ledger.Request)):
        (reported,) = daybook.writer.report([cast("Report", request)], actor=who)
        if reported.error is not None:
            raise reported.error
        return reported
    done = daybook.writer.request(cast("Request", request), actor=who)
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

"""`daybook approval`, `approve` and `reject`: which actions need a second person, and the requests that wait."""

from typing import Annotated, Any

import typer

from api.clock import now
from api.problems import not_found
from api.terminal.options import actor, name_option, opened
from api.terminal.output import Column, Json, Kind, say, write_json, write_table
from api.terminal.requests import requested
from domain.access import Action, Approvals, ApproveProposal, RejectProposal, SetApprovalPolicy, Status, approvals
from domain.access.approvals import VALID_HOURS, VALID_HOURS_MAX

approval = typer.Typer(
    name="approval", help="Actions that need a second person: require, off, show, list.", no_args_is_help=True
)
UNSHOWN = ("type", "transact_time", "scope")
ProposalId = Annotated[str, typer.Argument(parser=name_option, metavar="PROPOSAL", help="Its id, as listed: P1.")]


@approval.command()
def require(
    actions: Annotated[
        list[Action],
        typer.Argument(
            help="limit: raise or lift limits. switch: release kill switches. break: dismiss breaks. forget: forget"
            " people. policy: let a policy do less, or change a hedge. key: give an API key the scope admin."
        ),
    ],
    valid_hours: Annotated[
        int, typer.Option(min=1, max=VALID_HOURS_MAX, help="How long a proposal may be approved.")
    ] = VALID_HOURS,
    counts_issuer: Annotated[
        bool, typer.Option("--issuer-counts", help="Who issued a key counts as its holder, having seen its secret.")
    ] = False,
    json: Json = False,
) -> None:
    """Require a second person for these actions, and for no others. To require less than before needs one itself."""
    _set(SetApprovalPolicy(tuple(actions), valid_hours, now(), counts_issuer), json=json)


@approval.command()
def off(json: Json = False) -> None:
    """Require no second person any more; that needs one."""
    _set(SetApprovalPolicy((), VALID_HOURS, now()), json=json)


def _set(request: SetApprovalPolicy, *, json: bool) -> None:
    with opened() as daybook:
        requested(daybook, request, json=json)
        known = daybook.writer.state(approvals.STREAM)
    _show(known or Approvals(), json=json)


@approval.command()
def show(json: Json = False) -> None:
    """Show which actions need a second person."""
    with opened() as daybook:
        known = daybook.writer.state(approvals.STREAM)
    _show(known or Approvals(), json=json)


def _show(known: Approvals, *, json: bool) -> None:
    from api.encoding import policy_record

    if json:
        write_json(policy_record(known))
    elif known.actions:
        issuer = "; who issued a key counts as its holder" if known.counts_issuer else ""
        say(f"A second person is needed for: {', '.join(known.actions)}; within {known.valid_hours} hours{issuer}.")
    else:
        say("No action needs a second person.")


@approval.command(name="list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Decided and expired ones too.")] = False, json: Json = False
) -> None:
    """List the proposals that wait for a second person."""
    from api.encoding import proposal_record

    with opened() as daybook:
        known = daybook.writer.state(approvals.STREAM)
    at = now()
    found = [proposal_record(each, at) for each in (known.proposals.values() if known else ())]
    found = sorted(
        (one for one in found if every or one["status"] is Status.PENDING), key=lambda one: one["proposed_at"]
    )
    if json:
        write_json({"proposals": found})
        return
    rows = [
        one | {"by": one["proposed_by"]["text"], "what": _what(one["request"]),
               "decided": one["decided_by"]["text"] if one["decided_by"] else ""}
        for one in found
    ]  # fmt: skip
    columns = [
        Column("proposal_id", "Id"), Column("status", "Status"), Column("what", "Request"), Column("by", "Proposed by"),
        Column("expires_at", "Until", Kind.TIME, rank=1), Column("decided", "Decided by", rank=1),
    ]  # fmt: skip
    write_table("Proposals", rows, columns, empty="No proposal waits.")


def _what(request: dict[str, Any]) -> str:
    fields = {**request, **request.get("scope", {})}
    shown = [f"{name} {value}" for name, value in fields.items() if name not in UNSHOWN and value not in (None, "", [])]
    return f"{request['type']}: {', '.join(shown)}"


def approve(proposal_id: ProposalId, json: Json = False) -> None:
    """Approve what another person has proposed: it is decided again by the state of now, and takes effect."""
    from api.operations.proposals import settle

    with opened() as daybook:
        known = daybook.writer.state(approvals.STREAM)
        if known is None or proposal_id not in known.proposals:
            raise not_found(f"proposal {proposal_id}", proposal_id=proposal_id)
        done = daybook.writer.request(ApproveProposal(proposal_id, now()), actor=actor())
        settle(daybook, known.proposals[proposal_id])
    if json:
        write_json({"proposal_id": proposal_id, "status": Status.APPROVED, "seq": done.seq})
    else:
        say(f"{proposal_id} is approved and carried out." if done.records else f"{proposal_id} was approved already.")


def reject(
    proposal_id: ProposalId,
    reason: Annotated[str, typer.Option(help="Why; kept on record.")],
    json: Json = False,
) -> None:
    """Reject a proposal, or withdraw your own."""
    with opened() as daybook:
        known = daybook.writer.state(approvals.STREAM)
        if known is None or proposal_id not in known.proposals:
            raise not_found(f"proposal {proposal_id}", proposal_id=proposal_id)
        done = daybook.writer.request(RejectProposal(proposal_id, reason, now()), actor=actor())
    if json:
        write_json({"proposal_id": proposal_id, "status": Status.REJECTED, "seq": done.seq})
    else:
        say(f"{proposal_id} is rejected." if done.records else f"{proposal_id} was rejected already.")

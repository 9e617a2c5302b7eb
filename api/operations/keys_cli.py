"""`daybook keys`: create, list, re-scope and revoke API keys. A key is shown once, when it is created."""

from typing import Annotated, Any

import typer

from adapters.postgres.scopes import Scope
from api.clock import now
from api.problems import not_found
from api.terminal.options import actor, name_option, opened
from api.terminal.output import Column, Json, Kind, note, say, write_json, write_table
from api.terminal.requests import show_proposal
from domain.access import present

keys = typer.Typer(
    name="keys",
    help="Create, list, re-scope and revoke API keys; show and rotate the key that signs checkpoints.",
    no_args_is_help=True,
)
SCOPES = (
    "What the key may do; may be repeated. read: read positions, orders, reports (every key may). trade: submit and"
    " cancel orders. record: record fills, transfers, marks. audit: read the log. admin: accounts, limits, keys,"
    " approvals. personal: names of owners. report: deprecated alias of record."
)
Scopes = Annotated[list[Scope], typer.Option("--scope", help=SCOPES)]
KeyId = Annotated[
    str, typer.Argument(parser=name_option, metavar="KEY", help="Its id: the part after dbk_, as listed.")
]


@keys.command()
def create(
    name: Annotated[
        str,
        typer.Argument(
            parser=name_option, metavar="ACTOR", help="Who uses the key; recorded as the actor of its events."
        ),
    ],
    scope: Scopes,
    json: Json = False,
) -> None:
    """Create an API key. Every key may read the read models; scopes allow more."""
    with opened() as daybook:
        issued = daybook.keys.issued(name, scope, now=now(), actor=actor())
        proposed: dict[str, Any] = {}
        if issued.answer.proposal_id:
            proposed = {"proposal_id": issued.answer.proposal_id}
            if not json:
                show_proposal(daybook, issued.answer.proposal_id, json=False)
    _warn(scope)
    if json:
        shown = {"key": issued.key, "key_id": issued.key_id, "actor": name, "scopes": list(present(scope))}
        write_json(shown | proposed)
        return
    say(issued.key)
    note("Copy it now: only its hash is stored, and it is not shown again.")
    if proposed:
        note("It opens nothing until it is approved.")


def _warn(scopes: list[Scope]) -> None:
    if Scope.REPORT in scopes:
        note("The scope report is a deprecated alias of record; it is recorded as record.")


@keys.command(name="list")
def list_(json: Json = False) -> None:
    """List API keys, without their secrets. One whose row differs from the log is refused, and named."""
    with opened() as daybook:
        rows = [row._asdict() for row in daybook.keys.all()]
    if json:
        write_json({"keys": rows})
        return
    columns = [
        Column("key_id", "Key"),
        Column("actor", "Actor"),
        Column("scopes", "Scopes"),
        Column("created_at", "Created", Kind.TIME, rank=2),
        Column("revoked_at", "Revoked", Kind.TIME),
    ]
    if any(row["difference"] for row in rows):
        columns.append(Column("difference", "Refused, because"))
    write_table("API keys", rows, columns, empty="No API keys. Create one: daybook keys create NAME --scope trade")


@keys.command()
def rescope(key_id: KeyId, scope: Scopes, json: Json = False) -> None:
    """Give an API key other scopes: all that it has from now on."""
    with opened() as daybook:
        if all(row.key_id != key_id for row in daybook.keys.all()):
            raise not_found(f"an API key {key_id}", key_id=key_id)
        done = daybook.keys.rescope(key_id, scope, now=now(), actor=actor())
        if done.proposal_id:
            show_proposal(daybook, done.proposal_id, json=json)
            return
    _warn(scope)
    scopes = list(present(scope))
    if json:
        write_json({"key_id": key_id, "scopes": scopes, "is_changed": bool(done.records)})
    else:
        say(f"{key_id} has the scopes {', '.join(scopes)}.")


@keys.command()
def revoke(
    key_id: KeyId,
    reason: Annotated[str, typer.Option(help="Why; kept on record.")] = "",
    json: Json = False,
) -> None:
    """Revoke an API key. It stops working within seconds."""
    with opened() as daybook:
        is_revoked = daybook.keys.revoke(key_id, reason=reason, now=now(), actor=actor())
    if is_revoked is None:
        raise not_found(f"an API key {key_id}", key_id=key_id)
    if json:
        write_json({"key_id": key_id, "is_revoked_now": is_revoked})
    else:
        say(f"Revoked {key_id}." if is_revoked else f"{key_id} was already revoked.")

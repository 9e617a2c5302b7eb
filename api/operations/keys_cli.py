"""`daybook keys`: create, list and revoke API keys. A key is shown once, when it is created."""

from typing import Annotated

import typer

from adapters.postgres.scopes import Scope
from api.problems import not_found
from api.terminal.options import name_option, opened
from api.terminal.output import Column, Json, Kind, note, say, write_json, write_table

keys = typer.Typer(
    name="keys",
    help="Create, list and revoke API keys; show and rotate the key that signs checkpoints.",
    no_args_is_help=True,
)


@keys.command()
def create(
    actor: Annotated[
        str,
        typer.Argument(
            parser=name_option, metavar="ACTOR", help="Who uses the key; recorded as the actor of its events."
        ),
    ],
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; may be repeated.")],
    json: Json = False,
) -> None:
    """Create an API key. Every key may read the read models; scopes allow more."""
    with opened() as daybook:
        key = daybook.keys.issue(actor, scope)
    if json:
        write_json({"key": key, "key_id": key.split("_")[1], "actor": actor, "scopes": sorted(set(scope))})
    else:
        say(key)
        note("Copy it now: only its hash is stored, and it is not shown again.")


@keys.command(name="list")
def list_(json: Json = False) -> None:
    """List API keys, without their secrets."""
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
    write_table("API keys", rows, columns, empty="No API keys. Create one: daybook keys create NAME --scope trade")


@keys.command()
def revoke(
    key_id: Annotated[
        str, typer.Argument(parser=name_option, metavar="KEY", help="Its id: the part after dbk_, as listed.")
    ],
    json: Json = False,
) -> None:
    """Revoke an API key. It stops working within seconds."""
    with opened() as daybook:
        is_revoked = daybook.keys.revoke(key_id)
    if is_revoked is None:
        raise not_found(f"an API key {key_id}", key_id=key_id)
    if json:
        write_json({"key_id": key_id, "is_revoked_now": is_revoked})
    else:
        say(f"Revoked {key_id}." if is_revoked else f"{key_id} was already revoked.")

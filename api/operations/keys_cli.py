"""`daybook keys`: API keys, made, listed and revoked. A key is shown once, when it is made."""

from typing import Annotated

import typer

from adapters.postgres.scopes import Scope
from api.problems import not_found
from api.terminal.options import name_option, opened
from api.terminal.output import Column, Json, Kind, note, say, write_json, write_table

keys = typer.Typer(name="keys", help="API keys: make, list, revoke; and those that seal.", no_args_is_help=True)


@keys.command()
def create(
    actor: Annotated[str, typer.Argument(parser=name_option, metavar="ACTOR", help="Who uses it; lands in events.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")],
    json: Json = False,
) -> None:
    """Make a key. Every key may read the read models; scopes say what else it may do."""
    with opened() as book:
        key = book.keys.issue(actor, scope)
    if json:
        write_json({"key": key, "key_id": key.split("_")[1], "actor": actor, "scopes": sorted(set(scope))})
    else:
        say(key)
        note("Keep it now: only its hash is stored, and it is not shown again.")


@keys.command(name="list")
def list_(json: Json = False) -> None:
    """List keys, without their secrets."""
    with opened() as book:
        rows = [row._asdict() for row in book.keys.all()]
    if json:
        write_json({"keys": rows})
        return
    columns = [
        Column("key_id", "Key"),
        Column("actor", "Actor"),
        Column("scopes", "Scopes"),
        Column("created_at", "Made", Kind.TIME, rank=2),
        Column("revoked_at", "Revoked", Kind.TIME),
    ]
    write_table("API keys", rows, columns, empty="No API keys. Make one: daybook keys create NAME --scope trade")


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(parser=name_option, metavar="KEY", help="The part after dbk_, as listed.")],
    json: Json = False,
) -> None:
    """Revoke a key; it stops working within seconds."""
    with opened() as book:
        is_revoked = book.keys.revoke(key_id)
    if is_revoked is None:
        raise not_found(f"an API key {key_id}", key_id=key_id)
    if json:
        write_json({"key_id": key_id, "is_revoked_now": is_revoked})
    else:
        say(f"Revoked {key_id}." if is_revoked else f"{key_id} was revoked before.")

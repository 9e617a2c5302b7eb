"""`daybook keys`: create, list, bound, rotate, re-scope and revoke API keys. A secret is shown once."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import to_builtins

from adapters.postgres.scopes import Scope
from api.clock import now
from api.encoding import time_text
from api.problems import not_found
from api.terminal.options import actor, name_option, opened, time_option
from api.terminal.output import Column, Json, Kind, note, say, write_json, write_table
from api.terminal.requests import show_proposal
from domain.access import Bounds, present
from domain.access.keys import OVERLAP_SECONDS, OVERLAP_SECONDS_MAX

if TYPE_CHECKING:
    from adapters.postgres.api_keys import Issued
    from api.daybook import Daybook

OPTIONAL = ("accounts", "strategies", "last_used_at", "expires_at")  # columns that are shown where a key has any

keys = typer.Typer(
    name="keys",
    help="Create, list, bound, rotate, re-scope and revoke API keys; show and rotate the key that signs checkpoints.",
    no_args_is_help=True,
)
SCOPES = (
    "What the key may do; may be repeated. read: read positions, orders, reports (every key may). trade: submit and"
    " cancel orders. record: record fills, transfers, marks. audit: read the log. admin: accounts, limits, keys,"
    " approvals. personal: names of owners. report: deprecated alias of record."
)
Scopes = Annotated[list[Scope], typer.Option("--scope", help=SCOPES)]
Accounts = Annotated[
    list[str] | None,
    typer.Option(
        "--account", parser=name_option, metavar="ID",
        help="Bound it to this account: it shows and changes nothing of others. May be repeated.",
    ),
]  # fmt: skip
Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy", parser=name_option, metavar="ID",
        help="Bound it to this strategy; it is refused what is not by strategy. May be repeated.",
    ),
]  # fmt: skip
Expires = Annotated[
    datetime | None,
    typer.Option("--expires", parser=time_option, metavar="TIME", help="The time up to which it is valid, in UTC."),
]
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
    scope: Annotated[list[Scope] | None, typer.Option("--scope", help=SCOPES)] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only scopes that change nothing: read if none is given.")
    ] = False,
    account: Accounts = None,
    strategy: Strategies = None,
    expires: Expires = None,
    json: Json = False,
) -> None:
    """Create an API key. Every key may read the read models; scopes allow more, bounds less."""
    scopes = _given(scope or [], read_only=read_only)
    bounds = Bounds(tuple(account or ()), tuple(strategy or ()), expires)
    with opened() as daybook:
        issued = daybook.keys.issued(name, scopes, now=now(), bounds=bounds, actor=actor())
        proposed = _proposed(daybook, issued, json=json)
    _warn(scopes)
    about = {"actor": name, "scopes": list(present(scopes)), **to_builtins(bounds)}
    _show_secret(issued, about | proposed, is_proposed=bool(proposed), json=json)


def _given(scopes: list[Scope], *, read_only: bool) -> list[Scope]:
    """Return the scopes of a new key. Raises BadParameter."""
    writing = [scope for scope in scopes if scope not in (Scope.READ, Scope.AUDIT, Scope.PERSONAL)]
    if read_only and writing:
        raise typer.BadParameter(
            f"{writing[0]} changes something, and the key is to be read-only", param_hint="--scope"
        )
    if not scopes and not read_only:
        raise typer.BadParameter("give at least one, or --read-only", param_hint="--scope")
    return scopes or [Scope.READ]


def _proposed(daybook: "Daybook", issued: "Issued", *, json: bool) -> dict[str, Any]:
    """Show that a request waits for a second person, if it does; return the id of its proposal."""
    if not issued.answer.proposal_id:
        return {}
    if not json:
        show_proposal(daybook, issued.answer.proposal_id, json=False)
    return {"proposal_id": issued.answer.proposal_id}


def _show_secret(issued: "Issued", about: dict[str, Any], *, is_proposed: bool, json: bool) -> None:
    if json:
        write_json({"key": issued.key, "key_id": issued.key_id, **about})
        return
    say(issued.key)
    note("Copy it now: only its hash is stored, and it is not shown again.")
    if is_proposed:
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
        Column("accounts", "Accounts", rank=1),
        Column("strategies", "Strategies", rank=3),
        Column("created_at", "Created", Kind.TIME, rank=4),
        Column("last_used_at", "Last used", Kind.TIME, rank=2),
        Column("expires_at", "Expires", Kind.TIME, rank=2),
        Column("revoked_at", "Revoked", Kind.TIME),
    ]
    columns = [each for each in columns if each.name not in OPTIONAL or any(row[each.name] for row in rows)]
    if any(row["difference"] for row in rows):
        columns.append(Column("difference", "Refused, because"))
    write_table("API keys", rows, columns, empty="No API keys. Create one: daybook keys create NAME --scope trade")


@keys.command()
def rescope(key_id: KeyId, scope: Scopes, json: Json = False) -> None:
    """Give an API key other scopes: all that it has from now on."""
    with opened() as daybook:
        _check_known(daybook, key_id)
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
def bound(
    key_id: KeyId, account: Accounts = None, strategy: Strategies = None, expires: Expires = None, json: Json = False
) -> None:
    """Bound an API key to accounts, strategies or a time: all bounds that it has from now on; without any, none."""
    bounds = Bounds(tuple(account or ()), tuple(strategy or ()), expires)
    with opened() as daybook:
        _check_known(daybook, key_id)
        done = daybook.keys.bound(key_id, bounds, now=now(), actor=actor())
        if done.proposal_id:
            show_proposal(daybook, done.proposal_id, json=json)
            return
    if json:
        write_json({"key_id": key_id, **to_builtins(bounds), "is_changed": bool(done.records)})
        return
    shown = [
        f"the {name} {', '.join(parts)}" for name, parts in (("accounts", account), ("strategies", strategy)) if parts
    ]
    shown += [f"the time until {time_text(expires)}"] if expires else []
    say(f"{key_id} is bounded to {' and '.join(shown)}." if shown else f"{key_id} has no bounds.")


@keys.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        int,
        typer.Option(min=0, max=OVERLAP_SECONDS_MAX, metavar="SECONDS", help="How long the secret of now is valid."),
    ] = OVERLAP_SECONDS,
    json: Json = False,
) -> None:
    """Give an API key another secret; the one of now is valid beside it for a while."""
    with opened() as daybook:
        _check_known(daybook, key_id)
        issued = daybook.keys.rotated(key_id, overlap_seconds=overlap, now=now(), actor=actor())
        proposed = _proposed(daybook, issued, json=json)
    until = None if proposed else issued.answer.records[0].event.previous_until
    _show_secret(issued, {"previous_until": until, **proposed}, is_proposed=bool(proposed), json=json)
    if until is not None and not json:
        note(f"The secret before it is valid until {time_text(until)}.")


def _check_known(daybook: "Daybook", key_id: str) -> None:
    if all(row.key_id != key_id for row in daybook.keys.all()):
        raise not_found(f"an API key {key_id}", key_id=key_id)


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

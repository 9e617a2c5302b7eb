"""`daybook evidence`: what could not be read, and what becomes of it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec.structs import asdict

from api.intake.controls_cli import BreakIdArgument, dismiss
from api.intake.importing.cli import Assets, Dates, Pairs, stated_by
from api.terminal.options import AccountId, actor, opened, read
from api.terminal.output import EXIT_REFUSED, Column, Json, note, say, write_json, write_table
from domain.errors import RequestRefused

if TYPE_CHECKING:
    from projections.models.breaks import BreakRow

RAW_SHOWN_MAX = 60
LISTED_MAX = 1000

evidence = typer.Typer(
    name="evidence", help="What could not be read: list, show, retry, dismiss.", no_args_is_help=True
)


@evidence.command(name="list")
def list_(
    account: AccountId = "main",
    is_all: Annotated[bool, typer.Option("--all", help="Also what was read later, or dismissed.")] = False,
    json: Json = False,
) -> None:
    """List rows of files and venue reports that could not be read, the newest first."""
    from api.encoding import plain
    from projections.models.breaks import HEADER, OPEN, UNREADABLE, breaks

    with opened() as daybook, read(daybook, "breaks") as at:
        status = None if is_all else OPEN
        rows = breaks(at.source, account, kind=UNREADABLE, status=status, limit=LISTED_MAX)
    rows = [row for row in rows if row["report_type"] != HEADER]
    if json:
        write_json({"items": [plain(row) for row in rows]})
        return
    columns = [
        Column("source", "Source"), Column("rule", "Why it could not be read"), Column("raw", "As it came", rank=1),
        Column("status", "Status"), Column("break_id", "Evidence"),
    ]  # fmt: skip
    shown: list[dict[str, Any]] = [dict(row) | {"raw": (row["raw"] or "")[:RAW_SHOWN_MAX]} for row in rows]
    write_table(f"Evidence of {account}", shown, columns, empty="Nothing is unreadable.")


@evidence.command()
def show(evidence_id: BreakIdArgument, account: AccountId = "main", json: Json = False) -> None:
    """Show one piece of evidence as it came."""
    from api.encoding import plain

    with opened() as daybook, read(daybook, "breaks") as at:
        row = _found(at, account, evidence_id)
    if json:
        write_json(plain(row))
        return
    say(f"{row['source']}, {row['venue']}: {row['status'].lower()}" + (f", {row['reason']}" if row["reason"] else ""))
    say(f"  {row['rule']}")
    say(row["raw"] or "")


def _found(at: Any, account: str, evidence_id: str) -> "BreakRow":
    from projections.models.breaks import UNREADABLE, breaks

    found = breaks(at.source, account, kind=UNREADABLE, break_id=evidence_id, limit=1)
    if not found:
        raise RequestRefused("an open break", break_id=evidence_id, account_id=account)
    return found[0]


@evidence.command()
def retry(
    evidence_ids: Annotated[list[str] | None, typer.Argument(metavar="[EVIDENCE]...", help="Absent: all.")] = None,
    account: AccountId = "main",
    dates: Dates = None,
    pairs: Pairs = None,
    assets: Assets = None,
    json: Json = False,
) -> None:
    """Read evidence again, after an upgrade or with an answer, and record what can be read now."""
    from api.intake.importing.evidence import retried

    stated = stated_by(dates, pairs or [], assets)
    with opened() as daybook, read(daybook, "breaks") as at:
        done = retried(daybook, at, account, evidence_ids or [], stated=stated, actor=actor())
    left = [each for each in done if not each.is_ended]
    if json:
        write_json({"items": [asdict(each) for each in done], "unreadable": len(left)})
    else:
        say(f"{len(done):,} read again: {len(done) - len(left):,} are settled, {len(left):,} are left.")
        for each in left:
            note(f"  {each.source}: {each.reason}")
    if left:
        raise typer.Exit(EXIT_REFUSED)


@evidence.command(name="dismiss")
def dismiss_(
    evidence_id: BreakIdArgument,
    why: Annotated[str, typer.Option(help="Why nothing of it is to be recorded; kept on record.")],
    account: AccountId = "main",
    json: Json = False,
) -> None:
    """Dismiss evidence: nothing of it is to be recorded."""
    with opened() as daybook, read(daybook, "breaks") as at:
        _found(at, account, evidence_id)
    dismiss(evidence_id, why, account, json)

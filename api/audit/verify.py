"""The work of `daybook verify`, `export`, `checkpoint` and `keys seal`; the commands are in `api.audit.cli`.

Verifying changes nothing in the database, not even its revision.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.log import snapshot_check
from adapters.log.postgres import PostgresLog
from adapters.log.snapshot_check import Refolded
from adapters.postgres import connections
from adapters.postgres.connections import Role, connect, reaching
from adapters.postgres.migrations import check_revision
from adapters.proof import checkpoints, closings, figure_proofs
from adapters.proof.checkpoints import Note, PublicKey
from adapters.proof.figure_proofs import Answer
from adapters.proof.sealer import Sealer
from adapters.proof.signing_keys import KeyRing
from adapters.proof.tiles import identity, origin_of, tenures
from adapters.verify import bundles
from adapters.verify.bundles import Manifest, Proved, Selection
from adapters.verify.completeness import Outcome
from adapters.verify.restore import restore
from adapters.verify.verification import Verified, VerifyRequest, verify
from api.audit.figures import Figures, WrongFigure, check_closings, figures_of
from api.daybook import Daybook
from api.parameters import Moment
from api.problems import not_found
from api.terminal.columns import PNL, POSITIONS
from api.terminal.options import environment, opened
from api.terminal.output import (
    EXIT_NOT_SHOWN,
    EXIT_REFUSED,
    Column,
    Kind,
    console,
    note,
    say,
    write_json,
    write_table,
)
from domain.errors import HistoryBroken, InvalidInput
from domain.ledger import scan

JUST_BEFORE = timedelta(microseconds=1)
ROWS_SHOWN_MAX = 500  # of a table for people; a terminal's layout of a row costs more than its proof
CHECKPOINTS_FILE_BYTES_MAX = 64 * 1024 * 1024


def verify_log(
    *,
    bundle: Path | None,
    first: int,
    upto: int | None,
    against: Path | None,
    vkey: str | None,
    snapshots: bool = False,
    figures: bool = False,
    json: bool,
) -> None:
    """Recompute every hash and signature, and name the first event that differs from what was signed.

    A bundle is verified without a database or network; its positions and PnL are computed from the proved bytes.
    """
    kept, key = checkpoints_in(against), checkpoints.public_key(vkey) if vkey is not None else None
    if bundle is not None:
        if figure_proofs.is_proof(bundle):
            _verify_proof(bundle, kept, key, json=json)
        else:
            _verify_bundle(bundle, kept, key, json=json)
        return
    settings = environment()
    url = settings.url or connections.locate(settings.server_home(), None)
    check_revision(url)
    with _bar("verifying", is_quiet=json) as advance:
        found = verify(url, VerifyRequest(first, upto, key, kept), on_progress=advance)
    verified = _verified_json(found)
    refolded, wrong = None, str(found.finding) if found.finding else ""
    if snapshots and not wrong:
        with _bar("folding", is_quiet=json) as advance:
            refolded = snapshot_check.check(url, advance)
        verified["snapshots"] = refolded._asdict() | {"wrong": [each._asdict() for each in refolded.wrong]}
        wrong = _what_is_wrong(refolded)
    closed = None
    if figures and not wrong:
        closed = _closed_figures(url)
        verified["figures"] = _figures_json(closed)
        wrong = _wrong_figures(closed.wrong)
    if json:
        write_json(verified)
    elif found.finding is None:
        _show_verified(found)
    if closed is not None and not wrong and not json:
        say(f"Closings that state what follows from the events: {closed.closings:,}.")
    if refolded is not None and not wrong and not json:
        say(f"{refolded.checked:,} snapshots equal what their streams fold to.")
        if refolded.foreign:
            note(f"{refolded.foreign:,} snapshots of other releases were not checked; this release does not use them.")
    if wrong:
        raise HistoryBroken(wrong) if not json else typer.Exit(EXIT_REFUSED)


def remember_snapshots(*, json: bool) -> None:
    """Write the snapshots of long streams for this release."""
    with opened() as daybook, _bar("folding", is_quiet=json) as advance:
        streams = snapshot_check.remember(daybook.url, advance)
    if json:
        write_json({"streams": streams})
    else:
        say(f"Snapshots of {streams:,} long streams are written.")


def export(
    file: Path, account: str | None, first: Moment | None, upto: Moment | None, *, size: int | None = None, json: bool
) -> None:
    """Export a bundle with its proofs: the whole ledger, one account, or a period; by the checkpoint of `size`."""
    with opened() as daybook:
        daybook.seal()
        selection = Selection(account, _first_seq(daybook, first), _last_seq(daybook, upto), size)
        with _bar("exporting", is_quiet=json) as advance:
            manifest = bundles.export(daybook.url, file, selection, on_progress=advance)
    if json:
        write_json(_manifest_json(manifest) | {"file": str(file)})
    else:
        what = "the whole ledger" if manifest.is_whole else f"seq {manifest.first} to {manifest.upto}"
        say(f"{file}: {manifest.events:,} events of {what}, proved by the checkpoint of {manifest.tree_size:,} events.")
        note(f"Signed by {manifest.vkey}")


def import_bundle(file: Path, *, json: bool) -> None:
    """Restore a ledger from a bundle of all of it into an empty database."""
    settings = environment()
    with bundles.opened(file) as bundle, Daybook.open(settings) as daybook, _bar("restoring", is_quiet=json) as advance:
        proved = restore(daybook.url, bundle, on_progress=advance)
    if json:
        write_json(_manifest_json(proved.manifest))
    else:
        say(f"{file}: {proved.manifest.events:,} events are restored, with the same seqs and the same root.")
        if not KeyRing(settings.home, _uuid(proved), proved.manifest.origin).has(proved.keys[-1].key):
            note(
                "The key that signed them is not here: copy it, or start a new one with daybook keys seal rotate --lost"
            )


def checkpoint(*, json: bool) -> None:
    """Show the newest checkpoint."""
    with opened() as daybook:
        daybook.seal()
        with reaching(daybook.url):
            found = daybook.proofs.latest()
    if found is None:
        raise not_found("a checkpoint")
    size, text = found[0].checkpoint.size, found[1]
    if json:
        write_json({"size": size, "note": text})
    else:
        typer.echo(text, nl=False)


def show_keys(*, json: bool) -> None:
    """Show the public keys of checkpoints, and whether their private keys are here."""
    settings = environment()
    with opened(settings) as daybook, reaching(daybook.url), connect(daybook.url, Role.AUDITOR) as connection:
        ledger_id, chain = identity(connection), tenures(connection)
    ring = KeyRing(settings.home, ledger_id, origin_of(ledger_id)) if ledger_id else None
    rows = [
        {"vkey": each.key.vkey, "since_size": each.since, "is_here": ring is not None and ring.has(each.key)}
        for each in chain
    ]
    if json:
        write_json({"keys": rows})
        return
    columns = [
        Column("vkey", "Public key"),
        Column("since_size", "Since seq", Kind.NUMBER),
        Column("is_here", "Private key here"),
    ]
    write_table(
        "Keys that sign checkpoints", rows, columns, empty="No key yet: the first is created with the first checkpoint."
    )


def rotate_key(*, is_lost: bool, json: bool) -> None:
    """Replace the signing key. The old key signs a last checkpoint, which names the new one."""
    settings = environment()
    with opened(settings) as daybook:
        if not is_lost:
            daybook.seal()
        tenure = Sealer(daybook.url, settings.home).rotate(is_lost=is_lost)
    if json:
        write_json({"vkey": tenure.key.vkey, "since_size": tenure.since, "is_vouched_for": tenure.handover is not None})
    else:
        say(tenure.key.vkey)
        note("Publish it where auditors find it. The old private key is no longer needed; its file is kept.")


# Bundles


def _verify_bundle(path: Path, kept: list[Note], key: PublicKey | None, *, json: bool) -> None:
    with bundles.opened(path) as bundle:
        with _bar("verifying", is_quiet=json) as advance:
            proved = bundle.prove(key, against=kept, on_progress=advance)
        found = figures_of(bundle)
    if json:
        write_json(_proved_json(proved, found.positions, found.pnl) | {"figures": _figures_json(found)})
    else:
        _show_proved(path, proved, found.positions, found.pnl, is_key_known=key is not None or bool(kept))
        if found.closings and not found.wrong:
            say(f"Closings that state what follows from the events: {found.closings:,}.")
        if found.unchecked:
            note(f"{found.unchecked:,} more closings were not computed again: daybook verify --figures does.")
    if found.wrong:
        raise HistoryBroken(_wrong_figures(found.wrong)) if not json else typer.Exit(EXIT_REFUSED)
    match proved.completeness.outcome:
        case Outcome.COMPLETE:
            return
        case Outcome.NOT_SHOWN:
            raise typer.Exit(EXIT_NOT_SHOWN)
        case Outcome.INCOMPLETE:
            if json:
                raise typer.Exit(EXIT_REFUSED)
            raise HistoryBroken(f"incomplete: {path} is not all of {_claim(proved)}: {proved.completeness.reason}")


def _claim(proved: Proved) -> str:
    """Return what a bundle claims to have, in words."""
    manifest = proved.manifest
    if manifest.is_whole:
        return "the whole ledger"
    whose = "the ledger" if manifest.account is None else f"account {manifest.account}"
    return f"{whose}, seq {manifest.first} to {manifest.upto}"


def _show_proved(
    path: Path, proved: Proved, held: Sequence[Mapping[str, Any]], gained: Sequence[Mapping[str, Any]], *,
    is_key_known: bool,
) -> None:  # fmt: skip
    manifest, shown = proved.manifest, proved.completeness
    is_complete = shown.outcome is Outcome.COMPLETE
    which = "every one is proved" if is_complete else "each of these is proved"
    say(f"{path}: {manifest.events:,} events, {_claim(proved)} of {manifest.ledger_id}: {which}.")
    say(f"Root {manifest.root} of {manifest.tree_size:,} events, signed by {manifest.vkey}")
    match shown.outcome:
        case Outcome.COMPLETE:
            on_condition = "" if is_key_known else ", if that key is the ledger's"
            say(f"Complete: nothing of {_claim(proved)} was left out{on_condition}.")
        case Outcome.NOT_SHOWN:
            say(f"Completeness not shown: {shown.reason}. Events may have been left out.")
        case Outcome.INCOMPLETE:
            say(f"Incomplete: {shown.reason}.")
    if not is_key_known:
        note(
            "Compare that key with the one you were given, or pass that one with --key: no bundle vouches for its key."
        )
    if manifest.first > 1:
        note(f"The bundle begins at seq {manifest.first}: these figures leave out what was held before.")
    of_what = "from the proved bytes" if is_complete else "OF THESE EVENTS ONLY, which may not be all"
    if is_complete and manifest.first > 1:
        of_what = f"OF SEQ {manifest.first} TO {manifest.upto} ONLY"
    _show_figures(f"Positions, {of_what}", held, POSITIONS, empty="No positions.")
    if gained:
        _show_figures(f"PnL, {of_what}", gained, PNL, empty="")


def _proved_json(
    proved: Proved, held: Sequence[Mapping[str, Any]], gained: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the result; figures of a bundle that is not complete from the start are below `of_these_events_only`."""
    shown = proved.completeness
    is_complete = shown.outcome is Outcome.COMPLETE
    are_all = is_complete and proved.manifest.first == 1
    figures = {"positions": held, "pnl": gained}
    missing = [each._asdict() | {"group": each.group or None} for each in shown.missing]
    return _manifest_json(proved.manifest) | {
        "is_proved": is_complete,
        "are_events_proved": True,
        "completeness": {
            "outcome": str(shown.outcome), "claim": _claim(proved), "reason": shown.reason or None,
            "missing": missing, "gaps": [each._asdict() for each in shown.gaps],
        },
        **(figures if are_all else {"positions": None, "pnl": None}),
        "of_these_events_only": None if are_all else figures,
    }  # fmt: skip


def _show_figures(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, empty: str) -> None:
    write_table(title, rows[:ROWS_SHOWN_MAX], columns, empty=empty)
    if len(rows) > ROWS_SHOWN_MAX:
        note(f"{len(rows) - ROWS_SHOWN_MAX:,} more are not shown (use --json)")


def _manifest_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "ledger_id": manifest.ledger_id, "is_whole": manifest.is_whole, "account": manifest.account,
        "first": manifest.first, "upto": manifest.upto, "events": manifest.events, "tree_size": manifest.tree_size,
        "root": manifest.root, "vkey": manifest.vkey,
    }  # fmt: skip


def _closed_figures(url: str) -> Figures:
    """Compute the figures of all closings of a database again, from its events."""
    with PostgresLog(url, Role.AUDITOR) as log, log.connection() as connection:
        found = closings.all_closings(connection)
        kept = {
            one.event.as_of_seq: values
            for one in found
            if (values := closings.kept_values(connection, one.event.as_of_seq)) is not None
        }
        upto = max((one.event.as_of_seq for one in found), default=0)
        wrong = check_closings(scan(log, upto=upto), found, kept) if found else ()
        return Figures([], [], len(found), tuple(wrong))


def _figures_json(found: Figures) -> dict[str, Any]:
    return {"closings": found.closings, "unchecked": found.unchecked, "wrong": [each._asdict() for each in found.wrong]}


def _wrong_figures(wrong: Sequence[WrongFigure]) -> str:
    return f"figures wrong in {len(wrong):,} of the closings, the first in {wrong[0]}" if wrong else ""


# Proofs of figures


def _verify_proof(path: Path, kept: list[Note], key: PublicKey | None, *, json: bool) -> None:
    shown = figure_proofs.check(figure_proofs.load(path), key, kept)
    closing, checkpoint = shown.closing, shown.note.checkpoint
    if json:
        write_json(
            {
                "is_proved": True, "answer": str(shown.answer), "key": shown.key, "value": shown.value,
                "as_of_seq": closing.as_of_seq, "closed_before": closing.closed_before.isoformat(),
                "closing_seq": shown.closing_seq, "versions": closing.versions, "tree_size": checkpoint.size,
                "root": _base64(checkpoint.root), "vkey": shown.signer.vkey,
            }
        )  # fmt: skip
        return
    match shown.answer:
        case Answer.NEVER:
            say(f"{shown.key} never existed, as of seq {closing.as_of_seq:,}.")
        case Answer.ZERO:
            say(f"{shown.key} is zero, as of seq {closing.as_of_seq:,}.")
        case Answer.STATED:
            say(f"{shown.key}, as of seq {closing.as_of_seq:,}:")
    for name, value in (shown.value or {}).items():
        say(f"  {name}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}")
    say(f"Closed at seq {shown.closing_seq:,}, in the log of {checkpoint.size:,} events, signed by {shown.signer.vkey}")
    if key is None and not kept:
        note("Compare that key with the one you were given, or pass that one with --key: no proof vouches for its key.")


# Databases


def _verified_json(found: Verified) -> dict[str, Any]:
    finding = found.finding
    return {
        "is_proved": finding is None,
        "ledger_id": str(found.ledger_id) if found.ledger_id else None,
        "first": found.first,
        "last": found.last,
        "sealed": found.sealed,
        "root": _base64(found.root),
        "checkpoints": found.checkpoints,
        "maps": found.maps,
        "vkey": found.keys[-1].key.vkey if found.keys else None,
        "against": list(found.against),
        "finding": finding
        and {"fault": str(finding.fault), "seq": finding.seq, "upto": finding.upto, "detail": finding.detail},
    }


def _what_is_wrong(refolded: Refolded) -> str:
    if not refolded.wrong:
        return ""
    first = refolded.wrong[0]
    return (
        f"snapshots wrong: {len(refolded.wrong)} of {refolded.checked}, the first that of {first.stream} at version "
        f"{first.version}: {first.reason}. The log itself is not affected. Stop the service, empty ledger.snapshots "
        "(it is a cache), start again, and review what was decided since"
    )


def _show_verified(found: Verified) -> None:
    if not found.last:
        say("The log is empty.")
        return
    say(f"Events {found.first:,} to {found.last:,} of ledger {found.ledger_id} are what was signed.")
    checked = f"{found.checkpoints:,} checkpoints checked, {found.maps:,} with a map of accounts"
    say(f"Root {_base64(found.root)} of {found.sealed:,} events, {checked}.")
    say(f"Signed by {found.keys[-1].key.vkey}")
    for size in found.against:
        say(f"Nothing up to seq {size:,} was rewritten since the given checkpoint was signed.")
    if found.last > found.sealed:
        note(f"Events {found.sealed + 1:,} to {found.last:,} are not sealed yet.")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def checkpoints_in(path: Path | None) -> list[Note]:
    """Return the checkpoints of a file. Raises InvalidInput for any other file."""
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            content = file.read(CHECKPOINTS_FILE_BYTES_MAX + 1)
        if len(content) > CHECKPOINTS_FILE_BYTES_MAX:
            raise InvalidInput("against", str(path), f"a file of at most {CHECKPOINTS_FILE_BYTES_MAX} bytes")
        found = checkpoints.parse_many(content.decode())
    except OSError as error:
        raise InvalidInput("against", str(path), f"a file that can be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("against", str(path), "a file of checkpoints") from error
    if not found:
        raise InvalidInput("against", str(path), "a file of checkpoints: it has none")
    return found


def _first_seq(daybook: Daybook, moment: Moment | None) -> int:
    if moment is None:
        return 1
    if moment.at is None:
        return max(moment.seq or 1, 1)
    return daybook.log.seq_at(moment.at - JUST_BEFORE) + 1


def _last_seq(daybook: Daybook, moment: Moment | None) -> int | None:
    if moment is None:
        return None
    return moment.seq if moment.at is None else daybook.log.seq_at(moment.at)


def _uuid(proved: Proved) -> UUID:
    return UUID(proved.manifest.ledger_id)


@contextmanager
def _bar(what: str, *, is_quiet: bool) -> Iterator[bundles.OnProgress]:
    err = console(is_error=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=is_quiet or not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

"""What `daybook verify`, `export`, `checkpoint` and `keys seal` do; the commands themselves are in `cli_proof`.

Verifying changes nothing in the database, not even its revision.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.log import snapshot_check
from adapters.log.snapshot_check import Refolded
from adapters.postgres import connections
from adapters.postgres.connections import Role, connect, reaching
from adapters.postgres.migrations import check_revision
from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note, PublicKey
from adapters.proof.sealer import Sealer
from adapters.proof.signing_keys import KeyRing
from adapters.proof.tiles import identity, origin_of, tenures
from adapters.verify import bundles
from adapters.verify.bundles import Manifest, Proved, Selection
from adapters.verify.range_check import topic_of
from adapters.verify.restore import restore
from adapters.verify.verification import Verified, VerifyRequest, verify
from api.daybook import Daybook
from api.parameters import Moment
from api.problems import not_found
from api.terminal.columns import PNL, POSITIONS
from api.terminal.options import environment, opened
from api.terminal.output import EXIT_REFUSED, Column, Kind, console, note, say, write_json, write_table
from domain.errors import HistoryBroken, InvalidInput
from domain.ledger import Logged, schema
from projections.analytics.pnl import pnl
from projections.models.positions import PROJECTION, positions
from projections.storage.rows import MemoryRows

JUST_BEFORE = timedelta(microseconds=1)
NOTES_FILE_CHARACTERS_MAX = 64 * 1024 * 1024


def verify_log(
    bundle: Path | None,
    first: int,
    upto: int | None,
    against: Path | None,
    vkey: str | None,
    *,
    snapshots: bool = False,
    json: bool,
) -> None:
    """Recompute every hash and signature, and name the first event that is not what was signed.

    Of a BUNDLE no database and no network is needed; its positions and PnL are refolded from the proved bytes.
    """
    kept, key = _kept(against), checkpoints.public_key(vkey) if vkey is not None else None
    if bundle is not None:
        _verify_bundle(bundle, kept, key, json=json)
        return
    settings = environment()
    url = connections.locate(settings.home, settings.url)
    check_revision(url)
    with _bar("verifying", is_quiet=json) as advance:
        found = verify(url, VerifyRequest(first, upto, key, kept), on_progress=advance)
    told = _verified_told(found)
    refolded, wrong = None, str(found.finding) if found.finding else ""
    if snapshots and not wrong:
        with _bar("folding", is_quiet=json) as advance:
            refolded = snapshot_check.check(url, advance)
        told["snapshots"] = refolded._asdict() | {"wrong": [each._asdict() for each in refolded.wrong]}
        wrong = _what_is_wrong(refolded)
    if json:
        write_json(told)
    elif found.finding is None:
        _say_verified(found)
    if refolded is not None and not wrong and not json:
        say(f"{refolded.checked:,} snapshots are what their streams fold to.")
        if refolded.foreign:
            note(f"{refolded.foreign:,} others are not of this release, and not used by it.")
    if wrong:
        raise HistoryBroken(wrong) if not json else typer.Exit(EXIT_REFUSED)


def remember_snapshots(*, json: bool) -> None:
    """Fold every long stream by this release, and remember it."""
    with opened() as book, _bar("folding", is_quiet=json) as advance:
        streams = snapshot_check.remember(book.url, advance)
    if json:
        write_json({"streams": streams})
    else:
        say(f"{streams:,} long streams are remembered.")


def export(file: Path, account: str | None, first: Moment | None, upto: Moment | None, *, json: bool) -> None:
    """Write a bundle that proves itself: the whole ledger, or an account, or a period of it."""
    with opened() as book:
        book.seal()
        selection = Selection(account, _first_of(book, first), _last_of(book, upto))
        with _bar("exporting", is_quiet=json) as advance:
            manifest = bundles.export(book.url, file, selection, on_progress=advance)
    if json:
        write_json(_manifest_told(manifest) | {"file": str(file)})
    else:
        what = "the whole ledger" if manifest.is_whole else f"seq {manifest.first} to {manifest.upto}"
        say(f"{file}: {manifest.events:,} events of {what}, proved by the checkpoint of {manifest.tree_size:,} events.")
        note(f"Signed by {manifest.vkey}")


def import_bundle(file: Path, *, json: bool) -> None:
    """Restore a ledger from a whole bundle into an empty database."""
    settings = environment()
    with bundles.opened(file) as bundle, Daybook.open(settings) as book, _bar("restoring", is_quiet=json) as advance:
        proved = restore(book.url, bundle, on_progress=advance)
    if json:
        write_json(_manifest_told(proved.manifest))
    else:
        say(f"{file}: {proved.manifest.events:,} events are restored, with the same seqs and the same root.")
        if not KeyRing(settings.home, _uuid(proved), proved.manifest.origin).has(proved.keys[-1].key):
            note(
                "The key that signed them is not here: copy it, or begin a new one with daybook keys seal rotate --lost"
            )


def checkpoint(*, json: bool) -> None:
    """Show the newest checkpoint: keep it elsewhere, and `daybook verify --against` it later."""
    with opened() as book:
        book.seal()
        with reaching(book.url):
            found = book.proofs.latest()
    if found is None:
        raise not_found("a checkpoint")
    size, text = found[0].checkpoint.size, found[1]
    if json:
        write_json({"size": size, "note": text})
    else:
        typer.echo(text, nl=False)


def show_keys(*, json: bool) -> None:
    """Show the public keys that checkpoints are signed by, and whether the newest can be used here."""
    settings = environment()
    with opened(settings) as book, reaching(book.url), connect(book.url, Role.AUDITOR) as connection:
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
        Column("vkey", "Key"),
        Column("since_size", "Since", Kind.NUMBER),
        Column("is_here", "Private half here"),
    ]
    write_table("Keys that seal", rows, columns, empty="No key yet: the first is made with the first checkpoint.")


def rotate_key(*, is_lost: bool, json: bool) -> None:
    """Begin a new key. The old one signs its last checkpoint, which names the new one."""
    settings = environment()
    with opened(settings) as book:
        if not is_lost:
            book.seal()
        tenure = Sealer(book.url, settings.home).rotate(is_lost=is_lost)
    if json:
        write_json({"vkey": tenure.key.vkey, "since_size": tenure.since, "is_vouched_for": tenure.handover is not None})
    else:
        say(tenure.key.vkey)
        note("Publish it where auditors look. The old private key is not needed any more; its file is kept.")


# Bundles


def _verify_bundle(path: Path, kept: list[Note], key: PublicKey | None, *, json: bool) -> None:
    with bundles.opened(path) as bundle:
        with _bar("verifying", is_quiet=json) as advance:
            proved = bundle.prove(key, against=kept, on_progress=advance)
        rows = _refolded(bundle)
    manifest = proved.manifest
    is_partial = manifest.first > 1
    held, gained = positions(rows), pnl(rows, marks={})
    if json:
        write_json(_manifest_told(manifest) | {"is_proved": True, "positions": held, "pnl": gained})
        return
    what = "the whole ledger" if manifest.is_whole else f"seq {manifest.first} to {manifest.upto} of the ledger"
    say(f"{path}: {manifest.events:,} events, {what} {manifest.ledger_id}: every one is proved.")
    say(f"Root {manifest.root} of {manifest.tree_size:,} events, signed by {manifest.vkey}")
    if key is None:
        note("Compare that key with the one you were given, or name it with --key: a bundle cannot vouch for its own.")
    if is_partial:
        note(f"The bundle begins at seq {manifest.first}: what was held before is not in these figures.")
    write_table("Positions, from the proved bytes", held, POSITIONS, empty="It holds no positions.")
    if gained:
        write_table("PnL, from the proved bytes", gained, PNL, empty="")


def _refolded(bundle: bundles.Bundle) -> MemoryRows:
    rows = MemoryRows()
    for seq, state in bundle.lines():
        PROJECTION.fold(rows, [Logged(seq, schema.decode(topic_of(state), state))])
    return rows


def _manifest_told(manifest: Manifest) -> dict[str, Any]:
    return {
        "ledger_id": manifest.ledger_id, "is_whole": manifest.is_whole, "account": manifest.account,
        "first": manifest.first, "upto": manifest.upto, "events": manifest.events, "tree_size": manifest.tree_size,
        "root": manifest.root, "vkey": manifest.vkey,
    }  # fmt: skip


# Databases


def _verified_told(found: Verified) -> dict[str, Any]:
    finding = found.finding
    return {
        "is_proved": finding is None,
        "ledger_id": str(found.ledger_id) if found.ledger_id else None,
        "first": found.first,
        "last": found.last,
        "sealed": found.sealed,
        "root": _base64(found.root),
        "checkpoints": found.checkpoints,
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
        f"{first.version}: {first.reason}. The log is not touched by it. Stop the service, empty ledger.snapshots "
        "(it is a cache), start again, and look into what was decided since"
    )


def _say_verified(found: Verified) -> None:
    if not found.last:
        say("The log is empty.")
        return
    say(f"Events {found.first:,} to {found.last:,} of ledger {found.ledger_id} are what was signed.")
    say(f"Root {_base64(found.root)} of {found.sealed:,} events, {found.checkpoints:,} checkpoints checked.")
    say(f"Signed by {found.keys[-1].key.vkey}")
    for size in found.against:
        say(f"Nothing up to seq {size:,} was rewritten since the checkpoint given was signed.")
    if found.last > found.sealed:
        note(f"Events {found.sealed + 1:,} to {found.last:,} are not sealed yet.")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _kept(path: Path | None) -> list[Note]:
    if path is None:
        return []
    try:
        found = checkpoints.parse_many(path.read_text("utf-8")[:NOTES_FILE_CHARACTERS_MAX])
    except UnicodeDecodeError as error:
        raise InvalidInput("against", str(path), "a file of checkpoints") from error
    if not found:
        raise InvalidInput("against", str(path), "a file of checkpoints: it has none")
    return found


def _first_of(book: Daybook, moment: Moment | None) -> int:
    if moment is None:
        return 1
    if moment.at is None:
        return max(moment.seq or 1, 1)
    return book.log.seq_at(moment.at - JUST_BEFORE) + 1


def _last_of(book: Daybook, moment: Moment | None) -> int | None:
    if moment is None:
        return None
    return moment.seq if moment.at is None else book.log.seq_at(moment.at)


def _uuid(proved: Proved) -> UUID:
    return UUID(proved.manifest.ledger_id)


@contextmanager
def _bar(what: str, *, is_quiet: bool) -> Iterator[bundles.OnProgress]:
    err = console(is_error=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=is_quiet or not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

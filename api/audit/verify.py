"""The work of `daybook verify`, `export`, `checkpoint` and `keys seal`; the commands are in `api.audit.cli`.

Verifying changes nothing in the database, not even its revision.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.log import snapshot_check
from adapters.log.postgres import PostgresLog
from adapters.log.snapshot_check import Refolded
from adapters.postgres import connections
from adapters.postgres.connections import Role, connect, name, reaching
from adapters.postgres.migrations import check_revision
from adapters.proof import checkpoints, closings, figure_proofs, key_record, policies
from adapters.proof.checkpoints import Note, Pin, Tenure
from adapters.proof.figure_proofs import Answer
from adapters.proof.policies import Policy
from adapters.proof.sealer import Sealer
from adapters.proof.signing_keys import KeyRing
from adapters.proof.tiles import identity, origin_of, tenures
from adapters.verify import bundles, keys_check, oversight_check
from adapters.verify.bundles import Manifest, Proved, Selection
from adapters.verify.completeness import Outcome
from adapters.verify.derivation import OfBundle, derive, derive_bundle
from adapters.verify.keys_check import KeysChecked
from adapters.verify.mark_check import check_marks
from adapters.verify.oversight_check import Overseen
from adapters.verify.restore import restore
from adapters.verify.verification import Verified, VerifyRequest, verify
from api.audit import trust, witnessed
from api.audit.derivation import (
    bundle_derived_json,
    derived_json,
    show_bundle_derived,
    show_derived,
    what_does_not_follow,
)
from api.audit.figures import Figures, WrongFigure, check_closings, figures_of
from api.audit.marks import marks_json, marks_wrong, show_marks
from api.audit.proofs import newest_note
from api.daybook import Daybook
from api.parameters import Moment
from api.settings import Settings
from api.terminal.columns import PNL, POSITIONS
from api.terminal.options import actor, environment, opened
from api.terminal.output import (
    EXIT_NOT_SHOWN,
    EXIT_REFUSED,
    Column,
    Kind,
    console,
    note,
    say,
    warn,
    write_json,
    write_table,
)
from domain.errors import HistoryBroken, InvalidInput, RequestRefused
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
    keys: Sequence[str] = (),
    policy_file: Path | None = None,
    snapshots: bool = False,
    derivation: bool | None = None,
    figures: bool = False,
    json: bool,
) -> None:
    """Recompute every hash and signature, and name the first event that differs from what was signed.

    A bundle is verified without a database or network; its positions and PnL are computed from the proved bytes.
    With `derivation`, of a bundle unless it is False, every request and report is decided again as well.
    """
    kept, given, settings = checkpoints_in(against), trust.given_keys(keys), environment()
    policy = None if policy_file is None else policies.read(policy_file)
    if bundle is not None:
        if (proof := witnessed.proof_in(bundle)) is not None:
            witnessed.verify_proof(proof, given, policy, settings, json=json)
        elif figure_proofs.is_proof(bundle):
            _verify_proof(bundle, _Expected(kept, given, policy), settings, json=json)
        else:
            _verify_bundle(
                bundle, _Expected(kept, given, policy), settings, is_derived=derivation is not False, json=json
            )
        return
    url = settings.url or connections.locate(settings.server_home(), None)
    check_revision(url)
    home = trust.pins_of_home(settings, is_made=True)
    origin, chain = trust.published(url)
    pins = [*given, *witnessed.policy_pins(policy, origin, chain)]
    pins += trust.of_home(home, origin, chain, "" if any(pin.key.name == origin for pin in pins) else name(url))
    with _bar("verifying", is_quiet=json) as advance:
        found = verify(url, VerifyRequest(first, upto, against=kept, pins=pins), on_progress=advance)
    seen = None if policy is None or found.finding else witnessed.of_database(url, policy, upto)
    believed = trust.Trust([*pins, *checkpoints.pins_of(kept, found.keys)])
    if not believed.pins and found.keys and found.finding is None:
        believed = trust.Trust((), trust.pin_first_use(url, home, found.keys))
    verified = _verified_json(found, believed) | {"witnessed": seen and seen.as_json()}
    refolded, derived, wrong = None, None, str(found.finding) if found.finding else ""
    if derivation and not wrong:
        with _bar("deciding again", is_quiet=json) as advance:
            derived = derive(url, on_progress=advance)
        verified["derivation"] = derived_json(derived)
        wrong = what_does_not_follow(derived)
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
    checked = None
    if not wrong and first <= 1 and upto is None:
        with _bar("comparing marks", is_quiet=json) as advance:
            checked = check_marks(url, on_progress=advance)
        wrong = marks_wrong(checked)
        verified |= {"marks": marks_json(checked), "is_proved": not wrong}
    access = keys_check.check(url) if not wrong else None
    if access is not None:
        verified["api_keys"] = access._asdict() | {"wrong": [each._asdict() for each in access.wrong]}
        overseen = oversight_check.check(url)
        verified["oversight"] = overseen._asdict() | {"lapses": [each._asdict() for each in overseen.lapses]}
        wrong = _wrong_keys(access) or _what_lapsed(overseen)
    if json:
        write_json(verified)
    elif found.finding is None:
        _show_verified(found, believed)
        if seen is not None:
            seen.show()
            witnessed.show_missing(seen, found.sealed)
        if derived is not None:
            show_derived(derived)
    if checked is not None and not json:
        show_marks(checked)
    if access is not None and not json:
        _show_keys_checked(access)
    if closed is not None and not wrong and not json:
        say(f"{closed.closings:,} closings state what follows from the events.")
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
        if size is None and daybook.witness_policy is not None:
            size = witnessed.size_to_export(daybook.url, daybook.witness_policy)
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
    with bundles.opened(file) as bundle, Daybook.open(settings) as daybook:
        home, origin, chain = trust.pins_of_home(settings, is_made=False), bundle.manifest.origin, bundle.tenures()
        pins = trust.of_home(home, origin, chain)
        with _bar("restoring", is_quiet=json) as advance:
            proved = restore(daybook.url, bundle, pins=pins, on_progress=advance)
        if not pins:
            trust.warn_of_bundle(proved.manifest.vkey)
    if json:
        write_json(_manifest_json(proved.manifest))
    else:
        say(f"{file}: {proved.manifest.events:,} events are restored, with the same seqs and the same root.")
        if not KeyRing(settings.home, _uuid(proved), proved.manifest.origin).has(proved.keys[-1].key):
            note(
                "The key that signed them is not here: copy it, or start a new one with daybook keys seal rotate --lost"
            )


def checkpoint(*, is_cosigned: bool, json: bool) -> None:
    """Show the newest checkpoint, with its cosignatures; or the newest that is cosigned."""
    with opened() as daybook:
        daybook.seal()
        found = newest_note(daybook, is_cosigned=is_cosigned)
    size, text = found[0].checkpoint.size, found[1]
    if json:
        write_json({"size": size, "note": text})
    else:
        typer.echo(text, nl=False)


def prove_event(seq: int, output: Path | None, *, json: bool) -> None:
    """Write a proof of one event, as text (C2SP tlog-proof)."""
    with opened() as daybook:
        daybook.seal()
        with reaching(daybook.url):
            text = daybook.proofs.tlog_proof(seq, daybook.witness_policy).text()
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RequestRefused(f"{output} can be written ({error.strerror})") from error
    if json:
        write_json({"seq": seq, "file": str(output) if output else None, "proof": text})
    elif output is None:
        typer.echo(text, nl=False)
    else:
        say(f"{output}: a proof of event {seq:,}; verify it with daybook verify {output}")


def show_keys(*, json: bool) -> None:
    """Show the public keys of checkpoints, and whether their private keys are here."""
    settings = environment()
    with opened(settings) as daybook, reaching(daybook.url), connect(daybook.url, Role.AUDITOR) as connection:
        ledger_id, chain = identity(connection), tenures(connection)
        seqs = [seq for seq, _ in key_record.on_record(connection)]
    ring = KeyRing(settings.home, ledger_id, origin_of(ledger_id)) if ledger_id else None
    home = trust.pins_of_home(settings, is_made=False)
    pinned = {pin.key for pin in home.of(origin_of(ledger_id))} if ledger_id and home else set()
    rows = [
        row | {"is_here": ring is not None and ring.has(each.key), "is_pinned": each.key in pinned}
        for row, each in zip(_keys_json(chain, seqs), chain, strict=True)
    ]
    if json:
        write_json({"keys": rows})
        return
    columns = [
        Column("vkey", "Public key"),
        Column("since_size", "Since seq", Kind.NUMBER),
        Column("is_vouched_for", "By the key before"),
        Column("recorded_seq", "On record at seq", Kind.NUMBER),
        Column("is_here", "Private key here"),
        Column("is_pinned", "Pinned here"),
    ]
    write_table(
        "Keys that sign checkpoints", rows, columns, empty="No key yet: the first is created with the first checkpoint."
    )


def rotate_key(*, is_lost: bool, json: bool) -> None:
    """Replace the signing key. The old key signs a last checkpoint, which names the new one; both go on record."""
    settings = environment()
    with opened(settings) as daybook:
        if not is_lost:
            daybook.seal()
        recorder = daybook.key_recorder(actor())
        tenure = Sealer(daybook.url, settings.home, recorder=recorder).rotate(is_lost=is_lost)
        daybook.seal()
    if json:
        write_json({"vkey": tenure.key.vkey, "since_size": tenure.since, "is_vouched_for": tenure.handover is not None})
    else:
        say(tenure.key.vkey)
        note("Publish it where auditors find it. The old private key is no longer needed; its file is kept.")
        if is_lost:
            warn(
                "This is a break in the chain of keys, and on record as one: who has pinned an earlier key must be "
                "given the new one, and pin it with daybook keys seal pin"
            )


def pin_keys(keys: Sequence[str], *, json: bool) -> None:
    """Pin public keys in the home, as they were given by the ledger's owner."""
    settings = environment()
    home = trust.pins_of_home(settings, is_made=True)
    if home is None:
        raise RequestRefused(trust.NO_HOME)
    found = trust.given_keys(keys)
    added = [pin.key.vkey for pin in found if home.add(pin.key)]
    if json:
        write_json({"file": str(home.path), "pinned": added, "known": len(found) - len(added)})
        return
    for vkey in added:
        say(f"Pinned {vkey}")
    say(f"{home.path} has {'it' if len(found) == 1 else 'them'}.")


# Bundles


class _Expected(NamedTuple):
    """What a bundle is compared with: checkpoints kept elsewhere, keys given, a policy."""

    kept: list[Note]
    given: list[Pin]
    policy: Policy | None


def _verify_bundle(path: Path, expected: _Expected, settings: Settings, *, is_derived: bool, json: bool) -> None:
    derived: OfBundle | None = None
    with bundles.opened(path) as bundle:
        home, origin, chain = trust.pins_of_home(settings, is_made=False), bundle.manifest.origin, bundle.tenures()
        pins = [*expected.given, *witnessed.policy_pins(expected.policy, origin, chain)]
        pins += trust.of_home(home, origin, chain)
        with _bar("verifying", is_quiet=json) as advance:
            proved = bundle.prove(against=expected.kept, pins=pins, on_progress=advance)
        believed = trust.Trust([*pins, *checkpoints.pins_of(expected.kept, proved.keys)])
        seen = None if expected.policy is None else witnessed.of_note(expected.policy, proved.note)
        figures = figures_of(bundle)
        if is_derived:
            with _bar("deciding again", is_quiet=json) as advance:
                derived = derive_bundle(bundle, size=path.stat().st_size, on_progress=advance)
    wrong = _wrong_figures(figures.wrong)
    if not wrong and derived is not None:
        wrong = what_does_not_follow(derived.derived)
    if not believed.pins:
        trust.warn_of_bundle(proved.manifest.vkey)
    if json:
        decided = {"derivation": bundle_derived_json(derived)} if derived is not None else {}
        write_json(
            _proved_json(proved, figures.positions, figures.pnl)
            | {"figures": _figures_json(figures)}
            | {"trust": believed.as_json(), "witnessed": seen and seen.as_json()}
            | decided
        )
    elif not wrong:
        _show_proved(path, proved, believed)
        if seen is not None:
            seen.show()
        if derived is not None:
            show_bundle_derived(derived)
        _show_proved_figures(proved, figures.positions, figures.pnl)
        if figures.closings:
            say(f"{figures.closings:,} closings state what follows from the events.")
        if figures.unchecked:
            note(f"{figures.unchecked:,} more closings were not computed again: daybook verify --figures does.")
    if wrong:
        if json:
            raise typer.Exit(EXIT_REFUSED)
        raise HistoryBroken(wrong)
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


def _show_proved(path: Path, proved: Proved, believed: trust.Trust) -> None:
    manifest, shown = proved.manifest, proved.completeness
    which = "every one is proved" if shown.outcome is Outcome.COMPLETE else "each of these is proved"
    say(f"{path}: {manifest.events:,} events, {_claim(proved)} of {manifest.ledger_id}: {which}.")
    say(f"Root {manifest.root} of {manifest.tree_size:,} events, signed by {manifest.vkey}")
    _show_trust(believed, proved.keys)
    match shown.outcome:
        case Outcome.COMPLETE:
            on_condition = "" if believed.pins else ", if that key is the ledger's"
            say(f"Complete: nothing of {_claim(proved)} was left out{on_condition}.")
        case Outcome.NOT_SHOWN:
            say(f"Completeness not shown: {shown.reason}. Events may have been left out.")
        case Outcome.INCOMPLETE:
            say(f"Incomplete: {shown.reason}.")


def _show_proved_figures(
    proved: Proved, held: Sequence[Mapping[str, Any]], gained: Sequence[Mapping[str, Any]]
) -> None:
    manifest, is_complete = proved.manifest, proved.completeness.outcome is Outcome.COMPLETE
    if manifest.marks is not None:
        say(f"{manifest.marks:,} marks and funding rates in it are what was recorded.")
    else:
        note("No marks are in it: values at marks cannot be checked with it.")
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
        "root": manifest.root, "vkey": manifest.vkey, "marks": manifest.marks,
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
    return f"figures wrong: {len(wrong)} closings, the first {wrong[0]}" if wrong else ""


# Proofs of figures


def _verify_proof(path: Path, expected: _Expected, settings: Settings, *, json: bool) -> None:
    proof = figure_proofs.load(path)
    home = trust.pins_of_home(settings, is_made=False)
    pins = [*expected.given, *(home.of(proof.origin) if home else ())]
    shown = figure_proofs.check(proof, pins, expected.kept)
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
        say(f"  {name}: {value}")
    say(f"Closed at seq {shown.closing_seq:,}, in the log of {checkpoint.size:,} events, signed by {shown.signer.vkey}")
    if not pins and not expected.kept:
        note("Compare that key with the one you were given, or pass that one with --key: no proof vouches for its key.")


# Databases


def _verified_json(found: Verified, believed: trust.Trust) -> dict[str, Any]:
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
        "trust": believed.as_json(),
        "keys": _keys_json(found.keys, found.keys_on_record),
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


def _keys_json(chain: Sequence[Tenure], seqs: Sequence[int]) -> list[dict[str, Any]]:
    """Return the keys of a chain: since when each signs, whether the one before vouches for it (None for
    the first), and its event's seq.
    """
    broken = {after.key for _, after in checkpoints.breaks(chain, chain[0].key.name)} if chain else set()
    return [
        {
            "vkey": tenure.key.vkey, "since_size": tenure.since,
            "is_vouched_for": tenure.key not in broken if place else None,
            "recorded_seq": seqs[place] if place < len(seqs) else None,
        }
        for place, tenure in enumerate(chain)
    ]  # fmt: skip


def _show_trust(believed: trust.Trust, chain: Sequence[Tenure]) -> None:
    for source in dict.fromkeys(f"{pin.key.vkey}: {pin.source}" for pin in believed.pins):
        say(f"Trusted key {source}")
    for before, after in checkpoints.breaks(chain, chain[0].key.name):
        warn(f"The chain of keys is broken: {after.key.vkey} was begun without a statement of {before.key.vkey}")


def _wrong_keys(checked: KeysChecked) -> str:
    if not checked.wrong:
        return ""
    first = checked.wrong[0]
    return (
        f"API keys wrong: {len(checked.wrong)} of {checked.checked}, the first {first.key_id} of {first.name}: "
        f"{first.reason}. It is refused. Find out who writes to access.api_keys, and end it on record with "
        f"`daybook keys revoke {first.key_id}`"
    )


def _what_lapsed(overseen: Overseen) -> str:
    if not overseen.lapses:
        return ""
    first = overseen.lapses[0]
    return (
        f"controls on record: {overseen.lapses_count} of their events should not be there, the first at seq "
        f"{first.seq}, {first.topic} of {first.stream}: {first.reason}. Find out who wrote it past Daybook"
    )


def _show_keys_checked(checked: KeysChecked) -> None:
    if checked.checked and not checked.wrong:
        say(f"{checked.checked:,} API keys are as the log has them.")
    if checked.proposed:
        note(f"{checked.proposed:,} of them wait for approval, or were never approved; they open nothing.")
    if checked.without_row:
        note(f"On record without a row, so that they open nothing: {', '.join(checked.without_row)}.")


def _show_verified(found: Verified, believed: trust.Trust) -> None:
    if not found.last:
        say("The log is empty.")
        return
    say(f"Events {found.first:,} to {found.last:,} of ledger {found.ledger_id} are what was signed.")
    checked = f"{found.checkpoints:,} checkpoints checked, {found.maps:,} with a map of accounts"
    say(f"Root {_base64(found.root)} of {found.sealed:,} events, {checked}.")
    say(f"Signed by {found.keys[-1].key.vkey}")
    _show_trust(believed, found.keys)
    if not found.keys_on_record:
        note("The signing keys are not on record in the log yet: daybook serve records them when it starts.")
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

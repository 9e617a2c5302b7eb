"""The work of `daybook export`, of restoring from a bundle, and of verifying a bundle or the proof of a figure."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import typer

from adapters.figures import figure_proofs
from adapters.figures.figure_proofs import Answer
from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note, Pin
from adapters.proof.policies import Policy
from adapters.proof.signing_keys import KeyRing
from adapters.verify import bundles
from adapters.verify.bundles import Manifest, Proved, Selection
from adapters.verify.completeness import Outcome
from adapters.verify.derivation import OfBundle, derive_bundle
from adapters.verify.restore import restore
from api.daybook import Daybook
from api.parameters import Moment
from api.settings import Settings
from api.terminal.columns import PNL, POSITIONS
from api.terminal.options import environment, opened
from api.terminal.output import (
    EXIT_NOT_SHOWN,
    EXIT_REFUSED,
    Column,
    note,
    say,
    write_json,
    write_table,
)
from api.verify import trust, witnessed
from api.verify.derivation import (
    bundle_derived_json,
    show_bundle_derived,
    what_does_not_follow,
)
from api.verify.figures import figures_json, figures_of, wrong_figures
from api.verify.shared import bar, encoded_root, show_trust
from domain.errors import HistoryBroken

JUST_BEFORE = timedelta(microseconds=1)
ROWS_SHOWN_MAX = 500  # of a table for people; a terminal's layout of a row costs more than its proof


class Expected(NamedTuple):
    """What a bundle is compared with: checkpoints kept elsewhere, keys given, a policy."""

    kept: list[Note]
    given: list[Pin]
    policy: Policy | None


def export(
    file: Path, account: str | None, first: Moment | None, upto: Moment | None, *, size: int | None = None, json: bool
) -> None:
    """Export a bundle with its proofs: the whole ledger, one account, or a period; by the checkpoint of `size`."""
    with opened() as daybook:
        daybook.seal()
        if size is None and daybook.witness_policy is not None:
            size = witnessed.size_to_export(daybook.url, daybook.witness_policy)
        selection = Selection(account, _first_seq(daybook, first), _last_seq(daybook, upto), size)
        with bar("exporting", is_quiet=json) as advance:
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
        with bar("restoring", is_quiet=json) as advance:
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


def verify_bundle(path: Path, expected: Expected, settings: Settings, *, is_derived: bool, json: bool) -> None:
    """Verify a bundle without a database or network; its positions and PnL are computed from the proved bytes.

    With `is_derived` every request and report in it is decided again as well.
    """
    derived: OfBundle | None = None
    with bundles.opened(path) as bundle:
        home, origin, chain = trust.pins_of_home(settings, is_made=False), bundle.manifest.origin, bundle.tenures()
        pins = [*expected.given, *witnessed.policy_pins(expected.policy, origin, chain)]
        pins += trust.of_home(home, origin, chain)
        with bar("verifying", is_quiet=json) as advance:
            proved = bundle.prove(against=expected.kept, pins=pins, on_progress=advance)
        believed = trust.Trust([*pins, *checkpoints.pins_of(expected.kept, proved.keys)])
        seen = None if expected.policy is None else witnessed.of_note(expected.policy, proved.note)
        figures = figures_of(bundle)
        if is_derived and proved.completeness.outcome is not Outcome.INCOMPLETE:
            with bar("deciding again", is_quiet=json) as advance:
                derived = derive_bundle(bundle, size=path.stat().st_size, on_progress=advance)
    wrong = wrong_figures(figures.wrong)
    if not wrong and derived is not None:
        wrong = what_does_not_follow(derived.derived)
    if not believed.pins:
        trust.warn_of_bundle(proved.manifest.vkey)
    if json:
        decided = {"derivation": bundle_derived_json(derived)} if derived is not None else {}
        write_json(
            _proved_json(proved, figures.positions, figures.pnl)
            | {"figures": figures_json(figures)}
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
            say(f"Closings that state what follows from the events: {figures.closings:,}.")
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
    show_trust(believed, proved.keys)
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


def verify_proof(path: Path, expected: Expected, settings: Settings, *, json: bool) -> None:
    """Verify the proof of a figure, and show the figure."""
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
                "root": encoded_root(checkpoint.root), "vkey": shown.signer.vkey,
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
    if not pins and not expected.kept:
        note("Compare that key with the one you were given, or pass that one with --key: no proof vouches for its key.")


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

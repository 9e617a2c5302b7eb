"""The work of `daybook verify` on a database, and the dispatch to bundles and proofs.

Verifying changes nothing in the database, not even its revision.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from adapters.figures import figure_proofs
from adapters.log import snapshot_check
from adapters.log.snapshot_check import Refolded
from adapters.postgres import connections
from adapters.postgres.connections import name
from adapters.postgres.migrations import check_revision
from adapters.proof import checkpoints, policies
from adapters.verify import keys_check, oversight_check
from adapters.verify.derivation import derive
from adapters.verify.keys_check import KeysChecked
from adapters.verify.mark_check import check_marks
from adapters.verify.oversight_check import Overseen
from adapters.verify.verification import Verified, VerifyRequest, verify
from api.settings import Settings
from api.terminal.options import environment, opened
from api.terminal.output import (
    EXIT_REFUSED,
    note,
    say,
    write_json,
)
from api.verify import trust, witnessed
from api.verify.bundle_files import Expected, verify_bundle, verify_proof
from api.verify.derivation import (
    derived_json,
    show_derived,
    what_does_not_follow,
)
from api.verify.figures import closed_figures, figures_json, wrong_figures
from api.verify.marks import marks_json, marks_wrong, show_marks
from api.verify.shared import bar, checkpoints_in, encoded_root, keys_json, show_trust
from domain.errors import HistoryBroken


class _Check(NamedTuple):
    """One check of a database: what JSON has of it, what is wrong, and how it is shown."""

    found: dict[str, Any]
    wrong: str
    show: Callable[[], None]


class Wanted(NamedTuple):
    """What of a database is verified besides hashes and signatures. `derivation` is of bundles too unless False."""

    snapshots: bool = False
    derivation: bool | None = None
    figures: bool = False


def verify_log(
    *,
    bundle: Path | None,
    first: int,
    upto: int | None,
    against: Path | None,
    keys: Sequence[str] = (),
    policy_file: Path | None = None,
    wanted: Wanted = Wanted(),
    json: bool,
) -> None:
    """Recompute every hash and signature, and name the first event that differs from what was signed.

    A bundle is verified without a database or network; its positions and PnL are computed from the proved bytes.
    With `derivation`, of a bundle unless it is False, every request and report is decided again as well.
    """
    kept, given, settings = checkpoints_in(against), trust.given_keys(keys), environment()
    policy = None if policy_file is None else policies.read(policy_file)
    expected = Expected(kept, given, policy)
    if bundle is None:
        _verify_database(settings, expected, wanted, first=first, upto=upto, json=json)
    elif (proof := witnessed.proof_in(bundle)) is not None:
        witnessed.verify_proof(proof, given, policy, settings, json=json)
    elif figure_proofs.is_proof(bundle):
        verify_proof(bundle, expected, settings, json=json)
    else:
        verify_bundle(bundle, expected, settings, is_derived=wanted.derivation is not False, json=json)


def _verify_database(
    settings: Settings, expected: Expected, wanted: Wanted, *, first: int, upto: int | None, json: bool
) -> None:
    policy = expected.policy
    url = settings.url or connections.locate(settings.server_home(), None)
    check_revision(url)
    home = trust.pins_of_home(settings, is_made=True)
    origin, chain = trust.published(url)
    pins = [*expected.given, *witnessed.policy_pins(policy, origin, chain)]
    pins += trust.of_home(home, origin, chain, "" if any(pin.key.name == origin for pin in pins) else name(url))
    with bar("verifying", is_quiet=json) as advance:
        found = verify(url, VerifyRequest(first, upto, against=expected.kept, pins=pins), on_progress=advance)
    seen = None if policy is None or found.finding else witnessed.of_database(url, policy, upto)
    believed = trust.Trust([*pins, *checkpoints.pins_of(expected.kept, found.keys)])
    if not believed.pins and found.keys and found.finding is None:
        believed = trust.Trust((), trust.pin_first_use(url, home, found.keys))
    verified = _verified_json(found, believed) | {"witnessed": seen and seen.as_json()}
    wrong, done = str(found.finding) if found.finding else "", []
    for check in _checks(wanted, is_whole=first <= 1 and upto is None):
        if not wrong:
            done.append(check(url, json))
            verified |= done[-1].found
            wrong = done[-1].wrong
    if json:
        write_json(verified)
    elif found.finding is None:
        _show_verified(found, believed)
        if seen is not None:
            seen.show()
            witnessed.show_missing(seen, found.sealed)
        for one in done:
            one.show()
    if wrong:
        raise HistoryBroken(wrong) if not json else typer.Exit(EXIT_REFUSED)


def _checks(wanted: Wanted, *, is_whole: bool) -> list[Callable[[str, bool], _Check]]:
    """Return the checks of a database that follow those of its bytes; each takes its URL and `is_quiet`."""
    chosen = [
        (_derivation, wanted.derivation), (_snapshots, wanted.snapshots), (_closings, wanted.figures),
        (_marks, is_whole), (_access, True),
    ]  # fmt: skip
    return [check for check, is_chosen in chosen if is_chosen]


def _derivation(url: str, is_quiet: bool) -> _Check:
    with bar("deciding again", is_quiet=is_quiet) as advance:
        derived = derive(url, on_progress=advance)
    found = {"derivation": derived_json(derived)}
    return _Check(found, what_does_not_follow(derived), lambda: show_derived(derived))


def _snapshots(url: str, is_quiet: bool) -> _Check:
    with bar("folding", is_quiet=is_quiet) as advance:
        refolded = snapshot_check.check(url, advance)
    found = {"snapshots": refolded._asdict() | {"wrong": [each._asdict() for each in refolded.wrong]}}
    return _Check(found, _what_is_wrong(refolded), lambda: _show_refolded(refolded))


def _show_refolded(refolded: Refolded) -> None:
    if refolded.wrong:
        return
    say(f"{refolded.checked:,} snapshots equal what their streams fold to.")
    if refolded.foreign:
        note(f"{refolded.foreign:,} snapshots of other releases were not checked; this release does not use them.")


def _closings(url: str, is_quiet: bool) -> _Check:  # noqa: ARG001 (it has no progress)
    closed = closed_figures(url)
    wrong = wrong_figures(closed.wrong)
    said = "" if wrong else f"Closings that state what follows from the events: {closed.closings:,}."
    return _Check({"figures": figures_json(closed)}, wrong, lambda: say(said) if said else None)


def _marks(url: str, is_quiet: bool) -> _Check:
    with bar("comparing marks", is_quiet=is_quiet) as advance:
        checked = check_marks(url, on_progress=advance)
    wrong = marks_wrong(checked)
    return _Check({"marks": marks_json(checked), "is_proved": not wrong}, wrong, lambda: show_marks(checked))


def _access(url: str, is_quiet: bool) -> _Check:  # noqa: ARG001 (it has no progress)
    access, overseen = keys_check.check(url), oversight_check.check(url)
    found = {
        "api_keys": access._asdict() | {"wrong": [each._asdict() for each in access.wrong]},
        "oversight": overseen._asdict() | {"lapses": [each._asdict() for each in overseen.lapses]},
    }
    return _Check(found, _wrong_keys(access) or _what_lapsed(overseen), lambda: _show_keys_checked(access))


def remember_snapshots(*, json: bool) -> None:
    """Write the snapshots of long streams for this release."""
    with opened() as daybook, bar("folding", is_quiet=json) as advance:
        streams = snapshot_check.remember(daybook.url, advance)
    if json:
        write_json({"streams": streams})
    else:
        say(f"Snapshots of {streams:,} long streams are written.")


def _verified_json(found: Verified, believed: trust.Trust) -> dict[str, Any]:
    finding = found.finding
    return {
        "is_proved": finding is None,
        "ledger_id": str(found.ledger_id) if found.ledger_id else None,
        "first": found.first,
        "last": found.last,
        "sealed": found.sealed,
        "root": encoded_root(found.root),
        "checkpoints": found.checkpoints,
        "maps": found.maps,
        "vkey": found.keys[-1].key.vkey if found.keys else None,
        "against": list(found.against),
        "trust": believed.as_json(),
        "keys": keys_json(found.keys, found.keys_on_record),
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


def _wrong_keys(checked: KeysChecked) -> str:
    if not checked.wrong:
        return ""
    first = checked.wrong[0]
    return (
        f"API keys wrong: {len(checked.wrong)} of {checked.checked}, the first {first.key_id} of {first.name}: "
        f"{first.reason}. It is refused. Find out who writes to the tables of access, and end it on record with "
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
    say(f"Root {encoded_root(found.root)} of {found.sealed:,} events, {checked}.")
    say(f"Signed by {found.keys[-1].key.vkey}")
    show_trust(believed, found.keys)
    if not found.keys_on_record:
        note("The signing keys are not on record in the log yet: daybook serve records them when it starts.")
    for size in found.against:
        say(f"Nothing up to seq {size:,} was rewritten since the given checkpoint was signed.")
    if found.last > found.sealed:
        note(f"Events {found.sealed + 1:,} to {found.last:,} are not sealed yet.")

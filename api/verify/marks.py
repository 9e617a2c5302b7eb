"""Marks against the log, as `daybook verify` shows it, and the commitment of those recorded before batches were."""

from collections.abc import Sequence
from typing import Any

from adapters.verify.mark_check import CheckedMarks, MarkFinding
from api.parameters import Moment
from api.terminal.options import actor, opened
from api.terminal.output import note, say, write_json
from api.verify.mark_proofs import mark_proof

FINDINGS_SHOWN_MAX = 20
NOT_COVERED = (
    "recorded before prices were committed to the log: not covered, and alterations would go unnoticed. `daybook "
    "commit-marks` commits them as they are now"
)


def marks_json(checked: CheckedMarks) -> dict[str, Any]:
    """Return the result as JSON."""
    counts = {name: value for name, value in checked._asdict().items() if name != "findings"}
    return counts | {"wrong": [_finding_json(one) for one in checked.findings]}


def _finding_json(finding: MarkFinding) -> dict[str, Any]:
    named = finding._asdict() | {"fault": finding.fault.value, "kind": finding.kind.value}
    return named | {"detail": str(finding)}


def marks_wrong(checked: CheckedMarks) -> str:
    """Return what is wrong, "" if nothing is."""
    return "" if not checked.findings else wrong_text(checked.findings)


def wrong_text(findings: Sequence[MarkFinding]) -> str:
    """Return the first fault, and how many more there are."""
    more = f" ({len(findings) - 1} more are listed above)" if len(findings) > 1 else ""
    return (
        f"marks {findings[0]}{more}. The events are as signed, but figures valued at these marks cannot be relied on."
        " Restore market.marks from a backup (docs/backup.md)"
    )


def show_marks(checked: CheckedMarks) -> None:
    """Write the result for people."""
    for finding in checked.findings[:FINDINGS_SHOWN_MAX] if len(checked.findings) > 1 else ():
        note(str(finding))
    if checked.findings:
        return
    if checked.batches:
        one, many = "mark or funding rate", "marks and funding rates"
        what, batches = _counted(checked.covered, one, many), _counted(checked.batches, "batch", "batches")
        say(f"{what} in {batches} {'is' if checked.covered == 1 else 'are'} what was recorded.")
    if checked.not_covered:
        were = "was" if checked.not_covered == 1 else "were"
        note(f"{_counted(checked.not_covered, 'price', 'prices')} {were} {NOT_COVERED}.")
    if checked.unfinished:
        note(f"{_counted(checked.unfinished, 'price', 'prices')} of interrupted recordings: no query shows them.")


def prove_mark(instrument_id: str, as_of: Moment | None, *, json: bool) -> None:
    """Write the proof of the newest mark of an instrument."""
    with opened() as daybook:
        found = mark_proof(daybook, instrument_id, as_of)
    if json:
        write_json(found)
        return
    say(found["leaf"])
    say(f"Leaf {found['leaf_index']} of the {found['size']:,} in the batch that is recorded as seq {found['seq']}.")
    say(f"Root {found['root']}")
    for each in found["proof"]:
        say(f"  {each}")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def commit_marks(*, json: bool) -> None:
    """Commit the prices that were recorded before batches were."""
    with opened() as daybook:
        committed = daybook.recorder.commit_earlier(actor=actor())
    if json:
        write_json({"committed": committed})
    elif committed:
        what = _counted(committed, "price that was recorded before is", "prices that were recorded before are")
        say(f"{what} committed to the log now.")
    else:
        say("Every price on record is committed to the log already.")

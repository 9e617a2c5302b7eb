"""`daybook venue-report`: record what venues report, from a file or standard input, in the words of the API."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.encoding import encoded
from api.terminal.options import actor, opened
from api.terminal.output import EXIT_REFUSED, Json, note, say, write_json
from domain.errors import InvalidInput

if TYPE_CHECKING:
    from api.daybook import Daybook
    from domain.account import RawReportKept

STDIN = "-"
SHOWN_MAX = 20


def venue_report(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON or JSON lines; - reads standard input.")],
    json: Json = False,
) -> None:
    """Record venue reports: fills, all other reports on orders, cash, venue statements.

    One report is a JSON object with a `type`, as in POST /v1/venue-reports; a file holds one, a list of them, one a
    line, or an object with `reports`. Reports sent before add nothing. Exit code 1 if some could not be read or broke a
    rule; those that could not be read are kept as evidence.
    """
    raws = reports_of(file)
    with opened() as daybook:
        answers = record(daybook, raws)
    finish(answers, json=json)


def reports_of(file: str) -> list[bytes]:
    """Return the reports of a file, or of standard input for `-`. Raises InvalidInput if it has none."""
    return reports_in(_content(file))


def _content(file: str) -> bytes:
    if file == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidInput("file", file, f"a file that can be read: {error.strerror}") from error


def reports_in(content: bytes) -> list[bytes]:
    """Return the reports of a text, each as it was written: JSON, or JSON lines. Raises InvalidInput if it has none."""
    import msgspec

    text = content.strip().removeprefix(b"\xef\xbb\xbf").strip()
    try:
        whole: Any = msgspec.json.decode(text, type=msgspec.Raw)
        begins = bytes(whole)[:1]
        if begins == b"[":
            return [bytes(each) for each in msgspec.json.decode(text, type=list[msgspec.Raw])]
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw]) if begins == b"{" else {}
        if "reports" in fields and "type" not in fields:
            return [bytes(each) for each in msgspec.json.decode(fields["reports"], type=list[msgspec.Raw])]
        return [text] if fields else _none(text)
    except msgspec.DecodeError:
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if line] or _none(text)


def _none(text: bytes) -> list[bytes]:
    raise InvalidInput("file", text[:40].decode("utf-8", "replace"), "JSON with at least one venue report")


def record(daybook: "Daybook", raws: list[bytes]) -> list[dict[str, Any]]:
    """Record reports, up to REPORTS_MAX in one append; return the answer to each, with its place in `index`."""
    from api.intake.venue_reports.parsing import REPORTS_MAX

    answers: list[dict[str, Any]] = []
    for first in range(0, len(raws), REPORTS_MAX):
        part = _record(daybook, raws[first : first + REPORTS_MAX])
        answers += [each | {"index": first + each["index"]} for each in part]
    return answers


def _record(daybook: "Daybook", raws: list[bytes]) -> list[dict[str, Any]]:
    from api.intake.venue_reports.parsing import Unreadable, answers_of, evidence, parsed
    from api.intake.venue_reports.reconciliation import reconciled, shown
    from domain.access import label
    from domain.account import Statement

    who = actor()
    read = [parsed(raw, label(who), daybook.writer.state) for raw in raws]

    def evidence_of(index: int, error: InvalidInput) -> "RawReportKept":
        return evidence(raws[index], str(error), label(who))

    reports = [item.kept if isinstance(item, Unreadable) else item for item in read]
    done = daybook.writer.report(reports, actor=who, evidence_of=evidence_of)
    answers = answers_of(read, done, daybook.writer.state, daybook.history.read)
    for given, item in zip(answers, read, strict=True):
        if isinstance(item, Statement) and given["status"] != "unreadable":
            given["breaks"] = [shown(each) for each in reconciled(daybook, item, who).found]
    return answers


def finish(answers: list[dict[str, Any]], *, json: bool) -> None:
    """Show the answers, as counts and one line for each that needs attention; exit with 1 if there is one."""
    counts = Counter(each["status"] for each in answers)
    if json:
        write_json({status: counts[status] for status in ("recorded", "known", "broken", "unreadable")}
                   | {"answers": answers})  # fmt: skip
    else:
        say(", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) + ".")
        noted = [each for each in answers if each["status"] in ("broken", "unreadable") or each.get("breaks")]
        for each in noted[:SHOWN_MAX]:
            note(f"  report {each['index'] + 1}, {_noted(each)}")
        if len(noted) > SHOWN_MAX:
            note(f"  and {len(noted) - SHOWN_MAX:,} more; --json shows all")
    if counts["unreadable"] or counts["broken"]:
        raise typer.Exit(EXIT_REFUSED)


def _noted(given: dict[str, Any]) -> str:
    if given["status"] == "unreadable":
        return "unreadable: " + "; ".join(f"{error['field']}: not {error['rule']}" for error in given["errors"])
    if given["status"] == "broken":
        return f"broken: {given['rule']}, break {given['break_id']}"
    found = given["breaks"]
    first = "; ".join(f"{each['about']} {each['kind']}, break {each['break_id']}" for each in found[:3])
    return f"{len(found):,} differences: {first}" + ("; …" if len(found) > 3 else "")


def record_one(fields: dict[str, Any], *, json: bool) -> None:
    """Record one report that a command has built, and show its answer."""
    given = {name: value for name, value in fields.items() if value is not None}
    with opened() as daybook:
        answers = record(daybook, [encoded(given)])
    finish(answers, json=json)

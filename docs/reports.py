"""Writes docs/reports.md, every report with its parameters, forms and columns: `python docs/reports.py`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reports.md"
sys.path.insert(0, str(ROOT))

from api.reports.catalog import REPORTS, Format, Part, Report, formats_over_http  # noqa: E402
from api.reports.columns import meaning_of  # noqa: E402
from api.reports.files import Shape, shapes_of  # noqa: E402

OPTIONS = {"first": "--from", "last": "--to"}
FIELDS = {"first": "from", "last": "to"}
TYPES = {
    Shape.NUMBER: "decimal", Shape.WHOLE: "integer", Shape.YES_NO: "boolean", Shape.TIME: "time", Shape.DAY: "date",
    Shape.AMOUNTS: "amounts", Shape.TEXT: "text", Shape.JSON: "JSON",
}  # fmt: skip
HEAD = """# Reports

Every report, its parameters, its forms and its columns. This page is written from the catalog of reports by
`python docs/reports.py`; a test fails when it is not current.

`daybook report NAME` and `GET /v1/reports/NAME` give the same bytes for the same book: figures depend on the log and
the marks, not on when they are read. The ages of marks count up to the report's moment (`valued_at` in JSON): when the
last event or mark was recorded, or if that was before the last close that a report of days includes, that close. With
`--as-of` it is the moment named. Each report has a digest from which `daybook report --reproduce DIGEST` and
`GET /v1/reports?digest=…` make it again.

A report has one or more parts. A table and JSON have all of them; CSV and Parquet have the first, or the one that
`--part` (`part`) names. A part has the columns below with and without rows.

| type | JSON | CSV | Parquet |
|---|---|---|---|
| decimal | text in plain notation, exact | the same | decimal128(38, 18), or as `--decimals` sets it |
| integer, boolean | number, `true` or `false` | the same | int64, bool |
| time | ISO 8601 in UTC | the same | timestamp in microseconds, UTC |
| date | YYYY-MM-DD | the same | date32 |
| amounts | object of decimals by currency | the same as text | map of text to decimal |
| text | text | text; an apostrophe before what a spreadsheet would compute | text |
| JSON | list or object | the same as text | the same as text |

## Parameters of every report

| option | over HTTP | meaning |
|---|---|---|
| `--format` | `format` | the form; by default a table, or what the suffix of `--output` names, over HTTP JSON |
| `--output` | | the file to write, whole or not at all |
| `--part` | `part` | the part to write |
| `--since-seq` | `since_seq` | only what has changed since this place in the log |
| `--decimals` | `decimals` | decimal places of Parquet's numbers |
| `--allow-missing` | | exit with code 0 also where marks or rates are missing |

## What is missing, what is unknown

A figure that needs a mark or a rate that is not on record is null; nothing is guessed. The command says on stderr which
are missing and exits with code 3, in every form, unless `--allow-missing` is given; over HTTP they are in the header
`Daybook-Missing`. JSON has all of them as `missing`. Sums are of one currency each: what is in another has a row of its
own, is in `other_fees`, or is converted at a rate that the report names.

An account, strategy, instrument, asset or currency that is not on record is an error that names what is nearest to it:
exit code 1, over HTTP 404. One that is on record and has no rows gives a report without rows.

## Changes

With `--since-seq SEQ` a report has only what has changed since that place in the log, and a first column `change`. The
report to apply it to is that of the place, made at any moment before the next event was recorded. The seq of the answer
(on stderr, `seq` in JSON, `Daybook-Seq` over HTTP, `daybook.seq` in the metadata of Parquet) is the place to go on
from.

* `set`: the row is new, or replaces the one with the same key.
* `removed`: the row with this key is gone; its other columns are null.
* A part without a key is whole: it replaces all rows before it.

Rows that depend on marks are set whenever marks can have changed them, as marks change without the log. Parts are
sorted as in the whole report, with the removed rows last.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for report in REPORTS.values():
        lines += _report(report)
    return "\n".join(lines).rstrip() + "\n"


def _report(report: Report) -> list[str]:
    forms = ", ".join(report.formats)
    lines = [f"## {report.name}", "", *_wrapped(report.summary), "", *_wrapped(f"Forms: {forms}. {_over_http(report)}")]
    taken = [name for name in report.parameters if name != "as_of_seq"]
    options = ", ".join(f"`{OPTIONS.get(name, _option(name))}` (`{FIELDS.get(name, name)}`)" for name in taken)
    lines += ["", *_wrapped(f"Parameters, on the command line and over HTTP: {options}.")]
    if report.groups:
        lines += ["", *_wrapped(f"`--by` takes {', '.join(f'`{name}`' for name in report.groups)}.")]
    for part in report.parts:
        lines += ["", *_part(report, part)]
    return [*lines, ""]


def _option(name: str) -> str:
    return "--" + name.removesuffix("_id").replace("_", "-")


def _over_http(report: Report) -> str:
    default = formats_over_http(report)[0]
    return f"Over HTTP all but {Format.TABLE}, by default {default}."


def _part(report: Report, part: Part) -> list[str]:
    if part.is_single:
        key = "One row; in JSON its columns are members of the report."
    elif part.key:
        key = f"Key: {', '.join(f'`{name}`' for name in part.key)}."
    else:
        key = "No key: changes have it whole."
    lines = [f"### {report.name}: {part.name}", "", *_wrapped(f"{part.title}. {key}"), ""]
    lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for name, shape in shapes_of(report, part).items():
        unit, meaning = meaning_of(report.name, part.name, name)
        lines.append(f"| `{name}` | {TYPES[shape]} | {unit} | {meaning} |")
    return lines


def _wrapped(text: str, width: int = 116) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


if __name__ == "__main__":
    PAGE.write_text(page())

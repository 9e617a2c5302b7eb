"""Writes docs/import.md, the files that can be imported, from the layouts: `python docs/import.py`."""

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

from adapters.exchanges.files.layout import Layout
from adapters.exchanges.layouts.catalog import catalog

LINE_MAX = 118
PAGE = Path(__file__).parent / "import.md"
TEXT = """# Import

Which files `daybook import` reads, where to get each, and what is taken from it. This page is written by
`python docs/import.py` from the layouts; a test fails when it is not current.

```console
$ daybook import Binance-Transaction-History.csv --dry-run   # what would happen; nothing is recorded
$ daybook import Binance-Transaction-History.csv             # record it
$ daybook import ~/Downloads/exports --account main          # a folder: all files, in any order
```

A file is recognised by its header, not by its name. It may be a CSV with commas, semicolons, tabs or bars, in UTF-8,
UTF-16 or Latin-1, compressed (`.gz`), an archive of several (`.zip`), a workbook (`.xlsx`), or JSON. Lines above the
header, headers in the middle, empty columns and totals at the end are no harm.

What is decided for a whole file: the zone of its times (stated in the header, above it, or in the file's name, else
UTC), the order of days and months (by a date that fits one only, else state `--dates day-first` or `month-first`),
and how a comma in a number is meant. The summary shows each.

Every row has an outcome: recorded, completed, already known, conflicting, unreadable, or skipped because it moves
nothing. Importing a file again, a piece of it, or one that overlaps it adds nothing twice ([ADR
0055](adr/0055-ids-of-rows-without-one.md)).

A pair without a separator is split by the venue's quote assets. One that is not clear is named with its candidates:
state `--instrument PAIR=BASE/QUOTE` once, and it is listed. `--assets FILE` names assets that the venue calls
otherwise, in two columns. Instruments that are on record are used as they are.

## What could not be read

A row that cannot be read is kept as it came, with its file, line and reason, and so are the header and the lines above
it. No second download is needed:

```console
$ daybook evidence list                                      # each with the reason, the newest first
$ daybook evidence retry --instrument XYZWQQ=XYZ/WQQ         # read again with an answer; also after an upgrade
$ daybook evidence dismiss EVIDENCE --why "a line of notes"  # on record, and no longer listed
```

Rows of one file are read together, as at first; what was booked meanwhile is known. Over HTTP, `POST
/v1/evidence/retry` does the same, `GET /v1/breaks?kind=UNREADABLE` lists, and `POST /v1/breaks/dismiss` dismisses.
Venue reports that could not be read are evidence too, for instance a fill of an instrument that was listed later.

## Balances in a file

Where a file has balances, the summary shows whether they equal those that follow from its rows, or the first row where
they part.

"""


def page() -> str:
    """The page."""
    layouts = catalog().every
    lines = [TEXT.rstrip(), "", f"## The {len(layouts)} layouts", ""]
    lines += ["| layout | venue | where to get the file | what is taken |", "|---|---|---|---|"]
    lines += [_row(layout) for layout in layouts]
    lines += ["", "## Their columns", ""]
    for layout in layouts:
        lines += [f"### {layout.name}", "", *_columns(layout), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(layout: Layout) -> str:
    venue = f"`{layout.venue}`" if layout.is_venue else "of each row"
    return f"| [{layout.name}](#{_anchor(layout.name)}) | {venue} | {layout.click} | {layout.gives} |"


def _anchor(name: str) -> str:
    kept = "".join(letter for letter in name.lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


def _columns(layout: Layout) -> list[str]:
    if layout.begins:
        return [f"Lines that begin with `{layout.begins.decode()}`."]
    if layout.keys:
        return [f"Objects with the keys {_listed(layout.keys)}."]
    text = f"Needed: {_listed(headers[0] for headers in layout.columns.values())}."
    if layout.others:
        text += f" Used where they are: {_listed(headers[0] for headers in layout.others.values())}."
    return fill(text, LINE_MAX, break_long_words=False, break_on_hyphens=False).splitlines()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page())

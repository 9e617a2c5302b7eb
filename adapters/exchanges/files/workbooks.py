"""Workbooks of spreadsheets (.xlsx): each sheet as the lines of a text with tabs.

Numbers are those that the spreadsheet shows in full: a cell that holds 0.1 is 0.1. Dates are in the zone that the file
states, as in any other file.
"""

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

from adapters.exchanges.files.records import Lines, LineTable
from domain.errors import ReportUnreadable


def sheets(path: Path) -> Iterator[LineTable]:
    """Yield the sheets of a workbook that hold something. Raises ReportUnreadable."""
    import python_calamine  # noqa: PLC0415 (only files of this kind need it)

    try:
        book = python_calamine.CalamineWorkbook.from_path(str(path))
        named = [(name, book.get_sheet_by_name(name)) for name in book.sheet_names]
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise ReportUnreadable("file", path.name, f"a workbook that can be read ({error})") from error
    for name, sheet in named:
        if sheet.height:
            yield LineTable(name, _lines(sheet), partial(_again, sheet))


def _again(sheet: Any) -> Iterator[Lines]:
    yield _lines(sheet)


def _lines(sheet: Any) -> Lines:
    return Lines(_Rows(sheet))


class _Rows:
    """The rows of a sheet as lines, one at a time."""

    def __init__(self, sheet: Any) -> None:
        self._rows = sheet.iter_rows()

    def readline(self, _: int = -1, /) -> bytes:
        """Return the next row as a line."""
        row = next(self._rows, None)
        if row is None:
            return b""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow([_cell(cell) for cell in row])
        return out.getvalue().encode()


def _cell(value: object) -> str:
    match value:
        case bool():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case datetime():
            return value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value).replace("\n", " ")

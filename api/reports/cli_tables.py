"""Shown: a report written to the terminal or a file, with its digest, and made again from one.

What is written to a file is complete or not there. The digest is in the report itself where its form has a place for it
(JSON, Parquet, HTML, PDF), and on stderr unless it is a table for somebody at a terminal.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from msgspec.structs import replace

from api.encoding import time_text
from api.parameters import Format, Moment
from api.terminal.columns import INSTRUMENT, PNL, TABLES, WHOSE
from api.terminal.options import format_option, opened, read
from api.terminal.output import Column, Kind, note, say, write_table

if TYPE_CHECKING:
    from api.reports.catalog import Parameters
    from api.reports.make import Made
    from projections.storage.tables import AnyRow


ROWS = (Format.TABLE, Format.JSON, Format.CSV, Format.PARQUET)
ReportFormat = Annotated[Format, format_option("How to write the report.", *ROWS)]
JournalFormat = Annotated[
    Format,
    format_option(
        "How to write it; hledger and beancount take whole accounts.", *ROWS, Format.HLEDGER, Format.BEANCOUNT
    ),
]
StatementFormat = Annotated[
    Format,
    format_option("How to write the statement.", Format.TABLE, Format.JSON, Format.HTML, Format.PDF),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", dir_okay=False, metavar="FILE", help="Write it here, not on stdout.")
]
Decimals = Annotated[
    int, typer.Option(min=0, max=38, help="Decimal places of Parquet's numbers, which have 38 digits in all.")
]

BINARY = (Format.PARQUET, Format.PDF)


def show(
    name: str,
    parameters: "Parameters",
    moment: Moment | None,
    form: Format,
    output: Path | None,
    decimals: int = 18,
    json: bool = False,
) -> None:
    """Make a report and write it."""
    from api.reports.make import make, needs

    form = Format.JSON if json else form
    parameters = replace(parameters, decimals=decimals, occurred_by=moment.occurred_by if moment else None)
    with opened() as book, read(book, *needs(name, parameters), moment=moment) as at:
        _write(make(book, name, parameters, form, at, is_past=moment is not None), output)


def reproduce(text: str, output: Path | None) -> None:
    """Make the report again that a digest names: the same bytes."""
    from api.reports.digest import parse
    from api.reports.make import again
    from api.settings import release

    digest = parse(text)
    with opened() as book:
        book.runner.catch_up()
        with again(book, digest) as made:
            _write(made, output, is_told=False)
    if digest.code != release():
        note(f"It was made by Daybook {digest.code}, and now by {release()}: where they differ, so may the bytes.")


def _write(made: "Made", output: Path | None, *, is_told: bool = True) -> None:
    if made.digest.form is Format.TABLE:
        _write_tables(made)
    else:
        to_file(lambda out: made.write(out, newline="\n"), output, made.digest.form)
    is_looked_at = made.digest.form is Format.TABLE and sys.stderr.isatty()  # three lines of it are nothing to look at
    if is_told and not is_looked_at:
        note(f"digest {made.digest.text()}")


def to_file(write: Callable[[BinaryIO], Any], output: Path | None, form: Format) -> None:
    """What is written, whole, to a file or else to stdout; never bytes that are no text to a terminal."""
    if output is None and form in BINARY and sys.stdout.isatty():
        raise typer.BadParameter(f"{form} is not for a terminal; name a file with --output")
    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {output.parent}")
    with tempfile.TemporaryFile(dir=output.parent if output else None) as out:
        write(out)
        out.seek(0)
        if output is None:
            sys.stdout.flush()
            shutil.copyfileobj(out, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        with output.open("wb") as file:
            shutil.copyfileobj(out, file)


def _write_tables(made: "Made") -> None:
    from api.reports.make import STATEMENT

    if made.digest.report == STATEMENT:
        _write_statement(made)
        return
    report, digest = made.report, made.digest
    columns, totals_columns = TABLES[digest.report]
    title = f"{report.title} as recorded up to" if digest.is_past else f"{report.title} at"
    title = f"{title} seq {digest.seq:,}"
    if (by := digest.parameters.occurred_by) is not None:
        title += f", as occurred by {time_text(by)}"
    rows = list(made.rows())
    write_table(title, rows, columns, empty=f"{title}: none.")
    if report.totals is not None and rows:
        write_table("In all", report.totals(rows), totals_columns, empty="")
    _tell_missing(rows if report.is_valued else [])


def _tell_missing(rows: "list[AnyRow]") -> None:
    held = [row for row in rows if row["quantity"]]
    if missing := sorted({row["instrument_id"] for row in held if row["mark"] is None}):
        note(f"No mark is known for {', '.join(missing)}: give one with --mark {missing[0]}=PRICE")
    if stale := sorted({row["instrument_id"] for row in held if row["is_mark_stale"]}):
        note(f"The mark of {', '.join(stale)} is older than DAYBOOK_MARK_AGE_SECONDS_MAX")


def _write_statement(made: "Made") -> None:
    told = made.statement()
    say(f"Statement of account {told.account_id}, {told.period.name}, as on record at seq {told.seq:,}")
    amount = {name: Column(name, name.capitalize(), Kind.NUMBER) for name in ("opening", "in", "out", "closing")}
    balances = [Column("asset", "Asset"), Column("venue", "Venue"), *amount.values()]
    write_table("Balances", told.balances, balances, empty="It had nothing.")
    names = ("realized", "rounding", "funding", "other income", "fees", "fees in kind", "net")
    result = [Column("asset", "In"), *(Column(name, name.capitalize(), Kind.PNL) for name in names)]
    write_table("Result", told.result, result, empty="It gained and lost nothing.")
    held = [column for column in PNL if column.name in ("quantity", "mark", "unrealized")]
    positions = [INSTRUMENT, WHOSE[1], *held, Column("settle", "In")]
    write_table("Positions at the end", told.positions, positions, empty="No position was open.")
    say(f"{told.entries_count:,} entries: daybook report journal --account {told.account_id} --day DAY")

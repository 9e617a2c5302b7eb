"""Write a report to the terminal or a file, with its digest, or reproduce it from one.

A file is written completely or not at all. The digest is in the report itself where its format has a place for it
(JSON, Parquet, HTML, PDF), and on stderr unless the report is a table at a terminal.
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
ReportFormat = Annotated[Format, format_option("Output format.", *ROWS)]
JournalFormat = Annotated[
    Format,
    format_option("Output format; hledger and beancount take whole accounts.", *ROWS, Format.HLEDGER, Format.BEANCOUNT),
]
StatementFormat = Annotated[
    Format,
    format_option("Output format.", Format.TABLE, Format.JSON, Format.HTML, Format.PDF),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", dir_okay=False, metavar="FILE", help="Write to this file instead of stdout."),
]
Decimals = Annotated[
    int, typer.Option(min=0, max=38, help="Decimal places of numbers in Parquet, out of 38 digits in total.")
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
    """Compute a report and write it."""
    from api.reports.make import make, needs

    form = Format.JSON if json else form
    parameters = replace(parameters, decimals=decimals, occurred_by=moment.occurred_by if moment else None)
    with opened() as daybook, read(daybook, *needs(name, parameters), moment=moment) as at:
        _write(make(daybook, name, parameters, form=form, at=at, is_past=moment is not None), output)


def reproduce(text: str, output: Path | None) -> None:
    """Reproduce the report of a digest: the same bytes."""
    from adapters import release
    from api.reports.digest import parse
    from api.reports.make import again

    digest = parse(text)
    with opened() as daybook:
        daybook.runner.catch_up()
        with again(daybook, digest) as made:
            _write(made, output, shows_digest=False)
    first, ours = release.parse(digest.code), release.current()
    if not first.is_same_code(ours):
        before = first.sentence if first.code else first.version
        note(f"It was first made by Daybook {before}; made by {ours.sentence}, its bytes may differ.")
        note(f"To make it by the same code, {release.where_to_get(first)}.")


def _write(made: "Made", output: Path | None, *, shows_digest: bool = True) -> None:
    if made.digest.form is Format.TABLE:
        _write_tables(made)
    else:
        to_file(lambda out: made.write(out, newline="\n"), output, made.digest.form)
    is_for_people = made.digest.form is Format.TABLE and sys.stderr.isatty()  # a digest is three lines long
    if shows_digest and not is_for_people:
        note(f"digest {made.digest.text()}")


def to_file(write: Callable[[BinaryIO], Any], output: Path | None, form: Format) -> None:
    """Write complete output to a file or else to stdout, but no binary format to a terminal."""
    if output is None and form in BINARY and sys.stdout.isatty():
        raise typer.BadParameter(f"{form} cannot be shown on a terminal; name a file with --output")
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
        write_table("Total", report.totals(rows), totals_columns, empty="")
    _note_missing(rows if report.is_valued else [])


def _note_missing(rows: "list[AnyRow]") -> None:
    held = [row for row in rows if row["quantity"]]
    if missing := sorted({row["instrument_id"] for row in held if row["mark"] is None}):
        note(f"No mark is known for {', '.join(missing)}: give one with --mark {missing[0]}=PRICE")
    if stale := sorted({row["instrument_id"] for row in held if row["is_mark_stale"]}):
        note(f"The mark of {', '.join(stale)} is older than DAYBOOK_MARK_AGE_SECONDS_MAX")


def _write_statement(made: "Made") -> None:
    statement = made.statement()
    say(
        f"Statement of account {statement.account_id}, {statement.period.name}, as recorded up to seq {statement.seq:,}"
    )
    amount = {name: Column(name, name.capitalize(), Kind.NUMBER) for name in ("opening", "in", "out", "closing")}
    balances = [Column("asset", "Asset"), Column("venue", "Venue"), *amount.values()]
    write_table("Balances", statement.balances, balances, empty="No balances.")
    names = ("realized", "rounding", "funding", "other income", "fees", "fees in kind", "net")
    result = [Column("asset", "Asset"), *(Column(name, name.capitalize(), Kind.PNL) for name in names)]
    write_table("Result", statement.result, result, empty="No income and no expenses.")
    held = [column for column in PNL if column.name in ("quantity", "mark", "unrealized")]
    positions = [INSTRUMENT, WHOSE[1], *held, Column("settle", "Ccy")]
    write_table("Positions at the end", statement.positions, positions, empty="No open positions.")
    say(f"{statement.entries_count:,} entries: daybook report journal --account {statement.account_id} --day DAY")

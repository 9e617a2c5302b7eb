"""Write a report to the terminal or a file, with its digest, or reproduce it from one.

A file is written completely or not at all. The digest is in the report itself where its format has a place for it
(JSON, Parquet, HTML, PDF, hledger, beancount), and on stderr unless the report is a table at a terminal. What marks and
rates it lacks is said on stderr in every format.
"""

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from api.encoding import decimal_text, time_text
from api.parameters import Format, Moment
from api.reports.catalog import STATEMENT
from api.terminal.columns import TABLES
from api.terminal.options import opened, read
from api.terminal.output import EXIT_MISSING, Column, note, say, write_table

if TYPE_CHECKING:
    from api.reports.catalog import Parameters, Part
    from api.reports.make import Made
    from api.reports.options import Destination
    from projections.storage.tables import AnyRow, Row

CHANGED = Column("change", "Change")
BINARY = (Format.PARQUET, Format.PDF)
MISSING_NAMED_MAX = 10
BY_PART_ONLY = {  # tables that a report shows at a terminal only where they are requested
    ("daily", "rates"), ("statement", "entries"), ("statement", "by_instrument"), ("leverage", "positions"),
    ("statistics", "losses"),
}  # fmt: skip
EMPTY = {
    ("restatement", "items"): "Nothing has changed since.",
    ("leverage", "exposure"): "Nothing is held.",
    ("leverage", "limits"): "No limit is set.",
    ("statement", "result"): "No income and no expenses.",
    ("statement", "positions"): "No open positions.",
}


def show(name: str, parameters: "Parameters", moment: Moment | None, destination: "Destination") -> int:
    """Compute a report and write it; return the exit code."""
    from api.reports.make import make, needs

    with opened() as daybook, read(daybook, *needs(name, parameters), moment=moment) as at:
        made = make(daybook, name, parameters, form=destination.form, at=at, is_past=moment is not None)
        return _write(made, destination.output, allow_missing=destination.allow_missing)


def reproduce(text: str, output: Path | None, *, allow_missing: bool) -> int:
    """Reproduce the report of a digest: the same bytes. Return the exit code."""
    from adapters import release
    from api.reports.digest import parse
    from api.reports.make import again, needs

    digest = parse(text)
    with opened() as daybook:
        with read(daybook, *needs(digest.report, digest.parameters), moment=Moment(seq=digest.seq)):
            pass  # brings the read models forward
        with again(daybook, digest) as made:
            code = _write(made, output, shows_digest=False, allow_missing=allow_missing)
    first, ours = release.parse(digest.code), release.current()
    if not first.is_same_code(ours):
        before = first.sentence if first.code else first.version
        note(f"It was first made by Daybook {before}; made by {ours.sentence}, its bytes may differ.")
        note(f"To make it by the same code, {release.where_to_get(first)}.")
    return code


def _write(made: "Made", output: Path | None, *, shows_digest: bool = True, allow_missing: bool = False) -> int:
    if made.digest.form is not Format.TABLE:
        to_file(made.write, output, made.digest.form)
    elif output is None:
        _write_tables(made)
    else:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            _write_tables(made)
        to_file(lambda out: out.write(text.getvalue().encode()), output, Format.TABLE)
    code = _note_missing(made, allow_missing=allow_missing)
    is_for_people = made.digest.form is Format.TABLE and sys.stderr.isatty()  # a digest is three lines long
    if shows_digest and not is_for_people:
        note(f"seq {made.digest.seq}")
        note(f"digest {made.digest.text()}")
    return code


def _note_missing(made: "Made", *, allow_missing: bool) -> int:
    """Say what marks and rates are missing; return the exit code."""
    if not made.missing:
        return 0
    for one in made.missing[:MISSING_NAMED_MAX]:
        note(f"Missing: {one}")
    if (more := len(made.missing) - MISSING_NAMED_MAX) > 0:
        note(f"Missing: {more} more marks or rates; --format json names all")
    if allow_missing:
        return 0
    if "mark" in made.report.parameters:
        note("Give a mark with --mark INSTRUMENT=PRICE, record it, or --allow-missing")
    else:
        note("Record marks with daybook import-marks, or --allow-missing")
    return EXIT_MISSING


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
    report, parameters = made.report, made.digest.parameters
    shown = [part for part in made.parts if parameters.part or (report.name, part.name) not in BY_PART_ONLY]
    shown.sort(key=lambda part: (report.name, part.name) != ("restatement", "positions"))  # what there is to explain
    for number, part in enumerate(shown):
        rows = _rows(made, part)
        columns = TABLES[report.name][part.name]
        if parameters.since_seq is not None:
            columns = (CHANGED, *columns)
        if number == 0:
            title = _title(made)
            write_table(title, rows, columns, empty=f"{title}: none.")
        elif rows or (report.name, part.name) in EMPTY:
            write_table(part.title, rows, columns, empty=EMPTY.get((report.name, part.name), ""))
    if report.name == STATEMENT and parameters.part is None:
        count, account_id = made.content.about["entries_count"], parameters.account_id
        say(f"{count:,} entries: daybook report journal --account {account_id} --day DAY")
        for kind, rests_on in made.bases.items():
            note(f"{kind}: {rests_on}.")
    if report.name == "statistics" and parameters.part is None:
        (figures,) = made.content.parts["figures"]
        days, unknown, currency = figures["days"], figures["days_unknown"], figures["currency"]
        say(f"{days:,} days with a return, {unknown:,} without, in {currency}")
    if report.name == "nav":
        _note_returns(made)
    _note_stale(made)


def _note_returns(made: "Made") -> None:
    """Say the time-weighted return of all days, and which days have none of their own."""
    if (whole := made.content.about["time_weighted_return"]) is not None:
        note(f"Time-weighted return of these days: {decimal_text(whole)}")
    for row in (row for row in made.content.parts["items"] if row["flows_weighted"]):
        note(f"{row['day']}: {row['flows_weighted']} flows without fresh marks, so the return is modified Dietz")


def _title(made: "Made") -> str:
    report, digest = made.report, made.digest
    parameters, about = digest.parameters, made.content.about
    if report.name == STATEMENT:
        name = about["period"]["name"]
        return f"Statement of account {parameters.account_id}, {name}, as recorded up to seq {digest.seq:,}"
    title = f"{report.title} as recorded up to" if digest.is_past else f"{report.title} at"
    if "day_start" in about:
        title = f"PnL of {about['day_start']:%Y-%m-%d %H:%M} to {about['day_end']:%Y-%m-%d %H:%M} restated at"
    title = f"{title} seq {digest.seq:,}"
    if parameters.since_seq is not None:
        title += f", changed since seq {parameters.since_seq:,}"
    if parameters.occurred_by is not None:
        title += f", as occurred by {time_text(parameters.occurred_by)}"
    return title


def _rows(made: "Made", part: "Part") -> "list[AnyRow]":
    """Return the rows of a table as they are shown to people."""
    rows: list[AnyRow] = list(made.content.parts.get(part.name, ()))
    match made.report.name, part.name:
        case "statistics", "figures":
            return [row for figures in rows for row in _statistics(figures, made.content.parts["losses"])]
        case "leverage", "figures":
            names = ("equity", "gross", "net", "delta_value", "leverage", "herfindahl", "largest_share")
            figures = [row for one in rows for row in _figures(one, names)]
            return [*figures, *({"figure": "largest asset", "value": one["largest_asset"]} for one in rows)]
        case "daily", "items" | "totals":
            whole: Row = {"day": "in all"} if part.name == "totals" else {}
            base = ("net", "revaluation")
            return [
                {**row, **whole, **{f"{name}_base": (row.get("in_base") or {}).get(name) for name in base}}
                for row in rows
            ]
        case ("statement", _):
            return [_at_places(row) for row in rows]
        case _:
            return rows


def _at_places(row: "AnyRow") -> "AnyRow":
    """Return a row of a statement with its amounts at the places of their currency, as in HTML and PDF."""
    from api.statements import html

    shown = dict(row)
    asset = row.get("asset") or row.get("settle") or ""
    for name, value in row.items():
        if isinstance(value, dict):
            shown[name] = ", ".join(html.amounts(value))
        elif isinstance(value, Decimal) and name == "quantity":
            shown[name] = html.quantity(value)
        elif isinstance(value, Decimal):
            shown[name] = (html.price if name in ("avg_px", "mark") else html.amount)(value, asset)
    return {name: value.replace(html.MINUS, "-") if isinstance(value, str) else value for name, value in shown.items()}


def _figures(row: "AnyRow", names: tuple[str, ...]) -> "list[Row]":
    return [{"figure": name.replace("_", " "), "value": row[name]} for name in names]


def _statistics(figures: "AnyRow", losses: "Iterable[AnyRow]") -> "list[Row]":
    reasons = figures["reasons"]
    drawdowns = ("max_drawdown", "current_drawdown")
    apart = ("account_id", "currency", "days", "days_unknown", "reasons", *drawdowns)
    shown: list[Row] = [
        {"figure": name.replace("_", " "), "value": value, "why": reasons.get(name, "")}
        for name, value in figures.items()
        if name not in apart
    ]
    shown += [
        {"figure": name.replace("_", " "), "value": figures[name] and figures[name]["depth"], "why": ""}
        for name in drawdowns
    ]
    for loss in losses:
        level = decimal_text(loss["level"])
        for name in ("historical_var", "historical_es", "parametric_var", "parametric_es"):
            why = "" if loss[name] is not None else reasons.get(f"var_{level}", "")
            shown.append({"figure": f"{name.replace('_', ' ')} {level}", "value": loss[name], "why": why})
    return shown


def _note_stale(made: "Made") -> None:
    """Say which marks are old: at the report's moment, and of the present book also at the present one."""
    from api.clock import now
    from api.settings import Settings

    limit = timedelta(seconds=Settings().mark_age_seconds_max)
    rows = made.content.parts.get("items", ()) if made.report.name in ("pnl", "exposure") else ()
    stale = set()
    for row in rows:
        if not row.get("quantity") or row.get("mark_at") is None:
            continue
        is_old_now = not made.digest.is_past and now() - row["mark_at"] > limit
        if row["is_mark_stale"] or is_old_now:
            stale.add(row["instrument_id"])
    if stale:
        note(f"The mark of {', '.join(sorted(stale))} is older than DAYBOOK_MARK_AGE_SECONDS_MAX")

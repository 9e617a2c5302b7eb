"""Commands that import: an export file, an archive or a folder of them, or a bundle of a whole ledger."""

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec.structs import asdict

from api.clock import now
from api.terminal.options import AccountId, Strategy, actor, opened
from api.terminal.output import EXIT_REFUSED, Json, fail, note, progress_bar, say, write_json
from domain.errors import LedgerError
from domain.names import currency

if TYPE_CHECKING:
    from api.daybook import Daybook
    from api.intake.importing.counts import Finding, ImportProgress, ImportSummary
    from api.intake.importing.ingest import Stated

PROBLEMS_SHOWN_MAX = 10
ORDERS = {"day-first": "dmy", "month-first": "mdy", "year-first": "ymd"}


def pair_option(text: str) -> str:
    """Parse the assets of a pair, `PAIR=BASE/QUOTE`."""
    pair, _, assets = text.partition("=")
    base, _, quote = assets.partition("/")
    if not (pair and base and quote):
        raise typer.BadParameter(f"{text!r} is not PAIR=BASE/QUOTE, such as 1000SATSUSDT=1000SATS/USDT")
    return text


def dates_option(text: str) -> str:
    """Parse the order of a date's numbers."""
    if text not in ORDERS:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(ORDERS)}")
    return text


Dates = Annotated[
    str | None, typer.Option(parser=dates_option, metavar="ORDER", help="day-first or month-first, where it is open.")
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--instrument",
        parser=pair_option,
        metavar="PAIR=BASE/QUOTE",
        help="The assets of a pair whose split is not clear; may be repeated.",
    ),
]
Assets = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="CSV of two columns: a venue's name of an asset, the book's."),
]


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, readable=True, help="An export of a venue (CSV, XLSX, JSON, gz, zip), a folder, or a bundle."
        ),
    ],
    account: AccountId = "main",
    strategy: Strategy = "main",
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen; record nothing.")] = False,
    dates: Dates = None,
    pairs: Pairs = None,
    assets: Assets = None,
    json: Json = False,
) -> None:
    """Record exports of venues as they were downloaded. Importing a file again adds nothing that is on record.

    The layout is recognised by the header. The account is opened and instruments are listed if need be. Rows that
    cannot be read are kept as evidence. Of a folder all files are read, in any order. A bundle of a whole ledger is
    restored instead, into an empty database.
    """  # fmt: skip
    from adapters.verify.bundles import is_bundle

    if file.is_file() and is_bundle(file):
        from api.verify.bundle_files import import_bundle

        import_bundle(file, json=json)
        return
    stated = stated_by(dates, pairs or [], assets)
    files = sorted(one for one in file.rglob("*") if one.is_file()) if file.is_dir() else [file]
    with opened() as daybook:
        done = list(
            _imported(daybook, files, stated, account=account, strategy=strategy, is_dry_run=is_dry_run, json=json)
        )
    if json:
        found = [one if isinstance(one, dict) else asdict(one) for one in done]
        write_json({"files": found} if file.is_dir() else found[0])
    if any(isinstance(one, dict) or one.unreadable or one.conflicting for one in done):
        raise typer.Exit(EXIT_REFUSED)


def _imported(
    daybook: "Daybook",
    files: Sequence[Path],
    stated: "Stated",
    account: str,
    strategy: str,
    *,
    is_dry_run: bool,
    json: bool,
) -> Iterator["ImportSummary | dict[str, Any]"]:
    """Import files one after the other. Of several, the error of one does not end the others."""
    from api.intake.importing.ingest import import_file

    for file in files:
        with progress_bar(f"importing {file.name}", is_quiet=json) as on_progress:
            try:
                summary = import_file(
                    daybook.writer, file, account_id=account, strategy_id=strategy, now=now(), actor=actor(),
                    stated=stated, is_dry_run=is_dry_run,
                    on_progress=partial(_show_progress, on_progress),
                )  # fmt: skip
            except LedgerError as error:
                if len(files) == 1:
                    raise
                yield {"source": file.name, "error": str(error)}
                if not json:
                    note(f"{file.name}:")
                    fail(error, is_json=False)
                continue
        yield summary
        if not json:
            show(summary)


def _show_progress(shown: Callable[[float, float], None], progress: "ImportProgress") -> None:
    shown(progress.fraction, 1)


def stated_by(dates: str | None, pairs: Sequence[str], assets: Path | None) -> "Stated":
    """Return what the options state about files."""
    from adapters.exchanges.files.times import DateOrder
    from api.intake.importing.ingest import Stated

    named: dict[str, str] = {}
    if assets is not None:
        with assets.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        if any(len(row) != 2 for row in rows):
            raise typer.BadParameter(f"{assets} has other than two columns", param_hint="--assets")
        named = {currency(venue.strip(), "assets"): currency(own.strip(), "assets") for venue, own in rows}
    split = {pair: tuple(of.split("/", 1)) for pair, of in (text.split("=", 1) for text in pairs)}
    return Stated(DateOrder(ORDERS[dates]) if dates else None, split, named)  # type: ignore[arg-type]


def show(summary: "ImportSummary") -> None:
    """Write what became of a file, for people."""
    recorded = "to record" if summary.is_dry_run else "recorded"
    say(
        f"{summary.source}: {summary.read:,} read, {summary.recorded:,} {recorded}, {summary.completed:,} completed, "
        f"{summary.already_known:,} already known, {summary.conflicting:,} conflicting (not booked), "
        f"{summary.unreadable:,} unreadable, {summary.skipped:,} skipped"
        + (f"; {summary.broken:,} of those recorded break a rule, and are booked" if summary.broken else "")
    )
    for found in summary.layouts:
        at = f"UTC{found.offset_minutes / 60:+g}" if found.offset_minutes else "UTC"
        unused = f"; columns not used: {', '.join(found.columns_not_used)}" if found.columns_not_used else ""
        say(f"  {found.layout}, by its columns; times in {at}, decimals after {found.decimal_sign!r}{unused}")
    if summary.first_at is not None and summary.last_at is not None:
        say(f"  from {summary.first_at:%Y-%m-%d %H:%M} to {summary.last_at:%Y-%m-%d %H:%M}")
    for kind, counts in sorted(summary.kinds.items()):
        said = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
        say(f"  {kind}: {said.replace('_', ' ')}")
    if summary.is_dry_run:
        for asset, amount in sorted(summary.changes.items()):
            say(f"  {asset}: {amount:+f}")
    for balances in summary.balances:
        if (parted := balances.parted) is None:
            say(f"  balances equal the file's at all {balances.compared:,} rows that have one")
        else:
            by_rows = f"{parted.book:f} by the rows up to it"
            note(f"  line {parted.line}: {parted.asset} {parted.file:f} in the file, {by_rows}")
    _show_findings(summary)


def _show_findings(summary: "ImportSummary") -> None:
    found: dict[str, list[Finding]] = {
        "broken": summary.breaks, "conflict, not booked": summary.conflicts, "unreadable": summary.errors
    }  # fmt: skip
    for kind, findings in found.items():
        for finding in findings[:PROBLEMS_SHOWN_MAX]:
            place = f"{finding.file} line {finding.line}" if finding.file else f"line {finding.line}"
            note(f"  {place}, {kind}: {finding.error}")
        if len(findings) > PROBLEMS_SHOWN_MAX:
            note(f"  and more of these, {kind}; --json lists the first 100")

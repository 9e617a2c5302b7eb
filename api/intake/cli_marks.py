"""`daybook import-marks`: market data from a file into the price history."""

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.clock import now
from api.terminal.options import InstrumentId, actor, name_option, opened
from api.terminal.output import EXIT_REFUSED, Json, note, progress_bar, say, write_json
from domain import instrument as instruments
from domain.marks import BATCH_MARKS_MAX, Quality

if TYPE_CHECKING:
    from adapters.market.files import MarketData
    from api.daybook import Daybook

UNREADABLE_SHOWN_MAX = 20
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def every_option(text: str) -> timedelta:
    """Parse the length of a candle."""
    parts = re.fullmatch(r"([1-9][0-9]{0,4})([smhd])", text)
    if parts is None:
        raise typer.BadParameter(f"{text!r} is not a length such as 30s, 1m, 8h or 1d")
    return int(parts[1]) * UNITS[parts[2]]


def import_marks(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, readable=True, help="Candles, trades or funding rates: CSV, JSON."),
    ],
    instrument: InstrumentId,
    source: Annotated[
        str | None,
        typer.Option(parser=name_option, metavar="NAME", help="The source of the prices; absent: the file"),
    ] = None,
    quality: Annotated[Quality | None, typer.Option(help="What kind of price it is.")] = None,
    every: Annotated[
        timedelta | None,
        typer.Option(parser=every_option, metavar="1m", help="How long a candle is; detected if absent."),
    ] = None,
    json: Json = False,
) -> None:
    """Record market data. Importing a file again adds nothing that is on record.

    A candle's close is known at the candle's end, not earlier. Lines that cannot be read are listed; all others are
    recorded.
    """
    from adapters.market.files import read_market

    named = source or re.sub(r"[^A-Za-z0-9._-]", "_", file.stem).lstrip("._-")[:64] or "file"
    with opened() as daybook, progress_bar(f"importing {file.name}", is_quiet=json) as on_progress:
        listed = daybook.writer.state(instruments.stream(instrument))
        contract = listed.contract if listed is not None else None
        found = read_market(
            file, instrument, named, now=now(), every=every, quality=quality, contract=contract
        )  # fmt: skip
        added = _record(daybook, found, on_progress)
    read = len(found.marks) + len(found.rates)
    if json:
        errors = [{"line": one.line, "error": str(one.error)} for one in found.unreadable]
        write_json({"source": named, "marks": len(found.marks), "rates": len(found.rates), "recorded": added,
                    "already_known": read - added, "unreadable": len(errors), "errors": errors})  # fmt: skip
    else:
        what = "funding rates" if found.rates else "marks"
        say(f"{named}: {read:,} {what}, {added:,} recorded, {read - added:,} already known,"
            f" {len(found.unreadable):,} lines unreadable")  # fmt: skip
        for one in found.unreadable[:UNREADABLE_SHOWN_MAX]:
            note(f"  line {one.line}: {one.error}")
    if found.unreadable:
        raise typer.Exit(EXIT_REFUSED)


def _record(daybook: "Daybook", found: "MarketData", on_progress: "object") -> int:
    who = actor()
    added, done = daybook.recorder.record_rates(found.rates, actor=who), 0
    for at in range(0, len(found.marks), BATCH_MARKS_MAX):
        batch = found.marks[at : at + BATCH_MARKS_MAX]
        added += daybook.recorder.record(batch, actor=who, is_new_only=True)
        done += len(batch)
        on_progress(done, len(found.marks))  # type: ignore[operator]
    return added

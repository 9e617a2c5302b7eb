"""`daybook report restatement`: a day's PnL as it was reported and as it is known, and the causes of the difference."""

from typing import Annotated, Any

import typer

from api.parameters import Format, Moment
from api.terminal.options import WAIT_SECONDS_MAX, AnswerFormat, KnownAt, Which, moment_option, opened, spread
from api.terminal.output import Column, Json, Kind, note, write_csv, write_json, write_table

POSITIONS = (
    Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2),
    Column("instrument_id", "Instrument"), Column("reported", "Reported", Kind.PNL), Column("known", "Known", Kind.PNL),
    Column("difference", "Difference", Kind.PNL), Column("settle", "In"), Column("items", "Items", Kind.NUMBER, 4),
)  # fmt: skip
ITEMS = (
    Column("cause", "Cause"), Column("recorded_at", "Recorded", Kind.TIME, 2), Column("instrument_id", "Instrument"),
    Column("exec_ids", "Executions", rank=1), Column("mark_was", "Mark was", Kind.NUMBER, 3),
    Column("mark_is", "Mark is", Kind.NUMBER, 3), Column("booked", "Booked", Kind.PNL),
    Column("unrealized", "Unrealized", Kind.PNL), Column("amount", "Difference", Kind.PNL), Column("settle", "In"),
)  # fmt: skip
TOTALS = (
    Column("settle", "In"), Column("reported", "Reported", Kind.PNL), Column("known", "Known", Kind.PNL),
    Column("difference", "Difference", Kind.PNL),
)  # fmt: skip


@spread
def restatement(
    *,
    day: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The date of the day's close.")],
    close: Annotated[
        str,
        typer.Option(
            metavar="HH:MM[ ZONE]", help="When a day ends, such as '17:00 America/New_York'; 00:00 ends the date."
        ),
    ] = "00:00",
    known_at: KnownAt = None,
    restated_at: Annotated[
        Moment | None,
        typer.Option(parser=moment_option, metavar="SEQ|TIME", help="When it is known as restated, instead of now."),
    ] = None,
    which: Which,
    format_: AnswerFormat = Format.TABLE,
    json: Json = False,
) -> None:
    """Show a day's PnL as it was reported, as it is known now, and which late fills, busts or prices differ.

    It was reported as the day ended, or as known at --known-at. The items sum to the difference exactly.
    """
    from api.explain import restatement as service

    requested = service.day_of(day, close, known_at, restated_at)
    with opened() as daybook:
        daybook.runner.catch_up()
        found = service.restatement(daybook, requested, which.where, wait_seconds_max=WAIT_SECONDS_MAX)
    record: dict[str, Any] = service.restatement_record(found)
    if json or format_ is Format.JSON:
        write_json({"report": "restatement", **record})
        return
    if format_ is Format.CSV:
        write_csv(record["items"], [column.name for column in ITEMS])
        return
    title = f"PnL of {requested.start:%Y-%m-%d %H:%M} to {requested.end:%Y-%m-%d %H:%M}"
    write_table(title, record["positions"], POSITIONS, empty=f"{title}: nothing was held.")
    write_table("Causes of the difference", record["items"], ITEMS, empty="Nothing has changed since.")
    write_table("In all", record["totals"], TOTALS, empty="")
    if unknown := sorted({row["instrument_id"] for row in record["positions"] if row["difference"] is None}):
        note(f"No mark is known for {', '.join(unknown)} at the day's start or end")

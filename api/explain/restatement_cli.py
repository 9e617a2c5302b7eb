"""`daybook report restatement`: what a day's PnL was reported as, what it is known to be, and what makes it differ."""

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
        typer.Option(parser=moment_option, metavar="SEQ|TIME", help="What is known when, instead of now."),
    ] = None,
    which: Which,
    format_: AnswerFormat = Format.TABLE,
    json: Json = False,
) -> None:
    """What was reported of a day, what is known now, and which late fills, busts or prices make the difference.

    The day was reported as it ended, or with what was known at --known-at. The items sum to the difference exactly.
    """
    from api.explain import restatement as service

    asked = service.day_of(day, close, known_at, restated_at)
    with opened() as daybook:
        daybook.runner.catch_up()
        found = service.restatement(daybook, asked, which.where, wait_seconds_max=WAIT_SECONDS_MAX)
    told: dict[str, Any] = service.told(found)
    if json or format_ is Format.JSON:
        write_json({"report": "restatement", **told})
        return
    if format_ is Format.CSV:
        write_csv(told["items"], [column.name for column in ITEMS])
        return
    title = f"PnL of {asked.start:%Y-%m-%d %H:%M} to {asked.end:%Y-%m-%d %H:%M}"
    write_table(title, told["positions"], POSITIONS, empty=f"{title}: nothing was held.")
    write_table("What makes the difference", told["items"], ITEMS, empty="Nothing has changed since.")
    write_table("In all", told["totals"], TOTALS, empty="")
    if unknown := sorted({row["instrument_id"] for row in told["positions"] if row["difference"] is None}):
        note(f"No mark is known for {', '.join(unknown)} at the day's start or end")

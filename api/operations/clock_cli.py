"""`daybook clock`: compare the clocks, and confirm ours when it is in doubt and right."""

from datetime import datetime
from typing import Annotated, Any

import typer

from api.clock import now
from api.encoding import time_text
from api.terminal.options import actor, opened
from api.terminal.output import EXIT_REFUSED, Json, note, say, write_json

clock = typer.Typer(name="clock", help="The clock: show, confirm.", no_args_is_help=True)


@clock.command(name="show")
def show(json: Json = False) -> None:
    """Show our clock, the database's, the time of the last event, and the confirmations on record.

    Exit code 1: the clock is in doubt, and nothing is recorded by it.
    """
    with opened() as daybook:
        doubt, looked = daybook.clock_doubt(), daybook.clock.looked
        confirmations = daybook.log.confirmations()
    assert looked is not None, "it looked just now"
    shown: dict[str, Any] = {
        "ours": looked.ours,
        "database": looked.database,
        "log": looked.log,
        "doubt": doubt,
        "confirmations": [one._asdict() for one in confirmations],
    }
    if json:
        write_json(shown)
    else:
        _say("Ours", looked.ours)
        _say("Database", looked.database)
        _say("Log", looked.log)
        for one in confirmations:
            events = f", after the events {one.from_seq} to {one.seq - 1}" if one.from_seq is not None else ""
            say(f"Confirmed as event {one.seq}, at {time_text(one.at)}{events}")
        say(f"In doubt: {doubt}" if doubt else "The clock is right.")
    if doubt:
        raise typer.Exit(EXIT_REFUSED)


@clock.command(name="confirm")
def confirm(
    reason: Annotated[str, typer.Option(help="What was wrong, and how it was made sure that the clock is right.")],
    database_differs: Annotated[
        bool, typer.Option("--database-differs", help="Accept that the database's clock differs, as it does now.")
    ] = False,
    json: Json = False,
) -> None:
    """Confirm that the clock of this machine is right. Recorded with your name; processes that serve go on by it.

    First compare with a clock that you trust. Events recorded at a later time than now stay as they are; what was on
    record while they were recorded is not known by time from then on, only by place in the log.
    """
    with opened() as daybook:
        record = daybook.confirm_clock(actor=actor(), reason=reason, is_difference_accepted=database_differs)
        at = now()
    if json:
        confirmed = None if record is None else {"from_seq": record.event.from_seq, "recorded_at": record.recorded_at}
        write_json({"confirmed": confirmed})
    elif record is None:
        say(f"No clock is in doubt at {time_text(at)}: nothing was recorded.")
    else:
        say(f"Confirmed: it is {time_text(record.recorded_at)}.")
        if record.event.from_seq is not None:
            note(
                f"The events from seq {record.event.from_seq} on were recorded by a clock that was ahead; a query as "
                "of a time at which they may have been recorded is refused, one as of a seq is answered."
            )


def _say(name: str, moment: datetime | None) -> None:
    say(f"{name:<9} {'-' if moment is None else time_text(moment)}")

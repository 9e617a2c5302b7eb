"""`daybook log`: the events of the log in words, filtered by who, what, where and when."""

from typing import Annotated, Any

import typer

from api.encoding import time_text
from api.terminal.options import name_option, opened, time_option
from api.terminal.output import Column, Json, Kind, note, say, write_json, write_table

COLUMNS = (
    Column("seq", "Seq", Kind.NUMBER),
    Column("recorded_at", "Recorded", Kind.TIME, rank=1),
    Column("actor", "Actor", rank=3),
    Column("cause", "Cause", rank=4),
    Column("stream", "Stream", rank=2),
    Column("topic", "Event"),
    Column("summary", "What happened"),
)


def _time(name: str, help_: str) -> Any:
    return typer.Option(name, parser=time_option, metavar="TIME", help=help_)


def log(
    after: Annotated[int, typer.Option(min=0, help="Only events after this seq.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 50,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this actor recorded.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option(metavar="EVENT", help="Only this event, such as OrderFilled; may be repeated.")
    ] = None,
    stream: Annotated[str, typer.Option(help="Only streams that begin so, such as order:main:")] = "",
    account: Annotated[str | None, typer.Option(parser=name_option, metavar="ID", help="Only this account.")] = None,
    request_id: Annotated[str | None, typer.Option(metavar="ID", help="Only what this request recorded.")] = None,
    since: Annotated[Any, _time("--since", "Recorded from this time on.")] = None,
    until: Annotated[Any, _time("--until", "Recorded before this time.")] = None,
    occurred_since: Annotated[Any, _time("--occurred-since", "Occurred from this time on.")] = None,
    occurred_until: Annotated[Any, _time("--occurred-until", "Occurred before this time.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show every field of each event.")] = False,
    json: Json = False,
) -> None:
    """Show events of the log, one a line; --full shows every field, --json the stored text too."""
    from api.read_models.log_search import LogFilter, checked, search
    from api.read_models.records import event_record

    wanted = checked(
        LogFilter(
            actor=actor,
            event=tuple(topic or ()),
            stream=stream,
            account_id=account,
            request_id=request_id,
            recorded_since=since,
            recorded_until=until,
            occurred_since=occurred_since,
            occurred_until=occurred_until,
        )
    )
    with opened() as daybook:
        page = search(daybook, wanted, after=after, limit=limit, scanned_max=None)
        rows = [event_record(stored) for stored in page.found]
    if json:
        write_json({"events": rows, "next": None if page.is_last else page.last})
        return
    if full:
        _write_in_full(rows)
    else:
        write_table("Log", rows, COLUMNS, empty="No such events.")
    if not page.is_last:
        note(f"More may follow: go on with --after {page.last}")


def _write_in_full(rows: list[dict[str, Any]]) -> None:
    from api.read_models.wording import lines

    for row in rows:
        say(f"{row['seq']:,}  {row['topic']}  {row['stream']} #{row['version']}")
        say(f"  recorded {time_text(row['recorded_at'])} by {row['actor']}, request {row['request_id']}")
        if row["cause"]:
            say(f"  because of {row['cause']}")
        for line in lines({name: value for name, value in row["record"]["event"].items() if name != "type"}, 1):
            say(line)
        say("")
    if not rows:
        note("No such events.")

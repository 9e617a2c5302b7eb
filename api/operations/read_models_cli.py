"""Commands for read models: status, follow, rebuild, resume, verify."""

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.terminal.options import environment, opened
from api.terminal.output import EXIT_REFUSED, Column, Json, Kind, note, progress_bar, say, write_json, write_table

if TYPE_CHECKING:
    from adapters.upkeep.watch import Reported
    from projections.runner.attestation import Verified
    from projections.runner.diff import TableDifference
    from projections.runner.lease import Holder
    from projections.runner.rebuild import RebuildResult

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Read models; by default all.")]
SHOWN_ROWS_MAX = 5
TASK_COLUMNS = [
    Column("process", "Process", rank=3),
    Column("task", "Task"),
    Column("state", "State"),
    Column("since", "Since", Kind.TIME, rank=2),
    Column("failures", "Failures", Kind.NUMBER, rank=1),
    Column("last_success_at", "Last success", Kind.TIME, rank=4),
    Column("last_error", "Last error"),
]

REACTION_COLUMNS = [
    Column("reaction", "Policy"),
    Column("seq", "Seq", Kind.NUMBER),
    Column("lag", "Lag, events", Kind.NUMBER),
    Column("carried_out", "Carried out", Kind.NUMBER),
    Column("refused", "Refused", Kind.NUMBER),
    Column("last_cause", "Last, because of", rank=1),
    Column("last_at", "At", Kind.TIME, rank=2),
    Column("error", "Stopped by"),
]


def status(json: Json = False) -> None:
    """Show the database, the log and how far it is sealed, each read model and policy, and the background tasks."""
    from adapters import release
    from adapters.postgres import connections
    from adapters.upkeep.watch import reported, sealed
    from adapters.writer import leadership

    with opened() as daybook:
        head = daybook.log.head()
        progress = daybook.runner.status()
        followers = daybook.runner.followers()
        status_json: dict[str, Any] = {
            "release": release.current()._asdict(),
            "database": connections.name(daybook.url),
            "seq": head.seq,
            "recorded_at": head.recorded_at,
            "sealed": sealed(daybook.url)[1],
            "leader": leader._asdict() if (leader := leadership.present(daybook.url)) else None,
            "tasks": [_task_json(one) for one in reported(daybook.url)],
            "projections": [one._asdict() for one in progress],
            "reactions": [one._asdict() | {"reaction": one.reaction.upper()} for one in daybook.reactions.status()],
            "followers": [one._asdict() for one in followers],
        }
    if json:
        write_json(status_json)
    else:
        say(f"Daybook   {release.current().sentence}")
        say(f"Database  {status_json['database']}")
        say(f"Log       {head.seq:,} events" + (f", the last recorded {head.recorded_at}" if head.recorded_at else ""))
        say(f"Sealed    {status_json['sealed']:,} events")
        say(f"Written   by {leader}, since {leader.since:%Y-%m-%d %H:%M:%S}" if leader else "Written   by no service")
        _show_followers(followers)
        write_table(
            "Background tasks", status_json["tasks"], TASK_COLUMNS, empty="No process reports background tasks."
        )
        columns = [
            Column("projection", "Read model"),
            Column("version", "Version", Kind.NUMBER),
            Column("seq", "Seq", Kind.NUMBER),
            Column("lag", "Lag, events", Kind.NUMBER),
            Column("lag_ms", "Lag, ms", Kind.NUMBER),
            Column("rows", "Rows", Kind.NUMBER, rank=2),
            Column("error", "Stopped by"),
        ]
        write_table("Read models", status_json["projections"], columns, empty="No read models.")
        write_table("Policies", status_json["reactions"], REACTION_COLUMNS, empty="No policies.")
    stopped = [one.projection for one in progress if one.error]
    policies = [one["reaction"] for one in status_json["reactions"] if one["error"]]
    troubled = [one["task"] for one in status_json["tasks"] if one["is_needed"] and one["is_trouble"]]
    if stopped and not json:
        note(f"Fix the cause, then run: daybook resume {' '.join(stopped)}")
    if policies and not json:
        note(f"Fix the cause, then run: daybook policy resume {policies[0]}")
    if troubled and not json:
        note(f"Not running: {', '.join(troubled)} (retried by itself; the error is shown above)")
    if stopped or policies or troubled:
        raise typer.Exit(EXIT_REFUSED)


def _task_json(one: "Reported") -> dict[str, Any]:
    """Return a task's health. Of a process that no longer reports, only that."""
    known = {"process": one.process, **one.health._asdict(), "age_ms": round(one.age_s * 1000)}
    return known if one.is_fresh else known | {"state": "unknown", "is_trouble": False}


def _show_followers(followers: Sequence["Holder"]) -> None:
    for one in followers:
        rate = "" if one.events_s is None else f", {one.events_s:,} events/s lately"
        say(f"Followed  by {one.name} since {one.since:%Y-%m-%d %H:%M:%S}, last active {one.beat_at:%H:%M:%S}{rate}")
    if not followers:
        say("Followed  by no process (daybook serve and daybook follow do); reports first catch up by themselves")


def follow(names: Names = None, json: Json = False) -> None:
    """Keep read models up to date until Ctrl-C, without serving. Stands by while another process does.

    With names, only these read models; one process at a time follows the same ones.
    """
    import threading

    from api.terminal.logs import log_to_stderr

    _check(names)
    settings, stop = environment(), threading.Event()
    log_to_stderr(settings)
    with opened(settings) as daybook:
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, lambda *_: stop.set())
        with daybook.following(names or None), daybook.watching():
            if json:
                write_json({"follows": names or known()})
            else:
                note(f"Following: {', '.join(names or known())} (Ctrl-C to stop)")
            while not stop.wait(1):
                pass


def rebuild(
    names: Names = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--compare", help="Show what would change, and change nothing.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Restore the rows that the last rebuild replaced.")
    ] = False,
    json: Json = False,
) -> None:
    """Rebuild read models from the log beside the live ones, compare them, and swap them in.

    Exit code 1: rows of the same version differed, because they were altered or a fold has changed. The replaced rows
    are kept until the next rebuild.
    """
    _check(names)
    if dry_run and rollback:
        raise typer.BadParameter("--dry-run and --rollback exclude each other")
    with opened() as daybook, progress_bar("rolling back" if rollback else "rebuilding", is_quiet=json) as on_progress:
        if rollback:
            results = daybook.runner.roll_back(names or None, on_progress)
        else:
            if not dry_run and daybook.runner.is_current():
                daybook.runner.catch_up()
            results = daybook.runner.rebuild(names or None, on_progress, is_dry_run=dry_run)
    differing = [result.name for result in results if result.is_identical is False]
    if json:
        rebuilt = [result._asdict() | {"differences": _differences_json(result.differences)} for result in results]
        write_json({"rebuilt": rebuilt, "is_identical": not differing, "is_swapped": not dry_run})
    else:
        _show_rebuilt(results, is_dry_run=dry_run)
    if differing:
        outcome = "Nothing was changed." if dry_run else "It is correct now."
        note(f"Differed from the log: {', '.join(differing)}. {outcome}")
        raise typer.Exit(EXIT_REFUSED)


def _show_rebuilt(results: Sequence["RebuildResult"], *, is_dry_run: bool) -> None:
    columns = [
        Column("name", "Read model"),
        Column("version", "Version", Kind.NUMBER, rank=1),
        Column("rows", "Rows", Kind.NUMBER),
        Column("rows_before", "Before", Kind.NUMBER, rank=1),
        Column("seq", "Seq", Kind.NUMBER),
        Column("is_identical", "Identical"),
        Column("digest_after", "Digest", rank=2),
        Column("digest_before", "Digest before", rank=3),
    ]
    title = "Would be rebuilt" if is_dry_run else "Rebuilt"
    write_table(title, [result._asdict() for result in results], columns, empty="Nothing to rebuild.")
    for result in results:
        _show_differences(result.name, result.differences)


def resume(names: Names = None, json: Json = False) -> None:
    """Resume read models that stopped at an event, once the cause is fixed.

    A process that follows continues them within a second; without one, this command catches them up itself.
    """
    _check(names)
    with opened() as daybook:
        resumed = daybook.runner.resume(names or None)
        if not daybook.runner.followers():
            daybook.runner.catch_up()
        stopped = [one for one in daybook.runner.status() if one.error]
    if json:
        write_json({"resumed": resumed, "stopped": [one._asdict() for one in stopped]})
    else:
        say(f"Resumed: {', '.join(resumed)}" if resumed else "None of them was stopped.")
        for one in stopped:
            note(str(one.error))
    if stopped:
        raise typer.Exit(EXIT_REFUSED)


def verify_read_models(*, json: bool) -> None:
    """Fold the log again and compare the rows and digests of every read model with it."""
    with opened() as daybook:
        daybook.runner.catch_up()
        with progress_bar("folding", is_quiet=json) as on_progress:
            found = daybook.runner.verify(None, on_progress)
    wrong = [one.name for one in found if not one.is_right]
    if json:
        shown = [
            one._asdict() | {"is_right": one.is_right, "differences": _differences_json(one.differences)}
            for one in found
        ]
        write_json({"projections": shown, "is_right": not wrong})
    else:
        columns = [
            Column("name", "Read model"),
            Column("seq", "Seq", Kind.NUMBER),
            Column("rows", "Rows", Kind.NUMBER),
            Column("attestations", "Digests", Kind.NUMBER, rank=1),
            Column("is_right", "Correct"),
            Column("digest", "Digest", rank=2),
        ]
        write_table(
            "Read models", [one._asdict() | {"is_right": one.is_right} for one in found], columns, empty="None."
        )
        for one in found:
            _show_differences(one.name, one.differences)
            _show_parted(one)
    if wrong:
        note(f"Differ from the log: {', '.join(wrong)}. To correct: daybook rebuild {' '.join(wrong)}")
        raise typer.Exit(EXIT_REFUSED)


def _show_parted(found: "Verified") -> None:
    if found.parted is not None:
        agreed, parted = found.parted
        say(f"{found.name}: its digest agrees up to seq {agreed:,} and not at seq {parted:,}.")
    if found.first_seq is not None:
        say(f"{found.name}: the first event whose rows were changed or removed since is seq {found.first_seq:,}.")


def _show_differences(name: str, differences: Sequence["TableDifference"]) -> None:
    for one in differences:
        columns = ", ".join(f"{column} {count:,}" for column, count in one.columns.items())
        new = "".join(f"; column {column} is new" for column in one.columns_added)
        gone = "".join(f"; column {column} is gone" for column in one.columns_removed)
        counts = f"{one.added:,} added, {one.removed:,} removed, {one.changed:,} changed"
        say(f"{name}.{one.table}: {counts}{f' ({columns})' if columns else ''}{new}{gone}")
        for row in one.sample[:SHOWN_ROWS_MAX]:
            key = " ".join(str(part) for part in row.key.values())
            changes = ", ".join(f"{column} {was} -> {now}" for column, (was, now) in row.columns.items())
            say(f"  {row.kind} {key} (seq {row.seq})" + (f": {changes}" if row.kind == "changed" else ""))


def _differences_json(differences: Sequence["TableDifference"]) -> list[dict[str, Any]]:
    return [one._asdict() | {"sample": [row._asdict() for row in one.sample]} for one in differences]


def known() -> list[str]:
    """Return the names of all read models."""
    from projections.catalog import PROJECTIONS

    return [projection.name for projection in PROJECTIONS]


def _check(names: Sequence[str] | None) -> None:
    for name in names or []:
        if name not in known():
            raise typer.BadParameter(f"{name!r} is not a read model; the read models are {', '.join(known())}")

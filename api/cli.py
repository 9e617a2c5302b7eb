"""The command line: `daybook`.

Exit codes: 0 done; 1 refused, or something in the answer needs a look (unreadable rows, a read model that differs);
2 a mistake in how the command was called; 3 the database cannot be reached. What goes wrong is one sentence on stderr,
with `--json` problem details.

The modules of the command line load what it takes to understand a command. What it takes to carry one out, the command
itself imports: help and mistakes are answered at once.
"""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from api import cli_book, cli_explain, cli_keys, cli_proof, cli_reports
from api.cli_output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    Column,
    Json,
    Kind,
    fail,
    note,
    progress_bar,
    say,
    write_json,
    write_table,
)
from api.cli_parts import environment, opened
from api.problems import Problem
from domain.errors import LedgerError

SHUTDOWN_SECONDS_MAX = 15
INTERRUPTED = 130

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.add_typer(cli_reports.report)
app.command()(cli_reports.replay)
app.command()(cli_explain.explain)
app.command(name="import")(cli_book.import_)
app.command(name="verify")(cli_proof.verify_)
app.command()(cli_proof.export)
app.command()(cli_proof.checkpoint)
app.command()(cli_book.log)
app.add_typer(cli_book.account)
app.add_typer(cli_book.instrument)
app.add_typer(cli_book.limit)
app.add_typer(cli_book.order)
app.add_typer(cli_keys.keys)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; DAYBOOK_HOST unless given.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; DAYBOOK_PORT unless given.")] = None,
    json: Json = False,
) -> None:
    """Serve the API and the console until Ctrl-C. What happens meanwhile is logged on stderr."""
    import uvicorn

    from adapters.store import database
    from api.main import create_app
    from api.observing import log_to_stderr

    settings = environment()
    log_to_stderr(settings)
    listening = _listening(host or settings.host, settings.port if port is None else port)
    with listening, opened(settings) as book:
        address, number = listening.getsockname()[:2]
        url = f"http://{f'[{address}]' if ':' in address else address}:{number}"
        has_keys = any(key.revoked_at is None for key in book.keys.all())
        if json:
            write_json({"url": url, "database": database.name(book.url), "has_keys": has_keys})
            sys.stdout.flush()
        else:
            note(f"Daybook on {url} (Ctrl-C ends it)")
        if not (json or has_keys):
            note("There is no API key yet: daybook keys create NAME --scope trade --scope report --scope audit")
        config = uvicorn.Config(
            create_app(book), log_config=None, access_log=False, ws="none",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
        )  # fmt: skip
        for asked_to_end in (signal.SIGTERM, signal.SIGINT):  # what uvicorn hands back once it has ended in order
            signal.signal(asked_to_end, _end)
        uvicorn.Server(config).run(sockets=[listening])


def _end(*_: object) -> None:
    raise typer.Exit


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Problem(
            409, "port", "Port not free", f"cannot listen on {host}:{port}: {why}; choose another with --port"
        ) from error


@app.command()
def status(json: Json = False) -> None:
    """Where the book is, how long it is, and how far each read model is behind it."""
    from adapters.store import database

    with opened() as book:
        head = book.log.head()
        progress = book.runner.status()
        told: dict[str, Any] = {
            "database": database.name(book.url),
            "seq": head.seq,
            "recorded_at": head.recorded_at,
            "projections": [one._asdict() for one in progress],
        }
    if json:
        write_json(told)
    else:
        say(f"Database  {told['database']}")
        say(f"Log       {head.seq:,} events" + (f", the last recorded {head.recorded_at}" if head.recorded_at else ""))
        columns = [
            Column("projection", "Read model"),
            Column("version", "Version", Kind.NUMBER),
            Column("seq", "Seq", Kind.NUMBER),
            Column("lag", "Behind", Kind.NUMBER),
            Column("error", "Stopped by"),
        ]
        write_table("Read models", told["projections"], columns, empty="No read models.")
    if any(one.error for one in progress):
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def rebuild(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Read models; all unless named.")
    ] = None,
    json: Json = False,
) -> None:
    """Rebuild read models from the log beside the live ones, compare them, and swap them in."""
    from projections.catalog import PROJECTIONS

    known = [projection.name for projection in PROJECTIONS]
    for name in names or []:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is no read model; there are {', '.join(known)}")
    with opened() as book, progress_bar("rebuilding", is_quiet=json) as on_progress:
        book.runner.catch_up()
        results = book.runner.rebuild(names or None, on_progress)
    differing = [result.name for result in results if result.is_identical is False]
    if json:
        write_json({"rebuilt": [result._asdict() for result in results], "is_identical": not differing})
    else:
        columns = [
            Column("name", "Read model"),
            Column("rows", "Rows", Kind.NUMBER),
            Column("seq", "Seq", Kind.NUMBER),
            Column("is_identical", "Identical"),
            Column("digest_after", "Digest", rank=2),
            Column("digest_before", "Before", rank=3),
        ]
        write_table("Rebuilt", [result._asdict() for result in results], columns, empty="Nothing to rebuild.")
    if differing:
        note(f"What was there before differed from what the log says: {', '.join(differing)}. It is right now.")
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def stop(json: Json = False) -> None:
    """Stop Daybook's own PostgreSQL. The next command starts it again; nothing is lost."""
    from adapters.store import database, embedded

    settings = environment()
    if settings.url:
        name = database.name(settings.url)
        raise Problem(409, "refused", "Not ours", f"DAYBOOK_DATABASE_URL names {name}, which is not Daybook's to stop")
    embedded.stop(settings.home)
    write_json({"stopped": str(settings.home)}) if json else say(f"The PostgreSQL of {settings.home} is stopped.")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the report, without the console.")] = False,
    seed: Annotated[int, typer.Option(help="Which day.")] = 1,
    port: Annotated[int, typer.Option(help="Port of the console.")] = 8000,
    home: Annotated[Path | None, typer.Option(help="Where its files are; DAYBOOK_HOME unless given.")] = None,
    json: Json = False,
) -> None:
    """A simulated trading day, its report, and the console over it until Ctrl-C."""
    from api.demo import run as run_demo

    raise typer.Exit(run_demo(once=once, seed=seed, port=port, home=home or environment().home, as_json=json))


def run(args: Sequence[str]) -> int:
    """Carry out a command line; its exit code."""
    is_json = "--json" in args or ("--format" in args and "json" in args) or "--format=json" in args
    try:
        returned: Any = get_command(app).main(args=list(args), prog_name="daybook", standalone_mode=False)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(error.format_message() + "\n")
        else:
            _say_usage(
                error.format_message().rstrip("."), context.command_path if context else "daybook", is_json=is_json
            )
        return EXIT_USAGE
    except (LedgerError, Problem) as error:
        return fail(error, is_json=is_json)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return returned if isinstance(returned, int) else 0


def _say_usage(message: str, where: str, *, is_json: bool) -> None:
    detail = message if is_json else f"{message} (see {where} --help)"
    fail(Problem(400, "usage", "Usage", detail), is_json=is_json)


def main() -> None:
    """The command."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

"""Daybook on the command line: record, report and audit the trading of a crypto desk.

Exit codes: 0 success; 1 the request was refused, or the result needs attention (lines that could not be read, a read
model that differs from the log, an unknown account); 2 the command was used wrongly; 3 a report lacks marks or rates; 4
the database cannot be reached; 5 a bundle does not show that it is complete; 6 the database is of an older Daybook: run
`daybook upgrade`; 130 interrupted by Ctrl-C. An error is one sentence on stderr, with --json problem
details (RFC 9457).
"""

# The modules of the command line import only what parsing needs; each command imports what it runs on, so that help and
# usage errors are answered at once.

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

from api.audit import cli as audit_cli
from api.audit import closing_cli, log_cli, witness_cli
from api.explain import cli as explain_cli
from api.explain import orders_cli
from api.intake import cli as intake_cli
from api.intake import cli_marks, controls_cli, limits_cli, order_cli
from api.intake.forms import catalog, lists_cli
from api.intake.forms.cli import add_commands
from api.intake.importing import cli as importing_cli
from api.intake.importing import evidence_cli
from api.intake.policies import cli as policies_cli
from api.intake.stopping import cli as stopping_cli
from api.intake.venue_reports import cash_cli
from api.intake.venue_reports import cli as venue_reports_cli
from api.operations import (
    approvals_cli,
    clock_cli,
    database_cli,
    keys_cli,
    privacy_cli,
    read_models_cli,
    upgrade_cli,
)
from api.problems import Problem
from api.reports import cli as reports_cli
from api.terminal import startup
from api.terminal.options import claim_name, environment, opened
from api.terminal.output import EXIT_USAGE, Json, fail, note, say, write_json
from api.what_if import cli as what_if_cli
from domain.errors import ClockInDoubt, LedgerError

SHUTDOWN_SECONDS_MAX = 15
INTERRUPTED = 130
PLAIN_HTTP = (
    "plain HTTP on an address that other machines reach: API keys can be read on the way. Give --tls-cert and"
    " --tls-key, or listen on 127.0.0.1 behind a proxy that speaks TLS."
)

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


app.add_typer(reports_cli.report)
app.command(name="what-if")(what_if_cli.what_if)
app.command()(reports_cli.replay)
app.command()(explain_cli.explain)
app.command()(orders_cli.why)
app.command()(read_models_cli.status)
app.command()(read_models_cli.follow)
app.command()(read_models_cli.rebuild)
app.command()(read_models_cli.resume)
app.command(name="import")(importing_cli.import_)
app.command(name="import-marks")(cli_marks.import_marks)
app.command(name="venue-report")(venue_reports_cli.venue_report)
app.add_typer(cash_cli.cash)
app.command(name="verify")(audit_cli.verify_)
app.command()(audit_cli.commit_marks)
app.command()(audit_cli.prove_mark)
app.command()(audit_cli.snapshots)
app.command()(audit_cli.export)
app.command()(audit_cli.checkpoint)
app.command()(audit_cli.proof)
app.command()(closing_cli.close)
app.add_typer(closing_cli.prove)
app.command()(log_cli.log)
app.command()(privacy_cli.redact)
app.command()(approvals_cli.approve)
app.command()(approvals_cli.reject)
app.add_typer(approvals_cli.approval)
app.command()(upgrade_cli.upgrade)
app.add_typer(database_cli.database)
app.add_typer(clock_cli.clock)
order_cli.order.command(name="cancel-all")(stopping_cli.cancel_all)
intake_cli.limit.command(name="list")(limits_cli.list_limits)
intake_cli.limit.command(name="would-refuse")(limits_cli.would_refuse)
intake_cli.limit.command(name="buying-power")(limits_cli.show_buying_power)
app.add_typer(intake_cli.account)
app.add_typer(intake_cli.instrument)
app.add_typer(intake_cli.limit)
app.add_typer(limits_cli.capital)
app.add_typer(controls_cli.kill_switch)
app.add_typer(controls_cli.breaks)
app.add_typer(evidence_cli.evidence)
app.add_typer(policies_cli.policy)
app.add_typer(stopping_cli.dead_man_switch)
app.add_typer(order_cli.order)
for group in lists_cli.GROUPS:
    app.add_typer(group)
_extended = (*lists_cli.GROUPS, intake_cli.account, intake_cli.instrument, order_cli.order)
add_commands(catalog.OPERATIONS, {str(each.info.name): each for each in _extended})
keys_cli.keys.add_typer(audit_cli.seal_keys)
app.add_typer(witness_cli.witness)
app.add_typer(keys_cli.keys)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    actor: Annotated[
        str, typer.Option(help="A name to record as claimed; who runs the command is the account of the system.")
    ] = "",
    version: Annotated[bool, typer.Option("--version", help="Show version, commit and the hash of the code.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --version: write JSON.", hidden=True)] = False,
) -> None:
    """Options of every command, and of none."""
    claim_name(actor)
    if version:
        from adapters import release

        found = release.current()
        write_json(found._asdict()) if json else say(f"daybook {found.sentence}")
        raise typer.Exit
    if json or context.invoked_subcommand is None:
        raise typer.BadParameter("--json follows a command" if json else "name a command")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; by default DAYBOOK_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; by default DAYBOOK_PORT.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of a certificate, to serve HTTPS; by default DAYBOOK_TLS_CERT.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="PEM file of its key; by default DAYBOOK_TLS_KEY, or the certificate's file.")
    ] = None,
    follows: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Keep the read models up to date, as `daybook follow` does."),
    ] = True,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="First upgrade the database if it is of an older Daybook.")
    ] = False,
    json: Json = False,
) -> None:
    """Serve the API and the console until Ctrl-C. Logs go to stderr."""
    import uvicorn

    from adapters.postgres import connections
    from api.http.server import configured, is_public, url_of
    from api.main import create_app
    from api.terminal.logs import log_to_stderr

    given = {"host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    settings = environment().model_copy(update={name: value for name, value in given.items() if value is not None})
    log_to_stderr(settings)
    if upgrade and (done := upgrade_cli.upgraded())["is_upgraded"]:
        note(f"Upgraded {done['database']} from revision {done['from'] or 'none'} to {done['to']}")
    with _listening(settings.host, settings.port) as listening, opened(settings) as daybook:
        daybook.begin_keys()
        url = url_of(settings, listening)
        has_keys = any(key.revoked_at is None for key in daybook.keys.all())
        if json:
            write_json({"url": url, "database": connections.name(daybook.url), "has_keys": has_keys})
            sys.stdout.flush()
        else:
            note(f"Daybook on {url} (Ctrl-C to stop)")
        if not (json or has_keys):
            note("There is no API key yet: daybook keys create NAME --scope trade --scope record --scope audit")
        if doubt := daybook.clock_doubt():
            note(f"Nothing is recorded: {ClockInDoubt(doubt)}")
        if settings.tls_cert is None and is_public(settings.host):
            note(f"Warning: {PLAIN_HTTP}")
        app = create_app(daybook, follows=follows, is_accompanied=True, url=settings.advertised_url or url)
        config = configured(app, settings, timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX)
        for ending in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again after its shutdown
            signal.signal(ending, _end)
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
def stop(json: Json = False) -> None:
    """Stop Daybook's own PostgreSQL. No data is lost; the next command starts it again."""
    from adapters.postgres import connections, embedded

    settings = environment()
    if settings.url:
        name = connections.name(settings.url)
        raise Problem(
            409, "refused", "Not Daybook's own", f"DAYBOOK_DATABASE_URL names {name}, which is not Daybook's to stop"
        )
    if settings.home.exists():
        embedded.stop(settings.server_home())
    write_json({"stopped": str(settings.home)}) if json else say(f"PostgreSQL in {settings.home} is stopped.")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the report, without serving the console.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulated day; the same seed gives the same day.")] = 1,
    port: Annotated[int, typer.Option(help="Port of the console.")] = 8000,
    home: Annotated[Path | None, typer.Option(help="Directory of its files; by default DAYBOOK_HOME.")] = None,
    json: Json = False,
) -> None:
    """Simulate a trading day, show its report, and serve the console until Ctrl-C."""
    from adapters.postgres import advice
    from api.demo.demo import run as run_demo

    with advice.given(home_from="--home" if home else advice.HOME, takes_url=False):
        chosen = home or environment().server_home()
        code = run_demo(once=once, seed=seed, port=port, home=chosen, as_json=json)
    raise typer.Exit(code)


def run(args: Sequence[str]) -> int:
    """Run a command line; return its exit code."""
    is_json = "--json" in args or ("--format" in args and "json" in args) or "--format=json" in args
    try:
        returned: Any = get_command(app).main(args=list(args), prog_name="daybook", standalone_mode=False)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(error.format_message() + "\n")
        else:
            _fail_usage(
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


def _fail_usage(message: str, where: str, *, is_json: bool) -> None:
    detail = message if is_json else f"{message} (see {where} --help)"
    fail(Problem(400, "usage", "Usage", detail), is_json=is_json)


def main() -> None:
    """Run the command line of this process, and exit. No process it starts takes code from the current directory."""
    os.environ["PYTHONSAFEPATH"] = "1"
    startup.begin()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

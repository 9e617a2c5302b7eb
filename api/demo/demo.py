"""The demo: one simulated trading day through all of Daybook, then the console.

It has a home of its own, `demo` inside DAYBOOK_HOME, with its own PostgreSQL and a fresh database each time; it never
touches another database, not even the one of DAYBOOK_DATABASE_URL. The last day stays there until the next one. The
same seed gives the same day. Ctrl-C or SIGTERM ends it at any moment, with everything stopped and exit code 0.
"""

import contextlib
import fcntl
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import FrameType

import psycopg
import uvicorn
from pydantic import SecretStr
from rich.console import Console

from adapters.exchanges.simulated import Faults
from adapters.log import queries
from adapters.postgres import advice, connections, embedded
from api.daybook import Daybook
from api.demo.report import Outcome, Rebuilt, Throughput, report
from api.demo.screen import Screen
from api.demo.trading_day import START, STEPS, DaySummary, TradingDay
from api.encoding import encoded
from api.http.server import configured
from api.main import create_app
from api.settings import Settings
from api.terminal.logs import log_to_stderr
from domain.errors import Unavailable
from domain.values import divide, rounded
from projections.analytics import exposure, pnl
from projections.catalog import PROJECTIONS
from projections.models import breaks, capital_flows, limits, orders, positions

HOST = "127.0.0.1"
HOMES_MAX = 9
SERVER_STARTS_SECONDS_MAX = 20
SERVER_STOPS_SECONDS_MAX = 5
READ_MODELS_SECONDS_MAX = 60
REFUSALS_SHOWN = 3

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAULTS = Faults(duplicate_per_mille=30, late_per_mille=15, late_steps_max=3, fill_after_cancel_per_mille=350)


class Stopped(BaseException):
    """Ctrl-C, SIGTERM, or the terminal was closed: unwind, stop everything, and exit with 0."""


def run(
    *, once: bool = False, seed: int = 1, port: int = 8000, home: Path | None = None, as_json: bool = False,
    steps: int = STEPS,
) -> int:  # fmt: skip
    """Run a day, show its report, then serve the console on `port` until Ctrl-C unless `once`; return the exit code.

    `home` is by default DAYBOOK_HOME; `as_json` writes the report as one JSON document instead. Fewer `steps` make a
    shorter day. Raises Unavailable if no PostgreSQL can be started.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # a terminal without our characters
    # if the report is JSON, progress is shown only at a terminal
    screen = Screen(Console(highlight=False, stderr=as_json, quiet=as_json and not sys.stderr.isatty()))
    log_to_stderr(Settings(log_level="warning"))
    with _stoppable():
        try:
            present(home or Settings().home, screen, seed=seed, port=port, steps=steps, once=once, as_json=as_json)
        except Stopped:
            screen.say("Stopped.")
    return 0


def present(
    home: Path, screen: Screen, *, seed: int, port: int, steps: int, once: bool, as_json: bool
) -> None:  # fmt: skip
    """Run the demo on a given screen; see `run`."""
    screen.say(f"Daybook demo: a simulated trading day, seed {seed}", style="bold")
    with contextlib.ExitStack() as stack:
        settings = stack.enter_context(_fresh_database(home, screen))
        daybook = stack.enter_context(Daybook.open(settings))
        url = stack.enter_context(_followed(daybook) if once else _served(daybook, port, screen))
        if url is not None:
            screen.say(f"Console  {url}  (open it now to watch the day)")
        with screen.progress() as on_step:
            summary = TradingDay(seed, steps=steps, faults=FAULTS).run(daybook.writer, daybook.recorder, on_step)
        screen.doing("bringing the read models up to date")
        if not daybook.runner.wait_for(daybook.log.head().seq, READ_MODELS_SECONDS_MAX):
            raise Unavailable(f"the read models did not catch up within {READ_MODELS_SECONDS_MAX} s")
        screen.doing("rebuilding every read model from the first event and comparing")
        outcome = _outcome(daybook, seed, summary)
        screen.clear()
        if as_json:
            sys.stdout.write(encoded(outcome.document(url)).decode() + "\n")
            sys.stdout.flush()
        else:
            screen.show(report(outcome, screen.width))
        if url is not None:
            screen.stay(url)


@contextlib.contextmanager
def _followed(daybook: Daybook) -> Iterator[None]:
    """Keep the read models up to date, as while the API is served."""
    with daybook.following():
        yield None


# The home and its database


@contextlib.contextmanager
def _fresh_database(home: Path, screen: Screen) -> Iterator[Settings]:
    """Start the demo's own PostgreSQL with an empty database; it is stopped at the end."""
    with _own_home(home) as own:
        screen.doing("starting PostgreSQL")
        began = time.perf_counter()
        try:
            last = embedded.start(own)
            with connections.reaching(last):
                embedded.drop(last)
            url = embedded.start(own)
            with psycopg.connect(url) as connection:
                version = connection.info.parameter_status("server_version")
            screen.say(f"PostgreSQL {version} in {own}, every commit on disk ({time.perf_counter() - began:.1f} s)")
            yield Settings(home=own, database_url=SecretStr(url))
        finally:
            screen.doing("stopping PostgreSQL")
            embedded.stop(own)
            screen.clear()


@contextlib.contextmanager
def _own_home(home: Path) -> Iterator[Path]:
    """Lock a directory that no other demo uses: `demo`, or `demo-2` and so on beside one that is running."""
    for number in range(1, HOMES_MAX + 1):
        own = home.expanduser() / ("demo" if number == 1 else f"demo-{number}")
        try:
            own.mkdir(parents=True, exist_ok=True)
            lock = (own / "lock").open("w")
        except OSError as error:
            raise Unavailable(f"{own} cannot hold the demo ({error.strerror}); {advice.elsewhere()}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield own
            return
    raise Unavailable(f"{HOMES_MAX} demos are running in {home}")


# The outcome


def _outcome(daybook: Daybook, seed: int, summary: DaySummary) -> Outcome:
    rebuilt = _rebuilt(daybook)
    marks = daybook.marks.latest_all()
    topics = queries.topics(daybook.url)
    with daybook.engine.connect() as connection:
        refused = orders.blotter(connection, status="REJECTED", limit=None)
        return Outcome(
            seed=seed,
            day=f"{START:%Y-%m-%d}",
            topics={topic: count for topic, (count, _) in topics.items()},
            log_seq=daybook.log.head().seq,
            log_bytes=sum(size for _, size in topics.values()),
            throughput=_throughput(summary),
            pnl=pnl.pnl(connection, marks=marks) + pnl.of_cash(capital_flows.cash_of(connection)),
            exposure=exposure.totals(
                exposure.exposure(positions.positions(connection), (), exposure.Pricing(marks)), ("instrument_id",)
            ),
            limits=limits.utilisation(connection),
            refusals=_examples(refused),
            breaks=breaks.breaks(connection, limit=None),
            rebuilt=rebuilt,
        )


def _throughput(summary: DaySummary) -> Throughput:
    seconds = Decimal(repr(summary.seconds))
    return Throughput(
        rounded(seconds, 2), int(divide(Decimal(summary.events), seconds, 0)),
        int(divide(Decimal(summary.fills), seconds, 0)),
    )  # fmt: skip


def _rebuilt(daybook: Daybook) -> Rebuilt:
    began = time.perf_counter()
    results = daybook.runner.rebuild([projection.name for projection in PROJECTIONS])
    return Rebuilt(
        seconds=rounded(Decimal(repr(time.perf_counter() - began)), 2),
        events=max(result.seq for result in results),
        read_models=len(results),
        rows=sum(result.rows for result in results),
        is_identical=all(result.is_identical for result in results),
    )


def _examples(rejected: list[orders.OrderRow]) -> list[orders.OrderRow]:
    """Return a few examples: the latest refusal of each rule and instrument."""
    examples: dict[tuple[str, str], orders.OrderRow] = {}
    for row in rejected:
        if row["rule"] is not None:
            examples.setdefault((row["rule"], row["instrument_id"]), row)
    return list(examples.values())[:REFUSALS_SHOWN]


# The console


@contextlib.contextmanager
def _served(daybook: Daybook, port: int, screen: Screen) -> Iterator[str]:
    """Serve the API and the console in a thread of their own; yield their URL."""
    listening = _listen(port)
    found = listening.getsockname()[1]
    if port not in (0, found):
        screen.say(f"Port {port} is taken; using {found} instead.")
    app = create_app(daybook, demo=True, url=f"http://{HOST}:{found}")
    config = configured(app, daybook.settings, log_level="warning", timeout_graceful_shutdown=SERVER_STOPS_SECONDS_MAX)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="daybook demo server", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + SERVER_STARTS_SECONDS_MAX
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise Unavailable(f"the API did not start on port {found}")
            time.sleep(0.02)
        yield f"http://{HOST}:{found}"
    finally:
        server.should_exit = True
        thread.join(2 * SERVER_STOPS_SECONDS_MAX)
        listening.close()


def _listen(port: int) -> socket.socket:
    """Return a listening socket on `port`, or on a free one if that is taken."""
    for wanted in (port, 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, wanted))
            listening.listen()
        except OSError:
            listening.close()
        else:
            return listening
    raise Unavailable(f"no port of {HOST} is free")


# Signals


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the signals that end the demo into Stopped, once: a shutdown is not interrupted again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        for other in ENDING:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped

    before = {number: signal.signal(number, stop) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

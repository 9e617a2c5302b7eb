"""The command line: what it says, what it leaves behind, and the exit codes that scripts trust.

Most commands are run in this process, which is quicker; what depends on a process or a terminal has one of its own.
"""

import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from typer.main import get_command

from api import cli
from tests import CHECKOUT, oracles
from tests.api.command_line import BTC, Run, command, environment, parsed
from tests.waiting import until

pytestmark = pytest.mark.slow


def test_help_and_mistakes_are_answered_without_loading_what_a_command_needs():
    heavy = "{'alembic', 'eventsourcing', 'fastapi', 'httpx', 'psycopg', 'pydantic_settings', 'sqlalchemy', 'uvicorn'}"
    for run in ("pass", "cli.run(['report', 'pnl', '--as-of', 'then'])", "cli.run(['--help'])"):
        script = f"import sys; from api import cli; {run}; print(sorted({heavy} & sys.modules.keys()), file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, text=True, capture_output=True, check=True)
        assert (run, done.stderr.splitlines()[-1]) == (run, "[]")


def test_orders_limits_and_the_log_from_the_command_line(book: Run):
    submit = ("order", "submit", "A-1", "--instrument", BTC, "--side", "BUY", "--qty", "0.5", "--price", "100")
    assert parsed(book("limit", "set", "--measure", "MAX_POSITION", "--limit", "0.6", "--json"))["limit"] == "0.6"
    first, again = book(*submit, "--json"), book(*submit, "--json")
    assert parsed(first) == parsed(again)
    assert parsed(first)["actor"].startswith("os:")
    refused = book(*(arg if arg != "A-1" else "A-2" for arg in submit), "--json")
    problem = json.loads(refused.stderr)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (problem["rule"], problem["limit"], problem["asked"]) == ("MAX_POSITION is not exceeded", "0.6", "1")
    assert parsed(book("order", "show", "A-1", "--json"))["status"] == "PENDING_NEW"
    assert parsed(book("order", "cancel", "A-1", "--json"))["status"] == "PENDING_CANCEL"
    missing = book("order", "show", "A-9")
    assert (missing.returncode, "A-9" in missing.stderr, "Traceback" in missing.stderr) == (1, True, False)
    events = parsed(book("log", "--stream", "order:main:A-1", "--json"))["events"]
    assert [event["topic"] for event in events] == ["OrderSubmitted", "OrderCancelRequested"]
    assert parsed(book("status", "--json"))["seq"] == parsed(book("log", "--json"))["events"][-1]["seq"]
    rows = list(csv.DictReader(io.StringIO(book("report", "orders", "--format", "csv").stdout)))
    assert [(row["cl_ord_id"], row["status"]) for row in rows] == [("A-2", "REJECTED"), ("A-1", "PENDING_CANCEL")]


@pytest.mark.slow
@pytest.mark.oracle
def test_a_trade_history_is_imported_reported_replayed_and_rebuilt_without_a_server(run: Run):
    history = next(iter(sorted(oracles.ROOT.glob("real_fills/*.csv"))), None)
    if history is None:
        pytest.skip(f"no trade history under {oracles.ROOT} (DAYBOOK_ORACLES)")
    first, again = parsed(run("import", str(history), "--json")), parsed(run("import", str(history), "--json"))
    assert first["recorded"] == first["read"] > 0
    assert (again["recorded"], again["already_known"]) == (0, first["read"])
    refused = run("report", "pnl", "--mark", f"{BTC}=9500")
    assert (refused.returncode, "no rate for fees of" in refused.stderr) == (3, True), "no total leaves anything out"
    given = ("--mark", f"{BTC}=9500", "--allow-missing", "--json")
    nets = {
        parsed(run("report", "pnl", "--method", method, *given))["totals"][0]["net"] for method in ("AVERAGE", "FIFO")
    }
    assert len(nets) == 1, "the net does not depend on the cost basis"
    live = parsed(run("report", "pnl", *given))
    past = parsed(run("replay", "--account", "main", "--as-of", str(live["seq"]), "--mark", f"{BTC}=9500", "--json"))
    assert past["positions"] == live["items"]
    assert past["as_of"]["head_seq"] == past["as_of"]["seq"] == live["seq"]
    before = parsed(run("report", "positions", "--as-of", "2020-01-01T00:00:00Z", "--json"))
    assert (before["seq"], before["items"]) == (0, [])
    rebuilt = parsed(run("rebuild", "--json"))
    assert rebuilt["is_identical"] is True
    assert {one["is_identical"] for one in rebuilt["rebuilt"]} == {True}
    one = run("rebuild", "orders", "--json")
    assert [each["name"] for each in parsed(one)["rebuilt"]] == ["orders"]
    why = parsed(run("explain", "pnl", "quantity", "--limit", "5", "--json"))
    assert why["value"] == live["items"][0]["quantity"]
    assert why["opening"]["seq"] < why["events"][-1]["seq"] and why["events"][0]["report"]
    shown = run("explain", "pnl", "net", "--mark", f"{BTC}=9500").stdout
    assert "realized" in shown and live["items"][0]["net"].lstrip("-") in shown.replace(",", "")
    table = run("report", "pnl", "--mark", f"{BTC}=9500", "--allow-missing")
    assert (table.returncode, "\x1b" in table.stdout) == (0, False)
    assert "Realized" in table.stdout


def test_every_command_can_answer_in_json():
    def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, each in group.commands.items():
            yield from commands(each, (*path, name)) if hasattr(each, "commands") else [((*path, name), each)]

    found = dict(commands(get_command(cli.app)))
    assert ("report", "pnl") in found
    assert [path for path, each in found.items() if not any("--json" in param.opts for param in each.params)] == []


def test_a_rebuild_that_finds_other_rows_reports_them(book: Run, database_url: str):
    import psycopg

    book("order", "submit", "A-1", "--instrument", BTC, "--side", "BUY", "--qty", "1", "--price", "100")
    assert book("report", "orders").returncode == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE read_orders.orders SET cum_qty = 7")
    differing = book("rebuild", "--json")
    assert differing.returncode == 1
    assert [each["name"] for each in json.loads(differing.stdout)["rebuilt"] if each["is_identical"] is False] == [
        "orders"
    ]
    assert parsed(book("report", "orders", "--json"))["items"][0]["cum_qty"] == "0"


def test_keys_are_made_listed_and_revoked(run: Run):
    made = run("keys", "create", "bot", "--scope", "trade", "--scope", "report")
    key = made.stdout.strip()
    assert key.startswith("dbk_")
    assert key not in made.stderr
    listed = run("keys", "list", "--json")
    assert [(each["actor"], each["scopes"]) for each in parsed(listed)["keys"]] == [("bot", ["record", "trade"])]
    assert key.split("_", 2)[2] not in listed.stdout
    key_id = key.split("_")[1]
    assert parsed(run("keys", "revoke", key_id, "--json"))["is_revoked_now"] is True
    assert run("keys", "revoke", "nope").returncode == 1
    assert run("keys", "create", "bot", "--scope", "everything").returncode == 2


def test_a_database_that_is_down_is_reported_in_one_sentence_without_the_password(inside: Run):
    for args in (["status"], ["report", "pnl"], ["replay", "--account", "main"], ["account", "open", "x"], ["rebuild"],
                 ["keys", "list"], ["log"], ["serve", "--port", "0"]):  # fmt: skip
        for as_json in ([], ["--json"]):
            done = inside(*args, *as_json)
            assert (args, done.returncode, done.stdout) == (args, 4, "")
            said = json.loads(done.stderr)["detail"] if as_json else done.stderr
            assert "book at 127.0.0.1:1" in said
            assert "s3cret" not in done.stderr
            assert done.stderr.count("\n") == 1
    done = command("status", DAYBOOK_DATABASE_URL="postgresql://desk:s3cret@127.0.0.1:1/book")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert "s3cret" not in done.stderr


def test_mistakes_in_a_command_are_usage_errors_in_one_sentence(inside: Run, monkeypatch: pytest.MonkeyPatch):
    for args in (
        ["nope"], ["report"], ["report", "nope"], ["report", "pnl", "--as-of", "then"],
        ["report", "pnl", "--mark", "x"], ["report", "pnl", "--format", "xml"],
        ["report", "pnl", "--mark", f"{BTC}=1e999"], ["report", "pnl", "--method", "BEST"], ["rebuild", "nope"],
        ["report", "pnl", "--account", "a;b"], ["import", "no-such-file.csv"], ["replay"], ["log", "--limit", "0"],
        ["order", "submit", "A", "--instrument", BTC, "--side", "BUY", "--qty", "0"],
    ):  # fmt: skip
        done = inside(*args)
        assert (args, done.returncode, done.stdout) == (args, 2, "")
        if args != ["report"]:  # which shows its help
            assert (args, done.stderr.count("\n")) == (args, 1)
            assert json.loads(inside(*args, "--json").stderr)["type"] == "urn:daybook:problem:usage"
    unreadable = inside("status", url="no url, and s3cret")
    assert (unreadable.returncode, "s3cret" in unreadable.stderr) == (4, False)
    monkeypatch.setenv("DAYBOOK_PORT", "x")
    assert inside("status").returncode == 2
    done = command("report", "pnl", "--as-of", "then")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_serve_prints_where_it_listens_and_that_a_port_is_taken(database_url: str, as_json: list[str]):
    served = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "serve", "--port", "0", *as_json], cwd=CHECKOUT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(DAYBOOK_DATABASE_URL=database_url, DAYBOOK_LOG_LEVEL="error"),
    )  # fmt: skip
    try:
        assert served.stdout is not None
        assert served.stderr is not None
        if as_json:
            line = "".join(served.stdout.readline() for _ in range(5))
            assert json.loads(line)["has_keys"] is False
        else:
            line = served.stderr.readline()
            assert line.startswith("Daybook on http://127.0.0.1:"), line
        port = re.findall(r"http://127\.0\.0\.1:(\d+)", line)[0]
        import httpx

        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).status_code == 200
        taken = command("serve", "--port", port, "--json", DAYBOOK_DATABASE_URL=database_url)
        assert (taken.returncode, taken.stdout) == (1, "")
        assert port in json.loads(taken.stderr)["detail"]
    finally:
        served.terminate()
        _, said = served.communicate(timeout=60)
    assert served.returncode == 0, said
    assert "Traceback" not in said


def test_stop_does_not_touch_a_server_that_is_not_ours(run: Run):
    done = run("stop")
    assert (done.returncode, "not Daybook's to stop" in done.stderr) == (1, True)
    assert run("status").returncode == 0


def at_a_terminal(columns: int, *args: str, **environment: str) -> str:
    """What a command writes on a terminal of so many columns."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", *args], cwd=CHECKOUT, stdout=theirs, stderr=theirs,
        env=kept | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while chunk := os.read(ours, 4096):
            written += chunk
    os.close(ours)
    assert process.wait(60) == 0, written
    return written.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_tables_fit_a_narrow_terminal_and_colour_only_a_willing_one(book: Run, database_url: str):
    from adapters.log.postgres import PostgresLog
    from adapters.writer.writer import Writer
    from api.clock import now
    from api.intake.venue_reports.parsing import VENUE_REPORT
    from tests.api.client import fill

    fills = [fill("E-1", cl_ord_id="O-1"), fill("E-2", cl_ord_id="O-2", side="SELL", last_px="1000090", trade_seq=2)]
    with PostgresLog(database_url) as log:
        Writer(log, now).report([VENUE_REPORT.validate_python(one).report() for one in fills], actor="test")
    requested = ("report", "pnl")
    narrow = at_a_terminal(70, *requested, DAYBOOK_DATABASE_URL=database_url, NO_COLOR="1")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", narrow).splitlines()  # without colours, and moves of the cursor
    assert max(len(line) for line in lines if not line.startswith("not shown")) <= 70
    assert any(line.startswith(BTC + " ") for line in lines), "names are whole too"
    assert "999,990" in narrow, "numbers are whole, with their thousands grouped"
    assert "not shown on this narrow terminal" in narrow.replace("\n", " ")
    assert "\x1b[3" not in narrow
    wide = at_a_terminal(200, *requested, DAYBOOK_DATABASE_URL=database_url)
    assert "\x1b[32m" in wide, "gains are green"
    assert "not shown" not in wide


@pytest.mark.parametrize(
    "words", [("report", "executions", "--json"), ("what-if", "--method", "AVERAGE", "--json")], ids=" ".join
)
def test_ctrl_c_ends_a_read_quietly_and_its_statement_in_the_database(
    words: tuple[str, ...], book: Run, database_url: str
):
    parsed(book("report", "executions", "--json"))
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT schema FROM read.progress WHERE projection = 'executions'").fetchone()
        assert found is not None
        locked = f'"{found[0]}".executions' if words[0] == "report" else "ledger.events"
        connection.execute(f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE")  # type: ignore[arg-type]
        reading = subprocess.Popen(
            [sys.executable, "-m", "api.cli", *words], cwd=CHECKOUT,
            env=environment(DAYBOOK_DATABASE_URL=database_url), text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=_take_ctrl_c,  # noqa: PLW1509 (no other thread forks here)
        )  # fmt: skip
        until(lambda: _waiting(database_url))
        reading.send_signal(signal.SIGINT)
        out, err = reading.communicate(timeout=30)
        assert (reading.returncode, out, err) == (130, "", "")
        until(lambda: not _waiting(database_url))


def _take_ctrl_c() -> None:
    """As at a terminal: a test that runs in the background of a shell ignores it, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _waiting(url: str) -> int:
    """How many sessions wait for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        found = connection.execute(waits).fetchone()
    return int(found[0]) if found else 0

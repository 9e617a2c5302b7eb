"""`daybook status`, `follow`, `rebuild`, `resume`, `verify --projections`: what they say, and their exit codes."""

import json
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from tests import CHECKOUT
from tests.api.command_line import BTC, Run, environment, parsed

SECONDS_MAX = 60


def ordered(book: Run) -> None:
    book("order", "submit", "A-1", "--instrument", BTC, "--side", "BUY", "--qty", "1", "--price", "100")
    assert book("report", "orders").returncode == 0


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.mark.slow
def test_an_altered_row_is_named_shown_and_mended(book: Run, database_url: str):
    ordered(book)
    right = book("verify", "--projections", "--json")
    assert (right.returncode, parsed(right)["is_right"]) == (0, True)
    execute(database_url, "UPDATE read_orders.orders SET cum_qty = 7")
    wrong = book("verify", "--projections")
    assert wrong.returncode == 1
    assert "orders.orders: 0 added, 0 removed, 1 changed (cum_qty 1)" in wrong.stdout
    assert "changed main A-1" in wrong.stdout
    assert "cum_qty 7 -> 0" in wrong.stdout
    assert "To correct: daybook rebuild orders" in wrong.stderr
    compared = book("rebuild", "orders", "--dry-run", "--json")
    (result,) = json.loads(compared.stdout)["rebuilt"]
    assert (compared.returncode, result["is_swapped"]) == (1, False)
    assert result["differences"][0]["sample"][0]["columns"] == {"cum_qty": ["7", "0"]}
    assert parsed(book("report", "orders", "--json"))["items"][0]["cum_qty"] == "7", "nothing was changed"
    assert book("rebuild", "orders").returncode == 1
    assert book("verify", "--projections").returncode == 0
    back = book("rebuild", "orders", "--rollback")
    assert (back.returncode, "cum_qty 0 -> 7" in back.stdout) == (1, True)
    assert parsed(book("report", "orders", "--json"))["items"][0]["cum_qty"] == "7", "as it was"


def test_what_cannot_be_rolled_back_is_refused(book: Run):
    ordered(book)
    refused = book("rebuild", "lots", "--rollback")
    assert refused.returncode == 1
    assert "no rebuild of lots has kept the rows" in refused.stderr
    assert book("rebuild", "lots", "--rollback", "--dry-run").returncode == 2
    assert book("resume", "nope").returncode == 2


def test_a_stopped_read_model_is_shown_and_resumed(book: Run, database_url: str):
    ordered(book)
    execute(database_url, "UPDATE read.progress SET error = 'orders stopped at seq 9' WHERE projection = 'orders'")
    stopped = book("status")
    assert (stopped.returncode, "orders stopped at seq 9" in stopped.stdout) == (1, True)
    assert "daybook resume orders" in stopped.stderr
    resumed = book("resume", "--json")
    assert (resumed.returncode, parsed(resumed)) == (0, {"resumed": ["orders"], "stopped": []})
    assert book("status").returncode == 0
    assert "None of them was stopped" in book("resume", "orders").stdout


@pytest.mark.slow
def test_a_follower_of_its_own_is_named_and_ends_at_a_signal(book: Run, database_url: str):
    ordered(book)
    with subprocess.Popen(
        [sys.executable, "-m", "api.cli", "follow", "--json"], cwd=CHECKOUT, stdout=subprocess.PIPE,
        env=environment(DAYBOOK_DATABASE_URL=database_url),
    ) as process:  # fmt: skip
        deadline = time.monotonic() + SECONDS_MAX
        while not (followers := json.loads(book("status", "--json").stdout)["followers"]):
            assert time.monotonic() < deadline
        assert f"process {process.pid} on" in followers[0]["name"]
        assert "Followed  by process" in book("status").stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 0
    assert json.loads(book("status", "--json").stdout)["followers"] == []

"""The demo, as a person runs it: in a process of its own, with its own PostgreSQL, ended by a signal."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from api.demo.demo import run
from domain.values import exact
from tests import CHECKOUT

pytestmark = pytest.mark.slow

START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60


def reported(home: Path, capsys: pytest.CaptureFixture[str], *, seed: int = 3) -> dict:
    """A short day's report as JSON."""
    assert run(once=True, seed=seed, home=home, as_json=True, steps=60) == 0
    return json.loads(capsys.readouterr().out)


def test_report_adds_up_and_one_seed_is_one_day(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "postgresql://nowhere.invalid/book")  # not for a demo
    first, again, other = (reported(home, capsys, seed=seed) for seed in (3, 3, 4))
    assert first["rebuilt"]["is_identical"]
    assert first["log_seq"] == sum(first["topics"].values())
    assert first["counts"]["fills"] == first["topics"]["TradeBooked.v2"] > 0
    assert first["counts"]["refused"] > 0
    for row in first["pnl"]:
        gained = sum(Decimal(row[name]) for name in ("realized", "rounding", "unrealized", "funding"))
        assert exact(gained - Decimal(row["fee_cost"]) - Decimal(row["fees_settle"])) == Decimal(row["net"])
    same = ("topics", "pnl", "exposure", "limits", "refusals")
    assert {name: first[name] for name in same} == {name: again[name] for name in same}
    assert first["pnl"] != other["pnl"]


def test_report_for_people_has_no_control_codes_where_there_is_no_terminal(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(once=True, seed=3, home=home, steps=60) == 0
    out = capsys.readouterr().out
    assert "Profit and loss" in out
    assert "every row identical" in " ".join(out.split())
    assert "\x1b" not in out
    assert max(map(len, out.split("What happened")[1].splitlines())) <= 80
    assert "\u2026" not in out, "a figure was cut off"


def test_serves_until_a_signal_and_leaves_nothing_running(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", f"from api.demo.demo import run; raise SystemExit(run(port={port}, steps=60))"]
        environment = os.environ | {"DAYBOOK_HOME": str(home), "PYTHONPATH": str(CHECKOUT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if line.startswith("Ctrl-C"):
                    break
            assert f"Port {port} is taken" in said
            url = re.findall(r"^Console +(http://127\.0\.0\.1:\d+)$", said, re.MULTILINE)[-1]
            assert httpx.get(f"{url}/health").json() == {"status": "ok"}
            assert httpx.get(f"{url}/v1/pnl").json()["items"]
            assert "Daybook" in httpx.get(url).text
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_SECONDS_MAX) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
    assert not (home / "demo" / "postgres" / "data" / "postmaster.pid").exists()


def test_signal_in_the_middle_of_the_day_ends_it_cleanly(home: Path):
    command = [sys.executable, "-c", "from api.demo.demo import run; raise SystemExit(run(once=True))"]
    environment = os.environ | {"DAYBOOK_HOME": str(home), "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        for line in process.stdout:
            if "fills" in line or time.monotonic() > deadline:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(STOP_SECONDS_MAX) == 0
    assert "Stopped." in rest
    assert not (home / "demo" / "postgres" / "data" / "postmaster.pid").exists()

"""The command line in a process of its own; the fixtures `inside`, `run` and `book` run it in this one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests import CHECKOUT

BTC = "BTCUSDT.BINANCE"
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(**settings: str) -> dict[str, str]:
    """The environment with these settings and no others, but for the home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAYBOOK_")}
    return kept | {"DAYBOOK_HOME": os.environ["DAYBOOK_HOME"]} | settings


def command(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *args],
        cwd=CHECKOUT, env=environment(**settings), text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def parsed(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

"""`daybook serve` in a process of its own, with a server of its own, whose clock a test can set: `python -m` this."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg

from adapters.postgres.migrations import migrate
from adapters.postgres.scopes import Scope
from tests import CHECKOUT
from tests.api.client import order
from tests.api.command_line import environment
from tests.api.own_writes import Client, known
from tests.keys import issue

SECONDS_MAX = 90
AHEAD = "TEST_CLOCK_AHEAD_FILE"  # names a file with the seconds that the process's clock is ahead
SERVE = [sys.executable, "-m", "tests.api.operations.serving", "serve", "--port", "0", "--json"]


class Service:
    """A served Daybook and a client that may do everything."""

    def __init__(self, process: "subprocess.Popen[str]", client: httpx.Client, home: Path, database: str) -> None:
        self.process = process
        self.client = client
        self.home = home
        self.database = database

    def execute(self, *statements: str) -> None:
        """As the superuser of its server, whose sessions can always write."""
        with psycopg.connect(self.database, autocommit=True, options="-c default_transaction_read_only=off") as owner:
            for statement in statements:
                owner.execute(statement)  # type: ignore[call-overload]

    def until(self, path: str, is_true: Callable[[httpx.Response], bool]) -> httpx.Response:
        """The first answer for which it is true."""
        deadline = time.monotonic() + SECONDS_MAX
        while not is_true(found := self.client.get(path)):
            assert self.process.poll() is None, "the service has ended"
            assert time.monotonic() < deadline, found.text
            time.sleep(0.1)
        return found

    def submit(self, cl_ord_id: str) -> httpx.Response:
        """An order is recorded; sent again while it is refused for a moment."""
        deadline = time.monotonic() + SECONDS_MAX
        while (answer := self.client.post("/v1/orders", json=order(cl_ord_id))).status_code != 201:
            assert answer.status_code == 503 and answer.headers["Retry-After"], answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        return answer

    def until_ready(self, seq: int = 0) -> dict[str, Any]:
        """Ready, with everything sealed and folded, up to a place in the log at least."""

        def is_current(answer: httpx.Response) -> bool:
            body = answer.json()
            return answer.status_code == 200 and all(one["lag"] == 0 for one in body["projections"]) and (
                body["sealing"] is not None and body["sealing"]["sealed"] == body["seq"] >= seq
            )  # fmt: skip

        body: dict[str, Any] = self.until("/ready", is_current).json()
        return body

    def until_trouble(self, *names: str) -> str:
        """Not ready, with these in the reason."""
        found = self.until(
            "/ready",
            lambda answer: answer.status_code == 503 and all(name in answer.json()["detail"] for name in names),
        )
        detail: str = found.json()["detail"]
        return detail


@contextmanager
def served(home: Path, database: str, *, ahead: Path | None = None, **settings: str) -> Iterator[Service]:
    """Serve until the end, on any free port, with further settings in the environment."""
    migrate(database)
    key = issue(database, "desk", [Scope.TRADE, Scope.RECORD, Scope.AUDIT, Scope.ADMIN])
    with (home / "serve.log").open("a") as log, subprocess.Popen(
        SERVE, env=_environment(home, ahead) | settings, cwd=CHECKOUT, text=True,
        stdout=subprocess.PIPE, stderr=log,
    ) as process:  # fmt: skip
        try:
            text = ""
            while not text.rstrip().endswith("}"):
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, (home / "serve.log").read_text()
                text += line
            headers = {"Authorization": f"Bearer {key}"}
            url = json.loads(text)["url"]
            with known(url, database), Client(base_url=url, headers=headers, timeout=60) as client:
                yield Service(process, client, home, database)
        finally:
            process.terminate()
            try:
                process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _environment(home: Path, ahead: Path | None) -> dict[str, str]:
    return environment(DAYBOOK_HOME=str(home)) | ({AHEAD: str(ahead)} if ahead else {})


def wrong_time(ahead_s: Callable[[], float]) -> Any:
    """The module `time` as the one module that reads the clock uses it, ahead by so many seconds."""
    real = time.time_ns
    return SimpleNamespace(time_ns=lambda: real() + int(ahead_s() * 1e9))


def _main() -> None:
    from api import cli, clock

    if path := os.environ.get(AHEAD):
        clock.time = wrong_time(lambda: float(Path(path).read_text() or 0))  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    _main()

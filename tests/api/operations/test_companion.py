"""A process beside the service folds read models and seals: it is replaced when it ends or hangs, and ends with it."""

import os
import signal
from pathlib import Path

import psycopg
import pytest

from adapters.postgres import embedded
from tests.api.client import open_book
from tests.api.operations.serving import Service, served
from tests.waiting import until

pytestmark = pytest.mark.slow


def follower(service: Service) -> int:
    """The id of the process that follows; 0 for none."""
    with psycopg.connect(service.database) as connection:
        row = connection.execute("SELECT name FROM read.followers").fetchone()
    return int(row[0].split()[1]) if row else 0


def companion(service: Service, *, but: int = 0) -> int:
    """The id of the companion, once it follows."""
    until(lambda: follower(service) not in (0, but, service.process.pid))
    return follower(service)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def traded(service: Service, name: str) -> None:
    """An order is recorded, read back at once by its place in the log, and sealed."""
    seq = service.submit(name).headers["Daybook-Seq"]
    answer = service.client.get(f"/v1/orders/main/{name}", params={"min_seq": seq})
    assert answer.status_code == 200, answer.text
    service.until_ready(int(seq))


def test_a_companion_that_is_killed_is_replaced_and_read_models_go_on(home: Path):
    database = embedded.start(home)
    with served(home, database) as service:
        service.until("/ready/write", lambda answer: answer.status_code == 200)
        open_book(service.client)
        traded(service, "A-1")
        first = companion(service)
        traded(service, "A-2")
        names = {one["task"] for one in service.until_ready()["tasks"]}
        assert {"follower", "sealer", "writer", "reactions", "companion"} <= names
        os.kill(first, signal.SIGKILL)
        traded(service, "A-3")
        second = companion(service, but=first)
        traded(service, "A-4")
        service.process.kill()
        until(lambda: not is_running(second))

"""A PostgreSQL of our own that dies under services is started again by one of them, and nothing is lost."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.postgres import embedded
from tests.api.client import open_book
from tests.api.operations.serving import Service, served
from tests.waiting import until

STARTED = "PostgreSQL had died and was started again"


def postmaster(home: Path) -> int:
    try:
        return int((embedded.data_of(home) / "postmaster.pid").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def kill_all(pid: int) -> None:
    """The server's first process and each of its children, as the kernel does when memory runs out."""
    os.kill(pid, signal.SIGSTOP)  # it starts no other meanwhile
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            os.kill(int(place.parent.name), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def tasks(answer: httpx.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.json()["tasks"]
    return found


def lines(home: Path) -> int:
    return (home / "serve.log").read_text().count(STARTED)


def trade(service: Service, name: str) -> None:
    answer = service.submit(name)
    service.until_ready(int(answer.headers["Daybook-Seq"]))


@pytest.mark.slow
def test_a_server_that_is_killed_is_started_again_once_and_has_all_that_was_acknowledged(home: Path) -> None:
    database = embedded.start(home)
    with served(home, database) as first, served(home, database) as second:
        first.until("/ready/write", lambda answer: answer.status_code == 200)
        open_book(first.client)
        trade(first, "A-1")
        trade(first, "A-2")
        second.until_ready()
        killed = postmaster(home)
        kill_all(killed)
        until(lambda: postmaster(home) not in (0, killed))
        until(lambda: any(one.client.get("/ready/write").status_code == 200 for one in (first, second)))
        writer = first if first.client.get("/ready/write").status_code == 200 else second
        trade(writer, "A-3")
        first.until_ready()
        second.until_ready()
        for name in ("A-1", "A-2", "A-3"):
            assert second.client.get(f"/v1/orders/main/{name}").status_code == 200
        assert lines(home) == 1, "one of the two has started it"

        os.kill(postmaster(home), signal.SIGKILL)  # alone: its children end by themselves
        until(lambda: lines(home) == 2)
        first.until_ready()
        assert first.client.get("/v1/orders/main/A-3").status_code == 200

        embedded.stop(home)
        first.until(
            "/ready", lambda answer: any(one["task"] == "server" and one["is_trouble"] for one in tasks(answer))
        )
        assert postmaster(home) == 0, "whom an operator stopped stays stopped"
        embedded.start(home)
        first.until_ready()

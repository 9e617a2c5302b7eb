"""A service survives what happens to its database without a restart, and says what does not run until it does."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.postgres import embedded
from adapters.postgres.connections import connect
from adapters.proof.sealer import SEAL_LOCK
from adapters.upkeep.watch import SealingWatch
from api.daybook import Daybook
from tests.api.client import open_book, order
from tests.api.command_line import Run
from tests.api.operations.serving import SECONDS_MAX, Service, served

pytestmark = pytest.mark.slow

TASKS = {
    "clock", "companion", "countdowns", "disk", "follower", "follower's heart", "leader's heart", "listener",
    "reactions", "sealer", "server", "watch", "writer",
}  # fmt: skip
END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"


def trade(service: Service, cl_ord_id: str) -> None:
    """An order is recorded, folded and sealed."""
    answer = service.submit(cl_ord_id)
    service.until_ready(int(answer.headers["Daybook-Seq"]))
    assert service.client.get(f"/v1/orders/main/{cl_ord_id}").status_code == 200


def names(tasks: list[dict[str, Any]]) -> set[str]:
    """Of tasks, without the process or place that they work in."""
    return {one["task"].partition(" (")[0] for one in tasks}


def assert_shown(run: Run, task: str, error: str) -> None:
    """`daybook status` shows the failing task within a few seconds, and is no success."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        found = run("status", "--json")
        (one,) = [one for one in json.loads(found.stdout)["tasks"] if one["task"] == task]
        if one["is_trouble"]:
            break
        assert time.monotonic() < deadline
    assert (found.returncode, one["state"], one["is_needed"]) == (1, "restarting", True)
    assert error in one["last_error"] and one["last_success_at"] < one["last_error_at"]


def shown_with(run: Run, tasks: set[str]) -> dict[str, Any]:
    """What `daybook status` shows once all tasks run again: each writes itself down when it has started."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        found: dict[str, Any] = json.loads(run("status", "--json").stdout)
        if names(found["tasks"]) == tasks and not any(one["is_trouble"] for one in found["tasks"]):
            return found
        assert time.monotonic() < deadline, names(found["tasks"]) ^ tasks


@pytest.mark.slow
def test_a_service_outlives_all_that_happens_to_its_database(home: Path, inside: Run) -> None:
    database = embedded.start(home, durable=False)
    run = partial(inside, url=database)
    with served(home, database) as service:
        service.until_ready()
        open_book(service.client)
        trade(service, "A-1")
        assert names(service.until_ready()["tasks"]) == TASKS

        # read-only by default: every session of ours pins that it is not
        service.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        trade(service, "A-2")
        service.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")

        # every connection is cut
        service.execute(END_ALL)
        service.until_ready()
        trade(service, "A-3")

        # a privilege and a table that a thread needs are gone for a while
        service.execute("REVOKE UPDATE ON ledger.leader FROM daybook_writer")
        assert "permission denied" in service.until_trouble("leader's heart is restarting")
        assert_shown(run, "leader's heart", "permission denied for table leader")
        service.execute("GRANT UPDATE ON ledger.leader TO daybook_writer")
        service.execute("ALTER TABLE ledger.checkpoints RENAME TO elsewhere")
        assert service.client.post("/v1/orders", json=order("A-4")).status_code == 201
        service.until_trouble("sealer is restarting", 'relation "ledger.checkpoints" does not exist')
        stranger = httpx.get(f"{service.client.base_url}/ready")
        assert stranger.status_code == 503 and stranger.json()["code"] == "NOT_READY"
        assert stranger.json().keys() == {"type", "title", "status", "detail", "code", "instance"}
        assert "sealer" not in stranger.text and str(home) not in stranger.text
        measures = service.client.get("/metrics").text
        assert 'daybook_task_up{task="sealer"} 0.0' in measures and 'daybook_task_up{task="writer"} 1.0' in measures
        service.execute("ALTER TABLE ledger.elsewhere RENAME TO checkpoints")
        service.until_ready()
        trade(service, "A-5")

        # the server is stopped, and started again
        embedded.stop(home)
        service.until("/ready", lambda answer: answer.status_code == 503)
        assert service.client.post("/v1/orders", json=order("A-6")).status_code == 503
        embedded.start(home, durable=False)
        trade(service, "A-6")
        found = shown_with(run, TASKS)
        assert found["sealed"] == found["seq"]
        assert all(one["failures"] > 0 for one in found["tasks"] if one["task"] in ("sealer", "listener", "writer"))
        assert service.process.poll() is None, "one and the same process"


def test_sealing_that_stalls_is_not_ready_and_says_so(daybook: Daybook, desk: httpx.Client) -> None:
    """Another process holds the sealer's lock, and seals nothing; ours stands by, and its task is well."""
    with connect(daybook.url) as hanging:
        hanging.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE objid = %s", [SEAL_LOCK])
        hanging.execute("SELECT pg_advisory_lock(%s)", [SEAL_LOCK])
        daybook.watch._sealing_watch = SealingWatch(0.5)
        head = int(desk.post("/v1/orders", json=order()).headers["Daybook-Seq"])
        answer = desk.get("/ready")
        deadline = time.monotonic() + SECONDS_MAX
        while "sealing is stalled" not in answer.text:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
            answer = desk.get("/ready")
        sealing = answer.json()["sealing"]
        assert answer.status_code == 503 and f"the log has {head} events" in answer.json()["detail"]
        assert sealing["seq"] == head and sealing["sealed"] < head and sealing["is_stalled"]
        (sealer,) = [one for one in answer.json()["tasks"] if one["task"] == "sealer"]
        assert sealer["state"] == "running"
        assert "daybook_sealing_stalled 1.0" in desk.get("/metrics").text
    while desk.get("/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)

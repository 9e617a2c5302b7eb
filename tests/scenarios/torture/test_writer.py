"""Promise 1: no acknowledged command is lost and none is applied twice, after any kill at any time.

Real processes over a real, durable server. DAYBOOK_TORTURE_KILLS says how many kills, DAYBOOK_TORTURE_SEED from which
seed; a failure names its seed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from adapters.postgres.migrations import migrate
from adapters.writer import leadership
from adapters.writer.leadership import MISSED_BEATS_MAX
from domain.errors import Unavailable
from domain.ledger import Command
from tests.desk import fill_of, new_order, open_desk
from tests.group_commit import leading
from tests.scenarios.torture.ground import Ground
from tests.scenarios.torture.worker import acked

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DAYBOOK_TORTURE_KILLS", "12"))
SEED = int(os.environ.get("DAYBOOK_TORTURE_SEED", "20261123"))
CHECKED_EVERY = 40
TAKE_OVER_SECONDS_MAX = 5.0
BUSY_SECONDS_MAX = 60.0
LEASE_SECONDS_MAX = MISSED_BEATS_MAX * leadership.POLL_SECONDS + BUSY_SECONDS_MAX


@pytest.fixture(name="ground")
def ground_with_two_writers(home: Path, tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(home, tmp_path, SEED)
    try:
        yield ground
    finally:
        for worker in ground.workers.values():
            worker.send_signal(signal.SIGCONT)
        ground.end()


def test_nothing_acknowledged_is_lost_or_doubled_after_any_kill(ground: Ground) -> None:
    sys.stdout.write(f"torture: seed {ground.seed}, {KILLS} kills\n")
    ground.start("A")
    ground.start("B")
    ground.start("outside", "direct")
    ground.wait_for_acks(3, "A", "B")
    ground.wait_for_acks(1, "outside")
    for kill in range(1, KILLS + 1):
        time.sleep(ground.random.uniform(0.05, 0.8))
        _, leader = ground.leader()
        match ground.random.choices(["leader", "any", "postmaster", "cut"], [4, 2, 2, 2])[0]:
            case "leader" if leader in ground.workers:
                ground.kill(leader)
            case "postmaster":
                ground.kill_postmaster()
            case "cut":
                ground.cut_connections(ground.random.randint(1, 4))
            case _:
                ground.kill(ground.random.choice(["A", "B", "outside"]))
        if kill % CHECKED_EVERY == 0 or kill == KILLS:
            ground.end()
            assert ground.check() > kill
            for name, mode in list(ground.modes.items()):
                if kill < KILLS:
                    ground.start(name, mode)


def test_a_standby_takes_over_from_a_killed_leader_in_time(ground: Ground) -> None:
    ground.start("A")
    ground.wait_for_acks(3, "A")
    ground.start("B")
    waits = []
    for _ in range(3):
        term, leader = ground.leader()
        ground.wait_for_standby()
        ground.strike(leader)
        name, waited = ground.wait_for_term(term, BUSY_SECONDS_MAX)
        assert name != leader
        waits.append(waited)
        ground.start(leader)
    assert min(waits) < TAKE_OVER_SECONDS_MAX, "all of them, unless the machine is busy"
    ground.end()
    ground.check()


def test_a_leader_that_was_stopped_is_deposed_and_writes_nothing_when_it_comes_back(ground: Ground) -> None:
    ground.start("A")
    ground.wait_for_acks(5, "A")
    ground.start("B")
    ground.wait_for_standby()
    term, leader = ground.leader()
    assert leader == "A"
    ground.signal("A", signal.SIGSTOP)
    name, _ = ground.wait_for_term(term, LEASE_SECONDS_MAX)
    assert name == "B"
    ground.wait_for_acks(3, "B")
    with PostgresLog(ground.url) as log:
        before = log.head().seq
        written = len([1 for _, recorded in log.select(limit=1_000_000) if recorded.actor == "A"])
        ground.signal("A", signal.SIGCONT)
        time.sleep(2)
        assert ground.leader() == (term + 1, "B")
        events = [recorded for _, recorded in log.select(limit=1_000_000)]
        assert len([1 for recorded in events if recorded.actor == "A"]) == written
        assert log.head().seq > before
        ground.strike("B")
        assert ground.wait_for_term(term + 1, BUSY_SECONDS_MAX)[0] == "A"
    ground.end()
    ground.check()


def test_of_two_would_be_writers_one_leads_at_a_time(ground: Ground) -> None:
    ground.start("A")
    ground.start("B")
    ground.wait_for_acks(10, "A", "B")
    holders = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted"
    with psycopg.connect(ground.url, autocommit=True) as connection:
        for _ in range(50):
            row = connection.execute(holders, [leadership.LEADER_LOCK]).fetchone()
            assert row is not None and row[0] <= 1
            time.sleep(0.02)
    ground.end()
    with PostgresLog(ground.url) as log:
        actors = {recorded.actor for _, recorded in log.select(limit=1_000_000)} - {"alice"}
    assert actors == {ground.leader()[1]}


def test_a_clock_that_steps_back_an_hour_does_not_turn_back_the_log(ground: Ground) -> None:
    ground.start("A")
    ground.wait_for_acks(10, "A")
    ground.end()
    with PostgresLog(ground.url) as log:
        before = log.head()
    assert before.recorded_at is not None
    ground.start("L", "late")
    ground.wait_for_acks(10, "L")
    ground.end()
    with PostgresLog(ground.url) as log:
        added = [recorded for _, recorded in log.select(after=before.seq, limit=1_000_000)]
        assert {recorded.actor for recorded in added} == {"L"}
        assert {recorded.recorded_at for recorded in added} == {
            before.recorded_at
        }  # time stands until the clock is there
    ground.start("A")
    ground.wait_for_acks(len(acked(ground.acks("A"))) + 10, "A")
    ground.end()
    ground.check()
    with PostgresLog(ground.url) as log:
        head = log.head().recorded_at
    assert head is not None and head > before.recorded_at


@pytest.fixture(name="small_disk")
def disk_of_a_few_megabytes() -> Iterator[Path]:
    directory = Path("/tmp") / f"daybook-small-{os.getpid()}"
    directory.mkdir()
    directory.chmod(0o711)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=110m,mode=711", "tmpfs", str(directory)], check=False, capture_output=True
    )
    try:
        if mounted.returncode:
            pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
        yield directory
    finally:
        embedded.stop(directory)
        subprocess.run(["umount", str(directory)], check=False, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)


def test_a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    url = embedded.start(small_disk)
    migrate(url)
    taken: list[str] = []
    with PostgresLog(url) as log:
        open_desk(log)
        filler = small_disk / "filler"
        with leading(url, log) as group:
            refused, n = 0, 0
            free = shutil.disk_usage(small_disk).free
            with filler.open("wb") as file:
                file.write(bytes(max(0, free - 6 * 2**20)))
            while refused < 3 and n < 4000:
                n += 1
                try:
                    fills = tuple(fill_of(f"O{n}-{k}", f"E{n}-{k}", at=n) for k in range(20))
                    group.submit(Command(fills, "venue")).result(60)
                    taken += [fill.exec_id for fill in fills]
                except Unavailable:
                    refused += 1
                    time.sleep(0.3)
            assert refused, "the disk was never full"
            filler.unlink()
            assert embedded.start(small_disk) == url
            for _ in range(200):
                try:
                    group.submit(Command(new_order("after"), "bot")).result(60)
                    break
                except Unavailable:
                    time.sleep(0.1)
            else:
                pytest.fail("the writer does not go on")
        on_record = [
            recorded.event.exec_id for _, recorded in log.select(limit=10**6) if hasattr(recorded.event, "exec_id")
            and type(recorded.event).__name__ == "OrderFilled"
        ]  # fmt: skip
        assert len(set(on_record)) == len(on_record)
        assert set(taken) <= set(on_record)
        assert log.read("order:main:after")

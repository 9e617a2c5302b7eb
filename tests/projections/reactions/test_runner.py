"""Policies over a real database: what they start from, what stops them, and who of two processes acts."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from adapters.writer.reactions import sender
from adapters.writer.writer import Writer
from domain.errors import Unavailable
from domain.ledger import Ledger, Logged
from domain.reactions import loss
from domain.reactions.catalog import PROCESSES
from domain.reactions.process import Process, Send
from domain.risk import LimitBreached
from projections.reactions import places
from projections.reactions.places import Overtaken
from projections.reactions.runner import Progress, ReactionRunner
from tests.projections.reactions.book import LATER, T0, check_all_once, opened, recorded, submit, summary, traded
from tests.projections.running import TIMEOUT_S, until

LOST_CONNECTIONS_MAX = 20
VERSIONS = {process.name: process.version for process in PROCESSES}


class Desk:
    """A book, a leading writer, and runners over them. Time stands still, and is moved by hand."""

    def __init__(self, url: str, log: PostgresLog, projector: sa.Engine) -> None:
        self.url, self.log, self.projector = url, log, projector
        self.now = T0
        self.ledger = Ledger(log, lambda: self.now)
        self.writer = Writer(log, lambda: self.now)
        self.send: Send = sender(self.writer, lambda: None)
        opened(self.ledger)

    def runner(self, processes: Sequence[Process] = PROCESSES, **more: Any) -> ReactionRunner:
        return ReactionRunner(
            self.log, self.projector, self.send, now=lambda: self.now, processes=processes, save_s=0.05, **more
        )

    def catch_up(self, processes: Sequence[Process] = PROCESSES) -> dict[str, Progress]:
        runner = self.runner(processes)
        before = -1
        while (head := self.log.head().seq) != before:
            before = head
            runner.catch_up()
        return {each.reaction: each for each in runner.status()}

    @contextmanager
    def following(self, *runners: ReactionRunner) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=runner.follow, args=(stop,)) for runner in runners]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            self.log.wake()
            for thread in threads:
                thread.join(TIMEOUT_S)
                assert not thread.is_alive()


@pytest.fixture
def desk(database_url: str, log: PostgresLog, projector: sa.Engine) -> Iterator[Desk]:
    made = Desk(database_url, log, projector)
    with made.writer.leading(database_url):
        yield made


def test_what_was_recorded_before_policies_were_switched_on_is_not_reacted_to(desk: Desk) -> None:
    traded(desk.ledger, 1)
    before = desk.log.head().seq
    progress = desk.catch_up()
    assert recorded(desk.log) == {}
    assert {each.since for each in progress.values()} == {before}
    assert all(each.lag == 0 and each.error is None for each in progress.values())
    desk.now = LATER
    desk.catch_up()
    assert set(recorded(desk.log)) == {"expiry-12-dated-D0", "aged-8-1"}, "what is due later is"


def test_a_poisonous_event_stops_its_policy_alone_until_it_is_resumed(desk: Desk) -> None:
    desk.catch_up()

    def poisoned(state: Any, logged: Logged) -> Any:
        assert not isinstance(logged.recorded.event, LimitBreached), "cannot be"
        return loss.react(state, logged)

    broken = [process._replace(react=poisoned) if process.name == "loss" else process for process in PROCESSES]
    traded(desk.ledger, 1)
    desk.now = LATER
    progress = desk.catch_up(broken)
    assert summary(desk.log)["OrderCancelRequested"] == 1, "the date's alone: no switch was engaged"
    error = progress["loss"].error
    assert error is not None and "LimitBreached of limit:main: AssertionError: cannot be" in error
    assert error.startswith(f"loss stopped at seq {progress['loss'].seq + 1}: ")
    assert [each.reaction for each in progress.values() if each.error] == ["loss"]
    assert desk.catch_up()["loss"].error == error, "it stays stopped until somebody resumes it"
    assert desk.runner().resume(["loss"]) == ["loss"]
    assert desk.catch_up()["loss"].error is None
    assert summary(desk.log)["SwitchEngaged"] == 1


def test_a_request_that_is_no_valid_one_stops_its_policy_at_the_event(desk: Desk) -> None:
    def mistaken(state: Any, logged: Logged) -> Any:
        state, reactions = loss.react(state, logged)
        return state, tuple(replace(each, request="no request") for each in reactions)

    desk.catch_up()
    traded(desk.ledger, 1)
    progress = desk.catch_up([loss.PROCESS._replace(react=mistaken)])
    assert progress["loss"].error is not None and "LimitBreached" in progress["loss"].error


def test_a_new_version_rebuilds_its_state_and_repeats_nothing(desk: Desk) -> None:
    desk.catch_up()
    after = desk.log.head().seq
    traded(desk.ledger, 2)
    desk.now = LATER
    desk.catch_up()
    head = desk.log.head().seq
    newer = [process._replace(version=process.version + 1) for process in PROCESSES]
    progress = desk.catch_up(newer)
    assert desk.log.head().seq == head
    assert all(each.since == head and each.lag == 0 for each in progress.values())
    assert {name: each.version for name, each in progress.items()} == {each.name: each.version for each in newer}
    check_all_once(desk.log, after=after)


def test_two_processes_that_both_believe_they_lead_react_once(desk: Desk) -> None:
    desk.catch_up()
    after = desk.log.head().seq
    with desk.following(desk.runner(), desk.runner()):
        traded(desk.ledger, 4)
        desk.now = LATER
        wanted = {"SwitchEngaged": 1, "OrderCancelRequested": 8, "BreakAged": 1}
        until(lambda: wanted.items() <= summary(desk.log).items())
        until(lambda: all(each.lag == 0 for each in desk.runner().status()))
    check_all_once(desk.log, after=after)


def test_a_place_is_written_only_by_who_read_it_last(desk: Desk, projector: sa.Engine) -> None:
    desk.catch_up()
    with projector.begin() as connection:
        place = places.find(connection, ["loss"])["loss"]
        places.save(connection, "loss", place)
    with projector.begin() as connection, pytest.raises(Overtaken):
        places.save(connection, "loss", place)


def test_a_process_that_does_not_lead_reads_and_sends_nothing(desk: Desk) -> None:
    is_leading = threading.Event()
    looks = threading.Semaphore(0)

    def leads() -> bool:
        looks.release()
        return is_leading.is_set()

    with desk.following(desk.runner(is_leading=leads)):
        assert looks.acquire(timeout=TIMEOUT_S) and looks.acquire(timeout=TIMEOUT_S)
        assert all(
            each.seq == desk.log.head().seq and each.version == VERSIONS[each.reaction]
            for each in desk.runner().status()
        )
        with desk.projector.connect() as connection:
            assert places.find(connection, ["loss"]) == {}
        is_leading.set()
        until(lambda: _has_place(desk))


def _has_place(desk: Desk) -> bool:
    with desk.projector.connect() as connection:
        return bool(places.find(connection, ["loss"]))


def _has_canceled(desk: Desk, orders: int) -> bool:
    with suppress(Unavailable):
        return summary(desk.log).get("OrderCancelRequested") == orders
    return False


def test_a_loss_of_the_database_delays_reactions_and_loses_none(desk: Desk) -> None:
    desk.catch_up()
    after = desk.log.head().seq
    lost: list[Exception] = []
    stop = threading.Event()
    thread = threading.Thread(target=desk.runner().follow, args=(stop,), kwargs={"on_loss": lost.append})
    thread.start()
    try:
        traded(desk.ledger, 2)
        with psycopg.connect(desk.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for _ in range(LOST_CONNECTIONS_MAX):  # each is found out once, by the read that meets it
            with suppress(Unavailable):
                desk.log.head()
        until(lambda: desk.writer.is_leading)
        desk.now = LATER
        until(lambda: _has_canceled(desk, 4))
    finally:
        stop.set()
        thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    check_all_once(desk.log, after=after)


def test_a_timer_fires_when_it_is_due_and_not_before(desk: Desk) -> None:
    desk.catch_up()
    desk.ledger.request(submit("D", LATER, "dated"), actor="trader")
    with desk.following(desk.runner()):
        until(lambda: all(each.lag == 0 for each in desk.runner().status()))
        assert "OrderCancelRequested" not in summary(desk.log)
        desk.now = LATER
        until(lambda: summary(desk.log).get("OrderCancelRequested") == 1)

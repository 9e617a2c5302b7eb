"""Group commit: each command's own answer out of shared appends, beside any writers, through any loss."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest

from adapters.log.postgres import APPEND_LOCK, PostgresLog
from adapters.writer import group_commit
from adapters.writer.append import Appending
from adapters.writer.batch import Keyed
from adapters.writer.group_commit import GroupCommit
from adapters.writer.writer import Writer
from domain import risk
from domain.errors import Busy, InvalidInput, NotLeading, RequestRefused, StreamConflict, Unavailable
from domain.ledger import Command, Ledger, UnitOfWork
from domain.order import OrderBroken, OrderKey, SubmitOrder
from tests.desk import BTC, POSITION, T0, fill_of, new_order, open_desk
from tests.group_commit import at_most, check_log, in_threads, leading, report, request

LEADING = "SELECT 1 FROM pg_stat_activity JOIN ledger.leader ON pid = backend_pid"


@pytest.fixture(name="group")
def group_that_leads(database_url: str, log: PostgresLog) -> Iterator[GroupCommit]:
    open_desk(log)
    with leading(database_url, log) as group:
        assert group.is_leading
        yield group


@pytest.fixture(name="appends")
def appends_counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of events of each append."""
    sizes: list[int] = []
    begin = Appending.begin

    def counted(self: Appending, after: int, rows: Any, keyed: Any = ()) -> None:
        sizes.append(len(rows))
        begin(self, after, rows, keyed)

    monkeypatch.setattr(Appending, "begin", counted)
    return sizes


def submit(group: GroupCommit, *requests: Any) -> list[Any]:
    return [group.submit(Command(request, "bot", f"r{n}")) for n, request in enumerate(requests)]


def test_a_request_is_answered_with_its_own_events_and_seq(group: GroupCommit, log: PostgresLog) -> None:
    answer = request(group, new_order("A"))
    assert [type(record.event).__name__ for record in answer.records] == ["OrderSubmitted", "HoldPlaced"]
    assert answer.seq == log.head().seq
    assert list(answer.records) == [recorded for _, recorded in log.select(after=answer.seq - 2)]
    assert request(group, new_order("A")).records == ()
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order"):
        request(group, new_order("A", qty="2"))


def test_what_waits_together_is_appended_together_and_a_refusal_harms_no_neighbour(
    group: GroupCommit, log: PostgresLog, appends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with group._lock:  # nothing is taken off the queue until all are on it
        monkeypatch.setattr(group_commit, "QUEUED_MAX", 1)
    head, waiting = log.head().seq, []
    bad = SubmitOrder(OrderKey("unknown", "X"), new_order("X").terms, T0)
    stray = fill_of("Y", "E2")
    from msgspec.structs import replace

    stray = replace(stray, instrument_id="ETHUSDT.SIM")
    monkeypatch.setattr(group, "_pop", lambda pop=group._pop: pop() if len(waiting) == 40 or waiting[3:] else None)
    for n in range(10):
        waiting.append(group.submit(Command(new_order(f"A{n}"), "bot")))
        waiting.append(group.submit(Command(bad, "bot")))
        waiting.append(group.submit(Command((fill_of(f"A{n}", f"E{n}"), stray), "venue")))
        waiting.append(group.submit(Command(new_order(f"A{n}", qty="5"), "bot")))
    answers = [future.result(60) for future in waiting]
    for n in range(10):
        placed, refused, taken, other = answers[4 * n : 4 * n + 4]
        assert [record.stream for record in placed[0].records] == [f"order:main:A{n}", "limit:main"]
        assert isinstance(refused[0].error, RequestRefused) and refused[0].records == ()
        assert taken[0].error is None and isinstance(taken[1].error, InvalidInput)
        assert isinstance(other[0].error, RequestRefused)
    assert sum(appends) == log.head().seq - head
    assert len(appends) < 20, "commands share appends"
    check_log(log)


def test_many_threads_each_get_their_own_answer(group: GroupCommit, log: PostgresLog, appends: list[int]) -> None:
    each, threads = 40, 8

    def trade(thread: int) -> None:
        for n in range(each):
            answer = request(group, new_order(f"T{thread}-{n}"))
            assert answer.records[0].stream == f"order:main:T{thread}-{n}"
            (booked,) = report(group, fill_of(f"T{thread}-{n}", f"E{thread}-{n}"))
            assert booked.seq > answer.seq

    assert in_threads(*(partial(trade, thread) for thread in range(threads))) == [None] * threads
    assert len(appends) < 2 * each * threads, "appends are shared"
    assert Ledger(log, lambda: T0).state(POSITION).quantity == each * threads
    check_log(log)


def test_orders_racing_for_a_limit_pass_together_only_if_they_fit(group: GroupCommit, log: PostgresLog) -> None:
    request(group, at_most("10"))
    errors = in_threads(*(partial(request, group, new_order(f"R{n}", qty="1.5")) for n in range(16)))
    assert sum(error is None for error in errors) == 6
    assert all(isinstance(error, RequestRefused) for error in errors if error is not None)
    limits = Ledger(log, lambda: T0).state(risk.stream("main"))
    assert limits.held(risk.Scope(None, BTC), BTC, new_order("x").terms.side) == 9


def test_another_writer_in_between_makes_it_decide_again(group: GroupCommit, log: PostgresLog) -> None:
    outside = Ledger(log, lambda: T0)
    request(group, at_most("10"))
    for n in range(5):
        outside.request(new_order(f"O{n}"), actor="cli")
        request(group, new_order(f"G{n}"))
    with pytest.raises(RequestRefused, match="MAX_POSITION"):
        request(group, new_order("G9"))
    outside.request(at_most("20"), actor="cli")
    request(group, new_order("G10"))  # would be refused by what was known before
    assert report(group, fill_of("O1", "E1"))[0].records
    assert outside.report([fill_of("O1", "E1")], actor="import")[0].records == ()
    check_log(log)


def test_two_kinds_of_writers_racing_for_a_limit_never_exceed_it(
    group: GroupCommit, log: PostgresLog, database_url: str
) -> None:
    request(group, at_most("40"))
    with PostgresLog(database_url) as theirs:
        outside = Ledger(theirs, lambda: T0)
        passed = count()

        def through(writer: Any, name: str) -> None:
            for n in range(30):
                try:
                    writer(new_order(f"{name}{n}"))
                    next(passed)
                except RequestRefused:
                    pass

        works = [
            partial(through, partial(request, group), "G"),
            partial(through, partial(request, group), "H"),
            partial(through, partial(outside.request, actor="cli"), "O"),
        ]
        assert in_threads(*works) == [None] * 3
    assert next(passed) == 40
    check_log(log)


def test_an_execution_reported_under_two_orders_is_booked_once(group: GroupCommit, log: PostgresLog) -> None:
    request(group, new_order("A"))
    Ledger(log, lambda: T0).report([fill_of("A", "E1")], actor="venue")
    assert report(group, fill_of("BTCUSDT-E1", "E1"))[0].records == ()
    first, second = (
        group.submit(Command((fill_of("A", "E2"),), "venue")),
        group.submit(Command((fill_of("BTCUSDT-E2", "E2"),), "import")),
    )
    assert first.result(60)[0].records and second.result(60)[0].records == ()
    check_log(log)


def test_a_contradicting_fill_is_broken_in_the_same_batch(group: GroupCommit) -> None:
    request(group, new_order("A"))
    first, second = submit(group, (fill_of("A", "E1"),), (fill_of("A", "E1", qty="0.5"),))
    assert first.result(60)[0].records
    assert isinstance(second.result(60)[0].records[-1].event, OrderBroken)


def test_the_clock_may_step_back_but_recorded_at_does_not(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    steps = iter([T0 + timedelta(hours=2), T0 + timedelta(hours=2)])
    with leading(database_url, log, now=lambda: next(steps, T0 + timedelta(hours=1))) as group:
        for n in range(5):
            request(group, new_order(f"A{n}"))
    later = [recorded.recorded_at for _, recorded in log.select(after=5)]
    assert set(later) == {T0 + timedelta(hours=2)}
    with leading(database_url, log, now=lambda: T0) as group:
        request(group, new_order("B"))
    check_log(log)


def test_a_request_is_recorded_after_it_was_made_however_long_the_writer_was_idle(
    database_url: str, log: PostgresLog
) -> None:
    open_desk(log)
    with leading(database_url, log, now=lambda: datetime.now(UTC)) as group:
        for n in range(3):
            time.sleep(0.05)
            made = datetime.now(UTC)
            (record, *_) = request(group, new_order(f"A{n}")).records
            assert made <= record.recorded_at <= datetime.now(UTC)


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_command_in_flight_when_the_writer_fails_gets_its_outcome(
    group: GroupCommit, log: PostgresLog, database_url: str, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    """Reading for the next batch fails while an append is under way: held by another's lock, or just committed."""
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
        (first,) = submit(group, new_order("A"))
        while not other.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone():
            time.sleep(0.005)

        def fail(*_: Any) -> None:
            if is_committed:
                other.execute("SELECT pg_advisory_unlock(%s)", [APPEND_LOCK])
                while not log.read("order:main:A"):
                    time.sleep(0.005)
            raise Unavailable("the database is gone")

        monkeypatch.setattr(group._known, "fetch", fail)
        (second,) = submit(group, new_order("B"))
        if not is_committed:
            while other.execute(LEADING).fetchone():
                time.sleep(0.005)
            other.execute("SELECT pg_advisory_unlock(%s)", [APPEND_LOCK])
        assert isinstance(second.exception(60), NotLeading)
        failure = first.exception(60)
    monkeypatch.undo()
    assert (failure is None) is is_committed is bool(log.read("order:main:A"))
    assert failure is None or isinstance(failure, Unavailable)
    assert log.read("order:main:B") == []


def test_who_cannot_wait_in_a_thread_awaits_its_answer(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    writer = Writer(log, lambda: T0)

    async def all_at_once() -> list[Any]:
        keyed = Keyed("once", b"x" * 32, lambda answers, _: str(answers[0].seq).encode())
        unopened = SubmitOrder(OrderKey("unknown", "X"), new_order("X").terms, T0)
        return await asyncio.gather(
            *(writer.carry_out_async(Command(new_order(f"A{n}"), "bot")) for n in range(40)),
            writer.carry_out_async(Command(unopened, "bot")),
            writer.carry_out_async(Command((fill_of("A1", "E1"), fill_of("A2", "E2")), "venue")),
            *(writer.carry_out_once_async(Command(new_order("K"), "bot"), keyed) for _ in range(2)),
            return_exceptions=True,
        )

    with writer.leading(database_url):
        *orders, refused, reported, once, again = asyncio.run(all_at_once())
    assert {answer.records[0].event.key.cl_ord_id for (answer,) in orders} == {f"A{n}" for n in range(40)}
    assert isinstance(refused[0].error, RequestRefused | InvalidInput)
    assert [bool(answer.records) for answer in reported] == [True, True]
    assert once.answer == again.answer and once.is_first is not again.is_first
    with pytest.raises(Unavailable, match="not running"):
        asyncio.run(writer.carry_out_async(Command(new_order("Z"), "bot")))
    check_log(log)


def test_a_full_queue_is_busy_and_nothing_is_recorded(
    database_url: str, log: PostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_desk(log)
    with leading(database_url, log, queued_max=10) as group:
        monkeypatch.setattr(group, "_pop", lambda: None)
        waiting = submit(group, *(new_order(f"A{n}") for n in range(8)))
        with pytest.raises(Busy, match="8 commands wait"):
            group.submit(Command(tuple(fill_of("A", f"E{n}") for n in range(3)), "venue"))
        waiting += submit(group, new_order("A8"), new_order("A9"))
        with pytest.raises(Busy):
            submit(group, new_order("A10"))
        monkeypatch.undo()
        assert [future.result(60)[0].error for future in waiting] == [None] * 10
    assert log.read("order:main:A10") == []


def test_a_large_report_passes_an_empty_queue_of_any_size(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    with leading(database_url, log, queued_max=10) as group:
        answers = report(group, *(fill_of(f"A{n}", f"E{n}", at=n) for n in range(300)))
    assert all(answer.records for answer in answers)
    check_log(log)


def test_aggregates_in_memory_are_bounded(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    with leading(database_url, log, cached_streams_max=5) as group:
        for n in range(20):
            request(group, new_order(f"A{n}"))
            report(group, fill_of(f"A{n}", f"E{n}", at=n))
        assert len(group._known._kept) <= 5
        assert request(group, new_order("A0")).records == ()
    check_log(log)


def test_a_mistake_of_ours_in_one_command_is_its_own(group: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    record = UnitOfWork.record

    def mistaken(self: UnitOfWork, stream: str, events: Any) -> Any:
        if stream == "order:main:BAD":
            raise ZeroDivisionError
        return record(self, stream, events)

    monkeypatch.setattr(UnitOfWork, "record", mistaken)
    good, bad, other = submit(group, new_order("A"), new_order("BAD"), new_order("B"))
    with pytest.raises(ZeroDivisionError):
        bad.result(60)
    assert good.result(60)[0].records and other.result(60)[0].records


def kill_writer(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND pid <> pg_backend_pid()"
        )


def test_a_lost_connection_is_a_lost_lead_and_a_new_one_is_taken(
    group: GroupCommit, log: PostgresLog, database_url: str
) -> None:
    request(group, new_order("A"))
    kill_writer(database_url)
    for _ in range(100):
        try:
            request(group, new_order("B"))
            break
        except Unavailable:
            group._stopping.wait(0.05)
    else:
        pytest.fail("no lead was taken again")
    assert len(log.read("order:main:B")) == 1
    check_log(log)


@pytest.mark.parametrize("is_committed", [True, False])
def test_what_became_of_a_lost_commit_is_found_out(
    group: GroupCommit, log: PostgresLog, database_url: str, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    finish, begin = Appending.finish, Appending.begin

    def lose_answer(self: Appending) -> None:
        monkeypatch.undo()
        finish(self)
        kill_writer(database_url)
        self._pgconn.finish()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def lose_question(self: Appending, *args: Any) -> None:
        monkeypatch.undo()
        kill_writer(database_url)
        begin(self, *args)

    if is_committed:
        monkeypatch.setattr(Appending, "finish", lose_answer)
        assert request(group, new_order("A")).records
    else:
        monkeypatch.setattr(Appending, "begin", lose_question)
        with pytest.raises(Unavailable):
            request(group, new_order("A"))
    assert len(log.read("order:main:A")) == is_committed
    check_log(log)


def test_deciding_overlaps_committing_and_is_thrown_away_when_the_commit_fails(
    group: GroupCommit, log: PostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, is_done, failed, stood = Appending.finish, Appending.is_done, [], []
    request(group, at_most("1"))

    def fail_once(self: Appending) -> None:
        finish(self)  # an append of nothing: see below
        if not failed:
            failed.append(True)
            raise StreamConflict("the log", "another writer was first")

    begin = Appending.begin

    def withhold(self: Appending, after: int, rows: Any, keyed: Any = ()) -> None:
        begin(self, after, () if not failed else rows, () if not failed else keyed)

    monkeypatch.setattr(Appending, "finish", fail_once)
    monkeypatch.setattr(Appending, "begin", withhold)
    monkeypatch.setattr(Appending, "is_done", lambda self: (len(stood) > 1 or bool(failed)) and is_done(self))
    decided = UnitOfWork.absorb

    def seen(self: UnitOfWork, other: UnitOfWork) -> None:
        stood.append(self.base)
        decided(self, other)

    monkeypatch.setattr(UnitOfWork, "absorb", seen)
    first, second = group.submit(Command(new_order("A"), "bot")), group.submit(Command(new_order("B"), "bot"))
    answers = [first.result(60)[0], second.result(60)[0]]
    assert failed
    assert [answer.error is None for answer in answers] == [True, False], "decided again, in the same order"
    check_log(log)


def test_a_second_process_stands_by_names_the_leader_and_takes_over(
    group: GroupCommit, log: PostgresLog, database_url: str
) -> None:
    with PostgresLog(database_url) as theirs, leading(database_url, theirs, name="desk-2:8000") as other:
        assert not other.is_leading
        with pytest.raises(NotLeading, match="leads; send the request again"):
            request(other, new_order("A"))
        request(group, new_order("A"))
        group.close()
        assert other._leading.wait(60)
        assert request(other, new_order("A")).records == ()
        assert request(other, new_order("B")).records
    check_log(log)


def test_a_conflict_that_never_ends_is_an_error(group: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Appending.finish

    def overtaken(self: Appending) -> None:
        finish(self)
        raise StreamConflict("the log", "another writer was first")

    begin = Appending.begin
    monkeypatch.setattr(Appending, "begin", lambda self, after, rows, keyed=(): begin(self, after, (), ()))
    monkeypatch.setattr(Appending, "finish", overtaken)
    with pytest.raises(StreamConflict, match="attempts were overtaken"):
        request(group, new_order("A"))
    monkeypatch.undo()
    assert request(group, new_order("A")).records
    assert D(1)

"""Group commit: everyone's own answer out of shared appends, whoever else writes, whatever is lost."""

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
from domain.ledger import Command, Ledger, Unit, scan
from domain.order import OrderBroken, OrderFilled, OrderKey, SubmitOrder
from tests.writers import BTC, POSITION, T0, ask, at_most, filled, in_threads, leading, open_desk, submitted, tell

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


def check_book(log: PostgresLog) -> None:
    """The log is whole, and what was decided in batches is what is decided one by one."""
    logged = list(scan(log))
    assert [seq for seq, _ in logged] == list(range(1, len(logged) + 1))
    times = [recorded.recorded_at for _, recorded in logged]
    assert times == sorted(times)
    fills = [recorded.event for _, recorded in logged if isinstance(recorded.event, OrderFilled)]
    assert len({fill.exec_id for fill in fills}) == len(fills)
    position = Ledger(log, lambda: T0).state(POSITION)
    assert (position.quantity if position else 0) == sum(fill.side.sign * fill.last_qty for fill in fills)


def test_a_request_is_answered_with_its_own_events_and_seq(group: GroupCommit, log: PostgresLog) -> None:
    answer = ask(group, submitted("A"))
    assert [type(record.event).__name__ for record in answer.records] == ["OrderSubmitted", "HoldPlaced"]
    assert answer.seq == log.head().seq
    assert list(answer.records) == [recorded for _, recorded in log.select(after=answer.seq - 2)]
    assert ask(group, submitted("A")).records == ()
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order"):
        ask(group, submitted("A", qty="2"))


def test_what_waits_together_is_appended_together_and_a_refusal_harms_no_neighbour(
    group: GroupCommit, log: PostgresLog, appends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with group._lock:  # nothing is taken off the queue until all are on it
        monkeypatch.setattr(group_commit, "QUEUED_MAX", 1)
    head, waiting = log.head().seq, []
    bad = SubmitOrder(OrderKey("nobody", "X"), submitted("X").terms, T0)
    stray = filled("Y", "E2")
    from msgspec.structs import replace

    stray = replace(stray, instrument_id="ETHUSDT.SIM")
    monkeypatch.setattr(group, "_pop", lambda pop=group._pop: pop() if len(waiting) == 40 or waiting[3:] else None)
    for n in range(10):
        waiting.append(group.submit(Command(submitted(f"A{n}"), "bot")))
        waiting.append(group.submit(Command(bad, "bot")))
        waiting.append(group.submit(Command((filled(f"A{n}", f"E{n}"), stray), "venue")))
        waiting.append(group.submit(Command(submitted(f"A{n}", qty="5"), "bot")))
    answers = [future.result(30) for future in waiting]
    for n in range(10):
        placed, refused, taken, other = answers[4 * n : 4 * n + 4]
        assert [record.stream for record in placed[0].records] == [f"order:main:A{n}", "limit:main"]
        assert isinstance(refused[0].error, RequestRefused) and refused[0].records == ()
        assert taken[0].error is None and isinstance(taken[1].error, InvalidInput)
        assert isinstance(other[0].error, RequestRefused)
    assert sum(appends) == log.head().seq - head
    assert len(appends) < 20, "commands share appends"
    check_book(log)


def test_many_threads_each_get_their_own_answer(group: GroupCommit, log: PostgresLog, appends: list[int]) -> None:
    each, threads = 40, 8

    def trade(thread: int) -> None:
        for n in range(each):
            answer = ask(group, submitted(f"T{thread}-{n}"))
            assert answer.records[0].stream == f"order:main:T{thread}-{n}"
            (booked,) = tell(group, filled(f"T{thread}-{n}", f"E{thread}-{n}"))
            assert booked.seq > answer.seq

    assert in_threads(*(partial(trade, thread) for thread in range(threads))) == [None] * threads
    assert len(appends) < 2 * each * threads, "appends are shared"
    assert Ledger(log, lambda: T0).state(POSITION).quantity == each * threads
    check_book(log)


def test_orders_racing_for_a_limit_pass_together_only_if_they_fit(group: GroupCommit, log: PostgresLog) -> None:
    ask(group, at_most("10"))
    errors = in_threads(*(partial(ask, group, submitted(f"R{n}", qty="1.5")) for n in range(16)))
    assert sum(error is None for error in errors) == 6
    assert all(isinstance(error, RequestRefused) for error in errors if error is not None)
    limits = Ledger(log, lambda: T0).state(risk.stream("main"))
    assert limits.held(risk.Scope(None, BTC), BTC, submitted("x").terms.side) == 9


def test_another_writer_in_between_makes_it_decide_again(group: GroupCommit, log: PostgresLog) -> None:
    outside = Ledger(log, lambda: T0)
    ask(group, at_most("10"))
    for n in range(5):
        outside.request(submitted(f"O{n}"), actor="cli")
        ask(group, submitted(f"G{n}"))
    with pytest.raises(RequestRefused, match="MAX_POSITION"):
        ask(group, submitted("G9"))
    outside.request(at_most("20"), actor="cli")
    ask(group, submitted("G10"))  # would be refused by what was known before
    assert tell(group, filled("O1", "E1"))[0].records
    assert outside.report([filled("O1", "E1")], actor="import")[0].records == ()
    check_book(log)


def test_two_kinds_of_writers_racing_for_a_limit_never_exceed_it(
    group: GroupCommit, log: PostgresLog, database_url: str
) -> None:
    ask(group, at_most("40"))
    with PostgresLog(database_url) as theirs:
        outside = Ledger(theirs, lambda: T0)
        passed = count()

        def through(writer: Any, name: str) -> None:
            for n in range(30):
                try:
                    writer(submitted(f"{name}{n}"))
                    next(passed)
                except RequestRefused:
                    pass

        works = [
            partial(through, partial(ask, group), "G"),
            partial(through, partial(ask, group), "H"),
            partial(through, partial(outside.request, actor="cli"), "O"),
        ]
        assert in_threads(*works) == [None] * 3
    assert next(passed) == 40
    check_book(log)


def test_an_execution_reported_under_two_orders_is_booked_once(group: GroupCommit, log: PostgresLog) -> None:
    ask(group, submitted("A"))
    Ledger(log, lambda: T0).report([filled("A", "E1")], actor="venue")
    assert tell(group, filled("BTCUSDT-E1", "E1"))[0].records == ()
    first, second = (
        group.submit(Command((filled("A", "E2"),), "venue")),
        group.submit(Command((filled("BTCUSDT-E2", "E2"),), "import")),
    )
    assert first.result(10)[0].records and second.result(10)[0].records == ()
    check_book(log)


def test_a_contradicting_fill_is_broken_in_the_same_batch(group: GroupCommit) -> None:
    ask(group, submitted("A"))
    first, second = submit(group, (filled("A", "E1"),), (filled("A", "E1", qty="0.5"),))
    assert first.result(10)[0].records
    assert isinstance(second.result(10)[0].records[-1].event, OrderBroken)


def test_the_clock_may_step_back_but_recorded_at_does_not(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    steps = iter([T0 + timedelta(hours=2), T0 + timedelta(hours=2)])
    with leading(database_url, log, now=lambda: next(steps, T0 + timedelta(hours=1))) as group:
        for n in range(5):
            ask(group, submitted(f"A{n}"))
    later = [recorded.recorded_at for _, recorded in log.select(after=5)]
    assert set(later) == {T0 + timedelta(hours=2)}
    with leading(database_url, log, now=lambda: T0) as group:
        ask(group, submitted("B"))
    check_book(log)


def test_a_request_is_recorded_after_it_was_made_however_long_the_writer_was_idle(
    database_url: str, log: PostgresLog
) -> None:
    open_desk(log)
    with leading(database_url, log, now=lambda: datetime.now(UTC)) as group:
        for n in range(3):
            time.sleep(0.05)
            made = datetime.now(UTC)
            (record, *_) = ask(group, submitted(f"A{n}")).records
            assert made <= record.recorded_at <= datetime.now(UTC)


@pytest.mark.parametrize("is_committed", [True, False])
def test_who_is_in_flight_when_the_writer_fails_is_told_what_became_of_it(
    group: GroupCommit, log: PostgresLog, database_url: str, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    """Reading for the next batch fails while an append is under way: held by another's lock, or just committed."""
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
        (first,) = submit(group, submitted("A"))
        while not other.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone():
            time.sleep(0.005)

        def fail(*_: Any) -> None:
            if is_committed:
                other.execute("SELECT pg_advisory_unlock(%s)", [APPEND_LOCK])
                while not log.read("order:main:A"):
                    time.sleep(0.005)
            raise Unavailable("the database is gone")

        monkeypatch.setattr(group._known, "fetch", fail)
        (second,) = submit(group, submitted("B"))
        if not is_committed:
            while other.execute(LEADING).fetchone():
                time.sleep(0.005)
            other.execute("SELECT pg_advisory_unlock(%s)", [APPEND_LOCK])
        assert isinstance(second.exception(10), NotLeading)
        failure = first.exception(10)
    monkeypatch.undo()
    assert (failure is None) is is_committed is bool(log.read("order:main:A"))
    assert failure is None or isinstance(failure, Unavailable)
    assert log.read("order:main:B") == []


def test_who_cannot_wait_in_a_thread_awaits_its_answer(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    writer = Writer(log, lambda: T0)

    async def all_at_once() -> list[Any]:
        keyed = Keyed("once", b"x" * 32, lambda answers, _: str(answers[0].seq).encode())
        nobodys = SubmitOrder(OrderKey("nobody", "X"), submitted("X").terms, T0)
        return await asyncio.gather(
            *(writer.request_async(submitted(f"A{n}"), actor="bot") for n in range(40)),
            writer.request_async(nobodys, actor="bot"),
            writer.report_async([filled("A1", "E1"), filled("A2", "E2")], actor="venue"),
            *(writer.carry_out_once_async(Command(submitted("K"), "bot"), keyed) for _ in range(2)),
            return_exceptions=True,
        )

    with writer.leading(database_url):
        *orders, refused, reported, once, again = asyncio.run(all_at_once())
    assert {answer.records[0].event.key.cl_ord_id for answer in orders} == {f"A{n}" for n in range(40)}
    assert isinstance(refused, RequestRefused | InvalidInput)
    assert [bool(answer.records) for answer in reported] == [True, True]
    assert once.answer == again.answer and once.is_first is not again.is_first
    with pytest.raises(Unavailable, match="not running"):
        asyncio.run(writer.request_async(submitted("Z"), actor="bot"))
    check_book(log)


def test_a_full_queue_says_so_and_nothing_is_recorded(
    database_url: str, log: PostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_desk(log)
    with leading(database_url, log, queued_max=10) as group:
        monkeypatch.setattr(group, "_pop", lambda: None)
        waiting = submit(group, *(submitted(f"A{n}") for n in range(8)))
        with pytest.raises(Busy, match="8 commands wait"):
            group.submit(Command(tuple(filled("A", f"E{n}") for n in range(3)), "venue"))
        waiting += submit(group, submitted("A8"), submitted("A9"))
        with pytest.raises(Busy):
            submit(group, submitted("A10"))
        monkeypatch.undo()
        assert [future.result(10)[0].error for future in waiting] == [None] * 10
    assert log.read("order:main:A10") == []


def test_a_large_report_passes_an_empty_queue_of_any_size(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    with leading(database_url, log, queued_max=10) as group:
        answers = tell(group, *(filled(f"A{n}", f"E{n}", at=n) for n in range(300)))
    assert all(answer.records for answer in answers)
    check_book(log)


def test_aggregates_in_memory_are_bounded(database_url: str, log: PostgresLog) -> None:
    open_desk(log)
    with leading(database_url, log, cached_streams_max=5) as group:
        for n in range(20):
            ask(group, submitted(f"A{n}"))
            tell(group, filled(f"A{n}", f"E{n}", at=n))
        assert len(group._known._kept) <= 5
        assert ask(group, submitted("A0")).records == ()
    check_book(log)


def test_a_mistake_of_ours_in_one_command_is_its_own(group: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Unit.record

    def mistaken(self: Unit, stream: str, events: Any) -> Any:
        if stream == "order:main:BAD":
            raise ZeroDivisionError
        return record(self, stream, events)

    monkeypatch.setattr(Unit, "record", mistaken)
    good, bad, other = submit(group, submitted("A"), submitted("BAD"), submitted("B"))
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    assert good.result(10)[0].records and other.result(10)[0].records


def kill_writer(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND pid <> pg_backend_pid()"
        )


def test_a_lost_connection_is_a_lost_lead_and_a_new_one_is_taken(
    group: GroupCommit, log: PostgresLog, database_url: str
) -> None:
    ask(group, submitted("A"))
    kill_writer(database_url)
    for _ in range(100):
        try:
            ask(group, submitted("B"))
            break
        except Unavailable:
            group._stopping.wait(0.05)
    else:
        pytest.fail("no lead was taken again")
    assert len(log.read("order:main:B")) == 1
    check_book(log)


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
        assert ask(group, submitted("A")).records
    else:
        monkeypatch.setattr(Appending, "begin", lose_question)
        with pytest.raises(Unavailable):
            ask(group, submitted("A"))
    assert len(log.read("order:main:A")) == is_committed
    check_book(log)


def test_deciding_overlaps_committing_and_is_thrown_away_when_the_commit_fails(
    group: GroupCommit, log: PostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, is_done, failed, stood = Appending.finish, Appending.is_done, [], []
    ask(group, at_most("1"))

    def fail_once(self: Appending) -> None:
        finish(self)  # an append of nothing: see below
        if not failed:
            failed.append(True)
            raise StreamConflict("the log", "somebody was first")

    begin = Appending.begin

    def withhold(self: Appending, after: int, rows: Any, keyed: Any = ()) -> None:
        begin(self, after, () if not failed else rows, () if not failed else keyed)

    monkeypatch.setattr(Appending, "finish", fail_once)
    monkeypatch.setattr(Appending, "begin", withhold)
    monkeypatch.setattr(Appending, "is_done", lambda self: (len(stood) > 1 or bool(failed)) and is_done(self))
    decided = Unit.absorb

    def seen(self: Unit, other: Unit) -> None:
        stood.append(self.ground)
        decided(self, other)

    monkeypatch.setattr(Unit, "absorb", seen)
    first, second = group.submit(Command(submitted("A"), "bot")), group.submit(Command(submitted("B"), "bot"))
    answers = [first.result(10)[0], second.result(10)[0]]
    assert failed
    assert [answer.error is None for answer in answers] == [True, False], "decided again, in the same order"
    check_book(log)


def test_a_second_process_stands_by_says_who_leads_and_takes_over(
    group: GroupCommit, log: PostgresLog, database_url: str
) -> None:
    with PostgresLog(database_url) as theirs, leading(database_url, theirs, name="desk-2:8000") as other:
        assert not other.is_leading
        with pytest.raises(NotLeading, match="leads; send the request again"):
            ask(other, submitted("A"))
        ask(group, submitted("A"))
        group.close()
        assert other._leading.wait(5)
        assert ask(other, submitted("A")).records == ()
        assert ask(other, submitted("B")).records
    check_book(log)


def test_a_conflict_that_never_ends_is_told(group: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Appending.finish

    def overtaken(self: Appending) -> None:
        finish(self)
        raise StreamConflict("the log", "somebody was first")

    begin = Appending.begin
    monkeypatch.setattr(Appending, "begin", lambda self, after, rows, keyed=(): begin(self, after, (), ()))
    monkeypatch.setattr(Appending, "finish", overtaken)
    with pytest.raises(StreamConflict, match="attempts were overtaken"):
        ask(group, submitted("A"))
    monkeypatch.undo()
    assert ask(group, submitted("A")).records
    assert D(1)

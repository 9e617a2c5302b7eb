"""The contract of an EventLog, for every implementation of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event, Thread
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.log import queries
from adapters.log.memory import MemoryLog
from adapters.log.postgres import PIPELINED_EVENTS_MAX, PostgresLog
from domain.errors import ExecutionKnown, StreamConflict
from domain.ledger import Head, Logged, Recorded, pages, scan
from tests.desk import T0, fill_of
from tests.records import record, records

Log = MemoryLog | PostgresLog
BATCH = PIPELINED_EVENTS_MAX + 1  # large enough to go by COPY


@pytest.fixture(params=["memory", "postgres"], name="log")
def log_of_each_kind(request: pytest.FixtureRequest) -> Log:
    return MemoryLog() if request.param == "memory" else request.getfixturevalue("log")


@pytest.fixture(name="reopen")
def log_seen_by_another(log: Log, request: pytest.FixtureRequest) -> Iterator[Callable[[], Log]]:
    """Another process's view of the same log."""
    if isinstance(log, MemoryLog):
        yield lambda: log
        return
    with PostgresLog(request.getfixturevalue("database_url")) as other:
        yield lambda: other


def seqs(logged: list[Logged]) -> list[int]:
    return [seq for seq, _ in logged]


def test_an_empty_log_has_nothing(log: Log) -> None:
    assert log.head() == Head(0, None)
    assert log.read("a") == []
    assert log.select() == []
    assert log.seq_at(T0) == 0
    assert log.append([]) == 0


@pytest.mark.parametrize("size", [1, 2, PIPELINED_EVENTS_MAX, BATCH, 500])
def test_what_was_appended_is_read_back_the_same(log: Log, reopen: Callable[[], Log], size: int) -> None:
    written = records("a", range(1, size + 1), at_s=0.000001)
    assert log.append(written) == size
    assert reopen().read("a") == written
    assert reopen().select() == [Logged(seq, record) for seq, record in enumerate(written, 1)]
    assert reopen().head() == Head(size, T0 + timedelta(microseconds=1))


def test_text_of_any_script_is_kept(log: Log) -> None:
    written = record("account:東京/é ½\n\"'\\%s", 1, note="₿")
    log.append([written])
    assert log.read(written.stream) == [written]


def test_a_stream_is_read_after_a_version(log: Log) -> None:
    log.append(records("a", range(1, 6)))
    assert [r.version for r in log.read("a", after=3)] == [4, 5]
    assert log.read("a", after=5) == []
    assert len(log.read("a", after=-1)) == 5


@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 8])
def test_a_stream_is_read_a_page_at_a_time(log: Log, size: int) -> None:
    log.append(records("a", range(1, size + 1)) + records("b", range(1, 9)))
    assert log.read("a", limit=3) == log.read("a")[:3]
    assert log.read("a", after=2, limit=3) == log.read("a")[2:5]
    found = list(pages(log, "a", page_max=4))
    assert [each for page in found for each in page] == log.read("a")
    assert all(1 <= len(page) <= 4 for page in found)
    assert [each for page in pages(log, "a", after=2, page_max=4) for each in page] == log.read("a")[2:]
    assert log.read_all(["a", "b", "none"], limit=3) == {"a": log.read("a")[:3], "b": log.read("b")[:3], "none": []}


def test_several_streams_are_read_at_once(log: Log) -> None:
    log.append([record("a", 1), record("b", 1), record("a", 2), record("c", 1)])
    assert log.read_all(["a", "none", "c"]) == {"a": log.read("a"), "none": [], "c": log.read("c")}
    assert log.read_all([]) == {}


def test_who_is_alone_holds_off_all_others(log: Log, reopen: Callable[[], Log]) -> None:
    other, order = reopen(), list[str]()

    def append() -> None:
        other.append([record("b", 1)])
        order.append("other")

    with log.alone():
        waiting = Thread(target=append)
        waiting.start()
        waiting.join(0.2)
        assert log.append([record("a", 1), record("a", 2)]) == 2
        order.append("alone")
    waiting.join(60)
    assert order == ["alone", "other"]
    assert log.append([record("a", 3)]) == 4


def test_a_batch_may_span_streams_and_keeps_its_order(log: Log) -> None:
    batch = [record("a", 1), record("b", 1), record("a", 2), record("c", 1), record("b", 2)]
    assert log.append(batch) == 5
    assert [r for _, r in log.select()] == batch
    assert [r.version for r in log.read("b")] == [1, 2]


def test_select_is_bounded_on_every_side(log: Log) -> None:
    log.append(records("a", range(1, 11)))
    assert seqs(log.select(after=2, limit=3)) == [3, 4, 5]
    assert seqs(log.select(after=2, upto=4)) == [3, 4]
    assert seqs(log.select(after=-5, limit=1)) == [1]
    assert seqs(log.select(after=4, upto=3)) == []
    assert seqs(log.select(after=10)) == []
    assert seqs(log.select(limit=0)) == []
    assert seqs(list(scan(log, after=1, upto=9, batch_max=3))) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_seq_at_is_the_last_one_recorded_by_then(log: Log) -> None:
    log.append([record("a", 1, 10), record("a", 2, 20), record("b", 1, 20), record("a", 3, 30)])
    moments = {9: 0, 10: 1, 19: 1, 20: 3, 29: 3, 30: 4, 99: 4}
    assert {s: log.seq_at(T0 + timedelta(seconds=s)) for s in moments} == moments


@pytest.mark.parametrize("size", [1, BATCH])
@pytest.mark.parametrize(
    ("first", "why"), [(1, "exists"), (2, "exists"), (4, "gap"), (9, "gap"), (0, "exists")], ids=str
)
def test_a_version_that_does_not_continue_its_stream_is_refused(log: Log, first: int, why: str, size: int) -> None:
    log.append(records("a", range(1, 3)))
    with pytest.raises(StreamConflict, match=why) as refused:
        log.append([record("b", 1), *records("a", range(first, first + size))])
    assert refused.value.stream == "a"
    assert log.head().seq == 2
    assert log.read("b") == []


@pytest.mark.parametrize("versions", [(1, 1), (2, 1), (1, 3), (0,), (2,)])
def test_versions_within_a_batch_are_consecutive(log: Log, versions: tuple[int, ...]) -> None:
    with pytest.raises(StreamConflict):
        log.append([record("a", version) for version in versions])
    assert log.head().seq == 0


@pytest.mark.parametrize("size", [1, BATCH])
def test_recorded_at_never_decreases(log: Log, size: int) -> None:
    log.append([record("a", 1, at_s=10)])
    with pytest.raises(StreamConflict, match=r"recorded at 2026-03-01T09:00:09\S*, before"):
        log.append(records("b", range(1, size + 1), at_s=9))
    with pytest.raises(StreamConflict, match="before"):
        log.append([*records("b", range(1, size + 1), at_s=12), record("c", 1, at_s=11)])
    assert log.head() == Head(1, T0 + timedelta(seconds=10))
    assert log.append([record("b", 1, at_s=10)]) == 2


@pytest.mark.parametrize("size", [1, BATCH])
def test_a_refused_append_leaves_no_gap(log: Log, size: int) -> None:
    for version in range(1, 6):
        log.append([record("a", version)])
        with pytest.raises(StreamConflict):
            log.append([*records(f"b{version}", range(1, size + 1)), record("a", version)])
    assert seqs(log.select()) == [1, 2, 3, 4, 5]


def test_racing_appenders_leave_no_gap_and_readers_skip_nothing(log: Log, reopen: Callable[[], Log]) -> None:
    threads, each, size = 6, 25, (1, 3, BATCH)
    total = threads * sum(size[n % 3] for n in range(each))
    start = Barrier(threads + 1)

    def append(thread: int) -> None:
        start.wait()
        version = 1
        for n in range(each):
            log.append(records(f"s{thread}", range(version, version + size[n % 3])))
            version += size[n % 3]

    def follow() -> list[Logged]:
        start.wait()
        seen: list[Logged] = []
        deadline = monotonic() + 60
        while len(seen) < total and monotonic() < deadline:
            seen += reopen().select(after=len(seen), limit=100)
        return seen

    with ThreadPoolExecutor(threads + 1) as pool:
        following = pool.submit(follow)
        for appending in [pool.submit(append, thread) for thread in range(threads)]:
            appending.result()
        seen = following.result()
    assert seqs(seen) == list(range(1, total + 1))
    for thread in range(threads):
        assert [r.version for _, r in seen if r.stream == f"s{thread}"] == list(range(1, total // threads + 1))


def test_of_racers_for_one_version_exactly_one_wins(log: Log) -> None:
    threads, rounds = 4, 20
    start = Barrier(threads)

    def race(thread: int) -> int:
        won = 0
        for version in range(1, rounds + 1):
            start.wait()
            try:
                log.append([record("a", version, note=f"{thread}"), record(f"mine{thread}", won + 1)])
                won += 1
            except StreamConflict:
                pass
        return won

    with ThreadPoolExecutor(threads) as pool:
        won = list(pool.map(race, range(threads)))
    assert sum(won) == rounds
    assert log.head().seq == 2 * rounds
    assert [len(log.read(f"mine{thread}")) for thread in range(threads)] == won


def test_wait_returns_at_once_when_there_is_more(log: Log) -> None:
    log.append(records("a", range(1, 4)))
    assert log.wait(2, timeout_s=30) == 3


def test_wait_returns_the_head_when_the_time_is_up(log: Log) -> None:
    log.append([record("a", 1)])
    assert log.wait(1, timeout_s=0.05) == 1


def test_wait_is_woken_by_an_append_of_another_process(log: Log, reopen: Callable[[], Log]) -> None:
    other = reopen()
    other.wait(0, timeout_s=0)
    ready, woken = Event(), list[int]()

    def wait() -> None:
        ready.set()
        woken.append(other.wait(0, timeout_s=30))

    waiter = Thread(target=wait)
    waiter.start()
    ready.wait()
    log.append([record("a", 1), record("a", 2)])
    waiter.join(60)
    assert woken == [2]


@pytest.mark.parametrize("end", ["wake", "close"])
def test_who_waits_can_be_woken_to_end(database_url: str, end: str) -> None:
    with PostgresLog(database_url) as waited:
        waiter = Thread(target=waited.wait, args=(0, 60))
        waiter.start()
        while waiter.is_alive():  # it may not wait yet when it is woken
            getattr(waited, end)()
            waiter.join(0.01)
            if end == "close":
                break
        waiter.join(60)
        assert not waiter.is_alive()


Streams = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), max_size=8)


@given(Streams)
def test_any_history_reads_back_as_it_was_appended(batches: list[list[str]]) -> None:
    log, written = MemoryLog(), list[Recorded]()
    for at, batch in enumerate(batches):
        continued = list[Recorded]()
        for stream in batch:
            version = 1 + sum(r.stream == stream for r in written + continued)
            continued.append(record(stream, version, at))
        assert log.append(continued) == len(written) + len(batch)
        written += continued
    assert [r for _, r in scan(log, batch_max=3)] == written
    assert MemoryLog(written).head() == log.head()


@pytest.mark.parametrize("size", [1, BATCH])
def test_an_execution_is_on_record_once_under_any_order(log: Log, size: int) -> None:
    first = [Recorded("order:main:A", n, T0, "venue", "", fill_of("A", f"E{n}")) for n in range(1, size + 1)]
    log.append(first)
    again = [
        record("a", 1),
        *(Recorded("order:main:B", n, T0, "import", "", fill_of("B", f"E{n + size - 1}")) for n in range(1, size + 1)),
    ]
    with pytest.raises(ExecutionKnown):
        log.append(again)
    assert log.head().seq == size
    key, unknown = f"main:BTCUSDT.SIM:E{size}", "main:BTCUSDT.SIM:E0"
    assert log.executed([key, unknown]) == {key: "order:main:A"}
    assert log.executed([]) == {}


def test_an_execution_is_not_recorded_twice_in_one_append(log: Log) -> None:
    twice = [Recorded(f"order:main:{name}", 1, T0, "venue", "", fill_of(name, "E1")) for name in ("A", "B")]
    with pytest.raises(ExecutionKnown):
        log.append(twice)
    assert log.head().seq == 0


def test_a_stream_had_a_version_when_the_log_ended_at_any_place(database_url: str) -> None:
    with PostgresLog(database_url) as log:
        _check_versions(log)


def _check_versions(log: PostgresLog) -> None:
    written = {"a": 0, "b": 0, "c": 0}
    known = [dict(written)]
    for stream, count in [("b", 1), ("a", 3), ("b", 2), ("a", 1), ("b", 5), ("a", 8)]:
        for version in range(written[stream] + 1, written[stream] + count + 1):
            log.append([record(stream, version)])
            written[stream] = version
            known.append(dict(written))
    for seq, versions in enumerate(known):
        assert {stream: queries.version_at(log, stream, seq) for stream in versions} == versions
    assert {stream: queries.version_at(log, stream, None) for stream in written} == written

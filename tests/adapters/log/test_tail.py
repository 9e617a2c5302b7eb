"""The tail has the newest records of the log without a gap, or says that it has not all that is wanted."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from adapters.log.tail import Tail
from adapters.writer.writer import Writer
from domain.ledger import Ledger, Logged, Recorded
from tests.projections.reactions.book import T0, opened, submit
from tests.records import record

APPENDS = st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=20)


@cache
def at(seq: int) -> Recorded:
    return record("stream", seq)


@given(appends=APPENDS, records_max=st.integers(1, 8))
def test_the_tail_returns_exactly_what_was_committed_or_nothing(appends: list[tuple[bool, int]], records_max: int):
    tail, end, known = Tail(records_max), 0, 0  # `known`: from here on everything was committed by this process
    for is_ours, count in appends:
        if is_ours:
            tail.extend(end, [at(seq) for seq in range(end + 1, end + count + 1)])
        else:
            known = end + count  # by another process
        end += count
        for after in range(end):
            for upto in range(after, end + 1):
                found = tail.between(after, upto)
                assert found is None or found == [Logged(seq, at(seq)) for seq in range(after + 1, upto + 1)]
    if appends and appends[-1][0]:
        assert tail.between(max(known, end - records_max), end) is not None
    tail.clear()
    assert tail.between(end - 1, end) is None


def test_a_leading_writer_keeps_what_it_commits_as_the_log_returns_it(log: PostgresLog, database_url: str):
    writer = Writer(log, lambda: T0)
    opened(Ledger(log, lambda: T0))
    before = log.head().seq
    with writer.leading(database_url):
        for number in range(3):
            writer.request(submit(f"A-{number}"), actor="tester")
        head = log.head().seq
        assert log.recent(before, head) == log.select(after=before, upto=head)
        assert log.recent(before - 1, head) is None
    assert log.recent(before, head) is None, "another process may lead now"

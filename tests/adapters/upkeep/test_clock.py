"""The clock, held against its own past, the database's and the log's: in doubt, nothing is recorded until confirmed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Connection, Role, connect
from adapters.upkeep.clock import ClockCheck
from adapters.writer.confirmation import confirm_clock
from adapters.writer.group_commit import GroupCommit
from adapters.writer.writer import Writer
from api.clock import now as real_now
from domain.account import Costing, OpenAccount
from domain.errors import ClockInDoubt, MomentUnknown, RequestRefused
from domain.ledger import ClockConfirmed, Recorded
from tests.desk import fill_of, new_order, open_desk
from tests.group_commit import leading, request

pytestmark = pytest.mark.slow

TEN_YEARS = timedelta(days=3652)
SECOND = timedelta(seconds=1)


class Clock:
    """A clock that is set by hand, `ahead` of the real one, and a monotonic one that can be let run."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.passed = timedelta()

    def now(self) -> datetime:
        return real_now() + self.ahead + self.passed

    def monotonic(self) -> float:
        return (real_now() - datetime(2026, 1, 1, tzinfo=UTC) + self.passed).total_seconds()

    def check(self) -> ClockCheck:
        return ClockCheck(self.now, monotonic=self.monotonic)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reading(database_url: str) -> Iterator[Connection]:
    with connect(database_url, Role.WRITER) as connection:
        yield connection


def confirm(log: PostgresLog, clock: Clock, **more: bool) -> Recorded[ClockConfirmed] | None:
    return confirm_clock(log, clock.now, actor="cli.ada", reason="NTP", difference_seconds_max=5, **more)


def test_a_jump_is_a_doubt_until_the_clock_is_back(clock: Clock):
    check = clock.check()
    assert abs(check.read() - real_now()) < 5 * SECOND
    for jump, way in ((timedelta(seconds=6), "forward by 6.0 s"), (-TEN_YEARS, "back by 3,652 days")):
        clock.ahead = jump
        for _ in range(2):
            with pytest.raises(ClockInDoubt, match=f"jumped {way}.*daybook clock confirm"):
                check.read()
        assert check.health().is_trouble
        clock.ahead = timedelta()
        check.read()
    assert check.health().failures == 2 and not check.health().is_trouble


def test_hours_without_a_look_and_small_corrections_are_no_doubt(clock: Clock):
    check = clock.check()
    for _ in range(50):
        clock.passed += timedelta(hours=3)
        clock.ahead += SECOND
        check.read()


def test_a_difference_from_the_database_is_a_doubt_until_it_is_gone_or_accepted(
    clock: Clock, log: PostgresLog, reading: Connection
):
    clock.ahead = timedelta(hours=-1)
    check = clock.check()
    check.read()
    check.look(reading)
    with pytest.raises(ClockInDoubt, match=r"differ by 60 min, and may differ by 5\.0 s"):
        check.read()
    with pytest.raises(RequestRefused, match="--database-differs"):
        confirm(log, clock)
    assert log.head().seq == 0
    confirmed = confirm(log, clock, is_difference_accepted=True)
    assert confirmed is not None and confirmed.actor == "cli.ada" and confirmed.event.reason == "NTP"
    check.look(reading)
    check.read()
    clock.ahead = timedelta(hours=1)  # this is the other way round: the database's is behind
    with pytest.raises(ClockInDoubt):
        check.read()
    clock.ahead = timedelta(hours=-1)
    later = clock.check()  # a process that starts afterwards
    later.look(reading)
    later.read()
    clock.passed = timedelta(hours=1)  # the database's clock is corrected: the difference is gone
    later.look(reading)
    later.read()


def test_a_leader_records_nothing_while_the_clock_is_in_doubt_and_goes_on_by_itself(
    clock: Clock, database_url: str, log: PostgresLog
):
    open_desk(log)
    with leading(database_url, log, clock.now, clock=clock.check()) as group:
        first = request(group, new_order("A"))
        head = log.head()
        clock.ahead = TEN_YEARS
        for n in range(3):
            with pytest.raises(ClockInDoubt, match="nothing is recorded until"):
                request(group, new_order(f"B{n}"))
        assert log.head() == head
        clock.ahead = timedelta()
        second = request(group, new_order("B0"))
        assert second.seq > first.seq and second.records[0].recorded_at < real_now() + SECOND


def test_a_jump_that_is_confirmed_is_where_the_clocks_past_begins_again(
    clock: Clock, log: PostgresLog, reading: Connection
):
    """As after a machine that was paused: the database's clock went on, and agrees."""
    clock.ahead = timedelta(hours=-1)
    check = ClockCheck(clock.now, difference_seconds_max=5, monotonic=clock.monotonic)
    clock.ahead = timedelta()
    check.look(reading)
    with pytest.raises(ClockInDoubt, match="jumped forward by 60 min"):
        check.read()
    assert confirm(log, clock) is None, "it needs no confirmation that can be seen from outside"
    assert confirm(log, clock, is_needed=True) is not None
    check.look(reading)
    check.read()
    clock.ahead = timedelta(hours=1)
    with pytest.raises(ClockInDoubt):
        check.read()


def test_a_log_that_ends_in_ten_years_is_continued_at_the_right_time_once_confirmed(
    clock: Clock, database_url: str, log: PostgresLog
):
    open_desk(log)
    desk = log.head().seq
    Writer(log, real_now).request(new_order("A"), actor="bot")
    trusted = log.head()
    clock.ahead = TEN_YEARS
    Writer(log, clock.now).request(new_order("B"), actor="bot")  # of a release that did not check its clock
    clock.ahead = timedelta()
    Writer(log, clock.now).request(new_order("C"), actor="bot")
    poisoned = log.head()
    assert poisoned.recorded_at is not None and poisoned.recorded_at > real_now() + TEN_YEARS / 2
    with pytest.raises(MomentUnknown, match="not confirmed yet"):
        log.seq_at(real_now())
    assert trusted.recorded_at is not None and log.seq_at(trusted.recorded_at) == trusted.seq

    alone = Writer(log, clock.now, clock=clock.check())
    with pytest.raises(ClockInDoubt, match=r"the log ends at 20\d\d-.*3,652 days later"):
        alone.request(new_order("D"), actor="bot")
    with leading(database_url, log, clock.now, clock=clock.check()) as group:
        assert group.is_leading
        with pytest.raises(ClockInDoubt):
            request(group, new_order("D"))
        assert log.head() == poisoned
        confirmed = confirm(log, clock)
        assert confirmed is not None
        assert (confirmed.event.from_seq, confirmed.event.trusted_at) == (trusted.seq + 1, trusted.recorded_at)
        request_when_confirmed(group)
        assert alone.report([fill_of("D", "E1")], actor="venue")[0].records
        request(group, new_order("F"))

    end = log.head()
    assert end.recorded_at is not None and end.recorded_at < real_now() + SECOND
    assert log.seq_at(real_now()) == end.seq
    assert log.seq_at(confirmed.recorded_at) >= poisoned.seq + 1
    with pytest.raises(MomentUnknown, match=f"a seq from {trusted.seq} to {poisoned.seq}"):
        log.seq_at(confirmed.recorded_at - timedelta(microseconds=1))
    assert log.seq_at(trusted.recorded_at) == trusted.seq and desk < trusted.seq
    assert confirm(log, clock) is None


def request_when_confirmed(group: GroupCommit) -> None:
    """The leader has seen the confirmation at its next look."""
    deadline = time.monotonic() + 60
    while True:
        try:
            request(group, new_order("D"))
        except ClockInDoubt:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def test_as_of_now_is_answered_where_it_is_accepted_that_the_databases_clock_is_behind(clock: Clock, log: PostgresLog):
    clock.ahead = timedelta(hours=1)
    writer = Writer(log, clock.now, clock=clock.check())
    open_account = OpenAccount("main", "USDT", Costing(), clock.now())
    with pytest.raises(ClockInDoubt):
        writer.request(open_account, actor="bot")
    assert confirm(log, clock, is_difference_accepted=True) is not None
    answer = writer.request(open_account, actor="bot")
    assert log.seq_at(clock.now()) == answer.seq == 3
    assert log.seq_at(real_now()) == 0

"""As of a time, over a log whose clock was wrong for a while: right, or refused with the events it cannot place."""

from datetime import timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain.errors import MomentUnknown
from domain.ledger import ClockConfirmed, Recorded, confirmation, latest_at, part_at
from tests.desk import T0
from tests.records import record

SECOND = timedelta(seconds=1)


class Step(NamedTuple):
    """Something is recorded `after` so many seconds, by a clock that is `ahead`; or first the clock is confirmed."""

    after: int
    ahead: int
    confirms: bool


STEPS = st.lists(
    st.builds(
        Step, st.integers(1, 30), st.sampled_from([0, 0, 0, 1000, 2000]), st.sampled_from([False, False, True])
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


def confirmed(log: MemoryLog, at: int) -> Recorded[ClockConfirmed]:
    """What a confirmation at that second records: the first event that is later, which no earlier one covers."""
    moment = T0 + at * SECOND
    known = log.select(limit=1000)
    clock = [logged for logged in known if isinstance(logged.recorded.event, ClockConfirmed)]
    first = max((seq for seq, one in clock if one.recorded_at <= moment), default=1)
    ahead = [logged for logged in known if logged.seq >= first and logged.recorded.recorded_at > moment]
    from_seq = ahead[0].seq if ahead else None
    trusted_at = known[from_seq - 2].recorded.recorded_at if from_seq is not None and from_seq > 1 else None
    event = ClockConfirmed("test", moment, from_seq, trusted_at)
    return Recorded("clock", len(clock) + 1, moment, "operator", "", event)


@given(STEPS)
def test_as_of_a_time_is_what_was_on_record_or_says_what_is_not_known(steps: list[Step]):
    """Confirmations are by a right clock, before the time has come that a wrong one has put on record."""
    log, truth, now = MemoryLog(), list[int](), 0
    for number, step in enumerate([*steps, Step(1, 0, True)]):
        now += step.after
        if step.confirms:
            log.append([confirmed(log, now)])
            truth.append(now)
            now += 1
        head = log.head().recorded_at
        at = T0 + (now + step.ahead) * SECOND
        log.append([record(f"s{number}", 1, (max(at, head or at) - T0) / SECOND)])
        truth.append(now)
    for second in range(now + 2):
        right = sum(one <= second for one in truth)
        try:
            first = last = log.seq_at(T0 + second * SECOND)
        except MomentUnknown as error:
            first, last = error.first_seq - 1, error.last_seq
        assert first <= right <= last, f"as of second {second} of {truth}"


def test_ten_years_ahead_once_leaves_only_its_own_moment_open():
    log = MemoryLog([record("a", 1, 0), record("b", 1, 10), record("c", 1, 20)])
    ten_years = 10 * 365 * 86_400
    log.append([record("d", 1, ten_years), record("e", 1, ten_years)])
    log.append([confirmed(log, 100)])
    log.append([record("f", 1, 110)])
    assert [log.seq_at(T0 + s * SECOND) for s in (0, 15, 20, 100, 109, 110, 500)] == [1, 2, 3, 6, 6, 7, 7]
    for second in (21, 99):
        with pytest.raises(MomentUnknown, match="a seq from 3 to 5") as caught:
            log.seq_at(T0 + second * SECOND)
        assert (caught.value.first_seq, caught.value.last_seq) == (4, 5)
    known = [confirmation(logged) for logged in log.select() if isinstance(logged.recorded.event, ClockConfirmed)]
    assert latest_at(known, 4, T0 + ten_years * SECOND) == T0 + 100 * SECOND
    assert latest_at(known, 3, T0 + 20 * SECOND) == T0 + 20 * SECOND


def test_only_a_confirmation_may_step_back():
    assert part_at([], T0) == (1, None)
    log = MemoryLog([record("a", 1, 100)])
    with pytest.raises(Exception, match="before the log's last record"):
        log.append([record("b", 1, 99)])
    assert log.append([confirmed(log, 50)]) == 2
    assert log.append([record("b", 1, 51)]) == 3

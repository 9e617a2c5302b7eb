"""Confirm the clock: the one event that may be recorded at an earlier time than the event before it."""

from collections.abc import Callable
from datetime import datetime, timedelta

from adapters.log.postgres import PostgresLog
from domain.access import Actor, identity, label
from domain.errors import RequestRefused
from domain.ledger import CLOCK_STREAM, ClockConfirmed, Recorded


def confirm_clock(
    log: PostgresLog,
    now: Callable[[], datetime],
    *,
    actor: Actor,
    reason: str,
    difference_seconds_max: float,
    is_difference_accepted: bool = False,
    is_needed: bool = False,
) -> Recorded[ClockConfirmed] | None:
    """Record that the clock `now` is right, and which events before were recorded by one that was ahead.

    Returns None, and records nothing, if no clock is in doubt: the log does not end later than it is, the database's
    clock agrees, and no process needs it. Raises RequestRefused if the database's clock differs by more than the bound
    and that is not accepted; StreamConflict, Unavailable.
    """
    bound = timedelta(seconds=difference_seconds_max)
    with log.alone():
        database_at, moment, head = log.clock(), now(), log.head()
        is_different = abs(database_at - moment) > bound
        if is_different and not is_difference_accepted:
            raise RequestRefused(
                "a clock is confirmed where the database's clock agrees with it: correct the one that is wrong, or "
                "confirm with --database-differs that it is the database's, and stays so",
                ours=moment.isoformat(), databases=database_at.isoformat(),
            )  # fmt: skip
        is_ahead = head.recorded_at is not None and head.recorded_at > moment
        if not (is_different or is_needed or (head.recorded_at is not None and head.recorded_at > moment + bound)):
            return None
        confirmations = log.confirmations()
        from_seq, trusted_at = (is_ahead and log.recorded_after(moment, confirmations)) or (None, None)
        record = Recorded(
            CLOCK_STREAM, len(confirmations) + 1, recorded_at=moment, actor=label(actor), request_id="",
            event=ClockConfirmed(reason, database_at, from_seq, trusted_at), by=identity(actor),
        )  # fmt: skip
        log.append([record])
    return record

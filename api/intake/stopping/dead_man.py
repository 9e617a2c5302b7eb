"""Dead man's switches: arm, extend, fire and list them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from adapters.log.queries import streams
from adapters.postgres.countdowns import Countdown
from api.clock import now
from api.daybook import Daybook
from api.intake.stopping.countdown import known_switch
from domain import risk
from domain.errors import RequestRefused
from domain.risk import ArmDeadManSwitch, DeadMan, FireDeadManSwitch, Risk, deadline_of, is_armed_as

ARMED, FIRED, DISARMED = "ARMED", "FIRED", "DISARMED"


def extended(daybook: Daybook, request: ArmDeadManSwitch) -> datetime | None:
    """Extend a switch that is armed as the request says; return its deadline, None if it is not armed so.

    Nothing is recorded. Raises RequestRefused where its countdown has passed and it is being fired.
    """
    known = known_switch(daybook, request.account_id, request.strategy_id)
    if known is None or not is_armed_as(known, request.countdown_ms, halts=request.halts):
        return None
    deadline = daybook.countdowns.extend(known.armed, request.transact_time)
    if deadline is None:
        raise RequestRefused(
            "the countdown has not passed; it has, and the switch is being fired: arm it again after that",
            account_id=request.account_id, strategy_id=request.strategy_id, countdown_ms=request.countdown_ms,
        )  # fmt: skip
    return deadline


def begin(daybook: Daybook, request: ArmDeadManSwitch) -> None:
    """Begin the countdown of a switch that was armed."""
    known = known_switch(daybook, request.account_id, request.strategy_id)
    if known is not None and known.is_armed:
        daybook.countdowns.extend(known.armed, request.transact_time)


def to_fire(daybook: Daybook, account_id: str, strategy_id: str | None) -> FireDeadManSwitch:
    """Return the request to fire an armed switch at once. Raises RequestRefused."""
    known = known_switch(daybook, account_id, strategy_id)
    if known is None or not known.is_armed:
        raise RequestRefused("an armed dead man's switch", account_id=account_id, strategy_id=strategy_id)
    at = now()
    extended_at = max(
        (row.extended_at for row in daybook.countdowns.all() if _is_of(row, known)), default=known.armed.transact_time
    )
    return FireDeadManSwitch(account_id, strategy_id, known.armed.version, extended_at, deadline=at, transact_time=at)


def switches(daybook: Daybook, account_id: str | None = None) -> list[dict[str, Any]]:
    """Return every switch that was ever armed, with the time left of those that are."""
    found = [risk.stream(account_id)] if account_id is not None else streams(daybook.url, "limit:")
    countdowns = daybook.countdowns.all()
    rows = []
    for stream in found:
        known: Risk | None = daybook.state(stream)
        for _, each in sorted((known.dead_man if known is not None else {}).items()):
            rows.append(record(each, countdowns, now()))
    return rows


def record(known: DeadMan, countdowns: Sequence[Countdown], at: datetime) -> dict[str, Any]:
    """Return a switch as a record; times and `time_left_ms` are of one that is armed."""
    armed = known.armed
    row = next((row for row in countdowns if _is_of(row, known)), None)
    extended_at = row.extended_at if row is not None else armed.transact_time
    deadline = row.deadline if row is not None else deadline_of(armed.countdown_ms, armed.transact_time)
    has_fired = known.fired is not None and known.fired.version == armed.version
    return {
        "account_id": armed.account_id,
        "strategy_id": armed.strategy_id,
        "status": ARMED if known.is_armed else FIRED if has_fired else DISARMED,
        "countdown_ms": armed.countdown_ms,
        "halts": armed.halts,
        "version": armed.version,
        "armed_at": armed.transact_time,
        "extended_at": extended_at if known.is_armed else None,
        "deadline": deadline if known.is_armed else None,
        "time_left_ms": max(int((deadline - at).total_seconds() * 1000), 0) if known.is_armed else None,
        "fired_at": known.fired.transact_time if known.fired is not None else None,
    }


def never_armed(account_id: str, strategy_id: str | None) -> dict[str, Any]:
    """Return a switch that was never armed as a record."""
    names = ("countdown_ms", "halts", "version", "armed_at", "extended_at", "deadline", "time_left_ms", "fired_at")
    return {"account_id": account_id, "strategy_id": strategy_id, "status": DISARMED} | dict.fromkeys(names)


def _is_of(row: Countdown, known: DeadMan) -> bool:
    armed = known.armed
    return row[:3] == (armed.account_id, armed.strategy_id, armed.version)

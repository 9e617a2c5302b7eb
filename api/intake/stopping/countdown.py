"""Firing of the dead man's switches whose countdown has passed, in a supervised thread of the process that leads.

A countdown that is over stays so until its switch has fired, which the log decides, once for each time it was armed: a
crash in between is made good at the next step. Many orders are canceled in batches before; the last ones are canceled
with the firing itself, in one unit of work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from adapters.log.queries import streams
from adapters.postgres.countdowns import Countdown
from adapters.upkeep.supervisor import Task
from api.clock import now
from api.daybook import Daybook
from api.intake.stopping.cancel_all import BATCH_MAX, Selection, begun
from domain import risk
from domain.access import Part
from domain.ledger import Command
from domain.risk import DeadMan, EngageSwitch, FireDeadManSwitch, Mode, Risk, Scope

STOP_SECONDS_MAX = 5.0
PAUSE_SECONDS_MAX = 1.0  # after a failure
ACTOR = Part("policy:DEAD_MAN")
STEP_SECONDS = 0.25
BEGIN_STEPS = 120  # how often countdowns that a crash has lost are begun again


class Firing:
    """Fires what has passed, a step at a time."""

    def __init__(self, daybook: Daybook) -> None:
        self._daybook = daybook
        self._settled: set[tuple[str, str | None, int]] = set()

    def run(self, task: Task) -> None:
        """Fire what has passed until the task is to stop, while this process leads."""
        number = 0
        while not task.stopping.wait(STEP_SECONDS):
            if self._daybook.writer.is_leading:
                if number % BEGIN_STEPS == 0:
                    self.begin(now())
                number += 1
                self.step(now())
            task.succeeded()

    def begin(self, at: datetime) -> None:
        """Begin the countdown of each switch that is armed and has none."""
        armed = []
        for stream in streams(self._daybook.url, "limit:"):
            known: Risk | None = self._daybook.state(stream)
            armed += [each.armed for each in (known.dead_man.values() if known is not None else ()) if each.is_armed]
        if armed:
            self._daybook.countdowns.begin(armed, at)

    def step(self, at: datetime) -> int:
        """Fire each armed switch whose countdown has passed; how many fired."""
        fired = 0
        for countdown in self._daybook.countdowns.passed(at):
            place = (countdown.account_id, countdown.strategy_id, countdown.version)
            if place in self._settled:
                continue
            known = known_switch(self._daybook, countdown.account_id, countdown.strategy_id)
            if known is not None and known.is_armed and known.armed.version == countdown.version:
                self._fire(countdown, known, at)
                fired += 1
            self._settled.add(place)
        return fired

    def _fire(self, countdown: Countdown, known: DeadMan, at: datetime) -> None:
        account_id, strategy_id, version = countdown[:3]
        request_id = "-".join(("dead-man", account_id, strategy_id or "", str(version)))
        reason = f"dead man's switch: no sign of life for {known.armed.countdown_ms} ms"
        writer = self._daybook.writer
        if known.armed.halts:
            halt = EngageSwitch(account_id, Scope(strategy_id), Mode.HALT, reason, transact_time=at)
            writer.request(halt, actor=ACTOR, request_id=request_id)
        many = begun(self._daybook, Selection(account_id, strategy_id), reason, actor=ACTOR, request_id=request_id)
        if len(many.found) > BATCH_MAX:
            for command in many.commands():
                writer.carry_out(command)
        fire = FireDeadManSwitch(
            account_id, strategy_id, version, extended_at=countdown.extended_at, deadline=countdown.deadline,
            transact_time=at,
        )  # fmt: skip
        (done,) = writer.carry_out(Command(fire, ACTOR, request_id, cause="timer"))
        if done.error is not None:
            raise done.error


@contextmanager
def counting_down(daybook: Daybook) -> Iterator[None]:
    """Fire what has passed while it lasts, in a supervised thread."""
    task = daybook.upkeep.start("countdowns", Firing(daybook).run, pause_seconds_max=PAUSE_SECONDS_MAX)
    try:
        yield
    finally:
        task.end(STOP_SECONDS_MAX)


def known_switch(daybook: Daybook, account_id: str, strategy_id: str | None) -> DeadMan | None:
    """Return a switch as the log has it; None if it was never armed."""
    known: Risk | None = daybook.state(risk.stream(account_id))
    return known.dead_man.get(strategy_id or "") if known is not None else None

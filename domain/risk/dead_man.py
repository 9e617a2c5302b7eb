"""Dead man's switches: working orders are canceled when a countdown passes without a sign of life.

The log has arming, disarming and firing. A countdown is extended every few seconds, so the deadlines are kept beside
the log; that one has passed, and which one it was, is stated by the request to fire. An account has one switch, and one
for each of its strategies. What is fired is carried out at once, in the unit of work of the request.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from domain.errors import RequestRefused
from domain.order import check_id, check_time
from domain.risk.events import DeadManEvent, DeadManSwitchArmed, DeadManSwitchDisarmed, DeadManSwitchFired

COUNTDOWN_MS_MIN, COUNTDOWN_MS_MAX = 1_000, 86_400_000


class ArmDeadManSwitch(Struct, frozen=True):
    """Arm the switch of an account, or of one of its strategies: fire when `countdown_ms` pass without an extension.

    `halts`: when it fires, a kill switch refuses further orders too, until it is released.
    """

    account_id: str
    strategy_id: str | None
    countdown_ms: int
    transact_time: datetime
    halts: bool = False


class DisarmDeadManSwitch(Struct, frozen=True):
    """Disarm a switch: it no longer fires."""

    account_id: str
    strategy_id: str | None
    transact_time: datetime


class FireDeadManSwitch(Struct, frozen=True):
    """Fire the switch that was armed as `version`, whose countdown, last extended then, has passed at `deadline`.

    Every working order of the account or strategy is canceled.
    """

    account_id: str
    strategy_id: str | None
    version: int
    extended_at: datetime
    deadline: datetime
    transact_time: datetime


DeadManRequest = ArmDeadManSwitch | DisarmDeadManSwitch | FireDeadManSwitch


class DeadMan(Struct, frozen=True):
    """A dead man's switch: as it was last armed, and whether it still is, or has fired."""

    armed: DeadManSwitchArmed
    is_armed: bool = True
    fired: DeadManSwitchFired | None = None


Switches = dict[str, DeadMan]  # by strategy, "" for the account as a whole


def decide(switches: Switches, request: DeadManRequest) -> tuple[DeadManEvent, ...]:
    """The event that carries out a request; () if already in effect. Raises RequestRefused."""
    check_id("account_id", request.account_id)
    if request.strategy_id is not None:
        check_id("strategy_id", request.strategy_id)
    known = switches.get(request.strategy_id or "")
    match request:
        case ArmDeadManSwitch():
            return _armed(known, request)
        case DisarmDeadManSwitch():
            if known is None or not known.is_armed:
                return ()
            version = known.armed.version
            return (DeadManSwitchDisarmed(request.account_id, request.strategy_id, version, request.transact_time),)
        case FireDeadManSwitch():
            return _fired(known, request)


def _armed(known: DeadMan | None, request: ArmDeadManSwitch) -> tuple[DeadManEvent, ...]:
    if not COUNTDOWN_MS_MIN <= request.countdown_ms <= COUNTDOWN_MS_MAX:
        raise RequestRefused(
            f"a countdown of {COUNTDOWN_MS_MIN} to {COUNTDOWN_MS_MAX} ms; 0 disarms", countdown_ms=request.countdown_ms
        )
    if is_armed_as(known, request.countdown_ms, halts=request.halts):
        return ()
    version = known.armed.version + 1 if known is not None else 1
    return (
        DeadManSwitchArmed(
            request.account_id, request.strategy_id, request.countdown_ms, request.halts, version=version,
            transact_time=request.transact_time,
        ),
    )  # fmt: skip


def is_armed_as(known: DeadMan | None, countdown_ms: int, *, halts: bool) -> bool:
    """Whether a switch is armed with this countdown and effect, so that arming it again only extends it."""
    if known is None or not known.is_armed:
        return False
    return (known.armed.countdown_ms, known.armed.halts) == (countdown_ms, halts)


def _fired(known: DeadMan | None, request: FireDeadManSwitch) -> tuple[DeadManEvent, ...]:
    check_time("extended_at", request.extended_at)
    check_time("deadline", request.deadline)
    if known is None or not known.is_armed or known.armed.version != request.version:
        return ()
    if request.deadline > request.transact_time:
        raise RequestRefused("a countdown that has passed", deadline=request.deadline.isoformat())
    armed = known.armed
    return (
        DeadManSwitchFired(
            armed.account_id, armed.strategy_id, armed.countdown_ms, armed.halts, version=armed.version,
            extended_at=request.extended_at, deadline=request.deadline, transact_time=request.transact_time,
        ),
    )  # fmt: skip


def evolve(switches: Switches, event: DeadManEvent) -> Switches:
    """The switches after an event. Total and unconditional."""
    at = event.strategy_id or ""
    match event:
        case DeadManSwitchArmed():
            before = switches.get(at)
            return switches | {at: DeadMan(event, fired=before.fired if before is not None else None)}
        case DeadManSwitchDisarmed():
            known = switches.get(at)
            return switches if known is None else switches | {at: DeadMan(known.armed, False, known.fired)}
        case DeadManSwitchFired():
            known = switches.get(at)
            return switches if known is None else switches | {at: DeadMan(known.armed, False, event)}


def deadline_of(countdown_ms: int, extended_at: datetime) -> datetime:
    """The moment at which a countdown passes that was extended then."""
    return extended_at + countdown_ms * timedelta(milliseconds=1)

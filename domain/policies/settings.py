"""Policy settings: which policies act by themselves, for one account or by the firm's setting for all, and how.

A policy turns events of the log, or the passing of time, into requests (`domain.reactions`). What it may do is on
record: each setting is an event with its actor. An account's own setting counts, else the firm's (account `firm`), else
the default: all policies are on with a new book but HEDGE, which has no band then.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain import values
from domain.account import BREAK_AGES
from domain.errors import InvalidInput, RequestRefused
from domain.immutable import PersistentMap
from domain.risk import FIRM, Mode
from domain.values import ZERO

INTERVAL_SECONDS = 60
INTERVAL_SECONDS_MAX = 24 * 3600
AGES_SECONDS = tuple(int(age.total_seconds()) for age in BREAK_AGES)
AGES_MAX = 16
AGE_SECONDS_MAX = 10 * 365 * 24 * 3600
REASON_MAX = 500


class Policy(StrEnum):
    """The policies; the actor of their requests is `policy:LOSS` and so on.

    LOSS      a breached daily loss or drawdown engages the kill switch of its scope, in its `mode`.
    SWITCH    an engaged kill switch cancels working orders of its scope: at REDUCE_ONLY those that do not only reduce.
    EXPIRY    an order whose good-till date has passed is canceled.
    HEDGE     an account whose delta in an asset leaves its `band` is brought back with a market order.
    MARKS     accounts with limits are monitored when marks or fills arrive, and every `interval_seconds`.
    BREAKS    a break that stays open is recorded as older at each of the `ages_seconds`: an hour, a day, 7 and 30 days.
    """

    LOSS = "LOSS"
    SWITCH = "SWITCH"
    EXPIRY = "EXPIRY"
    HEDGE = "HEDGE"
    MARKS = "MARKS"
    BREAKS = "BREAKS"


class HedgeBand(Struct, frozen=True):
    """Keep an account's delta in an asset (base units, signed) within `band` of `target`.

    It is brought back to the target with orders of `strategy_id` in `instrument_id`. Spot and linear count their
    quantity, inverse contracts their size over the last price traded; options do not count.
    """

    asset: str
    instrument_id: str
    strategy_id: str
    band: Decimal
    target: Decimal = ZERO


class SetPolicy(Struct, frozen=True, tag="SetPolicy"):
    """Switch a policy on or off, or change how it acts; what is None stays as it is. A stored format, in a proposal.

    `mode` is of LOSS, `interval_seconds` of MARKS, `ages_seconds` of BREAKS, `band` of HEDGE, which without a band is
    about that of its `asset`.
    """

    account_id: str
    policy: Policy
    is_on: bool
    reason: str
    transact_time: datetime
    mode: Mode | None = None
    interval_seconds: int | None = None
    band: HedgeBand | None = None
    asset: str | None = None
    ages_seconds: tuple[int, ...] | None = None


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class PolicySet(Struct, frozen=True, tag="PolicySet", omit_defaults=True):
    """From here on a policy is on or off for an account (`firm`: for all without a setting of their own).

    `version` counts the settings of the policy in this account, of HEDGE those of the asset.
    """

    account_id: str
    policy: Policy
    is_on: bool
    reason: str
    version: int
    transact_time: datetime
    mode: Mode | None = None
    interval_seconds: int | None = None
    band: HedgeBand | None = None
    ages_seconds: tuple[int, ...] | None = None


PolicyEvent = PolicySet
Place = tuple[str, str]  # the policy, and the asset of a hedge


class Policies(Struct, frozen=True):
    """The settings of one account, or of the firm, by policy and asset ("" but for HEDGE)."""

    settings: PersistentMap[Place, PolicySet] = PersistentMap()


class Setting(Struct, frozen=True):
    """How a policy acts. HEDGE has a setting for each band instead."""

    is_on: bool
    mode: Mode | None = None
    interval_seconds: int | None = None
    ages_seconds: tuple[int, ...] | None = None


DEFAULTS: Mapping[Policy, Setting] = {
    Policy.LOSS: Setting(is_on=True, mode=Mode.REDUCE_ONLY),
    Policy.SWITCH: Setting(is_on=True),
    Policy.EXPIRY: Setting(is_on=True),
    Policy.HEDGE: Setting(is_on=False),
    Policy.MARKS: Setting(is_on=True, interval_seconds=INTERVAL_SECONDS),
    Policy.BREAKS: Setting(is_on=True, ages_seconds=AGES_SECONDS),
}


def stream(account_id: str) -> str:
    """The stream of the settings of one account; of the firm's, for the account id `firm`."""
    return f"policy:{account_id}"


def setting_of(event: PolicySet) -> Setting:
    """The setting that an event states."""
    return Setting(event.is_on, event.mode, event.interval_seconds, event.ages_seconds)


def effective(settings: Mapping[str, Setting], policy: Policy, account_id: str) -> Setting:
    """The setting of a policy that counts for an account, of those made by account id."""
    return settings.get(account_id) or settings.get(FIRM) or DEFAULTS[policy]


def in_force(own: Policies | None, firm: Policies | None, policy: Policy) -> tuple[Setting, PolicySet | None]:
    """The setting of a policy that counts for an account, and the event that made it; None if it is the default."""
    for known in (own, firm):
        event: PolicySet | None = known.settings.get((policy, "")) if known is not None else None
        if event is not None:
            return setting_of(event), event
    return DEFAULTS[policy], None


def decide(known: Policies | None, firm: Policies | None, request: SetPolicy) -> tuple[PolicyEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused. `firm` are the firm's."""
    _check(request)
    own = known or Policies()
    if request.policy is Policy.HEDGE:
        return _hedge_set(own, request)
    before, event = in_force(own, firm, request.policy)
    wanted = Setting(
        request.is_on, request.mode or before.mode,
        before.interval_seconds if request.interval_seconds is None else request.interval_seconds,
        before.ages_seconds if request.ages_seconds is None else tuple(sorted(set(request.ages_seconds))),
    )  # fmt: skip
    if wanted == before and event is not None and event.account_id == request.account_id:
        return ()
    return (_event(own, request, wanted),)


def _hedge_set(own: Policies, request: SetPolicy) -> tuple[PolicyEvent, ...]:
    band = request.band or _band_of(own, request)
    before: PolicySet | None = own.settings.get((Policy.HEDGE, band.asset))
    if before is not None and (before.is_on, before.band) == (request.is_on, band):
        return ()
    return (_event(own, request, Setting(request.is_on), band),)


def _band_of(own: Policies, request: SetPolicy) -> HedgeBand:
    """The band on record that a request without one is about: that of its asset, or the only one."""
    known = {each.band.asset: each.band for each in own.settings.values() if each.band is not None}
    if request.asset is None and len(known) == 1:
        return next(iter(known.values()))
    if request.asset is not None and request.asset in known:
        return known[request.asset]
    raise RequestRefused(
        "a hedge names its asset, instrument, strategy and band; one on record its asset",
        account_id=request.account_id, asset=request.asset, on_record=" ".join(sorted(known)) or None,
    )  # fmt: skip


def _event(own: Policies, request: SetPolicy, wanted: Setting, band: HedgeBand | None = None) -> PolicySet:
    before: PolicySet | None = own.settings.get((request.policy, band.asset if band else ""))
    return PolicySet(
        request.account_id, request.policy, is_on=wanted.is_on, reason=request.reason,
        version=before.version + 1 if before is not None else 1, transact_time=request.transact_time,
        mode=wanted.mode, interval_seconds=wanted.interval_seconds, band=band,
        ages_seconds=wanted.ages_seconds,
    )  # fmt: skip


_OF_ONE = {
    "mode": Policy.LOSS, "interval_seconds": Policy.MARKS, "ages_seconds": Policy.BREAKS, "band": Policy.HEDGE,
    "asset": Policy.HEDGE,
}  # fmt: skip


def _check(request: SetPolicy) -> None:
    if len(request.reason) > REASON_MAX:
        raise RequestRefused(f"a reason has at most {REASON_MAX} characters", characters=len(request.reason))
    for field, policy in _OF_ONE.items():
        if getattr(request, field) is not None and request.policy is not policy:
            raise RequestRefused(f"only {policy} has the setting {field}", policy=request.policy)
    seconds = request.interval_seconds
    if seconds is not None and not 1 <= seconds <= INTERVAL_SECONDS_MAX:
        raise RequestRefused(f"an interval is of 1 to {INTERVAL_SECONDS_MAX} seconds", interval_seconds=seconds)
    ages = request.ages_seconds
    if ages is not None and not (1 <= len(ages) <= AGES_MAX and all(1 <= age <= AGE_SECONDS_MAX for age in ages)):
        raise RequestRefused(f"1 to {AGES_MAX} ages, each of 1 to {AGE_SECONDS_MAX} seconds", ages_seconds=str(ages))
    if request.policy is Policy.HEDGE and request.account_id == FIRM:
        raise RequestRefused("a hedge is of one account, not of the firm", account_id=request.account_id)
    if request.band is not None:
        _check_band(request.band)


def _check_band(band: HedgeBand) -> None:
    try:
        values.currency(band.asset, "asset")
        values.instrument_id(band.instrument_id, "instrument_id")
        values.name(band.strategy_id, "strategy_id")
        values.positive(band.band, "band")
        values.number(band.target, "target")
    except InvalidInput as error:
        raise RequestRefused(f"{error.field} is {error.rule}", **{error.field: error.value}) from error


def is_loosened(known: Policies | None, firm: Policies | None, request: SetPolicy) -> bool:
    """Whether a request lets a policy do less than it does now, or (HEDGE) send orders that it would not now."""
    match request.policy:
        case Policy.HEDGE:
            return bool(decide(known, firm, request))
        case Policy.LOSS | Policy.SWITCH | Policy.EXPIRY | Policy.MARKS | Policy.BREAKS:
            before, _ = in_force(known, firm, request.policy)
            is_weaker = before.mode is Mode.HALT and request.mode not in (None, Mode.HALT)
            is_rarer = (request.interval_seconds or 0) > (before.interval_seconds or INTERVAL_SECONDS_MAX)
            is_blinder = bool(set(before.ages_seconds or ()) - set(request.ages_seconds or before.ages_seconds or ()))
            return before.is_on and (not request.is_on or is_weaker or is_rarer or is_blinder)
        case _:
            assert_never(request.policy)


def evolve(known: Policies | None, event: PolicyEvent) -> Policies:
    """The settings after an event. Total and unconditional."""
    known = known or Policies()
    place = (event.policy.value, event.band.asset if event.band is not None else "")
    return replace(known, settings=known.settings.put(place, event))

"""Settings of policies, as requests and as records, alike for the API and the command line."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from api.clock import now
from domain import policies, risk
from domain.errors import InvalidInput
from domain.policies import HedgeBand, Policies, Policy, PolicySet, SetPolicy
from domain.risk import FIRM, Mode, Risk
from domain.values import ZERO

if TYPE_CHECKING:
    from projections.reactions.runner import Progress

HEDGE_STRATEGY = "hedge"
State = Callable[[str], Any]


class Hedge(NamedTuple):
    """The settings of a hedge, as far as they are given."""

    asset: str | None = None
    instrument_id: str | None = None
    strategy_id: str | None = None
    band: Decimal | None = None
    target: Decimal | None = None

    def to_band(self) -> HedgeBand | None:
        """Return the band; None if at most the asset is given. Raises InvalidInput for one that lacks something."""
        if not any(value is not None for value in self[1:]):
            return None
        rule = "given: a hedge has an asset, an instrument_id and a band"
        if self.asset is None:
            raise InvalidInput("asset", None, rule)
        if self.instrument_id is None:
            raise InvalidInput("instrument_id", None, rule)
        if self.band is None:
            raise InvalidInput("band", None, rule)
        strategy_id, target = self.strategy_id or HEDGE_STRATEGY, self.target or ZERO
        return HedgeBand(self.asset, self.instrument_id, strategy_id, self.band, target=target)


def setting_request(
    account_id: str,
    policy: Policy,
    *,
    is_on: bool,
    reason: str,
    mode: Mode | None = None,
    interval_seconds: int | None = None,
    ages_seconds: Sequence[int] | None = None,
    hedge: Hedge = Hedge(),
) -> SetPolicy:
    """Return the request that sets a policy. Raises InvalidInput for an incomplete hedge."""
    return SetPolicy(
        account_id, policy, is_on=is_on, reason=reason, transact_time=now(), mode=mode,
        interval_seconds=interval_seconds, band=hedge.to_band(), asset=hedge.asset,
        ages_seconds=None if ages_seconds is None else tuple(ages_seconds),
    )  # fmt: skip


def is_acting(state: State, account_id: str, policy: Policy, asset: str | None) -> bool:
    """Whether a policy is on for an account, or one of its hedges; False for an asset of another policy than HEDGE."""
    own: Policies | None = state(policies.stream(account_id))
    if policy is not Policy.HEDGE:
        return asset is None and policies.in_force(own, state(policies.stream(FIRM)), policy)[0].is_on
    return any(each.band and each.band.asset == asset and each.is_on for each in (own.settings.values() if own else ()))


def policy_records(state: State, account_id: str | None = None) -> list[dict[str, Any]]:
    """Return the policies of an account as they count for it; without one those of the firm, and all that accounts have
    set for themselves.
    """
    firm: Policies | None = state(policies.stream(FIRM))
    if account_id not in (None, FIRM):
        assert account_id is not None, "narrowed above"
        own: Policies | None = state(policies.stream(account_id))
        return [*_effective(account_id, own, firm), *_hedges(own)]
    found = _effective(FIRM, None, firm)
    if account_id is None:
        known: Risk | None = state(risk.stream(FIRM))
        for name in sorted(known.accounts if known else ()):
            own = state(policies.stream(name))
            made = [each for each in _effective(name, own, None) if each["set_for"] == name]
            found += [*made, *_hedges(own)]
    return found


def _effective(account_id: str, own: Policies | None, firm: Policies | None) -> list[dict[str, Any]]:
    found = []
    for policy in Policy:
        if policy is not Policy.HEDGE:
            setting, event = policies.in_force(own, firm, policy)
            found.append(
                _record(account_id, policy, event)
                | {
                    "is_on": setting.is_on,
                    "mode": setting.mode,
                    "interval_seconds": setting.interval_seconds,
                    "ages_seconds": setting.ages_seconds,
                }
            )
    return found


def _hedges(own: Policies | None) -> list[dict[str, Any]]:
    events = [each for _, each in sorted(own.settings.items())] if own is not None else []
    return [setting_record(event) for event in events if event.band is not None]


def setting_record(event: PolicySet) -> dict[str, Any]:
    """Return a setting as a record."""
    return _record(event.account_id, event.policy, event)


def _record(account_id: str, policy: Policy, event: PolicySet | None) -> dict[str, Any]:
    band = event.band if event is not None else None
    return {
        "account_id": account_id, "policy": policy, "is_on": event.is_on if event else False,
        "mode": event.mode if event else None, "interval_seconds": event.interval_seconds if event else None,
        "ages_seconds": event.ages_seconds if event else None,
        "asset": band.asset if band else None, "instrument_id": band.instrument_id if band else None,
        "strategy_id": band.strategy_id if band else None, "band": band.band if band else None,
        "target": band.target if band else None, "set_for": event.account_id if event else None,
        "version": event.version if event else 0, "reason": event.reason if event else None,
        "transact_time": event.transact_time if event else None,
    }  # fmt: skip


def record_of(state: State, request: SetPolicy) -> dict[str, Any]:
    """Return the setting that a request was about, as it is now."""
    asset = request.band.asset if request.band is not None else request.asset
    for record in policy_records(state, request.account_id):
        if record["policy"] is request.policy and asset in (None, record["asset"]):
            return record
    raise AssertionError("a setting that was made is on record")


def reaction_record(one: "Progress") -> dict[str, Any]:
    """Return the progress of a policy's process manager as a record."""
    return one._asdict() | {"reaction": one.reaction.upper()}

"""Settings of policies: what is refused, what counts, and what lets a policy do less."""

from decimal import Decimal as D
from typing import Any

import pytest

from adapters.log.memory import MemoryLog
from domain import policies
from domain.account import Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import ListInstrument
from domain.ledger import Ledger, scan
from domain.policies import HedgeBand, Policies, Policy, PolicySet, SetPolicy, Setting
from domain.risk import FIRM, Mode
from tests.derived import derived
from tests.desk import BTC, SPOT, T0

BAND = HedgeBand("BTC", BTC, "hedge", D(1))


def setting(policy: Policy, account: str = FIRM, *, is_on: bool = True, **more: Any) -> SetPolicy:
    return SetPolicy(account, policy, is_on=is_on, reason="", transact_time=T0, **more)


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger(MemoryLog(), lambda: T0)
    made.request(OpenAccount("main", "USDT", Costing(), T0), actor="ada")
    made.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="ada")
    return made


def in_force(ledger: Ledger, policy: Policy, account: str = "main") -> Setting:
    own, firm = (ledger.state(policies.stream(each)) for each in (account, FIRM))
    return policies.in_force(own, firm, policy)[0]


REFUSED = {
    "the mode is of LOSS": setting(Policy.SWITCH, mode=Mode.HALT),
    "the interval is of MARKS": setting(Policy.LOSS, interval_seconds=5),
    "an interval has an end": setting(Policy.MARKS, interval_seconds=86401),
    "an interval has a length": setting(Policy.MARKS, interval_seconds=0),
    "ages are of BREAKS": setting(Policy.EXPIRY, ages_seconds=(5,)),
    "there is an age": setting(Policy.BREAKS, ages_seconds=()),
    "a reason has an end": SetPolicy(FIRM, Policy.LOSS, is_on=True, reason="x" * 501, transact_time=T0),
    "the firm has no hedge": setting(Policy.HEDGE, band=BAND),
    "a hedge has a band": setting(Policy.HEDGE, "main"),
    "a hedge is known by its asset": setting(Policy.HEDGE, "main", is_on=False, asset="ETH"),
    "a band is above zero": setting(Policy.HEDGE, "main", band=HedgeBand("BTC", BTC, "hedge", D(0))),
    "a hedge trades what is listed": setting(Policy.HEDGE, "main", band=HedgeBand("BTC", "X.Y", "hedge", D(1))),
    "a hedge trades its asset": setting(Policy.HEDGE, "main", band=HedgeBand("ETH", BTC, "hedge", D(1))),
    "an account is open": setting(Policy.LOSS, "other"),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_a_setting_that_makes_no_sense_is_refused_and_changes_nothing(ledger: Ledger, request_: SetPolicy) -> None:
    before = ledger._log.head().seq
    with pytest.raises(RequestRefused):
        ledger.request(request_, actor="ada")
    assert ledger._log.head().seq == before


def test_an_accounts_setting_counts_before_the_firms_and_that_before_the_default(ledger: Ledger) -> None:
    assert in_force(ledger, Policy.LOSS) == Setting(is_on=True, mode=Mode.REDUCE_ONLY)
    ledger.request(setting(Policy.LOSS, mode=Mode.HALT), actor="ada")
    assert in_force(ledger, Policy.LOSS).mode is Mode.HALT
    ledger.request(setting(Policy.LOSS, "main", is_on=False), actor="ada")
    assert in_force(ledger, Policy.LOSS) == Setting(is_on=False, mode=Mode.HALT), "what is not named stays"
    assert in_force(ledger, Policy.LOSS, FIRM).is_on


def test_the_same_setting_again_adds_nothing_and_all_follow_from_their_requests(ledger: Ledger) -> None:
    requests = (
        setting(Policy.LOSS, mode=Mode.HALT),
        setting(Policy.MARKS, interval_seconds=5),
        setting(Policy.BREAKS, "main", ages_seconds=(7200, 3600)),
        setting(Policy.HEDGE, "main", band=BAND),
        setting(Policy.HEDGE, "main", is_on=False),
        setting(Policy.EXPIRY, is_on=False),
    )
    for request in requests:
        assert len(ledger.request(request, actor="ada").records) == 1
    for request in (*requests[:3], *requests[4:]):
        assert ledger.request(request, actor="ada").records == ()
    records = [each.recorded for each in scan(ledger._log)]
    assert derived(records).faults == ()
    settings = [each.event for each in records if isinstance(each.event, PolicySet)]
    assert [each.version for each in settings] == [1, 1, 1, 1, 2, 1]
    assert settings[2].ages_seconds == (3600, 7200)
    assert settings[4].band == BAND and not settings[4].is_on


def known(*requests: SetPolicy) -> Policies | None:
    state: Policies | None = None
    for request in requests:
        for event in policies.decide(state, None, request):
            state = policies.evolve(state, event)
    return state


HALTING = setting(Policy.LOSS, "main", mode=Mode.HALT)
LOOSER = [
    ((), setting(Policy.LOSS, "main", is_on=False), True),
    ((), setting(Policy.LOSS, "main", mode=Mode.HALT), False),
    ((HALTING,), setting(Policy.LOSS, "main", mode=Mode.REDUCE_ONLY), True),
    ((HALTING,), setting(Policy.LOSS, "main"), False),
    ((), setting(Policy.MARKS, "main", interval_seconds=61), True),
    ((), setting(Policy.MARKS, "main", interval_seconds=59), False),
    ((), setting(Policy.BREAKS, "main", ages_seconds=(3600,)), True),
    ((), setting(Policy.BREAKS, "main", ages_seconds=(60, 3600, 86400, 604800, 2592000)), False),
    ((setting(Policy.EXPIRY, "main", is_on=False),), setting(Policy.EXPIRY, "main"), False),
    ((setting(Policy.EXPIRY, "main", is_on=False),), setting(Policy.EXPIRY, "main", is_on=False), False),
    ((), setting(Policy.HEDGE, "main", band=BAND), True),
    ((setting(Policy.HEDGE, "main", band=BAND),), setting(Policy.HEDGE, "main", band=BAND), False),
    ((setting(Policy.HEDGE, "main", band=BAND),), setting(Policy.HEDGE, "main", is_on=False), True),
]


@pytest.mark.parametrize(("before", "request_", "is_loosened"), LOOSER)
def test_less_than_before_is_looser_and_so_is_any_change_of_a_hedge(
    before: tuple[SetPolicy, ...], request_: SetPolicy, is_loosened: bool
) -> None:
    assert policies.is_loosened(known(*before), None, request_) is is_loosened

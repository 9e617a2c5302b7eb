"""Dead man's switches: armed, disarmed and fired, once each time, with all that follows in one unit of work."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain import risk
from domain.access import Part
from domain.account import Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import OrderCancelRequested, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import (
    ArmDeadManSwitch,
    DeadManSwitchArmed,
    DeadManSwitchDisarmed,
    DeadManSwitchFired,
    DisarmDeadManSwitch,
    FireDeadManSwitch,
    SwitchEngaged,
)
from domain.values import Side
from tests.derived import derived
from tests.given import Given

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
after = Given(risk)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def arm(countdown_ms: int = 30_000, strategy: str | None = None, seconds: float = 0, **more: Any) -> ArmDeadManSwitch:
    return ArmDeadManSwitch("main", strategy, countdown_ms, at(seconds), **more)


def armed(countdown_ms: int = 30_000, version: int = 1, seconds: float = 0) -> DeadManSwitchArmed:
    return DeadManSwitchArmed("main", None, countdown_ms, False, version, at(seconds))


def fire(version: int = 1, deadline: float = 30, now: float = 31) -> FireDeadManSwitch:
    return FireDeadManSwitch("main", None, version, at(deadline - 30), at(deadline), at(now))


FIRED = DeadManSwitchFired("main", None, 30_000, False, 1, at(0), at(30), at(31))


def test_a_switch_is_armed_once_and_again_with_another_countdown():
    scene = after().when(arm()).then(armed()).repeated().then()
    scene = after(armed()).when(arm(10_000, seconds=5)).then(armed(10_000, 2, 5))
    scene.when(DisarmDeadManSwitch("main", None, at(6))).then(DeadManSwitchDisarmed("main", None, 2, at(6)))
    after().when(DisarmDeadManSwitch("main", None, at(6))).then()


def test_a_switch_fires_once_for_each_time_it_was_armed():
    scene = after(armed()).when(fire()).then(FIRED).repeated().then()
    scene = after(armed(), FIRED).when(arm(seconds=40)).then(armed(version=2, seconds=40))
    scene.when(fire(1)).then()
    after(armed(), DeadManSwitchDisarmed("main", None, 1, at(20))).when(fire()).then()


def test_a_countdown_that_has_not_passed_is_not_fired():
    with pytest.raises(RequestRefused, match="a countdown that has passed"):
        risk.decide(after(armed()).state, fire(deadline=30, now=29))


@pytest.mark.parametrize("countdown_ms", [-1, 0, 999, 86_400_001])
def test_a_countdown_is_of_a_second_to_a_day(countdown_ms):
    with pytest.raises(RequestRefused, match="a countdown of 1000 to 86400000 ms"):
        risk.decide(None, arm(countdown_ms))


class Book:
    """A ledger with two accounts."""

    def __init__(self) -> None:
        self.now = T0
        self.log = MemoryLog()
        self.ledger = Ledger(self.log, lambda: self.now)
        self.request(OpenAccount("main", "USDT", Costing(), T0))
        self.request(OpenAccount("other", "USDT", Costing(), T0))
        spot = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
        self.request(ListInstrument(BTC, spot, D("0.01"), D("0.001")))

    def request(self, request: Any, actor: Any = "bot") -> Any:
        return self.ledger.request(request, actor=actor)

    def submit(self, name: str, strategy: str = "maker", account: str = "main") -> None:
        terms = OrderTerms(strategy, BTC, Side.BUY, OrdType.LIMIT, D(1), D(100))
        self.request(SubmitOrder(OrderKey(account, name), terms, self.now))

    def status(self, name: str, account: str = "main") -> str:
        return str(self.ledger.state(f"order:{account}:{name}").status)

    def check(self) -> None:
        """Everything on record follows when it is decided again."""
        found = derived([logged.recorded for logged in scan(self.log)])
        assert not found.faults, "\n".join(map(str, found.faults))


def fired(strategy: str | None = None, version: int = 1, now: float = 31) -> FireDeadManSwitch:
    return FireDeadManSwitch("main", strategy, version, at(0), at(30), at(now))


def test_a_switch_that_fires_cancels_the_working_orders_of_its_scope_in_the_same_append():
    book = Book()
    for name, strategy, account in (("A", "maker", "main"), ("B", "trend", "main"), ("C", "maker", "other")):
        book.submit(name, strategy, account)
    book.request(arm(strategy="maker"))
    before = book.log.head().seq
    book.request(fired("maker"), actor=Part("policy:DEAD_MAN"))
    events = [logged.recorded for logged in scan(book.log, after=before)]
    assert [type(each.event) for each in events] == [DeadManSwitchFired, OrderCancelRequested]
    assert events[1].event.reason == "dead man's switch: no sign of life for 30000 ms"
    assert events[1].actor == "policy:DEAD_MAN"
    assert [book.status("A"), book.status("B"), book.status("C", "other")] == [
        "PENDING_CANCEL", "PENDING_NEW", "PENDING_NEW",
    ]  # fmt: skip
    book.submit("D")
    book.request(fired("maker"))
    assert book.status("D") == "PENDING_NEW", "once for each time it is armed"
    book.check()


def test_a_switch_that_halts_engages_the_kill_switch_before_it_cancels():
    book = Book()
    book.submit("A")
    book.request(arm(halts=True))
    before = book.log.head().seq
    book.request(fired())
    kinds = [type(logged.recorded.event) for logged in scan(book.log, after=before)]
    assert kinds == [DeadManSwitchFired, SwitchEngaged, OrderCancelRequested]
    with pytest.raises(RequestRefused, match="the kill switch is not engaged"):
        book.submit("B")
    book.check()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_any_day_with_switches_follows_and_each_fires_once(seed):
    draw = random.Random(seed)
    book = Book()
    for number in range(40):
        book.now = at(number)
        strategy = draw.choice((None, "maker"))
        match draw.randrange(6):
            case 0 | 1 | 2:
                book.submit(f"N-{number}", draw.choice(("maker", "trend")), draw.choice(("main", "other")))
            case 3:
                book.request(arm(draw.choice((10_000, 30_000)), strategy, number))
            case 4:
                book.request(DisarmDeadManSwitch("main", strategy, at(number)))
            case _:
                known = book.ledger.state("limit:main")
                switch = known.dead_man.get(strategy or "") if known else None
                version = switch.armed.version if switch else 1
                request = FireDeadManSwitch("main", strategy, version, at(0), at(number), at(number))
                done = book.request(request)
                if done.records and strategy is None:
                    assert {book.status(key.cl_ord_id) for key in known.holds} <= {"PENDING_CANCEL"}
    events = [logged.recorded.event for logged in scan(book.log)]
    once = [(event.strategy_id, event.version) for event in events if isinstance(event, DeadManSwitchFired)]
    assert len(once) == len(set(once))
    book.check()

"""Dead man's switches: armed, disarmed and fired, once each time; what follows is the same however often it is read."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain import dead_man, risk
from domain.account import Costing, OpenAccount
from domain.dead_man import Passed, Reaction, State
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import CancelOrders, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import (
    ArmDeadManSwitch,
    DeadManSwitchArmed,
    DeadManSwitchDisarmed,
    DeadManSwitchFired,
    DisarmDeadManSwitch,
    EngageSwitch,
    FireDeadManSwitch,
    Mode,
    Scope,
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
    """A ledger, and the process manager that follows it; it may be killed between any two of its requests."""

    def __init__(self) -> None:
        self.now = T0
        self.log = MemoryLog()
        self.ledger = Ledger(self.log, lambda: self.now)
        self.sent: list[Reaction] = []
        self.request(OpenAccount("main", "USDT", Costing(), T0))
        self.request(OpenAccount("other", "USDT", Costing(), T0))
        spot = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
        self.request(ListInstrument(BTC, spot, D("0.01"), D("0.001")))

    def request(self, request: Any, actor: Any = "bot", request_id: str = "") -> None:
        self.ledger.request(request, actor=actor, request_id=request_id)

    def submit(self, name: str, strategy: str = "maker", account: str = "main") -> None:
        terms = OrderTerms(strategy, BTC, Side.BUY, OrdType.LIMIT, D(1), D(100))
        self.request(SubmitOrder(OrderKey(account, name), terms, self.now))

    def followed(self, passed: list[Passed], *, killed_after: int | None = None) -> None:
        """Follow the log from its start, and carry out what follows; killed after so many requests."""
        state, seq, sent = State(), 0, 0
        while True:
            reactions: list[Reaction] = []
            for logged in scan(self.log, after=seq):
                state, found = dead_man.react(state, logged)
                seq = logged.seq
                reactions += found
            state, found = dead_man.due(dead_man.with_passed(state, passed), self.now)
            reactions += found
            if not reactions:
                return
            for reaction in reactions:
                if sent == killed_after:
                    return
                self.request(reaction.request, reaction.identity, reaction.request_id)
                self.sent.append(reaction)
                sent += 1

    def status(self, name: str, account: str = "main") -> str:
        return str(self.ledger.state(f"order:{account}:{name}").status)


def passed(version: int = 1, strategy: str | None = None, deadline: float = 30) -> Passed:
    return Passed("main", strategy, version, at(deadline - 30), at(deadline))


def test_a_countdown_that_has_passed_cancels_the_working_orders_of_its_scope():
    book = Book()
    for name, strategy, account in (("A", "maker", "main"), ("B", "trend", "main"), ("C", "maker", "other")):
        book.submit(name, strategy, account)
    book.request(arm(strategy="maker"))
    book.now = at(31)
    book.followed([passed(strategy="maker")])
    assert [book.status("A"), book.status("B"), book.status("C", "other")] == [
        "PENDING_CANCEL", "PENDING_NEW", "PENDING_NEW",
    ]  # fmt: skip
    assert [type(each.request) for each in book.sent] == [FireDeadManSwitch, CancelOrders]
    canceled = [each for each in scan(book.log) if each.recorded.stream == "order:main:A"][-1].recorded
    assert canceled.event.reason == "dead man's switch: no sign of life for 30000 ms"
    assert canceled.actor == "policy:DEAD_MAN" and canceled.request_id.startswith("dead-man-")


def test_a_switch_that_halts_engages_the_kill_switch_before_it_cancels():
    book = Book()
    book.submit("A")
    book.request(arm(halts=True))
    book.now = at(31)
    book.followed([passed()])
    assert [type(each.request) for each in book.sent] == [FireDeadManSwitch, EngageSwitch, CancelOrders]
    with pytest.raises(RequestRefused, match="the kill switch is not engaged"):
        book.submit("B")
    assert book.ledger.state("limit:main").switches[Scope()].mode is Mode.HALT


def test_more_orders_than_one_request_takes_are_canceled_by_several(monkeypatch):
    monkeypatch.setattr(dead_man, "CANCELED_MAX", 2)
    book = Book()
    for name in "ABCDE":
        book.submit(name)
    book.request(arm())
    book.now = at(31)
    book.followed([passed()])
    assert [len(each.request.cl_ord_ids) for each in book.sent[1:]] == [2, 2, 1]
    assert {book.status(name) for name in "ABCDE"} == {"PENDING_CANCEL"}


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_a_crash_at_any_point_neither_repeats_nor_forgets(seed):
    """However often it is killed, each switch fires once for each time it was armed; every order is canceled once."""
    draw = random.Random(seed)
    book, version, is_armed = Book(), 0, False
    for number in range(12):
        book.now = at(number * 40)
        for each in range(draw.randrange(4)):
            book.submit(f"N-{number}-{each}", draw.choice(("maker", "trend")))
        if draw.random() < 0.6 and not is_armed:
            version, is_armed = version + 1, True
            book.request(arm(seconds=number * 40, halts=False))
        elif is_armed and draw.random() < 0.7:
            over = [passed(version, deadline=number * 40)]
            for _ in range(draw.randrange(4)):
                book.followed(over, killed_after=draw.randrange(3))
            working = {name for name, order in _orders(book).items() if order == "PENDING_NEW"}
            book.followed(over)
            is_armed = False
            assert all(_orders(book)[name] == "PENDING_CANCEL" for name in working)
    events = [logged.recorded.event for logged in scan(book.log)]
    fired = [event.version for event in events if isinstance(event, DeadManSwitchFired)]
    assert fired == sorted(set(fired)), "once each"
    requested = [event.key for event in events if type(event).__name__ == "OrderCancelRequested"]
    assert len(requested) == len(set(requested))
    found = derived([logged.recorded for logged in scan(book.log)])
    assert not found.faults, "\n".join(map(str, found.faults))


def _orders(book: Book) -> dict[str, str]:
    streams = {each.recorded.stream for each in scan(book.log) if each.recorded.stream.startswith("order:main:")}
    return {stream.rpartition(":")[2]: book.status(stream.rpartition(":")[2]) for stream in streams}

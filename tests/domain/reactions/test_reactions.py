"""Policies: what a history calls for, the same whenever it is replayed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain import risk
from domain.account import BalanceLine, BreakKind, BreakOpened, Costing, OpenAccount, break_of
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, Logged, Recorded
from domain.order import (
    CancelOrder,
    Changes,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderFilled,
    OrderKey,
    OrderReplaced,
    OrderTerms,
    OrdType,
    ReplaceOrder,
    SubmitOrder,
    TimeInForce,
)
from domain.policies import HedgeBand, Policy, SetPolicy
from domain.reactions import hedge, loss
from domain.reactions.catalog import PROCESSES
from domain.risk import FIRM, AssessMarks, EngageSwitch, LimitBreached, Measure, Mode, ReleaseSwitch, Scope, SetLimit
from domain.values import ZERO, Liquidity, Mark, Money, Side
from tests.derived import derived

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC, PERP, INV = "BTCUSDT.SIM", "BTCPERP.SIM", "BTCUSD.MEX"
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    PERP: Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.1")),
    INV: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
}
BAND = HedgeBand("BTC", PERP, "hedge", D(1))


class Desk:
    """A ledger and the policies that follow its log; `follow` sends what they request until they request no more."""

    def __init__(self, band=None, accounts=("main",)):
        self.log = MemoryLog()
        self.now = T0
        self.marks = {}
        self.ledger = Ledger(self.log, lambda: self.now, self.marks.get)
        self.states = {process.name: process.state() for process in PROCESSES}
        self.seq = 0
        self.refusals = []
        for account in accounts:
            self.request(OpenAccount(account, "USDT", Costing(), T0))
        for instrument, contract in CONTRACTS.items():
            self.request(ListInstrument(instrument, contract, D("0.01"), D("0.001") if instrument == BTC else D(1)))
        if band is not None:
            self.request(SetPolicy("main", Policy.HEDGE, is_on=True, reason="", transact_time=T0, band=band))

    def request(self, *requests):
        for request in requests:
            self.ledger.request(request, actor="trader")
        return self

    def reported(self, *reports):
        for report in reports:
            self.ledger.report([report], actor="venue")
        return self

    def follow(self, *, sends=True):
        new, is_behind = [], True
        while is_behind:
            for logged in self.log.select(after=self.seq, limit=100_000):
                self.seq = logged.seq
                for process in PROCESSES:
                    self.states[process.name], reactions = process.react(self.states[process.name], logged)
                    new += self.sent(reactions, sends=sends)
            new += self.fired(sends=sends)
            is_behind = self.log.head().seq > self.seq
        return new

    def fired(self, *, sends=True):
        new = []
        for process in PROCESSES:
            next_due = process.next_due(self.states[process.name])
            self.states[process.name], reactions = process.due(self.states[process.name], self.now)
            assert not reactions or next_due <= self.now
            new += self.sent(reactions, sends=sends)
        return new

    def sent(self, reactions, *, sends):
        for reaction in reactions if sends else ():
            self.send(reaction)
        return [reaction for reaction in reactions if reaction.is_once]

    def send(self, reaction):
        """What a policy requests may be refused like anything else: the order has ended by now, a limit is reached."""
        named = {"actor": reaction.identity, "request_id": reaction.request_id, "cause": reaction.cause}
        try:
            if isinstance(reaction.request, tuple):
                self.ledger.report(reaction.request, **named)
            else:
                self.ledger.request(reaction.request, **named)
        except RequestRefused as refusal:
            self.refusals.append(refusal.rule)

    def replayed(self):
        """The states after the log, and all that was to be sent once."""
        states, requested = {process.name: process.state() for process in PROCESSES}, []
        for process in PROCESSES:
            state = states[process.name]
            for logged in self.log.select(limit=100_000):
                state, reactions = process.react(state, logged)
                requested += reactions
            states[process.name], reactions = process.due(state, self.now)
            requested += reactions
        return states, [reaction for reaction in requested if reaction.is_once]


def submit(name, qty="1", side=Side.BUY, instrument=BTC, account="main", strategy="trend", until=None):
    in_force = TimeInForce.GTC if until is None else TimeInForce.GTD
    terms = OrderTerms(strategy, instrument, side, OrdType.LIMIT, D(qty), D(100), in_force, until)
    return SubmitOrder(OrderKey(account, name), terms, T0)


def fill(name, exec_id, qty="1", side=Side.BUY, price="100", instrument=BTC, account="main", strategy="trend"):
    return OrderFilled(
        OrderKey(account, name), strategy, instrument, "", side, exec_id, 0, D(qty), D(price), Money(ZERO, "USDT"),
        Liquidity.TAKER, T0,
    )  # fmt: skip


def breached(measure, scope=None, account="main"):
    event = LimitBreached(account, scope or Scope(), measure, "", 3, D(50), "USDT", D("50.5"), (), T0)
    return Logged(7, Recorded(f"limit:{account}", 7, T0, "feed", "", event))


def switch_request(reactions):
    return [(r.request.account_id, r.request.scope, r.request.mode) for r in reactions if r.policy is Policy.LOSS]


def canceled(reactions):
    return [r.request.key.cl_ord_id for r in reactions if isinstance(r.request, CancelOrder)]


# Loss and drawdown.


@pytest.mark.parametrize("measure", [Measure.MAX_DAILY_LOSS, Measure.MAX_DRAWDOWN])
def test_a_breached_loss_engages_the_switch_of_its_scope_with_a_reason(measure):
    _, (reaction,) = loss.react(loss.State(), breached(measure, Scope("trend")))
    assert reaction.request == EngageSwitch(
        "main", Scope("trend"), Mode.REDUCE_ONLY, f"{measure} of 50 exceeded: 50.5, limit version 3", T0,
        only_tightens=True,
    )  # fmt: skip
    assert (reaction.actor, reaction.request_id, reaction.cause) == ("policy:LOSS", "loss-7", "event:7")


def test_other_breaches_engage_nothing():
    assert loss.react(loss.State(), breached(Measure.MAX_GROSS_EXPOSURE))[1] == ()


def set_policy(policy, *, account=FIRM, is_on=True, **more):
    return SetPolicy(account, policy, is_on=is_on, reason="", transact_time=T0, **more)


def lost(desk, price=80):
    """A loss of 60 at a limit of 50."""
    desk.request(SetLimit("main", Scope(), Measure.MAX_DAILY_LOSS, D(50), "USDT", T0))
    desk.reported(fill("X", "E1", "3"))
    desk.marks[BTC] = Mark(BTC, D(price), "SIM", T0)
    return desk


def test_an_accounts_own_setting_counts_before_the_firms():
    desk = Desk()
    desk.request(set_policy(Policy.LOSS, is_on=False), set_policy(Policy.LOSS, account="main", mode=Mode.HALT))
    assert switch_request(lost(desk).follow()) == [("main", Scope(), Mode.HALT)]
    desk = Desk()
    desk.request(set_policy(Policy.LOSS, is_on=False))
    assert lost(desk).follow() == []


def test_a_loss_never_loosens_a_switch_that_a_person_has_engaged():
    desk = lost(Desk())
    desk.request(EngageSwitch("main", Scope(), Mode.HALT, "by hand", T0))
    assert len(switch_request(desk.follow())) == 1
    assert desk.ledger.state(risk.stream("main")).switches[Scope()].mode is Mode.HALT


def test_a_switch_that_a_person_releases_stays_released_while_the_breach_lasts():
    desk = lost(Desk())
    desk.follow()
    desk.request(ReleaseSwitch("main", Scope(), "known", T0))
    desk.now += timedelta(minutes=5)
    assert desk.follow() == []
    assert Scope() not in desk.ledger.state(risk.stream("main")).switches


def test_a_switch_of_an_account_whose_policy_is_off_cancels_nothing_there():
    desk = Desk(accounts=("main", "second"))
    desk.request(set_policy(Policy.SWITCH, account="second", is_on=False))
    desk.request(submit("A"), submit("B", account="second"))
    desk.request(EngageSwitch(FIRM, Scope(), Mode.HALT, "test", T0))
    assert canceled(desk.follow()) == ["A"]


# Marks.


def test_a_loss_by_a_fill_or_a_mark_alone_is_found_without_being_looked_for():
    desk = lost(Desk(), 100)
    assert desk.follow() == []
    desk.now += timedelta(seconds=59)
    desk.marks[BTC] = Mark(BTC, D(80), "SIM", desk.now)
    assert desk.follow() == []
    desk.now += timedelta(seconds=1)
    assert switch_request(desk.follow()) == [("main", Scope(), Mode.REDUCE_ONLY)]
    (logged,) = [each for each in desk.log.select() if isinstance(each.recorded.event, LimitBreached)]
    assert (logged.recorded.actor, logged.recorded.cause) == ("policy:MARKS", "timer")


def test_a_daily_loss_engages_the_switch_and_cancels_what_would_add_to_it():
    desk = Desk()
    desk.request(SetLimit("main", Scope(), Measure.MAX_DAILY_LOSS, D(50), "USDT", T0))
    desk.request(submit("buy", "5"), submit("close", "2", Side.SELL), submit("other", "1", strategy="carry"))
    desk.reported(fill("buy", "E1", "3"))
    assert desk.follow() == []
    desk.request(AssessMarks("main", (Mark(BTC, D(80), "SIM", T0),), T0))
    reactions = desk.follow()
    assert switch_request(reactions) == [("main", Scope(), Mode.REDUCE_ONLY)]
    assert canceled(reactions) == ["buy", "other"]
    with pytest.raises(RequestRefused, match="REDUCE_ONLY"):
        desk.request(submit("more"))
    assert desk.follow() == []
    assert desk.ledger.state("order:main:buy").is_cancel_requested
    assert desk.ledger.state(risk.stream("main")).switches[Scope()].actor == "policy:LOSS"


def test_halt_cancels_all_of_its_scope_and_the_firms_everywhere():
    desk = Desk(accounts=("main", "second"))
    desk.reported(fill("X", "E1", "3"))
    desk.request(submit("close", "2", Side.SELL), submit("other", account="second", strategy="carry"))
    desk.follow()
    desk.request(EngageSwitch("main", Scope("carry"), Mode.HALT, "test", T0))
    assert desk.follow() == []
    desk.request(EngageSwitch(FIRM, Scope(), Mode.HALT, "test", T0))
    reactions = desk.follow()
    assert canceled(reactions) == ["close", "other"]
    assert {reaction.actor for reaction in reactions} == {"policy:SWITCH"}


def test_orders_that_close_more_than_there_is_are_canceled_at_reduce_only():
    desk = Desk()
    desk.reported(fill("X", "E1", "3"))
    desk.request(submit("a", "2", Side.SELL), submit("b", "2", Side.SELL))
    desk.follow()
    desk.request(EngageSwitch("main", Scope(), Mode.REDUCE_ONLY, "test", T0))
    assert canceled(desk.follow()) == ["a", "b"]


# Good till date.

SEQ_A = 6  # of the first event after an account, registered with the firm, and three instruments


def test_an_order_is_canceled_once_when_its_date_has_passed():
    until = T0 + timedelta(hours=1)
    desk = Desk()
    desk.request(submit("A", until=until), submit("B", until=until + timedelta(hours=1)), submit("C"))
    assert desk.follow() == []
    desk.now = until
    (reaction,) = desk.follow()
    assert reaction.request == CancelOrder(OrderKey("main", "A"), "good till date has passed", until)
    assert (reaction.request_id, reaction.actor) == (f"expiry-{SEQ_A}-main-A", "policy:EXPIRY")
    assert reaction.cause == f"event:{SEQ_A}"
    desk.now += timedelta(hours=2)
    assert canceled(desk.fired()) == ["B"]
    desk.now += timedelta(hours=1)
    assert desk.follow() == []


def test_an_order_that_has_ended_is_not_canceled():
    until = T0 + timedelta(hours=1)
    desk = Desk()
    desk.request(submit("A", until=until), submit("B", until=until), submit("C", until=until))
    desk.reported(fill("A", "E1"), OrderCanceled(OrderKey("main", "B"), "user", T0))
    desk.request(CancelOrder(OrderKey("main", "C"), "user", T0))
    assert desk.follow() == []
    desk.now = until
    assert desk.follow() == []


def test_dates_that_pass_while_the_policy_is_off_are_dropped():
    until = T0 + timedelta(hours=1)
    desk = Desk()
    desk.request(submit("A", until=until), submit("B", until=until + timedelta(hours=1)))
    desk.request(set_policy(Policy.EXPIRY, account="main", is_on=False))
    desk.now = until
    assert desk.follow() == []
    desk.now += timedelta(minutes=30)
    desk.request(set_policy(Policy.EXPIRY, account="main"))
    desk.now += timedelta(hours=1)
    assert canceled(desk.follow()) == ["B"]


def test_a_replaced_date_is_the_one_that_counts():
    until, later = T0 + timedelta(hours=1), T0 + timedelta(hours=2)
    desk = Desk()
    desk.request(submit("A", until=until), ReplaceOrder(OrderKey("main", "A"), "A2", Changes(expire_time=later), T0))
    desk.reported(OrderAccepted(OrderKey("main", "A"), "V1", T0))
    desk.reported(OrderReplaced(OrderKey("main", "A"), T0 + timedelta(seconds=1), requested_as="A2"))
    desk.now = until
    assert desk.follow() == []
    desk.now = later
    assert canceled(desk.follow()) == ["A"]


def rejected(cl_ord_id, at):
    return OrderCancelRejected(OrderKey("main", cl_ord_id), "venue is down", at)


def test_a_cancel_that_its_venue_rejects_is_requested_again_ever_later_under_another_id():
    until = T0 + timedelta(hours=1)
    desk = Desk()
    desk.request(submit("A", until=until))
    desk.now = until
    ids = {reaction.request_id for reaction in desk.follow()}
    for minutes in (1, 2, 4, 8, 16, 32, 64, 64):
        desk.reported(rejected("A", desk.now))
        desk.now += timedelta(minutes=minutes, seconds=-1)
        assert desk.follow() == [], "not before its time"
        desk.now += timedelta(seconds=1)
        (reaction,) = desk.follow()
        assert reaction.request_id not in ids, "an id is not used again"
        ids.add(reaction.request_id)
    desk.now += timedelta(days=1)
    assert desk.follow() == [], "a request that is not answered stands"
    desk.reported(rejected("A", desk.now), OrderCanceled(OrderKey("main", "A"), "at last", desk.now))
    desk.now += timedelta(days=1)
    assert (desk.follow(), desk.refusals) == ([], [])


def test_an_order_whose_cancel_was_rejected_before_its_date_is_canceled_at_its_date():
    until = T0 + timedelta(hours=1)
    desk = Desk()
    desk.request(submit("A", until=until), CancelOrder(OrderKey("main", "A"), "user", T0))
    desk.reported(rejected("A", T0))
    assert desk.follow() == []
    desk.now = until
    assert canceled(desk.follow()) == ["A"]


def test_a_setting_that_is_set_again_forgets_no_date_that_has_passed():
    until = T0 + timedelta(hours=1)
    desk = Desk()
    desk.request(submit("A", until=until))
    desk.now = until
    desk.request(set_policy(Policy.EXPIRY, account="main"))
    assert canceled(desk.follow()) == ["A"]


# Breaks.


def test_a_break_that_stays_open_ages_by_time_alone_once_for_each_age():
    desk = Desk()
    ours = BalanceLine("USDT", D(1))
    found = break_of("main", BreakKind.AMOUNT_DIFFERS, ("total",), ours, BalanceLine("USDT", D(2)))
    desk.reported(BreakOpened("main", found, "S1", T0))
    assert desk.follow() == []
    aged = []
    for hours, is_due in ((1, True), (2, False), (24, True), (24 * 40, True), (24 * 50, False)):
        desk.now = T0 + timedelta(hours=hours)
        reactions = desk.follow()
        assert bool(reactions) is is_due
        aged += [reaction.request[0].transact_time - T0 for reaction in reactions]
    assert aged == [timedelta(hours=1), timedelta(days=1), timedelta(days=30)]
    assert desk.ledger.state("account:main").breaks[found.break_id].age_steps == 4


def test_a_break_ages_by_the_ages_of_its_account():
    desk = Desk()
    desk.request(set_policy(Policy.BREAKS, account="main", ages_seconds=(1800, 7200)))
    ours, theirs = BalanceLine("USDT", D(1)), BalanceLine("USDT", D(2))
    found = break_of("main", BreakKind.AMOUNT_DIFFERS, ("total",), ours, theirs)
    desk.reported(BreakOpened("main", found, "S1", T0))
    steps = []
    for minutes in (29, 30, 119, 120, 60 * 24 * 40):
        desk.now = T0 + timedelta(minutes=minutes)
        desk.follow()
        steps.append(desk.ledger.state("account:main").breaks[found.break_id].age_steps)
    assert steps == [0, 1, 1, 2, 2]
    assert derived([each.recorded for each in desk.log.select()]).faults == ()


# Hedging.


def hedges(reactions):
    return [
        (r.request.terms.side, r.request.terms.order_qty, r.request.key.cl_ord_id)
        for r in reactions
        if r.policy is Policy.HEDGE
    ]


def test_a_delta_out_of_its_band_is_brought_back_in_full_lots():
    desk = Desk(BAND)
    desk.reported(fill("A", "E1", "1"))
    assert desk.follow() == []
    desk.reported(fill("B", "E2", "0.57"))
    (reaction,) = desk.follow()
    terms = reaction.request.terms
    assert (terms.strategy_id, terms.instrument_id, terms.side, terms.ord_type) == (
        "hedge",
        PERP,
        Side.SELL,
        OrdType.MARKET,
    )
    assert terms.order_qty == D(15)
    assert hedge.delta(desk.states["hedge"], "main", BAND) == D("0.07")
    assert reaction.request.key.cl_ord_id == f"hedge-0-{desk.seq - 2}"
    assert reaction.request_id == f"hedge-{desk.seq - 2}-main-0"


def test_a_hedge_at_work_counts_as_done_and_its_fill_requests_nothing():
    desk = Desk(BAND)
    desk.reported(fill("A", "E1", "2"))
    ((_, qty, name),) = hedges(desk.follow())
    desk.reported(fill("B", "E2", "0.9"))
    assert desk.follow() == []
    desk.reported(fill(name, "E3", str(qty), Side.SELL, instrument=PERP, strategy="hedge"))
    assert desk.follow() == []
    assert hedge.delta(desk.states["hedge"], "main", BAND) == D("0.9")
    desk.reported(fill("C", "E4", "0.2"))
    assert [item[:2] for item in hedges(desk.follow())] == [(Side.SELL, D(11))]


def test_two_fills_of_one_append_are_hedged_once():
    desk = Desk(BAND)
    desk.ledger.report([fill("A", "E1", "2"), fill("B", "E2", "0.5")], actor="venue")
    requested = hedges(desk.follow(sends=False))
    assert [item[:2] for item in requested] == [(Side.SELL, D(20))]


def test_a_hedge_that_leaves_no_trace_counts_for_a_minute():
    desk = Desk(BAND)
    desk.reported(fill("A", "E1", "2"))
    assert len(hedges(desk.follow(sends=False))) == 1
    desk.reported(fill("B", "E2", "0.1"))
    assert hedges(desk.follow(sends=False)) == []
    desk.now = T0 + timedelta(seconds=61)
    desk.reported(fill("C", "E3", "0.1"))
    assert [item[:2] for item in hedges(desk.follow())] == [(Side.SELL, D(22))]


def test_a_refused_hedge_is_requested_again_at_the_next_fill_only():
    desk = Desk(BAND)
    desk.request(SetLimit("main", Scope("hedge"), Measure.MAX_POSITION, D(1), None, T0))
    desk.reported(fill("A", "E1", "2"))
    assert len(hedges(desk.follow())) == 1
    assert desk.refusals == ["MAX_POSITION is not exceeded"]
    assert desk.states["hedge"].pending == {}
    desk.reported(fill("B", "E2", "0.1"))
    assert len(hedges(desk.follow(sends=False))) == 1


def test_inverse_contracts_count_their_size_over_the_last_price():
    desk = Desk(BAND)
    desk.reported(fill("A", "E1", "30", Side.SELL, "1000", INV))
    assert [item[:2] for item in hedges(desk.follow())] == [(Side.BUY, D(30))]


def test_a_band_is_looked_at_when_it_is_set_and_no_more_once_it_is_off():
    desk = Desk()
    desk.reported(fill("A", "E1", "2"))
    desk.request(set_policy(Policy.HEDGE, account="main", band=BAND))
    assert [item[:2] for item in hedges(desk.follow())] == [(Side.SELL, D(20))]
    desk.request(set_policy(Policy.HEDGE, account="main", is_on=False))
    desk.reported(fill("B", "E2", "5"))
    assert desk.follow() == []


# Replay.

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "fill", "cancel", "assess", "wait"]), st.integers(0, 4), st.integers(1, 3),
        st.sampled_from(list(Side)),
    ),
    max_size=25,
)  # fmt: skip


def lived(steps):
    desk = Desk(BAND)
    desk.request(SetLimit("main", Scope(), Measure.MAX_DAILY_LOSS, D(20), "USDT", T0))
    for index, (what, name, qty, side) in enumerate(steps):
        try:
            if what == "submit":
                desk.request(submit(f"O{name}", str(qty), side, until=desk.now + timedelta(minutes=5)))
            elif what == "fill":
                desk.reported(fill(f"O{name}", f"E{index}", str(qty), side))
            elif what == "cancel":
                desk.request(CancelOrder(OrderKey("main", f"O{name}"), "user", desk.now))
            elif what == "assess":
                marks = (Mark(BTC, D(90 + 5 * qty), "SIM", desk.now), Mark(PERP, D(100), "SIM", desk.now))
                desk.request(AssessMarks("main", marks, desk.now))
            else:
                desk.now += timedelta(minutes=2 * qty)
        except RequestRefused:
            pass
        desk.follow()
    return desk


@settings(max_examples=60)
@given(STEPS)
def test_a_replayed_history_requests_the_same_under_the_same_ids_and_nothing_new(steps):
    desk = lived(steps)
    states, requested = desk.replayed()
    assert desk.replayed() == (states, requested)
    assert len({reaction.request_id for reaction in requested}) == len(requested)
    head = desk.log.head().seq
    for reaction in requested:
        desk.send(reaction)
    added = [logged.recorded.event for logged in desk.log.select(after=head)]
    assert added == []


@settings(max_examples=60)
@given(STEPS)
def test_the_state_is_what_is_open_and_no_more(steps):
    desk = lived(steps)
    states, _ = desk.replayed()
    state, limits = states["switch"].open, desk.ledger.state(risk.stream("main"))
    assert {key: order.quantity for key, order in state.working.items()} == {
        key: hold.quantity for key, hold in limits.holds.items()
    }
    assert dict(state.positions) == {
        ("main", owner.strategy_id, name): cell.now.quantity
        for name, owner, cell in limits.exposure.all()
        if cell.now.quantity
    }
    assert set(states["expiry"].good_till) <= set(state.working)

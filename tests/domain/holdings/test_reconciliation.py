"""Reconciliation: a venue's true history against a faulty book of it, mended through the real ledger."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import account
from domain.account import (
    AccountOpened,
    BalanceLine,
    BreakAged,
    BreakChanged,
    BreakKind,
    BreakOpened,
    BreakResolved,
    CostBasis,
    Costing,
    FeePolicy,
    FillLine,
    Indicator,
    Leg,
    OpenAccount,
    OrderLine,
    PositionLine,
    ResolveBreak,
    SettleTransfer,
    Statement,
    StatementTaken,
    break_of,
)
from domain.errors import InvalidInput
from domain.holdings.holdings import holdings_of
from domain.holdings.reconciliation import EXACT, Tolerances, compare, mend, react
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import OrderAccepted, OrderCanceled, OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import PositionBroken, PositionKey, SettleFunding
from domain.values import Liquidity, Money, PositionSide, Side, leg_of, stated_leg

AVERAGE = Costing()
T0 = datetime(2026, 1, 2, tzinfo=UTC)
END = T0 + timedelta(days=2)
BOTH, LONG, SHORT = PositionSide.BOTH, PositionSide.LONG, PositionSide.SHORT
SPOT, PERP, INVERSE = "BTCUSDT.SIM", "BTCUSDT-PERP.SIM", "BTCUSD.SIM"
CONTRACTS = {
    SPOT: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    PERP: Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.1")),
    INVERSE: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
}


class Desk:
    """A ledger with one account and what is needed to talk about it."""

    def __init__(self, costing=AVERAGE):
        self.log = MemoryLog()
        self.ledger = Ledger(self.log, lambda: END)
        self.ledger.request(OpenAccount("main", "USDT", costing, T0, "SIM"), actor="alice")
        for instrument_id, contract in CONTRACTS.items():
            self.ledger.request(ListInstrument(instrument_id, contract, D("0.01"), D("0.01")), actor="alice")

    def report(self, *reports):
        answers = self.ledger.report(reports, actor="venue")
        assert [answer.error for answer in answers] == [None] * len(reports)
        return answers

    def take(self, act):
        if isinstance(act, SubmitOrder):
            self.ledger.request(act, actor="bot")
        else:
            self.report(act)

    @property
    def events(self):
        return [logged.recorded.event for logged in scan(self.log)]

    @property
    def holdings(self):
        return holdings_of(self.events, "main", "SIM", END)

    def statement(self):
        """What a venue would state that has had our history."""
        held = self.holdings
        return Statement(
            "main", "SIM", "S-1", END,
            tuple(held.balances().values()),
            tuple(replace(line, cost=None) for line in held.legs().values()),
            tuple(replace(line, strategy_id="", order_id=line.order_id or "V-0") for line in held.open_orders()),
            tuple(replace(line, strategy_id="") for line in held.fills()),
            T0,
        )  # fmt: skip

    def compare(self, statement, tolerances=EXACT):
        return compare(self.holdings, statement, tolerances)

    def mend(self, breaks, statement):
        for found in breaks:
            self.report(*mend(found, statement))


def submit(name, instrument_id=SPOT, side=Side.BUY, qty="1", price="100", strategy="trend", leg=PositionSide.BOTH):
    position_side = stated_leg(leg)
    terms = OrderTerms(strategy, instrument_id, side, OrdType.LIMIT, D(qty), D(price), position_side=position_side)
    return SubmitOrder(OrderKey("main", name), terms, T0)


def accepted(name, at=0):
    return OrderAccepted(key=OrderKey("main", name), order_id=f"V-{name}", transact_time=T0 + timedelta(seconds=at))


def fill(name, exec_id, instrument_id=SPOT, side=Side.BUY, qty="1", price="100", at=1, fee=("0.1", "USDT"), **more):
    return OrderFilled(
        OrderKey("main", name), more.get("strategy", "trend"), instrument_id, more.get("order_id", f"V-{name}"), side,
        exec_id, at, D(qty), D(price), Money(D(fee[0]), fee[1]), Liquidity.TAKER, T0 + timedelta(seconds=at),
        position_side=more.get("leg", PositionSide.BOTH),
    )  # fmt: skip


def deposit(amount, currency="USDT", name="D-1"):
    return SettleTransfer("main", Leg(name, Indicator.CREDIT, Money(D(amount), currency)), T0)


ORDERED = (deposit(1000), submit("A", qty="2"), accepted("A"), fill("A", "E1", at=1), fill("A", "E2", at=2))


def desk_after(*acts, costing=AVERAGE):
    desk = Desk(costing)
    for act in acts:
        desk.take(act)
    return desk


def kinds(breaks):
    return [(type(found.line).__name__, found.kind.value, found.fields) for found in breaks]


def test_our_own_book_stated_as_a_venue_would_has_no_breaks():
    desk = desk_after(*ORDERED)
    assert desk.compare(desk.statement()) == ()


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (ORDERED[:-1], [("FillLine", "MISSING_AT_US", ())]),
        ((*ORDERED, fill("A2", "E3", at=3)), [("FillLine", "MISSING_AT_VENUE", ())]),
        ((*ORDERED[:-1], fill("A", "E2", at=2, qty="0.5")), [("FillLine", "AMOUNT_DIFFERS", ("last_qty",))]),
        ((*ORDERED[:-1], fill("A", "E2", at=2, price="99")), [("FillLine", "PRICE_DIFFERS", ("last_px",))]),
        (
            (*ORDERED[:-1], fill("A", "E2", at=2, fee=("0.2", "USDT"))),
            [("FillLine", "AMOUNT_DIFFERS", ("commission",))],
        ),
        ((*ORDERED, fill("A", "X2", at=2)), [("FillLine", "DUPLICATE", ())]),
        ((*ORDERED[:-1], fill("A", "X2", at=2)), [("FillLine", "DUPLICATE", ("exec_id",))]),
        ((*ORDERED, fill("BTCUSDT-E2", "E2", at=2, order_id="")), []),  # one execution is booked once, under any order
        (ORDERED[1:], [("BalanceLine", "AMOUNT_DIFFERS", ("amount",))]),
        ((*ORDERED, deposit(5, "ETH", "D-2")), [("BalanceLine", "MISSING_AT_VENUE", ("amount",))]),
    ],
)
def test_one_cause_is_one_break_and_its_mend_ends_it(ours, expected):
    statement = desk_after(*ORDERED).statement()
    desk = desk_after(*ours)
    breaks = desk.compare(statement)
    assert kinds(breaks) == expected
    desk.mend(breaks, statement)
    assert desk.compare(statement) == ()


WORKING = (submit("A", qty="2"), accepted("A"), submit("B", qty="3", price="90"), accepted("B"))


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        (WORKING[:2], WORKING, [("OrderLine", "MISSING_AT_VENUE", ())]),
        (WORKING, WORKING[:2], [("OrderLine", "MISSING_AT_US", ())]),
        (WORKING, WORKING[:3], [("OrderLine", "MISSING_AT_US", ("order_id",))]),
        (
            (*WORKING[:2], submit("B", qty="4", price="90"), accepted("B")),
            WORKING,
            [("OrderLine", "AMOUNT_DIFFERS", ("order_qty",))],
        ),
        (
            (*WORKING[:2], submit("B", qty="3", price="91"), accepted("B")),
            WORKING,
            [("OrderLine", "PRICE_DIFFERS", ("price",))],
        ),
        ((*WORKING, fill("A", "E1", qty="0.5")), WORKING, [("FillLine", "MISSING_AT_US", ())]),
        ((*WORKING, fill("A", "E1", qty="2")), WORKING, [("FillLine", "MISSING_AT_US", ())]),
    ],
)
def test_working_orders_are_compared_and_mended(theirs, ours, expected):
    statement = desk_after(*theirs).statement()
    desk = desk_after(*ours)
    breaks = desk.compare(statement)
    assert kinds(breaks) == expected
    desk.mend(breaks, statement)
    assert desk.compare(statement) == ()


def test_an_order_that_ended_here_and_works_there_is_for_a_person_to_decide():
    statement = desk_after(*WORKING).statement()
    canceled = OrderCanceled(key=OrderKey("main", "B"), reason="user", transact_time=T0)
    desk = desk_after(*WORKING, canceled)
    (found,) = desk.compare(statement)
    assert (found.kind, found.fields, mend(found, statement)) == (BreakKind.MISSING_AT_US, ("ord_status",), ())


def test_more_filled_at_the_venue_without_a_fill_to_show_for_it_is_inferred_at_the_orders_price():
    desk, seen = desk_after(*WORKING), desk_after(*WORKING, fill("A", "E1", qty="0.5", price="99", fee=("0", "USDT")))
    statement = replace(seen.statement(), fills=None, fills_from=None, balances=None)
    (found,) = desk.compare(statement)
    assert found.fields == ("cum_qty",)
    (inferred,) = mend(found, statement)
    assert (inferred.last_qty, inferred.last_px) == (D("0.5"), D(100))
    desk.mend([found], statement)
    assert desk.compare(statement) == ()


@pytest.mark.parametrize("held", ["0", "2", "-2", "5"])
@pytest.mark.parametrize("stated", ["0", "1", "-1", "7"])
@pytest.mark.parametrize("instrument_id", [PERP, INVERSE])
@pytest.mark.parametrize("avg_px", [None, "123.7"])
def test_a_position_that_differs_is_moved_without_a_gain(held, stated, instrument_id, avg_px):
    desk = Desk(Costing(CostBasis.FIFO))
    if D(held):
        side = Side.BUY if D(held) > 0 else Side.SELL
        desk.report(fill("A", "E1", instrument_id, side, str(abs(D(held))), fee=("0", "USDT")))
    balances = tuple(desk.holdings.balances().values())
    line = PositionLine(instrument_id, D(stated), D(avg_px) if avg_px else None)
    statement = Statement("main", "SIM", "S-1", END, balances, (line,))
    breaks = desk.compare(statement)
    assert kinds(breaks) == ([] if D(held) == D(stated) else kinds(breaks)[:1])
    desk.mend(breaks, statement)
    assert desk.compare(statement) == ()
    assert desk.holdings.positions().get(instrument_id, PositionLine(instrument_id, D(0))).quantity == D(stated)


def hedged():
    """A desk with a long leg of 3 in two strategies and a short one of 2 beside it."""
    desk, free = Desk(), ("0", "USDT")
    desk.report(
        fill("A", "E1", PERP, Side.BUY, "2", "100", 1, free, leg=LONG, strategy="one"),
        fill("B", "E2", PERP, Side.BUY, "1", "100", 2, free, leg=LONG, strategy="two"),
        fill("C", "E3", PERP, Side.SELL, "2", "120", 3, free, leg=SHORT, strategy="one"),
    )
    return desk


def of_legs(**quantities):
    lines = (PositionLine(PERP, D(qty), position_side=stated_leg(PositionSide(leg))) for leg, qty in quantities.items())
    return Statement("main", "SIM", "S-1", END, positions=tuple(lines))


def test_each_leg_of_hedge_mode_is_compared_and_not_their_net():
    assert hedged().compare(of_legs(LONG="3", SHORT="-2", BOTH="0")) == ()
    found = hedged().compare(of_legs(LONG="2", SHORT="-1"))
    assert {(each.theirs.position_side, each.ours.quantity, each.theirs.quantity) for each in found} == {
        (LONG, D(3), D(2)), (SHORT, D(-2), D(-1)),
    }  # fmt: skip
    assert len({each.break_id for each in found}) == 2
    assert [each.ours.quantity for each in hedged().compare(of_legs(LONG="3"))] == [D(-2)], "not stated is flat"
    assert {each.ours.quantity for each in hedged().compare(of_legs())} == {D(3), D(-2)}, "though a net may be zero"
    assert hedged().compare(of_legs(BOTH="1")) == (), "a venue may state their net alone"
    (net,) = hedged().compare(of_legs(BOTH="2"))
    assert (net.ours.quantity, net.theirs.position_side) == (D(1), UNSET)


@pytest.mark.parametrize("stated", [{"LONG": "0.5", "SHORT": "-2"}, {"LONG": "4"}, {"SHORT": "-5", "BOTH": "1"}, {}])
def test_a_leg_that_differs_is_moved_by_itself_and_reduced_where_it_is_held(stated):
    desk = hedged()
    statement = of_legs(**stated)
    for found in desk.compare(statement):
        held = desk.holdings.held_by(PERP, leg_of(found.line.position_side))
        desk.report(*mend(found, statement, held=held))
    assert desk.compare(statement) == ()
    lines = desk.holdings.legs()
    assert {leg.value: lines[PERP, leg].quantity for leg in PositionSide if (PERP, leg) in lines} == {
        leg: D(quantity) for leg, quantity in stated.items()
    }
    assert not [event for event in desk.events if isinstance(event, PositionBroken)]


def test_a_fill_that_the_venue_states_with_a_leg_is_completed_with_it():
    desk = desk_after(fill("A", "E1", PERP), fill("B", "E2", PERP, leg=SHORT, side=Side.SELL, at=2))
    lines = tuple(replace(line, position_side=LONG) for line in desk.holdings.fills())
    statement = Statement("main", "SIM", "S-1", END, fills=lines, fills_from=T0)
    known, other = desk.compare(statement)
    assert [each.fields for each in (known, other)] == [("position_side",)] * 2
    assert mend(other, statement) == (), "another leg contradicts it"
    desk.mend([known], statement)
    assert desk.compare(statement) == (other,)
    assert desk.holdings.legs()[PERP, LONG].quantity == 1


def test_a_wallet_agrees_with_the_venue_under_any_cost_basis_and_strategies():
    """Two strategies on two sides under FIFO: the venue nets them and keeps average cost."""
    desk = Desk(Costing(CostBasis.FIFO, FeePolicy.EXPENSED))
    free = ("0", "USDT")
    desk.report(
        fill("A", "E1", PERP, Side.BUY, "10", "100", 1, free, strategy="one"),
        fill("B", "E2", PERP, Side.BUY, "10", "200", 2, free, strategy="one"),
        fill("C", "E3", PERP, Side.SELL, "10", "180", 3, free, strategy="two"),
    )
    # 20 contracts of 0.1 at an average of 150; 10 sold at 180
    assert desk.holdings.balances() == {"USDT": BalanceLine("USDT", D(30))}
    assert desk.holdings.positions()[PERP] == PositionLine(PERP, D(10), D(150), D(150))


def test_what_is_in_flight_is_no_break_and_neither_is_what_it_explains():
    theirs, ours = fill("A", "E2", PERP, at=100), fill("B", "E3", PERP, at=101)
    statement = desk_after(deposit(100), theirs).statement()
    desk = desk_after(deposit(100), ours)
    assert len(desk.compare(statement)) == 2
    assert desk.compare(statement, Tolerances(in_flight=timedelta(days=3))) == ()


def test_a_difference_within_its_tolerance_is_none():
    statement = desk_after(deposit("100.01"), fill("A", "E1", PERP, qty="3", price="1", fee=("0", "USDT"))).statement()
    desk = desk_after(deposit(100), fill("A", "E1", PERP, qty="2", price="1", fee=("0", "USDT")))
    statement = replace(statement, fills=None)
    assert len(desk.compare(statement)) == 2
    assert desk.compare(statement, Tolerances({"USDT": D("0.01")}, {PERP: D(1)})) == ()
    assert len(desk.compare(statement, Tolerances({"USDT": D("0.009")}, {PERP: D(1)}))) == 1


def test_only_what_is_stated_is_compared():
    statement = Statement("main", "SIM", "S-1", END)
    assert desk_after(*ORDERED, *WORKING[2:]).compare(statement) == ()
    early = replace(statement, fills=(), fills_from=T0 + timedelta(seconds=2))
    assert kinds(desk_after(*ORDERED).compare(early)) == [("FillLine", "MISSING_AT_VENUE", ())]


def test_what_happened_after_the_statement_is_not_compared():
    desk = desk_after(*ORDERED)
    statement = desk.statement()
    desk.report(
        OrderFilled(
            OrderKey("main", "later"), "trend", SPOT, "V-9", Side.BUY, "E9", 9, D(1), D(1), Money(D(0), "USDT"),
            Liquidity.TAKER, END + timedelta(seconds=1),
        ),
        replace(deposit(7, name="D-9"), transact_time=END + timedelta(seconds=1)),
    )  # fmt: skip
    assert desk.compare(statement) == ()


def test_a_spot_holding_is_stated_as_a_balance():
    with pytest.raises(InvalidInput, match="a derivative"):
        Desk().compare(Statement("main", "SIM", "S-1", END, positions=(PositionLine(SPOT, D(1)),)))


def test_a_fill_of_an_unknown_order_is_adopted_under_the_venues_name():
    line = FillLine("E7", 0, "V-7", "", SPOT, Side.BUY, D(1), D(100), Money(D(0), "USDT"), T0)
    statement = Statement("main", "SIM", "S-1", END, fills=(line,), fills_from=T0)
    desk = Desk()
    breaks = desk.compare(statement)
    desk.mend(breaks, statement)
    assert desk.compare(statement) == ()
    assert list(desk.holdings.orders) == ["SIM-V-7"]


# A venue's history, and ways in which ours can differ from it.

acts = st.builds(
    lambda where, side, qty, price, strategy, fee: (*where, side, D(qty) / 100, D(price) / 100, strategy, fee),
    st.sampled_from([(SPOT, BOTH), *((name, leg) for name in (PERP, INVERSE) for leg in PositionSide)]),
    st.sampled_from(list(Side)),
    st.integers(1, 500),
    st.integers(5_000, 15_000),
    st.sampled_from(["one", "two"]),
    st.sampled_from([("0.03", "USDT"), ("-0.01", "USDT"), ("0.001", "BTC"), ("0.002", "BNB")]),
)  # fmt: skip
conventions = st.builds(
    Costing, st.sampled_from([CostBasis.AVERAGE, CostBasis.FIFO, CostBasis.HIFO]), st.sampled_from(FeePolicy)
)


def history(trades):
    """Orders of two fills each (the second half of every third one still working), a deposit, a funding payment."""
    reports = [deposit("123.45")]
    for number, (instrument_id, leg, drawn, qty, price, strategy, fee) in enumerate(trades):
        name, side = f"O{number}", leg.opening or drawn
        reports.append(submit(name, instrument_id, side, str(2 * qty), str(price), strategy, leg))
        reports.append(accepted(name, 10 * number))
        reports += (
            fill(
                name, f"E{number}-{part}", instrument_id, side, str(qty), str(price), 10 * number + part, fee,
                strategy=strategy, leg=leg,
            )
            for part in ((1, 2) if number % 3 else (1,))
        )  # fmt: skip
    reports.append(SettleFunding(PositionKey("main", "one", PERP), "F1", Money(D("-0.25"), "USDT"), T0))
    return reports


def faulty(data, reports):
    """The reports as we have them: some lost, some doubled under another id, some wrong, some that never were."""
    ours = []
    for report in reports:
        fault = data.draw(st.sampled_from(["", "", "lost", "wrong", "doubled", "renamed", "invented"]))
        match report:
            case OrderFilled():
                wrong = replace(report, last_qty=report.last_qty + 1)
                ours += {
                    "": [report],
                    "lost": [],
                    "wrong": [wrong],
                    "doubled": [report, replace(report, exec_id=f"{report.exec_id}-again")],
                    "renamed": [replace(report, exec_id=f"{report.exec_id}-other")],
                    "invented": [report, replace(report, exec_id=f"{report.exec_id}-ghost", last_px=D(77))],
                }[fault]
            case SettleTransfer() | SettleFunding() | OrderAccepted() if fault == "lost":
                pass
            case SubmitOrder() if fault == "lost":
                pass
            case _:
                ours.append(report)
    return ours


@given(st.lists(acts, max_size=6), conventions)
def test_a_true_copy_has_no_breaks(trades, costing):
    reports = history(trades)
    assert desk_after(*reports, costing=costing).compare(desk_after(*reports).statement()) == ()


@settings(max_examples=60)
@given(st.data(), st.lists(acts, max_size=6), conventions)
def test_a_mended_book_has_no_breaks(data, trades, costing):
    reports = history(trades)
    statement = desk_after(*reports).statement()
    desk = desk_after(*faulty(data, reports), costing=costing)
    breaks = desk.compare(statement)
    assert len({found.break_id for found in breaks}) == len(breaks)
    desk.mend(breaks, statement)
    assert desk.compare(statement) == ()
    desk.mend(breaks, statement)  # twice is once
    assert desk.compare(statement) == ()


@settings(max_examples=60)
@given(st.data(), st.lists(acts, min_size=1, max_size=6))
def test_breaks_do_not_depend_on_the_order_of_lines_or_of_arrival(data, trades):
    reports = history(trades)
    statement = desk_after(*reports).statement()
    ours = [report for report in faulty(data, reports) if not isinstance(report, SubmitOrder)]
    shuffled = replace(
        statement,
        **{
            section: tuple(data.draw(st.permutations(getattr(statement, section))))
            for section in ("balances", "positions", "open_orders", "fills")
        },
    )
    there = desk_after(*data.draw(st.permutations(ours)))
    assert [f.break_id for f in there.compare(shuffled)] == [f.break_id for f in desk_after(*ours).compare(statement)]


@settings(max_examples=60)
@given(st.data(), st.lists(acts, min_size=1, max_size=6))
def test_one_fill_lost_doubled_or_changed_is_one_break(data, trades):
    reports = history(trades)
    statement = desk_after(*reports).statement()
    lost = data.draw(st.sampled_from([report for report in reports if isinstance(report, OrderFilled)]))
    now = data.draw(
        st.sampled_from(
            [
                [],
                [lost, replace(lost, exec_id="other")],
                [replace(lost, last_px=lost.last_px + 1)],
                [replace(lost, last_qty=lost.last_qty + 1)],
            ]
        )
    )
    at = reports.index(lost)
    (found,) = desk_after(*reports[:at], *now, *reports[at + 1 :]).compare(statement)
    assert isinstance(found.line, FillLine)


# What a comparison means for the account's open breaks.

OPENED = AccountOpened("main", "USDT", Costing(), T0)
USDT = break_of("main", BreakKind.AMOUNT_DIFFERS, ("amount",), BalanceLine("USDT", D(1)), BalanceLine("USDT", D(2)))
CHANGED = break_of("main", BreakKind.AMOUNT_DIFFERS, ("amount",), BalanceLine("USDT", D(1)), BalanceLine("USDT", D(3)))


def state(*events):
    folded = None
    for event in events:
        folded = account.evolve(folded, event)
    return folded


def stated(hours, name="S", **sections):
    return Statement("main", "SIM", f"{name}-{hours}", T0 + timedelta(hours=hours), **({"balances": ()} | sections))


def test_a_break_opens_changes_ages_and_is_resolved():
    at = [T0 + timedelta(hours=hours) for hours in range(30)]
    first = react(state(OPENED), stated(0), [USDT])
    assert first == (BreakOpened("main", USDT, "S-0", at[0]),)
    known = state(OPENED, *first)
    assert react(known, stated(0), [USDT]) == ()
    assert react(known, stated(0), [CHANGED]) == (BreakChanged("main", CHANGED, "S-0", at[0]),)
    aged = react(known, stated(25), [USDT])
    assert aged == (BreakAged("main", USDT.break_id, "S-25", at[0], at[25]),)
    known = state(OPENED, *first, *aged)
    assert known.breaks[USDT.break_id].age_steps == 2
    assert react(known, stated(26), [USDT]) == ()
    resolved = react(known, stated(26), [])
    assert resolved == (BreakResolved("main", USDT.break_id, "S-26", "no longer found", at[0], at[26]),)
    assert state(OPENED, *first, *aged, *resolved).breaks == {}


def test_a_statement_that_does_not_speak_of_a_break_or_is_older_resolves_nothing():
    known = state(OPENED, BreakOpened("main", USDT, "S-5", T0 + timedelta(hours=5)))
    assert react(known, stated(6, balances=None, positions=()), []) == ()
    assert react(known, stated(4), []) == ()
    assert len(react(known, stated(6), [])) == 1


def test_breaks_are_kept_on_the_account_by_the_ledger_and_each_once():
    statement = desk_after(*ORDERED).statement()
    desk = desk_after(*ORDERED[:-1])
    for _ in range(2):
        found = desk.compare(statement)
        desk.report(statement, *react(desk.ledger.state("account:main"), statement, found))
    assert list(desk.ledger.state("account:main").breaks) == [found[0].break_id]
    assert [type(event) for event in desk.events if isinstance(event, StatementTaken | BreakOpened)] == [
        BreakOpened,
        StatementTaken,
    ]
    desk.mend(found, statement)
    desk.report(*react(desk.ledger.state("account:main"), statement, desk.compare(statement)))
    assert desk.ledger.state("account:main").breaks == {}


def test_a_break_resolved_by_hand_has_a_reason_and_opens_again_if_it_is_still_there():
    statement = desk_after(*ORDERED).statement()
    desk = desk_after(*ORDERED[:-1])
    found = desk.compare(statement)
    desk.report(*react(desk.ledger.state("account:main"), statement, found))
    request = ResolveBreak("main", found[0].break_id, "booked by the venue twice", END)
    answer = desk.ledger.request(request, actor="alice")
    assert [type(recorded.event) for recorded in answer.records] == [BreakResolved]
    assert len(react(desk.ledger.state("account:main"), statement, found)) == 1


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("account_id", {"account_id": "a:b"}),
        ("statement_id", {"statement_id": ""}),
        ("transact_time", {"transact_time": T0.replace(tzinfo=None)}),
        ("balances[0].amount", {"balances": (BalanceLine("USDT", D("NaN")),)}),
        ("balances[0].currency", {"balances": (BalanceLine("usdt ", D(1)),)}),
        ("balances.currency", {"balances": (BalanceLine("USDT", D(1)), BalanceLine("USDT", D(2)))}),
        ("positions[0].instrument_id", {"positions": (PositionLine("BTC", D(1)),)}),
        ("positions[0].avg_px", {"positions": (PositionLine(PERP, D(1), D("NaN")),)}),
        ("open_orders[0].order_qty", {"open_orders": (OrderLine("V", "", SPOT, Side.BUY, D(0), D(0)),)}),
        ("open_orders[0].cum_qty", {"open_orders": (OrderLine("V", "", SPOT, Side.BUY, D(1), D(2)),)}),
        ("fills_from", {"fills": ()}),
        (
            "fills[0].last_px",
            {
                "fills_from": T0,
                "fills": (FillLine("E", 0, "", "", SPOT, Side.BUY, D(1), D("NaN"), Money(D(0), "USDT"), T0),),
            },
        ),
        (
            "fills[0].transact_time",
            {
                "fills_from": END,
                "fills": (FillLine("E", 0, "", "", SPOT, Side.BUY, D(1), D(1), Money(D(0), "USDT"), T0),),
            },
        ),
    ],
)
def test_a_statement_no_venue_can_mean_is_refused_by_field(field, change):
    (answer,) = Desk().ledger.report([replace(Statement("main", "SIM", "S-1", END), **change)], actor="venue")
    assert isinstance(answer.error, InvalidInput)
    assert (answer.error.field, answer.records) == (field, ())


def test_the_same_statement_is_taken_once_and_one_of_another_content_beside_it():
    desk = Desk()
    statement = Statement("main", "SIM", "S-1", END, balances=())
    (first,), (second,) = desk.report(statement), desk.report(statement)
    assert (len(first.records), second.records) == (1, ())
    (other,) = desk.report(replace(statement, balances=(BalanceLine("USDT", D(1)),)))
    assert len(other.records) == 1

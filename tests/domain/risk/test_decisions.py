"""Limits: what is let through, what is held, and which limits every decision records."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import risk
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind
from domain.marks import MarkSeen
from domain.order import ExecInst, OrderKey, OrderTerms, OrdType
from domain.risk import (
    AdjustHold,
    AssessMarks,
    AssessmentMissed,
    AssessmentResumed,
    BreachCleared,
    CapitalStated,
    Change,
    DayOpened,
    Desk,
    EngageSwitch,
    EquityAssessed,
    ExpireHold,
    HoldAdjusted,
    HoldExpired,
    HoldPlaced,
    HoldPosted,
    HoldRefused,
    HoldVoided,
    LimitBreached,
    LimitSet,
    Measure,
    Mode,
    PlaceHold,
    PostGains,
    PostHold,
    ReleaseSwitch,
    RestateHold,
    Risk,
    Scope,
    SetConversion,
    SetLimit,
    SetTradingDay,
    StateCapital,
    SwitchEngaged,
    SwitchReleased,
    TradingDaySet,
    VoidHold,
)
from domain.values import Mark, Money, Side, divide
from tests.given import Given

after = Given(risk)

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BTC, ETH, INV, EUR = "BTCUSDT.SIM", "ETHUSDT.SIM", "BTCUSD.MEX", "USDTEUR.SIM"
CONTRACTS = {
    BTC: Contract(Kind.SPOT, "BTC", "USDT", "USDT"),
    ETH: Contract(Kind.LINEAR, "ETH", "USDT", "USDT"),
    INV: Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100)),
    EUR: Contract(Kind.SPOT, "USDT", "EUR", "EUR"),
}
AN_INSTRUMENT = "an instrument id such as BTCUSDT.BINANCE: the venue's symbol, a dot, the venue in capitals"


def at(seconds=0):
    return T0 + timedelta(seconds=seconds)


def limit(value, measure=Measure.MAX_POSITION, currency=None, when=T0, account="main", **scope):
    return SetLimit(account, Scope(**scope), measure, None if value is None else D(value), currency, when)


def money(value, measure, currency="USDT", **scope):
    return limit(value, measure, currency, **scope)


def mark(instrument=BTC, price="100", when=T0):
    return Mark(instrument, D(price), "SIM", when)


def order(qty, price="100", side=Side.BUY, name="A", strategy="trend", instrument=BTC, when=T0, marks=(), **terms):
    kind = terms.pop("ord_type", OrdType.MARKET if price is None else OrdType.LIMIT)
    requested = OrderTerms(strategy, instrument, side, kind, D(qty), None if price is None else D(price), **terms)
    return PlaceHold(OrderKey("main", name), requested, CONTRACTS[instrument], None, when, tuple(marks))


def sell(qty, price="100", **more):
    return order(qty, price, Side.SELL, **more)


def post(qty, name="", strategy="trend", instrument=BTC, cost=None, gains=(), when=T0, last_qty=None, exec_id="E"):
    qty = D(qty)
    cost = qty * 100 if cost is None else D(cost)
    return PostHold(
        OrderKey("main", name), strategy, instrument, exec_id, qty, abs(qty) if last_qty is None else D(last_qty), when,
        cost, tuple(Money(D(amount), currency) for amount, currency in gains), CONTRACTS[instrument],
    )  # fmt: skip


def assess(*marks, when=T0, capital=None):
    return AssessMarks("main", tuple(marks), when, capital)


def story(*requests, state=None):
    """The events that requests and reports lead to, one after the other."""
    events = []
    for request in requests:
        rule = risk.admit if isinstance(request, risk.RiskReport) else risk.decide
        new = rule(state, request)
        state = reduce(risk.evolve, new, state)
        events += new
    return events


def last(*requests):
    return story(*requests)[-1]


# Limits are set, changed and lifted.


def test_a_limit_has_versions_and_setting_it_again_adds_nothing():
    first = LimitSet("main", Scope(), Measure.MAX_POSITION, D(5), None, 1, T0)
    second = LimitSet("main", Scope(), Measure.MAX_POSITION, None, None, 2, T0)
    scene = after().when(limit(5)).then(first).repeated().then()
    scene.when(limit(None)).then(second).repeated().then()
    after().when(limit(None)).then()


@pytest.mark.parametrize(
    ("request_", "rule", "field", "value"),
    [
        (limit("-1"), "a limit of zero or more", "limit", D(-1)),
        (limit("1e18"), "limit is a number from 1e-18 to below 1e18", "limit", D("1e18")),
        (limit("5", currency="USDT"), "a notional limit has a currency, a quantity limit none", "currency", "USDT"),
        (
            limit(5, Measure.MAX_GROSS_EXPOSURE),
            "a notional limit has a currency, a quantity limit none",
            "currency",
            None,
        ),
        (
            money(5, Measure.MAX_DAILY_LOSS, "us;dt"),
            "currency is a currency or asset code without the character ;",
            "currency",
            "us;dt",
        ),
        (
            limit("1.5", Measure.MAX_OPEN_ORDERS),
            "a count of orders is a whole number of at most 10000",
            "limit",
            D("1.5"),
        ),
        (
            limit("10001", Measure.MAX_ORDERS_PER_SECOND),
            "a count of orders is a whole number of at most 10000",
            "limit",
            D(10001),
        ),
        (StateCapital("main", Money(D(-1), "USDT"), T0), "a capital of zero or more", "capital", D(-1)),
        (limit("1.1", Measure.MAX_DRAWDOWN), "a drawdown is a fraction of equity, from 0 to 1", "limit", D("1.1")),
        (
            limit(5, account="a;b"),
            "account_id is an id without the character ;",
            "account_id",
            "a;b",
        ),
        (
            limit(5, strategy_id=""),
            "strategy_id is an id of 1 to 200 characters",
            "strategy_id",
            "",
        ),
        (
            limit(5, instrument_id="BTC"),
            f"instrument_id is {AN_INSTRUMENT}",
            "instrument_id",
            "BTC",
        ),
        (limit(5, instrument_id=BTC, venue="MEX"), "an instrument is of the scope's venue", "venue", "MEX"),
        (limit(5, asset=""), "asset is a currency or asset code of 1 to 200 characters", "asset", ""),
        (
            limit(5, when=T0.replace(tzinfo=None)),
            "transact_time is a time with its offset from UTC",
            "transact_time",
            T0.replace(tzinfo=None),
        ),
        (EngageSwitch("main", Scope(), Mode.HALT, "why", T0), "an actor is named", "actor", ""),
        (EngageSwitch("main", Scope(), Mode.HALT, " ", T0, "alice"), "a reason of 1 to 500 characters", "reason", " "),
        (SetTradingDay("main", 24, T0), "starts_at_hour from 0 to 23", "starts_at_hour", 24),
        (SetConversion("main", BTC, T0), "currencies are converted by spot or a perpetual", "instrument_id", BTC),
        (assess(mark(price="Infinity")), "price is a finite decimal number", "price", D("Infinity")),
        (assess(mark(), mark(price="101")), "one mark an instrument", "price", D(101)),
        (assess(capital=Money(D("Infinity"), "USDT")), "capital is a finite decimal number", "capital", D("Infinity")),
        (
            order(1, None, marks=[mark(when=T0.replace(tzinfo=None))]),
            "mark_at is a time with its offset from UTC",
            "mark_at",
            T0.replace(tzinfo=None),
        ),
        (
            AdjustHold(OrderKey("main", "A"), "A;2", order(1).terms, D(1), CONTRACTS[BTC], T0),
            "change_id is an id without the character ;",
            "change_id",
            "A;2",
        ),
        (
            AdjustHold(OrderKey("main", "A"), "A2", order(1).terms, D(0), CONTRACTS[BTC], T0),
            "quantity above zero",
            "quantity",
            D(0),
        ),
    ],
)
def test_nonsense_is_refused_by_field_value_and_rule(request_, rule, field, value):
    after().when(request_).refused(rule, **{field: value})


# What an order is measured by.


def test_an_order_that_fits_records_what_it_was_checked_against():
    scene = after().when(limit(5)).then_some(LimitSet).when(order(2)).then_some(HoldPlaced)
    (checked,) = scene.events[-1].judged
    assert (checked.version, checked.limit, checked.used, checked.asked) == (1, D(5), D(0), D(2))
    scene.repeated().then()
    (again,) = scene.when(order(3, name="B")).then_some(HoldPlaced).events[-1].judged
    assert (again.used, again.asked) == (D(2), D(5))


def test_one_id_names_one_order():
    after().when(order(2)).then_some(HoldPlaced).when(order(2, strategy="carry")).refused(
        "one cl_ord_id names one order", cl_ord_id="A"
    )


@pytest.mark.parametrize(
    ("setting", "request_", "used", "requested"),
    [
        (limit(3, Measure.MAX_ORDER_QTY), order("3.5"), "0", "3.5"),
        (money(350, Measure.MAX_ORDER_NOTIONAL), order("3.6"), "0", "360"),
        (money(350, Measure.MAX_ORDER_NOTIONAL), order("3.6", None, marks=[mark()]), "0", "360"),
        (money(350, Measure.MAX_ORDER_NOTIONAL), order("3.6", None, ord_type=OrdType.STOP, stop_px=D(100)), "0", "360"),
        (limit("0.05", Measure.PRICE_COLLAR), order(1, "105.5", marks=[mark()]), "0", "0.055"),
        (limit("0.05", Measure.PRICE_COLLAR), sell(1, "94", marks=[mark()]), "0", "0.06"),
        (limit(0, Measure.MAX_OPEN_ORDERS), order(1), "0", "1"),
        (limit(0, Measure.MAX_ORDERS_PER_SECOND), order(1), "0", "1"),
        (limit(3), order("3.5"), "0", "3.5"),
        (limit(3), sell("3.5"), "0", "-3.5"),
        (money(350, Measure.MAX_POSITION_NOTIONAL), order("3.6", marks=[mark()]), "0", "360"),
        (money(350, Measure.MAX_NET_EXPOSURE), sell("3.6", marks=[mark()]), "0", "-360"),
        (money(350, Measure.MAX_GROSS_EXPOSURE), sell("3.6", marks=[mark()]), "0", "360"),
        (money(350, Measure.MAX_GROSS_EXPOSURE, "USD"), sell("3.6", instrument=INV), "0", "360"),
        (limit(3, venue="SIM"), order("3.5"), "0", "3.5"),
        (limit(3, asset="BTC"), order("3.5"), "0", "3.5"),
        (limit(3, strategy_id="trend", instrument_id=BTC), order("3.5"), "0", "3.5"),
    ],
)
def test_an_order_that_does_not_fit_is_refused_with_its_numbers(setting, request_, used, requested):
    refused = last(setting, request_)
    assert isinstance(refused, HoldRefused)
    assert refused.rule == f"{setting.measure} is not exceeded"
    assert (refused.failed.limit, refused.failed.used, refused.failed.asked) == (setting.limit, D(used), D(requested))
    facts = risk.refusal(refused).facts
    assert (facts["limit_version"], facts["limit"], facts["asked"]) == (1, setting.limit, D(requested))


@pytest.mark.parametrize(
    "scope", [{"venue": "MEX"}, {"asset": "ETH"}, {"strategy_id": "carry"}, {"instrument_id": ETH}]
)
def test_a_limit_of_another_scope_does_not_apply(scope):
    assert last(limit(0, **scope), order(1)).judged == ()


def test_an_order_fits_every_scope_above_it():
    settings_ = [limit(10), limit(6, strategy_id="trend"), limit(4, instrument_id=BTC)]
    assert len(last(*settings_, order(4)).judged) == 3
    assert last(*settings_, order(5)).failed.scope == Scope(instrument_id=BTC)
    refused = last(*settings_, order(4, name="A"), order(1, name="B", strategy="carry"))
    assert (refused.failed.scope, refused.failed.used) == (Scope(instrument_id=BTC), D(4))
    assert [fits.scope for fits in refused.judged] == [Scope()]


def test_an_order_at_the_limit_fits():
    assert isinstance(last(money(350, Measure.MAX_GROSS_EXPOSURE), order("3.5", marks=[mark()])), HoldPlaced)
    assert isinstance(last(limit("0.05", Measure.PRICE_COLLAR), order(1, "105", marks=[mark()])), HoldPlaced)


def test_a_collar_holds_a_price_against_us_only_and_a_stop_limit_against_its_trigger():
    collar = limit("0.05", Measure.PRICE_COLLAR)
    assert isinstance(last(collar, order(1, "50", marks=[mark()])), HoldPlaced)
    stop = {"ord_type": OrdType.STOP_LIMIT, "stop_px": D(150)}
    assert isinstance(last(collar, order(1, "151", **stop)), HoldPlaced)
    assert last(collar, order(1, "160", **stop)).rule == "PRICE_COLLAR is not exceeded"


# Marks: fresh ones or none.


@pytest.mark.parametrize("measure", [Measure.PRICE_COLLAR, Measure.MAX_MARK_AGE])
def test_no_mark_no_market_order(measure):
    refused = last(limit(60, measure), order(1, None))
    assert refused.rule == "a market order has a mark to value it by"
    assert refused.facts == {"instrument_id": BTC, "missing": f"a mark of {BTC}: record one"}


def test_no_fresh_mark_no_market_order_and_the_age_is_on_record():
    setting = limit(1, Measure.PRICE_COLLAR)
    old = mark(when=at(-61))
    refused = last(setting, order(1, None, marks=[old]))
    assert refused.rule == "a fresh mark"
    assert (refused.facts["age_ms"], refused.facts["age_max_ms"], refused.facts["price"]) == ("61000", "60000", "100")
    assert last(setting, order(1, None, marks=[mark(when=at(-60))])).marks == (MarkSeen(mark(when=at(-60)), 60_000),)


def test_how_old_a_mark_may_be_is_a_limit_too_and_evidence():
    settings_ = [limit(1, Measure.PRICE_COLLAR), limit(5, Measure.MAX_MARK_AGE)]
    assert last(*settings_, order(1, None, marks=[mark(when=at(-6))])).rule == "a fresh mark"
    placed = last(*settings_, order(1, None, marks=[mark(when=at(-4))]))
    assert [(checked.measure, checked.asked) for checked in placed.judged] == [
        (Measure.PRICE_COLLAR, D(0)),
        (Measure.MAX_MARK_AGE, D(4)),
    ]


def test_a_market_order_without_limits_needs_no_mark():
    assert last(order(1, None)).mark is None


def test_exposure_without_a_mark_of_everything_held_is_refused_and_names_it():
    refused = last(money(1000, Measure.MAX_GROSS_EXPOSURE), post(1, instrument=ETH), order(1, marks=[mark()]))
    assert refused.rule == "a mark of every instrument that is measured"
    assert refused.facts == {"instrument_id": ETH, "missing": f"a mark of {ETH}: record one"}


def test_other_currencies_are_converted_by_named_instruments_and_the_marks_are_on_record():
    setting = money(400, Measure.MAX_GROSS_EXPOSURE, "EUR")
    refused = last(setting, order(1, marks=[mark()]))
    assert (refused.rule, refused.facts) == (
        "an instrument to convert currencies by",
        {
            "held_in": "USDT",
            "wanted": "EUR",
            "missing": "a rate from USDT to EUR: name an instrument to convert by, and record its mark",
        },
    )
    conversion = SetConversion("main", EUR, T0, contract=CONTRACTS[EUR])
    placed = last(setting, conversion, order(4, marks=[mark(), mark(EUR, "0.9")]))
    assert placed.judged[0].asked == D(360)
    assert [seen.mark.instrument_id for seen in placed.marks] == [BTC, EUR]
    dearer = last(setting, conversion, order(4, marks=[mark(), mark(EUR, "1.1")]))
    assert (dearer.failed.asked, dearer.failed.currency) == (D(440), "EUR")
    missing = last(setting, conversion, order(4, marks=[mark()]))
    assert missing.facts == {"instrument_id": EUR, "missing": f"a mark of {EUR}: record one"}


# What is held.


def test_net_exposure_sets_shorts_against_longs_and_gross_does_not():
    held = [post(3), post(-20, instrument=ETH, cost=-200)]
    marks = [mark(), mark(ETH, "10")]
    net = last(money(1000, Measure.MAX_NET_EXPOSURE), *held, order(1, marks=marks)).judged[0]
    gross = last(money(1000, Measure.MAX_GROSS_EXPOSURE), *held, order(1, marks=marks)).judged[0]
    assert (net.used, net.asked) == (D(100), D(200))
    assert (gross.used, gross.asked) == (D(500), D(600))


def test_leverage_and_concentration_are_fractions_of_equity():
    capital = assess(mark(), when=T0, capital=Money(D(1000), "USDT"))
    held = [post(3), post(20, instrument=ETH, cost=200)]
    marks = [mark(price="110"), mark(ETH, "10")]
    leverage = last(limit(2, Measure.MAX_LEVERAGE), *held, capital, order(5, marks=marks)).judged[0]
    assert leverage.used == divide(D(530), D(1030))
    assert leverage.asked == divide(D(1080), D(1030))
    focus = last(limit("0.5", Measure.MAX_CONCENTRATION), *held, capital, order(2, marks=marks))
    assert focus.rule == "MAX_CONCENTRATION is not exceeded"
    assert focus.failed.asked == divide(D(550), D(1030))
    unknown = last(limit(2, Measure.MAX_LEVERAGE), order(5, marks=marks))
    assert (unknown.rule, unknown.facts["missing"]) == (
        "a capital to measure by",
        "a capital: record a deposit or an opening balance of the account, or state its capital",
    )


def test_working_orders_count_and_are_released_when_they_end():
    scene = after().when(limit(1, Measure.MAX_OPEN_ORDERS)).then_some(LimitSet).when(order(1)).then_some(HoldPlaced)
    full = scene.when(order(1, name="B")).then_some(HoldRefused)
    voided = HoldVoided(OrderKey("main", "A"), "trend", BTC, D(1), T0)
    scene = full.reported(VoidHold(OrderKey("main", "A"), T0)).then(voided).repeated().then()
    scene = scene.when(order(1, name="B")).then_some(HoldPlaced)
    expired = HoldExpired(OrderKey("main", "B"), "trend", BTC, D(1), T0)
    scene = scene.reported(ExpireHold(OrderKey("main", "B"), T0)).then(expired).repeated().then()
    assert scene.state.holds == {}
    assert scene.state.exposure.cells == {}


def test_fills_post_what_was_held():
    scene = after().when(order(3)).then_some(HoldPlaced).reported(post(1, "A")).then_some(HoldPosted)
    assert (scene.state.held(Scope(), BTC, Side.BUY), scene.state.position(Scope(), BTC)) == (D(2), D(1))
    scene = scene.reported(post(2, "A")).then_some(HoldPosted)
    assert (scene.state.holds, scene.state.positions) == ({}, {("trend", BTC): D(3)})


def test_rates_count_what_was_let_through_in_a_sliding_window():
    setting = limit(2, Measure.MAX_ORDERS_PER_SECOND)
    orders = [order(1, name=f"A{ms}", when=at(ms / 1000)) for ms in (0, 600, 900, 1000, 1100, 1600)]
    results = story(setting, *orders)[1:]
    assert [type(event) for event in results] == [
        HoldPlaced, HoldPlaced, HoldRefused, HoldPlaced, HoldRefused, HoldPlaced,
    ]  # fmt: skip
    state = reduce(risk.evolve, [*story(setting), *results], None)
    assert len(state.windows[Scope(), Measure.MAX_ORDERS_PER_SECOND]) == 2
    minute = limit(2, Measure.MAX_ORDERS_PER_MINUTE)
    assert last(minute, *(order(1, name=f"A{s}", when=at(s)) for s in (0, 30, 59))).failed.used == D(2)


def test_an_order_from_a_clock_that_runs_ahead_does_not_empty_the_window():
    setting = limit(2, Measure.MAX_ORDERS_PER_SECOND)
    names = iter("ABCD")
    orders = [order(1, name=next(names), when=at(seconds)) for seconds in (0, 3600, 0.1, 0.2)]
    assert [type(event) for event in story(setting, *orders)[1:]] == [HoldPlaced, HoldPlaced, HoldRefused, HoldRefused]


# Orders that reduce are let through.


@pytest.mark.parametrize(
    "setting",
    [
        limit(2),
        money(200, Measure.MAX_POSITION_NOTIONAL),
        money(200, Measure.MAX_NET_EXPOSURE),
        money(200, Measure.MAX_GROSS_EXPOSURE),
        limit("0.0001", Measure.MAX_LEVERAGE),
        limit("0.0001", Measure.MAX_CONCENTRATION),
        limit(0, Measure.MAX_OPEN_ORDERS),
        limit(0, Measure.MAX_ORDERS_PER_SECOND),
        money(0, Measure.MAX_DAILY_LOSS),
        limit(0, Measure.MAX_DRAWDOWN),
    ],
    ids=lambda setting: setting.measure,
)
def test_an_order_that_reduces_passes_over_the_limit_and_one_that_does_not_is_refused(setting):
    marks = [mark(price="90")]
    start = [post(10), assess(mark(), capital=Money(D(10_000), "USDT")), assess(*marks), setting]
    assert isinstance(last(*start, sell(4, "90", marks=marks)), HoldPlaced)
    assert isinstance(last(*start, order(1, "90", marks=marks)), HoldRefused)


def test_an_order_through_zero_is_not_a_reduction():
    assert last(limit(2), post(10), sell(13)).failed.asked == D(-3)
    assert isinstance(last(limit(2), post(10), sell(12)), HoldPlaced)
    assert last(limit(2), post(10), sell(8), sell(5, name="B")).failed.asked == D(-3)


def test_a_reduction_needs_no_mark_of_other_things_held():
    held = [money(200, Measure.MAX_GROSS_EXPOSURE), post(10), post(1, instrument=ETH)]
    assert last(*held, sell(4)).judged == ()
    assert last(*held, order(4)).rule == "a mark of every instrument that is measured"


def test_a_reduce_only_order_reduces():
    reduce_only = frozenset({ExecInst.REDUCE_ONLY})
    assert isinstance(last(post(3), sell(3, exec_inst=reduce_only)), HoldPlaced)
    refused = last(post(3), sell(4, exec_inst=reduce_only))
    assert refused.rule == "a reduce-only order reduces its strategy's position"
    assert refused.facts["position"] == "3"


# Replacements.


def adjust(qty, change="A2", price="100", side=Side.BUY, held=None, when=T0, **more):
    place = order(qty, price, side, when=when, **more)
    return AdjustHold(place.key, change, place.terms, D(held if held is not None else qty), place.contract, when)


def test_a_replacement_is_checked_by_what_it_adds_and_only_once():
    scene = after().when(limit(5)).then_some(LimitSet).when(order(3)).then_some(HoldPlaced)
    scene = scene.when(adjust(5)).then_some(HoldAdjusted)
    assert (scene.events[-1].was, scene.events[-1].quantity) == (D(3), D(5))
    assert scene.events[-1].judged[0].asked == D(5)
    scene = scene.repeated().then()
    scene = scene.when(adjust(6, "A3")).then_some(HoldRefused)
    assert scene.events[-1].change_id == "A3"
    scene = scene.repeated().refused("MAX_POSITION is not exceeded", limit=D(5), asked=D(6))
    assert scene.state.held(Scope(), BTC, Side.BUY) == D(5)


def test_a_replacement_does_not_count_as_another_open_order_but_does_as_a_message():
    start = [limit(1, Measure.MAX_OPEN_ORDERS), limit(1, Measure.MAX_ORDERS_PER_SECOND), order(1)]
    refused = last(*start, adjust(2))
    assert refused.failed.measure is Measure.MAX_ORDERS_PER_SECOND
    assert isinstance(last(*start, adjust(2, when=at(1))), HoldAdjusted)


def test_a_replacement_that_holds_less_passes_over_the_limit():
    assert isinstance(last(order(3), limit(1), adjust(2)), HoldAdjusted)


def test_what_the_venue_makes_of_an_order_is_held_without_a_check():
    restated = RestateHold(OrderKey("main", "X"), "trend", BTC, Side.BUY, D(7), CONTRACTS[BTC], T0)
    scene = after().when(limit(5)).then_some(LimitSet)
    scene = scene.reported(restated).then_some(HoldAdjusted, LimitBreached).repeated().then()
    less = RestateHold(OrderKey("main", "X"), "trend", BTC, Side.BUY, D(4), CONTRACTS[BTC], T0)
    scene = scene.reported(less).then_some(HoldAdjusted, BreachCleared)
    gone = RestateHold(OrderKey("main", "X"), "trend", BTC, Side.BUY, D(0), CONTRACTS[BTC], T0)
    assert scene.reported(gone).then_some(HoldAdjusted).state.exposure.cells == {}


# Kill switch.


def engage(mode=Mode.HALT, actor="alice", **scope):
    return EngageSwitch("main", Scope(**scope), mode, "fat finger", T0, actor)


def release(actor="bob", **scope):
    return ReleaseSwitch("main", Scope(**scope), "looked into", T0, actor)


def test_a_switch_records_who_why_when_and_another_releases_it():
    engaged = SwitchEngaged("main", Scope(), Mode.HALT, "fat finger", "alice", 1, T0)
    released = SwitchReleased("main", Scope(), "looked into", "bob", 2, T0)
    scene = after().when(engage()).then(engaged).repeated().then()
    scene = scene.when(release("alice")).refused(
        "a kill switch is released by another actor than who engaged it", actor="alice", engaged_by="alice"
    )
    scene = scene.when(engage(Mode.REDUCE_ONLY)).refused(
        "a kill switch is released by another actor than who engaged it", actor="alice", engaged_by="alice"
    )
    scene = scene.when(release()).then(released).repeated().then()
    assert scene.when(engage()).then_some(SwitchEngaged).events[-1].version == 3


def test_halt_lets_nothing_through_and_reduce_only_what_reduces():
    refused = last(post(5), engage(), sell(1))
    assert refused.rule == "the kill switch is not engaged"
    assert (refused.facts["engaged_by"], refused.facts["reason"]) == ("alice", "fat finger")
    assert isinstance(last(post(5), engage(Mode.REDUCE_ONLY), sell(5)), HoldPlaced)
    over = last(post(5), engage(Mode.REDUCE_ONLY), sell(6))
    assert over.rule == "an order reduces a position while the kill switch is at REDUCE_ONLY"
    assert isinstance(last(post(5), engage(Mode.REDUCE_ONLY), order(1)), HoldRefused)


def test_a_switch_covers_its_scope():
    assert isinstance(last(engage(strategy_id="trend"), order(1, strategy="carry")), HoldPlaced)
    assert isinstance(last(engage(venue="SIM"), order(1)), HoldRefused)


# Loss, drawdown, days.


def test_a_daily_loss_stops_orders_that_do_not_reduce():
    setting = money(50, Measure.MAX_DAILY_LOSS)
    realized = post(-1, cost=-100, gains=[("-30", "USDT"), ("-0.1", "BTC")], exec_id="E2")
    start = [setting, SetConversion("main", BTC, T0, contract=CONTRACTS[BTC]), post(2), realized]
    fits = last(*start, order(1, marks=[mark(price="91")]))
    assert fits.judged[0].asked == D("48.1")  # 30 realized, 0.1 BTC of fees at 91, 1 BTC down from 100 to 91
    refused = last(*start, order(1, marks=[mark(price="80")]))
    assert refused.failed.asked == D(58)
    assert isinstance(last(*start, sell(1, marks=[mark(price="80")])), HoldPlaced)


def test_a_day_opens_at_its_first_marks_and_yesterday_is_forgotten():
    setting = money(50, Measure.MAX_DAILY_LOSS)
    day = 24 * 3600
    start = [setting, post(1), post(0, gains=[("-49", "USDT")], cost=0)]
    opened, placed = story(*start, order(1, when=at(day), marks=[mark(price="60", when=at(day))]))[-2:]
    assert isinstance(opened, DayOpened)
    assert (opened.day_from, opened.marks[0].mark.price) == (datetime(2026, 3, 3, tzinfo=UTC), D(60))
    assert placed.judged[0].asked == D(0)
    later = [order(1, when=at(day), marks=[mark(price="60", when=at(day))])]
    down = last(*start, *later, order(1, name="B", when=at(day + 5), marks=[mark(price="9", when=at(day + 5))]))
    assert down.failed.asked == D(51)


def test_the_trading_day_starts_at_its_hour():
    scene = after().when(SetTradingDay("main", 17, T0)).then(TradingDaySet("main", 17, T0)).repeated().then()
    loss = post(0, gains=[("-49", "USDT")], cost=0)
    evening = at(8 * 3600)
    limits = scene.when(money(10, Measure.MAX_DAILY_LOSS)).then_some(LimitSet).reported(loss).then_some(HoldPosted)
    assert limits.when(order(1)).then_some(HoldRefused).events[-1].failed.asked == D(49)
    limits.when(order(1, name="B", when=evening)).then_some(HoldPlaced)


def test_a_late_booking_counts_for_its_own_day():
    day = 24 * 3600
    late = post(0, gains=[("-49", "USDT")], cost=0, when=T0, exec_id="late")
    today = post(0, gains=[("-5", "USDT")], cost=0, when=at(day))
    setting = money(100, Measure.MAX_DAILY_LOSS)
    for bookings in ([late, today], [today, late]):
        assert last(setting, *bookings, order(1, when=at(day))).judged[0].asked == D(5)


def test_restatements_and_funding_change_gains_of_their_day():
    day = 24 * 3600
    changes = (Change(T0, gains=(Money(D(-40), "USDT"),)), Change(at(day), cost=D(10), gains=(Money(D(-7), "USDT"),)))
    moved = PostGains("main", "trend", BTC, "late", changes)
    start = [money(100, Measure.MAX_DAILY_LOSS), post(1), moved]
    placed = last(*start, order(1, when=at(day), marks=[mark(when=at(day))]))
    assert placed.judged[0].asked == D(17)  # 7 realized, and 10 more cost of what is held
    after().reported(PostGains("main", "trend", BTC, "nothing", (Change(T0),))).then()


def test_drawdown_is_measured_from_the_highest_gain_and_capital_is_no_gain():
    start = [limit("0.1", Measure.MAX_DRAWDOWN), post(10)]
    capital = Money(D(1000), "USDT")
    scene = after(*story(*start)).when(assess(mark(), capital=capital)).then_some(CapitalStated, EquityAssessed)
    scene = scene.repeated().then()
    scene = scene.when(assess(mark(price="120"))).then_some(EquityAssessed)
    assert (scene.events[-1].gain, scene.events[-1].high) == (D(200), D(200))
    scene = scene.when(assess(mark(price="110"))).then()
    assert scene.when(order(1, marks=[mark(price="109")])).then_some(HoldPlaced).events[-1].judged[0].asked == D(
        "0.091666666666666667"
    )
    scene = scene.when(assess(mark(price="107"))).then_some(LimitBreached)
    assert scene.events[-1].used == D("0.108333333333333333")
    more = Money(D(5000), "USDT")
    scene = scene.when(assess(mark(price="107"), capital=more)).then_some(CapitalStated, EquityAssessed, BreachCleared)
    assert scene.events[-2].high == D(200)


# Breaches that no order made.


def test_the_market_breaches_a_limit_and_keeps_it_again():
    setting = money(1000, Measure.MAX_POSITION_NOTIONAL)
    scene = after(*story(setting, post(9))).when(assess(mark())).then()
    scene = scene.when(assess(mark(price="112"))).then(
        LimitBreached(
            "main", Scope(), Measure.MAX_POSITION_NOTIONAL, BTC, 1, D(1000), "USDT", D(1008),
            (MarkSeen(mark(price="112"), 0),), T0,
        )
    ).repeated().then()  # fmt: skip
    scene.when(assess(mark(price="111"))).then_some(BreachCleared).repeated().then()


def test_a_breach_is_over_when_what_it_was_of_is_gone():
    setting = money(1000, Measure.MAX_POSITION_NOTIONAL)
    scene = after(*story(setting, post(11), assess(mark()))).reported(post(-11)).then_some(HoldPosted)
    scene.when(assess()).then_some(BreachCleared)


def test_what_cannot_be_measured_is_on_record_until_it_can():
    setting = money(1000, Measure.MAX_GROSS_EXPOSURE)
    scene = after(*story(setting, post(9))).when(assess()).then_some(AssessmentMissed).repeated().then()
    assert scene.events[-1].rule == "a mark of every instrument that is measured"
    scene.when(assess(mark())).then_some(AssessmentResumed).repeated().then()


def test_a_fill_beyond_the_limit_is_recorded_with_its_breach():
    scene = after(*story(limit(5), order(5))).reported(post(6, "A", last_qty=6)).then_some(HoldPosted, LimitBreached)
    assert (scene.events[-1].subject, scene.events[-1].used) == (BTC, D(6))
    scene = scene.reported(post(-2)).then_some(HoldPosted, BreachCleared)
    assert scene.state.breaches == {}


def test_lifting_a_limit_ends_its_breach():
    state = reduce(risk.evolve, story(limit(5), post(6), limit(None)), None)
    assert (state.breaches, state.active) == ({}, ())


# Properties.

QUANTITIES = st.integers(1, 8).map(D)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "order", "fill", "void", "adjust", "expire"]),
        st.sampled_from(["A", "B", "C", "D"]),
        st.sampled_from(["trend", "carry"]),
        st.sampled_from([BTC, ETH]),
        st.sampled_from([Side.BUY, Side.SELL]),
        QUANTITIES,
    ),
    max_size=40,
)


class Naive:
    """Positions and working orders in the plainest of ways."""

    def __init__(self):
        self.held = {}
        self.working = {}

    def filled(self, name, qty):
        strategy, instrument, side, left = self.working.pop(name)
        done = min(qty, left)
        place = (strategy, instrument)
        self.held[place] = self.held.get(place, 0) + side.sign * done
        if left > done:
            self.working[name] = (strategy, instrument, side, left - done)
        return post(side.sign * done, name, strategy, instrument)

    def usage(self, instrument, sign):
        posted = sum(qty for (_, name), qty in self.held.items() if name == instrument)
        return posted + sum(
            s.sign * qty for (_, name, s, qty) in self.working.values() if name == instrument and s.sign == sign
        )


def run(steps, check):
    """Orders, fills within what they hold, ends and replacements, against limits of 10 units and 3 open orders."""
    state = reduce(
        risk.evolve, story(limit(10), limit(7, strategy_id="trend"), limit(3, Measure.MAX_OPEN_ORDERS)), None
    )
    naive = Naive()
    for index, (what, name, strategy, instrument, side, qty) in enumerate(steps):
        key = OrderKey("main", name)
        known = naive.working.get(name)
        if what == "order" and known is None:
            request = order(qty, side=side, name=name, strategy=strategy, instrument=instrument, when=at(index))
            events = risk.decide(state, request)
            if isinstance(events[-1], HoldPlaced):
                naive.working[name] = (strategy, instrument, side, qty)
        elif known is None:
            continue
        elif what == "adjust":
            terms = dict(zip(("strategy", "instrument", "side"), known, strict=False))
            events = risk.decide(state, adjust(qty, f"{name}-{index}", name=name, **terms))
            if isinstance(events[-1], HoldAdjusted):
                naive.working[name] = (*known[:3], qty)
        elif what == "fill":
            events = risk.admit(state, naive.filled(name, qty))
        else:
            del naive.working[name]
            events = risk.admit(state, VoidHold(key, T0) if what == "void" else ExpireHold(key, T0))
        before, state = state, reduce(risk.evolve, events, state)
        check(before, state, naive, events)


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_usage_in_the_state_is_that_of_a_plain_recount(steps):
    def check(before, state, naive, events):
        for instrument in (BTC, ETH):
            posted = sum((qty for (_, name), qty in naive.held.items() if name == instrument), D(0))
            assert state.position(Scope(), instrument) == posted
            for side in Side:
                used = state.position(Scope(), instrument) + side.sign * state.held(Scope(), instrument, side)
                assert used == naive.usage(instrument, side.sign)
        assert {key.cl_ord_id: hold.quantity for key, hold in state.holds.items()} == {
            name: qty for name, (_, _, _, qty) in naive.working.items()
        }
        assert sum(cell.orders for _, _, cell in state.exposure.all()) == len(naive.working)

    run(steps, check)


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_held_and_posted_never_exceed_a_limit_by_an_order(steps):
    def check(before, state, naive, events):
        for instrument in (BTC, ETH):
            for sign in (1, -1):
                assert abs(naive.usage(instrument, sign)) <= 10
            assert all(abs(state.position(Scope("trend"), name)) <= 7 for name in (BTC, ETH))
        assert not state.breaches

    run(steps, check)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_folding_the_events_gives_the_state(steps):
    history = story(limit(10), limit(7, strategy_id="trend"), limit(3, Measure.MAX_OPEN_ORDERS))
    states = [None]

    def check(before, state, naive, events):
        history.extend(events)
        states[0] = state

    run(steps, check)
    if states[0] is not None:
        assert reduce(risk.evolve, history, None) == states[0]


BOOKINGS = st.lists(
    st.tuples(
        st.sampled_from(["trend", "carry"]),
        st.sampled_from([BTC, ETH]),
        st.integers(-5, 5).map(D),
        st.integers(-3, 3),
        st.integers(0, 3 * 24 * 3600),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=100)
@given(BOOKINGS, st.randoms(use_true_random=False), st.integers(0, 23))
def test_bookings_in_any_order_end_in_the_same_usage_and_day(bookings, random, hour):
    def state_of(items):
        reports = [
            post(qty, strategy=strategy, instrument=name, gains=[(gain, "USDT")] if gain else [], when=at(seconds))
            for strategy, name, qty, gain, seconds in items
        ]
        return reduce(risk.evolve, story(SetTradingDay("main", hour, T0), *reports), None) or Risk()

    shuffled = list(bookings)
    random.shuffle(shuffled)
    assert state_of(bookings).exposure == state_of(shuffled).exposure
    for strategy, name in {(item[0], item[1]) for item in bookings}:
        total = sum((item[2] for item in bookings if item[:2] == (strategy, name)), D(0))
        assert state_of(bookings).exposure.cell(Desk("main", strategy), name).now.quantity == total


@settings(deadline=None, max_examples=100)
@given(BOOKINGS, st.randoms(use_true_random=False))
def test_the_loss_of_a_day_is_that_of_its_bookings_in_any_order(bookings, random):
    """Against a plain sum: gains of the day, and what is held now and was at the day's start at marks and cost."""
    shuffled = list(bookings)
    random.shuffle(shuffled)
    now = at(2 * 24 * 3600)
    start = now.replace(hour=0)
    items = [item for item in shuffled if at(item[4]) <= now]
    reports = [
        post(qty, strategy=strategy, instrument=name, gains=[(gain, "USDT")] if gain else [], when=at(seconds))
        for strategy, name, qty, gain, seconds in items
    ]
    marks = [mark(BTC, "90", now), mark(ETH, "120", now)]
    placed = last(money(10**9, Measure.MAX_DAILY_LOSS), *reports, order(1, when=now, marks=marks))
    prices = {BTC: D(90), ETH: D(120)}
    gain = D(0)
    for _, name, qty, gained, seconds in items:
        if at(seconds) >= start:
            gain += gained + qty * prices[name] - qty * 100
    assert placed.judged[0].asked == max(-gain, D(0))


def test_an_error_of_a_refusal_carries_its_facts():
    error = risk.refusal(last(engage(), order(1)))
    assert isinstance(error, RequestRefused)
    assert error.facts["kill_switch"] == "HALT"

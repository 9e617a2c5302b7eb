"""Limits on the way of a command: what the ledger makes of them, in the account's stream and in the firm's."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain import risk
from domain.account import Costing, OpenAccount
from domain.errors import RequestRefused
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger
from domain.order import (
    Changes,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFillBusted,
    OrderFilled,
    OrderKey,
    OrderReplaced,
    OrderReplaceRejected,
    OrderTerms,
    OrdType,
    ReplaceOrder,
    SubmitOrder,
)
from domain.position import PositionKey, SettleFunding
from domain.risk import (
    FIRM,
    AssessMarks,
    Desk,
    EngageSwitch,
    Measure,
    Mode,
    ReleaseSwitch,
    Scope,
    SetConversion,
    SetLimit,
)
from domain.values import ZERO, Liquidity, Mark, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
ACCOUNTS = ("main", "second")


def desk(log=None, marks=None, accounts=ACCOUNTS):
    """A ledger with two accounts and one instrument."""
    log = log if log is not None else MemoryLog()
    ledger = Ledger(log, lambda: T0, (marks or {}).get)
    for account in accounts:
        ledger.request(OpenAccount(account, "USDT", Costing(), T0), actor="alice")
    ledger.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="alice")
    return ledger, log


def submit(name, qty="1", side=Side.BUY, price="100", account="main", strategy="trend"):
    kind = OrdType.MARKET if price is None else OrdType.LIMIT
    terms = OrderTerms(strategy, BTC, side, kind, D(qty), None if price is None else D(price))
    return SubmitOrder(OrderKey(account, name), terms, T0)


def fill(name, exec_id, qty="1", side=Side.BUY, price="100", account="main", at=0, fee="0", paid_in="USDT"):
    return OrderFilled(
        OrderKey(account, name), "trend", BTC, "", side, exec_id, at, D(qty), D(price), Money(D(fee), paid_in),
        Liquidity.TAKER, T0 + timedelta(seconds=at),
    )  # fmt: skip


def limit(value, account="main", measure=Measure.MAX_POSITION, currency=None, **scope):
    return SetLimit(account, Scope(**scope), measure, None if value is None else D(value), currency, T0)


def request(ledger, *requests):
    for request in requests:
        ledger.request(request, actor="trader")


def passes(ledger, request):
    try:
        ledger.request(request, actor="trader")
    except RequestRefused:
        return False
    return True


def limits(ledger, account="main"):
    return ledger.state(risk.stream(account))


def streams(log, after):
    return [(logged.recorded.stream, type(logged.recorded.event).__name__) for logged in log.select(after=after)]


# One account.


def test_fills_bring_cost_and_gains_to_the_limits():
    ledger, _ = desk()
    request(ledger, submit("A", "2"), submit("B", "1", Side.SELL))
    ledger.report([fill("A", "E1", "2", at=1, fee="0.5")], actor="venue")
    ledger.report([fill("B", "E2", "1", Side.SELL, "110", at=2, fee="0.01", paid_in="BNB")], actor="venue")
    funding = SettleFunding(PositionKey("main", "trend", BTC), "F1", Money(D("-0.25"), "USDT"), T0)
    ledger.report([funding], actor="venue")
    now = limits(ledger).exposure.cell(Desk("main", "trend"), BTC).now
    assert (now.quantity, now.cost, now.gains) == (D(1), D(100), {"USDT": D("9.25"), "BNB": D("-0.01")})


def test_a_base_fee_of_spot_costs_what_it_cost():
    ledger, _ = desk()
    ledger.report([fill("A", "E1", "2", at=1, fee="0.1", paid_in="BTC")], actor="venue")
    now = limits(ledger).exposure.cell(Desk("main", "trend"), BTC).now
    assert (now.quantity, now.cost, now.gains) == (D("1.9"), D(190), {"USDT": D(-10)})


FILLS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)), st.integers(1, 4), st.integers(90, 110), st.integers(0, 3),
        st.sampled_from(["USDT", "BNB"]),
    ),
    min_size=1,
    max_size=7,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(FILLS, st.randoms(use_true_random=False), st.data())
def test_fills_in_any_order_and_twice_end_in_the_same_usage(fills, random, data):
    reports = [
        fill(f"O{n}", f"E{n}", str(qty), side, str(price), at=n * 30_000, fee=str(fee), paid_in=paid_in)
        for n, (side, qty, price, fee, paid_in) in enumerate(fills)
    ]
    shuffled = [*reports, data.draw(st.sampled_from(reports))]
    random.shuffle(shuffled)
    cells = []
    for shown in (reports, shuffled):
        ledger, _ = desk()
        for report in shown:
            ledger.report([report], actor="venue")
        cell = limits(ledger).exposure.cell(Desk("main", "trend"), BTC)
        cells.append((cell.now, cell.opened(T0 + timedelta(days=1)), cell.opened(T0 + timedelta(days=2))))
    assert cells[0][0] == cells[1][0]
    position = ledger.state(f"position:main:trend:{BTC}")
    assert cells[1][0].quantity == position.quantity
    assert cells[1][0].cost == position.book.cost
    fees = position.fees
    gained = position.realized + position.rounding - position.fee_cost - fees.get("USDT", ZERO)
    assert cells[1][0].gains.get("USDT", ZERO) == gained
    assert cells[1][0].gains.get("BNB", ZERO) == -fees.get("BNB", ZERO)


def replace_to(qty, name="A", requested_as="A2"):
    return ReplaceOrder(OrderKey("main", name), requested_as, Changes(order_qty=D(qty)), T0)


def held(ledger, name="A", account="main"):
    hold = limits(ledger, account).holds.get(OrderKey(account, name))
    return hold.quantity if hold else None


def test_a_replacement_holds_the_larger_until_it_is_answered():
    ledger, _ = desk()
    request(ledger, limit(5), submit("A", "3"))
    ledger.report([OrderAccepted(OrderKey("main", "A"), "V1", T0)], actor="venue")
    request(ledger, replace_to("5"))
    assert held(ledger) == D(5)
    replaced = OrderReplaced(OrderKey("main", "A"), T0 + timedelta(seconds=1), requested_as="A2")
    ledger.report([replaced], actor="venue")
    request(ledger, replace_to("2", requested_as="A3"))
    assert held(ledger) == D(5)
    replaced = OrderReplaced(OrderKey("main", "A"), T0 + timedelta(seconds=2), requested_as="A3")
    ledger.report([replaced], actor="venue")
    assert held(ledger) == D(2)


def test_a_replacement_that_does_not_fit_is_refused_on_record_and_again_the_same():
    ledger, log = desk()
    request(ledger, limit(5), submit("A", "3"))
    for _ in range(2):
        with pytest.raises(RequestRefused, match="MAX_POSITION is not exceeded") as refused:
            request(ledger, replace_to("6"))
        assert refused.value.facts["asked"] == D(6)
    assert [name for _, name in streams(log, 0)].count("HoldRefused") == 1
    assert held(ledger) == D(3)


def test_a_replacement_the_venue_rejects_gives_the_difference_back():
    ledger, _ = desk()
    request(ledger, submit("A", "3"), replace_to("5"))
    rejected = OrderReplaceRejected(OrderKey("main", "A"), "no", T0 + timedelta(seconds=1), requested_as="A2")
    ledger.report([rejected], actor="venue")
    assert held(ledger) == D(3)


def test_the_end_of_an_order_voids_or_expires_its_hold():
    ledger, log = desk()
    request(ledger, submit("A"), submit("B"))
    ledger.report([OrderCanceled(OrderKey("main", "A"), "user", T0)], actor="venue")
    ledger.report([OrderExpired(OrderKey("main", "B"), "end of day", T0)], actor="venue")
    assert [name for _, name in streams(log, 0) if name.startswith("Hold")] == [
        "HoldPlaced", "HoldPlaced", "HoldVoided", "HoldExpired",
    ]  # fmt: skip


def test_a_busted_fill_is_held_again():
    ledger, _ = desk()
    request(ledger, submit("A", "3"))
    ledger.report([fill("A", "E1", "2", at=1)], actor="venue")
    bust = OrderFillBusted(OrderKey("main", "A"), "E1", "error", T0 + timedelta(seconds=2), exec_id="B1")
    ledger.report([bust], actor="venue")
    now = limits(ledger).exposure.cell(Desk("main", "trend"), BTC)
    assert (now.now.quantity, now.now.cost, now.buying) == (D(0), D(0), D(3))


def test_the_actor_of_a_switch_is_the_caller():
    ledger, _ = desk()
    engage = EngageSwitch("main", Scope(), Mode.HALT, "fat finger", T0, actor="another")
    ledger.request(engage, actor="alice")
    with pytest.raises(RequestRefused, match="another actor") as refused:
        ledger.request(ReleaseSwitch("main", Scope(), "fine", T0, actor="bob"), actor="alice")
    assert refused.value.facts["engaged_by"] == "alice"
    assert not passes(ledger, submit("A"))
    ledger.request(ReleaseSwitch("main", Scope(), "fine", T0), actor="bob")
    assert passes(ledger, submit("B"))


def test_marks_of_all_that_is_held_are_looked_up():
    eth = "ETHUSDT.SIM"
    marks = {BTC: Mark(BTC, D(100), "SIM", T0)}
    ledger, _ = desk(marks=marks)
    request(ledger, ListInstrument(eth, Contract(Kind.LINEAR, "ETH", "USDT", "USDT"), D("0.01"), D("0.001")))
    report = OrderFilled(
        OrderKey("main", "X"), "trend", eth, "", Side.BUY, "E1", 0, D(3), D(10), Money(ZERO, "USDT"),
        Liquidity.TAKER, T0,
    )  # fmt: skip
    ledger.report([report], actor="venue")
    request(ledger, limit(150, measure=Measure.MAX_GROSS_EXPOSURE, currency="USDT"))
    with pytest.raises(RequestRefused, match="a mark of every instrument") as refused:
        request(ledger, submit("A"))
    assert refused.value.facts["instrument_id"] == eth
    marks[eth] = Mark(eth, D(10), "SIM", T0)
    assert passes(ledger, submit("B"))
    request(ledger, AssessMarks("main", (Mark(eth, D(20), "SIM", T0),), T0))
    assert [breach.used for breach in limits(ledger).breaches.values()] == [D(160)]


def test_a_conversion_takes_the_contract_of_its_instrument():
    ledger, _ = desk()
    request(ledger, SetConversion("main", BTC, T0))
    assert limits(ledger).conversions == {BTC: SPOT}
    with pytest.raises(RequestRefused, match="the instrument is listed"):
        request(ledger, SetConversion("main", "XY.SIM", T0))


# The firm.


def test_no_account_is_called_as_the_firm():
    ledger, _ = desk()
    with pytest.raises(RequestRefused, match="other than the firm's own"):
        request(ledger, OpenAccount(FIRM, "USDT", Costing(), T0))


def test_a_fill_touches_three_streams_while_the_firm_has_no_limit():
    ledger, log = desk()
    request(ledger, submit("A"))
    before = log.head().seq
    ledger.report([fill("A", "E1", at=1)], actor="venue")
    written = {stream.partition(":")[0] for stream, _ in streams(log, before)}
    assert written <= {"order", "position", "limit", "account"}
    assert "limit:firm" not in {stream for stream, _ in streams(log, before)}


def test_the_firms_first_limit_carries_what_all_accounts_hold():
    ledger, log = desk()
    request(ledger, submit("A", "2"), submit("B", "4", account="second"))
    ledger.report([fill("A", "E1", "1", at=1)], actor="venue")
    request(ledger, limit(8, FIRM))
    firm = limits(ledger, FIRM)
    assert (firm.position(Scope(), BTC), firm.held(Scope(), BTC, Side.BUY)) == (D(1), D(5))
    assert limits(ledger).is_watched
    assert not passes(ledger, submit("C", "3"))
    refused = ledger.state("order:main:C").refusal
    assert (refused.facts["whose"], refused.facts["used"], refused.facts["asked"]) == ("firm", "6", "9")
    assert passes(ledger, submit("D", "2", account="second"))
    before = log.head().seq
    ledger.report([fill("B", "E2", "4", account="second", at=1)], actor="venue")
    assert [item for item in streams(log, before) if item[0].startswith("limit:")] == [
        ("limit:second", "HoldPosted"),
        ("limit:firm", "FirmUsageChanged"),
    ]
    firm = limits(ledger, FIRM)
    assert (firm.position(Scope(), BTC), firm.held(Scope(), BTC, Side.BUY)) == (D(5), D(3))


def test_the_firms_usage_is_the_sum_of_the_accounts_and_forgotten_with_its_last_limit():
    ledger, log = desk()
    request(ledger, submit("A", "2"), limit(100, FIRM), submit("B", "4", account="second"))
    ledger.report([fill("A", "E1", "1", at=1), fill("B", "E2", "4", account="second", at=1)], actor="venue")
    ledger.report([OrderCanceled(OrderKey("main", "A"), "user", T0 + timedelta(seconds=2))], actor="venue")
    cells = {}
    for account in ACCOUNTS:
        cells |= {(name, owner): cell for name, owner, cell in limits(ledger, account).exposure.all()}
    assert {(name, owner): cell for name, owner, cell in limits(ledger, FIRM).exposure.all()} == cells
    request(ledger, limit(None, FIRM))
    assert limits(ledger, FIRM).exposure.cells == {}
    assert not limits(ledger).is_watched
    before = log.head().seq
    request(ledger, submit("C"))
    assert "limit:firm" not in {stream for stream, _ in streams(log, before)}
    request(ledger, limit(100, FIRM))
    assert limits(ledger, FIRM).position(Scope(), BTC) == D(5)


def test_an_account_opened_under_the_watch_is_watched():
    ledger, _ = desk(accounts=())
    request(ledger, limit(1, FIRM), OpenAccount("late", "USDT", Costing(), T0))
    assert passes(ledger, submit("A", account="late"))
    assert not passes(ledger, submit("B", account="late"))


def test_the_firms_kill_switch_stops_every_account_and_its_marks_are_assessed():
    ledger, _ = desk()
    with pytest.raises(RequestRefused, match="a firm with limits"):
        request(ledger, AssessMarks(FIRM, (), T0))
    ledger.request(EngageSwitch(FIRM, Scope(), Mode.HALT, "incident", T0), actor="cro")
    assert not passes(ledger, submit("A"))
    assert not passes(ledger, submit("A", account="second"))
    request(ledger, AssessMarks(FIRM, (), T0))
    ledger.request(ReleaseSwitch(FIRM, Scope(), "over", T0), actor="ceo")
    assert passes(ledger, submit("B"))


# Races: two ledgers, one log. The second to append finds its version taken, and decides again.


class Overtaken:
    """A log on which, before the first append of one writer, another gets in a command of its own."""

    def __init__(self, log, meanwhile):
        self._log = log
        self._meanwhile = meanwhile

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, records):
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self._log.append(records)


def race(setting, first, second, before=()):
    """Whether each of two commands passes when the second gets in between decision and append of the first."""
    log = MemoryLog()
    theirs, _ = desk(log)
    request(theirs, *setting, *before)
    outcomes = {}

    def meanwhile():
        outcomes["second"] = passes(theirs, second)

    ours = Ledger(Overtaken(log, meanwhile), lambda: T0)
    outcomes["first"] = passes(ours, first)
    return outcomes["first"], outcomes["second"], theirs


QTY = st.integers(1, 6)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 8), QTY, QTY, st.sampled_from(ACCOUNTS), st.sampled_from(["main", FIRM]))
def test_two_orders_racing_for_one_limit_never_both_pass(room, one, two, account, holder):
    if holder == "main":
        account = "main"
    first, second, ledger = race([limit(room, holder)], submit("A", str(one)), submit("B", str(two), account=account))
    assert second == (two <= room)
    assert first == (one + (two if second else 0) <= room)
    assert limits(ledger, holder).held(Scope(), BTC, Side.BUY) <= room


def test_an_order_decided_before_the_firms_first_limit_is_checked_by_it_all_the_same():
    first, second, ledger = race([], submit("A", "3"), limit(2, FIRM))
    assert (first, second) == (False, True)
    assert limits(ledger, FIRM).held(Scope(), BTC, Side.BUY) == D(0)


def test_an_account_opened_while_the_firm_gets_its_first_limit_is_watched():
    opening = OpenAccount("late", "USDT", Costing(), T0)
    _, _, ledger = race([], opening, limit(2, FIRM))
    assert limits(ledger, "late").is_watched
    _, _, ledger = race([], limit(2, FIRM), opening)
    assert limits(ledger, "late").is_watched
    assert not passes(ledger, submit("A", "3", account="late"))


def test_a_fill_booked_while_the_firm_gets_its_first_limit_is_counted_once():
    log = MemoryLog()
    theirs, _ = desk(log)
    request(theirs, submit("A", "3"))
    ours = Ledger(Overtaken(log, lambda: request(theirs, limit(5, FIRM))), lambda: T0)
    ours.report([fill("A", "E1", "2", at=1)], actor="venue")
    firm = limits(theirs, FIRM)
    assert (firm.position(Scope(), BTC), firm.held(Scope(), BTC, Side.BUY)) == (D(2), D(1))


def test_gains_of_a_restatement_are_summed_by_hour():
    ledger, _ = desk()
    day = 24 * 3600
    ledger.report([fill("A", "E1", "2", at=0), fill("B", "E3", "1", Side.SELL, "120", at=day)], actor="venue")
    ledger.report([fill("C", "E2", "2", price="140", at=10)], actor="venue")
    cell = limits(ledger).exposure.cell(Desk("main", "trend"), BTC)
    assert cell.opened(T0 + timedelta(days=1)).gains == {}
    assert (cell.now.quantity, cell.now.cost, cell.now.gains) == (D(3), D(360), {})
    assert (cell.opening.quantity, cell.opening.cost) == (D(4), D(480))

"""Accounts: conventions, transfers, fees, closing; and balances, which are known exactly."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain import account, position
from domain.account import (
    CLOSED,
    NOTHING_HELD,
    AccountBroken,
    AccountClosed,
    AccountOpened,
    BookEntry,
    CashEntry,
    ChargeFee,
    CloseAccount,
    CostBasis,
    Costing,
    EntryBooked,
    EntryKind,
    FeeCharged,
    FeePolicy,
    Held,
    Indicator,
    Leg,
    OpenAccount,
    Personal,
    PositionOpened,
    RequestTransfer,
    ResolveBreak,
    ReturnTransfer,
    SettleTransfer,
    TransferPending,
    TransferReturned,
    TransferSettled,
    TransferStatus,
    mirrored,
)
from domain.errors import InvalidInput, RequestRefused
from domain.holdings import balances
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Ledger, scan
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import PositionKey, SettleFunding, Transfer
from domain.values import Liquidity, Money, Side
from tests.given import Given

after = Given(account)

T0 = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
DAY = date(2026, 1, 2)
HOUR = timedelta(hours=1)
OPENED = AccountOpened("main", "USDT", Costing(), T0)
MARGIN = replace(OPENED, is_margin=True)


def usdt(amount):
    return Money(D(amount), "USDT")


def credit(amount):
    return CashEntry(Indicator.CREDIT, usdt(amount))


def debit(amount):
    return CashEntry(Indicator.DEBIT, usdt(amount))


IN = Leg("T-1", Indicator.CREDIT, usdt(100))
OUT = Leg("T-2", Indicator.DEBIT, usdt(60), usdt(1))
FUNDED = TransferSettled("main", IN, (credit(100),), DAY, DAY, T0)
PENDING = TransferPending("main", OUT, T0)
LEFT = TransferSettled("main", OUT, (debit(60), debit(1)), DAY, DAY, T0)


def test_an_account_is_opened_once_by_one_set_of_conventions():
    opening = OpenAccount("main", "USDT", Costing(), T0, "BINANCE", is_margin=True)
    event = AccountOpened("main", "USDT", Costing(), T0, "BINANCE", is_margin=True)
    rule = "an account is opened once, by one set of conventions"
    opened = after().when(opening).then(event).repeated().then()
    opened.when(replace(opening, base_currency="EUR")).refused(rule, base_currency="USDT", account_id="main")
    opened.when(replace(opening, costing=Costing(CostBasis.FIFO))).refused(rule, cost_basis=CostBasis.AVERAGE)
    opened.when(replace(opening, is_margin=False)).refused(rule, is_margin=True)
    after(event, FUNDED).when(opening).then()


def test_an_account_s_owner_is_named_once_when_it_is_opened():
    ada, bob = Personal("c-1", "c2VhbGVk"), Personal("c-2", "c2VhbGVk")
    opening = OpenAccount("main", "USDT", Costing(), T0, owner=ada)
    opened = after().when(opening).then(replace(OPENED, owner=ada)).repeated().then()
    assert opened.state.owner == ada
    opened.when(replace(opening, owner=None)).then()  # says nothing of it
    for other in (bob, replace(ada, sealed="b3RoZXI=")):
        opened.when(replace(opening, owner=other)).refused(
            "an account's owner is named once, when it is opened", account_id="main"
        )
    after(OPENED).when(opening).refused("an account's owner is named once, when it is opened")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("account_id", {"account_id": "a;b"}),
        ("account_id", {"account_id": ""}),
        ("base_currency", {"base_currency": "us\u200bd"}),
        ("venue", {"venue": "the moon"}),
        ("money_places", {"costing": Costing(money_places=19)}),
        ("money_places", {"costing": Costing(money_places=-1)}),
        ("transact_time", {"transact_time": T0.replace(tzinfo=None)}),
        ("transact_time", {"transact_time": T0.replace(year=2008)}),
    ],
)
def test_opening_refuses_nonsense_by_field_and_value(field, change):
    with pytest.raises(RequestRefused) as refusal:
        account.decide(None, replace(OpenAccount("main", "USDT", Costing(), T0), **change))
    assert field in refusal.value.rule
    assert field in refusal.value.facts


def test_a_deposit_out_of_the_blue_is_booked_once():
    deposit = SettleTransfer("main", IN, T0)
    scene = after(OPENED).reported(deposit).then(FUNDED).repeated().then()
    assert scene.state.cash.balances == {"USDT": D(100)}


def test_a_withdrawal_is_pending_then_settled_and_what_leaves_is_not_available_meanwhile():
    requested = after(OPENED, FUNDED).when(RequestTransfer("main", OUT, T0)).then(PENDING).repeated().then()
    assert requested.state.cash.balances == {"USDT": D(100)}
    assert requested.state.cash.available("USDT", {}) == 39
    settled = requested.reported(SettleTransfer("main", OUT, T0 + HOUR, value_date=date(2026, 1, 5))).then(
        TransferSettled("main", OUT, (debit(60), debit(1)), DAY, date(2026, 1, 5), T0 + HOUR)
    )
    assert settled.state.cash.balances == {"USDT": D(39)}
    assert settled.state.cash.pending == {}
    settled.repeated().then()


def test_a_pending_transfer_that_is_returned_restores_what_was_available():
    returned = ReturnTransfer("main", OUT, "wrong address", T0 + HOUR)
    event = TransferReturned("main", OUT, "wrong address", (), DAY, DAY, T0 + HOUR)
    scene = after(OPENED, FUNDED, PENDING).reported(returned).then(event).repeated().then()
    assert scene.state.cash.available("USDT", {}) == 100


def test_a_settled_transfer_that_is_returned_reverses_its_entries_and_an_unstated_fee():
    returned = ReturnTransfer("main", replace(OUT, fee=None), "bounced", T0 + HOUR)
    event = TransferReturned("main", OUT, "bounced", (credit(60), credit(1)), DAY, DAY, T0 + HOUR)
    scene = after(OPENED, FUNDED, PENDING, LEFT).reported(returned).then(event)
    assert scene.state.cash.balances == {"USDT": D(100)}


@pytest.mark.parametrize(("settled_h", "returned_h"), [(1, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("known", [(), (PENDING,)])
def test_of_a_settlement_and_a_return_the_later_stands_in_any_order_of_arrival(settled_h, returned_h, known):
    settle = SettleTransfer("main", OUT, T0 + settled_h * HOUR)
    returned = ReturnTransfer("main", OUT, "bounced", T0 + returned_h * HOUR)
    stands = TransferStatus.SETTLED if settled_h > returned_h else TransferStatus.RETURNED
    for reports in permutations([settle, returned, settle, returned]):
        state = reduce(account.evolve, (OPENED, FUNDED, *known), None)
        for report in reports:
            state = reduce(account.evolve, account.admit(state, report), state)
        assert state.cash.transfers["T-2"].status is stands
        assert state.cash.balances == {"USDT": D(39 if stands is TransferStatus.SETTLED else 100)}


def test_a_transfer_that_settles_otherwise_than_announced_is_booked_as_settled_with_a_break():
    shown = SettleTransfer("main", replace(OUT, amount=usdt(59)), T0)
    booked = TransferSettled("main", shown.leg, (debit(59), debit(1)), DAY, DAY, T0)
    broken = AccountBroken("main", "a transfer settles as it was announced", "transfer T-2", shown, T0)
    after(OPENED, FUNDED, PENDING).reported(shown).then(booked, broken)


def test_another_content_under_a_known_id_is_kept_whole_and_not_booked():
    other = SettleTransfer("main", replace(IN, amount=usdt(101)), T0)
    on_record = SettleTransfer("main", IN, T0)
    broken = AccountBroken("main", "one id has one content", "transfer T-1", other, T0, on_record)
    scene = after(OPENED, FUNDED).reported(other).then(broken).repeated().then()
    assert scene.state.cash.balances == {"USDT": D(100)}
    fee = ChargeFee("main", "F-1", usdt(1), "data", T0)
    charged = FeeCharged("main", "F-1", (debit(1),), "data", DAY, DAY, T0)
    scene = after(OPENED, FUNDED).reported(fee).then(charged).repeated().then()
    dearer = replace(fee, amount=usdt(2))
    known = replace(fee, booking_date=DAY, value_date=DAY)
    scene.reported(dearer).then(AccountBroken("main", "one id has one content", "fee F-1", dearer, T0, known))
    interest = BookEntry("main", "I-1", EntryKind.INTEREST, Indicator.CREDIT, usdt(1), "", T0)
    booked = EntryBooked("main", "I-1", EntryKind.INTEREST, (credit(1),), "", DAY, DAY, T0)
    scene = after(OPENED, booked).reported(interest).then()
    otherwise = replace(interest, kind=EntryKind.REBATE)
    known_entry = replace(interest, booking_date=DAY, value_date=DAY)
    broken = AccountBroken("main", "one id has one content", "entry I-1", otherwise, T0, known_entry)
    after(OPENED, booked).reported(otherwise).then(broken)


def test_fees_and_entries_of_the_same_id_are_two_things():
    entry = BookEntry("main", "F-1", EntryKind.INTEREST, Indicator.CREDIT, usdt("0.5"), "lent", T0)
    booked = EntryBooked("main", "F-1", EntryKind.INTEREST, (credit("0.5"),), "lent", DAY, DAY, T0)
    charged = FeeCharged("main", "F-1", (debit(1),), "data", DAY, DAY, T0)
    scene = after(OPENED, FUNDED, charged).reported(entry).then(booked).repeated().then()
    assert scene.state.cash.balances == {"USDT": D("99.5")}


def test_a_cash_account_is_not_overdrawn_by_our_own_requests():
    rule = "a cash account is not overdrawn"
    wanted = RequestTransfer("main", replace(OUT, amount=usdt(100)), T0)
    after(OPENED, FUNDED).when(wanted).refused(rule, amount=D(101), available=D(100), currency="USDT")
    after(OPENED, FUNDED).when(wanted, Held({"USDT": D("0.5")})).refused(rule, available=D("100.5"))
    after(OPENED, FUNDED).when(wanted, Held({"USDT": D(1)})).then_some(TransferPending)
    after(OPENED, FUNDED, PENDING).when(RequestTransfer("main", Leg("T-3", Indicator.DEBIT, usdt(40)), T0)).refused(
        rule, available=D(39)
    )
    after(MARGIN).when(wanted).then_some(TransferPending)
    after(OPENED).when(RequestTransfer("main", IN, T0)).then_some(TransferPending)


def test_an_overdraft_that_the_venue_reports_is_booked_with_a_break_each_time_it_gets_deeper():
    fee = ChargeFee("main", "F-1", usdt(2), "data", T0)
    broken = AccountBroken("main", "a cash account is not below zero", "fee F-1", fee, T0)
    charged = FeeCharged("main", "F-1", (debit(2),), "data", DAY, DAY, T0)
    scene = after(OPENED).reported(fee).then(charged, broken).repeated().then()
    scene.reported(replace(fee, fee_id="F-2")).then_some(FeeCharged, AccountBroken)
    scene.reported(SettleTransfer("main", replace(IN, amount=usdt(1)), T0)).then_some(TransferSettled)
    after(OPENED).reported(fee, Held({"USDT": D(2)})).then(charged)
    after(MARGIN).reported(fee).then(charged)


def test_one_transfer_id_names_one_transfer():
    rule = "one transfer_id names one transfer"
    wanted = RequestTransfer("main", replace(OUT, amount=usdt(2)), T0)
    after(OPENED, FUNDED, PENDING).when(wanted).refused(rule, transfer_id="T-2", account_id="main")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("amount", {"amount": usdt(0)}),
        ("amount", {"amount": usdt(-1)}),
        ("amount", {"amount": usdt("NaN")}),
        ("amount", {"amount": usdt("Infinity")}),
        ("amount", {"amount": usdt("1e18")}),
        ("amount", {"amount": usdt("1e-19")}),
        ("currency", {"amount": Money(D(1), "Us<")}),
        ("fee", {"fee": usdt(-1)}),
        ("transfer_id", {"transfer_id": "a@b"}),
        ("counter_account_id", {"counter_account_id": " a"}),
    ],
)
def test_an_impossible_leg_is_refused_when_requested_and_unreadable_when_reported(field, change):
    leg = replace(OUT, **change)
    state = after(OPENED, FUNDED).state
    with pytest.raises(RequestRefused) as refusal:
        account.decide(state, RequestTransfer("main", leg, T0))
    assert field in refusal.value.facts
    with pytest.raises(InvalidInput, match=field):
        account.admit(state, SettleTransfer("main", leg, T0))


def test_a_transfer_is_between_two_accounts():
    to_itself = replace(OUT, counter_account_id="main")
    after(OPENED, FUNDED).when(RequestTransfer("main", to_itself, T0)).refused("a transfer is between two accounts")


def test_an_account_is_closed_when_nothing_is_left_in_it():
    close = CloseAccount("main", "moved", T0)
    after(OPENED, FUNDED).when(close).refused(
        "an account is closed with all balances at zero", currency="USDT", balance=D(100)
    )
    after(OPENED).when(close, Held({"BTC": D("0.1")})).refused(
        "an account is closed with all balances at zero", currency="BTC", balance=D("0.1")
    )
    after(OPENED).when(close, Held(positions=("BTCUSDT.SIM",))).refused(
        "an account is closed with all positions flat", first="BTCUSDT.SIM", count=1
    )
    after(OPENED).when(close, Held(open_orders=("A", "B"))).refused(
        "an account is closed with no working orders", first="A", count=2
    )
    incoming = TransferPending("main", replace(IN, transfer_id="T-9"), T0)
    after(OPENED, incoming).when(close).refused("an account is closed with no pending transfers", first="T-9")
    out = TransferSettled("main", replace(OUT, amount=usdt(99)), (debit(99), debit(1)), DAY, DAY, T0)
    closed = after(OPENED, FUNDED, out).when(close).then(AccountClosed("main", "moved", T0))
    closed.repeated().then()


def test_a_closed_account_takes_no_requests_but_what_a_venue_reports_is_booked_with_a_break():
    closed = after(OPENED, AccountClosed("main", "moved", T0))
    closed.when(RequestTransfer("main", IN, T0)).refused("the account is open; it is closed", account_id="main")
    deposit = SettleTransfer("main", IN, T0)
    closed.reported(deposit).then(FUNDED, AccountBroken("main", CLOSED, "transfer T-1", deposit, T0))


def test_requests_of_an_unopened_account_are_refused():
    rule = "the account is open; open it first"
    after().when(RequestTransfer("main", IN, T0)).refused(rule, account_id="main")
    after().when(CloseAccount("main", "", T0)).refused(rule, account_id="main")
    after().when(ResolveBreak("main", "b", "why", T0)).refused("an open break", break_id="b")


# Through the ledger: two accounts, and what trades move.

SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
PERP = Contract(Kind.LINEAR, "BTC", "USDT", "USDT")
INVERSE = Contract(Kind.INVERSE, "BTC", "USD", "BTC", D(100))
LISTED = {"BTCUSDT.SIM": SPOT, "BTCUSDT-PERP.SIM": PERP, "BTCUSD.SIM": INVERSE}
ACROSS = Leg("X-1", Indicator.DEBIT, usdt(40), usdt(1), "other")


def two_accounts(costing=OPENED.costing):
    log = MemoryLog()
    ledger = Ledger(log, lambda: T0)
    for account_id in ("main", "other"):
        ledger.request(OpenAccount(account_id, "USDT", costing, T0), actor="alice")
    for instrument_id, contract in LISTED.items():
        ledger.request(ListInstrument(instrument_id, contract, D("0.01"), D("0.01")), actor="alice")
    ledger.report([SettleTransfer("main", IN, T0)], actor="venue")
    return ledger, log


def cash_of(ledger, account_id):
    return ledger.state(account.stream(account_id)).cash


def fill(name, exec_id, instrument_id="BTCUSDT.SIM", side=Side.BUY, qty="1", price="10", at=0, fee="0"):
    return OrderFilled(
        OrderKey("main", name), "trend", instrument_id, "", side, exec_id, at, D(qty), D(price), usdt(fee),
        Liquidity.TAKER, T0 + timedelta(seconds=at),
    )  # fmt: skip


def test_a_transfer_between_two_of_our_accounts_is_one_append_over_both():
    ledger, log = two_accounts()
    answer = ledger.request(RequestTransfer("main", ACROSS, T0), actor="alice")
    assert [recorded.stream for recorded in answer.records] == ["account:main", "account:other"]
    assert answer.records[1].event == TransferPending("other", mirrored("main", ACROSS), T0)
    assert ledger.request(RequestTransfer("main", ACROSS, T0), actor="alice").records == ()
    before = log.head().seq
    theirs = SettleTransfer("other", Leg("X-1", Indicator.CREDIT, usdt(40)), T0 + HOUR)
    ledger.report([theirs], actor="venue")
    assert log.head().seq == before + 2
    assert cash_of(ledger, "main").balances == {"USDT": D(59)}
    assert cash_of(ledger, "other").balances == {"USDT": D(40)}
    ours = SettleTransfer("main", replace(ACROSS, counter_account_id=""), T0 + HOUR)
    assert ledger.report([ours, theirs], actor="venue")[0].records == ()
    assert log.head().seq == before + 2


@pytest.mark.parametrize("is_settled", [False, True])
@pytest.mark.parametrize("reported_by", ["main", "other"])
def test_a_return_restores_both_accounts(is_settled, reported_by):
    ledger, _ = two_accounts()
    ledger.request(RequestTransfer("main", ACROSS, T0), actor="alice")
    if is_settled:
        ledger.report([SettleTransfer("main", ACROSS, T0)], actor="venue")
    leg = ACROSS if reported_by == "main" else mirrored("main", ACROSS)
    ledger.report([ReturnTransfer(reported_by, leg, "bounced", T0 + HOUR)], actor="venue")
    assert cash_of(ledger, "main").balances == {"USDT": D(100)}
    assert cash_of(ledger, "main").available("USDT", {}) == 100
    assert cash_of(ledger, "other").balances == {}
    assert cash_of(ledger, "other").transfers["X-1"].status is TransferStatus.RETURNED


@pytest.mark.parametrize(
    ("leg", "rule"),
    [
        (replace(ACROSS, amount=usdt(100)), "a cash account is not overdrawn"),
        (replace(ACROSS, counter_account_id="unknown"), "the account is open; open it first"),
        (replace(ACROSS, indicator=Indicator.CREDIT), "a transfer of two accounts is requested for the debited one"),
    ],
)
def test_a_transfer_that_one_of_two_accounts_refuses_is_recorded_in_neither(leg, rule):
    ledger, log = two_accounts()
    before = log.head()
    with pytest.raises(RequestRefused, match=rule):
        ledger.request(RequestTransfer("main", leg, T0), actor="alice")
    assert log.head() == before


def test_what_trades_moved_counts_for_withdrawals_and_closing():
    ledger, _ = two_accounts()
    ledger.report([fill("A", "E1", qty="8"), fill("A", "E2", side=Side.SELL, qty="8", price="11", at=1)], actor="venue")
    out = Leg("T-2", Indicator.DEBIT, usdt(108))
    with pytest.raises(RequestRefused, match="not overdrawn"):
        ledger.request(RequestTransfer("main", replace(out, amount=usdt("108.01")), T0), actor="alice")
    with pytest.raises(RequestRefused, match="balances at zero"):
        ledger.request(CloseAccount("main", "done", T0), actor="alice")
    ledger.request(RequestTransfer("main", out, T0), actor="alice")
    ledger.report([SettleTransfer("main", out, T0)], actor="venue")
    ledger.request(CloseAccount("main", "done", T0), actor="alice")
    terms = OrderTerms("trend", "BTCUSDT.SIM", Side.BUY, OrdType.LIMIT, D(1), D(10))
    with pytest.raises(RequestRefused, match="it is closed"):
        ledger.request(SubmitOrder(OrderKey("main", "B"), terms, T0), actor="bot")


@pytest.mark.parametrize("funding", ["5", "-5"])
def test_funding_of_a_position_that_never_traded_counts_for_withdrawals_and_closing(funding):
    ledger, _ = two_accounts()
    key = PositionKey("main", "trend", "BTCUSDT-PERP.SIM")
    ledger.report([SettleFunding(key, "F-1", usdt(funding), T0)], actor="venue")
    left = Leg("T-2", Indicator.DEBIT, usdt(100 + D(funding)))
    more = replace(left, amount=usdt(left.amount.amount + D("0.01")))
    with pytest.raises(RequestRefused, match="not overdrawn"):
        ledger.request(RequestTransfer("main", more, T0), actor="bot")
    ledger.request(RequestTransfer("main", left, T0), actor="bot")
    ledger.report([SettleTransfer("main", left, T0)], actor="venue")
    ledger.request(CloseAccount("main", "done", T0), actor="bot")


def test_a_fill_on_a_closed_account_is_booked_with_a_break_once():
    ledger, log = two_accounts()
    ledger.report([SettleTransfer("main", Leg("T-2", Indicator.DEBIT, usdt(100)), T0)], actor="venue")
    ledger.request(CloseAccount("main", "done", T0), actor="alice")
    for _ in range(2):
        ledger.report([fill("A", "E1")], actor="venue")
    events = [logged.recorded.event for logged in scan(log)]
    assert [event for event in events if isinstance(event, AccountBroken)] == [
        AccountBroken("main", CLOSED, "order:main:A", None, T0)
    ]
    assert ledger.state(position.stream(PositionKey("main", "trend", "BTCUSDT.SIM"))).quantity == 1


def test_an_account_knows_each_of_its_positions_from_the_first_booking_on():
    ledger, log = two_accounts()
    ledger.report([fill("A", "E1"), fill("A", "E2", at=1), fill("B", "E3", "BTCUSD.SIM")], actor="venue")
    ledger.report([fill("A", "E4", at=2)], actor="venue")
    events = [logged.recorded.event for logged in scan(log)]
    assert [event.instrument_id for event in events if isinstance(event, PositionOpened)] == [
        "BTCUSDT.SIM",
        "BTCUSD.SIM",
    ]
    assert {place[:2] for place in ledger.state("account:main").positions} == {
        ("trend", "BTCUSDT.SIM"),
        ("trend", "BTCUSD.SIM"),
    }


def test_reports_of_an_unopened_account_are_unreadable():
    ledger, log = two_accounts()
    before = log.head()
    (answer,) = ledger.report([SettleTransfer("unknown", IN, T0)], actor="venue")
    assert isinstance(answer.error, InvalidInput)
    assert log.head() == before


# Balances are those of a naive cash book, under any conventions, order of arrival and restatements.

trades = st.lists(
    st.tuples(
        st.sampled_from(list(LISTED)),
        st.sampled_from(list(Side)),
        st.integers(1, 900),
        st.integers(1_000, 50_000),
        st.sampled_from([("0.07", "USDT"), ("0.004", "BTC"), ("-0.01", "USDT"), ("0.3", "BNB"), ("0", "USDT")]),
    ),
    max_size=8,
)
conventions = st.builds(
    Costing,
    st.sampled_from([CostBasis.AVERAGE, CostBasis.FIFO, CostBasis.LIFO, CostBasis.HIFO, CostBasis.LOFO]),
    st.sampled_from(list(FeePolicy)),
    st.integers(0, 18),
)


def fills_of(drawn):
    return [
        replace(
            fill(f"O{at}", f"E{at}", instrument_id, side, str(D(qty) / 100), str(D(price) / 100), at),
            commission=Money(D(fee[0]), fee[1]),
        )
        for at, (instrument_id, side, qty, price, fee) in enumerate(drawn)
    ]


def naive(fills):
    """Cash book: what each fill takes and brings at once; a future's value stands in for what it will settle."""
    book = {}
    for shown in fills:
        contract = LISTED[shown.instrument_id]
        signed = shown.side.sign * shown.last_qty
        moves = [
            (contract.settle, -contract.value(signed, shown.last_px)),
            (shown.commission.currency, -shown.commission.amount),
            *([(contract.base, signed)] if contract.kind is Kind.SPOT else []),
        ]
        for currency, amount in moves:
            book[currency] = book.get(currency, D(0)) + amount
    return {currency: amount for currency, amount in book.items() if amount}


@given(st.data(), trades, conventions)
def test_balances_are_exact_in_any_order_of_arrival_under_any_conventions(data, drawn, costing):
    fills = fills_of(drawn)
    ledger, log = two_accounts(costing)
    for shown in data.draw(st.permutations(fills)):
        ledger.report([shown], actor="venue")
    wallets = balances.Wallets()
    for logged in scan(log):
        if logged.recorded.stream.startswith("position:"):
            wallets.add(logged.recorded.event)
    assert balances.total(wallets.flow) == naive(fills)
    assert wallets.balances() == _at_average(fills)


def _at_average(fills):
    """The same with each future's open quantity at its average cost: what a venue calls the wallet."""
    ledger, _ = two_accounts(Costing(CostBasis.AVERAGE, FeePolicy.EXPENSED))
    ledger.report(fills, actor="venue")
    return balances.total(*_moved_by(ledger))


def _moved_by(ledger):
    keys = sorted(ledger.state("account:main").positions)
    return [balances.moved_by(ledger.state(position.stream(PositionKey("main", *key)))) for key in keys]


@given(trades, conventions)
def test_a_positions_state_shows_what_it_moved_once_its_futures_are_flat(drawn, costing):
    """Flat futures leave no cost behind, so state and events agree under any cost basis and fee policy."""
    fills = fills_of(drawn)
    for instrument_id in ("BTCUSDT-PERP.SIM", "BTCUSD.SIM"):
        net = sum((f.side.sign * f.last_qty for f in fills if f.instrument_id == instrument_id), D(0))
        if net:
            side = Side.SELL if net > 0 else Side.BUY
            fills.append(fill("flat", f"Z-{instrument_id}", instrument_id, side, str(abs(net)), "77.7", 99))
    ledger, _ = two_accounts(costing)
    ledger.report(fills, actor="venue")
    assert balances.total(*_moved_by(ledger)) == naive(fills)


@given(conventions, st.sampled_from(list(LISTED)), st.sampled_from(list(Side)))
def test_what_is_transferred_in_moves_the_base_and_nobodys_cash(costing, instrument_id, side):
    ledger, log = two_accounts(costing)
    key = PositionKey("main", "trend", instrument_id)
    cost = LISTED[instrument_id].value(side.sign * D(2), D(50))
    ledger.report([Transfer(key, "opening", side, D(2), cost, T0)], actor="venue")
    moved = {"BTC": side.sign * D(2)} if LISTED[instrument_id].kind is Kind.SPOT else {}
    assert balances.total(*_moved_by(ledger)) == moved
    wallets = balances.Wallets()
    for logged in scan(log):
        if logged.recorded.stream.startswith("position:"):
            wallets.add(logged.recorded.event)
    assert wallets.balances() == moved


def test_nothing_held_is_nothing():
    assert after(OPENED).state.cash.total("USDT", NOTHING_HELD.balances) == 0

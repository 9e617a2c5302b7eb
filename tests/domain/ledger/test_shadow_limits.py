"""Shadow limits in a log: recorded for the account and the firm, and decided again from it."""

import random
from decimal import Decimal as D
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import risk
from domain.ledger import Recorded, scan
from domain.order import Changes, OrderKey, OrderTerms, OrdType, ReplaceOrder, SubmitOrder
from domain.risk import (
    FIRM,
    AssessMarks,
    HoldPlaced,
    HoldRefused,
    LimitStatus,
    Measure,
    Scope,
    SetLimit,
    ShadowDecided,
)
from domain.values import Mark, Money, Side
from tests.derived import derived
from tests.desk import BTC, CONTRACTS, PERP, T0, Desk, fill, new_order

DRAFT, SHADOW, ACTIVE = LimitStatus


class MarkedDesk(Desk):
    """A desk whose marks are of the moment and may be missing."""

    def __init__(self) -> None:
        self.prices = {BTC: D(100), PERP: D(100)}
        super().__init__()
        self.ledger._marks = self._mark

    def _mark(self, instrument_id: str) -> Mark | None:
        price = self.prices.get(instrument_id)
        return None if price is None else Mark(instrument_id, price, "SIM", self._at())

    def _at(self) -> Any:
        return T0.replace(minute=self._seconds // 60, second=self._seconds % 60)


def set_limit(measure: Measure, value: Any, status: LimitStatus, account: str = "main") -> SetLimit:
    currency = "USDT" if measure.is_money else None
    return SetLimit(account, Scope(), measure, None if value is None else D(value), currency, T0, status)


def records(desk: Desk) -> list[Recorded]:
    return [logged.recorded for logged in scan(desk.log)]


def shadow_refusals(desk: Desk) -> list[ShadowDecided]:
    found = (record.event for record in records(desk))
    return [each for each in found if isinstance(each, ShadowDecided) and isinstance(each.decided, HoldRefused)]


def check_derived(desk: Desk) -> None:
    found = derived(records(desk))
    assert not found.faults, "\n".join(map(str, found.faults))


def test_an_order_beyond_shadow_limits_of_account_and_firm_passes_both_and_is_on_record_at_both():
    desk = Desk()
    desk.request(set_limit(Measure.MAX_POSITION, 1, SHADOW))
    desk.request(set_limit(Measure.MAX_POSITION, 2, SHADOW, FIRM))
    desk.request(new_order("A-1", "3"))
    assert [(each.account_id, each.decided.failed.limit) for each in shadow_refusals(desk)] == [("main", 1), (FIRM, 2)]
    assert [type(record.event) for record in records(desk) if record.stream == "limit:main"][-1] is HoldPlaced
    check_derived(desk)


def test_an_order_that_the_firm_refuses_is_no_refusal_of_an_accounts_shadow_limit():
    desk = Desk()
    desk.request(set_limit(Measure.MAX_POSITION, 1, SHADOW))
    desk.request(set_limit(Measure.MAX_POSITION, 2, ACTIVE, FIRM))
    desk.request(new_order("A-1", "3"))
    assert not shadow_refusals(desk)
    check_derived(desk)


def test_a_changed_number_of_a_shadow_refusal_and_a_missing_one_are_named():
    desk = Desk()
    desk.request(set_limit(Measure.MAX_POSITION, 1, SHADOW))
    desk.request(new_order("A-1", "3"))
    desk.request(new_order("A-2", "1"))
    honest = records(desk)
    (place, *_) = [at for at, record in enumerate(honest) if isinstance(record.event, ShadowDecided)]
    event = honest[place].event
    lower = replace(event.decided, failed=replace(event.decided.failed, asked=D(2)))
    changed = [*honest]
    changed[place] = replace(honest[place], event=replace(event, decided=lower))
    (fault,) = derived(changed).faults
    assert fault.seq == place + 1 and fault.reason == 'decided.failed.asked is "2" on record, and "3" follows'
    stream = honest[place].stream
    without = [
        replace(record, version=record.version - 1) if record.stream == stream and at > place else record
        for at, record in enumerate(honest)
        if at != place
    ]
    assert derived(without).faults[0].seq == place + 1


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_any_day_with_shadow_limits_of_every_measure_follows(seed):
    """With marks that only shadow limits used, marks that are missing, replacements, and monitoring."""
    draw = random.Random(seed)
    desk = MarkedDesk()
    desk.request(AssessMarks("main", (), T0, Money(D(1000), "USDT")))
    desk.report(fill("E-0", Side.BUY, "2", "100"))
    for number in range(40):
        measure, owner = draw.choice(list(Measure)), draw.choice(("main", "main", FIRM))
        value = D(draw.randrange(6)) / (4 if measure is Measure.MAX_DRAWDOWN else 1) * (100 if measure.is_money else 1)
        side, qty = draw.choice((Side.BUY, Side.SELL)), D(draw.randrange(1, 12)) / 4
        at = desk._at()
        desk.prices = {name: D(draw.randrange(80, 130)) for name in CONTRACTS if draw.random() < 0.9}
        price = None if draw.random() < 0.3 else D(draw.randrange(80, 130))
        match draw.randrange(6):
            case 0 | 1:
                status = draw.choice((SHADOW, SHADOW, SHADOW, DRAFT, ACTIVE))
                request: Any = set_limit(measure, min(value, 1) if measure is Measure.MAX_DRAWDOWN else value, status)
                desk.request(replace(request, account_id=owner))
            case 2 | 3:
                ord_type = OrdType.MARKET if price is None else OrdType.LIMIT
                terms = OrderTerms("trend", draw.choice((BTC, PERP)), side, ord_type, qty, price)
                desk.request(SubmitOrder(OrderKey("main", f"A-{number}"), terms, at))
            case 4:
                key = OrderKey("main", f"A-{max(number - draw.randrange(1, 5), 0)}")
                desk.request(ReplaceOrder(key, f"R-{number}", Changes(qty + 1), at))
            case _:
                desk.request(AssessMarks(owner, (), at))
    check_derived(desk)
    assert risk.stream("main") in {record.stream for record in records(desk)}

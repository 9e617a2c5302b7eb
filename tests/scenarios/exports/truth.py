"""What happened on an account of a venue: trades and cash that moved, made up at random."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from hypothesis import strategies as st

START = datetime(2026, 1, 13, tzinfo=UTC)  # a day above 12, so that no date can be read with days and months swapped
EVENTS_MAX = 8


class Trade(NamedTuple):
    """One trade. `fee` is paid where it is above zero."""

    number: int
    at: datetime
    base: str
    quote: str
    is_buy: bool
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str

    @property
    def value(self) -> Decimal:
        return self.quantity * self.price


class Cash(NamedTuple):
    """A deposit, or a withdrawal where the amount is below zero; `fee` is charged beside it."""

    number: int
    at: datetime
    asset: str
    amount: Decimal
    fee: Decimal


Happened = Trade | Cash
Truth = Sequence[Happened]


def balances(truth: Truth) -> dict[str, Decimal]:
    """What is there in the end, by asset; what is zero is left out."""
    found: dict[str, Decimal] = {}

    def add(asset: str, amount: Decimal) -> None:
        found[asset] = found.get(asset, Decimal()) + amount

    for each in truth:
        if isinstance(each, Cash):
            add(each.asset, each.amount - each.fee)
            continue
        sign = 1 if each.is_buy else -1
        add(each.base, sign * each.quantity)
        add(each.quote, -sign * each.value)
        add(each.fee_asset, -each.fee)
    return {asset: amount for asset, amount in found.items() if amount}


def parted(truth: Truth, at: int) -> int:
    """Return the first place from `at` on at which no two events of one moment are parted."""
    while 0 < at < len(truth) and truth[at].at == truth[at - 1].at:
        at += 1
    return at


def _number(units_max: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(1, units_max).map(lambda units: Decimal(units).scaleb(-places))


@st.composite
def truths(
    draw: st.DrawFn, pairs: Sequence[tuple[str, str]], fees: Sequence[str], *, has_cash: bool, third: str = ""
) -> Truth:
    """Draw what happened. `fees` says in what they are paid: of "base", "quote", "received" and "third"."""
    found: list[Happened] = []
    at = START
    for number in range(1, draw(st.integers(1, EVENTS_MAX)) + 1):
        at += timedelta(seconds=draw(st.integers(1, 200_000)))
        base, quote = draw(st.sampled_from(pairs))
        fee = draw(st.one_of(st.just(Decimal()), _number(10**6, 8)))
        if has_cash and draw(st.integers(0, 2)) == 0:
            sign = draw(st.sampled_from((1, -1)))
            found.append(Cash(number, at, draw(st.sampled_from((base, quote))), sign * draw(_number(10**7, 4)), fee))
            continue
        if found and isinstance(found[-1], Trade) and draw(st.integers(0, 3)) == 0:
            found.append(found[-1]._replace(number=number))  # another one, equal in all but its number
            at = found[-1].at
            continue
        is_buy = draw(st.booleans())
        paid_in = {"base": base, "quote": quote, "received": base if is_buy else quote, "third": third}
        asset = paid_in[draw(st.sampled_from(fees))]
        found.append(
            Trade(number, at, base, quote, is_buy, draw(_number(10**7, 4)), draw(_number(10**7, 2)), fee, asset)
        )
    return found

"""Valuing of an order: the worse of its own price and the mark.

An order counts with the most that it may move: the highest of its limit, its trigger and the mark. A sell limit far
below the market is filled at the market, so it counts at the mark; a buy limit above the market may pay its limit. A
bid below the market counts at the mark too: what it buys is worth that, and counts at it once it is held. A trailing
stop that buys may be filled at the mark plus its distance. Prices below zero count by their size. An inverse contract's
size in its base currency is the larger the lower the price, so there the lowest counts. The mark of a priced order may
be up to a day old; without one, its own price counts alone.
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from domain.order import OrderTerms, PegOffset
from domain.values import Side, exact

VALUING_MARK_AGE_MAX = timedelta(days=1)
BASIS_POINT = Decimal("0.0001")


class PriceBasis(StrEnum):
    """The price that an order was valued at: its limit, its trigger, the mark, or the mark plus a trailing distance."""

    LIMIT = "LIMIT"
    TRIGGER = "TRIGGER"
    MARK = "MARK"
    TRAIL = "TRAIL"


class Valuation(Struct, frozen=True):
    """The price that an order was valued at, in quote units a base unit, and which of its prices that is."""

    price: Decimal
    basis: PriceBasis


def own_price(terms: OrderTerms) -> Decimal | None:
    """The limit or trigger of an order, the one of more size; None of one that has neither."""
    return max((price for price in (terms.price, terms.stop_px) if price is not None), key=abs, default=None)


def candidates(terms: OrderTerms, mark: Decimal | None) -> Iterable[Valuation]:
    """The prices an order may be filled at."""
    if terms.price is not None:
        yield Valuation(terms.price, PriceBasis.LIMIT)
    if terms.stop_px is not None:
        yield Valuation(terms.stop_px, PriceBasis.TRIGGER)
    if mark is None:
        return
    yield Valuation(mark, PriceBasis.MARK)
    offset = terms.peg_offset_value
    if offset is not None and terms.side is Side.BUY:
        distance = offset if terms.peg_offset is PegOffset.PRICE else abs(mark) * offset * BASIS_POINT
        yield Valuation(exact(mark + distance), PriceBasis.TRAIL)


def valuation(terms: OrderTerms, mark: Decimal | None, *, is_lowest: bool = False) -> Valuation | None:
    """The worse of an order's own prices and the mark, its own of equals; None if it has neither.

    The worse is the one of the most size; with `is_lowest` of the least.
    """
    choose = min if is_lowest else max
    return choose(candidates(terms, mark), key=lambda each: abs(each.price), default=None)

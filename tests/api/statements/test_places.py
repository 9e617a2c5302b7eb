"""Amounts of a statement at the places of their currency."""

from decimal import Decimal as D

import pytest

from api.encoding import age_text
from api.statements import places
from api.statements.html import amounts, signed


@pytest.mark.parametrize(
    ("value", "asset", "shown"),
    [
        ("1234.5", "USD", "1,234.50"),
        ("1234.5", "USDT", "1,234.50"),
        ("0.125", "EUR", "0.12"),
        ("0.135", "EUR", "0.14"),
        ("-0.001", "USDT", "0.00"),
        ("1234.5", "JPY", "1,234"),
        ("1.5", "KWD", "1.500"),
        ("1.23456", "CLF", "1.2346"),
        ("0.5", "BTC", "0.50000000"),
        ("350108657", "SHIB", "350,108,657.00000000"),
        ("10.50", "BTC-PERP.DERIBIT", "10.5"),
    ],
)
def test_an_amount_has_the_places_of_its_currency(value: str, asset: str, shown: str) -> None:
    assert places.amount(D(value), asset) == shown


@pytest.mark.parametrize(
    ("value", "currency", "shown"),
    [
        ("97500", "USDT", "97,500.00"),
        ("97500.123", "USDT", "97,500.123"),
        ("66.666666666666666667", "USDT", "66.666667"),
        ("0.00001234567", "USDT", "0.00001234567"),
        ("0.000000000000000001234", "USDT", "0.000000000000000001"),
        ("15012345.5", "JPY", "15,012,346"),
        ("0.05", "BTC", "0.05"),
        ("0", "USDT", "0.00"),
    ],
)
def test_a_price_has_eight_digits_and_the_places_of_its_currency(value: str, currency: str, shown: str) -> None:
    assert places.price(D(value), currency) == shown


def test_amounts_are_signed_and_one_a_line() -> None:
    assert amounts({"USDT": D("-1.5"), "BTC": D("0.25")}) == ["+0.25000000 BTC", "\N{MINUS SIGN}1.50 USDT"]
    assert signed(D("-0.001"), "USDT") == "0.00"
    assert amounts({}) == ["\N{EN DASH}"]


@pytest.mark.parametrize(
    ("age_ms", "shown"),
    [(0, "0 s"), (850, "0.8 s"), (59_999, "59.9 s"), (60_000, "1 min"), (3_660_000, "1 h 1 min"), (86_400_000, "1 d"),
     (450_000_000, "5 d 5 h")],
)  # fmt: skip
def test_the_age_of_a_mark_is_in_its_two_largest_units(age_ms: int, shown: str) -> None:
    assert age_text(age_ms) == shown

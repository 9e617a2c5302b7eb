"""Numbers, ids and times: what may come in, and that arithmetic is exact or stops."""

import decimal
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import values
from domain.errors import InvalidInput

NOW = datetime(2026, 1, 2, tzinfo=UTC)
numbers = st.decimals(-(10**17), 10**17, places=18)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "-Infinity",
        "inf",
        "",
        " ",
        "1,5",
        "0x10",
        "1e400",
        "1_000",
        "٣",
        1.5,
        None,
        True,
        "1" * 19,
        "1e-19",
        "0.1" * 30,
    ],
)
def test_what_is_not_a_finite_decimal_within_bounds_is_unreadable_and_named(text):
    with pytest.raises(InvalidInput) as error:
        values.number(text, "last_px")
    assert error.value.field == "last_px"
    assert "last_px" in str(error.value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("0.0100", "0.01"), ("1e3", "1000"), ("-0", "0"), ("+7.", "7"), (".5", "0.5"), ("100", "100"), (12, "12")],
)
def test_a_number_has_one_canonical_form(text, canonical):
    assert str(values.number(text, "x")) == canonical


@given(numbers, numbers.filter(bool))
def test_divide_is_the_exact_quotient_rounded_half_even_at_18_places(dividend, divisor):
    scaled = Fraction(dividend) / Fraction(divisor) * 10**18
    assert Fraction(values.divide(dividend, divisor)) * 10**18 == round(scaled)


@given(st.lists(st.tuples(numbers, numbers, st.integers(1, 9999)), max_size=20))
def test_sums_of_products_of_any_numbers_we_take_in_are_exact(terms):
    total = sum((a * b * c for a, b, c in terms), D(0))
    assert Fraction(total) == sum((Fraction(a) * Fraction(b) * c for a, b, c in terms), Fraction(0))


def test_inexact_arithmetic_stops():
    with pytest.raises(decimal.Inexact):
        D(1) / D(3)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2019-10-31T15:48:51.803Z", 803000),
        ("2019-10-31T15:48:51Z", 0),
        ("2019-10-31 15:48:51.8", 800000),
        ("2019-10-31T16:48:51.123456789+01:00", 123456),
    ],
)
def test_times_are_utc_with_microseconds(text, micros):
    assert values.time(text, "ts") == datetime(2019, 10, 31, 15, 48, 51, micros, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2019-13-01T00:00:00Z", "2019-02-30T00:00:00Z", 1572537231, "1970-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_unreadable(text):
    with pytest.raises(InvalidInput, match="ts"):
        values.time(text, "ts")


def test_a_time_that_has_not_come_is_unreadable_but_a_fast_clock_is_forgiven():
    assert values.time(NOW + values.FUTURE_MAX, "ts", now=NOW) == NOW + values.FUTURE_MAX
    with pytest.raises(InvalidInput, match="has come"):
        values.time(NOW + values.FUTURE_MAX + timedelta(microseconds=1), "ts", now=NOW)


@pytest.mark.parametrize("text", ["", "a:b", "a b", "-a", "a" * 65, "ä", None, "a\n"])
def test_our_own_names_are_plain(text):
    with pytest.raises(InvalidInput):
        values.plain_name(text, "name")


digits = st.lists(st.integers(0, 9), max_size=25).map(tuple)
exponents = st.integers(-30, 20) | st.sampled_from("FnN")  # also infinity and what is no number


@given(st.builds(lambda sign, digits, exponent: D((sign, digits, exponent)), st.integers(0, 1), digits, exponents))
def test_a_decimal_that_is_seen_to_be_a_number_is_one(value):
    if values.is_number(value):
        assert values.number(value, "x") == value


@given(numbers)
def test_every_canonical_number_is_seen_to_be_one(value):
    assert values.is_number(values.exact(value))

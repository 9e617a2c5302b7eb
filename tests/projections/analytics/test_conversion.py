"""Conversion finds the shortest path over usable marks, loses nothing but one rounding, and says what it lacks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instrument import Contract, Kind
from domain.values import Mark
from projections.analytics.conversion import Converter, rounded_once

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def spot(base: str, quote: str) -> Contract:
    return Contract(Kind.SPOT, base, quote, quote)


def mark(instrument_id: str, price: str, age: timedelta = timedelta(0)) -> Mark:
    return Mark(instrument_id, D(price), "SIM", AT - age)


PAIRS = {
    "BTCUSDT.A": spot("BTC", "USDT"),
    "BTCUSDT.B": spot("BTC", "USDT"),
    "BTCEUR.A": spot("BTC", "EUR"),
    "EURUSD.A": spot("EUR", "USD"),
    "ETHBTC.A": spot("ETH", "BTC"),
}
MARKS = [
    mark("BTCUSDT.A", "60000"),
    mark("BTCUSDT.B", "60100"),
    mark("BTCEUR.A", "48000"),
    mark("EURUSD.A", "1.25"),
    mark("ETHBTC.A", "0.05"),
]


def converter(*marks: Mark, equals: tuple[tuple[str, str], ...] = (), age_max: timedelta | None = HOUR) -> Converter:
    by_instrument = {each.instrument_id: each for each in marks or MARKS}
    return Converter(PAIRS, by_instrument, at=AT, age_max=age_max, equals=equals)


def converted(amount: str, held_in: str, wanted: str) -> D:
    found = converter().rate(held_in, wanted).convert(D(amount))
    assert found is not None
    return found.amount


def path(held_in: str, wanted: str, *marks: Mark, **options: object) -> list[tuple[str, bool]]:
    rate = converter(*marks, **options).rate(held_in, wanted)  # type: ignore[arg-type]
    return [(step.instrument_id, step.is_base) for step in rate.steps]


@pytest.mark.parametrize(
    ("amount", "held_in", "wanted", "expected"),
    [
        ("2", "BTC", "BTC", "2"),
        ("2", "BTC", "USDT", "120000"),
        ("30000", "USDT", "BTC", "0.5"),
        ("1", "ETH", "EUR", "2400"),
        ("1", "USDT", "EUR", "0.8"),  # through BTC: 48,000 / 60,000
        ("100", "USDT", "USD", "100"),  # by marks, not by name
        ("1", "USD", "ETH", "0.000333333333333333"),
        ("-0.5", "BTC", "USD", "-30000"),
    ],
)
def test_amounts_go_through_the_shortest_path(amount: str, held_in: str, wanted: str, expected: str) -> None:
    assert converted(amount, held_in, wanted) == D(expected)


def test_of_equal_paths_the_first_by_name_is_used_in_any_order_of_marks() -> None:
    assert path("BTC", "USDT") == [("BTCUSDT.A", True)]
    backwards = Converter(dict(reversed(PAIRS.items())), {m.instrument_id: m for m in reversed(MARKS)}, at=AT)
    assert [step.instrument_id for step in backwards.rate("EUR", "USDT").steps] == ["BTCEUR.A", "BTCUSDT.A"]


def test_a_pair_without_a_usable_mark_is_gone_around_and_named_where_there_is_no_other() -> None:
    stale = mark("BTCUSDT.A", "59000", age=2 * HOUR)
    assert path("BTC", "USDT", stale, mark("BTCUSDT.B", "60100")) == [("BTCUSDT.B", True)]
    lacking = converter(stale, mark("ETHBTC.A", "0.05")).rate("ETH", "USDT")
    assert (lacking.factor, lacking.stale, lacking.missing) == (None, ("BTCUSDT.A",), ())
    assert lacking.reason == "too old a mark of BTCUSDT.A"
    assert converter(stale).rate("EUR", "ETH").reason == "no mark of BTCEUR.A; no mark of ETHBTC.A"
    assert converter().rate("BTC", "JPY").reason == "no pairs lead from BTC to JPY"
    assert converter(stale).rate("BTC", "USDT").convert(D(1)) is None
    assert converter(stale, age_max=None).rate("BTC", "USDT").factor == 59000


def test_a_stablecoin_is_no_dollar_unless_set_equal() -> None:
    only = (mark("BTCUSDT.A", "60000"),)
    assert converter(*only).rate("USDT", "USD").factor is None
    equal = converter(*only, equals=(("USDT", "USD"),)).rate("BTC", "USD")
    assert equal.factor == 60000
    assert [step["source"] for step in equal.as_row()["path"]] == ["SIM", "parity"]


def test_a_rate_names_its_path_with_price_source_and_time() -> None:
    shown = converter().rate("USDT", "EUR").as_row()
    assert shown["rate"] == D("0.8")
    assert shown["path"] == [
        {"instrument_id": "BTCUSDT.A", "is_inverse": True, "price": D(60000), "source": "SIM", "mark_at": AT},
        {"instrument_id": "BTCEUR.A", "is_inverse": False, "price": D(48000), "source": "SIM", "mark_at": AT},
    ]


numbers = st.decimals("0.000000001", "1000000", allow_nan=False, places=9)


@given(numbers, numbers, numbers, st.sampled_from(("BTC", "USDT", "EUR", "USD")))
def test_an_amount_and_its_remainder_are_the_exact_fraction(amount: D, price: D, other: D, wanted: str) -> None:
    marks = [mark("BTCUSDT.A", str(price)), mark("BTCEUR.A", str(other)), mark("EURUSD.A", "1.1")]
    rate = converter(*marks).rate("USDT", wanted)
    assert rate.factor is not None
    found = rate.convert(amount)
    assert found is not None
    assert Fraction(found.amount) + found.remainder == Fraction(amount) * rate.factor
    assert abs(found.remainder) <= Fraction(1, 2 * 10**18)
    back = converter(*marks).rate(wanted, "USDT")
    assert back.factor is not None
    assert back.factor * rate.factor == 1


@pytest.mark.parametrize(("units", "expected"), [(Fraction(1, 2), 0), (Fraction(3, 2), 2), (Fraction(-5, 2), -2)])
def test_rounding_is_half_to_even(units: Fraction, expected: int) -> None:
    assert rounded_once(units / 10**18).amount == D(expected).scaleb(-18)


wide = st.decimals("0.000000000000000001", 10**17, places=18)


@given(wide | wide.map(lambda amount: -amount * D("1.000000000000000001")), wide, wide, st.booleans())
def test_an_amount_is_what_the_fraction_rounded_once_is_however_many_digits_it_takes(amount, price, other, is_sold):
    marks = [mark("ETHBTC.A", str(price)), mark("BTCEUR.A", str(other))]
    rate = converter(*marks).rate(*(("ETH", "EUR") if is_sold else ("EUR", "ETH")))
    assert rate.convert(amount).amount == rate.amount_of(amount)
    assert rate.amount_of(D(0)) == 0


def test_an_amount_without_a_rate_is_none():
    assert converter(mark("BTCUSDT.A", "1")).rate("ETH", "USDT").amount_of(D(1)) is None

"""Names as venues write them: what is one, what is not, and that two of them never share a stream."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain import account, instrument, names, order, position, risk
from domain.errors import InvalidInput
from domain.order import OrderKey, venue_ids
from domain.position import PositionKey
from domain.sealed.groups import group_of, group_of_account
from projections.models.log_index import stream_parts

NAMES = st.text(st.sampled_from("aAzZ09:/%@+.-_=#|$*()[]{}!?&,~^ 币é3A25") | st.characters(), min_size=1, max_size=12)


def legal(text: str) -> bool:
    try:
        return names.name(text, "x") == text
    except InvalidInput:
        return False


NAME = NAMES.filter(legal)
INSTRUMENT = st.builds(lambda symbol, venue: f"{symbol}.{venue}", NAME, st.sampled_from(["BINANCE", "B", "A-1_2"]))


@pytest.mark.parametrize(
    "text",
    [
        "币安人生USDT-PERP", "BTC/USDT:USDT", "@107", "xyz:NVDA", "USDC.e", "SPCXx", "DOT.S", "kPEPE", "usdt", "1INCH",
        "mm_bitmex_1a/oemUeQ4CAJZgP3fjHsA+", "20210127144930176::ddc0a142-ebfd-4890-9021-641d33e58742", "a|b#c=d",
        "5a" * 44, "x" * 200, "币" * 133,
        "ibc/27394FB092D2ECCD", "SPY   251219C00500000", "...", "🐸", "Ω", "٣", "a%3Ab",
    ],
)  # fmt: skip
def test_a_name_is_taken_as_it_is_written(text):
    assert names.name(text, "x") == names.currency(text, "x") == text
    assert names.instrument_id(f"{text}.OKX") == f"{text}.OKX"
    assert (names.symbol_of(f"{text}.OKX"), names.venue_of(f"{text}.OKX")) == (text, "OKX")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "of 1 to 200 characters"), ("x" * 201, "of 1 to 200 characters"), ("x" * 10_000, "of 1 to 200 characters"),
        ("币" * 134, "of at most 400 bytes in UTF-8"), (" a", "without blanks at"), ("a ", "without blanks at"),
        ("a\tb", "control character U+0009"), ("a\n", "control character U+000A"), ("a\0", "control character U+0000"),
        ("a\u202eb", "invisible character U+202E"), ("a\u2066b", "invisible character U+2066"),
        ("a\u200bb", "invisible character U+200B"), ("a\ufeff", "invisible character U+FEFF"),
        ("a\xa0b", "invisible character U+00A0"), ("a\u3164b", "invisible character U+3164"),
        ("a\ufe0f", "invisible character U+FE0F"), ("a\xadb", "invisible character U+00AD"),
        ("a\ud800", "lone surrogate U+D800"), ("a\ufdd0", "invisible character U+FDD0"), ("a\ue000", "U+E000"),
        ("\u0301a", "that begins with a character of its own"), ("a<b", "without the character <"),
        ('a"b', 'without the character "'),
        ("a\\b", "without the character \\"), ("a\u037eb", "without the character ;"),
        ("a\u201cb", "quotation mark U+201C"), (".", "no name in a URL"), ("..", "no name in a URL"),
        (5, "given as text"), (None, "given as text"), (["a"], "given as text"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_or_would_end_a_value_is_in_no_name(text, rule):
    with pytest.raises(InvalidInput) as caught:
        names.name(text, "cl_ord_id")
    assert rule in caught.value.rule
    assert caught.value.field == "cl_ord_id"


@pytest.mark.parametrize("text", ["BTCUSDT", "BTCUSDT.", ".BINANCE", "BTC.binance", "BTC. BINANCE", "a<b.OKX", 5])
def test_an_instrument_id_is_a_symbol_and_a_venue(text):
    with pytest.raises(InvalidInput):
        names.instrument_id(text)


def test_ids_of_executions_have_no_mark_of_moved_lots():
    assert names.execution_id("a:b/c#2", "exec_id") == "a:b/c#2"
    with pytest.raises(InvalidInput, match="moved"):
        names.execution_id("E@T", "exec_id")


@given(text=NAMES)
def test_every_spelling_of_a_name_is_brought_to_one(text):
    assume(legal(unicodedata.normalize("NFC", text)))
    made = names.name(unicodedata.normalize("NFD", text), "x")
    assert made == unicodedata.normalize("NFC", text) == names.name(made, "x")
    assert made.isprintable() and made == made.strip() and made.encode().decode() == made


@given(one=st.tuples(NAME, NAME, INSTRUMENT), other=st.tuples(NAME, NAME, INSTRUMENT))
def test_two_names_never_share_a_stream(one, other):
    def streams(parts: tuple[str, str, str]) -> list[str]:
        first, second, instrument_id = parts
        return [
            position.stream(PositionKey(first, second, instrument_id)), order.stream(OrderKey(first, second)),
            venue_ids.stream("V", first, second), account.stream(first), risk.stream(first),
            instrument.stream(instrument_id),
        ]  # fmt: skip

    mine, theirs = streams(one), streams(other)
    assert len(set(mine)) == len(mine)
    assert (mine[0] == theirs[0]) is (one == other)
    assert (mine[1] == theirs[1]) is (mine[2] == theirs[2]) is (one[:2] == other[:2])
    assert (mine[5] == theirs[5]) is (one[2] == other[2])
    for stream in mine[:5]:
        assert stream_parts(stream)[1] == one[0]
        assert group_of(stream) == group_of_account(one[0])
    assert names.parts_of(mine[0]) == ["position", *one]
    assert (group_of_account(one[0]) == group_of_account(other[0])) is (one[0] == other[0])


@given(parts=st.tuples(st.text(st.sampled_from("a:%币"), min_size=200, max_size=200), NAME))
def test_a_stream_fits_an_index_and_a_name_made_of_others_is_a_name(parts):
    longest = parts[0] if legal(parts[0]) else "币:" * 100
    assert len(position.stream(PositionKey(longest, longest, f"{longest}.{'V' * 32}")).encode()) < 2700
    made = names.joined(*parts)
    assert len(made) <= names.NAME_MAX and len(made.encode()) <= names.NAME_BYTES_MAX
    assert names.joined("a" * 200, parts[1]) != names.joined("a" * 200, parts[1] + "x")


def test_old_names_keep_their_streams():
    assert order.stream(OrderKey("main", "A-1.2_3")) == "order:main:A-1.2_3"
    assert position.stream(PositionKey("main", "trend", "BTC/USDT.SIM")) == "position:main:trend:BTC/USDT.SIM"
    assert instrument.stream("BTC/USDT.SIM") == "instrument:SIM:BTC/USDT"
    assert order.adopted_id("BTCUSDT.BINANCE", "7") == "BINANCE-7"

"""Trade histories: what a line says, and every way it can fail to say it, one case a line."""

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.exchanges import Unreadable
from adapters.exchanges.binance import BINANCE_SPOT, binance_spot
from adapters.exchanges.files.facts import Fact, Source, Traded
from adapters.exchanges.files.reading import ExportFile, Wanted
from adapters.exchanges.files.records import LINE_BYTES_MAX
from adapters.exchanges.files.sorting import in_order, oldest_first
from adapters.exchanges.layouts.catalog import catalog
from domain import instrument
from domain.errors import InvalidInput
from domain.instrument import Contract, Kind
from domain.values import Liquidity, Money, Side

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HEADER = b"seq,trade_id,ts,symbol,side,price,qty,quote_qty,liquidity,fee,fee_currency\n"
GOOD = b"1,199025959,2019-10-31T15:48:51.803Z,BTCUSDT,BUY,9200,0.060187,553.7204,maker,0.00006019,BTC"
AT = datetime(2019, 10, 31, 15, 48, 51, 803000, tzinfo=UTC)
FILL = Traded(
    Source(2, GOOD.decode(), AT), "BTCUSDT", Contract(Kind.SPOT, "BTC", "USDT", "USDT"), Side.BUY,
    quantity=Decimal("0.060187"), price=Decimal(9200), fees=(Money(Decimal("0.00006019"), "BTC"),), id="199025959",
    seq=199025959, liquidity=Liquidity.MAKER,
)  # fmt: skip


def found(path: Path, content: bytes) -> list[Fact | Unreadable]:
    path.write_bytes(content)
    with ExportFile(path, catalog(), Wanted(NOW)) as file:
        (text,) = file.texts()
        assert not isinstance(text, InvalidInput)
        return list(text.facts)


def with_(**fields: str) -> bytes:
    """The good line with other fields."""
    names = HEADER.decode().strip().split(",")
    values = dict(zip(names, GOOD.decode().split(","), strict=True)) | fields
    return ",".join(values.values()).encode()


def test_a_line_is_a_fill_in_the_words_of_the_domain(tmp_path: Path) -> None:
    assert found(tmp_path / "f.csv", HEADER + GOOD + b"\n") == [FILL]


SAME = {
    "no end of line": HEADER + GOOD,
    "line ends of Windows": HEADER.replace(b"\n", b"\r\n") + GOOD + b"\r\n",
    "byte order mark": b"\xef\xbb\xbf" + HEADER + GOOD,
    "all quoted": HEADER + b",".join(b'"%s"' % field for field in GOOD.split(b",")),
    "columns the other way round": b",".join(HEADER.strip().split(b",")[::-1])
    + b"\n"
    + b",".join(GOOD.split(b",")[::-1]),
    "padded header": HEADER.replace(b",", b" , ") + GOOD,
    "zeros behind the point": HEADER + with_(price="9200.00000000", qty="0.06018700", quote_qty="553.72040000"),
    "time with an offset": HEADER + with_(ts="2019-10-31T17:48:51.803+02:00"),
    "time without a T": HEADER + with_(ts="2019-10-31 15:48:51.803"),
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME.keys())
def test_the_same_fill_written_otherwise(tmp_path: Path, content: bytes) -> None:
    (row,) = found(tmp_path / "f.csv", content)
    assert isinstance(row, Traded)
    assert replace(row, source=FILL.source) == FILL


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    rows = found(tmp_path / "f.csv", HEADER + b"\n\r\n   \n" + GOOD + b"\n\n")
    assert [row.source.line for row in rows if isinstance(row, Traded)] == [5]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"fee": "-0.001"}, Money(Decimal("-0.001"), "BTC")),
        ({"fee": "0", "fee_currency": "BNB"}, Money(Decimal(0), "BNB")),
    ],
)
def test_a_fee_may_be_a_rebate_or_nothing(tmp_path: Path, fields: dict[str, str], expected: Money) -> None:
    (row,) = found(tmp_path / "f.csv", HEADER + with_(**fields))
    assert isinstance(row, Traded)
    assert row.fees == (expected,)


def test_quote_quantities_are_cut_at_eight_places(tmp_path: Path) -> None:
    cut = with_(symbol="ETHBTC", price="0.0345671", qty="0.1237", quote_qty="0.00427595")
    off = with_(symbol="ETHBTC", price="0.0345671", qty="0.1237", quote_qty="0.00427594")
    row, unreadable = found(tmp_path / "f.csv", HEADER + cut + b"\n" + off)
    assert isinstance(row, Traded)
    assert isinstance(unreadable, Unreadable)
    assert "price x qty, which is 0.00427595027" in str(unreadable.error)


BAD = {
    "price NaN": (with_(price="NaN"), "price: 'NaN' is not a finite decimal number"),
    "price infinite": (with_(price="Infinity"), "price: 'Infinity'"),
    "price negative": (with_(price="-9200"), "price: '-9200' is not above zero"),
    "price zero": (with_(price="0"), "price: '0' is not above zero"),
    "price empty": (with_(price=""), "price: ''"),
    "price huge": (with_(price="1e30"), "price: '1e30'"),
    "quantity zero": (with_(qty="0", quote_qty="0"), "qty: '0' is not above zero"),
    "quantity negative": (with_(qty="-1", quote_qty="-9200"), "qty: '-1'"),
    "quantity too fine": (with_(qty="0.0000000000000000001"), "qty: '0.0000000000000000001'"),
    "quote quantity off": (with_(quote_qty="553.7205"), "quote_qty: '553.7205' is not price x qty, which is 553.7204"),
    "fee NaN": (with_(fee="nan"), "fee: 'nan'"),
    "fee infinite": (with_(fee="-inf"), "fee: '-inf'"),
    "fee currency small": (with_(fee_currency="btc"), "fee_currency: 'btc'"),
    "fee currency empty": (with_(fee_currency=""), "fee_currency: ''"),
    "side unknown": (with_(side="HOLD"), "side: 'HOLD' is not BUY or SELL"),
    "side empty": (with_(side=""), "side: ''"),
    "liquidity unknown": (with_(liquidity="giver"), "liquidity: 'giver' is not maker or taker"),
    "time from the future": (
        with_(ts="2026-11-23T12:01:00Z"),
        "time: '2026-11-23T12:01:00Z' is not a time that has come",
    ),
    "time before Bitcoin": (with_(ts="1999-12-31T23:59:59Z"), "time: '1999-12-31T23:59:59Z'"),
    "time that is none": (with_(ts="2026-02-30T00:00:00Z"), "time: '2026-02-30T00:00:00Z' is not a time that exists"),
    "time out of the calendar": (with_(ts="9999-12-31T23:59:59-01:00"), "time: '9999-12-31T23:59:59-01:00'"),
    "trade id of letters": (with_(trade_id="T-1"), "trade_id: 'T-1' is not a whole number"),
    "trade id with zeros": (with_(trade_id="0199025959"), "trade_id: '0199025959'"),
    "trade id endless": (with_(trade_id="9" * 19), "trade_id"),
    "trade id of other digits": (with_(trade_id="١٢٣"), "trade_id"),
    "row number of letters": (with_(seq="one"), "seq: 'one'"),
    "symbol small": (with_(symbol="btcusdt"), "symbol: 'btcusdt'"),
    "symbol a path": (with_(symbol="../BTC"), "symbol: '../BTC'"),
    "cut off": (GOOD[:40], "columns: 4 is not the 11 columns of the header"),
    "one column more": (GOOD + b",x", "columns: 12 is not the 11 columns of the header"),
    "quote never closed": (GOOD.replace(b"BTCUSDT", b'"BTCUSDT'), "line: "),
    "text behind a quote": (GOOD.replace(b"BTCUSDT", b'"BTC"USDT'), "line: "),
    "carriage return inside": (GOOD.replace(b"BTCUSDT", b"BTC\rUSDT"), "line: "),
    "bytes of no encoding": (GOOD.replace(b"BTCUSDT", b"BTC\xff\xfeUSDT"), "is not UTF-8 text (at byte 41)"),
    "NUL": (GOOD.replace(b"BTCUSDT", b"BTC\0USDT"), "is not text without NUL (at character 41)"),
    "too long": (GOOD + b" " * LINE_BYTES_MAX, "bytes long"),
}


WRITTEN_OUT = {  # what no text column could keep
    BAD["bytes of no encoding"][0]: GOOD.decode().replace("BTCUSDT", r"BTC\xff\xfeUSDT"),
    BAD["NUL"][0]: GOOD.decode().replace("BTCUSDT", r"BTC\x00USDT"),
    BAD["too long"][0]: GOOD.decode().ljust(LINE_BYTES_MAX),
}


@pytest.mark.parametrize(("line", "error"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_yielded_raw_with_its_place_and_reason_and_spoils_no_other(
    tmp_path: Path, line: bytes, error: str
) -> None:
    before, bad, after = found(tmp_path / "f.csv", HEADER + GOOD + b"\n" + line + b"\n" + with_(trade_id="7") + b"\n")
    assert isinstance(bad, Unreadable)
    assert bad.line == 3
    assert error in str(bad.error)
    assert len(str(bad.error)) < 500
    assert isinstance(after, Traded)
    assert (before, after.source.line, after.id) == (FILL, 4, "7")
    assert bad.raw == (WRITTEN_OUT[line] if line in WRITTEN_OUT else line.decode())


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_file_that_ends_inside_its_last_field_is_not_believed(tmp_path: Path, cut: int) -> None:
    usdt = with_(trade_id="7", side="SELL", fee_currency="USDT")
    first, _, last = found(tmp_path / "f.csv", HEADER + usdt + b"\n" + GOOD + b"\n" + usdt[:-cut])
    assert isinstance(first, Traded)
    assert isinstance(last, Unreadable)
    assert "the file ends inside this line" in str(last.error)


HEADERS = {
    "empty": (b"", "Known: Binance trade history, "),
    "a column less": (HEADER.replace(b"fee,", b""), "(1) Binance trade history: missing 'fee'"),
    "a column more": (HEADER.replace(b"fee,", b"fee,note,"), "(1) Binance trade history: unknown 'note'"),
    "a column twice": (HEADER.replace(b"fee,", b"fee,fee,"), "repeated 'fee'"),
    "another exchange's": (b"uid,type,amount\n1,buy,2\n", "missing '"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "UTF-8 text"),
    "zeros": (b"\0" * 100_000, "at most 65536 bytes"),
}


@pytest.mark.parametrize(("content", "error"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_of_no_known_layout_is_refused_with_those_that_are_near(
    tmp_path: Path, content: bytes, error: str
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        found(path, content)
    assert error in str(refused.value)
    assert str(refused.value).startswith("header: ")
    assert "Known: Binance trade history" in str(refused.value)


@pytest.mark.parametrize("name", [".", "no/such.csv", "nul\0.csv"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"file: .* is not a file that can be read \(.+\)"):
        ExportFile(tmp_path / name, catalog(), Wanted(NOW))


@pytest.mark.parametrize("symbol", BINANCE_SPOT)
def test_the_well_known_can_be_listed_as_they_are(symbol: str) -> None:
    listing = binance_spot(symbol)
    assert listing is not None
    assert listing.contract.base + listing.contract.quote == symbol
    assert len(instrument.decide(None, listing)) == 1


def test_a_symbol_of_unknown_currencies_is_not_listed() -> None:
    assert binance_spot("NOSUCHUSDT") is None


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("arrange", [list, reversed, lambda rows: rows[1::2] + rows[::2]])
def test_rows_come_in_order_of_occurrence_with_any_chunk(
    tmp_path: Path, chunk: int, arrange: Callable[[list[bytes]], list[bytes]]
) -> None:
    lines = [with_(trade_id=str(n), ts=f"2020-01-01T00:00:{n // 3:02d}Z") for n in range(1, 60)]
    shuffled = [b"bad", *arrange(lines), b"worse", lines[5]]
    rows = list(in_order(found(tmp_path / "f.csv", HEADER + b"\n".join(shuffled)), chunk_facts_max=chunk))
    good = [row for row in rows if isinstance(row, Traded)]
    assert [row.id for row in good] == sorted([*map(str, range(1, 60)), "6"], key=int)
    assert [oldest_first(row)[:3] for row in good] == sorted(oldest_first(row)[:3] for row in good)
    assert [row.raw for row in rows if isinstance(row, Unreadable)] == ["bad", "worse"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    with path.open("wb") as file:
        file.write(HEADER)
        file.writelines(with_(trade_id=str(n)) + b"\n" for n in range(8_000, 0, -1))
        file.write(b"x" * 20_000_000)
    tracemalloc.start()
    with ExportFile(path, catalog(), Wanted(NOW)) as file:
        (text,) = file.texts()
        assert not isinstance(text, InvalidInput)
        rows = sum(isinstance(row, Traded) for row in in_order(text.facts, chunk_facts_max=200))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 8_000
    assert peak < 6_000_000, f"{peak} bytes"

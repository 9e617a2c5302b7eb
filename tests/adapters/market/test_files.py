"""Market data from files: what was seen, when it was known; unreadable lines are named."""

import csv
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import psycopg
import pytest

from adapters.market.files import MarketData, read_market
from adapters.market.mark_store import FundingRate, KnownBy
from domain.errors import InvalidInput
from domain.marks import Quality
from domain.values import rounded
from tests import oracles
from tests.marks import recording

BTC = "BTCUSD.SIM"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def read(path: Path, text: str, **more: object) -> MarketData:
    path.write_text(text)
    return read_market(path, BTC, "file", now=NOW, **more)  # type: ignore[arg-type]


def test_a_candle_is_known_at_its_end(tmp_path: Path) -> None:
    text = "ts,open,high,low,close,volume\n2026-01-01T00:02:00Z,1,1,1,3,9\n2026-01-01T00:00:00Z,1,1,1,2,9\n"
    found = read(tmp_path / "a.csv", text + "2026-01-01T00:01:00Z,1,1,1,4,9\n")
    assert [(mark.price, mark.mark_at - T0, mark.quality) for mark in found.marks] == [
        (D(2), timedelta(minutes=1), Quality.CLOSE), (D(4), timedelta(minutes=2), Quality.CLOSE),
        (D(3), timedelta(minutes=3), Quality.CLOSE),
    ]  # fmt: skip
    found = read(tmp_path / "a.csv", "ts,close\n2026-01-01,5\n2026-01-01T00:00:00Z,5\n", every=timedelta(days=1))
    assert [mark.mark_at - T0 for mark in found.marks] == [timedelta(days=1)]
    assert not found.unreadable


def test_a_candle_that_ends_after_the_last_time_there_is_is_unreadable(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", "ts,close\n2026-01-01T00:00:00Z,5\n9999-12-31T00:00:00Z,6\n")
    assert not found.marks and [one.line for one in found.unreadable] == [2, 3]


def test_trades_candles_as_lists_and_rates(tmp_path: Path) -> None:
    found = read(tmp_path / "t.csv", "ts_ms,price\n1767225600000,2\n1767225600000,0.1\n1767225601000,3\n")
    assert [(str(mark.price), mark.mark_at - T0) for mark in found.marks] == [
        ("0.1", timedelta()), ("3", timedelta(seconds=1)),
    ]  # fmt: skip
    assert {mark.quality for mark in found.marks} == {Quality.TRADE}
    candles = [[1767225600000, 1, 1, 1, 1.25, 7], [1767225660000, 1, 1, 1, "1.5", 7]]
    found = read(tmp_path / "c.json", json.dumps(candles), quality=Quality.MARK)
    assert [(str(mark.price), mark.quality) for mark in found.marks] == [("1.25", "MARK"), ("1.5", "MARK")]
    found = read(tmp_path / "f.json", '[{"ts": "2026-01-01T08:00:00Z", "funding_rate": -0.0001}]')
    assert found.rates == [FundingRate(BTC, T0 + timedelta(hours=8), D("-0.0001"), "file")]


CANDLES = ("1767225600,80000,80100,79900,80050,27", "1767225660,80000,80100,79900,80150.5,27")
SAVED = {
    "seconds without a header": "\n".join(CANDLES),
    "milliseconds": "open_time,open,high,low,close\n1767225600000,1,1,1,80050\n1767225660000,1,1,1,80150.5\n",
    "microseconds without a header": "\n".join(CANDLES).replace("5600,", "5600000000,").replace("5660,", "5660000000,"),
    "a line above, capitals, newest first": "https://example.com\nUnix,Date,Symbol,Open,High,Low,Close\n"
    "1767225660,2026-01-01 00:01:00,BTC/USDT,1,1,1,80150.5\n1767225600,2026-01-01 00:00:00,BTC/USDT,1,1,1,80050\n",
    "semicolons, day first": "Date;Close\n31.12.2025 00:00:00;1\n01.01.2026 00:00:00;80050\n"
    "01.01.2026 00:01:00;80150.5\n",
}  # fmt: skip


@pytest.mark.parametrize("text", SAVED.values(), ids=SAVED.keys())
@pytest.mark.parametrize(
    "pack", [str.encode, lambda text: gzip.compress(text.encode()), lambda text: text.encode("utf-16")]
)
def test_candles_as_venues_and_sites_write_them(tmp_path: Path, text: str, pack: Callable[[str], bytes]) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(pack(text))
    found = read_market(path, BTC, "file", now=NOW, every=timedelta(minutes=1))
    assert not found.unreadable
    assert [(f"{mark.price:f}", mark.mark_at - T0) for mark in found.marks[-2:]] == [
        ("80050", timedelta(minutes=1)), ("80150.5", timedelta(minutes=2)),
    ]  # fmt: skip


def test_parquet_has_times_in_utc(tmp_path: Path) -> None:
    from pyarrow import parquet, table

    path = tmp_path / "c.parquet"
    parquet.write_table(table({"timestamp": [T0, T0 + timedelta(days=1)], "Close": [80050.0, 80150.5]}), path)
    found = read_market(path, BTC, "file", now=NOW)
    assert [(f"{mark.price:f}", mark.mark_at - T0) for mark in found.marks] == [
        ("80050", timedelta(days=1)), ("80150.5", timedelta(days=2)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a,b\n1,2\n", "a time"), ("ts,volume\n2026-01-01T00:00:00Z,2\n", "close, price, funding_rate"),
        ("ts,close\n2026-01-01T00:00:00Z,2\n", "every"), ("[1, 2]", "a list of objects"),
        ("[{", "as CSV, JSON or Parquet"),
    ],
)  # fmt: skip
def test_what_is_no_market_data_is_refused(tmp_path: Path, text: str, shown: str) -> None:
    with pytest.raises(InvalidInput, match=shown):
        read(tmp_path / "x", text)


def test_unreadable_lines_are_named_and_the_others_count(tmp_path: Path) -> None:
    lines = ["2026-01-01T00:00:00Z,1", "x,2", "2026-01-01T00:01:00Z,", "2026-01-01T00:02:00Z,-1",
             "2026-01-01T00:03:00Z,NaN", "2030-01-01T00:00:00Z,7", "2026-01-01T00:04:00Z,5"]  # fmt: skip
    found = read(tmp_path / "x.csv", "\n".join(["ts,price", *lines]))
    assert [str(mark.price) for mark in found.marks] == ["1", "5"]
    assert [(one.line, one.error.field) for one in found.unreadable] == [
        (3, "ts"), (4, "price"), (5, "price"), (6, "price"), (7, "ts"),
    ]  # fmt: skip
    assert read(tmp_path / "empty.csv", "") == MarketData([], [], [])


@pytest.mark.oracle
@pytest.mark.parametrize("path", oracles.each("market", "*.csv"))
def test_recorded_market_data_loads_and_loads_once(path: Path, database_url: str) -> None:
    """Every price is on record at the end of its candle, found as of any moment, and known from when it was loaded."""
    found = read_market(path, BTC, path.stem, now=datetime.now(UTC))
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert found.unreadable == []
    with recording(database_url) as store:
        if "funding_rate" in lines[0]:
            assert [rate.rate for rate in found.rates] == [rounded(D(line["funding_rate"]), 18) for line in lines]
            assert (store.record_rates(found.rates), store.record_rates(found.rates)) == (len(lines), 0)
            return
        is_candles = "close" in lines[0]
        assert len(found.marks) == len(lines) if is_candles else len({line["ts_ms"] for line in lines})
        assert store.record(found.marks, is_new_only=True) == len(found.marks)
        assert store.record(found.marks, is_new_only=True) == 0
        for at in (0, len(found.marks) // 2, -1):
            mark = found.marks[at]
            seen = store.latest_all(mark.mark_at)[BTC]
            assert (seen.price, seen.mark_at, seen.quality) == (mark.price, mark.mark_at, mark.quality)
            if at:
                before = store.latest_all(mark.mark_at - timedelta(microseconds=1))[BTC]
                assert before.mark_at < mark.mark_at
        if is_candles:
            assert found.marks[-1].price == D(lines[-1]["close"])
            assert found.marks[-1].mark_at > datetime.fromisoformat(lines[-1]["ts"])
        assert store.latest_all(None, KnownBy(0, NOW - timedelta(days=9999))) == {}
        with psycopg.connect(database_url) as owner:
            assert owner.execute("SELECT count(*) FROM market.marks").fetchone() == (len(found.marks),)

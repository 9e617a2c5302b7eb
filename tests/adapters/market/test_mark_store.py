"""Marks: recorded exactly, found as of any moment, and from memory only as long as that is honest."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from msgspec.structs import astuple, replace

from adapters.market.mark_store import KnownBy, MarkStore
from adapters.postgres.connections import Role
from domain.errors import InvalidInput, Unavailable
from domain.marks import MarkOnRecord, QualifiedMark, Quality
from domain.values import Mark
from tests.marks import RecordingStore, recording

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def mark(price: str, at_s: float = 0, instrument_id: str = "BTCUSDT.SIM") -> Mark:
    return Mark(instrument_id, Decimal(price), "SIM", T0 + timedelta(seconds=at_s))


@dataclass
class Stopwatch:
    """A monotonic clock that stands still until it is moved."""

    seconds: float = 0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def marks(database_url: str) -> Iterator[RecordingStore]:
    with recording(database_url, stale_ms_max=0) as store:
        yield store


def known(marks: MarkStore, at: datetime | None = None, known: KnownBy | None = None) -> dict[str, Mark]:
    """The latest of every instrument, as they were recorded."""
    found = marks.latest_all(at, known)
    return {name: Mark(one.instrument_id, one.price, one.source, one.mark_at) for name, one in found.items()}


def test_without_marks_there_is_no_latest(marks: RecordingStore) -> None:
    assert marks.latest("BTCUSDT.SIM") is None
    assert marks.latest_all() == {}
    assert marks.record([]) == 0


@pytest.mark.parametrize("price", ["0.000000000000000001", "999999999999999999.999999999999999999", "100", "1000000"])
def test_a_price_comes_back_as_it_was(marks: RecordingStore, price: str) -> None:
    assert marks.record([mark(price)]) == 1
    assert marks.latest("BTCUSDT.SIM") == mark(price)
    assert f"{marks.latest_all()['BTCUSDT.SIM'].price:f}" == price


def test_the_latest_is_the_one_seen_last_in_any_order_of_arrival(marks: RecordingStore) -> None:
    marks.record([mark("3", 30), mark("1", 10)])
    marks.record([mark("2", 20)])
    assert marks.latest("BTCUSDT.SIM") == mark("3", 30)
    marks.record([mark("4", 30)])
    assert marks.latest("BTCUSDT.SIM") == mark("4", 30), "of equals the one recorded last"


def test_of_those_seen_by_a_moment_only_what_was_on_record_by_another(marks: RecordingStore) -> None:
    marks.record([mark("3", 30), mark("1", 10), mark("2", 20), mark("7", 9, "ETHUSDT.SIM")])
    now = marks.known()

    def seen(seconds: int, known: KnownBy) -> dict[str, str]:
        found = marks.latest_all(T0 + timedelta(seconds=seconds), known)
        return {name: f"{one.price}" for name, one in found.items()}

    assert seen(25, now) == {"BTCUSDT.SIM": "2", "ETHUSDT.SIM": "7"}
    assert seen(9, now) == {"ETHUSDT.SIM": "7"}
    assert seen(99, now._replace(seq=0)) == {}


@pytest.mark.parametrize(("at_s", "price"), [(9, None), (10, "1"), (19.999999, "1"), (20, "2"), (99, "3")])
def test_as_of_a_moment_only_what_was_seen_by_then(marks: RecordingStore, at_s: float, price: str | None) -> None:
    marks.record([mark("3", 30), mark("1", 10), mark("2", 20), mark("7", 9, "ETHUSDT.SIM")])
    at = T0 + timedelta(seconds=at_s)
    found = marks.latest("BTCUSDT.SIM", at)
    assert (found and str(found.price)) == price
    assert marks.latest("ETHUSDT.SIM", at) == mark("7", 9, "ETHUSDT.SIM")


def test_what_was_known_at_a_moment_is_what_was_recorded_by_then_whenever_it_was_seen(
    marks: RecordingStore,
) -> None:
    known_at = [marks.known()]
    for batch in ([mark("2", 20)], [mark("1", 10), mark("7", 5, "ETHUSDT.SIM")], [mark("3", 30)]):
        marks.record(batch)
        known_at.append(marks.known())
    assert known(marks, None, known_at.pop(0)) == {}
    assert known(marks, None, known_at[0]) == {"BTCUSDT.SIM": mark("2", 20)}
    assert known(marks, None, known_at[1]) == {"BTCUSDT.SIM": mark("2", 20), "ETHUSDT.SIM": mark("7", 5, "ETHUSDT.SIM")}
    assert known(marks, None, known_at[2]) == known(marks)
    assert known(marks)["BTCUSDT.SIM"] == mark("3", 30)
    assert known(marks, T0 + timedelta(seconds=25), known_at[2])["BTCUSDT.SIM"] == mark("2", 20)
    assert known(marks, T0 + timedelta(seconds=15), known_at[0]) == {}


def test_the_latest_of_every_instrument(marks: RecordingStore) -> None:
    names = [f"X{n}.SIM" for n in range(50)]
    marks.record([mark(str(n + at + 1), at, name) for at in (2, 1) for n, name in enumerate(names)])
    assert known(marks) == {name: mark(str(n + 3), 2, name) for n, name in enumerate(names)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", Decimal("NaN")), ("price", Decimal("Infinity")),
        ("instrument_id", "BTC USDT"), ("source", ""), ("mark_at", datetime(1999, 1, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_mark_that_is_none_spoils_its_batch(marks: RecordingStore, field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=field):
        marks.record([mark("1"), replace(mark("2"), **{field: value})])
    assert marks.latest_all() == {}


def test_a_latest_from_memory_is_stale_no_longer_than_allowed(marks: RecordingStore, database_url: str) -> None:
    clock = Stopwatch()
    reader = MarkStore(database_url, Role.AUDITOR, stale_ms_max=250, monotonic=clock)
    assert reader.latest("BTCUSDT.SIM") is None
    marks.record([mark("1")])
    clock.seconds = 0.25
    assert reader.latest("BTCUSDT.SIM") is None
    clock.seconds = 0.26
    assert reader.latest("BTCUSDT.SIM") == mark("1")
    reader.close()


def test_what_a_store_has_recorded_it_knows_at_once(database_url: str) -> None:
    with recording(database_url, monotonic=Stopwatch()) as store:
        for price in ("1", "2", "3"):
            store.record([mark(price)])
            assert store.latest("BTCUSDT.SIM") == mark(price)
        store.record([mark("0.5", -1)])
        assert store.latest("BTCUSDT.SIM") == mark("3")


def test_a_mark_names_its_kind_of_price_and_when_it_was_known(marks: RecordingStore) -> None:
    marks.record([QualifiedMark(*astuple(mark("5", 1)), Quality.MID), mark("6", 0)])
    found = marks.latest_all()["BTCUSDT.SIM"]
    assert (found.quality, found.price, found.recorded_at > T0) == (Quality.MID, Decimal(5), True)
    assert marks.latest_all(T0)["BTCUSDT.SIM"].quality is Quality.UNSTATED
    assert type(marks.latest("BTCUSDT.SIM")) is Mark, "what a decision sees, and an event keeps, is the bare mark"


def test_many_threads_read_and_record(marks: RecordingStore) -> None:
    def work(thread: int) -> list[Mark | None]:
        name = f"X{thread}.SIM"
        seen = []
        for n in range(1, 21):
            marks.record([mark(str(n), n, name)])
            seen.append(marks.latest(name))
        return seen

    with ThreadPoolExecutor(6) as pool:
        for thread, seen in enumerate(pool.map(work, range(6))):
            assert seen == [mark(str(n), n, f"X{thread}.SIM") for n in range(1, 21)]


def test_a_reader_cannot_record(database_url: str) -> None:
    store = MarkStore(database_url, Role.AUDITOR)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        store.stage([mark("1")])
    assert store.latest("BTCUSDT.SIM") is None
    store.close()


def test_an_unreachable_database_is_reported() -> None:
    store = MarkStore("postgresql://unknown@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match=r"none at 127\.0\.0\.1:1"):
        store.latest("BTCUSDT.SIM")
    store.close()


def plain(found: Sequence[MarkOnRecord | None]) -> list[Mark | None]:
    """The marks without what is on record of them."""
    assert all(one is None or one.mark_id for one in found)
    return [one and Mark(one.instrument_id, one.price, one.source, one.mark_at) for one in found]


def by_name(found: Mapping[str, MarkOnRecord]) -> dict[str, Mark | None]:
    return dict(zip(found, plain(list(found.values())), strict=True))


def test_the_latest_of_each_moment_is_found_at_once(marks: RecordingStore) -> None:
    marks.record([mark("100"), mark("110", 10), mark("7", 5, "ETHUSDT.SIM")])
    known = marks.known()
    marks.record([mark("105", 8)])  # seen earlier, known later
    wanted = [
        (instrument_id, T0 + timedelta(seconds=at_s))
        for instrument_id, at_s in (("BTCUSDT.SIM", 9), ("ETHUSDT.SIM", 4), ("BTCUSDT.SIM", 99), ("BTCUSDT.SIM", -1))
    ]
    assert plain(marks.latest_each(wanted)) == [mark("105", 8), None, mark("110", 10), None]
    assert plain(marks.latest_each(wanted, known)) == [mark("100"), None, mark("110", 10), None]
    assert marks.latest_each([]) == []


def test_the_latest_of_instruments_at_several_moments(marks: RecordingStore) -> None:
    marks.record([mark("100"), mark("110", 10), mark("7", 5, "ETHUSDT.SIM"), mark("1", 0, "XRPUSDT.SIM")])
    known = marks.known()
    marks.record([mark("105", 8)])  # seen earlier, known later
    requested, moments = (
        ["ETHUSDT.SIM", "BTCUSDT.SIM", "NONE.SIM"],
        [T0 + timedelta(seconds=at_s) for at_s in (99, 9, -1)],
    )
    eth = {"ETHUSDT.SIM": mark("7", 5, "ETHUSDT.SIM")}
    assert list(map(by_name, marks.latest_at(requested, moments))) == [
        eth | {"BTCUSDT.SIM": mark("110", 10)}, eth | {"BTCUSDT.SIM": mark("105", 8)}, {},
    ]  # fmt: skip
    assert by_name(marks.latest_at(requested, moments, known)[1]) == eth | {"BTCUSDT.SIM": mark("100")}
    assert marks.latest_at([], moments) == [{}, {}, {}]
    assert marks.latest_at(requested, []) == []

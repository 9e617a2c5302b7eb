"""Recording of marks: a batch and its event are on record together or not at all, and are known in the log's order."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.market.mark_store import FundingRate, KnownBy, MarkStore
from adapters.market.recording import MarkRecorder
from adapters.postgres.migrations import migrate
from adapters.postgres.migrations.upgrading import upgrade
from adapters.verify.mark_check import CheckedMarks, check_marks
from adapters.writer.writer import Writer
from domain.errors import ClockInDoubt, RequestRefused
from domain.marks import MarksRecorded, PriceKind, QualifiedMark, Quality
from domain.values import Mark
from tests import CHECKOUT
from tests.databases import url_of_database
from tests.marks import RecordingStore, recording
from tests.rfc6962 import mth

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
VISIBLE = """
SELECT count(*) FROM market.marks AS mark JOIN market.batches AS batch
    ON batch.kind = 'MARK' AND mark.mark_id BETWEEN batch.first_id AND batch.last_id
"""


def mark(price: str, at_s: float = 0, source: str = "SIM") -> Mark:
    return Mark(BTC, Decimal(price), source, T0 + timedelta(seconds=at_s))


@pytest.fixture
def store(database_url: str) -> Iterator[RecordingStore]:
    """A store whose writer's clock stands still."""
    with recording(database_url, lambda: T0 + timedelta(days=1), stale_ms_max=0) as store:
        yield store


def events(log: PostgresLog) -> list[MarksRecorded]:
    return [logged.recorded.event for logged in log.select(limit=10_000)]


def test_a_batch_is_an_event_of_its_source_with_the_root_over_its_prices(store: RecordingStore) -> None:
    found = [mark("100.50", 30), QualifiedMark(BTC, Decimal("0.10"), "SIM", T0, quality=Quality.MID)]
    assert store.record(found) == 2
    ((seq, recorded),) = store.log.select()
    event = recorded.event
    assert (seq, recorded.stream, recorded.actor, recorded.request_id) == (1, "marks:SIM", "tests", "r1")
    assert recorded.recorded_at == T0 + timedelta(days=1), "by the writer's clock, like every event"
    assert (event.count, event.first_at, event.last_at) == (2, T0, T0 + timedelta(seconds=30))
    assert (event.instruments, event.instrument_count) == ((BTC,), 1)
    first = event.first_id
    leaves = [
        [first, BTC, "2026-01-01T00:00:30.000000Z", "100.5", "SIM", "UNSTATED", None],
        [first + 1, BTC, "2026-01-01T00:00:00.000000Z", "0.1", "SIM", "MID", None],
    ]
    assert event.root == mth([json.dumps(leaf, separators=(",", ":")).encode() for leaf in leaves]).hex()
    shown = store.latest_all()[BTC]
    assert (shown.price, shown.recorded_at, shown.mark_id) == (Decimal("100.5"), recorded.recorded_at, first)


def test_batches_are_of_one_source_and_bounded(store: RecordingStore) -> None:
    assert store.record([mark("1", n, f"S{n % 2}") for n in range(12_000)]) == 12_000
    found = events(store.log)
    assert [(event.source, event.count) for event in found] == [("S0", 2500), ("S1", 2500)] * 2 + [
        ("S0", 1000), ("S1", 1000),
    ]  # fmt: skip
    ids = [set(range(event.first_id, event.last_id + 1)) for event in found]
    assert len(set.union(*ids)) == 12_000


def test_what_was_known_follows_the_log_and_not_the_clock(store: RecordingStore) -> None:
    for price in ("1", "2", "3"):
        store.record([mark(price)])
    at = T0 + timedelta(days=1)
    known = [store.latest_all(known=KnownBy(seq, at)) for seq in range(4)]
    assert [{name: str(one.price) for name, one in each.items()} for each in known] == [
        {}, {BTC: "1"}, {BTC: "2"}, {BTC: "3"},
    ]  # fmt: skip
    assert len({each.recorded.recorded_at for each in store.log.select()}) == 1


def test_the_ids_of_marks_are_found_by_their_values(store: RecordingStore) -> None:
    store.record([mark("1", 1), mark("2", 2), mark("1", 1)])
    known = store.known()
    store.record([mark("2", 2)])
    first = events(store.log)[0].first_id
    assert store.ids_of([mark("2", 2), mark("1", 1), mark("3", 3)], known) == [first + 1, first + 2, 0]
    assert store.ids_of([mark("2", 2)]) == [events(store.log)[1].first_id]


def test_importing_again_adds_only_what_is_new_also_after_an_interruption(store: RecordingStore) -> None:
    found = [mark(str(n + 1), n) for n in range(10)]
    store.stage(found[:5])  # its event never came
    assert store.record(found[:5], is_new_only=True) == 5
    assert store.record(found, is_new_only=True) == 5
    assert store.record(found, is_new_only=True) == 0
    rates = [FundingRate(BTC, T0 + timedelta(hours=n), Decimal("-0.0001"), "SIM") for n in range(3)]
    store.stage_rates(rates)
    assert (store.record_rates(rates[:2]), store.record_rates(rates), store.record_rates(rates)) == (2, 1, 0)
    kinds = [(event.kind, event.count) for event in events(store.log)]
    assert kinds == [(PriceKind.MARK, 5), (PriceKind.MARK, 5), (PriceKind.FUNDING_RATE, 2), (PriceKind.FUNDING_RATE, 1)]


def test_a_batch_that_is_carried_out_again_is_recorded_once(store: RecordingStore) -> None:
    request = store.stage([mark("1")])
    assert len(store.writer.request(request, actor="tests").records) == 1
    assert store.writer.request(request, actor="tests").records == ()
    assert check_marks(store.log._url) == CheckedMarks(1, 1, 0, 0, [])


def test_a_clock_in_doubt_stops_marks_like_everything_else(database_url: str, log: PostgresLog) -> None:
    def in_doubt() -> datetime:
        raise ClockInDoubt("our clock is an hour ahead")

    store = MarkStore(database_url)
    with pytest.raises(ClockInDoubt):
        MarkRecorder(store, Writer(log, in_doubt).carry_out).record([mark("1")], actor="tests")
    assert (log.head().seq, store.latest_all()) == (0, {})
    store.close()


def test_one_invalid_mark_records_none(store: RecordingStore) -> None:
    with pytest.raises(RequestRefused):
        store.record([mark("1"), mark("-1")])
    assert (store.log.head().seq, store.latest_all()) == (0, {})


def test_threads_record_through_a_leader(database_url: str, store: RecordingStore) -> None:
    with store.writer.leading(database_url), ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: store.record([mark(str(n + 1), n, f"S{n % 3}")]), range(60)))
    assert check_marks(database_url) == CheckedMarks(60, 60, 0, 0, [])
    latest = store.latest(BTC)
    assert latest is not None and latest.price == 60


KILLED = """
import os, sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from domain.values import Mark
from tests.marks import recording

T0 = datetime(2026, 1, 1, tzinfo=UTC)
with recording(sys.argv[1]) as store:
    for n in range(100_000):
        store.record([Mark("BTCUSDT.SIM", Decimal(n + 1), "SIM", T0 + timedelta(seconds=n + at)) for at in range(20)])
        print(n, flush=True)
"""


def test_a_killed_recorder_leaves_batches_with_their_events_or_neither(database_url: str) -> None:
    chosen = random.Random(7)
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, database_url], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
        ) as recorder:
            assert recorder.stdout is not None and recorder.stdout.readline() == "0\n"
            time.sleep(chosen.uniform(0, 0.1))
            recorder.send_signal(signal.SIGKILL)
    with PostgresLog(database_url) as log, psycopg.connect(database_url) as owner:
        found = events(log)
        assert owner.execute(VISIBLE).fetchone() == (sum(event.count for event in found),)
    checked = check_marks(database_url)
    assert (checked.batches, checked.covered, checked.findings) == (len(found), 20 * len(found), [])
    assert checked.unfinished % 20 == 0


def test_marks_of_an_older_version_are_committed_by_the_next_that_records(server_url: str) -> None:
    name = f"daybook_older_{uuid4().hex[:8]}"
    url = url_of_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            upgrade(url, "0009")
            with psycopg.connect(url) as older:
                older.execute(
                    "INSERT INTO market.marks (instrument_id, mark_at, price, source) SELECT 'BTCUSDT.SIM',"
                    " timestamptz '2026-01-01Z' + n * interval '1 s', n + 1, 'SIM' FROM generate_series(0, 11999) AS n"
                )
                older.execute(
                    "INSERT INTO market.funding_rates (instrument_id, rate_at, rate, source)"
                    " VALUES ('BTCUSDT.SIM', now(), 0.0001, 'SIM')"
                )
            migrate(url)
            assert check_marks(url) == CheckedMarks(0, 0, 12_001, 0, [])
            with recording(url, stale_ms_max=0) as store:
                before = store.latest(BTC)
                assert before is not None and before.price == 12_000
                store.record([mark("9", 99_999)])
                store.record([mark("8", 99_998)])
                found = events(store.log)
                counts = [(event.kind.value, event.count, event.is_earlier) for event in found]
                assert counts == [
                    ("MARK", 5000, True), ("MARK", 5000, True), ("MARK", 2000, True), ("FUNDING_RATE", 1, True),
                    ("MARK", 1, False), ("MARK", 1, False),
                ]  # fmt: skip
                early = store.latest_all(known=KnownBy(0, datetime.now(UTC)))[BTC]
                assert early.price == 12_000, "known since it was recorded, not since it was committed"
                assert store.latest_all(known=KnownBy(6, T0))[BTC].price == 9
            assert check_marks(url) == CheckedMarks(6, 12_003, 0, 0, [])
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]

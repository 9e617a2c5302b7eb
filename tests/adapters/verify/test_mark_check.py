"""Verification of marks finds any change of a price or a batch by SQL, and names the price or its batch."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from adapters.market.mark_store import FundingRate
from adapters.postgres.connections import Role, connect
from adapters.verify.mark_check import CheckedMarks, MarkFinding, ProvedMark, check_marks, check_used, prove_mark
from domain.values import Mark
from tests import rfc6962
from tests.marks import RecordingStore, recording

pytestmark = pytest.mark.slow

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BTC, ETH = "BTCUSDT.SIM", "ETHUSDT.SIM"
TABLES = ("market.marks", "market.funding_rates", "market.batches", "market.leaves")
EARLIER = """
INSERT INTO market.marks (mark_id, instrument_id, mark_at, price, source, quality, recorded_at)
VALUES (%s, 'BTCUSDT.SIM', '2025-12-01Z', %s, 'old', 'UNSTATED', '2025-12-01Z')
"""


def marks(count: int, source: str = "SIM", name: str = BTC) -> list[Mark]:
    return [Mark(name, Decimal(100 + n), source, T0 + timedelta(minutes=n)) for n in range(count)]


@pytest.fixture
def store(database_url: str) -> Iterator[RecordingStore]:
    """Three batches: seq 1 of five marks from id 5001 on, seq 2 of two by another source, seq 3 of funding rates."""
    with recording(database_url, stale_ms_max=0) as store:
        store.record(marks(5))
        store.record(marks(2, "OTHER", ETH))
        store.record_rates([FundingRate(BTC, T0 + timedelta(hours=n), Decimal("0.0001"), "SIM") for n in range(3)])
        yield store


def tamper(database_url: str, *statements: str) -> None:
    """Change the mark store as a superuser who knows it."""
    with psycopg.connect(database_url) as owner:
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        for statement in statements:
            owner.execute(statement)  # type: ignore[arg-type]


def found(checked: CheckedMarks) -> list[tuple[str, int | None, int | None]]:
    return [(finding.fault.value, finding.seq, finding.mark_id) for finding in checked.findings]


def test_untouched_marks_are_what_was_recorded(store: RecordingStore, database_url: str) -> None:
    assert check_marks(database_url) == CheckedMarks(3, 10, 0, 0, [])


def insert(mark_id: int, recorded_at: str = "NULL") -> str:
    columns = "mark_id, instrument_id, mark_at, price, source, quality, recorded_at"
    return f"INSERT INTO market.marks ({columns}) VALUES ({mark_id}, '{BTC}', now(), 1, 'SIM', 'MARK', {recorded_at})"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE market.marks SET price = 1 WHERE mark_id = 5003", ("altered", 1, 5003)),
        ("UPDATE market.marks SET price = price * 1e200 WHERE mark_id = 5003", ("altered", 1, 5003)),
        ("UPDATE market.marks SET mark_at = mark_at + interval '1 us' WHERE mark_id = 5001", ("altered", 1, 5001)),
        ("UPDATE market.marks SET mark_at = 'infinity' WHERE mark_id = 5001", ("altered", 1, 5001)),
        ("UPDATE market.marks SET instrument_id = 'X.SIM' WHERE mark_id = 5002", ("altered", 1, 5002)),
        ("UPDATE market.marks SET source = 'Y' WHERE mark_id = 10002", ("altered", 2, 10002)),
        ("UPDATE market.marks SET quality = 'MID' WHERE mark_id = 10001", ("altered", 2, 10001)),
        ("UPDATE market.marks SET recorded_at = '2020-01-01Z' WHERE mark_id = 5005", ("altered", 1, 5005)),
        ("UPDATE market.funding_rates SET rate = 9 WHERE rate_id = 15002", ("altered", 3, 15002)),
        ("DELETE FROM market.marks WHERE mark_id = 5005", ("removed", 1, 5005)),
        ("DELETE FROM market.marks WHERE mark_id BETWEEN 5001 AND 5005", ("removed", 1, 5001)),
        ("UPDATE market.marks SET mark_id = 5009 WHERE mark_id = 5005", ("removed", 1, 5005)),
        (insert(4000, "'2020-01-01Z'"), ("inserted", None, 4000)),
        (insert(99000, "now()"), ("inserted", None, 99000)),
        ("DELETE FROM market.batches WHERE seq = 2", ("removed", 2, None)),
        ("UPDATE market.batches SET seq = 7 WHERE seq = 2", ("re-timed", 7, None)),
        ("UPDATE market.batches SET recorded_at = '2020-01-01Z' WHERE seq = 2", ("re-timed", 2, None)),
        ("UPDATE market.batches SET last_id = last_id + 1 WHERE seq = 1", ("re-timed", 1, None)),
        ("UPDATE market.batches SET is_earlier = true WHERE seq = 1", ("re-timed", 1, None)),
        ("UPDATE market.batches SET known_to = 1 WHERE seq = 2", ("re-timed", 2, None)),
        ("INSERT INTO market.batches VALUES ('MARK', 6000, 6001, 8, now(), false, 10002)", ("re-timed", 8, None)),
        ("UPDATE market.leaves SET hashes = ''::bytea WHERE first_id = 5001", ("altered", 1, None)),
        ("DELETE FROM market.leaves WHERE first_id = 5001", ("altered", 1, None)),
    ],
)
def test_every_change_is_found_and_named(
    store: RecordingStore, database_url: str, statement: str, expected: tuple[str, int | None, int | None]
) -> None:
    tamper(database_url, statement)
    assert expected in found(check_marks(database_url))


def test_a_change_of_two_seqs_against_each_other_is_found(store: RecordingStore, database_url: str) -> None:
    tamper(
        database_url, "UPDATE market.batches SET seq = -seq WHERE seq < 3", "UPDATE market.batches SET seq = 3 + seq "
        "WHERE seq < 0",
    )  # fmt: skip
    assert {("re-timed", 1, None), ("re-timed", 2, None)} <= set(found(check_marks(database_url)))


def test_an_altered_mark_with_altered_hashes_is_found_but_only_its_batch_is_known(
    store: RecordingStore, database_url: str
) -> None:
    tamper(
        database_url, "UPDATE market.marks SET price = 1 WHERE mark_id = 5003",
        "UPDATE market.leaves SET hashes = set_byte(hashes, 64, 7) WHERE first_id = 5001",
    )  # fmt: skip
    (finding,) = check_marks(database_url).findings
    assert (finding.fault.value, finding.seq, finding.mark_id) == ("altered", 1, None)
    assert "5 marks of BTCUSDT.SIM by SIM" in str(finding)


def test_marks_of_an_interrupted_recording_are_counted_and_shown_by_nothing(
    store: RecordingStore, database_url: str
) -> None:
    store.stage(marks(9, "LATER"))
    assert check_marks(database_url) == CheckedMarks(3, 10, 0, 9, [])
    latest = store.latest(BTC)
    assert latest is not None and (latest.source, latest.price) == ("SIM", Decimal(104))


def test_marks_from_before_are_not_covered_until_they_are_committed_as_they_are(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as owner:
        for mark_id in (1, 2, 7):
            owner.execute(EARLIER, [mark_id, 50 + mark_id])
    assert check_marks(database_url) == CheckedMarks(0, 0, 3, 0, [])
    with recording(database_url, stale_ms_max=0) as store:
        assert store.latest(BTC) is not None
        store.record(marks(1))
        first, second = (logged.recorded for logged in store.log.select())
    assert (first.stream, first.actor, first.cause) == ("marks:*", "system:upgrade", "recorded before")
    assert (first.event.is_earlier, first.event.count, first.event.first_id, first.event.last_id) == (True, 3, 1, 7)
    assert (second.stream, second.event.is_earlier) == ("marks:SIM", False)
    assert check_marks(database_url) == CheckedMarks(2, 4, 0, 0, [])


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE market.marks SET price = 1 WHERE mark_id = 2", ("altered", 1, 2)),
        ("UPDATE market.marks SET recorded_at = now() WHERE mark_id = 2", ("altered", 1, 2)),
        ("UPDATE market.marks SET recorded_at = NULL WHERE mark_id = 2", ("altered", 1, 2)),
        ("DELETE FROM market.marks WHERE mark_id = 2", ("removed", 1, None)),
        (insert(3, "now()"), ("inserted", 1, 3)),
        (insert(8, "now()"), ("inserted", None, 8)),
    ],
)
def test_a_change_of_marks_from_before_is_found_once_they_are_committed(
    database_url: str, statement: str, expected: tuple[str, int | None, int | None]
) -> None:
    with psycopg.connect(database_url) as owner:
        for mark_id in (1, 2, 7):
            owner.execute(EARLIER, [mark_id, 50 + mark_id])
    with recording(database_url) as store:
        store.record(marks(1))
        tamper(database_url, statement)
        assert found(check_marks(database_url)) == [expected]
        assert store.recorder.commit_earlier() == 0, "what was inserted later is never taken for earlier"


def test_each_mark_of_a_batch_is_proved_alone(store: RecordingStore, database_url: str) -> None:
    store.record(marks(11, "MORE"))
    events = {logged.seq: logged.recorded.event for logged in store.log.select()}
    first = events[4].first_id
    with connect(database_url, Role.AUDITOR) as connection:
        for mark_id in (5001, 5005, 10002, *range(first, first + 11)):
            proved = prove_mark(connection, mark_id)
            assert isinstance(proved, ProvedMark) and json.loads(proved.leaf)[0] == mark_id
            root = rfc6962.root_by_path(proved.leaf, proved.place, proved.size, proved.proof)
            assert root.hex() == proved.root == events[proved.seq].root
    tamper(database_url, "UPDATE market.marks SET price = 3 WHERE mark_id = 5001")
    with connect(database_url, Role.AUDITOR) as connection:
        assert isinstance(prove_mark(connection, 5001), MarkFinding)


def test_the_marks_that_a_figure_used_are_checked_by_themselves(store: RecordingStore, database_url: str) -> None:
    def used(*mark_ids: int) -> list[object]:
        with connect(database_url, Role.AUDITOR) as connection:
            return [
                finding.fault.value if isinstance(finding, MarkFinding) else finding.seq
                for finding in check_used(connection, mark_ids)
            ]

    assert used(5001, 5005, 10002) == [1, 1, 2]
    tamper(database_url, "UPDATE market.leaves SET hashes = ''::bytea WHERE first_id = 5001")
    assert used(5001) == [1], "the prices themselves are as recorded"
    tamper(database_url, "UPDATE market.marks SET price = 3 WHERE mark_id = 5001")
    assert used(5001, 10002) == ["altered", 2]
    tamper(database_url, "DELETE FROM market.marks WHERE mark_id = 10002", insert(42, "now()"))
    assert used(10002, 42) == ["removed", "inserted"]
    tamper(database_url, "UPDATE market.batches SET seq = 9 WHERE seq = 2")
    assert used(10001) == ["re-timed"]

"""A whole bundle carries the marks of its batches, proves them, and restores them."""

import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from adapters.market.mark_store import FundingRate
from adapters.postgres.migrations import migrate
from adapters.proof.sealer import Sealer
from adapters.verify import bundles
from adapters.verify.mark_check import CheckedMarks, check_marks
from adapters.verify.restore import restore
from domain.errors import HistoryBroken
from domain.marks import QualifiedMark, Quality
from domain.values import Mark
from tests.databases import new_database
from tests.marks import recording

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
EARLIER = "INSERT INTO market.marks VALUES (%s, 'BTCUSDT.SIM', '2025-12-01Z', %s, 'old', '2025-12-01Z')"


def mark(n: int, source: str = "SIM") -> Mark:
    return QualifiedMark(BTC, Decimal(100 + n), source, T0 + timedelta(minutes=n), quality=Quality.MID)


@pytest.fixture
def whole(database_url: str, tmp_path: Path) -> Path:
    """A bundle of earlier marks, two batches, and one of funding rates; an interrupted recording is not in it."""
    with psycopg.connect(database_url) as owner:
        for mark_id in (1, 4):
            owner.execute(EARLIER, [mark_id, 50 + mark_id])
    with recording(database_url) as store:
        store.record([mark(n) for n in range(3)])
        store.stage([mark(77)])
        store.record([mark(n, "OTHER") for n in range(2)])
        store.record_rates([FundingRate(BTC, T0 + timedelta(hours=n), Decimal("0.0001"), "SIM") for n in range(2)])
    Sealer(database_url, tmp_path).seal()
    bundles.export(database_url, tmp_path / "whole.daybook")
    return tmp_path / "whole.daybook"


@pytest.fixture
def other_url(server_url: str, database_names: Iterator[str]) -> Iterator[str]:
    with new_database(server_url, next(database_names)) as url:
        migrate(url)
        yield url


def test_it_restores_every_mark_as_it_was(whole: Path, database_url: str, other_url: str) -> None:
    with bundles.opened(whole) as bundle:
        assert restore(other_url, bundle).manifest.marks == 9
    before, after = check_marks(database_url), check_marks(other_url)
    assert after == before._replace(unfinished=0) == CheckedMarks(4, 9, 0, 0, [])
    with recording(database_url) as ours, recording(other_url) as theirs:
        assert theirs.latest_all() == ours.latest_all()
        theirs.record([mark(99)])
        assert theirs.latest(BTC) == Mark(BTC, Decimal(199), "SIM", mark(99).mark_at)
    assert check_marks(other_url).findings == []


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("marks.jsonl", lambda lines: [lines[0].replace(b'"51"', b'"52"'), *lines[1:]], "recorded as seq 1"),
        ("marks.jsonl", lambda lines: [*lines[:3], *lines[4:]], "recorded as seq 2"),
        ("marks.jsonl", lambda lines: [*lines, lines[-1].replace(b"[", b"[9")], "inserted"),
        ("marks.jsonl", lambda lines: [lines[1], lines[0], *lines[2:]], "recorded as seq 1"),
        ("marks.jsonl", lambda lines: [lines[0].replace(b",", b", "), *lines[1:]], "canonical"),
        ("rates.jsonl", lambda lines: [], "recorded as seq 4"),
    ],
)
def test_a_bundle_with_other_marks_is_not_proved(
    whole: Path, name: str, change: Callable[[list[bytes]], list[bytes]], what: str
) -> None:
    changed = whole.with_name("changed.daybook")
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(changed, "w") as new:
        for part in old.namelist():
            content = old.read(part)
            if part == name:
                content = b"".join(line + b"\n" for line in change(content.splitlines()))
            new.writestr(part, content)
    with bundles.opened(changed) as bundle, pytest.raises(HistoryBroken, match=what):
        bundle.prove()

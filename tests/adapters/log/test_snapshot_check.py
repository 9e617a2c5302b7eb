"""Refolding: a snapshot that looks right and is not is found, and a release can remember long streams beforehand."""

import psycopg
import pytest

from adapters.log import snapshot_check, snapshots, state_codec
from adapters.log.postgres import PostgresLog
from adapters.log.snapshot_check import Refolded, Wrong
from domain.ledger import Aggregates, Ledger, unit_of_work
from tests.desk import POSITION, T0, fill_of, open_desk

EVERY = 40
ALL = 2 * snapshots.KEPT_MAX  # of the position and the limits


@pytest.fixture(autouse=True)
def _traded(monkeypatch: pytest.MonkeyPatch, log: PostgresLog) -> None:
    """A desk whose position and limits have snapshots."""
    monkeypatch.setattr(snapshots, "SNAPSHOT_EVENTS", EVERY)
    monkeypatch.setattr(unit_of_work, "PAGE_EVENTS", 10)
    open_desk(log)
    ledger = Ledger(log, lambda: T0)
    for n in range(3 * EVERY + 5):
        ledger.report([fill_of(f"A{n}", f"E{n}", at=n)], actor="venue")
    assert log.snapshots.flush()


def test_snapshots_are_what_their_streams_fold_to(database_url: str) -> None:
    shown: list[tuple[int, int]] = []
    assert snapshot_check.check(database_url, lambda *progress: shown.append(progress)) == Refolded(ALL, 0, ())
    assert shown[-1][0] >= shown[-1][1] > 0


def test_a_state_that_its_events_do_not_fold_to_is_found(database_url: str, log: PostgresLog) -> None:
    """Everything about it is right but the state: it would be used."""
    known = Aggregates(log).known(POSITION)[1]
    forged = state_codec.encode(POSITION, unit_of_work.folded(POSITION, (0, None), log.read(POSITION, limit=7))[1])
    with psycopg.connect(database_url, autocommit=True) as owner:
        query = "SELECT max(originator_version) FROM ledger.snapshots WHERE originator_id = %s"
        (version,) = owner.execute(query, [POSITION]).fetchone() or (0,)
        event = log.recorder.rows(snapshots.EVENT, [POSITION, version])[0][0]
        stored = snapshots.closed(POSITION, version, state_codec.topic_of(POSITION), forged, event)
        update = "UPDATE ledger.snapshots SET state = %s WHERE originator_id = %s AND originator_version = %s"
        owner.execute(update, [stored, POSITION, version])
        wrong = Wrong(POSITION, version, "it is not what its events fold to")
        assert snapshot_check.check(database_url) == Refolded(ALL, 0, (wrong,))
        assert Aggregates(log).known(POSITION)[1] != known, "nothing else would show it"
        owner.execute(update, [stored[:-1], POSITION, version])
        assert "not those that were stored" in snapshot_check.check(database_url).wrong[0].reason
        move = "UPDATE ledger.snapshots SET topic = %s, originator_version = 10^6 WHERE state = %s"
        owner.execute(move, ["position:other", stored[:-1]])
        assert snapshot_check.check(database_url) == Refolded(ALL - 1, 1, ())
        owner.execute(move, [state_codec.topic_of(POSITION), stored[:-1]])
        assert snapshot_check.check(database_url).wrong == (Wrong(POSITION, 10**6, "it is ahead of the log"),)


def test_a_release_remembers_long_streams_before_it_is_started(
    database_url: str, log: PostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_codec, "fingerprint", lambda: "the next release")
    assert snapshot_check.check(database_url) == Refolded(0, ALL, ())
    shown: list[tuple[int, int]] = []
    assert snapshot_check.remember(database_url, lambda *progress: shown.append(progress)) == 2
    assert shown == [(1, 2), (2, 2)]
    found = snapshot_check.check(database_url)
    assert (found.checked, found.foreign, found.wrong) == (2, ALL, ())
    assert log.snapshots.recall(POSITION, after=2 * EVERY) is not None

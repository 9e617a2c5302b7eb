"""Verification finds any change of a log, and names the first seq that is wrong and what is wrong with it.

DAYBOOK_MUTATIONS sets how many mutations are tried (10,000 in a long run), DAYBOOK_MUTATIONS_SEED where they begin.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role, connect
from adapters.proof import checkpoints, tiles
from adapters.proof.sealer import Sealer
from adapters.verify.diagnosis import Fault
from adapters.verify.verification import VerifyRequest, verify, verify_on
from domain.errors import HistoryBroken
from domain.ledger import ClockConfirmed, Recorded
from tests import rfc6962
from tests.adapters.verify.tampering import MUTATIONS, Log, unguard
from tests.desk import T0, fill_of
from tests.records import record, records

pytestmark = pytest.mark.slow

MUTATIONS_COUNT = int(os.environ.get("DAYBOOK_MUTATIONS", "252"))
SEED = int(os.environ.get("DAYBOOK_MUTATIONS_SEED", "1"))
GROUP = 18
STEPS = (1, 3, 250, 1, 1, 44, 212, 90, 5, 1, 130, 17)  # events between checkpoints
UNSEALED = 6
RANGE_EVENTS = 256


def history(log: PostgresLog, count: int) -> None:
    """So many events: streams of several versions, fills among them."""
    head = log.head().seq
    made = []
    for n in range(head, head + count):
        stream, version = f"order:main:A-{n // 3}", n % 3 + 1
        if version == 2:
            made.append(
                Recorded(stream, 2, record(stream, 2, n // 7).recorded_at, "venue", "r", fill_of(stream, f"E{n}"))
            )
        else:
            made.append(record(stream, version, n // 7, note='USD\u00e9"\\' if n % 11 == 0 else "USD"))
    log.append(made)


@pytest.fixture
def sealed(log: PostgresLog, database_url: str, tmp_path: Path) -> Iterator[Log]:
    """A log with checkpoints at odd places, two keys and an end that is not sealed yet; on a superuser's connection."""
    sealer, sizes = Sealer(database_url, tmp_path), []
    for number, step in enumerate(STEPS):
        history(log, step)
        note = sealer.seal()
        assert note is not None
        sizes.append(note.checkpoint.size)
        if number == 6:
            sealer.rotate()
    history(log, UNSEALED)
    with psycopg.connect(database_url) as connection:
        yield Log(connection, log.head().seq, sizes)


def test_an_untouched_log_is_proved(sealed: Log, log: PostgresLog, database_url: str) -> None:
    found = verify(database_url)
    assert found.finding is None
    assert (found.first, found.last, found.sealed, found.checkpoints) == (1, sealed.events, sealed.sealed, len(STEPS))
    assert found.root == rfc6962.mth([row.state for row in log.stored(limit=sealed.sealed)])
    assert len(found.keys) == 2


@pytest.mark.parametrize("range_events", [256, 512, 1024])
def test_every_cut_of_the_log_leads_to_the_same_root(sealed: Log, database_url: str, range_events: int) -> None:
    assert verify_on(sealed.connection, range_events=range_events) == verify(database_url)


@pytest.mark.parametrize("place", [2, RANGE_EVENTS + 1, RANGE_EVENTS + 40])
def test_a_time_that_steps_back_is_right_at_a_confirmation_of_the_clock_only(
    log: PostgresLog, database_url: str, tmp_path: Path, place: int
) -> None:
    """Also where a range of the log begins with it."""
    ahead = 1e9
    log.append([*records("a", range(1, place - 1)), record("b", 1, ahead)])
    log.append([Recorded("clock", 1, T0, "operator", "", ClockConfirmed("test", T0, place - 1, T0))])
    log.append(records("c", range(1, 60), 1))
    assert Sealer(database_url, tmp_path).seal() is not None
    with psycopg.connect(database_url) as connection:
        assert verify_on(connection, range_events=RANGE_EVENTS).finding is None
        with connection.transaction(force_rollback=True):
            connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
            connection.execute("UPDATE ledger.events SET recorded_at = %s WHERE notification_id = %s", [T0, place + 9])
            found = verify_on(connection, range_events=RANGE_EVENTS).finding
        assert found is not None and (found.fault, found.seq) == (Fault.ALTERED, place + 9)


def test_a_fill_under_another_id_than_its_own_is_as_it_was_sealed(
    log: PostgresLog, database_url: str, tmp_path: Path
) -> None:
    """Where several executions share an id, each is on record under one of its own."""
    shared = replace(fill_of("A-1", "E1"), entry_id="E1#2")
    log.append([Recorded("order:main:A-1", 1, T0, "venue", "r", fill_of("A-1", "E1"))])
    log.append([Recorded("order:main:A-1", 2, T0, "venue", "r", shared)])
    Sealer(database_url, tmp_path).seal()
    assert verify(database_url).finding is None
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        connection.execute("UPDATE ledger.events SET execution_key = 'main:BTCUSDT.SIM:E1#3' WHERE notification_id = 2")
    found = verify(database_url).finding
    assert found is not None and (found.fault, found.seq) == (Fault.ALTERED, 2)


def test_an_empty_log_has_nothing_wrong(log: PostgresLog, database_url: str) -> None:
    found = verify(database_url)
    assert (found.finding, found.last, found.sealed) == (None, 0, 0)


@pytest.mark.parametrize("number", range(0, MUTATIONS_COUNT, GROUP))
def test_every_mutation_is_found_and_named(sealed: Log, number: int) -> None:
    for each in range(number, min(number + GROUP, MUTATIONS_COUNT)):
        seed = SEED * 1_000_003 + each
        mutate, draw = MUTATIONS[each % len(MUTATIONS)], random.Random(seed)
        with sealed.connection.transaction(force_rollback=True):
            unguard(sealed)
            expected = mutate(sealed, draw)
            found = verify_on(sealed.connection, range_events=RANGE_EVENTS).finding
        said = f"seed {seed}: {mutate.__name__} ({expected.done}): {found}"
        assert found is not None, said
        assert found.fault in expected.faults, said
        assert expected.since <= found.seq <= expected.seq <= found.upto, said
    assert verify_on(sealed.connection, range_events=RANGE_EVENTS).finding is None


def test_what_was_committed_is_found_from_outside(sealed: Log, database_url: str) -> None:
    unguard(sealed)
    sealed.run("UPDATE ledger.events SET state = state || ' ' WHERE notification_id = 300")
    sealed.connection.commit()
    found = verify(database_url).finding
    assert found is not None
    assert str(found) == "altered at seq 300: its bytes are not those that were sealed"


@pytest.mark.parametrize(
    ("statement", "fault", "seq"),
    [
        ("DELETE FROM ledger.checkpoints; DELETE FROM ledger.tiles", Fault.FORGED, 1),
        ("DELETE FROM ledger.checkpoints WHERE size > 300", Fault.FORGED, 301),
        ("DELETE FROM ledger.checkpoints WHERE size < 600", Fault.FORGED, 512),
        (
            "UPDATE ledger.events SET originator_version = 9, state = state WHERE notification_id = 757",
            Fault.ALTERED,
            757,
        ),
        ("DELETE FROM ledger.events", Fault.TRUNCATED, 1),
        (
            (
                "DELETE FROM ledger.events WHERE notification_id = 754;"
                "UPDATE ledger.events SET notification_id = notification_id - 1 WHERE notification_id > 754"
            ),
            Fault.MISSING,
            754,
        ),
        (
            (
                "UPDATE ledger.events SET notification_id = notification_id + 1 WHERE notification_id >= 755;"
                "INSERT INTO ledger.events SELECT 'copy', 1, topic, state, 755, recorded_at, NULL"
                " FROM ledger.events WHERE notification_id = 3"
            ),
            Fault.INSERTED,
            755,
        ),
        (
            (  # a copy of the event that was here: only its columns and what is behind it show it
                "UPDATE ledger.events SET notification_id = notification_id + 1 WHERE notification_id >= 268;"
                "INSERT INTO ledger.events SELECT 'copy', originator_version, topic, state, 268, recorded_at, NULL"
                " FROM ledger.events WHERE notification_id = 269"
            ),
            Fault.INSERTED,
            268,
        ),
        (
            (
                "UPDATE ledger.events SET notification_id = notification_id + 1 WHERE notification_id >= 755;"
                "INSERT INTO ledger.events SELECT 'copy', originator_version, topic, state, 755, recorded_at, NULL"
                " FROM ledger.events WHERE notification_id = 756"
            ),
            Fault.INSERTED,
            755,
        ),
    ],
)
def test_more_ways_to_cheat(sealed: Log, statement: str, fault: Fault, seq: int) -> None:
    with sealed.connection.transaction(force_rollback=True):
        unguard(sealed)
        sealed.run(statement)
        found = verify_on(sealed.connection, range_events=RANGE_EVENTS).finding
    assert found is not None
    assert found.fault is fault and found.seq <= seq <= found.upto, found


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM ledger.keys WHERE place = 1", "published key number 1 was removed"),
        ("UPDATE ledger.keys SET vkey = left(vkey, -1)", "a published key is damaged"),
        ("UPDATE ledger.keys SET handover = NULL", "does not vouch for it"),
        ("UPDATE ledger.keys SET since_size = since_size - 1 WHERE place = 2", "does not vouch for it"),
        ("DELETE FROM ledger.keys", "no public key is published"),
        ("UPDATE ledger.identity SET ledger_id = gen_random_uuid()", "does not vouch for it"),
        ("DELETE FROM ledger.identity", "does not vouch for it"),
        ("UPDATE ledger.identity SET restored_size = 754", ""),
        ("DELETE FROM ledger.keys WHERE place = 2", "checkpoint forged"),
    ],
)
def test_keys_and_identity_are_not_taken_away_unseen(sealed: Log, statement: str, said: str) -> None:
    with sealed.connection.transaction(force_rollback=True):
        unguard(sealed)
        sealed.run(statement)
        try:
            found = str(verify_on(sealed.connection, range_events=RANGE_EVENTS).finding or "")
        except HistoryBroken as error:
            found = str(error)
    assert said in found, found
    assert bool(said) == bool(found)


def test_a_version_that_was_never_there_is_found_though_it_was_sealed(
    log: PostgresLog, database_url: str, tmp_path: Path
) -> None:
    history(log, 10)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO ledger.events SELECT originator_id, 7, topic,"
            " convert_to(replace(convert_from(state, 'UTF8'), '\"version\":1', '\"version\":7'), 'UTF8'),"
            " 11, recorded_at, NULL FROM ledger.events WHERE notification_id = 10"
        )
    Sealer(database_url, tmp_path).seal()
    found = verify(database_url).finding
    assert found is not None
    assert (found.fault, found.seq) == (Fault.ALTERED, 11) and "version 7" in found.detail


@pytest.mark.parametrize(
    ("first", "upto"), [(1, 100), (300, 400), (257, 512), (600, None), (700, 754), (756, 761), (1, 10**9)]
)
def test_a_range_is_proved_by_the_newest_checkpoint(sealed: Log, first: int, upto: int | None) -> None:
    wish = VerifyRequest(first=first, upto=upto)
    found = verify_on(sealed.connection, wish, range_events=RANGE_EVENTS)
    assert found.finding is None and found.first <= first and found.last >= min(upto or sealed.events, sealed.events)
    for seq in {max(first, 1), min(upto or sealed.sealed, sealed.sealed)}:
        with sealed.connection.transaction(force_rollback=True):
            unguard(sealed)
            sealed.run("UPDATE ledger.events SET state = state || ' ' WHERE notification_id = %s", seq)
            broken = verify_on(sealed.connection, wish, range_events=RANGE_EVENTS).finding
        if seq <= sealed.sealed:
            assert broken is not None and (broken.fault, broken.seq) == (Fault.ALTERED, seq)


def test_a_stored_hash_outside_the_range_must_still_lead_to_the_checkpoint(sealed: Log) -> None:
    with sealed.connection.transaction(force_rollback=True):
        unguard(sealed)
        sealed.run("UPDATE ledger.tiles SET root = sha256(root) WHERE level = 0 AND tile_index = 0")
        found = verify_on(sealed.connection, VerifyRequest(first=600), range_events=RANGE_EVENTS).finding
    assert found is not None and found.fault is Fault.TILE


def resealed(sealed: Log, database_url: str, home: Path, statement: str) -> None:
    """What an attacker with the database and the keys can do: change history and sign it all again."""
    unguard(sealed)
    sealed.run(statement)
    sealed.run("DELETE FROM ledger.tiles")
    sealed.run("DELETE FROM ledger.checkpoints")
    sealed.run("DELETE FROM ledger.group_runs")
    sealed.run("DELETE FROM ledger.keys WHERE place > 1")
    sealed.connection.commit()
    Sealer(database_url, home).seal()


def test_a_checkpoint_kept_elsewhere_shows_what_even_the_owner_of_the_keys_has_rewritten(
    sealed: Log, database_url: str, tmp_path: Path
) -> None:
    kept = [
        checkpoints.parse(str(sealed.one("SELECT note FROM ledger.checkpoints WHERE size = %s", size)))
        for size in sealed.sizes[:4]
    ]
    assert verify(database_url, VerifyRequest(against=kept)).finding is None
    resealed(
        sealed, database_url, tmp_path, "UPDATE ledger.events SET state = state || ' ' WHERE notification_id = 255"
    )
    assert verify(database_url).finding is None
    found = verify(database_url, VerifyRequest(against=kept)).finding
    assert found is not None and found.fault is Fault.REWRITTEN
    assert (found.seq, found.upto) == (255, 255)


def test_a_checkpoint_from_the_future_shows_what_was_cut_off(sealed: Log, database_url: str, tmp_path: Path) -> None:
    kept = checkpoints.parse(str(sealed.one("SELECT note FROM ledger.checkpoints WHERE size = %s", sealed.sizes[5])))
    resealed(sealed, database_url, tmp_path, "DELETE FROM ledger.events WHERE notification_id > 290")
    found = verify(database_url, VerifyRequest(against=[kept])).finding
    assert found is not None
    assert (found.fault, found.seq, found.upto) == (Fault.TRUNCATED, 291, 300)


def test_a_checkpoint_of_another_ledger_is_refused(sealed: Log, log: PostgresLog, database_url: str) -> None:
    with connect(database_url, Role.AUDITOR) as connection:
        note = tiles.latest(connection)
    assert note is not None
    other = note._replace(checkpoint=note.checkpoint._replace(origin="daybook/other"))
    with pytest.raises(HistoryBroken, match="another ledger"):
        verify(database_url, VerifyRequest(against=[other]))


def test_a_checkpoint_signed_with_another_key_is_refused(sealed: Log, database_url: str, tmp_path: Path) -> None:
    with connect(database_url, Role.AUDITOR) as connection:
        ledger_id, note = tiles.identity(connection), tiles.latest(connection)
    assert ledger_id is not None and note is not None
    from adapters.proof.signing_keys import KeyRing

    stranger = KeyRing(tmp_path / "elsewhere", ledger_id, note.checkpoint.origin).generate()
    forged = checkpoints.parse(stranger.sign(note.checkpoint))
    with pytest.raises(HistoryBroken, match="wrong key"):
        verify(database_url, VerifyRequest(against=[forged]))
    with pytest.raises(HistoryBroken, match="wrong key"):
        verify(database_url, VerifyRequest(trusted=stranger.public))


def test_a_log_of_many_ranges_is_checked_by_several_processes(
    log: PostgresLog, database_url: str, tmp_path: Path
) -> None:
    history(log, 9000)
    Sealer(database_url, tmp_path).seal()
    done: list[int] = []
    found = verify(database_url, on_progress=lambda at, _: done.append(at), workers=2, range_events=1024)
    assert found.finding is None and found.last == 9000
    assert done == sorted(done) and len(done) >= 4
    with psycopg.connect(database_url) as connection:
        tampered = Log(connection, 9000, [9000])
        unguard(tampered)
        tampered.run("UPDATE ledger.events SET state = state || ' ' WHERE notification_id = 7001")
    broken = verify(database_url, workers=2, range_events=1024).finding
    assert broken is not None and (broken.fault, broken.seq) == (Fault.ALTERED, 7001)


def test_the_time_in_the_records_is_the_time_of_the_log(sealed: Log) -> None:
    assert sealed.one("SELECT min(recorded_at) FROM ledger.events") == T0

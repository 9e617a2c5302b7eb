"""The sealer: behind every append a signed checkpoint, whose tiles prove every event and every earlier checkpoint."""

import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.proof import checkpoints, tiles
from adapters.proof.sealer import Sealer
from adapters.proof.signing_keys import KeyAbsent
from adapters.proof.tiles import Growth, Tiles
from domain.errors import HistoryBroken, RequestRefused
from domain.sealed import merkle
from tests import rfc6962
from tests.records import record, records

WAIT_SECONDS_MAX = 60


@pytest.fixture
def sealer(database_url: str, tmp_path: Path) -> Sealer:
    return Sealer(database_url, tmp_path)


def reader(database_url: str) -> connections.Connection:
    return connections.connect(database_url, Role.AUDITOR)


def stored(log: PostgresLog) -> list[bytes]:
    return [row.state for row in log.stored(limit=1_000_000)]


def append(log: PostgresLog, count: int) -> None:
    """So many events on streams of their own."""
    head = log.head().seq
    log.append([record(f"s{head + n}", 1, head + n) for n in range(count)])


def test_a_checkpoint_is_the_root_of_the_stored_bytes_signed(
    log: PostgresLog, sealer: Sealer, database_url: str
) -> None:
    log.append([*records("a", range(1, 4)), *records("b", range(1, 3))])
    note = sealer.seal()
    assert note is not None
    assert (note.checkpoint.size, note.checkpoint.root) == (5, rfc6962.mth(stored(log)))
    with reader(database_url) as connection:
        (tenure,) = tiles.tenures(connection)
        assert note.checkpoint.origin == tenure.key.name == f"daybook/{tiles.identity(connection)}"
    assert note.is_signed_by(tenure.key)


def test_an_empty_log_has_no_checkpoint(sealer: Sealer, log: PostgresLog, database_url: str) -> None:
    assert sealer.seal() is None
    with reader(database_url) as connection:
        assert tiles.identity(connection) is None


def test_sealing_again_adds_nothing(log: PostgresLog, sealer: Sealer) -> None:
    append(log, 3)
    assert sealer.seal() == sealer.seal()


@pytest.mark.parametrize("steps", [[1] * 20, [255, 1, 1], [256], [257, 255], [300, 300, 300], [100, 700, 3]])
def test_the_stored_tree_proves_every_event_at_every_checkpoint(
    log: PostgresLog, sealer: Sealer, database_url: str, steps: list[int]
) -> None:
    sizes = []
    for step in steps:
        append(log, step)
        note = sealer.seal()
        assert note is not None
        sizes.append(note.checkpoint.size)
    data = stored(log)
    with reader(database_url) as connection:
        store = Tiles(connection)
        for size in sizes:
            root, node_at = rfc6962.mth(data[:size]), store.node_at(size)
            for index in {0, 1, size // 2, size - 2, size - 1, 255, 256} & set(range(size)):
                proof = merkle.inclusion_proof(index, size, node_at)
                assert rfc6962.root_by_path(data[index], index, size, proof) == root
            for old in sizes:
                if old <= size:
                    proof = merkle.consistency_proof(old, size, node_at)
                    assert merkle.is_consistent(old, size, rfc6962.mth(data[:old]), root, proof)
        assert Growth(sizes[-1], Tiles(connection)).root() == rfc6962.mth(data)


def test_a_tree_of_several_levels_of_tiles_grows_on_where_it_was_left(
    log: PostgresLog, sealer: Sealer, database_url: str
) -> None:
    for count in (256 * 256 - 1, 2, 600):
        append(log, count)
        note = sealer.seal()
        assert note is not None
        with reader(database_url) as connection:
            assert Growth(note.checkpoint.size, Tiles(connection)).root() == note.checkpoint.root
    assert note.checkpoint.root == merkle.root([merkle.leaf_hash(state) for state in stored(log)])


@pytest.mark.slow
def test_a_checkpoint_is_there_within_a_second_of_the_commit(
    log: PostgresLog, sealer: Sealer, database_url: str
) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=sealer.follow, args=[stop])
    thread.start()
    try:
        late: list[timedelta] = []
        with reader(database_url) as connection:
            for _ in range(12):
                append(log, 40)
                committed, size = datetime.now(UTC), log.head().seq
                row = None
                deadline = time.monotonic() + WAIT_SECONDS_MAX
                while row is None and time.monotonic() < deadline:
                    query = "SELECT sealed_at FROM ledger.checkpoints WHERE size >= %s ORDER BY size LIMIT 1"
                    row = connection.execute(query, [size]).fetchone()
                    time.sleep(0.01)
                assert row is not None
                late.append(row[0] - committed)
        # the median: the first makes the key as well, and one or another may meet a busy machine
        assert sorted(late)[len(late) // 2] < timedelta(seconds=1), late
    finally:
        stop.set()
        thread.join()


def test_a_second_sealer_waits_and_takes_over(log: PostgresLog, database_url: str, tmp_path: Path) -> None:
    first, second = Sealer(database_url, tmp_path), Sealer(database_url, tmp_path)
    stops = [threading.Event(), threading.Event()]
    threads = [
        threading.Thread(target=each.follow, args=[stop]) for each, stop in zip((first, second), stops, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        for n in range(2):
            append(log, 10)
            deadline = time.monotonic() + WAIT_SECONDS_MAX
            with reader(database_url) as connection:
                while time.monotonic() < deadline:
                    note = tiles.latest(connection)
                    if note is not None and note.checkpoint.size == log.head().seq:
                        break
                    time.sleep(0.02)
            assert note is not None and note.checkpoint.size == log.head().seq
            stops[n].set()
            threads[n].join()
    finally:
        for stop in stops:
            stop.set()


def test_the_private_key_is_a_file_of_its_owner_and_nowhere_else(
    log: PostgresLog, sealer: Sealer, database_url: str, tmp_path: Path
) -> None:
    append(log, 1)
    sealer.seal()
    (path,) = (tmp_path / "keys").rglob("*.pem")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == stat.S_IMODE(path.parents[1].stat().st_mode) == 0o700
    secret = path.read_text().splitlines()[1]
    with psycopg.connect(database_url) as connection:
        for table in ("identity", "keys", "tiles", "checkpoints", "events"):
            rows = connection.execute(f"SELECT t::text FROM ledger.{table} AS t").fetchall()  # type: ignore[arg-type]
            assert rows or table == "tiles"
            assert not any(secret in row[0] for row in rows)


def test_a_new_key_is_vouched_for_by_the_old(log: PostgresLog, sealer: Sealer, database_url: str) -> None:
    append(log, 3)
    sealer.seal()
    tenure = sealer.rotate()
    append(log, 2)
    note = sealer.seal()
    assert note is not None
    with reader(database_url) as connection:
        chain = checkpoints.check_succession(tiles.tenures(connection), note.checkpoint.origin)
    assert [each.since for each in chain] == [0, 3]
    assert chain[1] == tenure and note.is_signed_by(tenure.key) and not note.is_signed_by(chain[0].key)
    assert tenure.handover is not None and checkpoints.parse(tenure.handover).is_signed_by(chain[0].key)


def test_a_sealer_that_runs_signs_with_the_new_key_at_once(log: PostgresLog, sealer: Sealer, database_url: str) -> None:
    append(log, 3)
    sealer.seal()
    stop = threading.Event()
    thread = threading.Thread(target=sealer.follow, args=[stop])
    thread.start()
    try:
        tenure = sealer.rotate()
        append(log, 3)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        note = None
        with reader(database_url) as connection:
            while (note is None or note.checkpoint.size < 6) and time.monotonic() < deadline:
                note = tiles.latest(connection)
                time.sleep(0.01)
        assert note is not None and note.checkpoint.size == 6 and note.is_signed_by(tenure.key)
    finally:
        stop.set()
        thread.join()


def test_a_key_begun_without_the_old_one_is_believed_only_when_named(
    log: PostgresLog, sealer: Sealer, database_url: str, tmp_path: Path
) -> None:
    append(log, 3)
    sealer.seal()
    for path in (tmp_path / "keys").rglob("*.pem"):
        path.unlink()
    append(log, 1)
    with pytest.raises(KeyAbsent, match="rotate --lost"):
        sealer.seal()
    with pytest.raises(KeyAbsent):
        sealer.rotate()
    tenure = sealer.rotate(is_lost=True)
    note = sealer.seal()
    assert note is not None and note.checkpoint.size == 4
    with reader(database_url) as connection:
        chain = tiles.tenures(connection)
    with pytest.raises(HistoryBroken, match="does not vouch"):
        checkpoints.check_succession(chain, note.checkpoint.origin)
    assert checkpoints.check_succession(chain, note.checkpoint.origin, tenure.key) == chain
    with pytest.raises(HistoryBroken, match="does not vouch"):
        checkpoints.check_succession(chain, note.checkpoint.origin, chain[0].key)


def test_there_is_nothing_to_rotate_before_the_first_key(sealer: Sealer, log: PostgresLog) -> None:
    with pytest.raises(RequestRefused, match="first key"):
        sealer.rotate()


def test_a_key_that_others_may_read_is_not_used(log: PostgresLog, sealer: Sealer, tmp_path: Path) -> None:
    append(log, 1)
    sealer.seal()
    (path,) = (tmp_path / "keys").rglob("*.pem")
    path.chmod(0o644)
    append(log, 1)
    with pytest.raises(KeyAbsent, match="chmod 600"):
        sealer.seal()


def test_a_key_file_of_another_key_is_refused(
    log: PostgresLog, sealer: Sealer, database_url: str, tmp_path: Path
) -> None:
    append(log, 1)
    sealer.seal()
    (path,) = (tmp_path / "keys").rglob("*.pem")
    sealer.rotate()
    (new,) = set((tmp_path / "keys").rglob("*.pem")) - {path}
    path.replace(new)
    append(log, 1)
    with pytest.raises(HistoryBroken, match="wrong key"):
        sealer.seal()


def superuser(database_url: str, *statements: str) -> None:
    """Do what no role may."""
    with psycopg.connect(database_url) as connection:
        for table in ("events", "tiles", "checkpoints", "keys"):
            connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forgery", "said"),
    [
        ("DELETE FROM ledger.events WHERE notification_id > 250", "truncated"),
        ("UPDATE ledger.checkpoints SET note = replace(note, 'daybook/', 'daybook/x')", "checkpoint forged"),
        ("UPDATE ledger.tiles SET root = sha256('x')", "tile wrong"),
        ("DELETE FROM ledger.tiles", "tile missing"),
    ],
)
def test_nothing_is_signed_on_top_of_a_forgery(
    log: PostgresLog, sealer: Sealer, database_url: str, forgery: str, said: str
) -> None:
    append(log, 300)
    sealer.seal()
    superuser(database_url, forgery)
    if "events" not in forgery:
        append(log, 1)
    with pytest.raises(HistoryBroken, match=said):
        sealer.seal()
    with reader(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM ledger.checkpoints").fetchone() == (1,)


def test_a_gap_is_never_sealed(log: PostgresLog, sealer: Sealer, database_url: str) -> None:
    append(log, 5)
    superuser(database_url, "DELETE FROM ledger.events WHERE notification_id = 3")
    with pytest.raises(HistoryBroken, match="missing"):
        sealer.seal()


def test_the_published_example_of_a_signed_note() -> None:
    """That of golang.org/x/mod/sumdb/note, by another implementation and another key."""
    key = checkpoints.public_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    encoded = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    line = checkpoints.signature_of(f"— PeterNeumann {encoded}")
    assert line is not None and (line.name, line.key_id) == (key.name, key.key_id)
    assert key.verifies(text, line.signature) and not key.verifies(text + " ", line.signature)
    assert checkpoints.public_key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").name


def test_the_published_example_of_a_checkpoint_reads_and_writes() -> None:
    """That of C2SP tlog-checkpoint."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    signature = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="
    note = checkpoints.parse(f"{text}\n— example.com/behind-the-sofa {signature}\n")
    assert note.checkpoint.size == 20852163 and note.checkpoint.text() == note.text == text
    assert [each.key_id.hex() for each in note.signatures] == ["033de0ae"]


def test_sealing_beside_a_sealer_that_works_waits_for_its_checkpoint(
    log: PostgresLog, sealer: Sealer, database_url: str
) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=sealer.follow, args=[stop])
    thread.start()
    try:
        for n in range(1, 6):
            append(log, 10)
            note = sealer.seal()
            assert note is not None and note.checkpoint.size == 10 * n
    finally:
        stop.set()
        thread.join()

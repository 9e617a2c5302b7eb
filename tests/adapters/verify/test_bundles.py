"""Bundles: what is exported proves itself without the database, and a whole one restores it."""

import base64
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role, connect
from adapters.postgres.migrations import migrate
from adapters.proof import tiles
from adapters.proof.sealer import Sealer
from adapters.verify import bundles
from adapters.verify.bundles import Selection
from adapters.verify.restore import restore
from adapters.verify.verification import verify
from domain.errors import HistoryBroken, LedgerError, RequestRefused
from domain.ledger import Recorded
from tests import rfc6962
from tests.databases import url_of_database
from tests.desk import T0, fill_of
from tests.records import record

pytestmark = pytest.mark.slow

EVENTS = 700


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def sealed(log: PostgresLog, database_url: str, home: Path) -> Sealer:
    """A log of two accounts, an instrument and fills, sealed under two keys."""
    sealer = Sealer(database_url, home)
    streams = ("order:main:A-{}", "order:other:A-{}", "position:main:trend:X-{}.SIM", "venueorder:SIM:main:V-{}")
    made = [record("account:main", 1), record("instrument:SIM:BTCUSDT", 1)]
    for n in range(EVENTS - 2):
        stream = streams[n % 4].format(n)
        made.append(
            Recorded(stream, 1, T0, "venue", "r", fill_of(f"A-{n}", f"E{n}"))
            if n % 5 == 0
            else record(stream, 1, note='é"\\')
        )
    made = [each for each in made if each.recorded_at == T0]
    log.append(made[:300])
    sealer.seal()
    sealer.rotate()
    log.append(made[300:])
    sealer.seal()
    return sealer


@pytest.fixture
def whole(sealed: Sealer, database_url: str, tmp_path: Path) -> Path:
    path = tmp_path / "whole.daybook"
    bundles.export(database_url, path)
    return path


@pytest.fixture
def part(sealed: Sealer, database_url: str, tmp_path: Path) -> Path:
    path = tmp_path / "part.daybook"
    bundles.export(database_url, path, Selection(account="main", first=2, upto=650))
    return path


def proved(path: Path, **trusted: object) -> bundles.Proved:
    with bundles.opened(path) as bundle:
        return bundle.prove(**trusted)  # type: ignore[arg-type]


def test_a_whole_bundle_has_every_byte_and_the_root(whole: Path, log: PostgresLog) -> None:
    data = [row.state for row in log.stored(limit=10_000)]
    with bundles.opened(whole) as bundle:
        found = bundle.prove()
        assert [line.state for line in bundle.lines()] == data
    assert found.manifest.is_whole and found.manifest.events == len(data) == EVENTS
    assert found.note.checkpoint.root == rfc6962.mth(data)


def test_a_part_has_an_account_and_all_instruments_each_proved_by_the_whole_root(part: Path, log: PostgresLog) -> None:
    stored = {row.seq: row for row in log.stored(limit=10_000)}
    with bundles.opened(part) as bundle:
        found = bundle.prove()
        lines = list(bundle.lines())
    expected = [
        row for row in stored.values() if 2 <= row.seq <= 650
        and (row.stream.startswith("instrument:") or "main" in row.stream.split(":")[1:3])
    ]  # fmt: skip
    assert [(line.seq, line.state) for line in lines] == [(row.seq, row.state) for row in expected]
    assert not found.manifest.is_whole and found.manifest.events == len(lines) > 300
    with zipfile.ZipFile(part) as file:
        (instrument,) = json.loads(file.read("instruments.json"))
        proofs = [json.loads(line) for line in file.read("proofs.jsonl").splitlines()]
    assert instrument["record"]["stream"] == "instrument:SIM:BTCUSDT"
    root = found.note.checkpoint.root
    for line, proof in zip(lines, proofs, strict=True):
        hashes = [base64.b64decode(each) for each in proof["proof"]]
        assert rfc6962.root_by_path(line.state, line.seq - 1, found.note.checkpoint.size, hashes) == root


def test_a_restored_ledger_has_the_same_events_the_same_seqs_and_the_same_root(
    whole: Path, log: PostgresLog, database_url: str, server_url: str, home: Path, tmp_path: Path,
    fresh_database: Callable[[], str],
) -> None:  # fmt: skip
    other = fresh_database()
    with bundles.opened(whole) as bundle:
        restore(other, bundle)
    with PostgresLog(other) as restored:
        assert restored.stored(limit=10_000) == log.stored(limit=10_000)
        assert restored.recorder.rows("SELECT execution_key FROM ledger.events ORDER BY notification_id", []) == (
            log.recorder.rows("SELECT execution_key FROM ledger.events ORDER BY notification_id", [])
        )
        before, after = verify(database_url), verify(other)
        assert after.finding is None
        assert (after.ledger_id, after.root, after.keys) == (before.ledger_id, before.root, before.keys)
        again = tmp_path / "again.daybook"
        bundles.export(other, again)
        with zipfile.ZipFile(whole) as one, zipfile.ZipFile(again) as two:
            for name in ("events.jsonl", "leaves.bin", "checkpoint", "keys.json", "instruments.json"):
                assert one.read(name) == two.read(name)
        restored.append([record("later", 1)])
        note = Sealer(other, home).seal()
        assert note is not None and note.checkpoint.size == EVENTS + 1
    assert verify(other).finding is None


def test_only_a_whole_bundle_restores_and_only_into_an_empty_database(
    whole: Path, part: Path, database_url: str, fresh_database: Callable[[], str]
) -> None:
    with bundles.opened(part) as bundle, pytest.raises(RequestRefused, match="this is a part"):
        restore(fresh_database(), bundle)
    with bundles.opened(whole) as bundle, pytest.raises(RequestRefused, match="empty database"):
        restore(database_url, bundle)


def rewritten(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A bundle with one file changed, zipped again as if it had never been otherwise."""
    changed = path.with_suffix(".changed")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for each in old.namelist():
            new.writestr(each, change(old.read(each)) if each == name else old.read(each))
    return changed


def line_changed(number: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        lines = content.split(b"\n")
        lines[number - 1] = change(lines[number - 1])
        return b"\n".join(lines)

    return changed


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "events.jsonl",
            line_changed(123, lambda line: line.replace(b'"actor":"', b'"actor":"x')),
            "altered at seq 123",
        ),
        ("events.jsonl", lambda c: c[: c.rindex(b"\n", 0, -1) + 1], "truncated"),
        ("events.jsonl", lambda c: c[:-7], "cut short"),
        ("events.jsonl", line_changed(5, lambda line: line + b"\n" + line), "altered at seq 6"),
        ("events.jsonl", lambda c: b"", "truncated"),
        ("leaves.bin", lambda c: c[:3200] + bytes(32) + c[3232:], "tile wrong: .* at seq 101"),
        ("checkpoint", lambda c: c.replace(b"\n700\n", b"\n699\n"), "checkpoint forged"),
        ("checkpoint", lambda c: c[:-9], "signed note"),
        ("keys.json", lambda c: b"[]", "no public key"),
        ("keys.json", lambda c: c.replace(b'"since_size": 300', b'"since_size": 1'), "vouch"),
        ("keys.json", lambda c: b"{", "damaged"),
        ("manifest.json", lambda c: c.replace(b'"tree_size": 700', b'"tree_size": 701'), "manifest"),
        ("manifest.json", lambda c: c.replace(b'"events": 700', b'"events": 701'), "has 700 events"),
        ("manifest.json", lambda c: c.replace(b"bundle/2", b"bundle/3"), "another Daybook"),
        ("manifest.json", lambda c: c[:50], "damaged"),
    ],
)
def test_a_changed_bundle_is_not_proved(whole: Path, name: str, change: Callable[[bytes], bytes], said: str) -> None:
    with pytest.raises(LedgerError, match=said):
        proved(rewritten(whole, name, change))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("events.jsonl", line_changed(9, lambda line: line.replace(b'"actor":"', b'"actor":"x')), "altered at seq"),
        ("events.jsonl", lambda c: c[: c.rindex(b"\n", 0, -1) + 1], "events, and its manifest states"),
        ("proofs.jsonl", lambda c: c[: c.rindex(b"\n", 0, -1) + 1], "too short"),
        ("proofs.jsonl", line_changed(3, lambda line: line.replace(b'"seq":', b'"seq":1')), "altered at seq 1"),
        ("proofs.jsonl", line_changed(3, lambda line: b"{}"), "damaged"),
    ],
)
def test_a_changed_part_is_not_proved(part: Path, name: str, change: Callable[[bytes], bytes], said: str) -> None:
    with pytest.raises(LedgerError, match=said):
        proved(rewritten(part, name, change))


def test_a_bundle_cut_short_anywhere_is_refused_in_a_sentence(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    cut = tmp_path / "cut.daybook"
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(HistoryBroken, match="no whole bundle"):
            proved(cut)


def test_a_flipped_bit_anywhere_is_found(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    changed = tmp_path / "flipped.daybook"
    untouched = proved(whole)
    table = content.index(b"PK\x01\x02")  # what the zip says of its files: as they are packed, how, where
    for place in [*range(0, len(content), len(content) // 150), *range(table, table + 60)]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        changed.write_bytes(flipped)
        try:
            found = proved(changed)
        except LedgerError:
            continue
        # Dates and attributes in the zip's own headers, and what is only there to be read, prove nothing.
        assert found.note == untouched.note and found.manifest.root == untouched.manifest.root


def test_the_wrong_key_is_refused(
    whole: Path, tmp_path: Path, database_url: str, fresh_database: Callable[[], str]
) -> None:
    other = fresh_database()
    with PostgresLog(other) as log:
        log.append([record("a", 1)])
    Sealer(other, tmp_path / "others").seal()
    with connect(other, Role.AUDITOR) as connection:
        (stranger,) = tiles.tenures(connection)
    with connect(database_url, Role.AUDITOR) as connection:
        first, second = tiles.tenures(connection)
    with pytest.raises(HistoryBroken, match="wrong key"):
        proved(whole, trusted=stranger.key)
    assert proved(whole, trusted=first.key).keys == proved(whole, trusted=second.key).keys == [first, second]


def test_nothing_sealed_is_nothing_to_export(log: PostgresLog, database_url: str, tmp_path: Path) -> None:
    with pytest.raises(RequestRefused, match="sealed"):
        bundles.export(database_url, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_nothing_is_refused(sealed: Sealer, database_url: str, tmp_path: Path) -> None:
    with pytest.raises(RequestRefused, match="has events"):
        bundles.export(database_url, tmp_path / "x", Selection(account="unknown", first=5))
    assert not (tmp_path / "x").exists() and not list(tmp_path.glob("*.part"))


@pytest.fixture
def fresh_database(server_url: str, database_names: Iterator[str], request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes empty migrated databases."""

    def administer(statement: str) -> None:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def made() -> str:
        name = next(database_names)
        administer(f"CREATE DATABASE {name}")
        request.addfinalizer(lambda: administer(f"DROP DATABASE {name} WITH (FORCE)"))
        migrate(url_of_database(server_url, name))
        return url_of_database(server_url, name)

    return made


def test_events_that_repeat_themselves_are_exported_so_that_the_bundle_is_no_bomb(
    log: PostgresLog, database_url: str, home: Path, tmp_path: Path
) -> None:
    log.append([record("account:main", 1, note="x" * 6_000_000)])
    Sealer(database_url, home).seal()
    path = tmp_path / "whole.daybook"
    bundles.export(database_url, path)
    assert proved(path).manifest.events == 1
    with zipfile.ZipFile(path) as file:
        assert {part.compress_type for part in file.infolist()} == {zipfile.ZIP_STORED}

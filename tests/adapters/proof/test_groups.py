"""Groups of streams in checkpoints: kept up with the log, built once for an older ledger, and verified."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Connection, Role, connect
from adapters.proof import checkpoints, groups, tiles
from adapters.proof.checkpoints import PrivateKey
from adapters.proof.sealer import Sealer
from adapters.proof.signing_keys import KeyRing
from adapters.verify import bundles
from adapters.verify.bundles import Selection
from adapters.verify.completeness import Outcome
from adapters.verify.diagnosis import Fault
from adapters.verify.verification import verify
from domain.errors import HistoryBroken
from tests.records import record

STEPS = (2, 300, 260, 40)


@pytest.fixture
def sealer(log: PostgresLog, database_url: str, tmp_path: Path) -> Sealer:
    """A sealed log of two accounts, in several checkpoints."""
    made, at = Sealer(database_url, tmp_path / "home"), 0
    for step in STEPS:
        append(log, at, step)
        made.seal()
        at += step
    return made


def append(log: PostgresLog, at: int, count: int) -> None:
    log.append([record(f"order:{'main' if n % 3 else 'other'}:A-{n}", 1) for n in range(at, at + count)])


@pytest.fixture
def owner(database_url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A superuser's connection on which nothing is append-only."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE ledger.checkpoints DISABLE TRIGGER ALL")
        yield connection


def private_key(connection: Connection, home: Path) -> PrivateKey:
    ledger_id = tiles.identity(connection)
    assert isinstance(ledger_id, UUID)
    return KeyRing(home, ledger_id, tiles.origin_of(ledger_id)).private(tiles.tenures(connection)[-1].key)


def resign(url: str, owner: Connection, home: Path, size: int, lines: tuple[str, ...] | None) -> None:
    """Sign a checkpoint again, with other lines; None for those a Daybook of before wrote."""
    with connect(url, Role.AUDITOR) as connection:
        key = private_key(connection, home)
        row = connection.execute(bundles.CHECKPOINT, [size]).fetchone()
    assert row is not None
    found = checkpoints.parse(row[0]).checkpoint
    kept = tuple(line for line in found.lines if not line.startswith(groups.LINE))
    owner.execute(
        "UPDATE ledger.checkpoints SET note = %s WHERE size = %s",
        [key.sign(found._replace(lines=kept if lines is None else lines)), size],
    )


def older(url: str, owner: Connection, home: Path) -> None:
    """Make of a ledger what a Daybook of before would have written."""
    owner.execute("DELETE FROM ledger.group_runs")
    for (size,) in owner.execute("SELECT size FROM ledger.checkpoints").fetchall():
        resign(url, owner, home, size, None)


def outcome_of(url: str, path: Path, selection: Selection | None = None) -> Outcome:
    bundles.export(url, path, selection or Selection("main"))
    with bundles.opened(path) as bundle:
        return bundle.prove().completeness.outcome


def test_an_older_ledger_gets_the_map_of_its_whole_history_once(
    sealer: Sealer, log: PostgresLog, database_url: str, owner: Connection, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    expected = owner.execute("SELECT group_name, nodes FROM ledger.group_runs WHERE size = 602 ORDER BY 1").fetchall()
    older(database_url, owner, tmp_path / "home")
    assert verify(database_url).finding is None
    assert outcome_of(database_url, tmp_path / "before") is Outcome.NOT_SHOWN
    monkeypatch.setattr(groups, "CATCH_UP_EVENTS", 250)
    sealer.seal()
    assert owner.execute("SELECT DISTINCT size FROM ledger.group_runs ORDER BY 1").fetchall() == [
        (250,),
        (500,),
        (602,),
    ]
    assert (
        expected
        == owner.execute("SELECT group_name, nodes FROM ledger.group_runs WHERE size = 602 ORDER BY 1").fetchall()
    )
    append(log, 602, 1)
    sealer.seal()
    assert outcome_of(database_url, tmp_path / "after") is Outcome.COMPLETE
    assert outcome_of(database_url, tmp_path / "period", Selection("main", 260, 520)) is Outcome.COMPLETE
    assert verify(database_url).finding is None


def test_groups_that_are_gone_are_made_again_and_compared_with_what_was_signed(
    sealer: Sealer, database_url: str, owner: Connection, tmp_path: Path
) -> None:
    before = owner.execute("SELECT group_name, nodes FROM ledger.group_runs WHERE size = 602 ORDER BY 1").fetchall()
    owner.execute("DELETE FROM ledger.group_runs")
    assert verify(database_url).finding is None
    sealer.seal()
    assert (
        before
        == owner.execute("SELECT group_name, nodes FROM ledger.group_runs WHERE size = 602 ORDER BY 1").fetchall()
    )
    assert outcome_of(database_url, tmp_path / "x") is Outcome.COMPLETE


@pytest.mark.parametrize("size", [2, 302, 602])
def test_a_wrong_map_in_a_signed_checkpoint_is_named(
    sealer: Sealer, database_url: str, owner: Connection, tmp_path: Path, size: int
) -> None:
    with connect(database_url, Role.AUDITOR) as connection:
        row = connection.execute(bundles.CHECKPOINT, [size]).fetchone()
    assert row is not None
    note = checkpoints.parse(row[0])
    stated = groups.stated_by(note)
    assert stated is not None
    for wrong in (stated._replace(root=bytes(32)), stated._replace(groups=3)):
        lines = (note.checkpoint.lines[0], wrong.line())
        resign(database_url, owner, tmp_path / "home", size, lines)
        found = verify(database_url).finding
        assert found is not None and (found.fault, found.upto) == (Fault.MAP, size), found
        assert f"the checkpoint of {size} events states a map" in found.detail


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger.group_runs SET entries = set_byte(entries, 39, 255 - get_byte(entries, 39)) WHERE size = 302",
        "UPDATE ledger.group_runs SET entries = set_byte(entries, 7, get_byte(entries, 7) # 1) WHERE size = 602",
        "UPDATE ledger.group_runs SET nodes = set_byte(nodes, 1, 255 - get_byte(nodes, 1)) WHERE size = 602",
        "UPDATE ledger.group_runs SET upto = upto - 1, nodes = nodes || nodes WHERE size = 602",
        (
            "UPDATE ledger.group_runs SET tile_roots = set_byte(tile_roots, 1, 255 - get_byte(tile_roots, 1))"
            " WHERE tile_roots <> ''"
        ),
        "UPDATE ledger.group_runs SET tile_roots = ''",
        "UPDATE ledger.group_runs SET group_name = 'account:third' WHERE group_name = 'account:other'",
        "DELETE FROM ledger.group_runs WHERE size = 302",
    ],
)
def test_stored_groups_that_were_changed_are_named(
    sealer: Sealer, database_url: str, owner: Connection, change: str
) -> None:
    owner.execute(change)  # type: ignore[arg-type]
    found = verify(database_url).finding
    assert found is not None and found.fault is Fault.GROUPS, found
    assert "the events, which are intact" in found.detail or "its events, which are intact" in found.detail


def test_nothing_is_sealed_on_stored_groups_that_are_not_those_that_were_signed(
    sealer: Sealer, log: PostgresLog, owner: Connection
) -> None:
    owner.execute("UPDATE ledger.group_runs SET nodes = set_byte(nodes, 1, 255 - get_byte(nodes, 1)) WHERE size = 602")
    append(log, 602, 1)
    with pytest.raises(HistoryBroken, match="groups wrong"):
        sealer.seal()


def test_a_checkpoint_that_was_removed_is_missed_by_its_groups(
    sealer: Sealer, log: PostgresLog, database_url: str, owner: Connection
) -> None:
    owner.execute("DELETE FROM ledger.checkpoints WHERE size = 602")
    with pytest.raises(HistoryBroken, match="newer ones were removed"):
        sealer.seal()
    found = verify(database_url).finding
    assert found is not None and found.fault is Fault.FORGED


@pytest.mark.parametrize(
    "line",
    [
        "daybook-groups 1 2", "daybook-groups 1 2 xyz", "daybook-groups 01 2 " + "A" * 43 + "=",
        "daybook-groups 1 -2 " + "A" * 43 + "=", "daybook-groups 1 2 AAAA", "daybook-groups " + "9" * 30 + " 2 AAAA",
        "daybook-groups 1 2 " + "A" * 42 + "B=", "daybook-group 1 2 " + "A" * 43 + "=",
    ],
)  # fmt: skip
def test_a_line_that_is_no_map_states_none(line: str) -> None:
    note = f"o\n1\n{'A' * 43}=\n{{}}\n\n— o AAAAAAAA\n"
    good = "daybook-groups 1 2 " + "A" * 43 + "="
    assert groups.stated_by(checkpoints.parse(note.format(good))) == groups.Stated(1, 2, bytes(32))
    assert groups.stated_by(checkpoints.parse(note.format(line))) is None
    assert groups.stated_by(checkpoints.parse(note.format(good + "\n" + good))) is None

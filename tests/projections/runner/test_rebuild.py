"""Rebuild: changes are shown row by row; readers wait for nothing and see one moment; kills break nothing."""

import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from adapters.postgres.migrations import grant_database, migrate
from adapters.postgres.migrations.upgrading import upgrade
from domain.errors import ProjectionStopped, RequestRefused
from projections.catalog import PROJECTIONS
from projections.models import executions, lots, orders, positions
from projections.runner.runner import Runner, as_of
from projections.storage import progress
from projections.storage.rows import SqlRows, fetch
from projections.storage.schemas import as_placed, others
from tests import CHECKOUT
from tests.databases import url_of_database
from tests.desk import Desk
from tests.projections.running import FIFO, TIMEOUT_S, all_rows, changed, empty, following, poisoned, trade, until

pytestmark = pytest.mark.slow

OLD_PLACE = "INSERT INTO read.progress (projection, version, seq) VALUES (:name, :version, :seq)"


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    return Desk(log, FIFO)


@pytest.fixture
def runner(log: PostgresLog, projector: sa.Engine) -> Runner:
    return Runner(log, projector)


def schemas(engine: sa.Engine) -> list[str]:
    """The schemas of tables of read models: in use, kept, left behind."""
    with engine.connect() as connection:
        found = [others(connection, projection, keep=[]) for projection in PROJECTIONS]
    return [schema for each in found for schema in each]


def test_a_dry_run_shows_what_a_change_of_code_would_change(
    desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine
) -> None:
    head = trade(desk, range(3))
    runner.catch_up()
    before = schemas(projector)
    newer = replace(changed(money_places=7), version=positions.PROJECTION.version + 1)
    (result,) = Runner(log, projector, [newer]).rebuild(is_dry_run=True)
    assert (result.is_identical, result.is_swapped, result.seq) == (None, False, head)
    difference, past = result.differences
    assert (difference.table, difference.added, difference.removed, difference.changed) == ("positions", 0, 0, 1)
    assert (past.table, past.columns) == ("positions_history", {"money_places": past.changed})
    assert difference.columns == {"money_places": 1}
    (row,) = difference.sample
    assert row.columns == {"money_places": ("8", "7")}
    place = {"account_id": "main", "strategy_id": "trend", "instrument_id": "BTCUSDT.SIM"}
    assert row.key == place | {"position_side": "BOTH"}
    assert schemas(projector) == before, "what was built to compare is gone"
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


def test_rows_added_and_removed_by_hand_are_shown(desk: Desk, runner: Runner, projector: sa.Engine) -> None:
    trade(desk, range(3))
    runner.catch_up()
    with projector.begin() as connection:
        connection.execute(sa.delete(executions.executions).where(executions.executions.c.exec_id == "E1"))
        connection.execute(sa.text("UPDATE read_lots.lots SET lot_id = 'forged' WHERE lot_id = 'E2'"))
    found = {one.name: one for one in runner.rebuild(["executions", "lots"], is_dry_run=True)}
    (gone,) = found["executions"].differences
    assert (gone.added, gone.removed, gone.changed) == (1, 0, 0)
    assert gone.sample[0].key["exec_id"] == "E1"
    (forged,) = found["lots"].differences
    assert (forged.added, forged.removed, forged.changed) == (1, 1, 0)
    assert {(row.kind, row.key["lot_id"]) for row in forged.sample} == {("added", "E2"), ("removed", "forged")}


def test_a_rollback_brings_the_kept_rows_up_to_now(
    desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine
) -> None:
    trade(desk, range(3))
    runner.catch_up()
    runner.rebuild(["positions", "lots"])
    with projector.connect() as connection:
        rebuilt = progress.places(connection)["lots"][0].schema
    head = trade(desk, range(3, 6))
    runner.catch_up()
    results = runner.roll_back(["lots", "positions"])
    assert [(one.is_identical, one.seq, one.is_swapped) for one in results] == [(True, head, True)] * 2
    with projector.connect() as connection:
        assert progress.places(connection)["lots"][0].schema != rebuilt
        assert all_rows(connection) == all_rows(as_of(log))
    trade(desk, range(6, 8))
    runner.catch_up()
    runner.roll_back(["lots"])
    with projector.connect() as connection:
        assert progress.places(connection)["lots"][0].schema == rebuilt, "and back again"
        assert all_rows(connection) == all_rows(as_of(log))
    with pytest.raises(RequestRefused, match="has kept the rows"):
        runner.roll_back(["orders"])


@pytest.mark.slow
def test_rows_of_another_version_are_rolled_back_to_by_that_version(
    desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine
) -> None:
    trade(desk, range(3))
    runner.catch_up()
    newer = Runner(log, projector, [replace(changed(money_places=7), version=positions.PROJECTION.version + 1)])
    newer.catch_up()
    with pytest.raises(RequestRefused, match="of the version that this Daybook folds"):
        newer.roll_back()
    with following(runner):  # the older Daybook, which stands still beside the newer rows
        trade(desk, range(3, 5))
        assert runner.wait_for(log.head().seq, TIMEOUT_S, ["orders"])
        assert not runner.wait_for(log.head().seq, 0.1, ["positions"])
        runner.roll_back(["positions"])
        head = trade(desk, range(5, 6))
        assert runner.wait_for(head, TIMEOUT_S), "it goes on by itself"
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


def test_a_fold_that_fails_leaves_the_rows_in_use(
    desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine
) -> None:
    trade(desk, range(4))
    runner.catch_up()
    broken = poisoned(positions.PROJECTION, lambda event: event.exec_id == "E2")
    with pytest.raises(ProjectionStopped, match=r"positions stopped at seq \d+ \(TradeBooked.v3 of .*: cannot be"):
        Runner(log, projector, [broken]).rebuild()
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))
    assert [one.is_identical for one in runner.rebuild()] == [True] * len(PROJECTIONS)


def test_a_stopped_projection_is_rebuilt_to_the_end_of_the_log(
    desk: Desk, log: PostgresLog, projector: sa.Engine
) -> None:
    head = trade(desk, range(4))
    broken = Runner(log, projector, [poisoned(positions.PROJECTION, lambda event: event.exec_id == "E2")])
    broken.catch_up()
    assert broken.status()[0].error is not None
    fixed = Runner(log, projector, [positions.PROJECTION])
    fixed.rebuild()
    assert [(one.seq, one.error) for one in fixed.status()] == [(head, None)]
    with projector.connect() as connection:
        assert positions.positions(connection) == positions.positions(as_of(log))


def test_a_reader_with_a_snapshot_sees_its_moment_across_swaps(
    desk: Desk, log: PostgresLog, runner: Runner, projector: sa.Engine
) -> None:
    """It looks at tables for the first time after they were swapped; no process waits for it, nor it for any."""
    then = trade(desk, range(3))
    runner.catch_up()
    with projector.connect() as report:
        report.execution_options(isolation_level="REPEATABLE READ")
        as_placed(report)
        assert len(orders.blotter(report)) == 3
        trade(desk, range(3, 5))
        runner.catch_up()
        began = time.monotonic()
        assert all(one.is_identical for one in runner.rebuild())
        assert time.monotonic() - began < TIMEOUT_S
        with projector.connect() as other:
            assert len(lots.open_lots(other)) == 5
        assert all_rows(report) == all_rows(as_of(log, seq=then))


@pytest.mark.slow
def test_readers_never_wait_and_never_see_half(desk: Desk, log: PostgresLog, projector: sa.Engine) -> None:
    """Readers of several tables in one snapshot, under writes and swaps, beside one who holds on to the old rows."""
    runner = Runner(log, projector)
    trade(desk, range(10))
    runner.catch_up()
    is_done, waits, mixed = threading.Event(), [], []

    def read() -> None:
        while not is_done.is_set():
            began = time.monotonic()
            with projector.connect() as connection:
                connection.execution_options(isolation_level="REPEATABLE READ")
                as_placed(connection)
                counts = len(fetch(connection, executions.executions)), len(fetch(connection, lots.lots_table))
                (held,) = fetch(connection, positions.positions_table)
            waits.append(time.monotonic() - began)
            if not counts[0] == counts[1] == held["quantity"]:
                mixed.append((counts, held["quantity"]))

    with projector.connect() as slow, following(runner):
        assert len(orders.blotter(slow)) == 10
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        other = Runner(log, projector)
        for number in range(10, 14):
            assert runner.wait_for(trade(desk, [number]), TIMEOUT_S)
            assert all(one.is_identical for one in other.rebuild(["executions", "lots", "positions"]))
        is_done.set()
        for reader in readers:
            reader.join(TIMEOUT_S)
        assert len(orders.blotter(slow)) == 14
    assert not [one for one in mixed if max(one[0]) - min(one[0]) > 1], "of one moment, or of two neighbouring batches"
    assert len(waits) > 20
    assert max(waits) < TIMEOUT_S / 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_rebuild_killed_anywhere_breaks_nothing(
    desk: Desk, database_url: str, log: PostgresLog, projector: sa.Engine, seed: int
) -> None:
    head = trade(desk, range(60))
    runner = Runner(log, projector)
    runner.catch_up()
    draw = random.Random(seed)
    command = [sys.executable, "-m", "tests.projections.runner.rebuilder", database_url]
    for _ in range(2):
        with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(draw.random() * 0.6)
            process.send_signal(signal.SIGKILL)
        with projector.connect() as connection:
            assert all_rows(connection) == all_rows(as_of(log))
        assert {one.seq for one in runner.status()} == {head}
    until(lambda: _is_free(runner))
    assert {one.is_identical for one in runner.rebuild()} == {True}
    assert len(schemas(projector)) == 2 * len(PROJECTIONS), "in use and kept; what was left behind is gone"


def _is_free(runner: Runner) -> bool:
    """The database notices after a moment that the killed one is gone."""
    try:
        runner.rebuild(["breaks"])
    except RequestRefused:
        return False
    return True


@pytest.fixture
def many(desk: Desk, log: PostgresLog, monkeypatch: pytest.MonkeyPatch) -> int:
    """A log that is long enough for several processes."""
    monkeypatch.setattr("projections.runner.workers.EVENTS_MIN", 10)
    return trade(desk, range(40))


@pytest.mark.slow
def test_several_processes_build_the_same_rows(
    many: int, database_url: str, log: PostgresLog, projector: sa.Engine
) -> None:
    from functools import partial

    from api.daybook import projecting

    runner = Runner(log, projector, opener=partial(projecting, database_url))
    runner.catch_up()
    shown: list[tuple[int, int]] = []
    assert {one.is_identical for one in runner.rebuild(on_progress=lambda *at: shown.append(at))} == {True}
    assert {last for _, last in shown} == {many}
    assert {one.is_right for one in runner.verify()} == {True}
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(log))


@pytest.mark.slow
@pytest.mark.parametrize("cached_rows_max", [0, 12])
def test_rows_followed_through_a_tiny_cache_are_those_of_a_rebuild(
    projector: sa.Engine, monkeypatch: pytest.MonkeyPatch, cached_rows_max: int
) -> None:
    """One follower, from batch to batch: rows that were dropped come back from the database, digests and all."""
    desk, draw = Desk(costing=FIFO), random.Random(5)
    statements = list[str]()
    sa.event.listen(projector, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def looked_up(most: int) -> int:
        """How many rows were read one by one, when a follower of its own folded the whole log."""
        monkeypatch.setitem(SqlRows.__init__.__kwdefaults__, "cached_rows_max", most)
        empty(projector)
        statements.clear()
        Runner(desk.log, projector, batch_events_max=9).catch_up()
        return sum(f"FROM read_{name}_" in shown for shown in statements for name in ("orders", "positions", "journal"))

    desk.live([(*(draw.randrange(12) for _ in range(4)), draw.randrange(30)) for _ in range(80)])
    plenty = looked_up(most=100_000)
    assert looked_up(most=cached_rows_max) > 2 * plenty, "rows were dropped, and read again"
    monkeypatch.undo()
    assert {one.is_identical for one in Runner(desk.log, projector).rebuild()} == {True}
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(desk.log))


@pytest.mark.slow
def test_read_models_of_a_database_from_before_numbered_schemas_are_folded_again(server_url: str) -> None:
    """Their tables were `read_<name>` itself, and their versions did not distinguish them from those of today."""
    name = f"daybook_old_{uuid4().hex[:8]}"
    url = url_of_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        made = engine(url, Role.PROJECTOR)
        try:
            upgrade(url, "0006")
            grant_database(url)
            with PostgresLog(url) as log:
                head = trade(Desk(log, FIFO), range(3))
                with made.begin() as connection:
                    for projection in PROJECTIONS:
                        projection.create(connection, projection.schema)
                        place = {"name": projection.name, "version": projection.version, "seq": head}
                        connection.execute(sa.text(OLD_PLACE), place)
                migrate(url)
                Runner(log, made).catch_up()
                with made.connect() as connection:
                    assert all_rows(connection) == all_rows(as_of(log))
                    assert connection.scalar(sa.text("SELECT count(*) FROM read_positions.positions")) == 1
                assert {one.is_identical for one in Runner(log, made).rebuild()} == {True}
                assert len(schemas(made)) == 2 * len(PROJECTIONS), "in use and kept; the old tables are gone"
        finally:
            made.dispose()
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]

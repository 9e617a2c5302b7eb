"""The SQL views while read models are built, rebuilt, rolled back and upgraded."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from domain.errors import Unavailable
from domain.values import Side
from projections.catalog import PROJECTIONS
from projections.models import orders, positions
from projections.runner import rebuild as rebuilding
from projections.runner.runner import Runner
from projections.sql_views import following
from projections.sql_views.versions import V1
from projections.storage.history import AsOf
from projections.storage.progress import places
from projections.storage.rows import fetch
from projections.storage.schemas import as_placed
from tests.desk import Desk, fill
from tests.projections.running import changed, trade

pytestmark = pytest.mark.slow

VIEWS = [view.name for view in following.shown(PROJECTIONS)] + [one.name for one in V1.composed]
HELD = "SELECT quantity FROM v1.positions WHERE strategy_id = 'trend'"
REPEATABLE = psycopg.IsolationLevel.REPEATABLE_READ


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    return Desk(log)


@pytest.fixture
def reader(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection from outside."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def value(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def schema_in_use(projector: sa.Engine, projection: str) -> str:
    with projector.connect() as connection:
        return places(connection)[projection][0].schema


def shown_by(projector: sa.Engine, view: str) -> set[str]:
    with projector.connect() as connection:
        return following._present(connection, "v1")[view]


@pytest.mark.slow
def test_every_view_shows_the_rows_in_use_before_and_after_rebuilds_and_their_rollback(
    desk: Desk, projector: sa.Engine, reader: psycopg.Connection[Any]
) -> None:
    trade(desk, range(5))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    before = {name: sorted(reader.execute(f"SELECT * FROM v1.{name}".encode()), key=repr) for name in VIEWS}
    assert all(before[name] for name in ("positions", "executions", "journal_lines", "daily_balances", "instruments"))
    for step in (runner.rebuild, runner.rebuild, runner.roll_back):
        step()
        shown = {name: sorted(reader.execute(f"SELECT * FROM v1.{name}".encode()), key=repr) for name in VIEWS}
        del shown["progress"], shown["executions"], shown["executions_history"]  # of which the first has times
        assert shown.items() <= before.items()
    assert value(reader, HELD) == 5


@pytest.mark.slow
def test_a_view_made_on_top_of_ours_goes_on_through_rebuilds(
    desk: Desk, projector: sa.Engine, reader: psycopg.Connection[Any]
) -> None:
    trade(desk, range(3))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    reader.execute("CREATE SCHEMA bi")
    reader.execute("CREATE VIEW bi.held AS SELECT quantity FROM v1.positions WHERE strategy_id = 'trend'")
    for number in range(3, 6):
        runner.rebuild(["positions"])
        trade(desk, [number])
        runner.catch_up()
        assert value(reader, "SELECT quantity FROM bi.held") == number + 1


def test_a_transaction_sees_one_set_of_rows_though_others_are_swapped_in_meanwhile(
    desk: Desk, projector: sa.Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its snapshot is from between the preparation of the swap and the swap."""
    trade(desk, range(3))
    Runner(desk.log, projector).catch_up()
    other = replace(changed(realized=7), version=positions.PROJECTION.version + 1)
    query = "SELECT realized FROM v1.positions WHERE strategy_id = 'trend'"
    attach = following.attach
    with psycopg.connect(database_url) as old:
        old.isolation_level = REPEATABLE

        def attached(*given: Any) -> None:
            attach(*given)
            old.execute("SELECT 1 FROM v1.progress")  # the snapshot is taken, the view not named yet

        monkeypatch.setattr(following, "attach", attached)
        Runner(desk.log, projector, [other]).rebuild()
        with psycopg.connect(database_url, autocommit=True) as now:
            assert value(now, query) == 7
        assert value(old, query) == 0
        old.rollback()
        assert value(old, query) == 7


def test_a_snapshot_whose_rows_are_gone_is_refused_and_never_empty(
    desk: Desk, projector: sa.Engine, database_url: str
) -> None:
    trade(desk, range(3))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    with psycopg.connect(database_url) as old:
        old.isolation_level = REPEATABLE
        old.execute("SELECT 1 FROM v1.progress")
        runner.rebuild(["positions"])
        runner.rebuild(["positions"])
        with pytest.raises(
            psycopg.errors.SerializationFailure, match=r"positions .* have been replaced since it began"
        ):
            old.execute(HELD.encode())
        old.rollback()
        assert value(old, HELD) == 3


@pytest.mark.slow
def test_readers_see_all_rows_at_all_times_while_rebuilds_run_beside_them(
    desk: Desk, projector: sa.Engine, database_url: str
) -> None:
    """Half of the readers keep transactions open, others read statement by statement; rows are recorded meanwhile."""
    trade(desk, range(20))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    stop, faults, reads = threading.Event(), list[str](), list[int]()
    sums = (
        "SELECT (SELECT quantity FROM v1.positions WHERE strategy_id = 'trend'), (SELECT count(*) FROM v1.executions)"
    )

    def read(isolation: psycopg.IsolationLevel) -> None:
        last = 20
        with psycopg.connect(database_url) as connection:
            connection.isolation_level = isolation
            while not stop.is_set():
                (held, trades) = connection.execute(sums.encode()).fetchone() or (None, None)
                if held is None or held < last or trades < last:
                    faults.append(f"{held} held and {trades} trades after {last}")
                last = max(last, held or 0)
                connection.rollback()
                reads.append(1)

    levels = (psycopg.IsolationLevel.READ_COMMITTED, REPEATABLE)
    readers = [threading.Thread(target=read, args=(level,)) for level in levels]
    for thread in readers:
        thread.start()
    try:
        for number in range(20, 23):
            runner.rebuild(["positions", "executions"])
            trade(desk, [number])
            runner.catch_up()
    finally:
        stop.set()
        for thread in readers:
            thread.join()
    assert not faults
    assert len(reads) > 8


def test_a_rebuild_waits_for_a_transaction_that_reads_a_view_and_names_it(
    desk: Desk, projector: sa.Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(desk, range(3))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    monkeypatch.setattr(following, "WAIT_SECONDS_MAX", 0.3)
    with psycopg.connect(database_url) as busy:
        busy.execute("SELECT * FROM v1.positions")
        with pytest.raises(Unavailable, match=rf"v1.positions was read without a pause.* {busy.info.backend_pid}$"):
            runner.rebuild(["positions"])
        with psycopg.connect(database_url, autocommit=True) as reader:
            assert value(reader, HELD) == 3  # the rows in use are as they were, and no reader waits
    runner.rebuild(["positions"])


def test_rows_of_dropped_builds_are_dropped_and_the_views_are_left(desk: Desk, projector: sa.Engine) -> None:
    trade(desk, range(3))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    first = schema_in_use(projector, "positions")
    assert shown_by(projector, "positions") == {first}
    runner.rebuild(["positions"])
    second = schema_in_use(projector, "positions")
    assert shown_by(projector, "positions") == {first, second}
    runner.rebuild(["positions"])
    assert shown_by(projector, "positions") == {second, schema_in_use(projector, "positions")}
    with projector.connect() as connection:
        assert connection.scalar(sa.text("SELECT to_regnamespace(:name)"), {"name": first}) is None


def test_a_rebuild_that_was_killed_before_its_swap_leaves_the_views_as_they_were(
    desk: Desk, projector: sa.Engine, reader: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(desk, range(3))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    with monkeypatch.context() as patched:
        patched.setattr(rebuilding, "_swap", _killed)
        with pytest.raises(KeyboardInterrupt):
            runner.rebuild(["positions"])
    assert value(reader, HELD) == 3
    runner.rebuild(["positions"])
    assert value(reader, HELD) == 3
    assert len(shown_by(projector, "positions")) == 2


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_the_as_of_functions_give_the_rows_of_every_place(desk: Desk, projector: sa.Engine, database_url: str) -> None:
    trade(desk, range(4))
    desk.report(fill("late", Side.SELL, "0.5", "90", 0))
    Runner(desk.log, projector).catch_up()
    tables = {"positions": positions.positions_table, "orders": orders.orders}
    with projector.connect() as connection, psycopg.connect(database_url) as reader:
        source = as_placed(connection)
        for seq in range(1, desk.log.head().seq + 1):
            for name, table in tables.items():
                columns = [column.name for column in table.primary_key]
                expected = sorted(tuple(row[column] for column in (*columns, "seq"))
                                  for row in fetch(AsOf(source, seq), table))  # fmt: skip
                query = f"SELECT {', '.join(columns)}, seq FROM v1.{name}_as_of({seq})"
                assert sorted(reader.execute(query.encode()).fetchall()) == expected
        recorded = reader.execute("SELECT notification_id, recorded_at FROM ledger.events").fetchall()
        for _, recorded_at in recorded:
            expected_seq = max(seq for seq, at in recorded if at <= recorded_at)
            assert reader.execute("SELECT v1.seq_at(%s)", [recorded_at]).fetchone() == (expected_seq,)


def test_an_order_is_looked_up_through_its_view_by_the_index(
    desk: Desk, projector: sa.Engine, reader: psycopg.Connection[Any]
) -> None:
    trade(desk, range(3))
    runner = Runner(desk.log, projector)
    runner.catch_up()
    runner.rebuild(["orders"])
    reader.execute("SET enable_seqscan = off")
    for query in (
        "SELECT * FROM v1.orders WHERE account_id = 'main' AND cl_ord_id = 'x'",
        "SELECT * FROM v1.orders WHERE account_id = 'main' ORDER BY opened_seq DESC LIMIT 5",
        "SELECT * FROM v1.orders_as_of(7) WHERE account_id = 'main' AND cl_ord_id = 'x'",
    ):
        plan = "\n".join(row[0] for row in reader.execute(f"EXPLAIN {query}".encode()))
        assert "Seq Scan on orders" not in plan, plan
        assert "One-Time Filter" in plan, plan

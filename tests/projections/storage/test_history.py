"""As of any place in the log, every read model shows the rows that a replay stopped there would have."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from domain.account import CostBasis, Costing
from domain.ledger import scan
from domain.values import Side
from projections.catalog import PROJECTIONS
from projections.models import lots, orders, positions
from projections.runner.runner import Runner
from projections.storage.history import LEVELS, AsOf, node_of, path
from projections.storage.rows import MemoryRows, Source, SqlRows, fetch
from projections.storage.tables import POSITION
from tests.desk import Desk, costings, days, fill
from tests.projections.running import empty

TABLES = [table for projection in PROJECTIONS for table in projection.tables if "history" in table.info]

places = st.integers(1, 2**LEVELS - 2)
cache_sizes = st.integers(0, 20) | st.just(10_000)  # in rows


@given(places, st.integers(0, 2**20), places)
def test_a_version_is_found_from_where_it_began_to_where_it_ended(seq: int, length: int, other: int) -> None:
    """Its node lies within it, and on the way up of each of its places; of no place is it on the way twice."""
    until = min(seq + 1 + length, 2**LEVELS - 1)
    node = node_of(seq, until)
    assert seq <= node < until
    for place in {seq, until - 1, node, min(max(other, seq), until - 1)}:
        assert path(place).count(node) == 1


def _rows(source: Source) -> dict[str, Any]:
    return {f"{table.schema}.{table.name}": fetch(source, table) for table in TABLES}


def _replayed(desk: Desk) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows after every event."""
    rows = MemoryRows()
    yield 0, _rows(rows)
    for logged in scan(desk.log):
        for projection in PROJECTIONS:
            projection.fold(rows, [logged])
        yield logged.seq, _rows(rows)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=4)
@given(
    days, costings, st.lists(st.integers(0, 40), max_size=3), st.integers(1, 60), st.integers(0, 20) | st.just(10_000)
)
def test_as_of_every_place_the_rows_are_those_of_a_replay_that_stops_there(
    projector: sa.Engine,
    day: list[tuple[int, ...]],
    costing: Costing,
    stops: list[int],
    batch_events_max: int,
    cached_rows_max: int,
) -> None:
    """With any batches and restarts, and after a rebuild too."""
    empty(projector)
    desk, last = Desk(costing=costing), 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(SqlRows.__init__.__kwdefaults__, "cached_rows_max", cached_rows_max)
        for stop in [*sorted(stops), len(day)]:
            desk.live(day[last:stop])
            last = max(last, stop)
            runner = Runner(desk.log, projector, batch_events_max=batch_events_max)
            runner.catch_up()
            assert {one.error for one in runner.status()} == {None}
    for is_rebuilt in (False, True):
        if is_rebuilt:
            Runner(desk.log, projector).rebuild()
        with projector.connect() as connection:
            for seq, rows in _replayed(desk):
                assert _rows(AsOf(connection, seq)) == rows, f"as of {seq}"


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    return Desk(log, Costing(CostBasis.FIFO))


@pytest.fixture
def traded(desk: Desk, projector: sa.Engine) -> Desk:
    """Buys and sells that use up one another's lots."""
    for number in range(24):
        desk.report(fill(f"E{number}", (Side.SELL, Side.BUY)[number % 4 != 3], "1", 100 + number, number))
    Runner(desk.log, projector, batch_events_max=7).catch_up()
    return desk


def test_pages_of_a_past_moment_follow_each_other(traded: Desk, projector: sa.Engine) -> None:
    def paged(source: Source, select: Callable[..., list[dict[str, Any]]], by: tuple[str, ...]) -> list[dict[str, Any]]:
        seen, after = [], None
        while page := select(source, limit=3, after=after):
            seen += page
            after = tuple(page[-1][name] for name in by) if len(by) > 1 else page[-1][by[0]]
        return seen

    selects = (
        (orders.blotter, ("opened_seq",)), (lots.open_lots, lots.OPENED), (lots.matches, lots.DISPOSED),
        (positions.positions, POSITION),
    )  # fmt: skip
    with projector.connect() as connection:
        for seq in range(0, traded.log.head().seq + 1, 9):
            source = AsOf(connection, seq)
            for select, by in selects:
                assert paged(source, select, by) == select(source, limit=None)


def test_a_row_that_never_changed_has_no_history(traded: Desk, projector: sa.Engine) -> None:
    with projector.connect() as connection:
        counts = {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table.info["history"]))
            for table in TABLES
        }
    assert counts["executions"] == counts["matches"] == counts["breaks"] == 0
    assert counts["positions"] == 23


def test_a_table_without_a_history_is_not_read_as_of_the_past(projector: sa.Engine) -> None:
    with projector.connect() as connection, pytest.raises(LookupError, match="holds has no history"):
        fetch(AsOf(connection, 1), next(t for p in PROJECTIONS for t in p.tables if t.name == "holds"))

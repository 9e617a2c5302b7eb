"""Attestation: digests are those of the rows in any batches; what was altered is named, and since when."""

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from domain.ledger import Logged
from domain.position import TradeBooked
from projections.catalog import PROJECTIONS
from projections.models import executions, positions
from projections.runner.attestation import Verified
from projections.runner.runner import Runner, as_of
from projections.storage import progress
from projections.storage.copy_lines import Lines, Sum
from projections.storage.rows import Source, fetch
from tests.desk import Desk, days
from tests.projections.running import FIFO, all_rows, changed, empty, trade


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    return Desk(log, FIFO)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are kept every ten events."""
    monkeypatch.setattr(progress, "ATTESTED_EVENTS", 10)


def verified(runner: Runner) -> dict[str, Verified]:
    return {one.name: one for one in runner.verify()}


def is_trade(logged: Logged) -> bool:
    return isinstance(logged.recorded.event, TradeBooked)


def sums(source: Source) -> dict[str, Sum]:
    """The digests of rows, from the rows."""
    found = {}
    for projection in PROJECTIONS:
        hashes = [
            lines.hash(lines.of(row))
            for table in projection.tables
            for lines in [Lines(table)]
            for row in fetch(source, table)
        ]
        found[projection.name] = Sum(sum(hashes) % 2**256, len(hashes))
    return found


def kept(engine: sa.Engine) -> dict[str, Sum]:
    """The digests that were moved along with the rows."""
    with engine.connect() as connection:
        return {name: place.sum for name, (place, _) in progress.places(connection).items()}


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(days, st.lists(st.integers(0, 40), max_size=2), st.integers(1, 30))
def test_digests_are_those_of_the_rows_in_any_batches(
    projector: sa.Engine, day: list[tuple[int, ...]], stops: list[int], batch_events_max: int
) -> None:
    empty(projector)
    desk = Desk(costing=FIFO)
    last = 0
    for stop in [*sorted(stops), len(day)]:
        desk.live(day[last:stop])
        last = max(last, stop)
        Runner(desk.log, projector, batch_events_max=batch_events_max).catch_up()
    replayed = sums(as_of(desk.log))
    assert kept(projector) == replayed
    with projector.connect() as connection:
        assert sums(connection) == replayed
    assert all(one.is_right for one in Runner(desk.log, projector).verify())


def test_a_row_altered_by_hand_is_named_with_the_event_that_made_it(
    desk: Desk, log: PostgresLog, projector: sa.Engine
) -> None:
    trade(desk, range(12))
    runner = Runner(log, projector, batch_events_max=4)
    runner.catch_up()
    assert all(one.is_right and one.attestations > 3 for one in runner.verify())
    booked = {one.recorded.event.exec_id: one.seq for one in log.select() if is_trade(one)}
    with projector.begin() as connection:
        altered = sa.update(executions.executions).where(executions.executions.c.exec_id == "E5")
        connection.execute(altered.values(last_px=1))
    found = verified(runner)
    wrong = found.pop("executions")
    assert all(one.is_right for one in found.values())
    (difference,) = wrong.differences
    assert (difference.table, difference.changed, difference.columns) == ("executions", 1, {"last_px": 1})
    assert difference.sample[0].key["exec_id"] == "E5"
    assert (wrong.parted, wrong.first_seq) == (None, booked["E5"]), (
        "the digests are still right: the row was changed at rest"
    )


@pytest.mark.slow
def test_an_altered_row_that_was_folded_on_is_traced_to_the_first_event_that_met_it(
    desk: Desk, log: PostgresLog, projector: sa.Engine
) -> None:
    """A follower that had not seen the row itself takes the altered one for good."""
    trade(desk, range(8))
    Runner(log, projector, batch_events_max=4).catch_up()
    altered_at = log.head().seq
    with projector.begin() as connection:
        connection.execute(sa.update(positions.positions_table).values(quantity=1000))
    trade(desk, range(8, 20))
    runner = Runner(log, projector, batch_events_max=4)
    runner.catch_up()
    wrong = verified(runner)["positions"]
    assert wrong.parted is not None
    agreed, parted = wrong.parted
    met = next(one.seq for one in log.select(after=altered_at) if is_trade(one))
    assert agreed <= altered_at < met <= parted
    assert wrong.first_seq is not None
    assert agreed < wrong.first_seq <= met, "no event before it has met a row that differs"
    runner.rebuild(["positions"])
    assert all(one.is_right for one in runner.verify())


def test_a_fold_that_changed_without_a_version_is_found(desk: Desk, log: PostgresLog, projector: sa.Engine) -> None:
    trade(desk, range(6))
    Runner(log, projector, [changed(money_places=7)]).catch_up()
    (wrong,) = Runner(log, projector, [positions.PROJECTION]).verify()
    assert wrong.parted is not None
    first = next(one.seq for one in log.select() if is_trade(one))
    assert wrong.parted[0] < first <= wrong.parted[1]
    assert wrong.first_seq == first


def test_verifying_changes_nothing(desk: Desk, log: PostgresLog, projector: sa.Engine) -> None:
    trade(desk, range(3))
    runner = Runner(log, projector)
    runner.catch_up()
    with projector.connect() as connection:
        before = progress.places(connection), sa.inspect(connection).get_schema_names(), all_rows(connection)
    runner.verify()
    with projector.connect() as connection:
        after = progress.places(connection), sa.inspect(connection).get_schema_names(), all_rows(connection)
    assert after == before

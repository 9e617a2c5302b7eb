"""Runners followed in a thread, all their rows, and projections that fail."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from domain.account import CostBasis, Costing
from domain.ledger import Logged
from domain.position import TradeBooked
from domain.values import Side
from projections.catalog import PROJECTIONS
from projections.models import positions
from projections.runner.runner import Runner
from projections.storage.progress import progress
from projections.storage.rows import Source, fetch
from projections.storage.tables import Projection, Rows
from tests.desk import Desk, fill

TIMEOUT_S = 60  # never waited for where all is well, however busy the machine
FIFO = Costing(CostBasis.FIFO)


def all_rows(source: Source) -> dict[str, Any]:
    """Every row of every read model."""
    return {f"{p.name}.{table.name}": fetch(source, table) for p in PROJECTIONS for table in p.tables}


def empty(projector: sa.Engine) -> None:
    """A database without read models, as before the first run."""
    with projector.begin() as connection:
        connection.execute(sa.delete(progress))
        for projection in PROJECTIONS:
            projection.drop(connection, projection.schema)


@contextmanager
def following(runner: Runner) -> Iterator[None]:
    """A thread follows meanwhile."""
    stop = threading.Event()
    thread = threading.Thread(target=runner.follow, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        deadline = time.monotonic() + TIMEOUT_S
        while thread.is_alive() and time.monotonic() < deadline:
            if isinstance(runner._log, PostgresLog):
                runner._log.wake()  # again, since it may begin to wait only now
            thread.join(0.05)
        assert not thread.is_alive()


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.01)


def poisoned(projection: Projection, bad: Callable[[Any], bool]) -> Projection:
    """The projection with a fold of trades that fails, after it has put its rows, at a bad one."""
    fold = projection.folds[TradeBooked]

    def failing(rows: Rows, logged: Logged, event: Any) -> None:
        fold(rows, logged, event)
        if bad(event):
            raise ArithmeticError("cannot be")

    return replace(projection, folds={**projection.folds, TradeBooked: failing})


def trade(desk: Desk, numbers: Sequence[int]) -> int:
    """A buy for each number; the seq after the last."""
    for number in numbers:
        desk.report(fill(f"E{number}", Side.BUY, "1", "100", number))
    return desk.log.head().seq


def changed(**to: Any) -> Any:
    """Positions whose fold of trades writes something else into the row."""
    fold = positions.PROJECTION.folds[TradeBooked]

    def other(rows: Rows, logged: Logged, event: TradeBooked) -> None:
        fold(rows, logged, event)
        for held in rows.find(positions.positions_table, account_id=event.key.account_id):
            rows.put(positions.positions_table, held | to)

    return replace(positions.PROJECTION, folds={**positions.PROJECTION.folds, TradeBooked: other})

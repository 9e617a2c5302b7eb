"""Disposals: when their lots were acquired, also lots that were moved by a transfer."""

from datetime import timedelta
from decimal import Decimal as D

import psycopg
import pytest
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from domain.position import MovePosition, PositionKey
from domain.values import Side
from projections.analytics.disposals import Acquisitions, Filter
from projections.models import executions, lots
from projections.runner.runner import Runner, as_of
from tests.desk import BTC, T0, Desk, fill
from tests.projections.running import FIFO

DAYS = 60 * 24


def moved(desk: Desk) -> None:
    """2 bought by one strategy, 1 moved to another on the third day and sold there on the tenth."""
    desk.report(fill("B", Side.BUY, "2", "100"))
    here, there = (PositionKey("main", name, BTC) for name in ("trend", "other"))
    desk.request(MovePosition(here, there, "M", D(1), T0 + timedelta(days=3)))
    desk.report(fill("S", Side.SELL, "1", "130", 10 * DAYS, strategy_id="other"))


def test_a_lot_moved_by_a_transfer_keeps_the_day_of_its_acquisition() -> None:
    desk = Desk(costing=FIFO)
    moved(desk)
    rows = as_of(desk.log, projections=(lots.PROJECTION, executions.PROJECTION))
    sold = [row for row in Acquisitions(rows).described(lots.matches(rows)) if row["exec_id"] == "S"]
    assert [(row["acquired_at"], row["holding_days"], row["proceeds"]) for row in sold] == [(T0, 10, 130)]


def test_the_sql_view_of_matches_has_the_same_rows(log: PostgresLog, projector: sa.Engine, database_url: str) -> None:
    desk = Desk(log, costing=FIFO)
    moved(desk)
    desk.report(fill("R", Side.SELL, "2", "90", 20 * DAYS), fill("C", Side.BUY, "1", "80", 30 * DAYS))
    Runner(log, projector).catch_up()
    rows = as_of(log, projections=(lots.PROJECTION, executions.PROJECTION))
    names = ("exec_id", "line", "lot_id", "acquired_at", "disposed_at", "holding_days", "quantity", "proceeds", "cost",
             "gain", "settle")  # fmt: skip
    expected = sorted(tuple(row[name] for name in names) for row in Acquisitions(rows).described(lots.matches(rows)))
    with psycopg.connect(database_url, options="-c timezone=UTC") as reader:
        found = reader.execute(f"SELECT {', '.join(names)} FROM v1.matches".encode()).fetchall()
    assert sorted(found) == expected
    assert len(expected) >= 4
    assert any(row[7] < 0 for row in expected), "a short lot was closed"


@pytest.mark.parametrize(("since", "until", "kept"), [(0, 1, 1), (1, None, 0), (None, 0, 0), (None, None, 1)])
def test_disposals_are_chosen_from_a_time_on_and_before_another(since: int, until: int, kept: int) -> None:
    bounds = (None if day is None else T0 + timedelta(days=day) for day in (since, until))
    assert Filter(*bounds).has({"disposed_at": T0}) is bool(kept)

"""What was true at a moment, as we know it now or knew it then: looked up, it is what the domain folds."""

from datetime import timedelta
from decimal import Decimal as D
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from domain import position
from domain.ledger import Logged, scan
from domain.order import OrderFillBusted, OrderFillCorrected, OrderKey
from domain.position import PositionKey
from domain.values import ZERO, Side
from projections.models import executions, lots, positions, positions_occurred
from projections.runner.runner import Runner
from projections.storage.history import AsOf
from tests.desk import BTC, T0, Desk, costings, fill, fill_days
from tests.domain import as_of
from tests.projections.running import empty

SUMS = ("realized", "rounding", "fee_cost", "funding", "income", "transferred")


def _folded(history: list[Logged], minute: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Every position as occurred, by the domain's own fold."""
    streams: dict[str, list[Any]] = {}
    for logged in history:
        if logged.recorded.stream.startswith("position:"):
            streams.setdefault(logged.recorded.stream, []).append(logged.recorded)
    held = [as_of.as_occurred(records, T0 + timedelta(minutes=minute)) for records in streams.values()]
    return {
        (one.key.account_id, one.key.strategy_id, one.key.instrument_id): _shown(one) for one in held if one is not None
    }


def _shown(held: position.Position) -> dict[str, Any]:
    sums = {name: getattr(held, name) for name in SUMS}
    contract = held.contract and (held.contract.kind, held.contract.contract_size)
    fees = {currency: amount for currency, amount in held.fees.items() if amount}
    last = tuple(held.last[:3]) if held.last is not None else None
    return sums | {"quantity": held.quantity, "cost": held.book.cost, "fees": fees, "contract": contract, "last": last}


def _looked_up(source: Any, minute: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = positions_occurred.positions(source, T0 + timedelta(minutes=minute))
    shown = {}
    for row in rows:
        sums = {name: row[name] for name in (*SUMS, "quantity", "cost")}
        contract = (row["kind"], row["contract_size"]) if row["kind"] else None
        fees = {currency: amount for currency, amount in row["fees"].items() if amount}
        last = tuple(row[name] for name in positions_occurred.LAST) if row["last_exec_id"] is not None else None
        key = (row["account_id"], row["strategy_id"], row["instrument_id"])
        shown[key] = sums | {"fees": fees, "contract": contract, "last": last}
    return shown


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(fill_days, costings, st.lists(st.integers(0, 60), min_size=1, max_size=4), st.integers(1, 40))
def test_positions_as_occurred_are_those_that_the_domain_folds(
    projector: sa.Engine, day: list[tuple[int, ...]], costing: Any, minutes: list[int], batch_events_max: int
) -> None:
    """By any moment of the day, as known after any command: amid what one append recorded the log is not whole."""
    empty(projector)
    desk = Desk(costing=costing)
    desk.live(day)
    Runner(desk.log, projector, batch_events_max=batch_events_max).catch_up()
    history = list(scan(desk.log))
    whole = [one.seq for one, next_ in pairwise(history) if one.recorded.recorded_at < next_.recorded.recorded_at]
    with projector.connect() as connection:
        for minute in minutes:
            assert _looked_up(connection, minute) == _folded(history, minute)
            for known in [0, *whole[minute % 2 :: 2]]:
                assert _looked_up(AsOf(connection, known), minute) == _folded(history[:known], minute)


def test_a_late_fill_and_a_bust_are_true_of_the_moment_they_occurred(log: PostgresLog, projector: sa.Engine) -> None:
    desk = Desk(log)
    desk.report(fill("E1", Side.BUY, "2", "100", 1), fill("E3", Side.SELL, "1", "130", 3))
    first = log.head().seq
    desk.report(fill("E2", Side.BUY, "2", "120", 2))
    late = log.head().seq
    at = T0 + timedelta(minutes=9)
    desk.report(OrderFillBusted(OrderKey("main", "O-E2"), "E2", "error", at, exec_id="X", venue="SIM"))
    Runner(log, projector).catch_up()
    key = PositionKey("main", "trend", BTC)
    where = {"account_id": key.account_id, "strategy_id": key.strategy_id, "instrument_id": key.instrument_id}

    def held(known: int, minute: int) -> tuple[Any, ...]:
        rows = positions_occurred.positions(AsOf(connection, known), T0 + timedelta(minutes=minute), **where)
        return tuple((row["quantity"], row["cost"], row["realized"]) for row in rows)

    with projector.connect() as connection:
        known_late = connection.execute(sa.select(positions.late.c.seq, positions.late.c.quantity).order_by("seq"))
        # of the fills, only the late one; then what its bust takes back; restatements move no quantity
        assert [(seq > first, quantity) for seq, quantity in known_late if quantity] == [(True, D(2)), (True, D(-2))]
        assert held(first, 2) == ((D(2), D(200), ZERO),)
        assert held(late, 2) == ((D(4), D(440), ZERO),)
        assert held(late, 3) == ((D(3), D(330), D(20)),)
        assert held(log.head().seq, 3) == ((D(1), D(100), D(30)),) == held(first, 3)
        assert held(late, 0) == ()
        assert [row["exec_id"] for row in executions.history(connection, **where)] == ["E1", "E3"]
        early = T0 + timedelta(minutes=2)
        assert [row["exec_id"] for row in executions.history(AsOf(connection, late), **where, occurred_by=early)] == [
            "E1", "E2",
        ]  # fmt: skip
        assert len(positions.positions(AsOf(connection, first))) == 1
        assert lots.matches(connection, occurred_by=early) == []


def test_the_changes_of_a_day_name_the_first_booking_of_a_trade_corrected_since(
    log: PostgresLog, projector: sa.Engine
) -> None:
    desk = Desk(log)
    desk.report(fill("E1", Side.BUY, "2", "100", 1))
    desk.report(
        OrderFillCorrected(OrderKey("main", "O-E1"), "E1", D(1), D(99), T0 + timedelta(minutes=9), exec_id="X1")
    )
    Runner(log, projector).catch_up()
    history = [one for one in scan(log) if one.recorded.stream == f"position:main:trend:{BTC}"]
    with projector.connect() as connection:
        changed = positions_occurred.changes(connection, T0 + timedelta(minutes=2), 0, log.head().seq)
    assert changed["main", "trend", BTC, "BOTH"] == [one.seq for one in history]

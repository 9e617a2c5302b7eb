"""Real fills of a real account, through the read models: lots as other programs compute them, under any
conventions of the account and in any order of arrival."""

import csv
import json
from decimal import Decimal as D
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.log.memory import MemoryLog
from adapters.log.postgres import PostgresLog
from adapters.writer.writer import Writer
from domain import values
from domain.account import CostBasis, Costing, FeePolicy
from domain.ledger import EventLog, Report
from domain.position import Transfer
from domain.values import Side, rounded
from projections.models import executions, lots, orders, positions
from projections.runner.runner import Runner, as_of
from projections.storage.rows import Source
from projections.storage.tables import Row
from tests.oracles import each
from tests.projections.running import all_rows
from tests.scenarios.importing.histories import KEY, NOW, imported, open_book

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
FILLS = each("real_fills", "*_fills.csv")
LOTS = each("real_fills", "expected_lots_*.csv")
PLACES = 12
HISTORY = {"account_id": KEY.account_id, "strategy_id": KEY.strategy_id, "instrument_id": KEY.instrument_id}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def book_with_opening_lot(log: EventLog, fills: Path, totals: Any, costing: Costing) -> None:
    """The file in a book of these conventions, with the lot that was there before."""
    writer, opening = Writer(log, lambda: NOW), totals["convention"]["opening_lot"]
    open_book(writer, costing)
    lot: Report = Transfer(
        KEY, opening["id"], Side.BUY, D(opening["qty"]), D(opening["cost_total"]), values.time(opening["ts"], "ts")
    )
    writer.report([lot], actor="tester")
    imported(writer, fills)


def shown(fills: Path, matches: list[Row]) -> list[tuple[str, str, D, D, D]]:
    """Matches as the reference data writes them."""
    names = {row["trade_id"]: f"t{row['seq']}" for row in read(fills)}
    return [
        (
            names.get(row["exec_id"], row["exec_id"]), names.get(row["lot_id"], row["lot_id"]), row["quantity"],
            rounded(row["cost"], PLACES), rounded(row["gain"], PLACES),
        )
        for row in matches
    ]  # fmt: skip


def expected(path: Path) -> list[tuple[str, str, D, D, D]]:
    return [
        (row["disposal"], row["lot"], D(row["qty"]), D(row["cost_basis"]), D(row["gain"])) for row in read(path)
    ]  # fmt: skip


@pytest.mark.parametrize("kept_by", [CostBasis.AVERAGE, CostBasis.FIFO])
@pytest.mark.parametrize("path", LOTS)
@pytest.mark.parametrize("fills", FILLS)
def test_lots_of_the_account_and_of_any_other_cost_basis(
    fills: Path, path: Path, kept_by: CostBasis, log: PostgresLog, projector: sa.Engine
) -> None:
    totals = json.loads(path.with_name("expected_lots_totals.json").read_text())
    basis = CostBasis(path.stem.rpartition("_")[2].upper())
    book_with_opening_lot(log, fills, totals, Costing(kept_by, FeePolicy.CAPITALISED))
    Runner(log, projector).catch_up()
    with projector.connect() as connection:
        trades = executions.history(connection, **HISTORY)
        matches, open_lots, book = lots.recosted(trades, Costing(basis, FeePolicy.CAPITALISED))
        assert shown(fills, matches) == expected(path)
        if basis is kept_by:
            assert shown(fills, lots.matches(connection, limit=None)) == expected(path)
            assert _lots(lots.open_lots(connection, limit=None)) == _lots(open_lots)
        (held,) = positions.positions(connection)
        assert held["quantity"] == book.quantity == sum(lot["quantity"] for lot in open_lots)
        assert len(open_lots) == len(totals["totals"][basis]["open_lots"])


def _lots(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row["lot_id"], row["quantity"], row["cost"]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("basis", [CostBasis.AVERAGE, CostBasis.HIFO])
@pytest.mark.parametrize("path", FILLS)
def test_fills_in_any_order_end_in_the_same_rows(
    path: Path, basis: CostBasis, tmp_path: Path, projector: sa.Engine
) -> None:
    """Orders, executions, positions and lots; only when they were recorded, and what was restated, is another story."""
    header, *lines = path.read_text().splitlines()
    Random(11).shuffle(lines)
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("\n".join([header, *lines, ""]))
    straight, late = MemoryLog(), MemoryLog()
    for log, history in ((straight, path), (late, shuffled)):
        open_book(Writer(log, lambda: NOW), Costing(basis))
        imported(Writer(log, lambda: NOW), history)
    runner = Runner(late, projector)
    runner.catch_up()
    assert all(result.is_identical for result in runner.rebuild())
    with projector.connect() as connection:
        assert all_rows(connection) == all_rows(as_of(late))
        assert _timeless(connection) == _timeless(as_of(straight))


def _timeless(source: Source) -> list[list[Row]]:
    uncompared = {"seq", "booked_seq", "opened_seq", "is_late", "restatements", "recorded_at"}
    found = (
        sorted(orders.blotter(source, limit=None), key=lambda row: row["cl_ord_id"]),
        executions.history(source, **HISTORY),
        positions.positions(source),
        lots.open_lots(source, limit=None),
        lots.matches(source, limit=None),
    )
    return [[{name: value for name, value in row.items() if name not in uncompared} for row in rows] for rows in found]

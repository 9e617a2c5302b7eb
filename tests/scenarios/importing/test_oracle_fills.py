"""Real fills of a real account: positions and lots as other, independent programs compute them, to the last digit."""

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from functools import reduce
from pathlib import Path
from random import Random
from typing import Any

import pytest

from adapters.log.postgres import PostgresLog
from adapters.verify.derivation import derive
from adapters.writer.writer import Writer
from domain import position, values
from domain.account import CostBasis, Costing, FeePolicy
from domain.ledger import scan
from domain.position import LotMatch, Position, PositionKey, TradeBooked, Transfer
from domain.values import Side, rounded
from tests.derived import derived
from tests.oracles import each
from tests.scenarios.importing.histories import KEY, NOW, book, desk, imported, open_book

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
FILLS = each("real_fills", "*_fills.csv")
LOTS = each("real_fills", "expected_lots_*.csv")
NET_FEE_CURRENCY = "USDT"
PLACES = 12
TOTAL_PLACES = 10


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected(path: Path, name: str) -> Any:
    file = path.with_name(name)
    if not file.exists():
        pytest.skip(f"no {name} beside {path}")
    return json.loads(file.read_text())


def key_of(row: dict[str, str]) -> PositionKey:
    return PositionKey("main", "main", f"{row['symbol']}.BINANCE")


def states(log: PostgresLog, key: PositionKey) -> Iterator[tuple[str, Position]]:
    """The position after every trade on record, and the trade's id."""
    held: Position | None = None
    for recorded in log.read(position.stream(key)):
        held = position.evolve(held, recorded.event)
        if isinstance(recorded.event, TradeBooked):
            yield recorded.event.exec_id, held


@pytest.mark.parametrize("path", FILLS)
def test_every_line_of_the_file_is_recorded(path: Path, log: PostgresLog) -> None:
    writer = Writer(log, lambda: NOW)
    summary = imported(writer, path)
    assert (summary.recorded, summary.read) == (len(rows(path)), len(rows(path)))
    assert (summary.errors, summary.conflicts) == ([], [])
    assert not derive(log.recorder.datastore.url).faults


@pytest.mark.parametrize("path", FILLS)
def test_positions_at_every_checkpoint(path: Path, log: PostgresLog) -> None:
    fills = rows(path)
    checkpoints = {state["id"]: state for state in expected(path, "expected_position.json")["states"]}
    imported(Writer(log, lambda: NOW), path)
    seen = 0
    for exec_id, held in states(log, key_of(fills[0])):
        if (state := checkpoints.get(exec_id)) is None:
            continue
        seen += 1
        at = f"after fill {state['after_fill']}"
        assert held.quantity == Decimal(state["signed_qty"]), at
        net = held.realized - held.fees.get(NET_FEE_CURRENCY, Decimal(0))
        assert _as_printed(net, state["realized_cum"]) == state["realized_cum"], at
        assert held.fees == {paid_in: Decimal(fee) for paid_in, fee in state["commissions"].items()}, at
        average = held.contract.average_price(held.quantity, held.book.cost) if held.contract else None
        assert float(average or 0) == pytest.approx(float(state["avg_px_open"]), rel=1e-12, abs=0), at
    assert seen == len([state for state in checkpoints if state in {fill["trade_id"] for fill in fills}]) > 0


def _as_printed(value: Decimal, like: str) -> str:
    """With as many places as the other one was printed with, and no rounding."""
    text = f"{value:.{len(like.partition('.')[2])}f}"
    assert Decimal(text) == value, f"{value} has more places than {like}"
    return text


def lots_book(log: PostgresLog, basis: CostBasis, fills: Path, opening: dict[str, str]) -> Position:
    """The file in a book by lots, with the lot that was there before."""
    writer = Writer(log, lambda: NOW)
    open_book(writer, Costing(basis, FeePolicy.CAPITALISED))
    lot = Transfer(
        KEY, opening["id"], Side.BUY, Decimal(opening["qty"]), Decimal(opening["cost_total"]),
        values.time(opening["ts"], "ts"),
    )  # fmt: skip
    writer.report([lot], actor="tester")
    assert imported(writer, fills).unreadable == 0
    held: Position = writer.state(position.stream(KEY))
    assert held == reduce(position.evolve, (recorded.event for recorded in log.read(position.stream(KEY))), None), (
        "the log says the same"
    )
    return held


@pytest.mark.parametrize("path", LOTS)
@pytest.mark.parametrize("fills", FILLS)
def test_lots_row_by_row_and_in_total(path: Path, fills: Path, log: PostgresLog) -> None:
    oracle = expected(path, "expected_lots_totals.json")
    basis = CostBasis(path.stem.rpartition("_")[2].upper())
    held = lots_book(log, basis, fills, oracle["convention"]["opening_lot"])
    names = {row["trade_id"]: f"t{row['seq']}" for row in rows(fills)}

    def name(exec_id: str) -> str:
        return names.get(exec_id, exec_id)

    matches: list[tuple[str, LotMatch]] = [
        (name(recorded.event.exec_id), match)
        for recorded in log.read(position.stream(KEY))
        if isinstance(recorded.event, TradeBooked)
        for match in recorded.event.effect.closed
    ]
    ours = [
        (disposal, name(match.lot_id), match.quantity, rounded(match.cost, PLACES), rounded(match.gain, PLACES))
        for disposal, match in matches
    ]
    theirs = [
        (row["disposal"], row["lot"], Decimal(row["qty"]), Decimal(row["cost_basis"]), Decimal(row["gain"]))
        for row in rows(path)
    ]
    for number, (our, their) in enumerate(zip(ours, theirs, strict=False), 2):
        assert our == their, f"{path.name}:{number}"
    total = oracle["totals"][basis]
    assert len(ours) == len(theirs) == total["matches"]
    assert rounded(sum((match.gain for _, match in matches), Decimal(0)), TOTAL_PLACES) == Decimal(total["total_gain"])
    ours_open = {name(lot.lot_id): (lot.quantity, rounded(lot.unit_cost, PLACES)) for lot in held.book.lots}
    assert ours_open == {lot["lot"]: (Decimal(lot["qty"]), Decimal(lot["unit_cost"])) for lot in total["open_lots"]}


@pytest.mark.parametrize("basis", CostBasis)
@pytest.mark.parametrize("path", FILLS)
def test_a_full_history_shuffled_split_and_repeated_ends_in_the_same_book(
    path: Path, basis: CostBasis, tmp_path: Path
) -> None:
    costing = Costing(basis)
    _, straight = desk(costing)
    imported(straight, path)
    header, *lines = path.read_text().splitlines()
    shuffled = [*lines, *lines[::7]]
    Random(3).shuffle(shuffled)
    shuffled_log, writer = desk(costing)
    third = len(shuffled) // 3
    for number in range(4):
        part = tmp_path / f"{number}.csv"
        part.write_text("\n".join([header, *shuffled[number * third : (number + 1) * third], ""]))
        assert imported(writer, part).unreadable == 0
    assert book(writer) == book(straight)
    assert not derived([logged.recorded for logged in scan(shuffled_log)]).faults

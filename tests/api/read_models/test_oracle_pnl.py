"""Real fills through the front door: what the API and the command line answer is what independent programs computed."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.daybook import Daybook
from api.intake.importing.ingest import import_file
from domain.account import CostBasis
from domain.values import rounded
from tests.api.command_line import command
from tests.oracles import each
from tests.scenarios.importing.histories import NOW

pytestmark = pytest.mark.oracle
FILLS = each("real_fills", "*_fills.csv")
LOTS_PLACES = 12


def beside(path: Path, name: str) -> Any:
    file = path.with_name(name)
    if not file.exists():
        pytest.skip(f"no {name} beside {path}")
    return json.loads(file.read_text())


def imported(daybook: Daybook, path: Path, account_id: str = "main") -> int:
    summary = import_file(
        daybook.writer,
        path,
        account_id=account_id,
        strategy_id="main",
        now=NOW,
        actor="test",
        on_progress=lambda _: None,
    )
    assert (summary.unreadable, summary.conflicting) == (0, 0)
    return summary.seq


@pytest.mark.slow
@pytest.mark.parametrize("path", FILLS)
def test_pnl_over_http_is_right_at_every_checkpoint(
    path: Path, client: httpx.Client, daybook: Daybook, tmp_path: Path
) -> None:
    header, *lines = path.read_text().splitlines()
    states = [state for state in beside(path, "expected_position.json")["states"] if state["after_fill"] <= len(lines)]
    assert states
    done, seqs = 0, []
    for state in states:
        part = tmp_path / "part.csv"
        part.write_text("\n".join([header, *lines[done : state["after_fill"]], ""]))
        done = state["after_fill"]
        seqs.append(imported(daybook, part))
        check_pnl(client, {"min_seq": seqs[-1]}, state)
    for at in (0, len(states) // 2):  # and what the book knew then, now that it knows more
        check_pnl(client, {"as_of": seqs[at]}, states[at])


def check_pnl(client: httpx.Client, params: dict[str, Any], state: dict[str, Any]) -> None:
    answer = client.get("/v1/pnl", params={"account_id": "main", **params})
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["items"]
    assert Decimal(row["quantity"]) == Decimal(state["signed_qty"])
    assert Decimal(row["realized"]) - Decimal(row["fees_settle"]) == Decimal(state["realized_cum"])
    assert {paid_in: Decimal(fee) for paid_in, fee in row["fees"].items()} == {
        paid_in: Decimal(fee) for paid_in, fee in state["commissions"].items()
    }
    assert float(row["avg_px"]) == pytest.approx(float(state["avg_px_open"]), rel=1e-12, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILLS)
def test_lots_over_http_and_on_the_command_line_are_right_row_by_row(
    path: Path, client: httpx.Client, daybook: Daybook, database_url: str
) -> None:
    oracle = beside(path, "expected_lots_totals.json")
    opening = oracle["convention"]["opening_lot"]
    account = {"account_id": "lots", "base_currency": "USDT", "cost_basis": "FIFO", "fee_policy": "CAPITALISED"}
    assert client.post("/v1/accounts", json=account).status_code == 201
    listing = {"instrument_id": "BTCUSDT.BINANCE", "kind": "SPOT", "base": "BTC", "quote": "USDT"}
    assert (
        client.post("/v1/instruments", json=listing | {"tick_size": "0.01", "lot_size": "0.000001"}).status_code == 201
    )
    transfer = {
        "account_id": "lots", "strategy_id": "main", "instrument_id": "BTCUSDT.BINANCE", "transfer_id": opening["id"],
        "side": "BUY", "quantity": opening["qty"], "cost": opening["cost_total"], "transact_time": opening["ts"],
    }  # fmt: skip
    assert client.post("/v1/transfers", json=transfer).status_code == 201
    seq = imported(daybook, path, "lots")
    names = {row["trade_id"]: f"t{row['seq']}" for row in rows(path)}
    for file in sorted(path.parent.glob("expected_lots_*.csv")):
        basis = CostBasis(file.stem.rpartition("_")[2].upper())
        theirs = [
            (row["disposal"], row["lot"], Decimal(row["qty"]), Decimal(row["cost_basis"]), Decimal(row["gain"]))
            for row in rows(file)
        ]
        matches = paged(client, "/v1/matches", account_id="lots", method=basis.value, min_seq=seq)
        assert shaped(matches, names) == theirs, basis
        total = oracle["totals"][basis]
        assert rounded(sum((Decimal(row["gain"]) for row in matches), Decimal(0)), 10) == Decimal(total["total_gain"])
        requested = ("report", "lots", "--account", "lots", "--method", basis.value, "--json")
        disposed, opened = (
            json.loads(command(*requested, *more, DAYBOOK_DATABASE_URL=database_url).stdout)["items"]
            for more in (("--matches",), ())
        )
        assert shaped(disposed, names) == theirs, basis
        assert {names.get(lot["lot_id"], lot["lot_id"]): Decimal(lot["quantity"]) for lot in opened} == {
            lot["lot"]: Decimal(lot["qty"]) for lot in total["open_lots"]
        }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def paged(client: httpx.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        answer = client.get(path, params=params | {"limit": 1000})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if not (cursor := answer.json().get("next")):
            return found
        params["cursor"] = cursor


def shaped(matches: list[dict[str, Any]], names: dict[str, str]) -> list[tuple[str, str, Decimal, Decimal, Decimal]]:
    return [
        (
            names.get(row["exec_id"], row["exec_id"]), names.get(row["lot_id"], row["lot_id"]),
            Decimal(row["quantity"]),
            rounded(Decimal(row["cost"]), LOTS_PLACES), rounded(Decimal(row["gain"]), LOTS_PLACES),
        )
        for row in matches
    ]  # fmt: skip

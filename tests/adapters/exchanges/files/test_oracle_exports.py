"""Published export files of venues and wallets: every row has an outcome, and sums are those computed elsewhere."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests import oracles
from tests.adapters.exchanges.files.reads import read_file

pytestmark = pytest.mark.oracle
FILES = oracles.each("csv_exports", "*.csv")
BAD = {"binance_history.csv": 2, "bisq_trades.csv": 2, "rotki_generic_trades.csv": 1}  # on purpose, or by its figures


@pytest.mark.parametrize("path", FILES)
def test_every_row_has_an_outcome_and_balances_are_the_sums_of_the_file(path: Path) -> None:
    expected = json.loads(path.with_name("expected_counts.json").read_text())["files"][path.name]
    found = read_file(path)
    assert found.rows == expected["rows"]
    assert len(found.unreadable) == BAD.get(path.name, 0), [str(one.error) for one in found.unreadable]
    assert found.balances.parted is None
    if "net_change_by_coin" in expected:
        sums = {asset: Decimal(amount) for asset, amount in expected["net_change_by_coin"].items()}
        changes = {asset: amount for asset, amount in sums.items() if amount}
        changes["BTC"] -= Decimal("0.05")  # of a row without a time
        assert {asset: amount for asset, amount in found.balances.changes.items() if amount} == changes

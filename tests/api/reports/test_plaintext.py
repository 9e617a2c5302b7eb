"""The journal read by hledger and beancount themselves: they accept it, and have our balances."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from random import Random
from typing import Any

import pytest

from api.parameters import Format
from api.problems import Problem
from api.reports.plaintext import account_name, export
from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract, Kind, ListInstrument
from domain.order import OrderFillBusted
from domain.position import PositionKey, SettleFunding
from domain.values import Money, Side
from projections.models import journal
from projections.runner.runner import as_of
from projections.storage.rows import MemoryRows
from tests.desk import BTC, PERP, T0, Desk, fill

ODD = {
    "1INCHUSDT.SIM": Contract(Kind.SPOT, "1INCH", "USDT", "USDT"),
    "btc/usdt_swap.SIM": Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.001")),
    "btc-usdt-swap.SIM": Contract(Kind.LINEAR, "BTC", "USDT", "USDT", D("0.001")),
}
Sums = dict[tuple[str, str], D]
BEANCOUNT = """
import json, sys
from beancount import loader
from beancount.core import data
entries, errors, _ = loader.load_file(sys.argv[1])
names, sums = {}, {}
for entry in entries:
    if isinstance(entry, data.Open):
        names[entry.account] = entry.meta["name"]
    if isinstance(entry, data.Commodity):
        names[entry.currency] = entry.meta["name"]
for entry in entries:
    if isinstance(entry, data.Transaction):
        for posting in entry.postings:
            place = names[posting.account] + " " + names[posting.units.currency]
            sums[place] = sums.get(place, 0) + posting.units.number
shown = {place: format(amount, "f") for place, amount in sums.items()}
print(json.dumps({"errors": [str(error) for error in errors], "sums": shown}))
"""


@pytest.fixture(scope="module")
def rows() -> MemoryRows:
    """A desk that trades all kinds, late and busted too, with names that neither tool likes."""
    desk = Desk(costing=Costing(CostBasis.FIFO))
    for instrument_id, contract in ODD.items():
        desk.request(ListInstrument(instrument_id, contract, D("0.01"), D("0.01")))
    for n in range(60):
        desk.report(
            fill(
                f"E{n}", Side.SELL if n % 3 == 0 else Side.BUY, D(1 + n % 7) / 10, D(90 + n % 11), 600 * ((n * 7) % 60),
                instrument_id=[BTC, PERP, *ODD][n % 5], account_id=("main", "hedge")[n % 2],
                strategy_id=("trend", "Trend")[n % 4 // 2],
                fee=Money(D(n) / 1000, ("USDT", "BNB", "BTC", "1INCH")[n % 4]),
            )
        )  # fmt: skip
    busted = fill("B1", Side.BUY, "1", "1", 5)
    desk.report(busted)
    desk.report(OrderFillBusted(busted.key, "B1", 'off "market";\n\\', T0 + timedelta(days=40)))
    desk.report(SettleFunding(PositionKey("main", "trend", PERP), "F1", Money(D("-0.000000000000000001"), "BTC"), T0))
    return as_of(desk.log)


def written(rows: MemoryRows, kind: Format, to: Path) -> Path:
    to.write_text("".join(export(kind, journal.entries(rows, limit=None), journal.ledger(rows), "a\ntest; of it")))
    return to


def ours(rows: MemoryRows) -> Sums:
    return {
        (account_name(r["account_id"], r["account"], r["strategy_id"], r["instrument_id"]), r["asset"]): r["balance"]
        for r in journal.ledger(rows)
        if r["balance"]
    }


def hledger() -> str:
    """The tool. Under CI it is there, or something is wrong with CI."""
    tool = shutil.which("hledger")
    if tool is None:
        assert not os.environ.get("CI"), "hledger is not there, and .ci/run was to install it"
        pytest.skip("hledger is not there (Debian's package of that name)")
    return tool


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    return subprocess.run(command, text=True, capture_output=True, timeout=60, check=False, env=environment)


def test_hledger_reads_the_journal_and_has_the_same_balances(rows: MemoryRows, tmp_path: Path) -> None:
    tool = hledger()
    file = str(written(rows, Format.HLEDGER, tmp_path / "book.journal"))
    checked = run(tool, "-f", file, "check", "--strict")
    assert (checked.returncode, checked.stderr) == (0, "")
    shown = run(tool, "-f", file, "balance", "--flat", "--no-total", "-O", "csv")
    found: Sums = {}
    for name, amounts in list(csv.reader(io.StringIO(shown.stdout)))[1:]:
        for amount in re.findall(r'(-?[0-9.]+) ("[^"]+"|[A-Z]+)', amounts):
            found[name, amount[1].strip('"')] = D(amount[0])
    assert found == ours(rows)


@pytest.mark.parametrize("seed", [1, 2])
def test_both_tools_take_any_day(seed: int, tmp_path: Path) -> None:
    """Everything that can be requested of a desk or reported to it, late, busted, corrected and restated."""
    chance, desk = Random(seed), Desk(costing=Costing(CostBasis.HIFO, FeePolicy.EXPENSED, 2))
    chosen = [chance.choice((0, 1, 2, 3, 4, 5, 20)) for _ in range(150)]
    desk.live([(kind, *(chance.randrange(12) for _ in range(3)), chance.randrange(31)) for kind in chosen])
    rows = as_of(desk.log)
    assert len(journal.entries(rows, limit=None)) > 100
    checked = run(hledger(), "-f", str(written(rows, Format.HLEDGER, tmp_path / "book.journal")), "check", "--strict")
    assert (checked.returncode, checked.stderr) == (0, "")
    done = run(sys.executable, "-c", BEANCOUNT, str(written(rows, Format.BEANCOUNT, tmp_path / "book.beancount")))
    assert json.loads(done.stdout)["errors"] == []


def test_a_journal_that_was_tampered_with_is_refused_by_hledger(rows: MemoryRows, tmp_path: Path) -> None:
    tool = hledger()
    file = written(rows, Format.HLEDGER, tmp_path / "book.journal")
    lines = file.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if "BUY" in line)
    file.write_text("\n".join(lines[:at] + lines[at + 8 :]))
    assert run(tool, "-f", str(file), "check").returncode != 0


def test_beancount_reads_the_journal_and_has_the_same_balances(rows: MemoryRows, tmp_path: Path) -> None:
    file = written(rows, Format.BEANCOUNT, tmp_path / "book.beancount")
    done = run(sys.executable, "-c", BEANCOUNT, str(file))
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["errors"] == []
    sums = {tuple(place.rsplit(" ", 1)): D(amount) for place, amount in shown["sums"].items() if D(amount)}
    assert sums == ours(rows)


def test_what_beancount_would_round_is_refused_and_hledger_takes_it(tmp_path: Path) -> None:
    desk = Desk()
    desk.report(fill("E1", Side.BUY, "123456789.123456789012345678", "98765.432109876543210987"))
    rows = as_of(desk.log)
    with pytest.raises(Problem, match="beancount adds with 28"):
        written(rows, Format.BEANCOUNT, tmp_path / "book.beancount")
    file = written(rows, Format.HLEDGER, tmp_path / "book.journal")
    checked = run(hledger(), "-f", str(file), "check", "--strict")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_an_empty_book_is_an_empty_journal(tmp_path: Path) -> None:
    rows: Any = MemoryRows()
    for kind in (Format.HLEDGER, Format.BEANCOUNT):
        assert "balance " not in written(rows, kind, tmp_path / kind).read_text()


def test_names_beancount_cannot_have_stay_distinct(rows: MemoryRows, tmp_path: Path) -> None:
    text = written(rows, Format.BEANCOUNT, tmp_path / "book.beancount").read_text()
    named = re.findall(r'^1970-01-01 (?:open|commodity) (\S+)\n  name: "(.*)"$', text, re.MULTILINE)
    legal = defaultdict(set)
    for changed, name in named:
        legal[changed].add(name)
    assert all(len(names) == 1 for names in legal.values())
    assert legal["/1INCH"] == {"1INCH"}
    assert {"btc/usdt_swap.SIM", "btc-usdt-swap.SIM"} <= {name for names in legal.values() for name in names}

"""`daybook verify` covers marks, and `daybook commit-marks` those of before: what they say, and their exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from adapters.verify.mark_check import CheckedMarks, check_marks
from api.cli import run
from api.daybook import Daybook
from api.settings import Settings

pytestmark = pytest.mark.slow

Cli = Callable[..., tuple[int, str, str]]
CANDLES = "ts,open,high,low,close,volume\n" + "".join(f"2026-01-01T00:0{n}:00Z,1,1,1,{n + 2},9\n" for n in range(5))


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command on the test's database: exit code, stdout, stderr."""
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)
    monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path / "home"))

    def said(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(args)
        return code, *capsys.readouterr()

    return said


def test_verify_covers_imported_marks_and_names_the_altered_one(cli: Cli, database_url: str, tmp_path: Path) -> None:
    candles = tmp_path / "candles.csv"
    candles.write_text(CANDLES)
    assert cli("import-marks", str(candles), "--instrument", "BTCUSDT.SIM")[0] == 0
    code, out, _ = cli("verify")
    assert code == 0 and "5 marks and funding rates in 1 batch are what was recorded." in out
    event = json.loads(cli("log", "--json")[1])["events"][0]
    assert event["stream"] == "marks:candles" and event["actor"].startswith("os:")

    proof = json.loads(cli("prove-mark", "--instrument", "BTCUSDT.SIM", "--as-of", "1", "--json")[1])
    assert (json.loads(proof["leaf"])[3], proof["leaf_index"], proof["size"], proof["seq"]) == ("6", 4, 5, 1)
    assert (
        "Leaf 4 of the 5 in the batch that is recorded as seq 1." in cli("prove-mark", "--instrument", "BTCUSDT.SIM")[1]
    )
    code, _, err = cli("prove-mark", "--instrument", "X.SIM")
    assert code == 1 and "a mark of X.SIM" in err

    with psycopg.connect(database_url) as owner:
        owner.execute("ALTER TABLE market.marks DISABLE TRIGGER ALL")
        owner.execute("UPDATE market.marks SET price = 77 WHERE price = 4")
        owner.execute("DELETE FROM market.marks WHERE price = 6")
    code, _, err = cli("verify")
    assert code == 1
    assert "altered: the mark 5003 of the batch recorded as seq 1: 77 of BTCUSDT.SIM at 2026-01-01T00:03:00" in err
    assert "removed: the mark 5005 of the batch recorded as seq 1" in err
    code, out, _ = cli("verify", "--json")
    shown = json.loads(out)
    assert (code, shown["is_proved"], shown["finding"]) == (1, False, None)
    assert shown["marks"]["batches"] == 0
    assert [(one["fault"], one["seq"], one["mark_id"]) for one in shown["marks"]["wrong"]] == [
        ("altered", 1, 5003), ("removed", 1, 5005),
    ]  # fmt: skip
    assert cli("verify", "--from", "2")[0] == 0, "marks are compared with the whole log only"


def test_serving_commits_the_marks_of_before(database_url: str) -> None:
    with psycopg.connect(database_url) as older:
        older.execute("INSERT INTO market.marks VALUES (1, 'BTCUSDT.SIM', '2025-12-01Z', 1, 'old', '2025-12-01Z')")
    with Daybook.open(Settings(database_url=database_url)) as daybook, daybook.leading():
        (logged,) = daybook.log.select()
    assert (logged.recorded.stream, logged.recorded.actor) == ("marks:*", "system:upgrade")
    assert check_marks(database_url) == CheckedMarks(1, 1, 0, 0, [])


def test_marks_of_before_are_said_to_be_uncovered_until_they_are_committed(cli: Cli, database_url: str) -> None:
    assert cli("status")[0] == 0
    with psycopg.connect(database_url) as older:
        older.execute("INSERT INTO market.marks VALUES (1, 'BTCUSDT.SIM', '2025-12-01Z', 1, 'old', '2025-12-01Z')")
    code, _, err = cli("verify")
    assert code == 0 and "1 price was recorded before prices were committed to the log" in err
    assert json.loads(cli("commit-marks", "--json")[1]) == {"committed": 1}
    assert "Every price on record is committed" in cli("commit-marks")[1]
    code, out, err = cli("verify")
    assert code == 0 and "1 mark or funding rate in 1 batch is" in out and "before" not in err

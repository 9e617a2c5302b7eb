"""Statements of a day or a month: they add up, are the journal's figures, and the same bytes each time."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import cli
from api.parameters import Format
from api.problems import Problem
from api.reports.catalog import REPORTS, Parameters
from api.reports.digest import Digest
from api.reports.make import statement_bytes
from api.statements.charts import bars, curve
from api.statements.periods import period_of
from api.statements.statement import bases, gathered
from domain.account import BookEntry, ChargeFee, Costing, EntryKind, Indicator
from domain.errors import InvalidInput
from domain.values import ZERO, Mark, Money, Side
from projections.models import journal, positions
from projections.runner.runner import as_of
from tests.api.client import BTC as BINANCE
from tests.api.client import fill as fill_report
from tests.desk import BTC, PERP, T0, Desk, costings, days, fill, fill_days

DAY = timedelta(days=1)
NEEDED = {"restatement": ("--day", "2026-01-02"), "statement": ("2026-01", "--account", "main")}
MARKS = {BTC: Mark(BTC, D(150), "SIM", T0)}


def digest(form: Format, day: str = "2026-03", seq: int = 1) -> Digest:
    return Digest("statement", form, seq, "00" * 32, "1.0", Parameters("main", day=day))


@pytest.fixture
def desk() -> Desk:
    """A month: bought on the first, sold in part on the second, a fee and an opening balance, all bought back later."""
    made = Desk()
    made.report(BookEntry("main", "O1", EntryKind.OPENING, Indicator.CREDIT, Money(D(1000), "USDT"), "start", T0 - DAY))
    made.report(fill("E1", Side.BUY, "3", "100", fee=Money(D("0.5"), "USDT")))
    made.report(
        fill("E2", Side.SELL, "1", "130", 24 * 60), fill("P1", Side.SELL, "2", "300", 24 * 60, instrument_id=PERP)
    )
    made.report(ChargeFee("main", "F1", Money(D(2), "USDT"), "custody <b>&", T0 + DAY))
    made.report(fill("E3", Side.SELL, "2", "140", 24 * 60 * 40), fill("H", Side.BUY, "1", "1", account_id="hedge"))
    return made


def test_a_month_opens_moves_and_closes_and_values_what_was_open_then(desk: Desk) -> None:
    shown = gathered(as_of(desk.log), "main", period_of("2026-03"), seq=9, marks=MARKS)
    usdt = next(row for row in shown.balances if row["asset"] == "USDT" and row["venue"] == "SIM")
    assert (usdt["opening"], usdt["in"], usdt["out"], usdt["closing"]) == (ZERO, D(130), D("300.5"), D("-170.5"))
    other = next(row for row in shown.balances if row["venue"] == "Unassigned")
    assert (other["opening"], other["closing"]) == (D(1000), D(998))
    result = {row["asset"]: row for row in shown.result}["USDT"]
    assert (result["realized"], result["fees"], result["net"]) == (D(30), D("-2.5"), D("27.5"))
    spot, perp = sorted(shown.positions, key=lambda row: str(row["instrument_id"]))
    assert (spot["quantity"], spot["cost"], spot["avg_px"], spot["unrealized"]) == (D(2), D(200), D(100), D(100))
    assert (perp["quantity"], perp["mark"], perp["unrealized"]) == (D(-2), None, None)
    assert shown.entries_count == len(shown.entries) == 4
    assert shown.curves["USDT"][-1][1] == D("27.5")
    day = gathered(as_of(desk.log), "main", period_of("2026-03-01"), seq=9, marks=MARKS)
    assert [row["quantity"] for row in day.positions] == [D(3)]
    assert [row["net"] for row in day.result] == [D("-0.5")]


@settings(max_examples=40)
@given(days | fill_days, costings, st.sampled_from(["2026-03-01", "2026-03", "2026-02-28", "2026-04"]))
def test_every_statement_adds_up_to_the_journal(day: list[tuple[int, ...]], costing: Costing, of: str) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log)
    period = period_of(of)
    shown = gathered(rows, "main", period, seq=1, marks={})
    closing = {
        (row["account"].partition(":")[2], row["asset"]): row["balance"]
        for row in journal.trial_balance(rows, account_id="main", upto=period.last)
        if row["account"].startswith("Assets:") and row["balance"]
    }
    assert {(row["venue"], row["asset"]): row["closing"] for row in shown.balances if row["closing"]} == closing
    assert all(row["opening"] + row["in"] - row["out"] == row["closing"] for row in shown.balances)
    nets = {row["asset"]: row["net"] for row in shown.result}
    for asset, net in nets.items():
        assert sum((row["net"] for row in shown.by_instrument if row["asset"] == asset), ZERO) == net
        if asset in shown.curves:
            assert shown.curves[asset][-1][1] == net
    if of == "2026-04":  # nothing comes after it
        now = [
            row
            for row in positions.positions(rows, account_id="main")
            if row["kind"] and (row["quantity"] or row["cost"])
        ]
        assert [(row["instrument_id"], row["quantity"], row["cost"]) for row in shown.positions] == [
            (row["instrument_id"], row["quantity"], row["cost"]) for row in now
        ]


@pytest.mark.parametrize("form", [Format.HTML, Format.PDF, Format.JSON])
def test_one_statement_has_one_file(desk: Desk, form: Format) -> None:
    first, again = (statement_bytes(as_of(desk.log), digest(form), MARKS) for _ in range(2))
    assert first == again
    assert first != statement_bytes(as_of(desk.log), digest(form, "2026-03-01"), MARKS)
    empty = statement_bytes(as_of(desk.log), digest(form, "2025-01"), {})
    assert len(empty) > 100


def test_the_page_shows_text_of_others_as_text_and_needs_nothing_else(desk: Desk) -> None:
    page = statement_bytes(as_of(desk.log), digest(Format.HTML), MARKS).decode()
    assert "custody &lt;b&gt;&amp;" in page
    assert not re.search(r"<script|https?://|src=|@import|url\(", page)
    assert page.count("<svg") == 2
    assert "Statement of account main" in page


def test_a_statement_says_what_each_kind_of_figure_rests_on(desk: Desk) -> None:
    """No figure at a mark is called a sum of journal lines, in any form; where nothing is held, no mark is named."""
    page = statement_bytes(as_of(desk.log), digest(Format.HTML), MARKS).decode()
    held = gathered(as_of(desk.log), "main", period_of("2026-03"), seq=9, marks=MARKS)
    stated = bases(9, "abc", has_positions=bool(held.positions))
    assert held.positions and all(f"{figures}: " in page for figures, _ in stated) and "Every figure" not in page
    values = dict(stated)["Values and unrealized results"]
    assert "recorded in the log by batches" in values and values in page
    assert "journal lines" in stated[0].rests_on and "root is abc" in stated[0].rests_on
    assert all("journal" not in basis for figures, basis in stated[1:])
    assert len(bases(9, "abc", has_positions=False)) == 1


def test_the_pdf_has_the_figures_and_text_it_cannot_show_does_not_stop_it() -> None:
    desk = Desk()
    desk.report(ChargeFee("main", "F1", Money(D("1234.5"), "USDT"), "保管料 (custody)", T0))
    desk.report(*(fill(f"E{n}", Side.BUY if n % 2 else Side.SELL, "1", str(90 + n % 20), n) for n in range(150)))
    pdf = statement_bytes(as_of(desk.log), digest(Format.PDF), {})
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", pdf)) > 3


def test_a_pdf_has_other_letters_in_a_font_of_the_desk_and_codes_of_what_that_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def pdf(narrative: str) -> bytes:
        desk = Desk()
        desk.report(ChargeFee("main", "F1", Money(D(1), "USDT"), narrative, T0))
        return statement_bytes(as_of(desk.log), digest(Format.PDF), {})

    plain = pdf("custody")
    chinese = pdf("币")
    assert len(chinese) > len(plain) - 100 and b"FontFile2" not in chinese, "written as its code"
    font = next(iter(sorted(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"))), None)
    if font is None:
        pytest.skip("no TrueType font on this machine")
    monkeypatch.setenv("DAYBOOK_PDF_FONT", str(font))
    greek = pdf("λόγος")
    assert b"FontFile2" in greek and greek == pdf("λόγος"), "embedded, and the same bytes again"
    assert pdf("custody") == plain, "Latin letters alone need no other font"
    (tmp_path / "no.ttf").write_bytes(b"no font")
    monkeypatch.setenv("DAYBOOK_PDF_FONT", str(tmp_path / "no.ttf"))
    with pytest.raises(Problem, match="no TrueType font"):
        pdf("λόγος")


def test_a_period_is_a_day_or_a_month() -> None:
    assert period_of("2026-02")[:2] == ("2026-02-01", "2026-02-28")
    assert period_of("2024-02-29").name == "29 February 2024"
    assert period_of("2026-12").end == datetime(2027, 1, 1, tzinfo=UTC)
    for bad in ("2026", "2026-13", "2026-02-30", "yesterday", "", "2026-1-1", "20260101", "2026-W01-1"):
        with pytest.raises(InvalidInput):
            period_of(bad)


@given(st.lists(st.tuples(st.integers(0, 86399), st.decimals(-(10**9), 10**9, places=8)), max_size=30))
def test_charts_stay_in_their_box(steps: list[tuple[int, D]]) -> None:
    shown = [(T0.replace(hour=0) + timedelta(seconds=second), value) for second, value in sorted(steps)]
    drawn = curve(shown, T0.replace(hour=0), T0.replace(hour=0) + DAY)
    assert all(-1e-9 <= x <= 1 + 1e-9 and -1e-9 <= y <= 1 + 1e-9 for x, y in drawn.points)
    assert all(-1e-9 <= tick.place <= 1 + 1e-9 for tick in drawn.levels)
    assert len(drawn.levels) >= 2
    made, zero = bars([(str(n), value) for n, (_, value) in enumerate(steps)])
    assert all(0 <= bar.start <= bar.end <= 1 and (bar.start == zero or bar.end == zero) for bar in made)


Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], database_url: str) -> Run:
    """Runs a command in this process, on a database of the test's own with a few trades."""
    from adapters.log.postgres import PostgresLog
    from adapters.writer.writer import Writer
    from api.clock import now
    from api.intake.venue_reports.parsing import VENUE_REPORT

    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)

    def done(*args: str) -> subprocess.CompletedProcess[bytes]:
        code = cli.run(args)
        sys.stdout.flush()
        said = capfdbinary.readouterr()
        return subprocess.CompletedProcess(args, code, said.out, said.err)

    assert done("account", "open", "main").returncode == 0
    facts = ("--base", "BTC", "--quote", "USDT", "--tick-size", "0.01", "--lot-size", "0.001")
    assert done("instrument", "add", BINANCE, *facts).returncode == 0
    fills = [fill_report(f"E-{n}", cl_ord_id=f"O-{n}", trade_seq=n, last_px=str(100 + n)) for n in range(5)]
    with PostgresLog(database_url) as log:
        Writer(log, now).report([VENUE_REPORT.validate_python(one).report() for one in fills], actor="test")
    return done


@pytest.mark.slow
def test_every_report_is_written_from_the_command_line_and_again_from_its_digest(run: Run, tmp_path: Path) -> None:
    kept: list[tuple[tuple[str, str], str, bytes]] = []
    for report, form in zip(REPORTS, cycle(("csv", "json", "parquet")), strict=False):
        requested = NEEDED.get(report, ())
        table = run("report", report, *requested, "--allow-missing")
        assert (report, table.returncode, b"Traceback" in table.stderr) == (report, 0, False)
        file = tmp_path / f"{report}.{form}"
        done = run("report", report, *requested, "--format", form, "--output", str(file), "--allow-missing")
        assert (report, form, done.returncode, done.stdout) == (report, form, 0, b"")
        kept.append(((report, form), done.stderr.decode().split("digest ")[1].strip(), file.read_bytes()))
    for form in ("html", "pdf", "json"):
        done = run("report", "statement", "2026-01", "--account", "main", "--format", form, "--allow-missing")
        assert (form, done.returncode) == (form, 0), done.stderr
        kept.append((("statement", form), done.stderr.decode().split("digest ")[1].strip(), done.stdout))
    assert (
        run("order", "submit", "A", "--instrument", BINANCE, "--side", "BUY", "--qty", "1", "--price", "9").returncode
        == 0
    )
    for what, text, was in kept:
        again = run("report", "--reproduce", text, "--allow-missing")
        assert (what, again.returncode, again.stdout == was) == (what, 0, True), again.stderr
    bad = run("report", "--reproduce", "dbr1.nonsense")
    assert (bad.returncode, bad.stdout, b"digest" in bad.stderr) == (1, b"", True)
    mixed = run("report", "--reproduce", kept[0][1], "pnl")
    assert (mixed.returncode, mixed.stderr.count(b"\n")) == (2, 1)


def test_the_journal_is_written_for_other_tools_from_the_command_line(run: Run, tmp_path: Path) -> None:
    for form, begins in (("hledger", b"; Daybook, all accounts"), ("beancount", b";; Daybook, all accounts")):
        done = run("report", "journal", "--format", form)
        assert (done.returncode, done.stdout.startswith(begins), b"100" in done.stdout) == (0, True, True)
    wrong = run("report", "journal", "--format", "hledger", "--day", "2026-01-02")
    assert (wrong.returncode, b"--account alone" in wrong.stderr) == (2, True)
    nowhere = run("report", "pnl", "--format", "csv", "--output", str(tmp_path / "no" / "file"))
    assert (nowhere.returncode, nowhere.stderr.count(b"\n")) == (2, 1)
    shown: Any = json.loads(run("report", "statement", "2026-01-02", "--account", "main", "--json").stdout)
    assert [row["closing"] for row in shown["balances"]] == ["5", "-510.5"]
    table = run("report", "statement", "2026-01-02", "--account", "main").stdout.decode()
    assert "Statement of account main, 2 January 2026" in table
    assert "Positions at the end" in table
    for args in (["2026-13", "--account", "main"], ["2026-01"], ["2026-01", "--account", "main", "--format", "xml"]):
        done = run("report", "statement", *args)
        assert (args, done.returncode, done.stdout) == (args, 2, b"")

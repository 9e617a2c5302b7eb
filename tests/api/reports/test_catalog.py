"""Every report of the catalog, on the command line and over HTTP: every form, the same bytes, the same columns.

What is unknown or missing is said in all of them.
"""

import csv
import io
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from api.daybook import Daybook
from api.main import create_app
from api.parameters import Format
from api.reports.catalog import MEDIA_TYPES, REPORTS, Report, formats_over_http
from api.reports.cli import report as commands
from api.reports.columns import MEANINGS, meaning_of
from api.reports.contents import CONTENTS, SHAPES, all_columns, columns_of
from api.terminal.columns import TABLES
from projections.analytics import daily_pnl, execution_quality, exposure
from tests.api.client import BTC, bought_and_sold, fill, trade
from tests.api.command_line import Run

pytestmark = pytest.mark.slow

DAY, NEXT = "2026-01-02", "2026-01-03"
HOUR_NS = 3_600_000_000_000
SPAN = {"from": DAY, "to": NEXT}
NEEDED: dict[str, dict[str, str]] = {
    "restatement": {"day": DAY},
    "statement": {"account_id": "main", "day": DAY},
    **dict.fromkeys(("daily", "equity", "reconciliation", "statistics", "quality"), SPAN),
}
ROWS = (Format.JSON, Format.CSV, Format.PARQUET)


def arguments(name: str, parameters: dict[str, str]) -> list[str]:
    """The parameters of a request as options of the command."""
    args = []
    for field, value in parameters.items():
        if (name, field) == ("statement", "day"):
            args.append(value)
        else:
            args += ["--" + field.removesuffix("_id").replace("_", "-"), value]
    return args


@pytest.fixture
def desk(desk: httpx.Client) -> httpx.Client:
    """The book records nothing by itself between two reports."""
    quiet = desk.post("/v1/policies/MARKS/pause", json={"account_id": "firm", "reason": "reports are compared"})
    assert quiet.is_success
    return desk


@pytest.fixture
def book(desk: httpx.Client, daybook: Daybook) -> httpx.Client:
    """Trades with fees in two currencies, valued at a mark, a limit, and an account without anything."""
    bought_and_sold(desk)
    assert desk.post("/v1/accounts", json={"account_id": "spare", "base_currency": "USDT"}).is_success
    assert desk.post("/v1/limits", json={"account_id": "main", "measure": "MAX_POSITION", "limit": "4"}).is_success
    marks = [
        {"instrument_id": BTC, "price": "120", "source": "test", "mark_at": f"{day}T03:00:00Z"} for day in (DAY, NEXT)
    ]
    assert desk.post("/v1/marks", json={"marks": marks}).is_success
    trade(desk, fill("E-9", trade_seq=9, cl_ord_id="B-9", commission={"amount": "0.001", "currency": "BNB"}))
    daybook.runner.catch_up()
    return desk


@pytest.fixture
def run(
    inside: Run, daybook: Daybook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, bytes, str]]:
    """Runs `daybook report` on the open book: the exit code, the file that it wrote, and stderr."""
    monkeypatch.setattr("api.reports.cli_tables.opened", lambda: nullcontext(daybook))

    def done(*args: str) -> tuple[int, bytes, str]:
        file = tmp_path / "written"
        file.unlink(missing_ok=True)
        ran = inside("report", *args, "--output", str(file), url=daybook.url)
        assert ran.stdout == ""
        return ran.returncode, file.read_bytes() if file.exists() else b"", ran.stderr

    return done


def test_commands_routes_contents_tables_and_meanings_are_those_of_the_catalog() -> None:
    assert {command.name for command in commands.registered_commands} == {*REPORTS, "orders"}
    assert CONTENTS.keys() == TABLES.keys() == REPORTS.keys()
    places = {(report.name, part.name) for report in REPORTS.values() for part in report.parts}
    assert SHAPES.keys() == places == {(name, part) for name, parts in TABLES.items() for part in parts}
    for name, part in places:
        report = REPORTS[name]
        columns = columns_of(report, report.part(part))
        assert set(report.part(part).key) <= set(columns)
        for column in columns:
            assert meaning_of(name, part, column).meaning
    assert {name.rpartition(".")[2] for name in MEANINGS} == all_columns() | {"change"}
    assert REPORTS["daily"].groups == daily_pnl.GROUPS
    assert REPORTS["quality"].groups == execution_quality.GROUPS
    assert REPORTS["leverage"].groups == exposure.CUTS


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_no_report_lacks_a_form(report: Report) -> None:
    assert set(report.formats) >= {Format.TABLE, *ROWS}
    assert set(formats_over_http(report)) == set(report.formats) - {Format.TABLE} <= MEDIA_TYPES.keys()


@pytest.mark.slow
def test_a_report_is_the_same_bytes_on_the_command_line_over_http_and_hours_later(
    book: httpx.Client, run: Callable[..., tuple[int, bytes, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, passed = time.time_ns, 0
    left = 24 * HOUR_NS - real() % (24 * HOUR_NS)  # of the day: the table of a fund gets a row when it ends
    shift = min(3 * HOUR_NS, left * 9 // 10)
    for report in REPORTS.values():
        needed = NEEDED.get(report.name, {})
        for form in report.formats:
            first = run(report.name, *arguments(report.name, needed), "--format", form)
            assert (report.name, form, first[0] in (0, 3), first[1] != b"") == (report.name, form, True, True), first
            monkeypatch.setattr("time.time_ns", lambda: real() + shift)
            later = run(report.name, *arguments(report.name, needed), "--format", form)
            monkeypatch.setattr("time.time_ns", real)
            assert (report.name, form, later[1] == first[1]) == (report.name, form, True)
            assert later[2] == first[2]
            passed += 1
            if form is Format.TABLE:
                continue
            answer = book.get(f"/v1/reports/{report.name}", params=needed | {"format": form})
            assert (report.name, form, answer.content == first[1]) == (report.name, form, True)
            digest = answer.headers["Daybook-Report-Digest"]
            assert f"digest {digest}\n" in first[2]
            assert ("Daybook-Missing" in answer.headers) == (first[0] == 3)
    assert passed == sum(len(report.formats) for report in REPORTS.values())


@pytest.mark.slow
def test_an_account_without_rows_gives_the_same_columns_and_exit_code_0(
    book: httpx.Client, run: Callable[..., tuple[int, bytes, str]]
) -> None:
    for report in REPORTS.values():
        given = NEEDED.get(report.name, {}) | {"account_id": "spare"}
        for part in report.parts:
            args = [*arguments(report.name, given), *(["--part", part.name] if len(report.parts) > 1 else [])]
            code, shown, said = run(report.name, *args, "--format", "csv")
            assert (report.name, part.name, code) == (report.name, part.name, 0), said
            _, table, _ = run(report.name, *args, "--format", "parquet")
            columns = list(columns_of(report, part))
            assert next(csv.reader(io.StringIO(shown.decode()))) == columns
            assert pq.read_schema(io.BytesIO(table)).names == columns
        answer = book.get(f"/v1/reports/{report.name}", params={"format": "csv", "part": part.name} | given)
        assert (answer.status_code, answer.content) == (200, shown)


@pytest.mark.slow
def test_changes_have_the_same_columns_and_one_more_and_the_place_to_go_on_from(
    book: httpx.Client, run: Callable[..., tuple[int, bytes, str]]
) -> None:
    head = book.get("/v1/events", params={"limit": 1}).json()["seq"]
    for report in REPORTS.values():
        needed = NEEDED.get(report.name, {}) | {"since_seq": str(head)}
        code, shown, said = run(report.name, *arguments(report.name, needed), "--format", "csv", "--allow-missing")
        assert (report.name, code, f"seq {head}\n" in said) == (report.name, 0, True), said
        header, *rows = csv.reader(io.StringIO(shown.decode()))
        assert header == ["change", *columns_of(report, report.parts[0])]
        assert {row[0] for row in rows} <= {"set"}
        if not report.is_valued and report.parts[0].key:
            assert rows == []
        answer = book.get(f"/v1/reports/{report.name}", params=needed | {"format": "csv"})
        assert (answer.content, answer.headers["Daybook-Seq"]) == (shown, str(head))
    first = book.get("/v1/reports/lots", params={"since_seq": 0}).json()
    assert [row["change"] for row in first["items"]] == ["set"] * len(first["items"]) != []
    trade(book, fill("E-10", trade_seq=10, cl_ord_id="S-1", side="SELL", last_qty="2"))
    later = book.get("/v1/reports/lots", params={"since_seq": first["seq"], "min_seq": first["seq"] + 1}).json()
    gone = [row for row in later["items"] if row["change"] == "removed"]
    assert {row["lot_id"] for row in gone} <= {row["lot_id"] for row in first["items"]}
    assert (len(gone) > 0, {row["quantity"] for row in gone}, later["since_seq"]) == (True, {None}, first["seq"])


UNKNOWN = {
    "account_id": ("mian", "main"), "strategy_id": ("mani", "main"), "instrument_id": ("BTCUSD.BINANCE", BTC),
    "asset": ("USDD", "USDT"), "currency": ("USTD", "USDT"), "mark": ("BTCUSDT.BINANCA=1", BTC),
    "equal": ("USDT=USDD", "USDT"),
}  # fmt: skip


def test_what_is_not_on_record_is_an_error_that_names_what_is_nearest(
    book: httpx.Client, run: Callable[..., tuple[int, bytes, str]]
) -> None:
    checked = set()
    for report in REPORTS.values():
        for field, (wrong, near) in UNKNOWN.items():
            if field not in report.parameters:
                continue
            checked.add(field)
            given = NEEDED.get(report.name, {}) | {field: wrong}
            code, shown, said = run(report.name, *arguments(report.name, given), "--format", "csv")
            assert (report.name, field, code, shown) == (report.name, field, 1, b""), said
            name = wrong.split("=")[1] if field == "equal" else wrong.split("=")[0]
            assert (name in said, near in said, said.count("\n")) == (True, True, 1), said
            answer = book.get(f"/v1/reports/{report.name}", params=given)
            assert (report.name, field, answer.status_code, near in answer.json()["near"]) == (
                report.name,
                field,
                404,
                True,
            )
    assert checked == UNKNOWN.keys()


def test_a_missing_mark_or_rate_is_exit_code_3_in_every_form_unless_allowed(
    desk: httpx.Client, daybook: Daybook, run: Callable[..., tuple[int, bytes, str]]
) -> None:
    """A position that has no mark, in an account whose base currency nothing converts to."""
    euro = {"account_id": "euro", "base_currency": "EUR"}
    assert desk.post("/v1/accounts", json=euro).is_success
    trade(desk, fill(account_id="euro"), fill("E-2", account_id="euro", cl_ord_id="A-2", side="SELL", last_qty="0.5"))
    limit = {"account_id": "euro", "measure": "MAX_GROSS_EXPOSURE", "limit": "1000", "currency": "USDT"}
    assert desk.post("/v1/limits", json=limit).is_success
    daybook.runner.catch_up()
    valued = [report for report in REPORTS.values() if report.is_valued]
    assert len(valued) == 13
    for report in valued:
        given = {"restatement": {"day": DAY}, "statement": {"day": DAY}}.get(report.name, {}) | {"account_id": "euro"}
        if report.is_dated:
            given |= SPAN
        for form in report.formats:
            args = [*arguments(report.name, given), "--format", form]
            code, shown, said = run(report.name, *args)
            assert (report.name, form, code, "Missing: " in said, bool(shown)) == (report.name, form, 3, True, True)
            allowed = run(report.name, *args, "--allow-missing")
            assert (report.name, form, allowed[0], allowed[1] == shown) == (report.name, form, 0, True)
            if form is Format.JSON:
                assert json.loads(shown)["missing"]
        answer = desk.get(f"/v1/reports/{report.name}", params=given | {"format": "csv"})
        assert (answer.status_code, bool(answer.headers["Daybook-Missing"])) == (200, True)


def test_totals_have_what_is_in_another_currency(book: httpx.Client) -> None:
    (total,) = book.get("/v1/reports/pnl", params={"format": "json"}).json()["totals"]
    assert total["other_fees"] == {"BNB": "0.001"}
    (total,) = book.get("/v1/pnl").json()["totals"]
    assert total["other_fees"] == {"BNB": "0.001"}


def test_output_is_written_in_the_form_of_its_suffix_and_never_ignored(
    book: httpx.Client, inside: Run, daybook: Daybook, tmp_path: Path
) -> None:
    def done(*args: str) -> Any:
        return inside("report", *args, url=daybook.url)

    for suffix, begins in (
        (".json", b'{"report"'),
        (".csv", b"account_id,"),
        (".parquet", b"PAR1"),
        (".txt", b"Positions"),
    ):
        for name, args in (("after", ("positions", "--output")), ("before", ())):
            file = tmp_path / f"{name}{suffix}"
            ran = done(*args, str(file)) if args else done("--output", str(file), "positions")
            assert (suffix, name, ran.returncode, ran.stdout) == (suffix, name, 0, "")
            assert file.read_bytes().startswith(begins), suffix
    assert done("positions", "-o", str(tmp_path / "x.csv"), "--format", "json").returncode == 0
    assert (tmp_path / "x.csv").read_bytes().startswith(b'{"report"')
    for args in (
        ("positions", "--output", str(tmp_path / "x.pdf")),
        ("--output", str(tmp_path / "a"), "positions", "--output", str(tmp_path / "b")),
        ("positions", "--output", str(tmp_path / "no" / "file")),
    ):
        ran = done(*args)
        assert (args, ran.returncode, ran.stdout) == (args, 2, ""), ran.stderr
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    assert json.loads(done("--json", "positions").stdout)["report"] == "positions"


def test_the_route_documents_every_form(daybook: Daybook) -> None:
    described = create_app(daybook).openapi()["paths"]["/v1/reports/{report}"]["get"]
    types = {MEDIA_TYPES[form].partition(";")[0] for report in REPORTS.values() for form in formats_over_http(report)}
    assert described["responses"]["200"]["content"].keys() == types
    taken = {name for report in REPORTS.values() for name in report.parameters}
    shown = {parameter["name"] for parameter in described["parameters"]}
    assert {{"first": "from", "last": "to"}.get(name, name) for name in taken} <= shown

"""Reports whole, in every form, with a digest from which each is made again."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal as D
from typing import Any

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
from fastapi import Request, Response

from api.daybook import Daybook
from api.http.reads import Reads
from api.reports.arrow_copy import copied
from api.reports.catalog import REPORTS, Parameters
from api.reports.digest import Digest, parse
from api.reports.files import Shape, json_text, shapes_of
from domain.errors import InvalidInput
from tests.api.client import BTC, bought_and_sold, fill, trade
from tests.rfc6962 import mth

pytestmark = pytest.mark.slow

DIGEST = "Daybook-Report-Digest"
FORMS = ("json", "csv", "parquet")
DAY = "2026-01-02"
REQUESTED: dict[str, dict[str, str]] = {  # what a report needs besides its name, and days in which something happened
    "restatement": {"day": DAY},
    "statement": {"account_id": "main", "day": DAY},
    "daily": {"from": DAY, "to": "2026-01-03"},
    "equity": {"from": DAY, "to": "2026-01-03"},
    "statistics": {"from": DAY, "to": "2026-01-03"},
}


@pytest.fixture
def book(desk: httpx.Client) -> httpx.Client:
    """A book with trades, a mark, a limit and fees in three currencies."""
    bought_and_sold(desk)
    desk.post("/v1/limits", json={"account_id": "main", "measure": "MAX_POSITION", "limit": "4"})
    other = {"cl_ord_id": "B-9", "commission": {"amount": "0.001", "currency": "BNB"}}
    desk.post("/v1/marks", json={"marks": [mark("120", "2026-01-02T04:00:00Z")]})
    trade(desk, fill("E-9", trade_seq=9, **other))
    return desk


def mark(price: str, at: str) -> dict[str, str]:
    return {"instrument_id": BTC, "price": price, "source": "test", "mark_at": at}


def had(book: httpx.Client, report: str, **requested: Any) -> httpx.Response:
    head = book.get("/v1/events", params={"limit": 1}).json()["seq"]
    params = {"min_seq": head} | REQUESTED.get(report, {}) | requested
    if report == "restatement":
        params.pop("min_seq")
    answer = book.get(f"/v1/reports/{report}", params=params)
    assert answer.status_code == 200, answer.text
    return answer


def parts() -> list[tuple[str, str]]:
    return [(report.name, part.name) for report in REPORTS.values() for part in report.parts]


def test_every_part_has_the_same_rows_in_every_form_and_is_reproduced_from_its_digest(book: httpx.Client) -> None:
    before = {(name, part): {form: had(book, name, format=form, part=part) for form in FORMS} for name, part in parts()}
    filled = {place for place, answers in before.items() if check(*place, answers)}
    assert {name for name, _ in filled} == REPORTS.keys()
    late = fill("E-0", transact_time="2026-01-01T00:00:00Z", cl_ord_id="L-1")
    trade(book, late, fill("E-77", cl_ord_id="L-2"))
    book.post("/v1/marks", json={"marks": [mark("99", "2026-01-02T05:00:00Z")]})
    for place, answers in before.items():
        for form, answer in answers.items():
            again = book.get("/v1/reports", params={"digest": answer.headers[DIGEST]})
            assert (place, form, again.content) == (place, form, answer.content)
            assert again.headers["content-type"] == answer.headers["content-type"]
        assert had(book, place[0], part=place[1], format="json").content != answers["json"].content


def check(name: str, part_name: str, answers: dict[str, httpx.Response]) -> int:
    """The same rows in every form; how many there are."""
    report = REPORTS[name]
    part = report.part(part_name)
    shown = json.loads(answers["json"].content)
    assert (shown["report"], shown["digest"]) == (name, answers["json"].headers[DIGEST])
    lines = list(csv.DictReader(io.StringIO(answers["csv"].text)))
    table = pq.read_table(io.BytesIO(answers["parquet"].content))
    assert table.schema.metadata[b"daybook.digest"].decode() == answers["parquet"].headers[DIGEST]
    shapes = shapes_of(report, part)
    items = [{column: shown[column] for column in shapes}] if part.is_single else shown[part_name]

    def read(row: dict[str, Any], **form: bool) -> dict[str, Any]:
        return {column: _read(shape, row[column], **form) for column, shape in shapes.items()}

    assert [read(line, is_csv=True) for line in lines] == [read(row) for row in items]
    assert table.to_pylist() == [read(row, is_parquet=True) for row in items]
    assert list(lines[0] if lines else shapes) == table.column_names == list(shapes)
    return len(items)


def _read(shape: Shape, value: Any, *, is_csv: bool = False, is_parquet: bool = False) -> Any:
    """A value out of JSON or CSV as what it stands for; of Parquet JSON stays text."""
    if value is None or (is_csv and value == "" and shape is not Shape.TEXT):
        return None
    match shape:
        case Shape.NUMBER:
            return D(value)
        case Shape.TIME:
            return datetime.fromisoformat(value)
        case Shape.DAY:
            return date.fromisoformat(value)
        case Shape.WHOLE:
            return int(value)
        case Shape.YES_NO:
            return value in (True, "true")
        case Shape.AMOUNTS:
            amounts = json.loads(value) if is_csv else value
            return sorted((currency, D(amount) if amount else None) for currency, amount in amounts.items())
        case Shape.JSON:
            return json_text(value) if is_parquet else json.loads(value) if is_csv else value
        case _:
            return value if is_parquet else value or None


def test_the_form_is_the_accepted_one_and_bad_parameters_are_named(book: httpx.Client) -> None:
    for accept, media_type in [
        ("text/csv", "text/csv; charset=utf-8"), ("*/*", "application/json"),
        ("text/html, application/vnd.apache.parquet;q=0.9", "application/vnd.apache.parquet"),
    ]:  # fmt: skip
        answer = book.get("/v1/reports/balances", headers={"Accept": accept})
        assert (accept, answer.headers["content-type"]) == (accept, media_type)
    for path, query, field in [
        ("balances", {"format": "pdf"}, "format"), ("statement", {"format": "csv"}, "day"),
        ("statement", {"account_id": "main", "day": "2026-01", "format": "hledger"}, "format"),
        ("journal", {"day": "2026-01"}, "day"), ("journal", {"day": "2026-13-01"}, "day"),
        ("pnl", {"mark": "x"}, "mark"),
            ("balances", {"strategy_id": "main"}, "strategy_id"), ("daily", {"by": "moon"}, "by"),
            ("statement", {"day": "2026-01", "format": "pdf", "part": "result"}, "part"),
            ("journal", {"format": "hledger", "since_seq": "1"}, "since_seq"),
            ("positions", {"since_seq": "9999"}, "since_seq"),
    ]:  # fmt: skip
        answer = book.get(f"/v1/reports/{path}", params={"account_id": "main"} | query)
        assert (path, query, answer.status_code) == (path, query, 422), answer.text
        assert answer.json()["errors"][0]["field"] == field
    assert book.get("/v1/reports/nonsense").status_code == 404
    missing = book.get("/v1/reports/statement", params={"account_id": "unknown", "day": "2026-01"})
    assert (missing.status_code, missing.json()["account_id"]) == (404, "unknown")


def test_a_value_that_fits_no_column_is_named_and_nothing_is_rounded(desk: httpx.Client) -> None:
    seq = trade(desk, fill("E-1", last_qty="1.123456789012345678", last_px="1.000000000000000001"))
    answer = desk.get("/v1/reports/executions", params={"min_seq": seq, "format": "parquet"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:daybook:problem:does-not-fit")
    assert (answer.json()["column"], answer.json()["row"]) == ("effect_cost", 1)
    wider = desk.get("/v1/reports/executions", params={"format": "parquet", "decimals": 36})
    (row,) = pq.read_table(io.BytesIO(wider.content)).to_pylist()
    assert row["effect_cost"] == D("1.123456789012345678") * D("1.000000000000000001")
    assert desk.get("/v1/reports/positions", params={"format": "parquet"}).status_code == 409
    exact = desk.get("/v1/reports/executions", params={"format": "csv"}).text
    assert f"{row['effect_cost']:f}" in exact


def test_a_digest_names_its_report_and_is_refused_when_damaged(book: httpx.Client) -> None:
    answer = had(book, "pnl", account_id="main", mark=f"{BTC}=130")
    shown = parse(answer.headers[DIGEST])
    events = book.get("/v1/events", params={"limit": 1000}).json()["items"]
    assert shown.root == mth([event["state"].encode() for event in events[: shown.seq]]).hex()
    assert (shown.report, shown.form, shown.parameters.mark) == ("pnl", "json", (f"{BTC}=130",))
    assert answer.json()["items"][0]["mark"] == "130"
    text = shown.text()
    for bad in ("", "dbr1.", text[:-1], text[:-12] + "A" + text[-11:], "dbr2" + text[4:], "dbr1.AAAA.00000000"):
        refused = book.get("/v1/reports", params={"digest": bad})
        assert (bad, refused.status_code) == (bad, 422)
        assert refused.json()["errors"][0]["field"] == "digest"
    with pytest.raises(InvalidInput):
        parse("dbr1." + "A" * 10_000)


def test_a_report_of_another_log_or_other_marks_is_not_made_again(book: httpx.Client, daybook: Daybook) -> None:
    shown = parse(had(book, "pnl").headers[DIGEST])
    for changed, problem in [
        ({"root": "00" * 32}, "other-log"), ({"marks": "0" * 64}, "other-marks"), ({"seq": shown.seq - 1}, "other-log"),
        ({"marks_at": datetime(2020, 1, 1, tzinfo=UTC)}, "other-marks"),
    ]:  # fmt: skip
        altered = Digest(**{name: getattr(shown, name) for name in shown.__struct_fields__} | changed)
        answer = book.get("/v1/reports", params={"digest": altered.text()})
        assert (changed, answer.status_code, answer.json()["type"].rpartition(":")[2]) == (changed, 409, problem)
    beyond = Digest(**{name: getattr(shown, name) for name in shown.__struct_fields__} | {"seq": 10_000})
    assert book.get("/v1/reports", params={"digest": beyond.text()}).status_code == 422


async def here(reads: Reads, function: Callable[..., Any], given: dict[str, Any], _: Request) -> Response:
    return await reads._in_a_thread(function, given)


def test_a_long_report_is_streamed_and_its_row_groups_do_not_depend_on_how_it_was_read(
    book: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.reads.Reads._expensive", here)  # another process would not see what is set here
    monkeypatch.setattr("api.reports.files.GROUP_ROWS", 7)
    monkeypatch.setattr("api.reports.contents.PAGE_ROWS", 3)
    monkeypatch.setattr("api.reports.http.IN_MEMORY_BYTES_MAX", 100)
    trade(book, *(fill(f"G-{n}", cl_ord_id="G-1", trade_seq=n) for n in range(40)))
    for report in ("executions", "journal", "lots"):
        answers = {form: had(book, report, format=form) for form in FORMS}
        file = pq.ParquetFile(io.BytesIO(answers["parquet"].content))
        assert file.num_row_groups == -(-file.metadata.num_rows // 7) > 2
        trade(book, fill(f"H-{report}", cl_ord_id=f"H-{report}", transact_time="2026-01-01T00:00:00Z"))
        for answer in answers.values():
            again = book.get("/v1/reports", params={"digest": answer.headers[DIGEST]})
            assert again.content == answer.content


def test_what_is_copied_is_where_the_snapshot_has_it(book: httpx.Client, daybook: Daybook) -> None:
    """A read model may be in another schema than the one it is named for."""
    had(book, "executions")
    with psycopg.connect(daybook.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA elsewhere")
        connection.execute("CREATE TABLE elsewhere.executions AS SELECT * FROM read_executions.executions LIMIT 1")
        connection.execute("CREATE TABLE elsewhere.restatements AS SELECT * FROM read_executions.restatements")
        connection.execute("GRANT USAGE ON SCHEMA elsewhere TO PUBLIC")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA elsewhere TO PUBLIC")
    shapes = shapes_of(REPORTS["executions"], REPORTS["executions"].part(None))
    with daybook.engine.connect() as made:
        for placed, rows in (({}, 4), ({"read_executions": "elsewhere"}, 1)):
            source = made.execution_options(schema_translate_map=placed)
            batches = copied("executions", shapes, source, Parameters())
            assert batches is not None
            assert sum(len(batch) for batch in batches) == rows
            made.rollback()

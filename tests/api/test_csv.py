"""CSV that leaves: no cell is a formula, and every text reads back as it was."""

import csv
import io
import json
import re

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from api.encoding import csv_text
from tests.api.client import fill, order
from tests.api.command_line import Run

FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
BAD = '=HYPERLINK("http://x.example")'


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def read(cell: str) -> str:
    """The text of a cell, by the documented rule."""
    return cell.removeprefix("'")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=4))
@example(["=1+1", "'=1+1", "''", "-1.5", "-1+1", "+1", "@x", "\t=1", "\r\n=1", "  =1", "\uff1d1", "a,b", 'a"b', "1e5"])
def test_any_text_reads_back_and_is_no_formula(texts: list[str]):
    for newline in ("\r\n", "\n"):
        found = cells(csv_text([{str(n): text for n, text in enumerate(texts)}], [str(n) for n in range(len(texts))],
                               newline=newline))  # fmt: skip
        shown = found[1] if texts else []
        assert [read(cell) for cell in shown] == texts
        for cell in shown:
            assert NUMBER.fullmatch(cell) or not FORMULA.match(cell.lstrip() or cell), cell


def test_negative_numbers_stay_numbers():
    assert csv_text([{"a": "-0.5", "b": -3}], ["a", "b"]).splitlines()[1] == "-0.5,-3"


def test_no_formula_leaves_over_http(desk: httpx.Client):
    body = f'{{"reports": [{BAD}, {json.dumps(fill())}]}}'
    answer = desk.post("/v1/venue-reports", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 207
    seq = answer.headers["Daybook-Seq"]
    columns, *rows = cells(desk.get("/v1/breaks", params={"min_seq": seq, "format": "csv"}).text)
    (raw,) = (cell for row in rows if (cell := row[columns.index("raw")]))
    assert raw == f"'{BAD}"
    assert read(raw) == BAD


def test_no_formula_leaves_in_a_report(desk: httpx.Client):
    desk.post("/v1/orders", json=order())
    rejected = {"type": "rejected", "account_id": "main", "cl_ord_id": "A-1", "reason": BAD}
    answer = desk.post("/v1/venue-reports", json={"reports": [rejected | {"transact_time": "2026-01-02T03:04:05Z"}]})
    seq = answer.headers["Daybook-Seq"]
    columns, row = cells(desk.get("/v1/reports/blotter", params={"min_seq": seq, "format": "csv"}).text)
    assert row[columns.index("reason")] == f"'{BAD}"


def test_no_formula_leaves_by_the_command_line(desk: httpx.Client, run: Run):
    desk.post("/v1/orders", json=order())
    rejected = {"type": "rejected", "account_id": "main", "cl_ord_id": "A-1", "reason": BAD}
    answer = desk.post("/v1/venue-reports", json={"reports": [rejected | {"transact_time": "2026-01-02T03:04:05Z"}]})
    desk.get("/v1/orders", params={"min_seq": answer.headers["Daybook-Seq"]})
    shown = run("report", "blotter", "--format", "csv")
    assert shown.returncode == 0, shown.stderr
    columns, row = cells(shown.stdout)
    assert row[columns.index("reason")] == f"'{BAD}"
    assert read(row[columns.index("reason")]) == BAD

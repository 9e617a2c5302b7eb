"""The analyses from the command line, and what-if over both: always read-only."""

import csv
import io
import json
import re
from typing import Any

import httpx
import psycopg
import pytest

from api import cli
from api.daybook import Daybook
from api.what_if.http import WhatIfAnswer
from tests.api.client import BTC, fill, open_book, order
from tests.api.command_line import Run

ITS_OWN = {
    "ledger.leader", "ledger.tasks", "ledger.checkpoints", "ledger.tiles", "ledger.group_runs", "read.followers",
    "read.reactions",
}  # fmt: skip
SPAN = ("--from", "2026-01-02", "--to", "2026-01-03")
MARKS = [
    {"instrument_id": BTC, "price": price, "mark_at": at}
    for price, at in (("100", "2026-01-02T09:59:59Z"), ("110", "2026-01-02T23:59:00Z"), ("120", "2026-01-03T23:59:00Z"))
]


@pytest.fixture
def book(desk: httpx.Client, daybook: Daybook, inside: Run) -> Run:
    """Commands on a book with a limit, two orders of which one was refused, and a fill."""
    assert desk.post("/v1/limits", json={"account_id": "main", "measure": "MAX_ORDER_QTY", "limit": "3"}).is_success
    assert desk.post("/v1/marks", json={"marks": MARKS}).is_success
    assert desk.post("/v1/orders", json=order("A-1", order_qty="2")).is_success
    assert desk.post("/v1/orders", json=order("A-2", order_qty="5")).status_code == 409
    filled = fill("E-1", last_qty="2", transact_time="2026-01-02T10:00:00Z")
    assert desk.post("/v1/venue-reports", json={"reports": [filled]}).is_success
    return lambda *args: inside(*args, url=daybook.url)


def parsed(run: Run, *args: str) -> Any:
    done = run(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_analysis_is_a_report(book: Run):
    daily = parsed(book, "report", "daily", *SPAN)
    assert [(row["day"], row["net"]) for row in daily["items"]] == [("2026-01-02", "19.9"), ("2026-01-03", "20")]
    equity = parsed(book, "report", "equity", *SPAN, "--capital", "1000")
    assert [row["return"] for row in equity["items"]] == ["0.0199", "0.019609765663300324"]
    figures = parsed(book, "report", "statistics", *SPAN, "--capital", "1000")
    assert (figures["days"], figures["total_return"]) == (2, "0.0399")
    quality = parsed(book, "report", "quality", "--from", "2026-01-01", "--mark-age-max", "99999999")
    assert [(row["cl_ord_id"], row["fills"]) for row in quality["items"]] == [("A-1", 1)]
    risk = parsed(book, "report", "leverage", "--mark", f"{BTC}=120")
    assert (risk["gross"], risk["exposure"][0]["delta"]) == ("240", "2")
    assert [(row["measure"], row["limit"]) for row in risk["limits"]] == [("MAX_ORDER_QTY", "3")]
    titles = {"daily": "Daily PnL", "equity": "Equity", "quality": "Execution quality", "statistics": "Statistics"}
    for name, title in titles.items():
        shown = book("report", name, *SPAN)
        assert (shown.returncode, f"{title} at seq" in shown.stdout) == (0, True), shown
    shown = book("report", "leverage", "--mark", f"{BTC}=120")
    assert ("leverage" in shown.stdout, "MAX_ORDER_QTY" in shown.stdout) == (True, True), shown
    by_venue = parsed(book, "report", "daily", *SPAN, "--by", "venue")["items"][0]
    assert (by_venue["venue"], by_venue["account_id"]) == ("BINANCE", None)
    assert parsed(book, "report", "leverage", "--by", "venue", "--allow-missing")["exposure"][0]["venue"] == "BINANCE"
    bare = parsed(book, "report", "statistics", *SPAN)
    assert (bare["days"], bare["reasons"]["sharpe"]) == (0, "takes at least 2 days with a return, there are 0")
    figures = [line.split("  ")[0] for line in book("report", "statistics", *SPAN).stdout.splitlines()]
    assert (figures.count("max drawdown"), figures.count("historical var 0.95")) == (1, 1)
    lacking = next(line for line in book("report", "statistics", *SPAN).stdout.splitlines() if "var 0.95" in line)
    assert "takes at least 20 days" in lacking
    rows = list(csv.DictReader(io.StringIO(book("report", "equity", *SPAN, "--format", "csv").stdout)))
    assert [row["day"] for row in rows] == ["2026-01-02", "2026-01-03"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("report", "daily", "--close", "noon"), "a time and a zone"),
        (("report", "equity", "--from", "yesterday"), "a date since 2009"),
        (("report", "quality", "--by", "moon"), "is none of account_id"),
        (("what-if", "--limit", "main"), "ACCOUNT,MEASURE=VALUE"),
        (("what-if", "--limit", "main,MAX_GROSS_EXPOSURE=5"), "with a currency"),
        (("what-if", "--limit", "main,MAX_POSITION=-1"), "zero or more"),
        (("what-if", "--fee", "0.1"), "MAKER:TAKER"),
    ],
)
def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str):
    assert cli.run(args) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def everything(url: str) -> dict[str, list[Any]]:
    """Every row of every table, but for what the service writes by itself: who leads, who follows, and the seal."""
    with psycopg.connect(url) as connection:
        named = connection.execute(
            "SELECT schemaname || '.' || relname FROM pg_stat_user_tables ORDER BY 1"
        ).fetchall()  # fmt: skip
        rows = {name: connection.execute(f"SELECT t::text FROM {name} AS t ORDER BY 1").fetchall() for (name,) in named}
    return {name: found for name, found in rows.items() if name not in ITS_OWN}


def test_what_if_shows_what_would_have_been_and_writes_nothing(book: Run, desk: httpx.Client, daybook: Daybook):
    daybook.runner.catch_up()
    before = everything(daybook.url)
    assert {"ledger.events", "market.marks"} <= before.keys()
    assert any(re.fullmatch(r"read_positions_[0-9]+\.positions", name) for name in before)
    tight = ("--limit", "main,MAX_ORDER_QTY=1", "--fee", "BINANCE=0:0.01", "--method", "LIFO", "--mark", f"{BTC}=120")
    requested = parsed(book, "what-if", *tight)
    (changed,) = requested["verdicts"]
    assert (changed["cl_ord_id"], changed["then"], changed["now"]) == ("A-1", "ACCEPTED", "REFUSED")
    assert (changed["facts"]["limit"], requested["refused"], requested["lost_fills"]) == ("1", 1, 1)
    (total,) = requested["totals"]
    assert (total["then"]["net"], total["now"]["net"], total["difference"]["net"]) == ("39.9", "0", "-39.9")
    lifted = {"account_id": "main", "measure": "MAX_ORDER_QTY", "limit": None}
    answer = desk.post("/v1/what-if", json={"limits": [lifted], "fees": [{"maker": "0", "taker": "0.01"}]})
    assert answer.status_code == 200, answer.text
    wide = answer.json()
    WhatIfAnswer.model_validate(wide)
    assert [(row["cl_ord_id"], row["now"]) for row in wide["verdicts"]] == [("A-2", "ACCEPTED")]
    (position,) = wide["positions"]
    assert (position["then"]["fees_settle"], position["now"]["fees_settle"]) == ("0.1", "2")
    assert position["difference"]["net"] == "-1.9"
    shown = book("what-if", "--no-limits")
    assert (shown.returncode, "1 newly accepted" in shown.stdout) == (0, True), shown
    assert everything(daybook.url) == before


def test_what_if_needs_a_change_and_a_scope(client_for: Any, client: httpx.Client):
    open_book(client)
    assert client_for("trade", "report").post("/v1/what-if", json={"method": "FIFO"}).status_code == 403
    empty = client.post("/v1/what-if", json={})
    assert (empty.status_code, empty.json()["errors"][0]["field"]) == (422, "changes")
    beyond = client.post("/v1/what-if", json={"method": "FIFO", "as_of_seq": 10_000})
    assert (beyond.status_code, beyond.json()["errors"][0]["field"]) == (422, "as_of_seq")
    none = client.post("/v1/what-if", json={"method": "FIFO", "as_of_seq": 0})
    assert (none.json()["seq"], none.json()["positions"]) == (0, [])

"""The log, filtered by who, what, where and when: the same events as by reading all of it, found by an index."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from api.daybook import Daybook
from api.read_models.log_search import LogFilter, search
from projections.models import log_index
from tests.api.client import BTC, bought_and_sold, order
from tests.api.command_line import Run
from tests.desk import Desk
from tests.projections.running import trade

Matching = Callable[[dict[str, Any]], bool]


def all_events(desk: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    """Every event that the filter has, page by page."""
    found, after = [], 0
    while True:
        page = desk.get("/v1/events", params={"limit": 3, "after": after, **params})
        assert page.status_code == 200, page.text
        found += page.json()["items"]
        if page.json()["next"] is None:
            return found
        after = page.json()["next"]


@pytest.fixture
def recorded(desk: httpx.Client) -> list[dict[str, Any]]:
    seq = bought_and_sold(desk)
    desk.post("/v1/accounts", json={"account_id": "other", "base_currency": "USDT"})
    desk.post("/v1/orders", json=order("B-1", account_id="other"))
    assert desk.get("/v1/orders", params={"min_seq": seq}).status_code == 200
    return all_events(desk)


def filters(events: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Matching]]:
    middle = events[len(events) // 2]
    at = middle["recorded_at"]
    occurred = "2026-01-02T03:04:05.678000Z"
    return [
        ({"actor": middle["actor"]}, lambda e: e["actor"] == middle["actor"]),
        ({"actor": "nobody"}, lambda e: False),
        ({"topic": "OrderFilled"}, lambda e: e["topic"] == "OrderFilled"),
        (
            {"topic": ["OrderFilled", "TradeBooked"]},
            lambda e: e["topic"].split(".")[0] in ("OrderFilled", "TradeBooked"),
        ),
        ({"stream": "order:main:"}, lambda e: e["stream"].startswith("order:main:")),
        ({"stream": "order"}, lambda e: e["stream"].startswith("order")),
        ({"stream": "nothing"}, lambda e: False),
        ({"account_id": "other"}, lambda e: "other" in e["stream"].split(":")),
        ({"request_id": middle["request_id"]}, lambda e: e["request_id"] == middle["request_id"]),
        ({"request_id": "none"}, lambda e: False),
        ({"recorded_since": at}, lambda e: e["recorded_at"] >= at),
        ({"recorded_until": at}, lambda e: e["recorded_at"] < at),
        (
            {"occurred_until": "2026-01-03T00:00:00Z"},
            lambda e: e["record"]["event"].get("transact_time", "3") == occurred,
        ),
        ({"topic": "TradeBooked", "account_id": "other"}, lambda e: False),
        (
            {"stream": "order:main:A-1", "topic": "OrderFilled", "recorded_since": at},
            lambda e: e["stream"] == "order:main:A-1" and e["topic"] == "OrderFilled" and e["recorded_at"] >= at,
        ),
    ]


def test_filters_have_exactly_the_events_they_name(
    desk: httpx.Client, recorded: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for params, has in filters(recorded):
        assert all_events(desk, **params) == [event for event in recorded if has(event)], params


def test_by_the_index_and_without_it_the_same_events_are_found(
    log: Any, monkeypatch: pytest.MonkeyPatch, daybook: Daybook
) -> None:
    """Over blocks of 8 events, with every part of the log indexed, some of it, and none."""
    monkeypatch.setattr(log_index, "BLOCK_EVENTS", 8)
    book = Desk(log)
    trade(book, range(30))
    events = search(daybook, LogFilter(), limit=1000).found
    one, late = events[40], events[60]
    wanted = [
        LogFilter(event=("OrderFilled",)),
        LogFilter(actor="desk"),
        LogFilter(actor="venue", account_id="main", stream="position:"),
        LogFilter(stream="order:main:"),
        LogFilter(recorded_since=one.recorded_at, recorded_until=late.recorded_at, event=("TradeBooked",)),
        LogFilter(occurred_since=datetime.fromisoformat("2026-03-01T09:10:00Z"), actor="venue"),
        LogFilter(occurred_until=datetime.fromisoformat("2026-03-01T09:10:00Z")),
    ]
    monkeypatch.setattr("api.read_models.log_search.STREAMS_MAX", 3)
    expected = [[event.seq for event in events if each.has(event) and _is_recorded(each, event)] for each in wanted]
    assert all(0 < len(seqs) < len(events) for seqs in expected), [len(seqs) for seqs in expected]
    for step in range(3):
        assert [_seqs(daybook, each) for each in wanted] == expected, step
        if step == 0:
            daybook.runner.catch_up()
        elif step == 1:
            with psycopg.connect(daybook.url) as connection:
                connection.execute("UPDATE read.progress SET seq = 50 WHERE projection = 'log'")


def _is_recorded(wanted: LogFilter, event: Any) -> bool:
    since, until = wanted.recorded_since, wanted.recorded_until
    return (since is None or event.recorded_at >= since) and (until is None or event.recorded_at < until)


def _seqs(daybook: Daybook, wanted: LogFilter) -> list[int]:
    found, after = [], 0
    while True:
        page = search(daybook, wanted, after=after, limit=4, scanned_max=16)
        found += [event.seq for event in page.found]
        if page.is_last:
            return found
        assert page.last > after
        after = page.last


def test_pages_are_stable_while_events_are_recorded(desk: httpx.Client, recorded: list[dict[str, Any]]) -> None:
    first = desk.get("/v1/events", params={"topic": "OrderSubmitted", "limit": 2}).json()
    desk.post("/v1/orders", json=order("A-9"))
    second = desk.get("/v1/events", params={"topic": "OrderSubmitted", "limit": 2, "after": first["next"]}).json()
    ids = [event["record"]["event"]["key"]["cl_ord_id"] for event in first["items"] + second["items"]]
    assert ids == ["A-1", "A-2", "B-1", "A-9"]


def test_an_event_that_there_is_none_of_is_refused_with_the_nearest_names(desk: httpx.Client, run: Run) -> None:
    refused = desk.get("/v1/events", params={"topic": "OrderFiled"})
    assert refused.status_code == 422 and "OrderFilled" in refused.text
    said = run("log", "--topic", "OrderFiled")
    assert said.returncode == 1 or said.returncode == 2
    assert "OrderFilled" in said.stderr


def test_each_event_says_what_happened_in_one_line(
    desk: httpx.Client, recorded: list[dict[str, Any]], run: Run
) -> None:
    said = {event["topic"].split(".")[0]: event["summary"] for event in recorded}
    assert said["OrderSubmitted"] == f"BUY 1 {BTC} at 100, LIMIT GTC, main"
    assert said["OrderFilled"].startswith(f"SELL 1 {BTC} at 300, fee 0.1 USDT, E-3")
    assert all(event["summary"] and "\n" not in event["summary"] for event in recorded)
    table = run("log", "--topic", "OrderFilled", "--account", "main").stdout
    assert table.count("OrderFilled") == 3 and "at 300" in table
    full = run("log", "--topic", "OrderFilled", "--full", "--limit", "1")
    assert "last_px: 100" in full.stdout and "commission:\n    amount: 0.1" in full.stdout
    assert "--after" in full.stderr
    found = json.loads(run("log", "--stream", "order:other:", "--json").stdout)
    assert [event["stream"] for event in found["events"]] == ["order:other:B-1"]


def test_recorded_times_are_from_one_on_and_before_another(desk: httpx.Client, recorded: list[dict[str, Any]]) -> None:
    at = recorded[3]["recorded_at"]
    before = all_events(desk, recorded_until=at)
    since = all_events(desk, recorded_since=at)
    assert before + since == recorded
    later = datetime.fromisoformat(recorded[-1]["recorded_at"]) + timedelta(days=1)
    assert all_events(desk, recorded_since=later.isoformat().replace("+00:00", "Z")) == []

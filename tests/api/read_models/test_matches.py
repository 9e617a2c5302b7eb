"""Matches with their acquisition, proceeds and time held, over HTTP, as a report and on the command line."""

import json

import httpx

from tests.api.client import fill, order, trade
from tests.api.command_line import Run

DAYS = ("2025-01-01", "2025-06-01", "2026-01-01", "2026-02-01")


def sold_over_two_years(desk: httpx.Client) -> str:
    """2 bought at 100 and 1 at 200; 1 sold after 365 days at 150, and 1.5 a month later at 300."""
    desk.post("/v1/orders", json=order("A-1", order_qty="3", price="200"))
    desk.post("/v1/orders", json=order("A-2", side="SELL", order_qty="2.5", price="100"))
    times = [f"{day}T00:00:00Z" for day in DAYS]
    sale = {"side": "SELL", "cl_ord_id": "A-2"}
    return trade(
        desk,
        fill("E-1", trade_seq=1, last_qty="2", transact_time=times[0]),
        fill("E-2", trade_seq=2, last_px="200", transact_time=times[1]),
        fill("E-3", trade_seq=3, last_px="150", transact_time=times[2], **sale),
        fill("E-4", trade_seq=4, last_qty="1.5", last_px="300", transact_time=times[3], **sale),
    )


def test_a_match_shows_acquisition_proceeds_gain_and_how_long_the_lot_was_held(desk: httpx.Client) -> None:
    seq = sold_over_two_years(desk)
    names = ("exec_id", "lot_id", "proceeds", "cost", "gain", "holding_days", "is_long_term", "settle")
    rows = desk.get("/v1/matches", params={"min_seq": seq}).json()["items"]
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("E-3", "E-1", "150", "100", "50", 365, True, "USDT"),
        ("E-4", "E-1", "300", "100", "200", 396, True, "USDT"),
        ("E-4", "E-2", "150", "100", "50", 245, False, "USDT"),
    ]
    assert [row["acquired_at"][:10] for row in rows] == ["2025-01-01", "2025-01-01", "2025-06-01"]
    longer = desk.get("/v1/matches", params={"long_term_days": 366}).json()["items"]
    assert [row["is_long_term"] for row in longer] == [False, True, False]


def test_matches_are_filtered_by_the_time_of_disposal_page_by_page(desk: httpx.Client) -> None:
    seq = sold_over_two_years(desk)
    late = {"min_seq": seq, "since": "2026-02-01T00:00:00Z"}
    assert [row["lot_id"] for row in desk.get("/v1/matches", params=late).json()["items"]] == ["E-1", "E-2"]
    early = {"until": "2026-02-01T00:00:00Z"}
    assert [row["exec_id"] for row in desk.get("/v1/matches", params=early).json()["items"]] == ["E-3"]
    first = desk.get("/v1/matches", params=late | {"limit": 1}).json()
    second = desk.get("/v1/matches", params=late | {"limit": 1, "cursor": first["next"]}).json()
    assert [row["lot_id"] for row in first["items"] + second["items"]] == ["E-1", "E-2"]
    assert second["next"] is None
    assert desk.get("/v1/matches", params=late | {"strategy_id": "none"}).json()["items"] == []
    recosted = desk.get("/v1/matches", params=late | {"method": "LIFO"}).json()["items"]
    assert [(row["lot_id"], row["holding_days"]) for row in recosted] == [("E-1", 396)]


def test_the_report_has_the_same_rows_and_filters_in_every_form(desk: httpx.Client, run: Run) -> None:
    seq = sold_over_two_years(desk)
    rows = desk.get("/v1/matches", params={"min_seq": seq}).json()["items"]
    report = desk.get("/v1/reports/matches", params={"format": "json"}).json()
    assert report["items"] == rows
    chosen = run("report", "matches", "--since", "2026-02-01T00:00:00Z", "--long-term-days", "300", "--json")
    found = json.loads(chosen.stdout)["items"]
    assert [(row["lot_id"], row["is_long_term"]) for row in found] == [("E-1", True), ("E-2", False)]
    table = run("report", "matches")
    assert "Proceeds" in table.stdout and "396" in table.stdout
    parquet = desk.get("/v1/reports/matches", params={"format": "parquet"})
    assert parquet.status_code == 200 and parquet.content[:4] == b"PAR1"

"""Daily balances over HTTP, as a report and on the command line; NAV over HTTP and on the command line."""

import json

import httpx

from tests.api.client import BTC, bought_and_sold
from tests.api.command_line import Run

DAY = {"from": "2026-01-01", "to": "2026-01-03"}


def test_daily_balances_are_shown_over_http_as_a_report_and_by_the_command(desk: httpx.Client, run: Run) -> None:
    seq = bought_and_sold(desk)
    answer = desk.get("/v1/balances/daily", params={"min_seq": seq, "asset": "USDT", **DAY}).json()
    first, second = answer["items"]
    assert (first["day"], first["opening"], first["inflow"], first["outflow"]) == ("2026-01-02", "0", "300", "300.3")
    assert first["outflow_by_kind"] == {"COMMISSION": "0.3", "TRADE": "300"}
    assert (second["opening"], second["closing"], second["outflow"]) == ("-0.3", "-0.3", "0")
    report = desk.get("/v1/reports/daily-balances", params={"asset": "USDT", "format": "json", **DAY}).json()
    assert report["items"] == answer["items"]
    for form in ("csv", "parquet"):
        assert desk.get("/v1/reports/daily-balances", params={"format": form, **DAY}).status_code == 200
    shown = run("report", "daily-balances", "--asset", "USDT", "--from", "2026-01-02", "--to", "2026-01-03", "--json")
    assert json.loads(shown.stdout)["items"] == answer["items"]
    assert "Closing" in run("report", "daily-balances").stdout
    past = desk.get("/v1/balances/daily", params={"as_of": 3, **DAY}).json()
    assert past["items"] == []
    refused = desk.get("/v1/balances/daily", params={"from": "2026-02-01", "to": "2026-01-01"})
    assert refused.status_code == 422


def test_nav_is_valued_at_each_flow_and_shown_over_http_and_by_the_command(desk: httpx.Client, run: Run) -> None:
    seq = bought_and_sold(desk)
    marks = [
        {"instrument_id": BTC, "price": price, "mark_at": at}
        for price, at in (("300", "2026-01-02T23:59:00Z"), ("330", "2026-01-03T23:59:00Z"))
    ]
    assert desk.post("/v1/marks", json={"marks": marks}).status_code == 201
    wanted = {"min_seq": seq, "from": "2026-01-03", "to": "2026-01-03", "capital": "1000"}
    answer = desk.get("/v1/nav", params=wanted).json()
    (row,) = answer["items"]
    assert (row["nav"], row["pnl"], row["method"]) == ("1329.7", "30", "TIME_WEIGHTED")
    assert answer["time_weighted_return"] == row["return"] == "0.023082249749942294"
    table = desk.get("/v1/nav", params=wanted | {"format": "csv"}).text.splitlines()
    assert table[0].split(",")[:6] == ["account_id", "day", "close_at", "is_closed", "currency", "nav"]
    command = ("report", "nav", "--from", "2026-01-03", "--to", "2026-01-03", "--capital", "1000")
    assert json.loads(run(*command, "--json").stdout)["items"][0]["nav"] == "1329.7"
    shown = run(*command)
    assert "Net asset value" in shown.stdout and "Time-weighted return of these days: 0.0230" in shown.stderr
    assert desk.get("/v1/nav", params={"strategy_id": "default"}).status_code == 422

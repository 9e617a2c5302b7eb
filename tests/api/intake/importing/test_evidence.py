"""Evidence: what could not be read is listed, read again as it came, or dismissed; never booked twice."""

import json
from pathlib import Path

import httpx

from tests.api.client import open_book
from tests.api.command_line import Run, parsed

HEADER = "Date(UTC),Pair,Side,Price,Executed,Amount,Fee"
GOOD = "2026-01-09 12:00:00,BTCUSDT,BUY,80000,0.1BTC,8000USDT,8USDT"
WRONG = "2026-01-08 12:00:00,BTCUSDT,BUY,8x000,0.1BTC,8000USDT,8USDT"
OPEN_PAIR = "2026-01-07 12:00:00,XYZWQQ,BUY,2,10.00,20.0,0"
IN_MADRID = "Times in UTC+1\n"


def file(folder: Path, *rows: str, above: str = "") -> str:
    path = folder / "trades.csv"
    path.write_text(above + "\n".join((HEADER.replace("(UTC)", "") if above else HEADER, *rows, "")))
    return str(path)


def listed(run: Run, *more: str) -> list[dict[str, str]]:
    items: list[dict[str, str]] = parsed(run("evidence", "list", "--json", *more))["items"]
    return items


def test_rows_wait_until_an_answer_and_are_booked_from_what_was_kept(run: Run, tmp_path: Path) -> None:
    path = file(tmp_path, GOOD, WRONG, OPEN_PAIR)
    assert run("import", path).returncode == 1
    Path(path).unlink()  # no second download
    assert [row["source"] for row in listed(run)] == ["trades.csv:4", "trades.csv:3"]
    assert run("evidence", "retry").returncode == 1
    done = run("evidence", "retry", "--instrument", "XYZWQQ=XYZ/WQQ", "--json")
    assert done.returncode == 1
    outcomes = {each["source"]: each["outcome"] for each in json.loads(done.stdout)["items"]}
    assert outcomes == {"trades.csv:4": "recorded", "trades.csv:3": "unreadable"}
    (left,) = listed(run)
    assert (left["source"], left["raw"]) == ("trades.csv:3", WRONG)
    balances = parsed(run("report", "balances", "--json"))["items"]
    assert {row["asset"]: row["total"] for row in balances} == {
        "BTC": "0.1", "USDT": "-8008", "XYZ": "10", "WQQ": "-20",
    }  # fmt: skip
    shown = run("evidence", "show", left["break_id"])
    assert (WRONG in shown.stdout, "8x000" in shown.stdout) == (True, True)
    dismissed = run("evidence", "dismiss", left["break_id"], "--why", "typed by hand, never traded")
    assert dismissed.returncode == 0, dismissed.stderr
    assert listed(run) == []
    settled = {row["source"]: row["reason"] for row in listed(run, "--all")}
    assert settled == {"trades.csv:4": "read again", "trades.csv:3": "typed by hand, never traded"}
    assert parsed(run("evidence", "retry", "--json")) == {"items": [], "unreadable": 0}


def test_lines_above_the_header_hold_for_rows_that_are_read_again(run: Run, tmp_path: Path) -> None:
    path = file(tmp_path, GOOD, OPEN_PAIR, above=IN_MADRID)
    assert run("import", path).returncode == 1
    assert run("evidence", "retry", "--instrument", "XYZWQQ=XYZ/WQQ").returncode == 0
    trades = parsed(run("report", "executions", "--json"))["items"]
    assert [row["transact_time"] for row in trades] == ["2026-01-07T11:00:00Z", "2026-01-09T11:00:00Z"]


def test_rows_are_booked_under_the_strategy_of_their_import(run: Run, tmp_path: Path) -> None:
    assert run("import", file(tmp_path, OPEN_PAIR), "--strategy", "trend, 2").returncode == 1
    assert run("evidence", "retry", "--instrument", "XYZWQQ=XYZ/WQQ").returncode == 0
    (held,) = parsed(run("report", "positions", "--json"))["items"]
    assert held["strategy_id"] == "trend, 2"


def test_what_was_booked_meanwhile_is_known_and_ends_the_break(run: Run, tmp_path: Path) -> None:
    assert run("import", file(tmp_path, OPEN_PAIR)).returncode == 1
    assert run("import", file(tmp_path, OPEN_PAIR), "--instrument", "XYZWQQ=XYZ/WQQ").returncode == 0
    done = parsed(run("evidence", "retry", "--json"))
    assert [each["outcome"] for each in done["items"]] == ["already_known"]
    assert listed(run) == []


def test_evidence_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    assert run("import", file(tmp_path, WRONG)).returncode == 1
    for args in (("retry", "evidence:main:0@1"), ("show", "evidence:main:0@1"), ("dismiss", "x", "--why", "none")):
        refused = run("evidence", *args)
        assert (refused.returncode, "is not open" in refused.stderr) == (1, True), refused.stderr
    assert len(listed(run)) == 1


def test_rows_and_reports_are_read_again_over_http(client: httpx.Client) -> None:
    open_book(client)
    sent = client.post("/v1/imports", content=f"{HEADER}\n{OPEN_PAIR}\n".encode(), params={"name": "t.csv"})
    assert sent.json()["unreadable"] == 1
    fill = {
        "type": "filled", "account_id": "main", "cl_ord_id": "A-1", "instrument_id": "LTCUSDT.SIM", "side": "BUY",
        "exec_id": "E-1", "last_qty": "1", "last_px": "100", "transact_time": "2026-01-05T10:00:00Z",
        "commission": {"amount": "0", "currency": "USDT"},
    }  # fmt: skip
    answer = client.post("/v1/venue-reports", json={"reports": [fill]}).json()["answers"][0]
    assert answer["status"] == "unreadable"  # the instrument is not listed
    tried = client.post("/v1/evidence/retry", json={"account_id": "main"}).json()
    assert {each["outcome"] for each in tried["items"]} == {"unreadable"}
    listing = {
        "instrument_id": "LTCUSDT.SIM", "kind": "SPOT", "base": "LTC", "quote": "USDT", "tick_size": "0.01",
        "lot_size": "0.01",
    }  # fmt: skip
    assert client.post("/v1/instruments", json=listing).status_code == 201
    body = {"account_id": "main", "instruments": {"XYZWQQ": "XYZ/WQQ"}}
    done = client.post("/v1/evidence/retry", json=body).json()
    assert (done["unreadable"], {each["outcome"] for each in done["items"]}) == (0, {"recorded"})
    left = client.get("/v1/breaks", params={"kind": "UNREADABLE", "status": "OPEN"}).json()["items"]
    assert left == []
    held = client.get("/v1/positions", params={"account_id": "main"}).json()["items"]
    assert {row["instrument_id"]: row["quantity"] for row in held} == {"LTCUSDT.SIM": "1", "XYZWQQ.BINANCE": "10"}


def test_a_retry_of_another_accounts_evidence_is_refused(client: httpx.Client) -> None:
    open_book(client)
    refused = client.post("/v1/evidence/retry", json={"account_id": "main", "evidence_ids": ["evidence:x:1@1"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "UNKNOWN_BREAK")
    refused = client.post("/v1/evidence/retry", json={"account_id": "main", "dates": "upwards"})
    assert refused.status_code == 422

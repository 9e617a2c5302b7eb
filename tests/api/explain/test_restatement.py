"""A day's PnL as it was reported and as it is known, over HTTP and on the command line; and the marks that value it."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import cli
from api.settings import Settings
from tests.api.client import BTC, fill

pytestmark = pytest.mark.slow

DAY = "2026-01-02"


def at(clock: str) -> str:
    return f"{DAY}T{clock}:00Z"


def seen(desk: httpx.Client, price: str, clock: str, **more: str) -> None:
    mark = {"instrument_id": BTC, "price": price, "mark_at": at(clock), **more}
    assert desk.post("/v1/marks", json={"marks": [mark]}).status_code == 201


def sent(desk: httpx.Client, *fills: dict[str, Any]) -> str:
    answer = desk.post("/v1/venue-reports", json={"reports": list(fills)})
    assert answer.status_code == 200, answer.text
    seq = answer.headers["Daybook-Seq"]
    assert desk.get("/v1/executions", params={"min_seq": seq}).status_code == 200
    return seq


@pytest.fixture
def reported(desk: httpx.Client) -> str:
    """A day with a buy and a sale, marked at its start and end; the seq at which it was reported."""
    seen(desk, "90", "00:00")
    seen(desk, "130", "23:00")
    return sent(
        desk,
        fill("E-1", cl_ord_id="O-1", last_qty="2", last_px="100", transact_time=at("10:00"), trade_seq=1),
        fill("E-2", cl_ord_id="O-2", last_px="120", side="SELL", transact_time=at("12:00"), trade_seq=2),
    )


def test_a_day_is_restated_item_by_item(desk: httpx.Client, reported: str) -> None:
    sent(desk, fill("E-3", cl_ord_id="O-3", last_px="80", transact_time=at("09:00"), trade_seq=3))
    sent(desk, fill("E-4", cl_ord_id="O-4", last_px="70", transact_time="2026-01-03T09:00:00Z", trade_seq=4))
    seen(desk, "140", "23:30", quality="CLOSE")
    answer = desk.get("/v1/pnl/restatement", params={"day": DAY, "known_at": reported}).json()
    (row,) = answer["positions"]
    assert (row["reported"], row["known"], row["difference"]) == ("49.8", "119.7", "69.9")
    assert [(item["cause"], item["exec_ids"], item["amount"]) for item in answer["items"]] == [
        ("LATE_FILL", ["E-3"], "49.9"), ("PRICE", [], "20"),
    ]  # fmt: skip
    assert (answer["items"][1]["mark_was"], answer["items"][1]["mark_is"]) == ("130", "140")
    assert answer["totals"] == [{"settle": "USDT", "reported": "49.8", "known": "119.7", "difference": "69.9"}]
    assert (answer["day_start"], answer["day_end"]) == ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")
    for known_at, net in ((reported, "49.8"), ("now", "119.7")):
        query = {"as_of": "2026-01-02T23:59:59.999999Z", "known_at": known_at}
        assert desk.get("/v1/pnl", params=query).json()["items"][0]["net"] == net, "it is what the report has"
    closed = desk.get("/v1/pnl/restatement", params={"day": DAY, "close": "11:00", "known_at": reported}).json()
    assert (closed["day_end"], closed["positions"][0]["reported"]) == ("2026-01-02T11:00:00Z", "-20.1")
    zoned = {"day": DAY, "close": "06:00 America/New_York", "known_at": reported}
    assert desk.get("/v1/pnl/restatement", params=zoned).json() == closed, "eleven o'clock in UTC, and the day before"
    later = desk.get("/v1/pnl/restatement", params={"day": "2026-01-05", "known_at": reported}).json()
    assert [(item["cause"], item["amount"]) for item in later["items"]] == [("PRICE", "30"), ("PRICE", "-30")]


def test_what_was_not_known_at_the_days_end_is_news(desk: httpx.Client, reported: str) -> None:
    """All of it was recorded long after the day: by default nothing was reported of it."""
    answer = desk.get("/v1/pnl/restatement", params={"day": DAY}).json()
    assert (answer["reported_seq"], answer["totals"][0]["reported"], answer["totals"][0]["known"]) == (0, "0", "49.8")
    assert [item["cause"] for item in answer["items"]] == ["LATE_FILL"]


def test_a_bad_parameter_of_a_restatement_is_named_by_field(desk: httpx.Client, reported: str) -> None:
    for query, field in (
        ({"day": "x"}, "day"), ({"day": "2100-01-01"}, "day"), ({"day": DAY, "known_at": "x"}, "known_at"),
        ({"day": DAY, "close": "17:00 Nowhere"}, "close"), ({"day": "9999-12-31"}, "day"),
        ({}, "day"), ({"day": DAY, "known_at": reported, "restated_at": 1}, "restated_at"),
    ):  # fmt: skip
        answer = desk.get("/v1/pnl/restatement", params=query)
        assert (query, answer.status_code, answer.json()["errors"][0]["field"]) == (query, 422, field)


def test_a_mark_has_its_age_and_whether_it_is_stale(desk: httpx.Client, reported: str) -> None:
    query = {"as_of": at("23:30"), "known_at": "now"}
    answer = desk.get("/v1/pnl", params=query).json()
    (row,) = answer["items"]
    assert (row["mark"], row["mark_quality"], row["mark_age_ms"], row["is_mark_stale"]) == (
        "130", "UNSTATED", 30 * 60_000, False,
    )  # fmt: skip
    late = desk.get("/v1/pnl", params={"as_of": "2026-01-03T09:00:00Z", "known_at": "now"}).json()
    assert (late["items"][0]["is_mark_stale"], late["totals"][0]["stale_marks"]) == (True, [BTC])
    assert (answer["totals"][0]["stale_marks"], late["totals"][0]["missing_marks"]) == ([], [])
    early = desk.get("/v1/exposure", params={"as_of": at("10:00"), "known_at": "now"}).json()
    assert (early["items"][0]["mark"], early["items"][0]["is_mark_stale"]) == ("90", True)
    live = desk.get("/v1/exposure").json()
    assert (live["items"][0]["is_mark_stale"], live["totals"][0]["stale_marks"]) == (True, [BTC])
    given = desk.get("/v1/pnl", params={"mark": f"{BTC}=5"}).json()["items"][0]
    assert (given["mark_age_ms"], given["is_mark_stale"]) == (None, None)


def test_the_command_line_restates_and_imports_marks(
    desk: httpx.Client,
    reported: str,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert settings.url is not None
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", settings.url)

    def run(*args: str) -> tuple[int, str, str]:
        code = cli.run(args)
        said = capsys.readouterr()
        return code, said.out, said.err

    file = tmp_path / "btc 1m.csv"
    file.write_text("ts,close\n2026-01-02T23:00:00Z,150\n2026-01-02T23:01:00Z,160\nx,1\n")
    code, out, _ = run("import-marks", str(file), "--instrument", BTC, "--json")
    found = json.loads(out)
    assert (code, found["source"], found["recorded"], found["already_known"]) == (1, "btc_1m", 2, 0)
    assert [error["line"] for error in found["errors"]] == [4]
    code, out, err = run("import-marks", str(file), "--instrument", BTC)
    assert (code, "2 already known" in out, "line 4" in err) == (1, True, True)
    code, out, _ = run("report", "restatement", "--day", DAY, "--known-at", reported, "--json")
    answer = json.loads(out)
    assert (code, answer["positions"][0]["difference"]) == (0, "30")
    assert [(item["cause"], item["mark_is"], item["amount"]) for item in answer["items"]] == [("PRICE", "160", "30")]
    code, out, _ = run("report", "restatement", "--day", DAY, "--known-at", reported)
    assert (code, "Causes of the difference" in out, "PRICE" in out) == (0, True, True)
    code, out, _ = run("report", "pnl", "--as-of", at("11:00"), "--known-at", "now", "--json")
    assert (code, json.loads(out)["items"][0]["quantity"], json.loads(out)["occurred_by"]) == (0, "2", at("11:00"))
    assert run("report", "restatement", "--day", "2100-01-01")[0] == 1
    zoned = ("--day", DAY, "--close", "06:00 America/New_York", "--known-at", reported, "--json")
    assert json.loads(run("report", "restatement", *zoned)[1])["day_end"] == "2026-01-02T11:00:00Z"
    assert run("report", "pnl", "--as-of", "now")[0] == 2

"""Imports over HTTP and the command line: what was sent is in the book once, and each row has its outcome."""

import gzip
import json
from pathlib import Path

import httpx
import pytest

from tests.api.command_line import Run

FILE = (
    "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark\n"
    "1,2026-01-02 09:00:00,Spot,Deposit,EUR,1000,\n"
    "1,2026-01-02 09:05:00,Spot,Transaction Spend,EUR,-300,\n"
    "1,2026-01-02 09:05:00,Spot,Transaction Buy,ZRX,1000,\n"
    "1,2026-01-02 09:05:00,Spot,Transaction Fee,BNB,-1E-8,\n"
    "1,2026-13-02 09:05:00,Spot,Deposit,EUR,1,\n"
)
GOOD = "".join(line for line in FILE.splitlines(keepends=True) if "-13-" not in line)
COINBASE = (
    "ID,Timestamp,Transaction Type,Asset,Quantity Transacted,Price Currency,Price at Transaction,Subtotal,"
    "Total (inclusive of fees and/or spread),Fees and/or Spread,Notes\n"
    "a,2026-03-04 09:00:00 UTC,Staking Income,ETH,0.000012345678901234,EUR,€2500.00,€0.03,€0.03,€0.00,\n"
    'b,2026-03-03 09:00:00 UTC,Convert,ETH,-0.5,EUR,€2500,-€1250,-€1250,€0,"Converted 0.5 ETH to 1,450.25 USDC"\n'
)


def balances(client: httpx.Client, account_id: str = "main") -> dict[str, str]:
    items = client.get("/v1/balances", params={"account_id": account_id}).json()["items"]
    return {one["asset"]: one["total"] for one in items}


def test_an_upload_is_recorded_once_and_its_outcome_can_be_read(client: httpx.Client) -> None:
    sent = client.post("/v1/imports", content=gzip.compress(GOOD.encode()), params={"name": "s.csv.gz"})
    assert sent.status_code == 201, sent.text
    done = sent.json()
    assert (done["status"], done["read"], done["recorded"], done["unreadable"]) == ("DONE", 4, 4, 0)
    assert done["layouts"][0]["layout"] == "Binance statement"
    assert done["kinds"] == {"deposit": {"recorded": 1}, "fill": {"recorded": 3}}
    assert balances(client) == {"EUR": "700", "ZRX": "1000", "BNB": "-0.00000001"}
    again = client.post("/v1/imports", content=gzip.compress(GOOD.encode()), params={"name": "s.csv.gz"})
    assert again.status_code in (200, 201)
    assert client.get(f"/v1/imports/{done['import_id']}").json() == done
    other = client.post("/v1/imports", content=GOOD.encode()).json()
    assert (other["recorded"], other["already_known"]) == (0, 4)


def test_a_dry_run_records_nothing_and_unreadable_rows_are_listed(client: httpx.Client) -> None:
    dry = client.post("/v1/imports", content=FILE.encode(), params={"is_dry_run": True})
    assert (dry.status_code, dry.json()["recorded"], dry.json()["unreadable"]) == (200, 4, 1)
    assert dry.json()["changes"] == {"EUR": "700", "ZRX": "1000", "BNB": "-0.00000001"}
    assert client.get("/v1/accounts").json()["items"] == []
    sent = client.post("/v1/imports", content=FILE.encode()).json()
    (error,) = sent["errors"]
    assert (error["line"], "is not a time that exists" in error["error"]) == (6, True)


def test_a_file_of_no_known_layout_is_refused_with_the_nearest(client: httpx.Client) -> None:
    sent = client.post("/v1/imports", content=b"Date,Coin,Change\n2026-01-01,BTC,1\n")
    assert sent.status_code == 422
    assert "Nearest: (1)" in sent.json()["detail"]
    assert client.get("/v1/imports/unknown").status_code == 404


def test_an_instrument_that_a_file_listed_gets_its_steps_when_they_are_stated(client: httpx.Client) -> None:
    client.post("/v1/imports", content=GOOD.encode())
    listing = {"instrument_id": "ZRXEUR.BINANCE", "kind": "SPOT", "base": "ZRX", "quote": "EUR", "tick_size": "0.0001",
               "lot_size": "1"}  # fmt: skip
    assert [client.post("/v1/instruments", json=listing).status_code for _ in range(2)] == [201, 200]
    assert client.get("/v1/instruments/ZRXEUR.BINANCE").json()["tick_size"] == "0.0001"
    other = client.post("/v1/instruments", json=listing | {"tick_size": "0.01"})
    assert other.status_code == 409, "they are stated once"
    assert client.post("/v1/instruments", json=listing | {"base": "XRZ"}).status_code == 409


def test_coins_are_exact_to_the_last_of_eighteen_places(client: httpx.Client) -> None:
    client.post("/v1/imports", content=COINBASE.encode())
    assert balances(client) == {"ETH": "-0.499987654321098766", "USDC": "1450.25"}


def test_a_folder_is_taken_in_any_order_and_one_bad_file_stops_no_other(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    (folder / "later").mkdir(parents=True)
    (folder / "later" / "a.csv").write_text(GOOD)
    (folder / "b.csv").write_text(COINBASE)
    (folder / "notes.txt").write_text("nothing of this is a table\n")
    dry = run("import", str(folder), "--dry-run", "--json")
    assert [one.get("recorded") for one in json.loads(dry.stdout)["files"]] == [2, 4, None]
    done = run("import", str(folder), "--json")
    assert done.returncode == 1
    assert [one.get("recorded") for one in json.loads(done.stdout)["files"]] == [2, 4, None]
    again = run("import", str(folder / "later" / "a.csv"))
    assert "0 recorded, 0 completed, 4 already known" in again.stdout


@pytest.mark.parametrize(("dates", "day"), [("day-first", "2026-01-02"), ("month-first", "2026-02-01")])
def test_the_order_of_dates_is_stated_where_a_file_leaves_it_open(
    run: Run, tmp_path: Path, dates: str, day: str
) -> None:
    path = tmp_path / "h.csv"
    path.write_text("time,coin,dir,px,sz,ntl,fee,closedPnl\n02/01/2026 - 10:00:00,HYPE/USDC,Buy,42,20,840,0.5,0\n")
    left_open = run("import", str(path), "--dry-run")
    assert "--dates day-first" in left_open.stderr
    stated = run("import", str(path), "--dry-run", "--json", "--dates", dates)
    assert json.loads(stated.stdout)["first_at"].startswith(day)


def test_a_pair_that_is_not_clear_waits_for_its_assets_and_is_then_recorded(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "Date(UTC),Market,Type,Price,Amount,Total,Fee,Fee Coin\n2026-01-01 00:00:00,ABCXYZ,BUY,2,3,6,0,XYZ\n"
    )
    kept = run("import", str(path))
    assert "--instrument ABCXYZ=BASE/QUOTE" in kept.stderr
    done = run("import", str(path), "--json", "--instrument", "ABCXYZ=ABC/XYZ")
    assert json.loads(done.stdout)["recorded"] == 1

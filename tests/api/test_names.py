"""Names as venues write them through every door: taken, shown, found, exported, and never mistaken for another."""

import csv
import io
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from rich.cells import cell_len

from domain import names
from domain.errors import InvalidInput
from tests.api.client import fill, order
from tests.api.command_line import Run

pytestmark = pytest.mark.slow

TIME = "2026-01-02T03:04:05.678Z"
ACCOUNTS = ["a", "a:b", "desk:1/λ 币", "50%3A", "=cmd|x"]
SYMBOLS = ["币安人生USDT-PERP", "BTC/USDT:USDT", "@107", "xyz:NVDA", "a%2Fb?c#d", "SPY   251219C00500000"]
ORDERS = ["b:c", "c", "mm_1a/oem+=", "web:9f3c:1", "#1?x=2&y", "..a", "名前 ①"]
BASES = ["币安人生", "SPCXx", "DOT.S", "kPEPE", "1INCH", "T" * 200]


def drawn(count: int) -> list[str]:
    """Names drawn at random, of all characters that a name may have."""
    draw, found = random.Random(36), []
    while len(found) < count:
        text = "".join(draw.choice(":/%@+.-_=#|?&~*()[] 币é3A") for _ in range(draw.randint(1, 9)))
        text += chr(draw.randint(0x21, 0xFFFF))
        with suppress(InvalidInput):
            found.append(names.name(text, "cl_ord_id"))
    return found


ORDERS += drawn(5)


def encoded(text: str) -> str:
    return quote(text, safe="")


@pytest.fixture
def book(client: httpx.Client) -> httpx.Client:
    """A book of odd names: every account trades every symbol, one order each."""
    for account_id in ACCOUNTS:
        made = client.post("/v1/accounts", json={"account_id": account_id, "base_currency": "USDC.e"})
        assert made.status_code == 201, made.text
    for symbol, base in zip(SYMBOLS, BASES, strict=True):
        terms = {"kind": "SPOT", "base": base, "quote": "USDC.e", "tick_size": "1e-8", "lot_size": "1E-8"}
        made = client.post("/v1/instruments", json={"instrument_id": f"{symbol}.VENUE_X", **terms})
        assert made.status_code == 201, made.text
    for account_id, cl_ord_id, symbol in placed():
        body = order(cl_ord_id, account_id=account_id, instrument_id=f"{symbol}.VENUE_X", strategy_id="s:1/x")
        made = client.post("/v1/orders", json=body, headers={"Idempotency-Key": "k-" + cl_ord_id.encode().hex()[:40]})
        assert made.status_code in (201, 422), made.text
        if made.status_code == 422:  # the key was used for the order of another account
            assert client.post("/v1/orders", json=body).status_code == 201
    reports = [
        fill(
            f"{number}:x#2/+=", account_id=account_id, cl_ord_id=cl_ord_id, instrument_id=f"{symbol}.VENUE_X",
            order_id=f"V:{number}", strategy_id="s:1/x", last_qty="5e-1", last_px="1E2",
            commission={"amount": "1.14E-6", "currency": "usdt.e"},
        )
        for number, (account_id, cl_ord_id, symbol) in enumerate(placed())
    ]  # fmt: skip
    answers = client.post("/v1/venue-reports", json={"reports": reports})
    assert {each["status"] for each in answers.json()["answers"]} == {"recorded"}, answers.text
    client.get("/v1/journal", params={"min_seq": answers.headers["Daybook-Seq"]})
    return client


def placed() -> list[tuple[str, str, str]]:
    return [
        (account_id, cl_ord_id, SYMBOLS[number % len(SYMBOLS)])
        for account_id in ACCOUNTS
        for number, cl_ord_id in enumerate(ORDERS)
    ]


def items(client: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(path, params={"limit": 1000, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_odd_names_go_through_every_door(book: httpx.Client, run: Run, tmp_path: Path):
    for account_id, cl_ord_id, symbol in placed():
        path = f"/v1/orders/{encoded(account_id)}/{encoded(cl_ord_id)}"
        read = book.get(path)
        assert read.status_code == 200, (path, read.text)
        row = read.json()
        assert (row["account_id"], row["cl_ord_id"]) == (account_id, cl_ord_id)
        assert (row["instrument_id"], row["cum_qty"]) == (f"{symbol}.VENUE_X", "0.5")
        assert book.get(f"{path}/why").status_code == 200, path
    missing = book.get("/v1/orders/a%2Fb/c%23d")
    assert (missing.status_code, missing.json()["instance"]) == (404, "/v1/orders/a%2Fb/c%23d")
    for account_id in ACCOUNTS:
        orders = items(book, "/v1/orders", account_id=account_id)
        assert sorted(row["cl_ord_id"] for row in orders) == sorted(ORDERS)
        assert {row["account_id"] for row in items(book, "/v1/positions", account_id=account_id)} == {account_id}
        events = items(book, "/v1/events", account_id=account_id)
        assert len([e for e in events if e["record"]["event"]["type"] == "OrderFilled"]) == len(ORDERS)
        assert book.get(f"/v1/accounts/{encoded(account_id)}").json()["account_id"] == account_id
    paged, cursor = [], None
    while True:
        page = book.get("/v1/positions", params={"limit": 7} | ({"cursor": cursor} if cursor else {})).json()
        paged += [(row["account_id"], row["instrument_id"]) for row in page["items"]]
        if not (cursor := page["next"]):
            break
    assert len(paged) == len(set(paged)) == len(ACCOUNTS) * len(SYMBOLS)
    for symbol in SYMBOLS:
        for written in (encoded(f"{symbol}.VENUE_X"), encoded(f"{symbol}.VENUE_X").replace("%2F", "/")):
            assert book.get(f"/v1/instruments/{written}").json()["instrument_id"] == f"{symbol}.VENUE_X"
        marked = book.get("/v1/pnl", params={"account_id": "a:b", "mark": f"{symbol}.VENUE_X=2e2"})
        assert marked.status_code == 200, marked.text
    assert {row["asset"] for row in items(book, "/v1/balances", account_id="a")} == {*BASES, "USDC.e", "usdt.e"}
    assert_exported(book, tmp_path)
    assert_canceled_apart(book)
    closed = book.post("/v1/closings", json={})
    assert closed.status_code == 201, closed.text
    for account_id in ("a:b", "desk:1/λ 币"):
        of = {"account_id": account_id, "instrument_id": "xyz:NVDA.VENUE_X", "strategy_id": "s:1/x"}
        proof = book.get("/v1/proofs/position", params=of)
        assert proof.status_code == 200 and proof.json()["after"] is None, proof.text
        bundle = tmp_path / "bundle.zip"
        done = run("export", str(bundle), "--account", account_id)
        assert done.returncode == 0, done.stderr
        done = run("verify", str(bundle), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        bundle.unlink()
    done = run("verify", "--derivation", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    table = run("report", "positions", "--account", "a").stdout.splitlines()
    rows = [line for line in table if ".VENUE_X" in line]
    assert len(rows) == len(SYMBOLS) and len({cell_len(line) for line in rows}) == 1, "columns are below each other"
    shown = run("order", "show", "mm_1a/oem+=", "--account", "desk:1/λ 币")
    assert shown.returncode == 0 and "mm_1a/oem+=" in shown.stdout, shown.stderr


def assert_exported(book: httpx.Client, folder: Path) -> None:
    """Every form of the reports has the names, and other programs read them."""
    rows = csv.DictReader(io.StringIO(book.get("/v1/reports/positions", params={"format": "csv"}).text))
    shown = {(row["account_id"].removeprefix("'"), row["instrument_id"].removeprefix("'")) for row in rows}
    assert shown == {(account_id, f"{symbol}.VENUE_X") for account_id in ACCOUNTS for symbol in SYMBOLS}
    text = book.get("/v1/reports/positions", params={"format": "csv"}).text
    assert "\r\n=cmd" not in text and "'=cmd|x" in text, "no cell is a formula"
    for form in ("parquet", "json"):
        assert book.get("/v1/reports/positions", params={"format": form}).status_code == 200
    for account_id in ACCOUNTS:
        statement = {"account_id": account_id, "day": "2026-01-02"}
        for form in ("html", "pdf"):
            made = book.get("/v1/reports/statement", params=statement | {"format": form})
            assert made.status_code == 200, made.text
        assert "USDC" in book.get("/v1/reports/statement", params=statement | {"format": "html"}).text
    ledger = book.get("/v1/reports/journal", params={"format": "beancount"})
    assert ledger.status_code == 200, ledger.text
    path = folder / "book.beancount"
    path.write_bytes(ledger.content)
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("bean-check")), str(path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = book.get("/v1/reports/journal", params={"format": "hledger"}).text
    accounts = {line.removeprefix("account ") for line in text.splitlines() if line.startswith("account ")}
    cash = {line for line in accounts if line.startswith("Assets:")}
    assert len(cash) == len(ACCOUNTS) and all(line.count(":") == 2 for line in cash), cash
    assert not any("  " in line for line in accounts), "two blanks would end the name"


def assert_canceled_apart(book: httpx.Client) -> None:
    """One `Idempotency-Key` for the orders `#1?x=2&y` of two accounts, and for two orders that differ after a `#`."""
    first = f"/v1/orders/a/{encoded('#1?x=2&y')}/cancel"
    assert book.post(first, headers={"Idempotency-Key": "one"}).status_code == 201
    again = book.post(first, headers={"Idempotency-Key": "one"})
    assert again.status_code == 201
    other = book.post(f"/v1/orders/a/{encoded('c')}/cancel", headers={"Idempotency-Key": "one"})
    assert other.status_code == 422, "the key is of another order"
    status = {(row["account_id"], row["cl_ord_id"]): row["status"] for row in items(book, "/v1/orders")}
    pending = {key for key, value in status.items() if value == "PENDING_CANCEL"}
    assert pending <= {("a", "#1?x=2&y")}, pending

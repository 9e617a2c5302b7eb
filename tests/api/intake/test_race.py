"""Promise 4: orders racing for one limit never pass together if their sum does not fit, in any process."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx

from adapters.log.postgres import PostgresLog
from adapters.writer.writer import Writer
from api.clock import now
from api.daybook import Daybook
from domain.errors import RequestRefused
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Side
from tests import CHECKOUT
from tests.api.client import BTC, order
from tests.api.own_writes import Client


def limited(desk: httpx.Client, limit: str) -> None:
    requested = {"account_id": "main", "measure": "MAX_POSITION", "limit": limit, "instrument_id": BTC}
    assert desk.post("/v1/limits", json=requested).status_code == 201


def held(desk: httpx.Client) -> Decimal:
    head = desk.get("/v1/events", params={"limit": 1}).json()["seq"]
    (row,) = desk.get("/v1/limits", params={"min_seq": head}).json()["items"]
    return Decimal(row["held_buy"])


def test_threads_racing_over_http_never_pass_the_limit_together(desk: httpx.Client, server: str):
    limited(desk, "10")
    start = threading.Barrier(16)

    def submit(number: int) -> tuple[int, dict[str, object]]:
        with Client(base_url=server, headers=desk.headers, timeout=60) as client:
            start.wait()
            answers = [client.post("/v1/orders", json=order(f"R-{number}-{n}", order_qty="0.7")) for n in range(3)]
        return [(answer.status_code, answer.json()) for answer in answers]  # type: ignore[return-value]

    with ThreadPoolExecutor(16) as pool:
        answers = [answer for each in pool.map(submit, range(16)) for answer in each]  # type: ignore[misc]
    passed = [shown for status, shown in answers if status == 201]
    refused = [shown for status, shown in answers if status == 409]
    assert len(passed) + len(refused) == 48
    assert len(passed) == 14, "14 orders of 0.7 fit a limit of 10, a 15th does not"
    for shown in refused:
        assert (shown["rule"], shown["limit"]) == ("MAX_POSITION is not exceeded", "10")
        assert Decimal(shown["used"]) <= 10 < Decimal(shown["asked"])
    assert held(desk) == Decimal("9.8")


def test_two_writers_on_one_database_never_pass_the_limit_together(desk: httpx.Client, daybook: Daybook):
    limited(desk, "5")
    start = threading.Barrier(2)

    def submit(name: str) -> int:
        passed = 0
        with PostgresLog(daybook.url) as log:
            writer = Writer(log, now)
            start.wait()
            for number in range(20):
                terms = OrderTerms("main", BTC, Side.BUY, OrdType.LIMIT, Decimal("0.5"), Decimal(100))
                try:
                    writer.request(SubmitOrder(OrderKey("main", f"{name}-{number}"), terms, now()), actor=name)
                    passed += 1
                except RequestRefused as refusal:
                    assert refusal.facts["limit"] == 5  # noqa: PT017
        return passed

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(submit, ("left", "right"))) == 10
    assert held(desk) == 5


SUBMITTER = """
import sys
from decimal import Decimal
from adapters.log.postgres import PostgresLog
from adapters.writer.writer import Writer
from api.clock import now
from domain.errors import RequestRefused
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Side

url, name = sys.argv[1:]
passed = 0
with PostgresLog(url) as log:
    writer = Writer(log, now)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(15):
        terms = OrderTerms("main", "BTCUSDT.BINANCE", Side.BUY, OrdType.LIMIT, Decimal("0.5"), Decimal(100))
        try:
            writer.request(SubmitOrder(OrderKey("main", f"{name}-{number}"), terms, now()), actor=name)
            passed += 1
        except RequestRefused as refusal:
            assert refusal.facts["limit"] == 5, refusal
print(passed)
"""


def test_two_processes_on_one_database_never_pass_the_limit_together(desk: httpx.Client, daybook: Daybook):
    limited(desk, "5")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, daybook.url, name], cwd=CHECKOUT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for name in ("left", "right")
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(map(int, said)) == 10
    assert held(desk) == 5

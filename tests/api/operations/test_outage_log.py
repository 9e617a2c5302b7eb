"""A service whose database is stopped for a while logs that once, however many requests and tasks fail meanwhile."""

import json
import time
from pathlib import Path

import pytest

from adapters.postgres import embedded
from tests.api.client import open_book, order
from tests.api.operations.serving import served
from tests.waiting import until


@pytest.mark.slow
def test_an_outage_is_one_line_with_counts_and_one_when_it_is_over(home: Path) -> None:
    database = embedded.start(home, durable=False)
    with served(home, database) as service:
        service.until("/ready/write", lambda answer: answer.status_code == 200)
        open_book(service.client)
        log = home / "serve.log"
        until(lambda: "/v1/instruments" in log.read_text())
        before = len(log.read_text().splitlines())
        embedded.stop(home)
        began, rounds = time.monotonic(), 0
        while time.monotonic() < began + 6 or rounds < 12:
            rounds += 1
            assert service.client.post("/v1/orders", json=order()).status_code == 503
            assert service.client.get("/v1/positions").status_code in (401, 503)
            service.client.get("/ready")
            time.sleep(0.2)
        meanwhile = [json.loads(line) for line in log.read_text().splitlines()[before:]]
        assert [line["event"] for line in meanwhile] == ["the database is away"], meanwhile
        embedded.start(home, durable=False)
        service.until_ready()
        until(lambda: "the database is back" in log.read_text())
        after = [json.loads(line) for line in log.read_text().splitlines()[before + 1 :]]
        (back,) = [line for line in after if line["event"] == "the database is back"]
        assert back["failed"]["requests"] > 20 and {"follower", "sealer", "writer"} <= back["failed"].keys()

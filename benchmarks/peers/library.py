"""The eventsourcing library's own application on PostgreSQL: `python -m benchmarks.peers.library URL SIZE SECONDS GO`.

Saves an aggregate of SIZE events at a time, as fast as possible, once the file GO exists. Prints {"commits_s"}.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


def application(url: str, *, create: bool) -> object:
    """Create an application over its own tables in the database."""
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate, event

    class Order(Aggregate):
        @event("Submitted")
        def __init__(self, instrument_id: str, side: str, quantity: str, price: str, note: str) -> None:
            self.filled = 0

        @event("Filled")
        def fill(self, exec_id: str, side: str, quantity: str, price: str, note: str) -> None:
            self.filled += 1

    at = urlsplit(url)
    query = parse_qs(at.query)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": at.path.strip("/"),
        "POSTGRES_HOST": query["host"][0],
        "POSTGRES_PORT": query["port"][0],
        "POSTGRES_USER": at.username or "",
        "POSTGRES_PASSWORD": "",
        "POSTGRES_SCHEMA": "public",
        "CREATE_TABLE": "y" if create else "n",
    }
    made = Application(environment)
    made.order = Order  # type: ignore[attr-defined]
    return made


def written(url: str, aggregates: int, events: int) -> tuple[Any, list[Any]]:
    """Save `aggregates` of `events` each. Return the application and their ids."""
    app: Any = application(url, create=True)
    ids = []
    for _ in range(aggregates):
        one = app.order("BTCUSDT.SIM", "BUY", quantity="1.25", price="97500.10", note="n" * 120)
        for n in range(events - 1):
            one.fill(f"E{n}", "BUY", quantity="0.25", price="97500.10", note="n" * 120)
        app.save(one)
        ids.append(one.id)
    return app, ids


def main(url: str, size: int, seconds: float, go: str) -> None:
    app: object = application(url, create=False)
    order = app.order  # type: ignore[attr-defined]
    print("ready", flush=True)
    while not Path(go).exists():
        time.sleep(0.005)
    began, commits = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        one = order("BTCUSDT.SIM", "BUY", quantity="1.25", price="97500.10", note="n" * 120)
        for n in range(size - 1):
            one.fill(f"E{n}", "BUY", quantity="0.25", price="97500.10", note="n" * 120)
        app.save(one)  # type: ignore[attr-defined]
        commits += 1
    print(json.dumps({"commits_s": commits / elapsed}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])

"""Two services over one database: which of them is ready for writers, and whom the other names."""

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from adapters.postgres import embedded
from adapters.writer import leadership
from api.clock import now
from tests.api.client import open_book, order
from tests.api.operations.serving import Service, served
from tests.waiting import until as wait

pytestmark = pytest.mark.slow

ADVERTISED = "https://desk-1.example/daybook"


def is_ready_to_write(service: Service) -> None:
    service.until("/ready/write", lambda answer: answer.status_code == 200)


@pytest.mark.slow
def test_a_standby_is_ready_for_readers_only_and_names_the_leader_until_it_takes_over(home: Path) -> None:
    database = embedded.start(home, durable=False)
    with served(home, database, DAYBOOK_ADVERTISED_URL=ADVERTISED) as first, served(home, database) as second:
        is_ready_to_write(first)
        open_book(first.client)
        second.until_ready()
        refused, ready = second.client.get("/ready/write"), second.client.get("/ready")
        assert (ready.status_code, second.client.get("/ready/read").status_code) == (200, 200)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:daybook:problem:not-leading")
        assert ADVERTISED in refused.json()["detail"]
        for shown in (refused.json(), ready.json(), first.client.get("/ready").json()):
            assert shown["writes"]["leader"]["url"] == ADVERTISED
            assert str(first.process.pid) in shown["writes"]["leader"]["process"]
        assert (ready.json()["writes"]["is_leading"], first.client.get("/ready").json()["writes"]["is_leading"]) == (
            False, True,
        )  # fmt: skip
        answer = second.client.post("/v1/orders", json=order())
        assert (answer.status_code, answer.json()["leader_url"]) == (503, ADVERTISED)
        assert second.client.get("/v1/accounts").status_code == 200, "it answers queries"

        first.process.kill()
        is_ready_to_write(second)
        assert second.submit("A-1").status_code == 201
        assert second.client.get("/ready/write").json()["writes"]["leader"]["url"] == str(
            second.client.base_url
        ).rstrip("/")
        assert "daybook_leading 1.0" in second.client.get("/metrics").text


def test_a_leader_on_record_that_does_not_hold_the_lock_is_not_named(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(leadership.ENTER.encode(), ["http://gone.example (process 1 on gone)"])
        assert leadership.present(database_url) is None
        connection.execute("SELECT pg_advisory_lock(%s)", [leadership.LEADER_LOCK])
        found = leadership.present(database_url)
        assert found is not None and (found.url, found.process) == ("http://gone.example", "process 1 on gone")
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute(leadership.ENTER.encode(), ["http://other.example (process 2 on other)"])
            assert leadership.present(database_url) is None, "another session than the holder's is on record"


ORDERS = 80  # of each account
COUNTED = """
SELECT originator_id, count(*) FROM ledger.events WHERE topic = 'OrderCancelRequested' GROUP BY originator_id
"""


def test_policies_go_on_in_the_next_leader_when_theirs_is_killed_and_nothing_is_done_twice(home: Path) -> None:
    database = embedded.start(home, durable=False)
    with served(home, database) as first, served(home, database) as second, psycopg.connect(
        database, autocommit=True
    ) as connection:  # fmt: skip
        is_ready_to_write(first)
        open_book(first.client)
        assert first.client.post("/v1/accounts", json={"account_id": "other", "base_currency": "USDT"}).is_success
        for number in range(ORDERS):
            halted = order(f"H-{number}", account_id="other")
            assert first.client.post("/v1/orders", json=halted).status_code == 201
        begin = now() + timedelta(seconds=4)
        for number in range(ORDERS):
            until = (begin + timedelta(milliseconds=25 * number)).isoformat()
            dated = order(f"E-{number}", time_in_force="GTD", expire_time=until)
            assert first.client.post("/v1/orders", json=dated).status_code == 201

        def requested() -> dict[str, int]:
            return dict(connection.execute(COUNTED).fetchall())

        second.until_ready()
        wait(lambda: len(requested()) > ORDERS // 8)
        halt = {"account_id": "other", "mode": "HALT", "reason": "test"}
        assert first.client.post("/v1/kill-switches", json=halt).is_success
        first.process.kill()
        at_kill = len(requested())
        wait(lambda: len(requested()) == 2 * ORDERS)
        assert ORDERS // 8 < at_kill < 2 * ORDERS, "it was killed in the middle"
        second.until_ready()
        assert set(requested().values()) == {1}, "each order was requested to be canceled once"
        assert second.client.get("/ready/write").status_code == 200

"""Two services over one database: which of them is ready for writers, and whom the other names."""

from pathlib import Path

import psycopg
import pytest

from adapters.postgres import embedded
from adapters.writer import leadership
from tests.api.client import open_book, order
from tests.api.operations.serving import Service, served

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

"""A wrong clock, from the outside: a service and commands that refuse, and what an operator does about it."""

import json
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from adapters.writer.writer import Writer
from api import clock
from api.clock import now
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Side, positive
from tests.api.client import BTC, open_book, order
from tests.api.command_line import Run
from tests.api.operations.serving import Service, served, wrong_time

TEN_YEARS = timedelta(days=3652)


def recorded_by_a_wrong_clock(database: str, *cl_ord_ids: str) -> None:
    """As by a release that did not check its clock; the last of them when it was right again."""
    with PostgresLog(database) as log:
        for place, cl_ord_id in enumerate(cl_ord_ids, 1):
            ahead = TEN_YEARS if place < len(cl_ord_ids) else timedelta()
            terms = OrderTerms("main", BTC, Side.BUY, OrdType.LIMIT, positive("1", "qty"), positive("100", "price"))
            request = SubmitOrder(OrderKey("main", cl_ord_id), terms, now())
            Writer(log, lambda: now() + ahead).request(request, actor="bot")  # noqa: B023


def orders_at(service: Service, moment: str) -> list[str]:
    answer = service.client.get("/v1/orders", params={"as_of": moment})
    assert answer.status_code == 200, answer.text
    return sorted(one["cl_ord_id"] for one in answer.json()["items"])


def last_events(service: Service) -> list[dict[str, Any]]:
    """The events of the two last orders."""
    found: list[dict[str, Any]] = service.client.get("/v1/events", params={"limit": 1000}).json()["items"]
    return found[-4:]


@pytest.mark.slow
def test_a_service_refuses_to_record_by_a_wrong_clock_until_it_is_right_or_confirmed(
    home: Path, tmp_path: Path, inside: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, ahead = embedded.start(home, durable=False), tmp_path / "ahead"
    ahead.write_text("0")
    monkeypatch.setenv("DAYBOOK_HOME", str(home))
    run = partial(inside, url=database)
    with served(home, database, ahead=ahead) as service:
        open_book(service.client)
        assert service.client.post("/v1/orders", json=order("A-1")).status_code == 201
        ahead.write_text(str(TEN_YEARS.total_seconds()))
        refused = service.client.post("/v1/orders", json=order("A-2"))
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:daybook:problem:clock")
        assert "jumped forward by 3,652 days" in refused.json()["detail"] and refused.headers["Retry-After"]
        assert "clock is in doubt" in service.until_trouble("clock is in doubt")
        service.until("/v1/orders/main/A-1", lambda answer: answer.status_code == 200)  # it can be read
        with monkeypatch.context() as patched:
            patched.setattr(clock, "time", wrong_time(TEN_YEARS.total_seconds))
            from_here = run(*submit("A-2"))
        assert from_here.returncode == 1 and "and the database's" in from_here.stderr, from_here.stderr
        ahead.write_text("0")
        service.submit("A-2")
        service.until_ready()

    recorded_by_a_wrong_clock(database, "B-1", "B-2")
    with served(home, database, ahead=ahead) as service:
        refused = service.client.post("/v1/orders", json=order("A-3"))
        assert (
            refused.status_code == 503 and "later than it is by the clock of this machine" in refused.json()["detail"]
        )
        unknown = service.client.get("/v1/orders", params={"as_of": now().isoformat()})
        assert (unknown.status_code, unknown.json()["type"]) == (422, "urn:daybook:problem:moment-unknown")
        shown = run("clock", "show")
        assert shown.returncode == 1 and "In doubt: the log ends at 203" in shown.stdout
        assert run(*submit("A-3")).returncode == 1

        confirmed = run("clock", "confirm", "--reason", "NTP was off", "--json")
        assert confirmed.returncode == 0, confirmed.stderr
        at = json.loads(confirmed.stdout)["confirmed"]["recorded_at"]
        service.submit("A-3")
        assert run(*submit("A-4")).returncode == 0
        service.until_ready()

        recorded = [datetime.fromisoformat(one["recorded_at"]) for one in last_events(service)]
        assert recorded == sorted(recorded) and recorded[0] < recorded[-1], "time goes on"
        assert now() - recorded[-1] < timedelta(minutes=5), "and is right"
        assert orders_at(service, now().isoformat()) == ["A-1", "A-2", "A-3", "A-4", "B-1", "B-2"]
        assert orders_at(service, at) == ["A-1", "A-2", "B-1", "B-2"]
        first, last = unknown.json()["first_seq"], unknown.json()["last_seq"]
        assert orders_at(service, str(first - 1)) == ["A-1", "A-2"] and orders_at(service, str(last))[-1] == "B-2"
        of_wrong_clock = service.client.get("/v1/orders", params={"as_of": str(last)}).json()
        assert of_wrong_clock["recorded_at"] == at, "the latest that it can have been"
        events = service.client.get("/v1/events", params={"stream": "clock"}).json()["items"]
        assert [(one["record"]["actor"][:3], one["record"]["event"]["reason"]) for one in events] == [
            ("os:", "NTP was off")
        ]
        assert "No clock is in doubt" in run("clock", "confirm", "--reason", "again").stdout
        bundle = str(tmp_path / "all.zip")
        assert run("export", bundle).returncode == 0
        for arguments in ([], [bundle]):
            verified = run("verify", *arguments)
            assert verified.returncode == 0, verified.stdout + verified.stderr
        assert run("verify", "--projections").returncode == 0


def submit(cl_ord_id: str) -> list[str]:
    return ["order", "submit", cl_ord_id, "--instrument", BTC, "--side", "BUY", "--qty", "1", "--price", "100"]

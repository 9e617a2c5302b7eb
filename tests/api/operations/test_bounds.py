"""A key that is bounded to an account or a strategy: no operation shows or changes anything of another one.

The operations are those of the OpenAPI description, so a new one is tested from its first day.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api.daybook import Daybook
from tests.api.client import BTC, fill, open_book, order
from tests.api.own_writes import Client
from tests.api.test_hostile import BODIES, PATHS, operations, plain

pytestmark = pytest.mark.slow

OTHER = "bravo"  # in every name of the other account, and in no other name
SCOPES = ["trade", "record", "audit", "admin", "personal"]
DAY = "2026-01-02"
REPORTS = ("positions", "lots", "matches", "pnl", "exposure", "blotter", "executions", "breaks", "limits", "journal",
           "trial-balance", "balances", "daily", "equity", "statement", "restatement", "risk", "leverage", "quality",
           "nav")  # fmt: skip


def of_other(value: Any) -> Any:
    """A body about the other account and its strategy."""
    if isinstance(value, dict):
        return {key: of_other_member(key, member) for key, member in value.items()}
    return [of_other(each) for each in value] if isinstance(value, list) else value


def of_other_member(key: str, member: Any) -> Any:
    match key:
        case "account_id":
            return OTHER
        case "strategy_id":
            return f"s-{OTHER}"
        case "cl_ord_id" | "exec_id" | "transfer_id":
            return f"{OTHER}-{member}"
        case _:
            return of_other(member)


@pytest.fixture
def book(client_for: Callable[..., httpx.Client]) -> httpx.Client:
    """A book of two accounts, with something of each kind in both."""
    desk = client_for(*SCOPES, actor="desk")
    open_book(desk)
    post(
        desk,
        "/v1/accounts",
        {"account_id": OTHER, "base_currency": "USDT", "owner": {"subject_id": "s", "name": OTHER}},
    )
    for turn in (lambda body: body, of_other):
        post(desk, "/v1/orders", turn(order("A-1", strategy_id="main")))
        post(desk, "/v1/orders", turn(order("A-2", strategy_id="trend")))
        reports = [fill("E-1", strategy_id="main"), fill("E-2", cl_ord_id="A-2", strategy_id="trend")]
        reports.append(
            fill("E-3", side="SELL", last_px="300", strategy_id="main", transact_time="2026-01-02T04:04:05Z")
        )
        reports.append(fill("E-1", last_px="-1", cl_ord_id="A-1"))
        reports.append(fill("E-1", last_px="123", strategy_id="main"))
        post(desk, "/v1/venue-reports", {"reports": turn(reports)})
        post(desk, "/v1/transfers", turn(BODIES["/v1/transfers"]))
        post(desk, "/v1/limits", turn(BODIES["/v1/limits"] | {"limit": "500"}))
        post(desk, "/v1/kill-switches", turn(BODIES["/v1/kill-switches"] | {"venue": None, "asset": None}))
    post(desk, "/v1/marks", BODIES["/v1/marks"])
    post(desk, "/v1/closings", {})
    return desk


def post(client: httpx.Client, path: str, body: Any) -> httpx.Response:
    answer = client.post(path, json=body)
    assert answer.status_code < 300, (path, answer.text)
    return answer


@pytest.fixture
def issued(book: httpx.Client, server: str) -> Iterator[Callable[..., httpx.Client]]:
    """Makes clients whose key has these bounds, and the scopes of the desk."""
    with ExitStack() as stack:

        def made(**bounds: Any) -> httpx.Client:
            answer = post(book, "/v1/keys", {"name": "bot", "scopes": SCOPES, **bounds})
            headers = {"Authorization": f"Bearer {answer.json()['key']}"}
            return stack.enter_context(Client(base_url=server, headers=headers, timeout=30))

        yield made


def reads(desk: httpx.Client, *, named: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Every read, with the other account and strategy named wherever they can be, or left out where they can be."""
    for method, path, parameters in operations(desk.get("/openapi.json").json()):
        if method != "get" or not path.startswith("/v1/"):
            continue
        by_path, by_query = plain(path, parameters)
        known = {each["name"] for each in parameters}
        mine = {
            "account_id": OTHER,
            "strategy_id": f"s-{OTHER}",
            "cl_ord_id": f"{OTHER}-A-1",
            "day": DAY,
            "digest": "x",
        }
        by_path |= {name: mine[name] for name in by_path.keys() & mine.keys()}
        by_query |= {name: mine[name] for name in by_query.keys() & mine.keys()}
        if named and "account_id" in known:
            by_query |= {} if "account_id" in by_path else {"account_id": OTHER}
        places = [{}]
        if "{report}" in path:
            places = [{"report": name} for name in REPORTS]
        elif "{model}" in path:
            places = [{"model": name} for name in ("positions", "pnl", "exposure")]
            by_query |= {"cell": "quantity", "instrument_id": BTC}
        elif "{seq}" in path:
            places = [{"seq": str(seq)} for seq in range(20, 44, 2)]
        for place in places:
            query = dict(by_query)
            if place.get("report") == "statement":
                query["day"] = DAY
            yield path.format(**{name: quote(text, safe="") for name, text in (by_path | place).items()}), query


def shows_other(answer: httpx.Response) -> bool:
    """Whether an answer has the other account; that of a refusal has what its request named."""
    return answer.status_code < 300 and OTHER in answer.text


def test_no_read_shows_another_account(book: httpx.Client, issued: Callable[..., httpx.Client]):
    bounded = issued(accounts=["main"])
    seq = int(book.get("/v1/keys").headers["Daybook-Seq"])
    book.get("/v1/journal", params={"min_seq": seq})
    shown, leaked = set[str](), []
    for named in (False, True):
        for path, query in reads(book, named=named):
            if not named and shows_other(book.get(path, params=query)):
                shown.add(path)
            answer = bounded.get(path, params=query)
            if shows_other(answer):
                leaked.append((path, query, answer.text[:300]))
            if named and query.get("account_id") == OTHER:
                assert answer.status_code == 403, (path, query, answer.text[:300])
    assert not leaked, leaked
    assert len(shown) > 30, "the whole book shows the other account: else this test finds nothing"
    mine = bounded.get("/v1/positions").json()["items"]
    assert {row["account_id"] for row in mine} == {"main"}
    assert [each["account_id"] for each in bounded.get("/v1/accounts").json()["items"]] == ["main"]
    digest = book.get("/v1/reports/positions", params={"account_id": OTHER}).headers["Daybook-Report-Digest"]
    assert OTHER in book.get("/v1/reports", params={"digest": digest}).text
    assert bounded.get("/v1/reports", params={"digest": digest}).status_code == 403
    whole = book.get("/v1/reports/positions").headers["Daybook-Report-Digest"]
    assert bounded.get("/v1/reports", params={"digest": whole}).status_code == 403
    own = bounded.get("/v1/reports/positions").headers["Daybook-Report-Digest"]
    assert bounded.get("/v1/reports", params={"digest": own}).status_code == 200
    for twice in ("account_id=main&account_id=bravo", "account_id=bravo&account_id=main"):
        assert bounded.get(f"/v1/positions?{twice}").status_code == 422
    assert bounded.get("/v1/events", params={"stream": f"order:{OTHER}:"}).json()["items"] == []
    of_two = issued(accounts=["main", OTHER])
    refused = of_two.get("/v1/positions")
    assert (refused.status_code, refused.json()["accounts"]) == (403, [OTHER, "main"]), "it names one"
    assert of_two.get("/v1/positions", params={"account_id": OTHER}).json()["items"]


def test_no_write_changes_another_account(issued: Callable[..., httpx.Client], daybook: Daybook):
    bounded = issued(accounts=["main"])
    before = daybook.history.head().seq
    for path, body in BODIES.items():
        place = path.format(**PATHS | {"account_id": OTHER, "cl_ord_id": f"{OTHER}-A-1"})
        method = "PATCH" if path == "/v1/instruments/{instrument_id}" else "POST"
        named = {"account_id": OTHER} if path == "/v1/imports" else {}  # its body is a file
        answer = bounded.request(method, place, json=of_other(copy.deepcopy(body)), params=named)
        assert answer.status_code == 403, (path, answer.status_code, answer.text[:300])
    mixed = [fill("E-8"), fill("E-9", account_id=OTHER)]
    assert bounded.post("/v1/venue-reports", json={"reports": mixed}).status_code == 403
    for body in (b"", b"{", b'{"reports":[{"account_id":"bravo"', json.dumps({"reports": [{"account_id": ["bravo"]}]})):
        refused = bounded.post("/v1/venue-reports", content=body, headers={"Content-Type": "application/json"})
        assert refused.status_code in (403, 422), refused.text
    assert daybook.history.head().seq == before, "nothing is recorded, no evidence either"
    assert bounded.post("/v1/orders", json=order("A-9", strategy_id="main")).status_code == 201
    assert bounded.post("/v1/orders/main/A-9/cancel").status_code == 201
    assert bounded.post("/v1/venue-reports", json={"reports": [fill("E-10")]}).json()["answers"][0]["status"] in (
        "recorded",
        "broken",
    ), "booked, as more than was left of the order"


def test_a_key_of_one_strategy_sees_and_trades_that_alone(book: httpx.Client, issued: Callable[..., httpx.Client]):
    bounded = issued(accounts=["main"], strategies=["trend"])
    seq = book.get("/v1/keys").headers["Daybook-Seq"]
    for name in ("positions", "orders", "executions", "pnl", "exposure"):
        rows = bounded.get(f"/v1/{name}", params={"min_seq": seq}).json()["items"]
        assert {(row["account_id"], row["strategy_id"]) for row in rows} == {("main", "trend")}, name
        assert bounded.get(f"/v1/{name}", params={"strategy_id": "main"}).status_code == 403
    for path, query in reads(book, named=False):
        answer = bounded.get(path, params=query)
        if answer.status_code == 200 and "instruments" not in path and "checkpoint" not in path:
            assert not re.search(r'"strategy_id":"(?!trend")', answer.text), (path, answer.text[:300])
            assert "A-1" not in answer.text, (path, answer.text[:300])
    assert bounded.get("/v1/orders/main/A-2").status_code == 200
    assert bounded.get("/v1/orders/main/A-1").status_code == 403
    assert bounded.post("/v1/orders/main/A-1/cancel").status_code == 403
    assert bounded.post("/v1/orders", json=order("A-8")).status_code == 403, "of the strategy main, as none is named"
    assert bounded.post("/v1/orders", json=order("A-8", strategy_id="trend")).status_code == 201
    assert bounded.post("/v1/venue-reports", json={"reports": [fill("E-8", strategy_id="main")]}).status_code == 403
    switch = {"account_id": "main", "mode": "HALT", "reason": "x"}
    assert bounded.post("/v1/kill-switches", json=switch).status_code == 403
    assert bounded.get("/v1/balances").status_code == bounded.get("/v1/journal").status_code == 403

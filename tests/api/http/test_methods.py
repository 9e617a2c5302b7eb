"""Methods, media types and paths by RFC 9110: of every path that OpenAPI describes."""

from typing import Any

import httpx
import pytest

from tests.api.client import order
from tests.api.test_hostile import GIVEN, PATHS

pytestmark = pytest.mark.slow
PROBLEM = "application/problem+json"
VERBS = ("get", "post", "put", "patch", "delete")


def filled(path: str, operation: dict[str, Any]) -> str:
    """A path with its parameters, and those of the query that are required."""
    given = {**GIVEN, **PATHS}
    query = "&".join(
        f"{each['name']}={given.get(each['name'], 'x')}"
        for each in operation.get("parameters", [])
        if each["in"] == "query" and each.get("required")
    )
    names = {each["name"]: given.get(each["name"], "x") for each in operation.get("parameters", [])}
    return path.format(**names) + (f"?{query}" if query else "")


def test_every_path_answers_head_options_and_names_its_methods(desk: httpx.Client):
    desk.post("/v1/orders", json=order())
    described = desk.get("/openapi.json").json()["paths"]
    assert len(described) > 50
    for path, operations in described.items():
        of = next(iter(operations.values()))
        url = filled(path, of)
        methods = {verb.upper() for verb in operations} | {"OPTIONS"} | ({"HEAD"} if "get" in operations else set())
        options = desk.options(url)
        assert (path, options.status_code, options.content) == (path, 204, b"")
        assert (path, set(options.headers["allow"].split(", "))) == (path, methods)
        (absent, *_) = [verb for verb in ("DELETE", "PUT") if verb not in methods]
        refused = desk.request(absent, url)
        assert (path, refused.status_code, refused.headers["content-type"]) == (path, 405, PROBLEM)
        assert (refused.json()["code"], refused.headers["allow"]) == ("METHOD_NOT_ALLOWED", options.headers["allow"])
        if "get" in operations:
            url = filled(path, operations["get"])
            got, head = desk.get(url), desk.head(url)
            assert (path, head.status_code, head.content) == (path, got.status_code, b"")
            assert head.headers["content-type"] == got.headers["content-type"]
        near = desk.request(next(iter(operations)), url.partition("?")[0] + "/")
        assert (path, near.headers["content-type"]) == (path, PROBLEM)
        assert near.status_code == 404 or path.startswith("/v1/instruments"), "an instrument's id may have slashes"


def test_pages_answer_head_and_options_too(client: httpx.Client):
    for path in ("/", "/docs", "/openapi.json", "/health", "/ready", "/metrics"):
        head, options = client.head(path), client.options(path)
        assert (path, head.status_code, head.content) == (path, 200, b"")
        assert (path, options.status_code, options.headers["allow"]) == (path, 204, "GET, HEAD, OPTIONS")
        assert (path, client.post(path).headers.get("allow")) == (path, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 201),
        ({"Content-Type": "application/json; charset=utf-8"}, 201),
        ({"Content-Type": 'Application/JSON; charset="UTF-8"'}, 201),
        ({"Content-Type": "application/vnd.desk+json"}, 201),
        ({"Content-Type": "application/json; charset=iso-8859-1"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/json"}, 415),
        ({}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/json", "Accept": "text/html"}, 406),
    ],
)
def test_a_body_is_json_in_utf_8_and_not_compressed(desk: httpx.Client, headers: dict[str, str], status: int):
    content = b'{"account_id":"second","base_currency":"USDT"}'
    answer = desk.post("/v1/accounts", content=content, headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["code"] == "UNSUPPORTED_MEDIA_TYPE"
        assert {"accept", "accept-encoding"} & answer.headers.keys()


def test_a_key_given_twice_is_refused_on_every_path(desk: httpx.Client):
    described = desk.get("/openapi.json").json()["paths"]
    for path, operations in described.items():
        if "post" not in operations:
            continue
        url = filled(path, operations["post"])
        for body in (
            b'{"reason":"a","reason":"b"}',
            b'{"x":[{"k":1,"k":1}]}',
            b'{"reports":[{"type":"a","type":"b"}]}',
        ):
            answer = desk.post(url, content=body, headers={"Content-Type": "application/json"})
            assert (path, body, answer.status_code) == (path, body, 422)
            assert answer.json()["code"] == "UNREADABLE"


def test_an_accept_that_excludes_every_form_is_406_and_nothing_is_done(desk: httpx.Client):
    json, html, csv = "application/json", "text/html", "text/csv"
    passes = ("*/*", json, PROBLEM, "application/*", f"{html}, */*;q=0.1", "APPLICATION/JSON; charset=utf-8", "")
    refused = (html, "application/xml", f"{json};q=0", f"{json};q=0.0, {html}", "*/*;q=0", "image/*", "json")
    for path in ("/v1/accounts", "/v1/positions", "/v1/orders"):
        for accepted in passes:
            assert desk.get(path, headers={"Accept": accepted}).status_code == 200, (path, accepted)
        for accepted in refused:
            answer = desk.get(path, headers={"Accept": accepted})
            assert (path, accepted, answer.status_code) == (path, accepted, 406)
            assert (answer.headers["content-type"], answer.json()["code"]) == (PROBLEM, "NOT_ACCEPTABLE")
    assert desk.get("/v1/accounts", headers={"Accept": csv}).json()["available"] == [json]
    assert desk.get("/v1/accounts", headers={"Accept": f"{json};q=0.0, */*"}).status_code == 406
    assert desk.get("/v1/positions", headers={"Accept": f"{json};q=0, */*"}).headers["content-type"].startswith(csv)
    assert desk.get("/v1/positions", headers={"Accept": csv}).headers["content-type"].startswith(csv)
    assert desk.get("/v1/positions", params={"format": "json"}, headers={"Accept": csv}).status_code == 200
    assert desk.get("/v1/reports/positions", headers={"Accept": csv}).headers["content-type"].startswith(csv)
    assert desk.get("/metrics", headers={"Accept": "text/plain"}).status_code == 200
    assert desk.head("/v1/accounts", headers={"Accept": html}).status_code == 406
    assert desk.post("/v1/orders", json=order("NONE"), headers={"Accept": html}).status_code == 406
    assert desk.get("/v1/orders/main/NONE").status_code == 404

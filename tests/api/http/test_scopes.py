"""Every operation with every scope, from the description of the API: a route whose scope is not decided fails here."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from adapters.postgres.scopes import Scope
from domain.access import rights

pytestmark = pytest.mark.slow

OPEN = {
    "/health",
    "/ready",
    "/ready/read",
    "/ready/write",
    "/metrics",
}  # need no key, and show nothing of what is recorded
COMPUTED = {"run_what_if"}  # a POST that records nothing
PLACES = {"seq": "1", "model": "positions", "report": "positions", "instrument_id": "X.Y"}


class Operation(NamedTuple):
    """An operation of the API and the scopes that its description says it needs."""

    name: str
    method: str
    path: str
    needed: frozenset[str]

    def call(self, client: httpx.Client) -> httpx.Response:
        """Call it with what cannot be carried out: an unknown parameter, an empty body, ids of nothing."""
        path = re.sub(r"\{(\w+)\}", lambda match: PLACES.get(match[1], "none"), self.path)
        body = {"json": {}} if self.method != "get" else {}
        return client.request(self.method, path, params={"no_such_parameter": "1"}, **body)  # type: ignore[arg-type]


def operations(client: httpx.Client) -> Iterator[Operation]:
    """All operations that need a key."""
    paths: dict[str, dict[str, Any]] = client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, described in methods.items():
            if path in OPEN:
                assert "security" not in described, path
                continue
            needed = [frozenset(scopes) for each in described.get("security", [{}]) for scopes in each.values()]
            assert needed and len(set(needed)) == 1, f"{method} {path} has no scope: decide which it needs"
            yield Operation(described["operationId"], method, path, needed[0])


def test_every_operation_has_a_scope_and_none_that_writes_is_for_readers(client: httpx.Client):
    found = list(operations(client))
    assert len(found) > 50
    for operation in found:
        assert operation.needed, f"{operation.method} {operation.path} has no scope: decide which it needs"
        assert operation.needed <= set(Scope) - {Scope.REPORT}, operation
        if operation.method != "get" and operation.name not in COMPUTED:
            assert not operation.needed <= rights([Scope.READ]), f"{operation.name} writes: a reader may not"


def test_a_scope_opens_the_operations_that_need_it_and_no_others(
    client: httpx.Client, client_for: Callable[..., httpx.Client]
):
    known = list(operations(client))
    for scope in Scope:
        holder, opened = client_for(scope), set[str]()
        for operation in known:
            status = operation.call(holder).status_code
            assert (status == 403) is not (operation.needed <= rights([scope])), (scope, operation, status)
            assert status not in (401, 500), (scope, operation)
            opened |= operation.needed if status != 403 else set()
        assert opened | {Scope.READ} == rights([scope]) - {Scope.REPORT}, "it opens something, and no more"

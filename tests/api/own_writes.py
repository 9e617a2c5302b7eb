"""A client that reads what was written: its reads wait until read models cover all that is in the log.

Read models follow within some 50 ms of a write, and later on a busy machine. A test that reads at once would now and
then see the book as it was before. So this client adds `min_seq` to each GET of an operation that takes it: the end of
the log, be it written by this client, another one, a command or a policy. It takes that from the log, where it can
reach one, and else from the `Daybook-Seq` of the answers it has seen. A test of what a reader sees who does not wait
passes `min_seq=0`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from ssl import SSLContext
from types import ModuleType
from typing import Any

import httpx
import psycopg
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api import main

END = "SELECT coalesce(max(notification_id), 0) FROM ledger.events"
OPTIONS = "-c statement_timeout=2s -c lock_timeout=2s"
READS = ("GET", "HEAD")


class End:
    """The end of a served log, as far as it is known. `url` is of its database, as one that may read it."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._seen = 0
        self._connection: psycopg.Connection | None = None

    def seq(self) -> int:
        """Where the log ends now, or where it did at the last answer, if the database cannot be reached."""
        if self._url is not None:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._url, autocommit=True, options=OPTIONS, connect_timeout=5)
                self.saw((self._connection.execute(END).fetchone() or (0,))[0])
            except psycopg.Error:
                self.close()
        return self._seen

    def saw(self, seq: int) -> None:
        self._seen = max(self._seen, seq)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_ends: dict[httpx.URL, End] = {}  # of the servers of this process, by their addresses


@contextmanager
def known(url: str, database: str | None) -> Iterator[None]:
    """Let all clients of the server at `url` share where the log of its database ends."""
    end = _ends[httpx.URL(url)] = End(database)
    try:
        yield
    finally:
        del _ends[httpx.URL(url)]
        end.close()


class Client(httpx.Client):
    """A client of Daybook that sees in its reads what was written before."""

    def __init__(self, *, verify: SSLContext | None = None, **options: Any) -> None:
        super().__init__(verify=verify or _trusted(), **options)
        self._end = _ends.get(self.base_url.copy_with(path="/")) or End()

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        if request.method in READS and "min_seq" not in request.url.params and takes_min_seq(request.url.path):
            request.url = request.url.copy_add_param("min_seq", self._end.seq())
        answer = super().send(request, **options)
        if (seq := answer.headers.get("Daybook-Seq", "")).isdecimal():
            self._end.saw(int(seq))
        return answer


@cache
def _trusted() -> SSLContext:
    """What a client trusts by default: to read all authorities takes longer than most tests."""
    return httpx.create_ssl_context()


def takes_min_seq(path: str) -> bool:
    """Whether a GET of the path can wait for a place in the log."""
    return any(pattern.fullmatch(path) for pattern in _waiting())


@cache
def _waiting() -> list[Any]:
    parts = [part.router for part in vars(main).values() if isinstance(part, ModuleType) and hasattr(part, "router")]
    routes = [route for part in parts for route in part.routes if isinstance(route, APIRoute)]
    return [route.path_regex for route in routes if "min_seq" in _query_parameters(route.dependant)]


def _query_parameters(dependant: Dependant) -> set[str]:
    names = {name for each in dependant.dependencies for name in _query_parameters(each)}
    for field in dependant.query_params:
        names |= {field.alias} | set(getattr(field.field_info.annotation, "model_fields", ()))
    return names

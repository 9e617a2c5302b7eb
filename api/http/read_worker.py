"""What a worker process computes: the work of a route, over a Daybook that can only read."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import DecimalException
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import structlog
from starlette.responses import Response

from adapters.postgres.connections import bound_process
from adapters.processes.worker import Compute, Computed
from api.daybook import Daybook
from api.http.dependencies import FileResponse, OfDaybook
from api.problems import Problem, problem_of
from api.settings import Settings
from domain.errors import LedgerError

TOP = __name__.rpartition("api.")[0]  # "daybook." in a wheel
MODULES = (f"{TOP}api.main", f"{TOP}adapters.postgres.engine", f"{TOP}projections.catalog")  # loaded before the fork


class Work(NamedTuple):
    """The work of a route: its function by name, and its arguments without the Daybook."""

    module: str
    name: str
    arguments: dict[str, Any]


class Answered(NamedTuple):
    """A response without its body, if that is in a file."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Refused(NamedTuple):
    """The parts of a Problem, which cannot be pickled itself."""

    status: int
    kind: str
    title: str
    detail: str
    headers: dict[str, str]
    facts: dict[str, Any]

    @classmethod
    def of(cls, problem: Problem) -> "Refused":
        """Return the parts of a problem."""
        return cls(**{name: getattr(problem, name) for name in cls._fields})

    def problem(self) -> Problem:
        """Return the problem."""
        return Problem(self.status, self.kind, self.title, self.detail, headers=self.headers, **self.facts)


@contextmanager
def computing(settings: Settings, url: str) -> Iterator[Compute]:
    """Yield a function that carries out a `Work`; it returns an Answered, or a Refused."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    bound_process(settings.read_seconds_max)
    with Daybook.reading(settings, url) as daybook:
        yield partial(_computed, daybook)


def _computed(daybook: Daybook, work: Work) -> Computed:
    function, daybook_name = _function(work.module, work.name)
    arguments = dict(work.arguments)
    for value in arguments.values():
        if isinstance(value, OfDaybook):
            value.daybook = daybook
    if daybook_name is not None:
        arguments[daybook_name] = daybook
    try:
        response = function(**arguments)
    except (LedgerError, Problem, DecimalException) as error:
        return Computed(Refused.of(problem_of(error)))
    if isinstance(response, FileResponse):
        return Computed(Answered(response.status_code, response.raw_headers, b""), response.detach())
    return Computed(Answered(response.status_code, response.raw_headers, bytes(response.body)))


@cache
def _function(module: str, name: str) -> tuple[Callable[..., Response], str | None]:
    """Return a function by name, and the name of its parameter for the Daybook."""
    function = getattr(import_module(module), name)
    parameters = inspect.signature(function).parameters.values()
    of_daybook = [one.name for one in parameters if getattr(one.annotation, "__origin__", None) is Daybook]
    return function, of_daybook[0] if of_daybook else None

"""Where reads run: apart from the writer, and expensive ones apart from all others.

Cheap reads, which look up a page or a few rows, run in threads of their own. Expensive ones, which cost again, replay,
sum or export, run in processes of low priority: pure Python in a thread of this process would hold the
interpreter lock that the writer and the event loop need. An expensive read has a time budget. When it is used up, or
the client hangs up, the read is canceled, in the process and in the database.
"""

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar, cast

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.responses import Response

from adapters.processes.pool import WorkCanceled, Worker, WorkerEnded, Workers
from adapters.processes.worker import Computed
from api.daybook import READING_CONNECTIONS_MAX, Daybook
from api.http.admission import Admission, Most, hung_up
from api.http.dependencies import FileResponse
from api.http.problem_responses import responses
from api.http.read_worker import MODULES, Answered, Refused, Work, computing
from api.problems import Problem

CHEAP = Most(
    slots=READING_CONNECTIONS_MAX, per_key=READING_CONNECTIONS_MAX * 3 // 4, waiting=512, waiting_per_key=128,
    wait_seconds=5.0,
)  # fmt: skip
EXPENSIVE_WAITING_MAX = 64
EXPENSIVE_WAITING_PER_KEY_MAX = 8
WARM_AFTER_SECONDS = 3.0  # the start itself is not slowed by loading the code a second time
CANCEL_SECONDS_MAX = 2.0  # a worker that takes longer to stop is killed
RETRY_AFTER_SECONDS = 5
OUTCOMES = {
    "too-many-reads": "refused",
    "reads-busy": "refused",
    "read-over-budget": "over-budget",
    "hung-up": "hung-up",
    "read-ended": "failed",
}  # by the kind of problem; any other problem is an answer

Function = TypeVar("Function", bound=Callable[..., Any])
IsExpensive = Callable[[dict[str, Any]], bool]

log = structlog.get_logger("daybook.reads")


def expensive(when: IsExpensive | None = None) -> Callable[[Function], Function]:
    """Mark the function of a read route as expensive: always, or `when` its arguments are so."""

    def marked(function: Function) -> Function:
        cast(Any, function).is_expensive = when or (lambda _: True)
        return function

    return marked


class ReadRoute(APIRoute):
    """A route whose function runs where reads run."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["responses"] = responses(429, 503) | (options.get("responses") or {})
        super().__init__(path, _apart(endpoint), **options)


def _apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the same parameters, of which a route is made, that has `function` run by Reads."""
    if hasattr(function, "runs_apart"):
        return function

    async def run(of_request: Request, **given: Any) -> Response:
        reads: Reads = of_request.app.state.reads
        return await reads.run(function, given, of_request)

    signature = inspect.signature(function)
    request = inspect.Parameter("of_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    shown: Any = run
    shown.__signature__ = signature.replace(parameters=[*signature.parameters.values(), request])
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(shown, name, getattr(function, name))
    shown.runs_apart = True
    return run


class Reads:
    """The reads of one app. `running` is its life."""

    def __init__(self, daybook: Daybook, registry: CollectorRegistry) -> None:
        settings = daybook.settings
        self._daybook = daybook
        self._seconds_max = settings.read_seconds_max
        self._processes_max = settings.read_processes_max
        self._workers = Workers(partial(computing, settings, daybook.url), modules=MODULES, name="daybook reader")
        most = Most(
            slots=settings.read_processes_max, per_key=settings.reads_per_key_max, waiting=EXPENSIVE_WAITING_MAX,
            waiting_per_key=EXPENSIVE_WAITING_PER_KEY_MAX, wait_seconds=settings.wait_seconds_max,
        )  # fmt: skip
        self._admission = Admission("expensive reads", most)
        self._cheap = Admission("reads", CHEAP)
        self._threads: CapacityLimiter | None = None
        running = Gauge("daybook_expensive_reads_running", "expensive reads that run", registry=registry)
        running.set_function(lambda: self._admission.running)
        waiting = Gauge("daybook_expensive_reads_waiting", "expensive reads that wait for a slot", registry=registry)
        waiting.set_function(lambda: self._admission.waiting)
        self._ended = Counter(
            "daybook_expensive_reads", "expensive reads that ended, by outcome: answered, refused (not admitted),"
            " over-budget, hung-up, failed", ["outcome"], registry=registry,
        )  # fmt: skip

    @contextmanager
    def running(self) -> Iterator[None]:
        """Compute reads while it lasts; at its end no process is left."""
        self._threads = CapacityLimiter(CHEAP.slots + self._processes_max * 2 + 1)
        warming = threading.Timer(WARM_AFTER_SECONDS, self._warm)
        warming.daemon = True
        warming.start()
        try:
            yield
        finally:
            warming.cancel()
            self._workers.close()

    def _warm(self) -> None:
        with suppress(WorkerEnded):  # then the first read says so
            self._workers.warm()

    async def run(self, function: Callable[..., Any], given: dict[str, Any], request: Request) -> Response:
        """Run the function of a route with its arguments. Raises what it raises, and Problem."""
        is_expensive: IsExpensive | None = getattr(function, "is_expensive", None)
        if is_expensive is not None and is_expensive(given):
            return await self._expensive(function, given, request)
        async with self._cheap.admitted(_key_of(request)):
            return await self._in_a_thread(function, given)

    async def _in_a_thread(self, function: Callable[..., Any], given: dict[str, Any]) -> Response:
        response: Response = await to_thread.run_sync(partial(function, **given), limiter=self._threads)
        return response

    async def _expensive(self, function: Callable[..., Any], given: dict[str, Any], request: Request) -> Response:
        """Run it in a process. Raises Problem when it is not admitted, takes too long or its process ends."""
        arguments = {name: value for name, value in given.items() if not isinstance(value, Daybook)}
        work = Work(function.__module__, function.__name__, arguments)
        gone = asyncio.ensure_future(_hung_up(request))
        outcome = "failed"
        try:
            response = await self._admitted(work, _key_of(request), gone)
            outcome = "answered"
        except Problem as problem:
            outcome = OUTCOMES.get(problem.kind, "answered")
            raise
        finally:
            gone.cancel()
            self._ended.labels(outcome).inc()
        return response

    async def _admitted(self, work: Work, key: str, gone: "asyncio.Future[None]") -> Response:
        async with self._admission.admitted(key, gone):
            try:
                worker = await to_thread.run_sync(self._workers.take, limiter=self._threads)
            except WorkerEnded as error:
                raise _unavailable(str(error)) from error
            try:
                return _response(await self._computed(worker, work, gone))
            finally:
                giving_back = to_thread.run_sync(self._workers.give_back, worker, limiter=self._threads)
                await asyncio.shield(asyncio.ensure_future(giving_back))

    async def _computed(self, worker: Worker, work: Work, gone: "asyncio.Future[None]") -> Computed:
        """Wait for the answer; cancel the work at the end of its budget, when the client is gone, or at shutdown."""
        answer = asyncio.ensure_future(to_thread.run_sync(worker.compute, work, limiter=self._threads))
        either: set[asyncio.Future[Any]] = {answer, gone}
        is_late = False
        try:
            await asyncio.wait(either, timeout=self._seconds_max, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                is_late = not gone.done()
                await _stopped(worker, answer)
        except asyncio.CancelledError:
            await _stopped(worker, answer)
            _discard(answer)
            raise
        try:
            return answer.result()
        except (WorkCanceled, WorkerEnded) as error:
            if gone.done():
                raise hung_up() from None
            if is_late:
                raise _over_budget(self._seconds_max) from None
            log.warning("a read ended with its process", work=work.name, pid=worker.pid)
            raise _unavailable(str(error)) from None


def _key_of(request: Request) -> str:
    """Return the id of the caller's API key; in a demo, where there may be none, the actor."""
    key: str = request.state.caller.key_id or request.state.actor
    return key


async def _hung_up(request: Request) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stopped(worker: Worker, answer: "asyncio.Future[Computed]") -> None:
    """Cancel what the worker computes, and wait until it has ended; kill it if it takes too long."""
    worker.cancel()
    await asyncio.wait({answer}, timeout=CANCEL_SECONDS_MAX)
    if not answer.done():
        worker.kill()
        await asyncio.wait({answer}, timeout=CANCEL_SECONDS_MAX)


def _discard(answer: "asyncio.Future[Computed]") -> None:
    if answer.done() and answer.exception() is None and (file := answer.result().file) is not None:
        os.close(file)


def _response(computed: Computed) -> Response:
    """Return the response of a worker. Raises the Problem it refused with."""
    if isinstance(computed.value, Refused):
        raise computed.value.problem()
    answered: Answered = computed.value
    if computed.file is not None:
        response: Response = FileResponse(os.fdopen(computed.file, "rb"), answered.status)
    else:
        response = Response(answered.body, answered.status)
    response.raw_headers = answered.headers
    return response


def _over_budget(seconds: float) -> Problem:
    return Problem(
        503, "read-over-budget", "Read took too long",
        f"this read took longer than {seconds:g} s and was stopped; request less at once (one account or instrument,"
        " fewer days, an earlier place in the log), use the command line, or raise DAYBOOK_READ_SECONDS_MAX",
        headers=_retry(), seconds_max=f"{seconds:g}",
    )  # fmt: skip


def _unavailable(detail: str) -> Problem:
    return Problem(503, "read-ended", "Read ended unexpectedly", detail, headers=_retry())


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}

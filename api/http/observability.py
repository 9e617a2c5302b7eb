"""An id for each request, a line in the log, metrics for Prometheus, and the last catch of unexpected errors.

`X-Request-Id` is the caller's if it is a name, else a new one; it is in the answer, in the log and in the events that
the request led to.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.upkeep.outages import is_outage
from adapters.upkeep.supervisor import State
from api.daybook import Daybook
from api.http.dependencies import REQUEST_ID_HEADER, request_id_of
from api.http.problem_responses import response, shown
from api.problems import problem_of
from domain.errors import LedgerError
from projections.reactions.runner import Progress

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
QUIET_PATHS = ("/health", "/ready", "/ready/read", "/ready/write", "/metrics")

log = structlog.get_logger("daybook.api")


class Measures:
    """The metrics of one app."""

    def __init__(self, daybook: Daybook) -> None:
        self.registry = CollectorRegistry()
        self.outage = daybook.upkeep.outage
        self.requests = Counter(
            "daybook_http_requests", "HTTP requests", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "daybook_http_request_seconds", "time to answer", ["method", "route"], buckets=BUCKETS_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_LogMeasures(daybook))


class _LogMeasures(Collector):
    """The log's head and how far each read model is behind it, at the time of collection."""

    def __init__(self, daybook: Daybook) -> None:
        self._daybook = daybook

    def describe(self) -> Iterator[Any]:
        """Yield nothing: naming the metrics must not need the database."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """Yield the metrics; without a database only that it is down."""
        yield from self._upkeep()
        leads = self._daybook.writer.is_leading
        yield GaugeMetricFamily("daybook_leading", "1 if this process takes what is to be recorded", value=leads)
        up = GaugeMetricFamily("daybook_database_up", "whether the database answers")
        try:
            head = self._daybook.log.head().seq
            progress = self._daybook.runner.status()
            followers = self._daybook.runner.followers()
            reactions = self._daybook.reactions.status(head)
        except LedgerError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield GaugeMetricFamily("daybook_log_seq", "events in the log: its last seq", value=head)
        seq = GaugeMetricFamily("daybook_projection_seq", "the seq a read model has reached", labels=["projection"])
        lag = GaugeMetricFamily("daybook_projection_lag_events", "events it is behind", labels=["projection"])
        lag_s = GaugeMetricFamily(
            "daybook_projection_lag_seconds", "age of the first event it lacks", labels=["projection"]
        )
        stopped = GaugeMetricFamily("daybook_projection_stopped", "1 if an error stopped it", labels=["projection"])
        for each in progress:
            seq.add_metric([each.projection], each.seq)
            lag.add_metric([each.projection], each.lag)
            lag_s.add_metric([each.projection], each.lag_ms / 1000)
            stopped.add_metric([each.projection], each.error is not None)
        rate = GaugeMetricFamily("daybook_follower_events_per_second", "events folded a second", labels=["follower"])
        for holder in followers:
            rate.add_metric([holder.follower], holder.events_s or 0)
        yield from (seq, lag, lag_s, stopped, rate, *_of_policies(reactions))

    def _upkeep(self) -> Iterator[Any]:
        """Yield the health of the background tasks, and how far sealing is."""
        watch, now = self._daybook.watch, datetime.now(UTC)
        up = GaugeMetricFamily("daybook_task_up", "1 if a background task runs", labels=["task"])
        failures = CounterMetricFamily("daybook_task_failures", "errors and restarts of a task", labels=["task"])
        age = GaugeMetricFamily("daybook_task_success_age_seconds", "time since it last succeeded", labels=["task"])
        for one in watch.health():
            up.add_metric([one.public_name], one.state == State.RUNNING)
            failures.add_metric([one.public_name], one.failures)
            if one.last_success_at is not None:
                age.add_metric([one.public_name], max((now - one.last_success_at).total_seconds(), 0))
        yield from (up, failures, age)
        if (sealing := watch.sealing) is not None:
            yield GaugeMetricFamily("daybook_sealed_seq", "events in the newest checkpoint", value=sealing.sealed)
            yield GaugeMetricFamily("daybook_sealing_stalled", "1 if sealing is stalled", value=sealing.is_stalled)


def _of_policies(reactions: Sequence[Progress]) -> Iterator[Any]:
    lag = GaugeMetricFamily("daybook_policy_lag_events", "events a policy is behind", labels=["policy"])
    lag_s = GaugeMetricFamily("daybook_policy_lag_seconds", "age of the first event it lacks", labels=["policy"])
    stopped = GaugeMetricFamily("daybook_policy_stopped", "1 if an error stopped it", labels=["policy"])
    sent = CounterMetricFamily("daybook_policy_requests", "requests it has made", labels=["policy", "outcome"])
    for each in reactions:
        name = each.reaction.upper()
        lag.add_metric([name], each.lag)
        lag_s.add_metric([name], each.lag_ms / 1000)
        stopped.add_metric([name], each.error is not None)
        sent.add_metric([name, "carried out"], each.carried_out)
        sent.add_metric([name, "refused"], each.refused)
    yield from (lag, lag_s, stopped, sent)


class Observed:
    """The outermost middleware: observes each request and answers unexpected errors as problems."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = request_id_of(Headers(scope=scope).get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as mistake:
                self._log(mistake, scope)
                if status:
                    raise
                await response(problem_of(mistake), scope["path"])(scope, receive, send_with_id)
            self._observe(scope, status, time.perf_counter() - began)

    def _log(self, mistake: Exception, scope: Scope) -> None:
        """Log an error that no handler answered, unless it is that the database is away."""
        if is_outage(mistake):
            self._measures.outage.away("requests", str(mistake), is_task=False)
        else:
            log.error("mistake", method=scope["method"], path=shown(scope["path"]), exc_info=mistake)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or ("/console" if scope.get("root_path") else "none")
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        self._measures.requests.labels(method, route, str(status)).inc()
        self._measures.seconds.labels(method, route).observe(seconds)
        is_counted = status == HTTPStatus.SERVICE_UNAVAILABLE and self._measures.outage.is_on
        if scope["path"] not in QUIET_PATHS and not is_counted:
            log.info(
                "request", method=scope["method"], path=shown(scope["path"]), status=status,
                ms=round(seconds * 1000, 2), actor=scope["state"].get("actor"),
            )  # fmt: skip

"""Health, readiness and metrics. They need no key, and show nothing of what is recorded. Without one, readiness is
ready or not, and nothing else.

None of them costs more when it is requested more often: what they show is computed at most once a second.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from adapters.postgres.scopes import Caller, Scope
from api.daybook import Daybook
from api.encoding import encoded, time_text
from api.http.problem_responses import responses
from api.operations.health import HealthAnswer, ReadyAnswer
from api.operations.shared import Shared
from api.problems import Problem, retry_after
from api.settings import release
from domain.errors import LedgerError
from domain.ledger import Head
from projections.reactions.runner import Progress as Reacting
from projections.runner.runner import Progress

NOT_READY = "not ready; a caller with an API key sees why"


class Standing(NamedTuple):
    """How the service stands: the head of the log, the read models and policies, or why they cannot be read."""

    head: Head | None
    progress: Sequence[Progress]
    reactions: Sequence[Reacting] = ()
    error: LedgerError | None = None


router = APIRouter(tags=["operations"])


@router.get("/health", response_model=HealthAnswer)
async def health() -> Response:
    """Report that the process is alive."""
    return Response(encoded({"status": "ok"}), media_type="application/json")


def standing(daybook: Daybook) -> Standing:
    """Return how the service stands now."""
    try:
        head = daybook.log.head()
        return Standing(head, daybook.runner.status(), daybook.reactions.status(head.seq))
    except LedgerError as error:
        return Standing(None, (), error=error)


@router.get("/ready", response_model=ReadyAnswer, responses=responses(503))
async def ready(request: Request) -> Response:
    """Report whether the database answers, every read model and background task runs, sealing follows, the clock is
    right and the disk has room. With an API key the answer is as of now and says why something does not; without one it
    is ready or not, at most a second old, and nothing else.

    A process that stands by is ready too: `writes` states who leads. See `/ready/read` and `/ready/write`.
    """
    return await _ready(request, _reasons)


@router.get("/ready/read", response_model=ReadyAnswer, responses=responses(503))
async def ready_to_read(request: Request) -> Response:
    """Report whether this process can answer queries: the database answers, and no read model is stopped."""
    return await _ready(request, _stopped)


@router.get("/ready/write", response_model=ReadyAnswer, responses=responses(503))
async def ready_to_write(request: Request) -> Response:
    """Report whether this process takes what is to be recorded: it is ready, and it leads. A process that stands by
    answers 503; with an API key as `not-leading`, and `writes.leader` is the leader, as it has put itself on record.
    """
    return await _ready(request, _reasons, is_for_writers=True)


Reasons = Callable[[Daybook, Standing], list[str]]


def is_known(request: Request) -> bool:
    """Return whether a caller may see how the service stands: its key is valid, or was before the database was away."""
    caller: Caller | None = getattr(request.state, "caller", None)
    is_reader = caller is not None and not caller.rights.isdisjoint((Scope.READ, Scope.ADMIN))
    return is_reader or getattr(request.state, "is_familiar", False) or request.app.state.is_demo


async def _ready(request: Request, reasons_of: Reasons, *, is_for_writers: bool = False) -> Response:
    if is_known(request):
        found = await run_in_threadpool(standing, request.app.state.daybook)
        body = _shown(request.app.state.daybook, found, reasons_of, is_for_writers=is_for_writers)
        body["release"] = await request.app.state.release.get()
        return Response(encoded(body), media_type="application/json")
    found = await request.app.state.readiness.get()
    try:
        _shown(request.app.state.daybook, found, reasons_of, is_for_writers=is_for_writers)
    except Problem as problem:
        raise Problem(503, "not-ready", "Not ready", NOT_READY, headers=retry_after()) from problem
    return Response(encoded({"status": "ready"}), media_type="application/json")


def _shown(daybook: Daybook, found: Standing, reasons_of: Reasons, *, is_for_writers: bool) -> dict[str, Any]:
    """Return how the service stands. Raises Problem if it is not ready."""
    head, progress, reactions, error = found
    tasks = [one._asdict() for one in daybook.watch.health()]
    if error is not None or head is None:
        raise Problem(
            503, "unavailable", "Database unavailable", str(error), headers=retry_after(), tasks=tasks
        ) from error
    writes = _writes_json(daybook)
    shown: dict[str, Any] = {
        "projections": [_progress_json(one) for one in progress],
        "reactions": [_reaction_json(one) for one in reactions],
        "tasks": tasks,
        "sealing": _sealing_json(daybook),
        "writes": writes,
    }
    reasons = reasons_of(daybook, found)
    if is_for_writers and not writes["is_leading"]:
        leader = writes["leader"]
        who = f"{leader['url'] or 'another process'} leads" if leader else "no leader is known"
        detail = "; ".join([f"this process stands by, {who}", *reasons])
        raise Problem(503, "not-leading", "Not ready for writers", detail, headers=retry_after(), **shown)
    if reasons:
        raise Problem(503, "not-ready", "Not ready", "; ".join(reasons), headers=retry_after(), **shown)
    return {"status": "ready", "seq": head.seq, "recorded_at": head.recorded_at, **shown}


def _writes_json(daybook: Daybook) -> dict[str, Any]:
    """Return whether this process leads, and who does."""
    leader = daybook.writer.leader
    shown = None
    if leader is not None:
        shown = {"url": leader.url or None, "term": leader.term, "since": leader.since, "process": leader.process}
    return {"is_leading": daybook.writer.is_leading, "leader": shown}


def _stopped(daybook: Daybook, found: Standing) -> list[str]:  # noqa: ARG001
    """Return which read models are stopped, in a sentence."""
    stopped = [one for one in found.progress if one.error]
    if not stopped:
        return []
    names = ", ".join(one.projection for one in stopped)
    why = f"{stopped[0].error} (fix the cause, then run daybook resume)"
    return [f"read models stopped by an error: {names}. {why}"]


def _reasons(daybook: Daybook, found: Standing) -> list[str]:
    """Return why the service is not ready, in sentences."""
    reasons = _stopped(daybook, found)
    if policies := [one for one in found.reactions if one.error]:
        names = ", ".join(one.reaction for one in policies)
        why = f"{policies[0].error} (fix the cause, then run daybook policy resume)"
        reasons.append(f"policies stopped by an error: {names}. {why}")
    for one in daybook.watch.health():
        if one.is_needed and one.is_trouble:
            why = f": {one.last_error}" if one.last_error else ""
            reasons.append(f"{one.task} is {one.state} since {time_text(one.since)}{why}")
    sealing = daybook.watch.sealing
    if sealing is not None and sealing.is_stalled and sealing.behind_since is not None:
        reasons.append(
            f"sealing is stalled since {time_text(sealing.behind_since)}: the log has {sealing.seq} events, and the "
            f"newest checkpoint is of {sealing.sealed}"
        )
    return reasons


def _progress_json(one: Progress) -> dict[str, Any]:
    return {
        "projection": one.projection, "version": one.version, "seq": one.seq, "lag": one.lag, "lag_ms": one.lag_ms,
        "error": one.error,
    }  # fmt: skip


def _reaction_json(one: Reacting) -> dict[str, Any]:
    """Return how far a policy has read the log, and what it has done."""
    return {
        "reaction": one.reaction.upper(), "seq": one.seq, "lag": one.lag, "lag_ms": one.lag_ms,
        "carried_out": one.carried_out, "refused": one.refused, "last_cause": one.last_cause,
        "last_at": one.last_at, "last_refusal": one.last_refusal, "error": one.error,
    }  # fmt: skip


def _sealing_json(daybook: Daybook) -> dict[str, Any] | None:
    sealing = daybook.watch.sealing
    return None if sealing is None else sealing._asdict()


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Return metrics in the text format of Prometheus, at most a second old."""
    return Response(await request.app.state.exposition.get(), media_type=CONTENT_TYPE_LATEST)


def share(app: FastAPI, daybook: Daybook, registry: CollectorRegistry) -> None:
    """Compute what these operations answer at most once a second, however many callers there are."""
    app.state.readiness = Shared(lambda: standing(daybook))
    app.state.release = Shared(release, seconds=inf)
    app.state.exposition = Shared(lambda: generate_latest(registry))

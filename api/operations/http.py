"""Health, readiness and metrics. They need no key, and show nothing of what is recorded.

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

from adapters.upkeep.supervisor import Health
from api.daybook import Daybook
from api.encoding import encoded, time_text
from api.http.problem_responses import responses
from api.operations.shared import Shared
from api.problems import Problem
from api.read_models import schemas
from api.settings import release
from domain.errors import LedgerError
from domain.ledger import Head
from projections.reactions.runner import Progress as Reacting
from projections.runner.runner import Progress

STOPPED = "stopped by an error, which is shown to callers with an API key"
UNREACHED = "the database cannot be reached"


class Standing(NamedTuple):
    """How the service stands: the head of the log, the read models and policies, or why they cannot be read."""

    head: Head | None
    progress: Sequence[Progress]
    reactions: Sequence[Reacting] = ()
    error: LedgerError | None = None


router = APIRouter(tags=["operations"])


@router.get("/health", response_model=schemas.HealthAnswer)
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


@router.get("/ready", response_model=schemas.ReadyAnswer, responses=responses(503))
async def ready(request: Request) -> Response:
    """Report whether the database answers, every read model and background task runs, sealing follows, the clock is
    right and the disk has room. With an API key the answer is as of now and says why something does not; without one it
    is at most a second old.

    A process that stands by is ready too: `writes` states who leads. See `/ready/read` and `/ready/write`.
    """
    return await _ready(request, _reasons)


@router.get("/ready/read", response_model=schemas.ReadyAnswer, responses=responses(503))
async def ready_to_read(request: Request) -> Response:
    """Report whether this process can answer queries: the database answers, and no read model is stopped."""
    return await _ready(request, _stopped)


@router.get("/ready/write", response_model=schemas.ReadyAnswer, responses=responses(503))
async def ready_to_write(request: Request) -> Response:
    """Report whether this process takes what is to be recorded: it is ready, and it leads. A process that stands by
    answers 503 `not-leading` and names the leader, as that has put itself on record, in `writes.leader`.
    """
    return await _ready(request, _reasons, is_for_writers=True)


Reasons = Callable[..., list[str]]


async def _ready(request: Request, reasons_of: Reasons, *, is_for_writers: bool = False) -> Response:
    daybook, is_known = request.app.state.daybook, hasattr(request.state, "caller") or request.app.state.is_demo
    shared = request.app.state.readiness
    found_: Standing = await (run_in_threadpool(standing, daybook) if is_known else shared.get())
    head, progress, reactions, error = found_
    tasks = [_task_json(one, is_known=is_known) for one in daybook.watch.health()]
    if error is not None or head is None:
        detail = str(error) if is_known else UNREACHED
        raise Problem(503, "unavailable", "Not ready", detail, tasks=tasks) from error
    writes = _writes_json(daybook, is_known=is_known)
    found: dict[str, Any] = {
        "projections": [_progress_json(one, is_known=is_known) for one in progress],
        "reactions": [_reaction_json(one, is_known=is_known) for one in reactions],
        "tasks": tasks,
        "sealing": _sealing_json(daybook),
        "writes": writes,
    }
    reasons = reasons_of(daybook, found_, is_known=is_known)
    if is_for_writers and not writes["is_leading"]:
        leader = writes["leader"]
        who = f"{leader['url'] or 'another process'} leads" if leader else "no leader is known"
        detail = "; ".join([f"this process stands by, {who}", *reasons])
        raise Problem(503, "not-leading", "Not ready for writers", detail, **found)
    if reasons:
        raise Problem(503, "unavailable", "Not ready", "; ".join(reasons), **found)
    body = {"status": "ready", "seq": head.seq, "recorded_at": head.recorded_at, **found}
    if is_known:
        body["release"] = await request.app.state.release.get()
    return Response(encoded(body), media_type="application/json")


def _writes_json(daybook: Daybook, *, is_known: bool) -> dict[str, Any]:
    """Return whether this process leads, and who does. Strangers get the address that the leader advertises only."""
    leader = daybook.writer.leader
    shown = None if leader is None else {"url": leader.url or None, "term": leader.term, "since": leader.since}
    if leader is not None and shown is not None and is_known:
        shown["process"] = leader.process
    return {"is_leading": daybook.writer.is_leading, "leader": shown}


def _stopped(daybook: Daybook, found: Standing, *, is_known: bool) -> list[str]:  # noqa: ARG001
    """Return which read models are stopped, in a sentence."""
    stopped = [one for one in found.progress if one.error]
    if not stopped:
        return []
    more = f". {stopped[0].error} (fix the cause, then run daybook resume)" if is_known else ""
    return [f"read models stopped by an error: {', '.join(one.projection for one in stopped)}{more}"]


def _reasons(daybook: Daybook, found: Standing, *, is_known: bool) -> list[str]:
    """Return why the service is not ready, in sentences."""
    reasons = _stopped(daybook, found, is_known=is_known)
    if policies := [one for one in found.reactions if one.error]:
        more = f". {policies[0].error} (fix the cause, then run daybook policy resume)" if is_known else ""
        reasons.append(f"policies stopped by an error: {', '.join(one.reaction for one in policies)}{more}")
    for one in daybook.watch.health():
        if one.is_needed and one.is_trouble:
            why = f": {one.last_error}" if is_known and one.last_error else ""
            reasons.append(
                f"{one.task if is_known else one.public_name} is {one.state} since {time_text(one.since)}{why}"
            )
    sealing = daybook.watch.sealing
    if sealing is not None and sealing.is_stalled and sealing.behind_since is not None:
        reasons.append(
            f"sealing is stalled since {time_text(sealing.behind_since)}: the log has {sealing.seq} events, and the "
            f"newest checkpoint is of {sealing.sealed}"
        )
    return reasons


def _task_json(one: Health, *, is_known: bool) -> dict[str, Any]:
    shown = one._asdict() | {"task": one.task if is_known else one.public_name}
    return shown if is_known else {name: value for name, value in shown.items() if name != "last_error"}


def _progress_json(one: Progress, *, is_known: bool) -> dict[str, Any]:
    return {
        "projection": one.projection,
        "version": one.version,
        "seq": one.seq,
        "lag": one.lag,
        "lag_ms": one.lag_ms,
        "error": one.error if is_known or one.error is None else STOPPED,
    }


def _reaction_json(one: Reacting, *, is_known: bool) -> dict[str, Any]:
    """Return how far a policy has read the log. Strangers do not get what it has done."""
    shown = {"reaction": one.reaction.upper(), "seq": one.seq, "lag": one.lag, "lag_ms": one.lag_ms}
    if is_known:
        shown |= {
            "carried_out": one.carried_out, "refused": one.refused, "last_cause": one.last_cause,
            "last_at": one.last_at, "last_refusal": one.last_refusal,
        }  # fmt: skip
    return shown | {"error": one.error if is_known or one.error is None else STOPPED}


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

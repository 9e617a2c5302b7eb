"""Health, readiness and metrics. They need no key, and show nothing of what is recorded.

None of them costs more when it is requested more often: what they show is computed at most once a second.
"""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from api.daybook import Daybook
from api.encoding import encoded
from api.http.problem_responses import responses
from api.operations.shared import Shared
from api.problems import Problem, problem_of
from api.read_models import schemas
from domain.errors import LedgerError

NOT_READY = Problem(503, "unavailable", "Not ready", "the log of this process and `daybook status` name the cause")

router = APIRouter(tags=["operations"])


@router.get("/health", response_model=schemas.HealthAnswer)
async def health() -> Response:
    """Report that the process is alive."""
    return Response(encoded({"status": "ok"}), media_type="application/json")


def readiness(daybook: Daybook) -> dict[str, Any]:
    """Return the head of the log, and how far each read model is. Raises Unavailable."""
    head = daybook.log.head()
    progress: list[dict[str, Any]] = [
        {
            "projection": p.projection,
            "version": p.version,
            "seq": p.seq,
            "lag": p.lag,
            "lag_ms": p.lag_ms,
            "error": p.error,
        }
        for p in daybook.runner.status()
    ]
    return {"status": "ready", "seq": head.seq, "recorded_at": head.recorded_at, "projections": progress}


@router.get("/ready", response_model=schemas.ReadyAnswer, responses=responses(503))
async def ready(request: Request) -> Response:
    """Report whether the database answers and every read model runs, and how far each is behind the log.

    It is at most a second old. Only a caller with a key gets the cause if it is not ready.
    """
    is_stranger = not hasattr(request.state, "caller")
    try:
        found = await request.app.state.readiness.get()
    except LedgerError as error:
        raise (NOT_READY if is_stranger else problem_of(error)) from error
    if stopped := [p for p in found["projections"] if p["error"]]:
        names = ", ".join(p["projection"] for p in stopped)
        detail = (
            f"read models stopped by an error: {names}. {stopped[0]['error']} (fix the cause, then run daybook resume)"
        )
        facts = {"projections": found["projections"]}
        raise NOT_READY if is_stranger else Problem(503, "unavailable", "Not ready", detail, **facts)
    return Response(encoded(found), media_type="application/json")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Return metrics in the text format of Prometheus, at most a second old."""
    return Response(await request.app.state.exposition.get(), media_type=CONTENT_TYPE_LATEST)


def share(app: FastAPI, daybook: Daybook, registry: CollectorRegistry) -> None:
    """Compute what these operations answer at most once a second, however many callers there are."""
    app.state.readiness = Shared(lambda: readiness(daybook))
    app.state.exposition = Shared(lambda: generate_latest(registry))

"""Health, readiness and metrics. They need no key, and show nothing of what is recorded."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from api.encoding import encoded
from api.http.dependencies import OpenDaybook
from api.http.problem_responses import responses
from api.problems import Problem
from api.read_models import schemas

router = APIRouter(tags=["operations"])


@router.get("/health", response_model=schemas.HealthAnswer)
def health() -> Response:
    """Report that the process is alive."""
    return Response(encoded({"status": "ok"}), media_type="application/json")


@router.get("/ready", response_model=schemas.ReadyAnswer, responses=responses(503))
def ready(daybook: OpenDaybook) -> Response:
    """Report whether the database answers and every read model runs, and how far each is behind the log."""
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
    stopped = [p for p in progress if p["error"]]
    if stopped:
        names = ", ".join(p["projection"] for p in stopped)
        detail = (
            f"read models stopped by an error: {names}. {stopped[0]['error']} (fix the cause, then run daybook resume)"
        )
        raise Problem(503, "unavailable", "Not ready", detail, projections=progress)
    body = {"status": "ready", "seq": head.seq, "recorded_at": head.recorded_at, "projections": progress}
    return Response(encoded(body), media_type="application/json")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Return metrics in the text format of Prometheus."""
    return Response(generate_latest(request.app.state.measures.registry), media_type=CONTENT_TYPE_LATEST)

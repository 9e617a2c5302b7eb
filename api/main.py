"""The composition root: Daybook's parts, and the HTTP service over them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from api import web
from api.analytics import buying_power_http, gains_http
from api.analytics import http as analytics_http
from api.audit import closing_http, events_http, proofs_http
from api.clock import now
from api.daybook import Daybook
from api.explain import http as explain_http
from api.explain import restatement_http
from api.http import problem_responses
from api.http.auth import Keyring
from api.http.bodies import Bodies
from api.http.gate import Gate, Needs, Segments
from api.http.idempotency import REPLAYED_HEADER, decimals_of
from api.http.methods import Acceptable, Methods, Paths
from api.http.observability import Measures, Observed
from api.http.origins import Origins, names_of
from api.http.reads import Reads
from api.intake import capital_http, controls_http, requests_http
from api.intake.forms import http as forms_http
from api.intake.forms import queries_http as forms_queries_http
from api.intake.importing import http as importing_http
from api.intake.policies import http as policies_http
from api.intake.policies import reactions_http
from api.intake.stopping import http as stopping_http
from api.intake.stopping.countdown import counting_down
from api.intake.venue_reports import http as venue_reports_http
from api.intake.venue_reports import parsing as venue_reports
from api.operations import access_http, privacy_http
from api.operations import http as operations_http
from api.operations.bounds import Bounded
from api.operations.companion import accompanied, in_threads
from api.operations.shared import Shared
from api.read_models import http as read_models_http
from api.read_models import journal_http
from api.reports import http as reports_http
from api.settings import Settings
from api.what_if import http as what_if_http

__all__ = ["Daybook", "Settings", "create_app", "now"]

THREADS_MAX = 64
STORED = ("409", "422")  # problems that are stored as answers
API_VERSION = "1"  # strangers do not learn which release runs

QUERIES = (
    read_models_http,
    explain_http,
    restatement_http,
    analytics_http,
    gains_http,
    buying_power_http,
    what_if_http,
    journal_http,
    reports_http,
    events_http,
    reactions_http,
    proofs_http,
    closing_http,
)

DESCRIPTION = """
The book of record for a crypto trading desk.

Send decimals as text (`"0.25"`); answers carry them as text. Every answer has `Daybook-Seq`, a place in the log that
covers it; a query with `min_seq` waits until it has reached that place. The scope that an operation's key needs is
under `security`. A request that needs a second person is answered 202, with the proposal. Errors are RFC 9457 problem
details: `code` is stable and for programs, `detail` for people; docs/errors.md has every code. HEAD is answered where
GET is, OPTIONS everywhere. A body is JSON in UTF-8. An `Accept` that excludes every form of an answer is 406. In CSV,
text that a spreadsheet would compute, or that begins with an apostrophe, has an apostrophe before it: remove one from
every cell that begins with one.
"""


def create_app(
    daybook: Daybook, *, demo: bool = False, follows: bool = True, is_accompanied: bool = False, url: str = ""
) -> FastAPI:
    """Return the HTTP service over an open Daybook; the read models follow the log if it `follows`. Policies act.

    If it `is_accompanied`, a companion folds read models and seals (`api.operations.companion`), else threads.
    In a `demo` a caller without a key may read, and trade as the actor `demo`. `url` is where it can be reached.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS_MAX
        folding = (accompanied if is_accompanied else in_threads)(daybook, follows=follows)
        reads, counting = app.state.reads.running(), counting_down(daybook)
        with daybook.leading(url), folding, daybook.reacting(), counting, daybook.watching(), reads:
            yield

    app = FastAPI(
        title="Daybook",
        description=DESCRIPTION,
        version=API_VERSION,
        lifespan=lifespan,
        openapi_url=None,  # served below, encoded once
        docs_url=None,  # ours is in api.web: FastAPI's loads its parts from a third party
        redoc_url=None,
        redirect_slashes=False,  # a slash at the end makes another path
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.daybook = daybook
    app.state.is_demo = demo
    app.state.measures = Measures(daybook)
    app.state.reads = Reads(daybook, app.state.measures.registry)
    operations_http.share(app, daybook, app.state.measures.registry)
    problem_responses.install(app)
    parts = (
        requests_http, forms_http, venue_reports_http, importing_http, controls_http, capital_http, policies_http,
        stopping_http, access_http, privacy_http, *QUERIES, forms_queries_http, operations_http,
    )  # fmt: skip
    for part in parts:
        app.include_router(part.router)
    description = Shared(lambda: JSONResponse(app.openapi()).body, seconds=inf)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi_json() -> Response:
        return Response(await description.get(), media_type="application/json")

    web.mount(app)
    operations = [route for part in parts for route in part.router.routes]
    bodies = [each.field_info.annotation for each in map(body_of, operations) if each is not None]
    app.state.decimals = decimals_of([*bodies, venue_reports.VenueReportSubmission])
    app.state.paths = Paths([*operations, *app.routes])
    _guard(app, operations)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _guard(app: FastAPI, operations: Sequence[BaseRoute]) -> None:
    """Add what a request passes before its route; the last one added is the first that it meets."""
    daybook = app.state.daybook
    app.add_middleware(Bounded, daybook=daybook, routes=operations)
    app.add_middleware(Acceptable, routes=operations)
    app.add_middleware(Methods, paths=app.state.paths)
    app.add_middleware(Bodies)
    app.add_middleware(Gate, keyring=Keyring(daybook.keys, is_demo=app.state.is_demo), needs=Needs(operations))
    app.add_middleware(Origins, names=names_of(daybook.settings.allowed_hosts, daybook.settings.host))
    app.add_middleware(Observed, measures=app.state.measures)
    app.add_middleware(Segments)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the schema FastAPI derives, with what it cannot see: problems, and venue reports parsed one by one."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )  # fmt: skip
        schemas = schema["components"]["schemas"]
        batch = venue_reports.VenueReportSubmission.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= batch.pop("$defs") | {"VenueReportSubmission": batch}
        _describe_replays(schema)
        problem = problem_responses.ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs") | {"Problem": problem}
        forms_http.with_examples(schema)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema


def body_of(route: BaseRoute) -> Any:
    """Return the field that an operation's body is parsed into; None for an operation without one."""
    return getattr(route, "body_field", None)


def _describe_replays(schema: dict[str, Any]) -> None:
    """Add the header of repeated answers to every operation that takes an Idempotency-Key."""
    header = {"description": "`true` if this is the stored answer to an earlier request", "schema": {"type": "string"}}
    for operations in schema["paths"].values():
        for operation in operations.values():
            names = {each["name"].lower() for each in operation.get("parameters", ())}
            if "idempotency-key" in names:
                for status, answered in operation["responses"].items():
                    if status.startswith("2") or status in STORED:
                        answered["headers"] = answered.get("headers", {}) | {REPLAYED_HEADER: header}

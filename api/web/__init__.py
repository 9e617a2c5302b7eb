"""The console, one page over the same `/v1` API as any other client, and the page that shows the API itself.

The console holds no figures itself: its script reads the API, in the demo without a key, elsewhere with the API key
that the reader types in, which stays in the browser's tab. A strict Content-Security-Policy allows this origin only: no
inline script or style, no third party. `/` is the console, `/docs` the API, shown by Swagger UI, whose files come with
a package: both work without any other network.
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent
SWAGGER_UI = "fastapi-offline"  # the package with Swagger UI's files

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # cached by the browser, revalidated each time
}
DOCS_HEADERS = HEADERS | {"Content-Security-Policy": POLICY.replace("img-src 'self'", "img-src 'self' data:")}


class _Files(StaticFiles):
    """Static files under the pages' own headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.update(HEADERS)
        return answer


def mount(app: FastAPI) -> None:
    """Add the pages and their files to `app`. No key is needed if `app.state.is_demo`."""

    @app.get("/", include_in_schema=False)
    def console(request: Request) -> HTMLResponse:
        return HTMLResponse(page("console", is_demo=request.app.state.is_demo), headers=HEADERS)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page("docs"), headers=DOCS_HEADERS)

    app.mount("/console", _Files(directory=HERE / "static"), name="console")
    app.mount("/docs/swagger-ui", _Files(packages=[(SWAGGER_UI.replace("-", "_"), "static")]), name="swagger-ui")
    app.mount("/docs", _Files(directory=HERE / "docs"), name="docs")


@cache
def page(name: str, **facts: bool) -> str:
    """Return the HTML of a page."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return templates.get_template(f"{name}.html").render(version=_fingerprint(), **facts)


@cache
def _fingerprint() -> str:
    """Return a version that changes when a file of a page changes."""
    digest = hashlib.sha256(version(SWAGGER_UI).encode())
    for file in sorted(file for folder in ("docs", "static") for file in (HERE / folder).rglob("*") if file.is_file()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]

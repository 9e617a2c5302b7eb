"""The console: one page over the same `/v1` API as every other client's.

The page holds no figures itself: its script asks the API, in the demo without a key, elsewhere with the API key the
reader types in, which stays in the browser's tab. A strict Content-Security-Policy lets nothing in or out but this
origin: no inline script or style, no third party. `/console/` serves the files, `/` the page.
"""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # kept by the browser, asked after each time
}


class _Files(StaticFiles):
    """Static files under the page's own headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.update(HEADERS)
        return answer


def mount(app: FastAPI) -> None:
    """Give `app` the page at `/` and its files at `/console/`. `app.state.is_demo` says whether a key is needed."""

    @app.get("/", include_in_schema=False)
    def console(request: Request) -> HTMLResponse:
        return HTMLResponse(page(is_demo=request.app.state.is_demo), headers=HEADERS)

    app.mount("/console", _Files(directory=HERE / "static"), name="console")


@cache
def page(*, is_demo: bool) -> str:
    """The page's HTML."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return templates.get_template("console.html").render(is_demo=is_demo, version=_fingerprint(), release=_release())


def _fingerprint() -> str:
    """Changes when a file of the page changes."""
    digest = hashlib.sha256()
    for file in sorted((HERE / "static").iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _release() -> str:
    try:
        return version("daybook")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return ""

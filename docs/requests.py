"""Writes docs/requests.md, every request and report with its route, command and example: `python docs/requests.py`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "requests.md"
sys.path.insert(0, str(ROOT))

from fastapi.routing import APIRoute  # noqa: E402

from api.audit import closing_http  # noqa: E402
from api.http.auth import needed_by  # noqa: E402
from api.intake import capital_http, controls_http, requests_http  # noqa: E402
from api.intake.forms import http as forms_http  # noqa: E402
from api.intake.forms.catalog import Reach, reached  # noqa: E402
from api.intake.forms.examples import EXAMPLES  # noqa: E402
from api.intake.policies import http as policies_http  # noqa: E402
from api.intake.stopping import http as stopping_http  # noqa: E402
from api.intake.venue_reports.parsing import EXAMPLES as VENUE_REPORTS  # noqa: E402
from api.intake.venue_reports.parsing import VENUE_REPORT  # noqa: E402
from api.operations import access_http, privacy_http  # noqa: E402
from domain.ledger import Report, Request  # noqa: E402

ROUTERS = (
    requests_http, forms_http, controls_http, capital_http, policies_http, stopping_http, access_http, privacy_http,
    closing_http,
)  # fmt: skip
HEAD = """# Requests and reports

Every request that the ledger carries out and every report that it records, with its route, its command and an example.
This page is written from the unions `Request` and `Report` of `domain/ledger/commands.py` and the catalog of
`api/intake/forms/` by `python docs/requests.py`; a test fails when it is not current, and another one sends each
example to a service and runs each command.

A request is carried out once by its natural key, such as `cl_ord_id` or `transfer_id`: 201 the first time, 200 for the
same request again, 409 for the same key with other terms, and when a rule refuses. With an `Idempotency-Key` the first
answer is returned again. 202 is a proposal that waits for a second person. What a path names and is not on record is
404; a field that cannot be read is 422 and names field, value and rule. Every command takes `--json`; its `--help` has
all options. The schemas are in `/openapi.json` and on `/docs`.
"""
REPORTS_HEAD = """# Reports

Reports state what has happened, and are never refused. `POST /v1/venue-reports` takes up to 1,000 of any `type`, in any
sequence, and answers each. The other reports have a route of their own, above.

"""


class Route(NamedTuple):
    """A route as the page shows it."""

    method: str
    path: str
    scope: str


def routes() -> dict[str, Route]:
    """The routes of requests, by operation id."""
    found = {}
    for part in ROUTERS:
        for route in part.router.routes:
            assert isinstance(route, APIRoute)
            (method,) = route.methods
            found[route.name] = Route(method, route.path_format, ", ".join(dict.fromkeys(needed_by(route.dependant))))
    return found


def page() -> str:
    """The whole page."""
    known, reaches = routes(), reached()
    requests = sorted((member for member in get_args(Request)), key=lambda member: member.__name__)
    lines = [HEAD, "| request | route | scope | command |", "|---|---|---|---|"]
    lines += [_row(member, reaches.get(member, ()), known) for member in requests]
    reports = sorted((member for member in get_args(Report) if member in reaches), key=lambda member: member.__name__)
    for member in (*requests, *reports):
        lines += ["", *_section(member, reaches.get(member, ()), known)]
    return "\n".join([*lines, "", *_reports()]).rstrip() + "\n"


def _row(member: type, reaches: tuple[Reach, ...], known: dict[str, Route]) -> str:
    name = member.__name__
    shown = [known[reach.operation] for reach in reaches]
    paths = "<br>".join(f"`{route.method} {route.path}`" for route in shown)
    commands = "<br>".join(f"`daybook {_command(reach.usage)}`" for reach in reaches if reach.usage)
    scopes = ", ".join(dict.fromkeys(route.scope for route in shown))
    return f"| [{name}](#{name.lower()}) | {paths} | {scopes} | {commands} |"


def _command(usage: str) -> str:
    """The words of a command before its first argument."""
    words: list[str] = []
    for word in usage.split():
        if len(words) == 2 or word.startswith("--") or not word.replace("-", "").isalpha() or word != word.lower():
            break
        words.append(word)
    return " ".join(words[:1] if words[0] in ("approve", "close", "import-marks", "redact", "reject") else words)


def _section(member: type, reaches: tuple[Reach, ...], known: dict[str, Route]) -> Iterator[str]:
    yield f"## {member.__name__}"
    yield ""
    yield from _wrapped((member.__doc__ or "").strip().partition("\n\n")[0])
    for reach in reaches:
        route, example = known[reach.operation], EXAMPLES[reach.operation]
        path = route.path
        for name, value in example.path.items():
            path = path.replace(f"{{{name}}}", str(value))
        yield ""
        yield "```"
        yield f"{route.method} {path}"
        yield from json.dumps(example.body, indent=2).splitlines()
        yield "```"
        if reach.usage:
            yield ""
            yield "```"
            yield f"daybook {reach.usage}"
            yield "```"


def _reports() -> Iterator[str]:
    types = {kind: type(VENUE_REPORT.validate_json(_written(kind)).report()) for kind in VENUE_REPORTS}
    yield REPORTS_HEAD.rstrip()
    yield ""
    yield "| type | report | meaning |"
    yield "|---|---|---|"
    for kind, member in types.items():
        meaning = " ".join((member.__doc__ or "").strip().partition("\n\n")[0].split())
        yield f"| `{kind}` | {member.__name__} | {meaning} |"
    for kind in VENUE_REPORTS:
        yield ""
        yield f"## {kind}"
        yield ""
        yield "```"
        yield from json.dumps(_report(kind), indent=2).splitlines()
        yield "```"


def _report(kind: str) -> dict[str, Any]:
    (report,) = VENUE_REPORTS[kind]["value"]["reports"]
    return dict(report)


def _written(kind: str) -> str:
    return json.dumps(_report(kind))


def _wrapped(text: str, width: int = 116) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


if __name__ == "__main__":
    PAGE.write_text(page())

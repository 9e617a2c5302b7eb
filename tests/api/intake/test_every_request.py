"""Every request and report of the ledger is reached over HTTP and by a command, with an example that is accepted.

The unions `Request` and `Report` are walked: a member without route, command and example fails. The examples of the API
are sent to one book, in the sequence of `tests.api.intake.story`, and the commands are run on it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from typer.main import get_command

from adapters.writer import batch
from api import cli
from api.daybook import Daybook
from api.intake.forms.catalog import OPERATIONS, reached
from api.intake.venue_reports.parsing import VENUE_REPORT
from domain.account import BreakAged, BreakChanged, BreakOpened, BreakResolved, RawReportKept
from domain.ledger import Report, Request, ledger
from tests.api.command_line import Run
from tests.api.intake import story
from tests.api.intake.story import Step, Story

pytestmark = pytest.mark.slow

MADE_HERE = {RawReportKept, BreakOpened, BreakChanged, BreakAged, BreakResolved}  # from reports, by Daybook itself


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The requests and reports that are decided, in sequence."""
    seen: list[type] = []
    decide = ledger.carried_out

    def spied(work: Any, command: Any, *more: Any) -> Any:
        payload = command.payload
        seen.extend(map(type, payload) if isinstance(payload, tuple) else [type(payload)])
        return decide(work, command, *more)

    for module in (batch, ledger):  # of the service, and of a command beside it
        monkeypatch.setattr(module, "carried_out", spied)
    return seen


@pytest.fixture
def book(client: httpx.Client, client_for: Callable[..., httpx.Client], daybook: Daybook) -> Story:
    other = client_for("trade", "record", "audit", "admin", actor="other")
    return Story(client, other, daybook, {})


def examples(schema: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any], list[Any]]]:
    """The method, path, parameters and bodies of the example of every operation that has one."""
    found = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            bodies = [each["value"] for each in content.get("examples", {}).values()]
            given = {each["name"]: each["example"] for each in operation.get("parameters", []) if "example" in each}
            if bodies or given:
                found[operation["operationId"]] = (method, path, given, bodies or [{}])
    return found


def test_every_request_and_report_has_a_route_and_a_command_and_is_accepted_as_its_examples_say(
    book: Story, decided: list[type], run: Run, tmp_path: Path
):
    given = examples(book.desk.get("/openapi.json").json())
    requests = reached()
    names: dict[str, set[type]] = {}
    for member, reaches in requests.items():
        for reach in reaches:
            names.setdefault(reach.operation, set()).add(member)
    commands = named(story.COMMANDS + story.COMMANDS_WITH_TWO)
    usages = {
        max((each for each in commands if reach.usage.startswith(each)), key=len): (member, reach.usage)
        for member, reaches in requests.items() for reach in reaches if reach.usage
    }  # fmt: skip
    candles = tmp_path / "candles.csv"
    candles.write_text("time,open,high,low,close\n2026-01-09T00:00:00Z,96000,98000,95500,97000\n")
    book.ids["candles.csv"] = str(candles)
    sent, called = set(), set()

    def send(operation: str) -> None:
        method, path, parameters, bodies = given[operation]
        client = book.other if operation in story.BY_OTHERS else book.desk
        decided.clear()
        for body in bodies:
            done = client.request(method, story.path_of(path, parameters | book.ids), json=body)
            assert done.status_code in (200, 201), (operation, body, done.text)
            if operation == "issue_key":
                book.ids["key_id"] = done.json()["key_id"]
        if operation != "record_venue_reports":
            assert names[operation] <= set(decided), f"{operation} is not how these are requested: {names[operation]}"
        sent.update(decided)

    def call(command: str) -> None:
        member, usage = usages[command]
        decided.clear()
        is_form = any(each.usage == usage for each in OPERATIONS)
        done = run(*story.words(usage, book.ids), *(() if is_form else ("--json",)))
        assert done.returncode == 0, (usage, done.stderr)
        assert done.stdout.strip(), usage
        assert member in decided, f"daybook {command} is not how {member.__name__} is requested"
        if command == "keys create":
            book.ids["KEY"] = json.loads(done.stdout)["key_id"]
        called.add(member)

    def play(steps: tuple[Step, ...], perform: Callable[[str], None]) -> None:
        for step in steps:
            if isinstance(step, str):
                perform(step)
            else:
                step(book)

    play(story.HTTP, send)
    play(story.COMMANDS, call)
    play(story.HTTP_WITH_TWO, send)
    play(story.COMMANDS_WITH_TWO, call)
    verified = run("verify", "--derivation")
    assert verified.returncode == 0, verified.stderr
    missing = [member.__name__ for member in get_args(Request) if member not in sent or member not in called]
    assert not missing, f"give these a route, a command and an example (api/intake/forms): {missing}"
    missing = [member.__name__ for member in get_args(Report) if member not in sent | MADE_HERE]
    assert not missing, f"give these a type in POST /v1/venue-reports, and an example: {missing}"


def named(steps: tuple[Step, ...]) -> list[str]:
    """The commands among steps."""
    return [step for step in steps if isinstance(step, str)]


def test_every_report_has_a_type_with_an_example_and_a_command(client: httpx.Client):
    *_, bodies = examples(client.get("/openapi.json").json())["record_venue_reports"]
    shown = [report for body in bodies for report in body["reports"]]
    types = VENUE_REPORT.json_schema()["discriminator"]["mapping"]
    assert {types[report["type"]] for report in shown} == set(types.values()), "give every report an example"
    for report in shown:
        assert isinstance(VENUE_REPORT.validate_json(json.dumps(report)).report(), get_args(Report))
    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    assert "venue-report" in commands


def test_every_form_has_its_own_operation_command_and_example():
    for field in ("name", "usage"):
        values = [getattr(each, field) for each in OPERATIONS if not each.is_hidden]
        assert len(set(values)) == len(values)
    for operation in OPERATIONS:
        assert operation.usage.startswith(f"{operation.command} "), operation.name
        assert set(operation.path_fields) <= set(operation.form.__struct_fields__), operation.name
        assert set(operation.example) <= set(operation.form.__struct_fields__), operation.name

"""Sentences about fields that cannot be read: of every kind of error, and of every field of every body."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from api.audit import closing_http
from api.intake import capital_http, controls_http, requests_http
from api.intake.forms import http as forms_http
from api.intake.policies import http as policies_http
from api.intake.stopping import http as stopping_http
from api.intake.venue_reports import parsing as venue_reports
from api.intake.venue_reports.parsing import VENUE_REPORT, Unreadable, parsed
from api.operations import access_http, privacy_http
from api.problems import field_errors, unreadable, unreadable_fields
from api.what_if import http as what_if_http
from domain.errors import InvalidInput

BAD = [None, True, 1.5, -1, 10**30, "", "x" * 400, "\x01", "buy", [], {}, [[]], [{}], {"a": 1}, "2026-13-01"]
UNWANTED = (
    "Input should", "Value error", "Field required", "Extra inputs", "is not is", "is not not", "is not has", "None is",
    "String should", "List should", "Assertion", "function-plain", "literal[", "validation error", "{", "Unable to",
)  # fmt: skip
ROUTERS = [
    each.router
    for each in (
        requests_http, forms_http, controls_http, capital_http, policies_http, stopping_http, access_http, privacy_http,
        closing_http, what_if_http,
    )
]  # fmt: skip


def bodies() -> Iterator[Any]:
    """The types of all bodies."""
    for router in ROUTERS:
        for route in router.routes:
            field = getattr(route, "body_field", None)
            if field is not None:
                yield field.field_info.annotation
    yield from get_args(get_args(venue_reports.VenueReport)[0])


def reads_right(error: dict[str, Any]) -> bool:
    message = error["message"]
    if isinstance(error["value"], str) and error["value"]:
        message = message.replace(error["value"], "V")
    return not any(part in message for part in UNWANTED) and message.startswith(f"{error['field']}: ")


def test_every_kind_of_error_has_a_sentence_of_ours():
    kinds = list_all_errors()
    assert len(kinds) > 80
    for kind in kinds:
        error = {
            "type": kind["type"], "loc": ("body", "price"), "msg": kind["example_message_python"], "input": "v",
            "ctx": kind.get("example_context") or {},
        }  # fmt: skip
        (shown,) = field_errors([error])
        assert reads_right(shown), (kind["type"], shown)
        assert kind["example_message_python"] not in shown["message"] or kind["type"] == "value_error"


def test_every_field_of_every_body_has_sentences_of_ours():
    shapes = list(dict.fromkeys(bodies()))
    assert len(shapes) > 15
    count = 0
    for shape in shapes:
        adapter = TypeAdapter(shape)
        fields = shape.model_fields if isinstance(shape, type) and issubclass(shape, BaseModel) else {}
        tries: list[Any] = [{name: bad} for name in fields for bad in BAD]
        tries += [{name: {"x": bad}} for name in fields for bad in BAD] + [
            {name: [bad]} for name in fields for bad in BAD
        ]
        for given in [*tries, *BAD, {"unknown": 1}]:
            try:
                adapter.validate_python(given)
            except ValidationError as invalid:
                problem = unreadable_fields(invalid.errors())
                count += 1
                for error in problem.facts["errors"]:
                    assert reads_right(error), (shape, given, error)
                assert len({error["field"] for error in problem.facts["errors"]}) == len(problem.facts["errors"])
    assert count > 1000


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ('{"type":"filed"}', "type: 'filed' is not one of pending_new, "),
        ("{}", "type: is missing, and has to be given"),
        ('{"type":"canceled","account_id":"main"}', "transact_time: is missing, and has to be given"),
        ('{"type":"filled","side":"buy"}', "side: 'buy' is not one of BUY, SELL"),
        ('{"type":"filled","trade_seq":-1}', "trade_seq: -1 is not at least 0"),
        ('{"type":"filled","trade_seq":"a"}', "trade_seq: 'a' is not a whole number"),
        ('{"type":"filled","commission":5}', "commission: 5 is not an object"),
        ('{"type":"filled","last_qty":0.5}', "last_qty: '0.5 as a JSON float' is not a decimal above zero as text"),
        ('{"type":"canceled","reason":null}', "reason: null is not text"),
        ('{"type":"canceled","raeson":"x"}', "raeson: is not a field that is known here"),
        ('{"type":', "report: has to be readable JSON: EOF while parsing"),
        ('{"type":"filled","order_id":" "}', "order_id: ' ' is not an id without blanks"),
    ],
)
def test_a_venue_report_that_cannot_be_read_is_answered_in_words(report: str, message: str):
    found = parsed(report.encode(), "venue", lambda _: None)
    assert isinstance(found, Unreadable)
    assert any(error["message"].startswith(message) for error in found.errors), found.errors
    assert "is not is" not in found.kept.reason
    assert VENUE_REPORT


def test_input_that_a_parser_of_ours_refuses_reads_alike():
    problem = unreadable(InvalidInput("as_of", "yesterday", "a time"), InvalidInput("day", None, "given"))
    assert problem.detail == "as_of: 'yesterday' is not a time (and 1 more)"
    assert [error["code"] for error in problem.facts["errors"]] == ["INVALID_VALUE", "MISSING"]

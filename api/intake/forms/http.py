"""Operations over HTTP: the route of each, with its schema, and with its example in the description of the API."""

from collections.abc import Callable, Iterable
from inspect import Parameter, Signature
from typing import Annotated, Any, NamedTuple, get_args

import pydantic
from fastapi import APIRouter, Body, Path
from msgspec import NODEFAULT, UNSET
from msgspec.structs import fields as fields_of
from pydantic import StrictBool, StrictInt, create_model
from starlette.responses import Response

from adapters.postgres.scopes import Caller
from adapters.writer.batch import Look
from api.clock import now
from api.daybook import Daybook
from api.http import fields as types
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, RequestId, answer, documented
from api.http.fields import AnyTime, InstrumentId, Name, Number, Positive, RequestBody
from api.http.idempotency import IdempotencyKey, Key, carried_out, command, one
from api.http.problem_responses import responses
from api.intake.forms import schemas
from api.intake.forms.catalog import OPERATIONS
from api.intake.forms.examples import EXAMPLES, Example
from api.intake.forms.fields import Field, described, hints_of, lot_of, parts_of
from api.intake.forms.form import Form, Operation
from api.intake.venue_reports.fields import Amount
from api.operations.access_schemas import ProposalAnswer
from domain.ledger import Answer, Request
from domain.position import Lot
from domain.values import Mark

ITEMS_MAX = 1000
CREATED = documented(201, "done") | documented(200, "done before: the same answer")
PROPOSED = documented(202, "proposed: it takes effect when another person approves it", ProposalAnswer)


class SubmittedLot(RequestBody):
    """A lot that comes with a transfer: its age decides which lot a disposal consumes first."""

    lot_id: Name
    quantity: Positive
    cost: Number
    opened_at: AnyTime = pydantic.Field(description="when it was acquired")

    def lot(self) -> Lot:
        """Return the lot as a value of the domain."""
        return lot_of(self.lot_id, self.quantity, self.cost, self.opened_at)


class StatedMark(RequestBody):
    """A price that is stated with a request; now if `mark_at` is absent."""

    instrument_id: InstrumentId
    price: Number
    source: Name = "api"
    mark_at: types.Time | None = None

    def mark(self) -> Mark:
        """Return the mark as a value of the domain."""
        return Mark(self.instrument_id, self.price, self.source, self.mark_at or now())


class _Type(NamedTuple):
    """The type of a kind of value over HTTP, and what turns it into a value of the domain."""

    of: Any
    value: Callable[[Any], Any] = lambda given: given


OTHERS = {
    "Amount": _Type(Amount, Amount.money),
    "SubmittedLot": _Type(SubmittedLot, SubmittedLot.lot),
    "StatedMark": _Type(StatedMark, StatedMark.mark),
    "int": _Type(StrictInt),
}


class _Bodied(NamedTuple):
    """A form over HTTP: the types of its fields in the path, the model of its body, and how values are turned."""

    path: dict[str, Any]
    body: type[RequestBody] | None
    values: dict[str, Callable[[Any], Any]]
    unset: frozenset[str]


def router_of(operations: Iterable[Operation]) -> APIRouter:
    """Return the routes of operations."""
    router = APIRouter(prefix="/v1", responses=responses(401, 403, 409, 422, 429, 503))
    for operation in operations:
        described = CREATED | (PROPOSED if operation.can_wait else {}) | responses(404)
        router.add_api_route(
            operation.path, _endpoint(operation), methods=[operation.method], status_code=201, name=operation.name,
            response_model=getattr(schemas, operation.answer), responses=described, tags=[operation.tag],
            description=operation.description,
        )  # fmt: skip
    return router


def _endpoint(operation: Operation) -> Callable[..., Response]:
    """Return the function of a route: its signature is what FastAPI derives the schema from."""
    bodied = _bodied(operation)

    def endpoint(
        daybook: Daybook, caller: Caller, request_id: str, key: Key | None, body: Any = None, **given: Any
    ) -> Response:
        form = operation.form(**given, **_values(bodied, body))
        payload = form.request(daybook, now())
        sent = payload if isinstance(payload, get_args(Request)) else (payload,)
        return carried_out(daybook, command(sent, caller, request_id), key, _respond(form))

    parameters: list[tuple[str, Any]] = [(name, Annotated[kind, Path()]) for name, kind in bodied.path.items()]
    if bodied.body is not None:
        parameters.append(("body", Annotated[bodied.body, Body()]))
    parameters += [
        ("daybook", OpenDaybook),
        ("caller", Annotated[Caller, needs(operation.scope)]),
        ("request_id", RequestId),
        ("key", IdempotencyKey),
    ]
    is_bare = bodied.body is not None and not any(each.is_required() for each in bodied.body.model_fields.values())
    empty = bodied.body() if is_bare and bodied.body is not None else Parameter.empty
    endpoint.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(
                name, Parameter.KEYWORD_ONLY, annotation=kind, default=empty if name == "body" else Parameter.empty
            )
            for name, kind in parameters
        ],
        return_annotation=Response,
    )
    endpoint.__name__ = operation.name
    return endpoint


def _respond(form: Form) -> Callable[[list[Answer], Look], Response]:
    def respond(answers: list[Answer], look: Look) -> Response:
        done = one(answers)
        return answer(form.record(look), seq=done.seq, status=201 if done.records else 200)

    return respond


def _values(bodied: _Bodied, body: RequestBody | None) -> dict[str, Any]:
    """Return the fields of a body as values of the domain; UNSET for those that it does not have."""
    if body is None:
        return {}
    return {
        name: UNSET if name in bodied.unset and name not in body.model_fields_set else _value(turn, getattr(body, name))
        for name, turn in bodied.values.items()
    }


def _value(turn: Callable[[Any], Any], given: Any) -> Any:
    return tuple(map(turn, given)) if isinstance(given, list | tuple) else None if given is None else turn(given)


def _bodied(operation: Operation) -> _Bodied:
    """Return a form's fields with their types over HTTP."""
    hints = hints_of(operation.form)
    path: dict[str, Any] = {}
    members: dict[str, Any] = {}
    values: dict[str, Callable[[Any], Any]] = {}
    unset = set()
    for each in fields_of(operation.form):
        plain, said = described(hints[each.name])
        kind = _type(plain, said)
        if each.name in operation.path_fields:
            path[each.name] = kind.of
            continue
        default = each.default
        if default is UNSET:
            unset.add(each.name)
            default = None
        of, values[each.name] = _shaped(plain, kind.of), kind.value
        members[each.name] = (
            of,
            pydantic.Field(... if default is NODEFAULT else _plain_default(default), description=said.help or None),
        )
    body = None
    if members:
        doc = operation.description.partition("\n\n")[0]
        body = create_model(operation.body_name, __base__=RequestBody, __doc__=doc, **members)
    return _Bodied(path, body, values, frozenset(unset))


def _type(plain: Any, said: Field) -> _Type:
    if said.kind is None:
        one_, *_ = parts_of(plain)
        return _Type(StrictBool if one_ is bool else one_)
    return OTHERS.get(said.kind.http) or _Type(getattr(types, said.kind.http))


def _shaped(plain: Any, of: Any) -> Any:
    """Return a type with what surrounds it: several values, or None."""
    _, is_many, is_optional, is_unset = parts_of(plain)
    if is_many:
        of = Annotated[list[of], pydantic.Field(max_length=ITEMS_MAX)]
    return of | None if is_optional or is_unset else of


def _plain_default(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


router = router_of(OPERATIONS)


def with_examples(schema: dict[str, Any]) -> None:
    """Add to an OpenAPI schema the examples of its operations: of their bodies, and of what their paths name.

    An operation that has declared examples of its body keeps them.
    """
    for methods in schema["paths"].values():
        for operation in methods.values():
            example = EXAMPLES.get(operation["operationId"])
            if example is not None:
                _add(operation, example)


def _add(operation: dict[str, Any], example: Example) -> None:
    for each in operation.get("parameters", []):
        if each["in"] == "path" and each["name"] in example.path:
            each["example"] = example.path[each["name"]]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content.setdefault("examples", {"example": {"value": example.body}})

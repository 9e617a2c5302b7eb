"""Bounds of API keys over HTTP: a key that is bounded to accounts or strategies sees and changes nothing of others.

Every operation is closed to such a key unless something here opens it. One with an `account_id` in its path, query or
body is open for the accounts of the key: where a query leaves it out and the key has one account, that one is meant.
Operations that concern no account (instruments, checkpoints) are open; one event, its proofs and a report's digest are
open where they are of the key's accounts. A key that is bounded to strategies may use the operations of `BY_STRATEGY`,
whose rows are all selected by strategy, for its own.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args
from urllib.parse import parse_qsl, quote

import msgspec
from anyio import to_thread
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from adapters.postgres.scopes import Caller
from api.daybook import Daybook
from api.http.bodies import STREAMED
from api.http.problem_responses import SLASH, response
from api.problems import Problem, problem_of
from api.reports.catalog import REPORTS
from api.reports.digest import parse
from domain import order
from domain.access import Bounds
from domain.errors import LedgerError
from domain.holdings.gains import Scope
from domain.order import Order, OrderKey
from projections.models.log_index import stream_parts

ACCOUNT, STRATEGY, DEFAULT_STRATEGY = "account_id", "strategy_id", "main"
LIQUIDATED = ("liquidated", "liquidation")  # of any strategy, where a report names none
OF_NO_ACCOUNT = {
    "list_instruments", "read_instrument", "latest_checkpoint", "latest_note", "list_checkpoints",
    "prove_consistency", "list_seal_keys", "prove_mark",
}  # fmt: skip
SELECTING = {"list_accounts"}  # they show a caller its own accounts only
BY_SEQ = {"read_event", "prove_inclusion", "prove_by_file"}
BY_DIGEST = {"reproduce_report"}
BATCHES = {"record_venue_reports", "take_reports"}  # each element is of an account of its own
BY_STRATEGY = {
    "list_orders", "list_executions", "list_positions", "list_lots", "list_matches", "read_pnl", "read_exposure",
    "submit_order", "read_order", "cancel_order", "record_transfer", "record_venue_reports", "take_reports",
    "engage_kill_switch", "release_kill_switch", "read_report", "reproduce_report", "prove_position", "prove_pnl",
}  # fmt: skip
OF_WHOLE_ACCOUNT = {"engage_kill_switch", "release_kill_switch"}  # unless a strategy is named
REPORTS_BY_STRATEGY = {"positions", "lots", "matches", "executions", "pnl", "exposure", "blotter"}
_OF_ACCOUNTS = re.compile(r"(^|_)accounts?(_ids?)?$")
_OF_STRATEGIES = re.compile(r"(^|_)strateg(y|ies)(_ids?)?$")


class _Operation(NamedTuple):
    """An operation, and where an account is named in its requests."""

    name: str
    path: re.Pattern[str]
    methods: frozenset[str]
    query: frozenset[str]
    body: frozenset[str]  # the members that a body must have


class Bounded:
    """Middleware that answers 403 to what is beyond the bounds of the caller's key."""

    def __init__(self, app: ASGIApp, daybook: Daybook, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._daybook = daybook
        self._operations = [_operation(route) for route in routes if isinstance(route, APIRoute)]

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("state", {}).get("caller") if scope["type"] == "http" else None
        if caller is None or not caller.bounds.is_partial:
            await self._app(scope, receive, send)
            return
        found = self._found(scope["method"], scope["path"])
        if found is None:  # there is no such path
            await self._app(scope, receive, send)
            return
        try:
            is_received = scope["method"] not in ("GET", "HEAD") and scope["path"] != STREAMED
            body = await _received(receive) if is_received else b""
            check = _Check(self._daybook, caller, found[0], found[1])
            query = await to_thread.run_sync(check.query, scope["query_string"], body)
        except (Problem, LedgerError) as error:
            await response(problem_of(error), scope["path"])(scope, receive, send)
            return
        again = _replaying(body, receive) if is_received else receive
        await self._app({**scope, "query_string": query}, again, send)

    def _found(self, method: str, path: str) -> tuple[_Operation, dict[str, str]] | None:
        wanted = "GET" if method == "HEAD" else method
        for operation in self._operations:
            match = operation.path.match(path) if wanted in operation.methods else None
            if match:
                return operation, {name: _normal(value) for name, value in match.groupdict().items()}
        return None


def _operation(route: APIRoute) -> _Operation:
    query: set[str] = set()
    for param in _query_params(route.dependant):
        model = param.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            query |= {field.alias or name for name, field in model.model_fields.items()}
        else:
            query.add(param.alias)
    body = frozenset[str]() if route.body_field is None else _required(route.body_field.field_info.annotation)
    return _Operation(
        route.name, route.path_regex, methods=frozenset(route.methods or ()), query=frozenset(query), body=body
    )


def _required(shape: Any) -> frozenset[str]:
    """Return the members that a body of this type has in any case, whichever of several models it is."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return frozenset(name for name, field in shape.model_fields.items() if field.is_required())
    of_parts = [_required(each) for each in get_args(shape) if not isinstance(each, FieldInfo)]
    return frozenset.intersection(*of_parts) if of_parts else frozenset()


def _query_params(dependant: Dependant) -> list[Any]:
    return [*dependant.query_params, *(each for one in dependant.dependencies for each in _query_params(one))]


class _Check:
    """The check of one request. Raises Problem where it is beyond the bounds."""

    def __init__(self, daybook: Daybook, caller: Caller, operation: _Operation, path: Mapping[str, str]) -> None:
        self._daybook = daybook
        self._caller = caller
        self._bounds: Bounds = caller.bounds
        self._operation = operation
        self._path = path

    def query(self, given: bytes, body: bytes) -> bytes:
        """Check a request; return its query, with the account and strategy of the key where it names none."""
        name = self._operation.name
        if name in OF_NO_ACCOUNT:
            return given
        if self._bounds.strategies and name not in BY_STRATEGY:
            raise self._beyond("the operation is not by strategy")
        if name in SELECTING:
            return given
        query = parse_qsl(given.decode("latin-1"), keep_blank_values=True)
        if name in BY_SEQ:
            self._check_seq(self._path.get("seq") or _only(query, "seq"))
            return given
        if name in BY_DIGEST:
            self._check_digest(_only(query, "digest"))
            return given
        if ACCOUNT in self._path:
            self._check_account(self._path[ACCOUNT])
            self._check_order()
        if body or name in BATCHES:
            self._check_body(body)
            return given
        if ACCOUNT in self._path:
            return given
        if ACCOUNT not in self._operation.query:
            raise self._beyond("the operation is of all accounts")
        return given + self._selected(query)

    def _selected(self, query: list[tuple[str, str]]) -> bytes:
        """Check the selection of a query; return what completes it."""
        more = ""
        if self._operation.name == "read_report" and self._bounds.strategies:
            report = self._path.get("report", "")
            if report in REPORTS and report not in REPORTS_BY_STRATEGY:
                raise self._beyond(f"the report {report} is not by strategy")
        for field, allowed, has in (
            (ACCOUNT, self._bounds.accounts, self._bounds.has_account),
            (STRATEGY, self._bounds.strategies, self._bounds.has_strategy),
        ):
            if not allowed:
                continue
            if field not in self._operation.query:
                raise self._beyond(f"the operation has no {field}")
            given = _only(query, field)
            if given is None and len(allowed) > 1:
                raise self._beyond(f"name one of them as {field}")
            if field == ACCOUNT and _only(query, "scope") == Scope.ALL:
                raise self._beyond("lots over all accounts are of others too")
            if given is None:
                more += f"&{field}={quote(allowed[0], safe='')}"
            elif not has(_normal(given)):
                raise self._beyond(f"{field} {given} is not one of them")
        return more.encode()

    def _check_account(self, account_id: str) -> None:
        if not self._bounds.has_account(account_id):
            raise self._beyond(f"{ACCOUNT} {account_id} is not one of them")

    def _check_strategy(self, strategy_id: str) -> None:
        if not self._bounds.has_strategy(strategy_id):
            raise self._beyond(f"{STRATEGY} {strategy_id} is not one of them")

    def _check_order(self) -> None:
        """Check the strategy of the order that a path names; one that is not on record is not found later."""
        if self._bounds.strategies:
            cl_ord_id = self._path.get("cl_ord_id")
            if cl_ord_id is None:
                raise self._beyond("the operation is of all strategies")
            self._check_strategy_of(self._path[ACCOUNT], cl_ord_id)

    def _check_strategy_of(self, account_id: str, cl_ord_id: str) -> bool:
        """Check the strategy of an order; return whether it is on record."""
        known: Order | None = self._daybook.state(order.stream(OrderKey(account_id, cl_ord_id)))
        if known is not None:
            self._check_strategy(known.strategy_id)
        return known is not None

    def _check_seq(self, text: str | None) -> None:
        if text is None or not text.isascii() or not text.isdecimal() or len(text) > 18:
            return  # refused by the operation
        found = self._daybook.history.stored(after=int(text) - 1, upto=int(text), limit=1)
        if found and stream_parts(found[0].stream)[1] not in self._bounds.accounts:
            raise self._beyond(f"seq {text} is not of one of them")

    def _check_digest(self, text: str | None) -> None:
        if text is None:
            return
        digest = parse(text)
        if self._bounds.accounts:
            self._check_account(digest.parameters.account_id or "")
            if digest.parameters.scope is Scope.ALL:
                raise self._beyond("lots over all accounts are of others too")
        if self._bounds.strategies:
            self._check_strategy(digest.parameters.strategy_id or "")
            if digest.report not in REPORTS_BY_STRATEGY:
                raise self._beyond(f"the report {digest.report} is not by strategy")

    def _check_body(self, body: bytes) -> None:
        try:
            given = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._beyond("a body that can be read is needed to see which it names") from None
        if self._operation.name in BATCHES:
            reports = given.get("reports") if isinstance(given, dict) else None
            elements = reports if isinstance(reports, list) else []
        else:
            elements = [given]
            if ACCOUNT not in self._path and ACCOUNT not in self._operation.body:
                raise self._beyond("the operation is of all accounts")
        for element in elements:
            if not isinstance(element, dict):
                raise self._beyond("each element is an object that names its account")
            if ACCOUNT not in element and ACCOUNT not in self._path:
                raise self._beyond(f"name one of them as {ACCOUNT}")
            self._check_element(element)

    def _check_element(self, element: dict[str, Any]) -> None:
        for account_id in _values(element, _OF_ACCOUNTS):
            self._check_account(account_id)
        if not self._bounds.strategies:
            return
        named = _values(element, _OF_STRATEGIES)
        for strategy_id in named:
            self._check_strategy(strategy_id)
        account_id = self._path.get(ACCOUNT) or _normal(str(element.get(ACCOUNT)))
        cl_ord_id = self._path.get("cl_ord_id") or element.get("cl_ord_id")
        is_known = cl_ord_id is not None and self._check_strategy_of(account_id, _normal(str(cl_ord_id)))
        if not named and self._operation.name in OF_WHOLE_ACCOUNT:
            raise self._beyond(f"name one of them as {STRATEGY}")
        if not named and element.get("type") in LIQUIDATED:
            raise self._beyond(f"name one of them as {STRATEGY}")
        if not named and (not is_known or element.get("type") in ("filled", "funding")):
            self._check_strategy(DEFAULT_STRATEGY)  # the one that is meant where none is named

    def _beyond(self, why: str) -> Problem:
        parts = [
            f"the {what} {', '.join(allowed)}"
            for what, allowed in (("accounts", self._bounds.accounts), ("strategies", self._bounds.strategies))
            if allowed
        ]
        return Problem(
            403, "forbidden", "Forbidden", f"this key is bounded to {' and '.join(parts)}: {why}",
            actor=self._caller.actor, accounts=list(self._bounds.accounts) or None,
            strategies=list(self._bounds.strategies) or None,
        )  # fmt: skip


def _only(query: list[tuple[str, str]], name: str) -> str | None:
    """Return the value of a parameter; None if it is not given. Raises Problem if it is given twice."""
    given = [value for key, value in query if key == name]
    if len(given) > 1:
        raise Problem(422, "unreadable", "Unreadable", f"{name}: give it once", field=name)
    return given[0] if given else None


def _values(value: Any, named: re.Pattern[str]) -> list[str]:
    """Return all text of members with such a name, wherever they are; null is no value."""
    found: list[str] = []
    if isinstance(value, dict):
        for name, member in value.items():
            if named.search(name) and not isinstance(member, dict):
                listed = member if isinstance(member, list) else [member]
                found += [_normal(str(each)) for each in listed if each is not None]
            else:
                found += _values(member, named)
    elif isinstance(value, list):
        for member in value:
            found += _values(member, named)
    return found


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace(SLASH, "/"))


async def _received(receive: Receive) -> bytes:
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _replaying(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay

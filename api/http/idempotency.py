"""Idempotency: a POST with an `Idempotency-Key` is carried out once, and every repetition gets the first answer.

The key is the caller's own. It is stored with the answer in the transaction of the events it led to; refusals are
stored too. A repetition has `Idempotency-Replayed: true`. The same key with another request (another path or body) is
422 and nothing happens. Bodies are compared as parsed: the sequence of keys, spaces and escapes do not matter, nor how
a decimal is written (`1`, `"1.0"`, `"1.00"`). An error before anything is carried out (a body that does not parse, a
missing right, a full queue, no database) is not stored: correct it and send it again.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, get_args

import msgspec
from fastapi import Depends, Header
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from adapters.postgres.scopes import Caller
from adapters.writer.batch import Keyed, Look
from api.clock import now
from api.daybook import Daybook
from api.encoding import proposal_record
from api.http.dependencies import SEQ_HEADER, answer
from api.http.json_text import checked
from api.http.problem_responses import response
from api.problems import Problem, problem_of
from domain import values
from domain.access import approvals
from domain.errors import InvalidInput, RequestRefused
from domain.ledger import Answer, Command

KEY_CHARACTERS_MAX = 255
KEY_PATTERN = r"^[!-~]+$"
HEADER = "Idempotency-Key"

_NAME = re.compile(r"[!-~]{1,255}")
LONG_BYTES = 2**16  # parsed beside the event loop
REPLAYED_HEADER = "Idempotency-Replayed"

Respond = Callable[[list[Answer], Look], Response]


class Kept(msgspec.Struct, array_like=True):
    """An answer as it is stored."""

    status: int
    media_type: str
    seq: str
    body: bytes


class Key(NamedTuple):
    """The caller's key, with a digest of the whole request; and that of its bytes, by which older releases knew it."""

    name: str
    sha256: bytes
    path: str
    raw_sha256: bytes = b""

    def of(self, *parts: str) -> "Key":
        """Return the key with a digest of other text: of a body with personal data, what is left once it is sealed."""
        digest = hashlib.sha256("\n".join((self.path, *parts)).encode()).digest()
        return self._replace(sha256=digest, raw_sha256=b"")


async def _key(
    request: HttpRequest,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1, max_length=KEY_CHARACTERS_MAX, pattern=KEY_PATTERN,
            description="your own, one for each request: a repetition gets the first answer, and nothing is done twice",
        ),
    ] = None,
) -> Key | None:  # fmt: skip
    return None if idempotency_key is None else await key_of(request, idempotency_key)


async def key_of(request: HttpRequest, name: str) -> Key | None:
    """Return the key of a request; None if `name` cannot be one."""
    if not _NAME.fullmatch(name):
        return None
    path: str = request.scope["path"]  # whole: that of its url ends at a `?` or `#` in a name
    body = await request.body()
    head = f"{request.method} {path}\n".encode()
    raw = hashlib.sha256(head + body).digest()
    is_long = len(body) > LONG_BYTES
    value = await run_in_threadpool(_parsed, request, body) if is_long else _parsed(request, body)
    if value is None:
        return Key(name, raw, path)
    canonical = json.dumps(_canonical(value, request.app.state.decimals), sort_keys=True, ensure_ascii=False)
    return Key(name, hashlib.sha256(head + canonical.encode()).digest(), path, raw)


def _parsed(request: HttpRequest, body: bytes) -> Any:
    """Return the value of a body, parsed once; None for a batch that is no JSON as a whole, and for no body."""
    if hasattr(request.state, "json"):
        return request.state.json
    try:
        return checked(body) if body else None
    except InvalidInput:
        return None


def _canonical(value: Any, decimals: frozenset[str], field: str = "") -> Any:
    """Return a value of JSON in which every decimal is written in one way."""
    match value:
        case dict():
            return {name: _canonical(item, decimals, name) for name, item in value.items()}
        case list():
            return [_canonical(item, decimals, field) for item in value]
        case str() | int() if field in decimals and not isinstance(value, bool):
            with suppress(InvalidInput):
                return format(values.number(value, field), "f")
    return value


def decimals_of(models: Iterable[Any]) -> frozenset[str]:
    """Return the names of the fields that hold decimals, in these models of bodies and all that they consist of."""
    found: set[str] = set()
    seen: set[Any] = set()
    left = list(models)
    while left:
        shape = left.pop()
        if shape in seen:
            continue
        seen.add(shape)
        left += [part for part in get_args(shape) if isinstance(part, type) or get_args(part)]
        if isinstance(shape, type) and issubclass(shape, BaseModel):
            for name, field in shape.model_fields.items():
                left.append(field.annotation)
                if _is_decimal(field.annotation):
                    found.add(field.alias or name)
    return frozenset(found)


IdempotencyKey = Annotated[Key | None, Depends(_key)]


def _is_decimal(annotation: Any) -> bool:
    return annotation is Decimal or any(_is_decimal(part) for part in get_args(annotation))


def carried_out(daybook: Daybook, command: Command, key: Key | None, respond: Respond) -> Response:
    """Carry out a command and return the response; with a key once, however often it is sent.

    `respond` gets the answers and the states right after the command. Raises what it raises.
    """
    if key is None:
        return _responded(daybook.writer.carry_out(command), daybook.writer.state, respond)
    kept = daybook.writer.carry_out_once(command, _keyed(key, respond))
    return unpacked(kept.answer, is_replayed=not kept.is_first)


async def carried_out_async(daybook: Daybook, command: Command, key: Key | None, respond: Respond) -> Response:
    """Like `carried_out`, awaiting the group commit on the event loop.

    Without a key, an answer that adds nothing, or looks anything up, may wait for the database, so `respond` runs in a
    thread then; with one, the writer has made it.
    """
    if key is not None:
        kept = await daybook.writer.carry_out_once_async(command, _keyed(key, respond))
        return unpacked(kept.answer, is_replayed=not kept.is_first)
    answers = await daybook.writer.carry_out_async(command)
    if all(each.records for each in answers):
        with suppress(LooksUp):
            return _responded(answers, _no_look, respond)
    return await run_in_threadpool(_responded, answers, daybook.writer.state, respond)


class LooksUp(Exception):
    """An answer looks up an aggregate."""


def _no_look(stream: str) -> Any:
    raise LooksUp(stream)


def _keyed(key: Key, respond: Respond) -> Keyed:
    def packed_response(answers: list[Answer], look: Look) -> bytes:
        try:
            return packed(_responded(answers, look, respond))
        except (RequestRefused, InvalidInput, Problem) as error:
            return packed(response(problem_of(error), key.path))

    return Keyed(key.name, key.sha256, packed_response, key.raw_sha256)


def _responded(answers: list[Answer], look: Look, respond: Respond) -> Response:
    """Return the response: 202 with the proposal for a request that waits for a second person."""
    first = answers[0] if answers else None
    if first is None or not first.proposal_id:
        return respond(answers, look)
    proposal = look(approvals.STREAM).proposals[first.proposal_id]
    return answer(proposal_record(proposal, now()), seq=first.seq, status=202)


def one(answers: Sequence[Answer]) -> Answer:
    """Return the answer to a single request. Raises its error."""
    (answer,) = answers
    if answer.error is not None:
        raise answer.error
    return answer


def command(
    payload: object, caller: Caller, request_id: str, evidence_of: Callable[[int, InvalidInput], object] | None = None
) -> Command:
    """Return a command in the caller's name: one request, or a tuple of venue reports."""
    return Command(payload, caller.identity, request_id, evidence_of=evidence_of)  # type: ignore[arg-type]


def packed(response: Response) -> bytes:
    """Return a response as it is stored."""
    seq = response.headers.get(SEQ_HEADER, "")
    kept = Kept(response.status_code, response.media_type or "", seq, bytes(response.body))
    return msgspec.msgpack.encode(kept)


def unpacked(stored: bytes, *, is_replayed: bool = False) -> Response:
    """Return the response that was stored, marked if it is `is_replayed`."""
    kept = msgspec.msgpack.decode(stored, type=Kept)
    headers = {SEQ_HEADER: kept.seq} if kept.seq else {}
    if is_replayed:
        headers[REPLAYED_HEADER] = "true"
    return Response(kept.body, status_code=kept.status, media_type=kept.media_type, headers=headers)

"""Idempotency: a POST with an `Idempotency-Key` is carried out once, and every repetition gets the first answer.

The key is the caller's own. It is stored with the answer in the transaction of the events it led to; refusals are
stored too. The same key with another body (or path) is 422 and nothing happens. An error before anything is carried out
(a body that does not parse, a missing right, a full queue, no database) is not stored: correct it and send it again.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import Depends, Header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Scope

from adapters.postgres.scopes import Caller
from adapters.writer.batch import Keyed, Look
from api.clock import now
from api.daybook import Daybook
from api.encoding import proposal_record
from api.http.dependencies import SEQ_HEADER, answer
from api.http.problem_responses import response
from api.problems import Problem, problem_of
from domain.access import approvals
from domain.errors import InvalidInput, RequestRefused
from domain.ledger import Answer, Command

KEY_CHARACTERS_MAX = 255
KEY_PATTERN = r"^[!-~]+$"
HEADER = "Idempotency-Key"

_NAME = re.compile(r"[!-~]{1,255}")

Respond = Callable[[list[Answer], Look], Response]


class Kept(msgspec.Struct, array_like=True):
    """An answer as it is stored."""

    status: int
    media_type: str
    seq: str
    body: bytes


class Key(NamedTuple):
    """The caller's key, with a digest of the whole request."""

    name: str
    sha256: bytes
    path: str

    def of(self, *parts: str) -> "Key":
        """Return the key with a digest of other text: of a body with personal data, what is left once it is sealed."""
        return self._replace(sha256=hashlib.sha256("\n".join((self.path, *parts)).encode()).digest())


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
    return None if idempotency_key is None else key_of(request.scope, idempotency_key, await request.body())


def key_of(scope: Scope, name: str, body: bytes) -> Key | None:
    """Return the key of a request; None if `name` cannot be one."""
    if not _NAME.fullmatch(name):
        return None
    path: str = scope["path"]  # whole: that of its url ends at a `?` or `#` in a name
    digest = hashlib.sha256(f"{scope['method']} {path}\n".encode())
    digest.update(body)
    return Key(name, digest.digest(), path)


IdempotencyKey = Annotated[Key | None, Depends(_key)]


def carried_out(daybook: Daybook, command: Command, key: Key | None, respond: Respond) -> Response:
    """Carry out a command and return the response; with a key once, however often it is sent.

    `respond` gets the answers and the states right after the command. Raises what it raises.
    """
    if key is None:
        return _responded(daybook.writer.carry_out(command), daybook.writer.state, respond)
    return unpacked(daybook.writer.carry_out_once(command, _keyed(key, respond)).answer)


async def carried_out_async(daybook: Daybook, command: Command, key: Key | None, respond: Respond) -> Response:
    """Like `carried_out`, awaiting the group commit on the event loop.

    Without a key, an answer that adds nothing, or looks anything up, may wait for the database, so `respond` runs in a
    thread then; with one, the writer has made it.
    """
    if key is not None:
        return unpacked((await daybook.writer.carry_out_once_async(command, _keyed(key, respond))).answer)
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

    return Keyed(key.name, key.sha256, packed_response)


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


def unpacked(stored: bytes) -> Response:
    """Return the response that was stored."""
    kept = msgspec.msgpack.decode(stored, type=Kept)
    headers = {SEQ_HEADER: kept.seq} if kept.seq else {}
    return Response(kept.body, status_code=kept.status, media_type=kept.media_type, headers=headers)

"""Idempotency: a POST with an `Idempotency-Key` is carried out once, and answered every time as it was the first.

The key is the caller's own. It is kept with the answer in the transaction of the events it led to; refusals are kept
too. The same key with another body (or path) is 422 and nothing happens. What is wrong before anything is carried out
(a body that does not parse, a missing right, a full queue, no database) is not kept: mend it and send it again.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import msgspec
from fastapi import Depends, Header
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from adapters.postgres.scopes import Caller
from adapters.writer.batch import Keyed, Look
from api.daybook import Daybook
from api.http.dependencies import SEQ_HEADER
from api.http.problem_responses import response
from api.problems import Problem, problem_of
from domain.errors import InvalidInput, RequestRefused
from domain.ledger import Answer, Command

KEY_CHARACTERS_MAX = 255

Telling = Callable[[list[Answer], Look], Response]


class Kept(msgspec.Struct, array_like=True):
    """An answer as it is kept."""

    status: int
    media_type: str
    seq: str
    body: bytes


class Key(NamedTuple):
    """What the caller sent to be recognised by: a digest of the whole request goes with the key."""

    name: str
    sha256: bytes
    path: str

    def of(self, *said: str) -> "Key":
        """The same key with a digest of other words: where the body has what is personal, of that sealed."""
        return self._replace(sha256=hashlib.sha256("\n".join((self.path, *said)).encode()).digest())


async def _key(
    request: HttpRequest,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1, max_length=KEY_CHARACTERS_MAX, pattern=r"^[!-~]+$",
            description="yours, one for each request: sent again, it is answered again and nothing is done twice",
        ),
    ] = None,
) -> Key | None:  # fmt: skip
    if idempotency_key is None:
        return None
    path = request.url.path
    said = hashlib.sha256(f"{request.method} {path}\n".encode())
    said.update(await request.body())
    return Key(idempotency_key, said.digest(), path)


IdempotencyKey = Annotated[Key | None, Depends(_key)]


def carried_out(book: Daybook, command: Command, key: Key | None, tell: Telling) -> Response:
    """Carry out a command and tell of it; with a key once, however often it is sent.

    `tell` is given the answers and the states as they are right after the command. Raises what it raises.
    """
    if key is None:
        return tell(book.writer.carry_out(command), book.writer.state)

    def told(answers: list[Answer], look: Look) -> bytes:
        try:
            return packed(tell(answers, look))
        except (RequestRefused, InvalidInput, Problem) as error:
            return packed(response(problem_of(error), key.path))

    kept = book.writer.carry_out_once(command, Keyed(key.name, key.sha256, told))
    return unpacked(kept.answer)


def one(answers: Sequence[Answer]) -> Answer:
    """The answer to a single request. Raises its error."""
    (answer,) = answers
    if answer.error is not None:
        raise answer.error
    return answer


def command(
    asked: object, caller: Caller, request_id: str, evidence_of: Callable[[int, InvalidInput], object] | None = None
) -> Command:
    """A command in the caller's name."""
    return Command(asked, caller.actor, request_id, "", evidence_of)  # type: ignore[arg-type]


def packed(told: Response) -> bytes:
    """An answer as it is kept."""
    kept = Kept(told.status_code, told.media_type or "", told.headers.get(SEQ_HEADER, ""), bytes(told.body))
    return msgspec.msgpack.encode(kept)


def unpacked(answer: bytes) -> Response:
    """The answer that was kept."""
    kept = msgspec.msgpack.decode(answer, type=Kept)
    headers = {SEQ_HEADER: kept.seq} if kept.seq else {}
    return Response(kept.body, status_code=kept.status, media_type=kept.media_type, headers=headers)

"""Sending what policies request: through the writer, each request at most once under its id.

The id is the request's idempotency key, which the writer stores with its answer in the transaction of the events it
leads to. So a request that was carried out or refused is not decided again, by any process, at any time. What may be
repeated without harm, monitoring at marks, has no key.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from adapters.writer.batch import IdempotentAnswer, Keyed, Look
from adapters.writer.writer import ANSWER_SECONDS_MAX, TOO_SLOW, Writer
from domain.errors import RequestRefused, Unavailable
from domain.ledger import Answer, Command
from domain.reactions.process import Reaction, Send
from domain.risk import AssessMarks


def sender(writer: Writer, refresh_marks: Callable[[], None]) -> Send:
    """Return what sends reactions through a writer that leads, and returns why each was refused, or None.

    `refresh_marks` makes the writer read the newest marks, also those recorded by other processes. What is returned
    raises Unavailable, Busy, ClockInDoubt, and what is wrong with a request that is no valid one.
    """

    def send(reactions: Sequence[Reaction]) -> list[str | None]:
        if any(isinstance(one.request, AssessMarks) for one in reactions):
            refresh_marks()
        futures = [writer.submit(_command(one), _keyed(one) if one.is_once else None) for one in reactions]
        try:
            return [_refusal(future.result(ANSWER_SECONDS_MAX)) for future in futures]
        except TimeoutError:
            raise Unavailable(TOO_SLOW) from None

    return send


def _command(reaction: Reaction) -> Command:
    return Command(reaction.request, reaction.identity, reaction.request_id, reaction.cause)


def _keyed(reaction: Reaction) -> Keyed:
    """Return the key of a request: its id alone, so that another wording of the same request is the same."""
    return Keyed(reaction.request_id, hashlib.sha256(reaction.request_id.encode()).digest(), _encoded)


def _encoded(answers: list[Answer], _: Look) -> bytes:
    return (_refusal(answers) or "").encode()


def _refusal(answered: Any) -> str | None:
    """Return why a request was refused; None if it was not. Raises any other error of an answer."""
    if isinstance(answered, IdempotentAnswer):
        return answered.answer.decode() or None
    for answer in answered:
        if isinstance(answer.error, RequestRefused):
            return str(answer.error)
        if answer.error is not None:
            raise answer.error
    return None

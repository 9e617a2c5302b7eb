"""Subject: a person that records are about, named by an id that reveals nothing of them.

Personal data is in events only as `Personal`: sealed with a key of its subject, which is kept outside the log. Rules
and folds never see the text, so that they do the same when the key is gone; it is decrypted at the edge for callers
that may read it. Forgetting a subject is an event here, and deletes the key there: every hash and every fold stays as
it was.
"""

from datetime import datetime
from typing import assert_never

from msgspec import Struct

from domain import names, values
from domain.errors import InvalidInput, RequestRefused


class Personal(Struct, frozen=True):
    """Personal data, sealed with the subject's key: unreadable for good once the subject is forgotten."""

    subject_id: str
    sealed: str


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class SubjectForgotten(Struct, frozen=True, tag="SubjectForgotten"):
    """A subject was forgotten: its key is deleted, and its personal data can no longer be read."""

    subject_id: str
    reason: str
    transact_time: datetime


SubjectEvent = SubjectForgotten


class ForgetSubject(Struct, frozen=True, tag="ForgetSubject"):
    """Forget a subject for good, with a reason. A stored format too, in a proposal: add fields with defaults only."""

    subject_id: str
    reason: str
    transact_time: datetime


SubjectRequest = ForgetSubject


class Subject(Struct, frozen=True):
    """A subject that was forgotten; before that, the log has only its sealed data."""

    subject_id: str
    forgotten_at: datetime


def stream(subject_id: str) -> str:
    """The stream of one subject."""
    return names.stream("subject", subject_id)


def decide(known: Subject | None, request: SubjectRequest) -> tuple[SubjectEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    match request:
        case ForgetSubject(subject_id, reason, at):
            try:
                values.plain_name(subject_id, "subject_id")
            except InvalidInput as error:
                raise RequestRefused(f"subject_id is {error.rule}", subject_id=subject_id) from error
            if not reason.strip():
                raise RequestRefused("a subject is forgotten for a reason", subject_id=subject_id)
            return () if known is not None else (SubjectForgotten(subject_id, reason, at),)
        case _:
            assert_never(request)


def evolve(known: Subject | None, event: SubjectEvent) -> Subject:
    """The subject after an event. Total and unconditional."""
    match event:
        case SubjectForgotten(subject_id=subject_id, transact_time=at):
            return Subject(subject_id, at)
        case _:
            assert_never(event)

"""A subject: forgotten once, by a person, for a reason."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from domain.account import ForgetSubject, Subject, SubjectForgotten, subject
from domain.errors import RequestRefused
from tests.given import Given

AT = datetime(2026, 1, 2, tzinfo=UTC)
FORGET = ForgetSubject("client-17", "request 7", AT)
FORGOTTEN = SubjectForgotten("client-17", "request 7", AT)
after = Given(subject)


def test_a_subject_is_forgotten_once():
    forgotten = after().when(FORGET).then(FORGOTTEN).repeated().then()
    forgotten.when(replace(FORGET, reason="again")).then()
    assert forgotten.state == Subject("client-17", AT)


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_subject_is_forgotten_for_a_reason(reason):
    after().when(replace(FORGET, reason=reason)).refused("a subject is forgotten for a reason", subject_id="client-17")


@pytest.mark.parametrize("name", ["", "Ada Lovelace", "a:b", "x" * 65, "Ада"])
def test_a_subject_is_named_by_an_id(name):
    with pytest.raises(RequestRefused, match="subject_id is"):
        subject.decide(None, replace(FORGET, subject_id=name))

"""Who acts: a claim never reads as another kind of identity, and who may be one person is found."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import values
from domain.access import ApiKey, Claim, Likeness, OsAccount, Part, claim, label, likeness, text
from domain.access.identity import escaped
from domain.errors import InvalidInput
from domain.ledger import Recorded, schema
from tests.samples import AT
from tests.samples.access_events import EVENTS

OS_LABEL = re.compile(r"os:(\d+)/([A-Za-z0-9._~%-]*)@([A-Za-z0-9._~%-]*)", re.ASCII)
HOSTILE = [
    "bob) (effective uid 0", "os:0/root@host", "key:abc/admin", "policy:LOSS", "bob\nos:0/root@host", 'b"ob',
    "b\u043eb", "system:upgrade", "\u202ebob", "a@b", "a/b", "%3A", "", "x" * 500, "\udcff",
]  # fmt: skip


@given(st.text() | st.sampled_from(HOSTILE), st.text() | st.sampled_from(HOSTILE), st.integers(0, 2**32 - 1))
def test_the_label_of_an_account_parses_back_to_its_parts(user, host, uid):
    matched = OS_LABEL.fullmatch(label(OsAccount(uid, escaped(user), escaped(host))))
    assert matched and matched.groups() == (str(uid), escaped(user), escaped(host))


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_claimed_name_changes_no_label_and_ends_no_text_early(name):
    plain = OsAccount(1000, "ada", "desk-1")
    claiming = OsAccount(1000, "ada", "desk-1", claims=(claim("LOGNAME", name),))
    assert label(claiming) == label(plain) == "os:1000/ada@desk-1"
    shown = text(claiming)
    assert shown.isascii() and shown.isprintable()
    assert re.fullmatch(r'os:1000/ada@desk-1 \(claims LOGNAME "[A-Za-z0-9._~%-]*"\)', shown)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_key_reads_as_an_account_or_a_part_of_daybook(name):
    try:
        values.plain_name(name, "name")
    except InvalidInput:
        return
    assert not OS_LABEL.fullmatch(name) and ":" not in name


def test_an_identity_is_one_more_field_and_a_record_without_one_is_written_as_ever():
    event = EVENTS[0]
    plain = schema.encode(Recorded("access:k", 1, AT, "bob", "r", event))
    assert b'"by"' not in plain and b"approved_by" not in plain
    full = Recorded("access:k", 1, AT, "bob", "r", event, by=ApiKey("k1", "bob"), approved_by=OsAccount(7, "ada", "h"))
    stored = schema.encode(full)
    assert stored == plain.removesuffix(b"}") + (
        b',"by":{"kind":"key","key_id":"k1","name":"bob"},"approved_by":{"kind":"os","uid":7,"user":"ada","host":"h"}}'
    )
    assert schema.decode("KeyIssued", stored) == full


def test_every_kind_of_identity_is_read_back_as_it_was():
    for one in (
        OsAccount(0, "root", "h", 65534, 1000, "ada", (Claim("--actor", "x"),)), ApiKey("k", "bob"), Part("policy:LOSS")
    ):  # fmt: skip
        stored = schema.encode(Recorded("access:k", 1, AT, label(one), "", EVENTS[0], by=one))
        assert schema.decode("KeyIssued", stored).by == one
        assert json.loads(stored)["by"]["kind"] in ("os", "key", "system")


ADA = OsAccount(1000, "ada", "desk-1")


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (ADA, ADA, Likeness.ACCOUNT),
        (ADA, OsAccount(1000, "ada2", "desk-1"), Likeness.ACCOUNT),  # one uid under two names
        (ADA, OsAccount(0, "root", "desk-1", login_uid=1000, login_user="ada"), Likeness.ACCOUNT),  # behind sudo
        (ADA, OsAccount(1001, "ada", "desk-2"), Likeness.NAME),
        (ADA, OsAccount(1001, "bob", "desk-1"), None),
        (ADA, OsAccount(1000, "bob", "desk-2"), None),  # numbers of two hosts are not one
        (ADA, OsAccount(0, "root", "desk-1", claims=(claim("SUDO_USER", "ada"),)), Likeness.NAME),
        (ADA, OsAccount(0, "root", "desk-1", login_uid=1001, login_user="bob"), None),
        (ADA, ApiKey("k1", "ada"), Likeness.NAME),
        (ADA, ApiKey("k1", "Ada"), Likeness.NAME),
        (ADA, ApiKey("k1", "bob"), None),
        (OsAccount(1001, "bob", "desk-1", claims=(claim("--actor", "ada"),)), ADA, Likeness.NAME),
        (ApiKey("k1", "bob"), ApiKey("k2", "bob"), Likeness.NAME),
        (ApiKey("k1", "bob"), ApiKey("k1", "bob"), Likeness.KEY),
        (ApiKey("k1", "bob"), ApiKey("k2", "eve"), None),
    ],
)
def test_who_may_be_one_person_is_found_from_either_side(one, other, found):
    assert likeness(one, other) is likeness(other, one) is found

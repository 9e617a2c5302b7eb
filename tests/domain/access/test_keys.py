"""API keys as events: issued within the rights of who issues, re-scoped, revoked."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from domain.access import (
    UNBOUNDED,
    BoundKey,
    Bounds,
    IssueKey,
    KeyBounded,
    KeyIssued,
    KeyRegistered,
    KeyRescoped,
    KeyRevoked,
    KeyRotated,
    RescopeKey,
    RevokeKey,
    RotateKey,
    Scope,
    fingerprint,
    keys,
    rights,
)
from tests.given import Given

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
after = Given(keys)
ISSUE = IssueKey("k1", "bob", ("trade", "audit", "trade"), "f", AT)
ISSUED = KeyIssued("k1", "bob", ("audit", "trade"), "f", None, AT)
OLD = KeyRegistered("k1", "bot", ("report",), "f", AT, None, AT)


def test_a_key_is_issued_once_with_its_scopes_in_sequence():
    after().when(ISSUE).then(ISSUED)
    after(ISSUED).when(ISSUE).refused("one key_id names one key")


def test_a_key_is_given_other_scopes_and_the_same_ones_change_nothing():
    rescope = RescopeKey("k1", ("read",), AT)
    after(ISSUED).when(rescope).then(KeyRescoped("k1", "bob", ("read",), ("audit", "trade"), AT)).repeated().then()
    after().when(rescope).refused("the key is on record; list keys to see which are")


def test_a_revoked_key_stays_revoked():
    revoked = KeyRevoked("k1", "bob", "left", AT)
    after(ISSUED).when(RevokeKey("k1", "left", AT)).then(revoked).repeated().then()
    after(ISSUED, revoked).when(RescopeKey("k1", ("read",), AT)).refused(
        "a revoked key stays revoked; issue another one"
    )


def test_the_deprecated_scope_is_recorded_by_its_present_name_and_keys_that_have_it_keep_what_it_allowed():
    after().when(IssueKey("k1", "bob", ("report",), "f", AT)).then(KeyIssued("k1", "bob", ("record",), "f", None, AT))
    assert rights(after(OLD).state.scopes) == {"read", "record", "report"}
    after(OLD).when(RescopeKey("k1", ("report",), AT)).then(KeyRescoped("k1", "bot", ("record",), ("report",), AT))


@pytest.mark.parametrize("scopes", [(), ("root",), ("trade", "everything")])
def test_a_key_has_scopes_that_there_are(scopes):
    after().when(IssueKey("k1", "bob", scopes, "f", AT)).refused(
        "a key has scopes out of read, trade, record, audit, admin, personal"
    )


RULES = (
    "the name of a key is an id of 1 to 64 letters, digits, '.', '_' or '-'",
    "the name of a key does not begin with cli.",
)


@pytest.mark.parametrize("name", ["cli.root", "os:0/root@h", "policy:LOSS", "a b", "", "b\u043eb"])
def test_no_key_has_a_name_that_reads_as_another_kind_of_actor(name):
    after().when(IssueKey("k1", name, ("read",), "f", AT)).refused(RULES[name.startswith("cli.")])


@pytest.mark.parametrize("own", [frozenset(), rights(["admin"]), rights(["admin", "trade"])])
@pytest.mark.parametrize("wanted", Scope)
def test_a_key_gives_no_scope_that_it_has_not_itself(own, wanted):
    outcome = after().when(IssueKey("k1", "bob", (wanted,), "f", AT), own)
    given = {"report": "record"}.get(wanted, wanted)
    assert (outcome.refusal is None) is (given in own)
    had = KeyIssued("k1", "bob", (given,), "f", None, AT)
    lowered = after(had).when(RescopeKey("k1", ("read",), AT), own)
    assert (lowered.refusal is None) is ("admin" in own), "an admin may take any scope away"
    assert (after(had).when(RevokeKey("k1", "", AT), own).refusal is None) is ("admin" in own)


def test_a_fingerprint_depends_on_id_and_secret_and_shows_neither():
    prints = {fingerprint(key_id, secret) for key_id in ("k1", "k2") for secret in (b"a" * 32, b"b" * 32)}
    assert len(prints) == 4
    assert all((b"a" * 32).hex() not in one for one in prints)


LATER = AT + timedelta(hours=1)
BOUNDS = Bounds(("main",), ("trend",), LATER)


def test_a_key_is_bounded_and_the_same_bounds_change_nothing():
    bound = BoundKey("k1", Bounds(("main", "main"), ("trend",), LATER), AT)
    after(ISSUED).when(bound).then(KeyBounded("k1", "bob", BOUNDS, UNBOUNDED, AT)).repeated().then()
    after(replace(ISSUED, bounds=BOUNDS)).when(BoundKey("k1", UNBOUNDED, AT)).then(
        KeyBounded("k1", "bob", UNBOUNDED, BOUNDS, AT)
    )
    after().when(replace(ISSUE, bounds=BOUNDS)).then(replace(ISSUED, bounds=BOUNDS))


@pytest.mark.parametrize(
    ("bounds", "rule"),
    [
        (Bounds(expires_at=AT), "expires_at is a time to come; revoke the key to end it now"),
        (Bounds((" main",)), "each of accounts is an id without blanks at its beginning or end"),
        (Bounds(strategies=("e\u0301",)), "each of strategies is an id in the normal form NFC of Unicode"),
        (Bounds(tuple(f"a{n}" for n in range(101))), "a key is bounded to at most 100 accounts"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(bounds, rule):
    after(ISSUED).when(BoundKey("k1", bounds, AT)).refused(rule)


@pytest.mark.parametrize(
    ("bounds", "is_looser"),
    [
        (BOUNDS, False), (replace(BOUNDS, accounts=()), True), (replace(BOUNDS, accounts=("main", "other")), True),
        (replace(BOUNDS, strategies=("other",)), True), (replace(BOUNDS, expires_at=AT), False),
        (replace(BOUNDS, expires_at=None), True), (UNBOUNDED, True),
    ],
)  # fmt: skip
def test_bounds_are_looser_where_they_allow_anything_more(bounds, is_looser):
    assert bounds.is_looser_than(BOUNDS) is is_looser
    assert not bounds.is_looser_than(UNBOUNDED)


def test_a_rotated_key_has_the_secret_before_for_a_while():
    rotated = KeyRotated("k1", "bob", "g", AT + timedelta(seconds=60), None, AT)
    key = after(ISSUED).when(RotateKey("k1", "g", 60, AT)).then(rotated).state
    assert key.has_secret("g", LATER) and key.has_secret("f", AT + timedelta(seconds=59))
    assert not key.has_secret("f", AT + timedelta(seconds=60)) and not key.has_secret("h", AT)
    again = after(ISSUED, rotated, KeyRotated("k1", "bob", "h", AT, None, AT)).state
    assert not again.has_secret("f", AT), "two secrets at most"
    after(ISSUED).when(RotateKey("k1", "f", 60, AT)).refused("another secret than the key has had")
    after(ISSUED).when(RotateKey("k1", "g", -1, AT)).refused(
        "a secret is valid beside the next one for 0 to 2678400 seconds"
    )
    after(replace(ISSUED, bounds=BOUNDS)).when(RotateKey("k1", "g", 60, LATER)).refused(
        "an expired key is given another time to expire before another secret"
    )

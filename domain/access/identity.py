"""Identity: who made a request, as far as it can be known, and apart from it the names that were only claimed.

An account of an operating system is what the kernel reports; an API key is what the gate has verified. Names out of
environment variables or options are claims: they are kept as such, escaped, and prove nothing. Every name that is not
ours is percent-encoded, so that none can contain what separates the parts of a label.
"""

from enum import StrEnum
from typing import assert_never
from urllib.parse import quote

from msgspec import Struct

NAME_MAX = 64


class Claim(Struct, frozen=True):
    """A name that was claimed, percent-encoded, and where: `--actor`, `LOGNAME`, `SUDO_USER`."""

    source: str
    name: str


# Identities: the stored format. A name or a field here outlives this code; change one only with an upcast.
class OsAccount(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="os"):
    """An account of an operating system: its real user id, its name there, and the host, both percent-encoded.

    `effective_uid` is set where it differs; `login_uid` and `login_user` are the account that logged in, where the
    kernel knows another (behind `sudo` or `su`).
    """

    uid: int
    user: str
    host: str
    effective_uid: int | None = None
    login_uid: int | None = None
    login_user: str = ""
    claims: tuple[Claim, ...] = ()


class ApiKey(Struct, frozen=True, tag_field="kind", tag="key"):
    """The holder of an API key: the id of the key, and the name that it was issued for."""

    key_id: str
    name: str


class Part(Struct, frozen=True, tag_field="kind", tag="system"):
    """A part of Daybook that acts by itself: a policy, an upgrade, the demo."""

    name: str


Identity = OsAccount | ApiKey | Part
Actor = str | Identity  # a plain name is that of a caller which does not know its identity, such as a test


class Likeness(StrEnum):
    """Why two identities may be one person."""

    KEY = "the same API key"
    ACCOUNT = "the same account of the operating system"
    NAME = "the same name"


UPGRADE = Part("system:upgrade")
DEMO = Part("demo")
SEALER = Part("system:sealer")


def escaped(text: str) -> str:
    """Percent-encode all but letters, digits and `._-~` of ASCII; at most 64 characters of the text."""
    return quote(text[:NAME_MAX], safe="", errors="surrogateescape")


def claim(source: str, name: str) -> Claim:
    """Return a claimed name, escaped."""
    return Claim(source, escaped(name))


def label(actor: Actor) -> str:
    """Return the actor of an envelope: `os:1000/ada@host`, the name of a key, `policy:LOSS`.

    The name of a key has no colon, slash or at sign, so that it never reads as an account.
    """
    match actor:
        case str():
            return actor
        case OsAccount(uid=uid, user=user, host=host):
            return f"os:{uid}/{user}@{host}"
        case ApiKey(name=name) | Part(name=name):
            return name
        case _:
            assert_never(actor)


def identity(actor: Actor) -> Identity | None:
    """Return the identity of an actor; None for a plain name."""
    return None if isinstance(actor, str) else actor


def text(one: Identity) -> str:
    """Return an identity in full for people: with its kind, and its claims as claims."""
    match one:
        case OsAccount():
            more = [f"effective uid {one.effective_uid}"] if one.effective_uid is not None else []
            if one.login_uid is not None:
                more.append(f"logged in as {one.login_uid}/{one.login_user}")
            more += [f'claims {each.source} "{each.name}"' for each in one.claims]
            return label(one) + (f" ({', '.join(more)})" if more else "")
        case ApiKey(key_id=key_id, name=name):
            return f"key:{key_id}/{name}"
        case Part(name=name):
            return f"system:{name.removeprefix('system:')}"
        case _:
            assert_never(one)


def likeness(one: Identity, other: Identity) -> Likeness | None:
    """Return why two identities may be one person; None if nothing shows it.

    A claim counts against being two persons, never for it. Not known is who holds a key, who knows another's password,
    and which of several accounts one person has.
    """
    if isinstance(one, ApiKey) and isinstance(other, ApiKey) and one.key_id == other.key_id:
        return Likeness.KEY
    if isinstance(one, OsAccount) and isinstance(other, OsAccount) and _person(one) == _person(other):
        return Likeness.ACCOUNT
    return Likeness.NAME if _names(one) & _names(other) else None


def _person(account: OsAccount) -> tuple[str, int]:
    return account.host, account.uid if account.login_uid is None else account.login_uid


def _names(one: Identity) -> frozenset[str]:
    match one:
        case OsAccount():
            names = [one.user if one.login_uid is None else one.login_user, *(each.name for each in one.claims)]
        case ApiKey(name=name) | Part(name=name):
            names = [name]
        case _:
            assert_never(one)
    return frozenset(name.casefold() for name in names if name)

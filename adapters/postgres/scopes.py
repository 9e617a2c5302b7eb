"""Scopes of API keys, and the caller who has them. Every key may read the read models; the log itself needs `audit`."""

from enum import StrEnum
from typing import NamedTuple


class Scope(StrEnum):
    """What a key may do."""

    TRADE = "trade"  # submit and cancel orders
    REPORT = "report"  # report what venues did, transfers and marks
    AUDIT = "audit"  # read the log
    ADMIN = "admin"  # open accounts, list instruments, set limits
    PERSONAL = "personal"  # read what is personal: the names of owners


class Caller(NamedTuple):
    """The holder of a key: the actor named in events, the scopes of the key, and its public id."""

    actor: str
    scopes: frozenset[str]
    key_id: str = ""

"""Scopes: what an API key may do."""

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do. Every key may read: a key with `read` alone may do nothing else."""

    READ = "read"  # read the read models: positions, orders, balances, reports
    TRADE = "trade"  # submit and cancel orders
    RECORD = "record"  # record what venues did: fills and other reports, transfers, marks
    AUDIT = "audit"  # read the log and its proofs
    ADMIN = "admin"  # open accounts, list instruments, set limits, manage keys, approve
    PERSONAL = "personal"  # read what is personal: the names of owners
    REPORT = "report"  # deprecated alias of `record`: keys that have it keep it until they get other scopes


def rights(scopes: Iterable[str]) -> frozenset[str]:
    """Return all that scopes allow: their own names, and those that they include."""
    held = set(scopes) | {Scope.READ}
    if Scope.REPORT in held:
        held.add(Scope.RECORD)
    return frozenset(held)


def present(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return scopes in sequence, once each, a deprecated one by its present name."""
    return tuple(sorted({str(Scope.RECORD if scope == Scope.REPORT else scope) for scope in scopes}))

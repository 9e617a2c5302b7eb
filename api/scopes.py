"""Scopes: what an API key may do. Every key may read the read models; the log itself needs `audit`."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key may do."""

    TRADE = "trade"  # submit and cancel orders
    REPORT = "report"  # report what venues did, transfers and marks
    AUDIT = "audit"  # read the log
    ADMIN = "admin"  # open accounts, list instruments, set limits
    PERSONAL = "personal"  # read what is personal: the names of owners

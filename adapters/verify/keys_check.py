"""Check of the table of API keys against the log: a key is as its events say, or it is named.

A row that is inserted or altered by SQL opens no door (`adapters.postgres.api_keys`); here it is found.
"""

import time
from typing import NamedTuple

from adapters.postgres.api_keys import all_recorded, listed, proposed
from adapters.postgres.connections import Connection, Role, connect, reaching

CHANGING_SECONDS_MAX = 1.0  # between the event of a change and its row


class WrongKey(NamedTuple):
    """A key whose row differs from its events, and how."""

    key_id: str
    name: str
    reason: str


class KeysChecked(NamedTuple):
    """The result: keys compared, those that wait for approval, those that are wrong, and those without a row."""

    checked: int
    proposed: int
    wrong: tuple[WrongKey, ...]
    without_row: tuple[str, ...]


def check(url: str) -> KeysChecked:
    """Compare every key with the log. Read-only. Raises Unavailable, HistoryBroken."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        found = _checked(connection)
        if found.wrong:  # perhaps one is being changed right now
            time.sleep(CHANGING_SECONDS_MAX)
            found = _checked(connection)
        return found


def _checked(connection: Connection) -> KeysChecked:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows, recorded, waits = listed(connection), all_recorded(connection), proposed(connection)
    waiting = [row for row in rows if row.key_id not in recorded and row.key_id in waits]
    wrong = tuple(
        WrongKey(row.key_id, row.actor, row.difference) for row in rows if row.difference and row not in waiting
    )
    without = tuple(sorted(recorded.keys() - {row.key_id for row in rows}))
    return KeysChecked(len(rows), len(waiting), wrong, without)

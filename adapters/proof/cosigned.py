"""Cosigned checkpoints: the cosignatures of witnesses, stored beside the checkpoints, and the notes that have both."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from adapters.postgres.connections import Connection
from adapters.proof import checkpoints, tiles
from adapters.proof.cosignatures import Cosignature, WitnessKey
from adapters.proof.policies import Policy, QuorumCheck
from domain.errors import HistoryBroken

STORE = """
INSERT INTO ledger.cosignatures (size, name, key_id, signed_at, line) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
LAST_OF = "SELECT coalesce(max(size), 0) FROM ledger.cosignatures WHERE name = %s AND key_id = %s"
LINES = """
SELECT line FROM (
    SELECT DISTINCT ON (name, key_id) name, key_id, line FROM ledger.cosignatures WHERE size = %s
    ORDER BY name, key_id, signed_at DESC
) AS newest ORDER BY name, key_id LIMIT %s
"""
SIZES = """
SELECT DISTINCT c.size, c.note FROM ledger.cosignatures AS s JOIN ledger.checkpoints AS c USING (size)
WHERE c.size >= %s ORDER BY c.size DESC LIMIT %s
"""
LINES_BETWEEN = """
SELECT size, line FROM (
    SELECT DISTINCT ON (size, name, key_id) size, name, key_id, line FROM ledger.cosignatures
    WHERE size > %s AND size <= %s ORDER BY size, name, key_id, signed_at DESC
) AS newest ORDER BY size, name, key_id
"""
LOOKED_AT_MAX = 10_000  # cosigned checkpoints, from the newest back


class Cosigned(NamedTuple):
    """A checkpoint with its cosignatures, and what a policy finds of it."""

    size: int
    text: str
    check: QuorumCheck | None


def store(connection: Connection, size: int, cosignatures: Iterable[Cosignature]) -> None:
    """Store cosignatures of the checkpoint of `size` events."""
    for each in cosignatures:
        moment = datetime.fromtimestamp(each.time, UTC)
        connection.execute(STORE, [size, each.key.name, each.key.key_id, moment, each.line])


def last_of(connection: Connection, key: WitnessKey) -> int:
    """Return the size of the last checkpoint that a witness has cosigned; 0 for none."""
    row = connection.execute(LAST_OF, [key.name, key.key_id]).fetchone()
    return row[0] if row else 0


def with_cosignatures(connection: Connection, size: int, note: str) -> str:
    """Return a checkpoint's text with the cosignatures that are stored of it."""
    room = checkpoints.SIGNATURES_MAX - note.count(f"\n{checkpoints.SIGNATURE}")
    rows = connection.execute(LINES, [size, max(room, 0)]).fetchall()
    return note + "".join(row[0] for row in rows)


def lines_between(connection: Connection, after: int, upto: int) -> dict[int, list[str]]:
    """Return the lines of cosignatures of checkpoints of `after` < size <= `upto`, by size."""
    found: dict[int, list[str]] = {}
    for size, line in connection.execute(LINES_BETWEEN, [after, upto]).fetchall():
        found.setdefault(size, []).append(line)
    return found


def newest(connection: Connection, policy: Policy | None, *, at_least: int = 0) -> Cosigned | None:
    """Return the newest checkpoint, of at least so many events, that meets the policy, or has any cosignature without
    one; None if there is none.
    """
    for size, text in connection.execute(SIZES, [at_least, LOOKED_AT_MAX if policy else 1]).fetchall():
        cosigned = with_cosignatures(connection, size, text)
        if policy is None:
            return Cosigned(size, cosigned, None)
        check = policy.check(tiles.stored_note(size, cosigned))
        if check.is_met:
            return Cosigned(size, cosigned, check)
    return None


def newest_checked(connection: Connection, policy: Policy) -> Cosigned | None:
    """Return the newest checkpoint and what a policy finds of it; None before there is one. Raises HistoryBroken."""
    row = connection.execute(tiles.LATEST).fetchone()
    if row is None:
        return None
    text = with_cosignatures(connection, row[0], row[1])
    return Cosigned(row[0], text, policy.check(tiles.stored_note(row[0], text)))


def shortfall(found: QuorumCheck, size: int) -> HistoryBroken:
    """Return the error for a checkpoint that does not meet its policy."""
    have = ", ".join(found.cosigned) or "none"
    return HistoryBroken(
        f"not witnessed: the checkpoint of {size} events falls short of the quorum {found.quorum} of the policy; "
        f"cosigned by {have}; not by {', '.join(found.missing) or 'others'}"
    )

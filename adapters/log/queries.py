"""Look-ups in the log beside reading it in order: its streams and topics, a stream backwards, events by place."""

from collections.abc import Iterable

from adapters.log.postgres import COLUMNS, SEQ_MAX, PostgresLog, Stored
from adapters.postgres.connections import Role, connect, reaching

STREAMS = """
SELECT originator_id FROM ledger.events WHERE originator_version = 1 AND starts_with(originator_id, %s)
ORDER BY notification_id
"""
VERSION_AT = """
WITH RECURSIVE known (low, high) AS (
    SELECT CASE WHEN notification_id <= %(seq)s THEN originator_version ELSE 0 END, originator_version FROM (
        SELECT originator_version, notification_id FROM ledger.events WHERE originator_id = %(stream)s
        ORDER BY originator_version DESC LIMIT 1) AS last
    UNION ALL
    SELECT CASE WHEN notification_id <= %(seq)s THEN originator_version ELSE low END,
           CASE WHEN notification_id <= %(seq)s THEN high ELSE originator_version - 1 END
    FROM known JOIN ledger.events ON originator_id = %(stream)s AND originator_version = (low + high + 1) / 2
    WHERE low < high)
SELECT low FROM known WHERE low = high
"""  # the version is not below `low` and not above `high`
BACKWARDS = f"""
SELECT {COLUMNS} FROM ledger.events WHERE originator_id = %s AND originator_version <= %s
ORDER BY originator_version DESC LIMIT %s
"""  # noqa: S608 (our own column names)
TOPICS = "SELECT topic, count(*), sum(octet_length(state)) FROM ledger.events GROUP BY topic ORDER BY topic"
EXECUTIONS = f"SELECT {COLUMNS}, execution_key FROM ledger.events WHERE execution_key = ANY(%s::text[])"  # noqa: S608

AT_SEQS = f"SELECT {COLUMNS} FROM ledger.events WHERE notification_id = ANY(%s::bigint[])"  # noqa: S608


def streams(url: str, prefix: str) -> list[str]:
    """Return the streams whose id starts with `prefix`, in the sequence of their first events. Raises Unavailable."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        return [stream for (stream,) in connection.execute(STREAMS, [prefix])]


def topics(url: str) -> dict[str, tuple[int, int]]:
    """Return how many events of each topic there are, and of how many bytes. Raises Unavailable."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        return {topic: (count, int(size)) for topic, count, size in connection.execute(TOPICS)}


def version_at(log: PostgresLog, stream: str, seq: int | None) -> int:
    """Return the stream's version as of `seq`, 0 before its first event. Binary search: a few index look-ups."""
    rows = log.recorder.rows(VERSION_AT, {"stream": stream, "seq": SEQ_MAX if seq is None else seq})
    return int(rows[0][0]) if rows else 0


def backwards(log: PostgresLog, stream: str, version: int, limit: int) -> list[Stored]:
    """Return at most `limit` events of a stream from `version` downwards, newest first."""
    return [Stored(*row) for row in log.recorder.rows(BACKWARDS, [stream, version, limit])]


def fills(log: PostgresLog, execution_keys: Iterable[str]) -> dict[str, Stored]:
    """Return the recorded execution reports with these execution keys, by key."""
    rows = log.recorder.rows(EXECUTIONS, [list(execution_keys)])
    return {row[-1]: Stored(*row[:-1]) for row in rows}


def at_seqs(log: PostgresLog, seqs: Iterable[int]) -> dict[int, Stored]:
    """Return the events at these seqs, by seq."""
    return {row[4]: Stored(*row) for row in log.recorder.rows(AT_SEQS, [list(seqs)])}

"""Look-ups in the log beside reading it in order: its streams and topics, a stream backwards, events by place."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

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
STREAMS_FROM = """
SELECT originator_id FROM ledger.events WHERE originator_version = 1 AND originator_id COLLATE "C" >= %s
    AND originator_id COLLATE "C" < %s LIMIT %s
"""
STREAMS_AFTER = """
SELECT originator_id FROM ledger.events WHERE originator_version = 1 AND originator_id COLLATE "C" > %s
    AND originator_id COLLATE "C" < %s ORDER BY originator_id COLLATE "C" LIMIT %s
"""
OF_STREAMS = f"""
SELECT found.* FROM unnest(%s::text[], %s::bigint[]) AS chosen (stream, after_version) CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM ledger.events WHERE originator_id = chosen.stream AND originator_version > after_version
        AND notification_id > %s AND notification_id <= %s
    ORDER BY originator_version LIMIT %s
) AS found ORDER BY notification_id LIMIT %s
"""  # noqa: S608
OF_ACCOUNT = f"""
SELECT {COLUMNS} FROM ledger.events WHERE notification_id <= %(upto)s AND originator_id IN (
    SELECT originator_id FROM ledger.events
    JOIN unnest(%(kinds)s::text[]) AS kind ON originator_id COLLATE "C" >= kind
        AND originator_id COLLATE "C" < kind || %(last)s
    WHERE originator_version = 1)
ORDER BY notification_id
"""  # noqa: S608
STATED = """
SELECT section, max((stated ->> 'transact_time')::timestamptz) FROM (
    SELECT convert_from(state, 'UTF8')::jsonb -> 'event' AS stated FROM ledger.events
    WHERE originator_version = 1 AND originator_id COLLATE "C" >= %(prefix)s
        AND originator_id COLLATE "C" < %(prefix)s || %(last)s
) AS statements, unnest(%(sections)s::text[]) AS section
WHERE stated ->> 'venue' = %(venue)s AND coalesce(stated ->> section, '') <> ''
GROUP BY section
"""
NEWEST_STATEMENT = f"""
SELECT {COLUMNS} FROM (
    SELECT *, convert_from(state, 'UTF8')::jsonb -> 'event' AS stated FROM ledger.events
    WHERE originator_version = 1 AND originator_id COLLATE "C" >= %(prefix)s
        AND originator_id COLLATE "C" < %(prefix)s || %(last)s
) AS statements
WHERE coalesce(stated ->> %(section)s, '') <> ''
ORDER BY (stated ->> 'transact_time')::timestamptz DESC, notification_id DESC LIMIT 1
"""  # noqa: S608
LENGTH = """
SELECT sum((SELECT max(originator_version) FROM ledger.events WHERE originator_id = stream))
FROM unnest(%s::text[]) AS stream
"""
TOPICS = "SELECT topic, count(*), sum(octet_length(state)) FROM ledger.events GROUP BY topic ORDER BY topic"
EXECUTIONS = f"SELECT {COLUMNS}, execution_key FROM ledger.events WHERE execution_key = ANY(%s::text[])"  # noqa: S608

CHARACTER_LAST = chr(0x10FFFF)
SEARCHED_STREAMS_MAX = 20

AT_SEQS = f"SELECT {COLUMNS} FROM ledger.events WHERE notification_id = ANY(%s::bigint[])"  # noqa: S608


def streams(url: str, prefix: str) -> list[str]:
    """Return the streams whose id starts with `prefix`, in the sequence of their first events. Raises Unavailable."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        return [stream for (stream,) in connection.execute(STREAMS, [prefix])]


def streams_from(log: PostgresLog, prefix: str, limit: int) -> list[str]:
    """Return at most `limit` streams whose id starts with `prefix`, by the index of their names."""
    rows = log.recorder.rows(STREAMS_FROM, [prefix, prefix + CHARACTER_LAST, limit])
    return [stream for (stream,) in rows]


def streams_after(log: PostgresLog, prefix: str, after: str, limit: int) -> list[str]:
    """Return the first `limit` streams whose id starts with `prefix` and is after another, by their ids."""
    rows = log.recorder.rows(STREAMS_AFTER, [after, prefix + CHARACTER_LAST, limit])
    return [stream for (stream,) in rows]


def of_streams(log: PostgresLog, streams: Sequence[str], *, after: int, upto: int, limit: int) -> list[Stored]:
    """Return the first `limit` events of these streams after a seq, up to another, in the order of the log.

    Looked up by stream: of few streams only these events are read, of many also those before, so name short ones.
    """
    is_few = len(streams) <= SEARCHED_STREAMS_MAX
    versions = [version_at(log, stream, after) if is_few and after else 0 for stream in streams]
    rows = log.recorder.rows(OF_STREAMS, [list(streams), versions, after, upto, limit, limit])
    return [Stored(*row) for row in rows]


def of_account(log: PostgresLog, account_id: str, upto: int) -> Iterator[Stored]:
    """Yield all events of an account's orders, positions and cash, and those of instruments, in the order of the log.

    They are read as they are needed: memory is that of one page.
    """
    kinds = [f"order:{account_id}:", f"position:{account_id}:", "instrument:", f"account:{account_id}"]
    params = {"upto": upto, "kinds": kinds, "last": CHARACTER_LAST}
    with log.connection() as connection, connection.transaction(), connection.cursor("of_account") as cursor:
        for row in cursor.execute(OF_ACCOUNT, params):
            yield Stored(*row)


def stated_until(log: PostgresLog, account_id: str, venue: str, sections: Sequence[str]) -> dict[str, datetime]:
    """Return the moment of the newest venue statement on record of an account, by each section that one has."""
    params = {
        "prefix": f"statement:{account_id}:", "last": CHARACTER_LAST, "venue": venue, "sections": list(sections),
    }  # fmt: skip
    return dict(log.recorder.rows(STATED, params))


def newest_statement(log: PostgresLog, account_id: str, section: str) -> Stored | None:
    """Return the newest venue statement of an account that has a section; None if there is none."""
    params = {"prefix": f"statement:{account_id}:", "last": CHARACTER_LAST, "section": section}
    rows = log.recorder.rows(NEWEST_STATEMENT, params)
    return Stored(*rows[0]) if rows else None


def length_of(log: PostgresLog, streams: Sequence[str]) -> int:
    """Return how many events these streams have together."""
    return int(log.recorder.rows(LENGTH, [list(streams)])[0][0] or 0)


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

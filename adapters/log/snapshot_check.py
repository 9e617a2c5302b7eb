"""Check or create snapshots by folding long streams again from their first event.

A snapshot stored by a bug or by an intruder looks like any other: its digest is right, and the log has the event it is
based on. Only folding the whole stream reveals it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from adapters.log import snapshots, state_codec
from adapters.log.postgres import PostgresLog
from adapters.log.state_codec import StateUnreadable
from adapters.postgres.connections import Connection, Role, connect, reaching
from domain.ledger import AGGREGATES, Aggregates, pages

STATEMENT_SECONDS_MAX = 600

KEPT = """
SELECT originator_id, topic, array_agg(originator_version ORDER BY originator_version)
FROM ledger.snapshots GROUP BY originator_id, topic ORDER BY originator_id, topic
"""
ONE = """
SELECT s.state, e.state
FROM ledger.snapshots AS s LEFT JOIN ledger.events AS e USING (originator_id, originator_version)
WHERE originator_id = %s AND s.topic = %s AND originator_version = %s
"""
LONG = "SELECT originator_id FROM ledger.events WHERE originator_version = %s ORDER BY originator_id"
FLUSH_SECONDS_MAX = 600.0

OnProgress = Callable[[int, int], None]  # events folded, of how many


class Wrong(NamedTuple):
    """A snapshot that differs from its folded stream, and why."""

    stream: str
    version: int
    reason: str


class Refolded(NamedTuple):
    """Number of snapshots of this release checked, number of other releases' snapshots, and the wrong ones."""

    checked: int
    foreign: int
    wrong: tuple[Wrong, ...]


def check(url: str, on_progress: OnProgress = lambda *_: None) -> Refolded:
    """Fold every stream that has snapshots and compare. Read-only. Raises Unavailable, HistoryBroken."""
    with (
        reaching(url),
        connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection,
        PostgresLog(url, Role.AUDITOR) as log,
    ):
        kept = connection.execute(KEPT).fetchall()
        ours = [(stream, topic, versions) for stream, topic, versions in kept if topic == state_codec.topic_of(stream)]
        total = sum(versions[-1] for _, _, versions in ours)
        done, wrong = 0, list[Wrong]()
        for stream, topic, versions in ours:
            for at, found in _checked(connection, log, stream, topic=topic, versions=versions):
                wrong += found
                on_progress(done + at, total)
            done += versions[-1]
    count = sum(len(versions) for _, _, versions in ours)
    return Refolded(count, sum(len(versions) for _, _, versions in kept) - count, tuple(wrong))


def _checked(
    connection: Connection, log: PostgresLog, stream: str, topic: str, versions: list[int]
) -> Iterator[tuple[int, list[Wrong]]]:
    """Yield, page by page, the version reached and the snapshots of a stream that differ from its fold."""
    evolve: Any = AGGREGATES[stream.partition(":")[0]].evolve
    wanted, state = list(reversed(versions)), None
    for page in pages(log, stream):
        found: list[Wrong] = []
        for recorded in page:
            state = evolve(state, recorded.event)
            if wanted and recorded.version == wanted[-1]:
                found += _compared(connection, stream, topic, version=wanted.pop(), state=state)
        yield page[-1].version, found
        if not wanted:
            return
    yield versions[-1], [Wrong(stream, version, "it is ahead of the log") for version in reversed(wanted)]


def _compared(connection: Connection, stream: str, topic: str, version: int, state: Any) -> list[Wrong]:
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(ONE, [stream, topic, version]).fetchone()
    if row is None:
        return []  # deleted meanwhile, which is allowed at any time
    try:
        is_same = snapshots.opened(stream, version, topic, stored=row[0], event=row[1]) == state
    except StateUnreadable as error:
        return [Wrong(stream, version, str(error))]
    return [] if is_same else [Wrong(stream, version, "it is not what its events fold to")]


def remember(url: str, on_progress: OnProgress = lambda *_: None) -> int:
    """Fold every long stream by this release's code and store the snapshots. Return the number of long streams.

    Run before starting a service of this release, so that its first commands need not wait. Raises Unavailable.
    """
    with reaching(url), connect(url, Role.WRITER, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection:
        streams = [stream for (stream,) in connection.execute(LONG, [snapshots.SNAPSHOT_EVENTS])]
    with PostgresLog(url) as log:
        for number, stream in enumerate(streams, 1):
            Aggregates(log, 1).known(stream)
            log.snapshots.flush(FLUSH_SECONDS_MAX)
            on_progress(number, len(streams))
    return len(streams)

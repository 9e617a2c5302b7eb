"""Replay: `python -m benchmarks.replay [ORDERS]` (6,000 by default; thirteen events each).

A desk's log is read back and folded into its aggregates: along the log, stream by stream, and from bytes already in
memory, which shows what a core can do. Peers in the same run: the eventsourcing library's repository on the same server
with its default mapper and transcoder, and as the floor a bare SELECT of the same rows.
"""

import sys
from collections.abc import Callable
from functools import reduce
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any, NamedTuple

import structlog

from adapters.log.postgres import COLUMNS, PostgresLog
from adapters.writer.writer import Writer
from benchmarks import desk
from benchmarks.lines import line
from benchmarks.peers import library
from domain.ledger import AGGREGATES, scan, schema

ROUNDS = 5
STREAMS_A_READ = 500
BATCH_EVENTS = 5_000
LIBRARY_AGGREGATES, LIBRARY_EVENTS = 40, 500
EVERY_ROW = f"SELECT {COLUMNS} FROM ledger.events ORDER BY notification_id"


def evolve_of(stream: str) -> Callable[[Any, Any], Any]:
    """Return the fold of a stream's aggregate."""
    evolve: Callable[[Any, Any], Any] = AGGREGATES[stream.partition(":")[0]].evolve
    return evolve


def written(writer: Writer, orders: int) -> None:
    """Write a log of `orders` orders with their fills."""
    group = writer._group
    assert group is not None
    for commands in (desk.orders(0, orders), desk.fills(0, orders, desk.ORDERS_A_REPORT)):
        waiting = [group.submit(command) for command in commands]
        for one in waiting:
            one.result()


def along(log: PostgresLog) -> int:
    """Fold every aggregate along the log."""
    states: dict[str, Any] = {}
    count = 0
    for _, recorded in scan(log, batch_max=BATCH_EVENTS):
        stream = recorded.stream
        states[stream] = evolve_of(stream)(states.get(stream), recorded.event)
        count += 1
    return count


def by_streams(log: PostgresLog, streams: list[str]) -> int:
    """Fold every aggregate from its own stream."""
    count = 0
    for at in range(0, len(streams), STREAMS_A_READ):
        for stream, records in log.read_all(streams[at : at + STREAMS_A_READ]).items():
            reduce(evolve_of(stream), (recorded.event for recorded in records), None)
            count += len(records)
    return count


def in_memory(rows: list[tuple[str, bytes, str]]) -> int:
    """Decode bytes in memory, and fold along the log."""
    states: dict[str, Any] = {}
    for topic, state, stream in rows:
        states[stream] = evolve_of(stream)(states.get(stream), schema.decode(topic, state).event)
    return len(rows)


class Rate(NamedTuple):
    """Events per second of wall-clock time, and of this process's processor time: what a core alone could do."""

    clock: float
    core: float


def rates(*works: Callable[[], int]) -> list[Rate]:
    """Return the rates of each: the best of several alternating rounds."""
    best = [Rate(0, 0)] * len(works)
    for _ in range(ROUNDS):
        for number, work in enumerate(works):
            clock, core = perf_counter(), process_time()
            count = work()
            spent = Rate(count / (perf_counter() - clock), count / (process_time() - core))
            best[number] = Rate(max(best[number].clock, spent.clock), max(best[number].core, spent.core))
    return best


def main(orders: int) -> None:
    """Run all measurements."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with desk.desk() as (url, log, writer):
        written(writer, orders)
        stored = log.stored(limit=sys.maxsize)
        rows = [(row.topic, row.state, row.stream) for row in stored]
        streams = list(dict.fromkeys(row.stream for row in stored))
        application, ids = library.written(url, LIBRARY_AGGREGATES, LIBRARY_EVENTS)

        def theirs() -> int:
            for one in ids:
                application.repository.get(one)
            return LIBRARY_AGGREGATES * LIBRARY_EVENTS

        measured = rates(
            lambda: in_memory(rows),
            lambda: along(log),
            lambda: by_streams(log, streams),
            theirs,
            lambda: len(log.recorder.rows(EVERY_ROW, [])),
        )
        peer, floor = measured[3:]
        size = sum(len(state) for _, state, _ in rows) // len(rows)
        versions = f"eventsourcing {version('eventsourcing')}, Python {sys.version.split()[0]}"
        note = f"{len(rows)} events of {len(streams)} streams, {size} bytes each; {versions}"
        peer_note = f"{note}; theirs: {LIBRARY_AGGREGATES} aggregates of {LIBRARY_EVENTS} events"
        names = ("replay.memory", "replay.log", "replay.streams")
        for name, how, ours in zip(names, ("decode + fold", "along the log", "by streams"), measured, strict=False):
            full = f"{how}; by the clock {ours.clock:.0f} against {peer.clock:.0f}; {peer_note}"
            line(name, ours.core, "events/s of a core", peer="eventsourcing", peer_value=peer.core, note=full)
            full = f"{how}; by the clock {ours.clock:.0f} against {floor.clock:.0f}; {note}"
            line(name, ours.core, "events/s of a core", peer="bare SELECT", peer_value=floor.core, note=full)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6_000)

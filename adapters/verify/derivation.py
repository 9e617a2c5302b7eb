"""Derivation of a database or a bundle: every request and report decided again, and compared with what is on record.

The decisions are the domain's (`domain.ledger.derivation`); here are the logs that it reads. A database is read page
by page, each stream as it was before the append in question; a long log is cut into parts, one for each of several
processes, which read the streams of before as they need them. Memory is that of the ledger's own caches. A bundle's
events are held as their bytes.
"""

import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import groupby
from typing import IO, Any, NamedTuple

from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.verify.bundles import Bundle, Manifest
from adapters.verify.check_workers import receive, send, started
from adapters.verify.record_check import stored_record_of
from domain import names
from domain.account import TransferPending, TransferReturned, TransferSettled
from domain.errors import HistoryBroken, Unavailable
from domain.ledger import (
    NO_SNAPSHOTS,
    PAGE_EVENTS,
    Derivation,
    DerivationFault,
    Derived,
    Item,
    Recorded,
    envelope,
    merged,
    schema,
)
from domain.position import PositionTransferred
from domain.risk import FirmWatchStarted

STATEMENT_SECONDS_MAX = 3600
PAGE = 4_000  # events read at a time
PART_EVENTS_MIN = 20_000  # of a part: a process takes a second to start, and reads what it needs of before
WORKERS_MAX = 4
BUNDLE_STREAMS_MAX = 2_000  # cached
SECONDS_MIN = 1.5  # of processor time for a bundle of any size
SECONDS_A_MEGABYTE = 4.0

HEAD = "SELECT coalesce(max(notification_id), 0) FROM ledger.events"
EVENTS = """
SELECT notification_id, topic, state FROM ledger.events WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
STREAM = """
SELECT topic, state FROM ledger.events
WHERE originator_id = %s AND originator_version > %s AND notification_id <= %s ORDER BY originator_version
LIMIT %s::bigint
"""
STREAMS = """
SELECT originator_id, topic, state FROM ledger.events
WHERE originator_id = ANY(%s::text[]) AND originator_version <= %s AND notification_id <= %s
ORDER BY originator_id, originator_version
"""
EXECUTED = """
SELECT execution_key, originator_id FROM ledger.events WHERE execution_key = ANY(%s::text[]) AND notification_id <= %s
"""
REPEATED = """
SELECT execution_key, min(notification_id) FROM ledger.events WHERE execution_key = ANY(%s::text[])
GROUP BY execution_key HAVING count(*) > 1
"""

OnProgress = Callable[[int, int], None]  # events decided again, of how many


class StoredStreams:
    """Implements domain.ledger.PastLog over a database."""

    snapshots = NO_SNAPSHOTS  # a cache that any person with the database may have changed

    def __init__(self, connection: Connection, upto: int) -> None:
        self._connection = connection
        self._upto = upto
        self._repeated: deque[DerivationFault] = deque()

    def go_on(self, items: Sequence[Item]) -> None:
        self._upto = items[-1].seq

    def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        rows = self._connection.execute(STREAM, [stream, after, self._upto, limit], prepare=True).fetchall()
        return [schema.decode(topic, state) for topic, state in rows]

    def read_all(self, streams: Sequence[str], *, limit: int | None = None) -> dict[str, list[Recorded]]:
        found: dict[str, list[Recorded]] = {stream: [] for stream in streams}
        rows = self._connection.execute(STREAMS, [list(streams), limit or PAGE_EVENTS, self._upto], prepare=True)
        for stream, topic, state in rows.fetchall():
            found[stream].append(schema.decode(topic, state))
        return found

    def executed(self, keys: Sequence[str]) -> dict[str, str]:
        return dict(self._connection.execute(EXECUTED, [list(keys), self._upto]).fetchall())

    def look_for_repeated(self, items: Iterable[Item]) -> None:
        """Look up the fills among these whose execution is on record before, for `repeated`."""
        fills = {key: item for item in items if (key := schema.execution_key(item.recorded.event)) is not None}
        rows = self._connection.execute(REPEATED, [list(fills)], prepare=True).fetchall()
        found = [_repeated(fills[key]) for key, seq in rows if fills[key].seq > seq]
        self._repeated.extend(sorted(found, key=lambda fault: fault.seq))

    def repeated(self, items: Sequence[Item]) -> Iterator[DerivationFault]:
        """Yield the fills among these whose execution is on record before."""
        while self._repeated and self._repeated[0].seq <= items[-1].seq:
            yield self._repeated.popleft()


class HeldStreams:
    """Implements domain.ledger.PastLog over the bytes of all events so far."""

    snapshots = NO_SNAPSHOTS

    def __init__(self) -> None:
        self._streams: dict[str, list[tuple[str, bytes]]] = {}
        self._executed: dict[str, str] = {}

    def go_on(self, items: Sequence[Item]) -> None:
        for item in items:
            self._streams.setdefault(item.recorded.stream, []).append((item.topic, item.state))
            key = schema.execution_key(item.recorded.event)
            if key is not None:
                self._executed[key] = item.recorded.stream

    def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        held = self._streams.get(stream, [])
        return [schema.decode(*each) for each in held[after : None if limit is None else after + limit]]

    def read_all(self, streams: Sequence[str], *, limit: int | None = None) -> dict[str, list[Recorded]]:
        return {stream: self.read(stream, limit=limit) for stream in streams}

    def executed(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: self._executed[key] for key in keys if key in self._executed}

    def repeated(self, items: Iterable[Item]) -> Iterator[DerivationFault]:
        """Yield the fills among these, which come next, whose execution is on record before."""
        known = set[str]()
        for item in items:
            key = schema.execution_key(item.recorded.event)
            if key is not None and (key in self._executed or key in known):
                yield _repeated(item)
            known |= {key} if key is not None else set()


def _repeated(item: Item) -> DerivationFault:
    reason = "its execution is on record before, and one execution is booked once"
    return DerivationFault(item.seq, item.topic, item.recorded.stream, reason, expected=None, found=item.recorded)


def appends(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield the events that share an envelope together, as those of one append do."""
    for _, members in groupby(items, _envelope):
        yield list(members)


def _envelope(item: Item) -> tuple[Any, ...]:
    return envelope(item.recorded)


# Databases


def derive(
    url: str,
    *,
    on_progress: OnProgress = lambda *_: None,
    workers: int | None = None,
    part_events: int = PART_EVENTS_MIN,
) -> Derived:
    """Decide everything in a database again, in several processes if the log is long. Read-only.

    Raises Unavailable, HistoryBroken for bytes that are no record: `verify` names what was done to them.
    """
    with reaching(url), connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection:
        (head,) = connection.execute(HEAD).fetchone() or (0,)
        count = min(workers or os.cpu_count() or 1, WORKERS_MAX, max(head // part_events, 1))
        if count == 1:
            return merged([derive_part(connection, 0, head, lambda done: on_progress(done, head))])
    return merged(_in_processes(url, head, count, on_progress))


def derive_part(connection: Connection, after: int, upto: int, on_progress: Callable[[int], None]) -> Derived:
    """Decide the appends again whose first event has `after` < seq <= `upto`; the last one is read to its end."""
    begins = _next_append(connection, after) if after else 1
    log = StoredStreams(connection, begins - 1)
    derivation = Derivation(log)
    for append in appends(_stored(connection, derivation, log, begins - 1)):
        if append[0].seq > upto:
            break
        for fault in log.repeated(append):
            derivation.add_fault(fault)
        derivation.add(append)
        if append[-1].seq % PAGE < len(append):
            on_progress(append[-1].seq - after)
    return derivation.result


def _next_append(connection: Connection, after: int) -> int:
    """Return the seq of the first event whose envelope is another than that of the one before it."""
    before: Item | None = None
    last = after - 1
    while items := _page(connection, last):
        for item in items:
            if before is not None and _envelope(item) != _envelope(before):
                return item.seq
            before = item
        last = items[-1].seq
    return last + 1


def _page(connection: Connection, after: int) -> list[Item]:
    rows = connection.execute(EVENTS, [after, PAGE], prepare=True).fetchall()
    return [Item(seq, schema.decode(topic, state), topic, state) for seq, topic, state in rows]


def _stored(connection: Connection, derivation: Derivation, log: StoredStreams, after: int) -> Iterator[Item]:
    """Yield the events from `after` on; the streams of each page are read together, before its first event."""
    while items := _page(connection, after):
        _prepare(derivation, items)
        log.look_for_repeated(items)
        yield from items
        after = items[-1].seq


def _prepare(derivation: Derivation, items: Sequence[Item]) -> None:
    """Cache the states of the streams of some events: those that begin here are empty, the others are read at once."""
    began: dict[str, int] = {}
    for item in items:
        began.setdefault(item.recorded.stream, item.recorded.version)
    missing = [stream for stream in began if not derivation.known.is_cached(stream)]
    derivation.known.keep({stream: (0, None) for stream in missing if began[stream] == 1})
    derivation.known.fetch(stream for stream in missing if began[stream] > 1)


class _Part(NamedTuple):
    """A part of the log for a process."""

    after: int
    upto: int


def _in_processes(url: str, head: int, count: int, on_progress: OnProgress) -> list[Derived]:
    ends = [head * number // count for number in range(count + 1)]
    done = dict.fromkeys(range(count), 0)

    def run(number: int) -> Derived:
        send(processes[number].stdin, _Part(ends[number], ends[number + 1]))
        while not isinstance(answer := receive(processes[number]), Derived):
            done[number] = answer
            on_progress(sum(done.values()), head)
        return answer

    with started(url, count, __name__) as processes, ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def _work(parts: IO[bytes], answers: IO[bytes]) -> None:
    """Run the process: read a URL and a part, write how far it is, then the result."""
    url, part = pickle.load(parts), pickle.load(parts)  # noqa: S301 (our own parent)

    def answer(message: Any) -> None:
        pickle.dump(message, answers)
        answers.flush()

    try:
        with connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection:
            answer(derive_part(connection, part.after, part.upto, answer))
    except (BrokenPipeError, KeyboardInterrupt):
        return
    except HistoryBroken as error:
        answer(error)
    except Exception as error:  # noqa: BLE001 (the process's edge: the parent raises it)
        answer(Unavailable(f"the derivation was cut off: {' '.join(str(error).split())}"))


# Bundles


class OfBundle(NamedTuple):
    """The result of a bundle: up to `upto`, and why not further, if it ended before the bundle does."""

    derived: Derived
    upto: int
    ended: str = ""


class _TimeUp(BaseException):
    """The time is used up; no decision may catch it."""


def derive_bundle(bundle: Bundle, *, size: int, on_progress: OnProgress = lambda *_: None) -> OfBundle:
    """Decide everything in a bundle again, that was proved before, within a time that follows from its size in bytes.

    A part can be derived as far as it has what its decisions depend on. Raises HistoryBroken for bytes that no Daybook
    wrote.
    """
    manifest = bundle.manifest
    log = HeldStreams()
    is_in = _is_in_part(manifest.account) if not manifest.is_whole else None
    derivation = Derivation(log, cached_streams_max=BUNDLE_STREAMS_MAX, is_in=is_in)
    last, ended = 0, ""
    begun = set[str]()
    with closing(bundle.lines()) as lines:
        items = (_item(seq, state) for seq, state in lines)
        try:
            with _processor_seconds(SECONDS_MIN + SECONDS_A_MEGABYTE * size / 1e6):
                for append in appends(items):
                    if not manifest.is_whole and (ended := _depends_on_more(append, manifest, begun)):
                        break
                    for fault in log.repeated(append):
                        derivation.add_fault(fault)
                    derivation.add(append)
                    last = append[-1].seq
                    on_progress(last, manifest.upto)
        except _TimeUp:
            ended = "a bundle of its size should take less time; derive the ledger itself, or have it exported again"
    return OfBundle(merged([derivation.result]), last, ended)


def _item(seq: int, state: bytes) -> Item:
    topic, record = stored_record_of(seq, state)
    return Item(seq, record, topic, state)


def _is_in_part(account_id: str | None) -> Callable[[str], bool]:
    """Return whether a stream belongs to a part: of one account, or of all."""

    def is_in(stream: str) -> bool:
        kind, *rest = names.parts_of(stream)
        whose = rest[1] if kind == "venueorder" else rest[0]
        return account_id in (None, whose) or kind == "instrument"

    return is_in


def _depends_on_more(append: Sequence[Item], part: Manifest, begun: set[str]) -> str:
    """Return what an append depends on that is not in its part; "" if nothing. Adds the streams that begin in it."""
    if part.first > 1:
        return f"the part begins at seq {part.first}, and its events depend on those before"
    if append[-1].seq == part.upto < part.tree_size:
        return "the part ends there, in what may be the middle of an append"
    for item in append:
        stream, event = item.recorded.stream, item.recorded.event
        if item.recorded.version > 1 and stream not in begun:
            return f"{stream} begins before this part"
        begun.add(stream)
        if isinstance(event, FirmWatchStarted):
            return "from there on the firm's limits are checked too, which are not in this part"
        if isinstance(event, TransferPending | TransferSettled | TransferReturned) and event.leg.counter_account_id:
            return "then comes a transfer with another account, which is not in this part"
        other = event.counterparty if isinstance(event, PositionTransferred) else None
        if other is not None and other.account_id != event.key.account_id:
            return "then comes a move from or to another account, which is not in this part"
    return ""


@contextmanager
def _processor_seconds(most: float) -> Iterator[None]:
    """Raise _TimeUp in the main thread once that much processor time is used up; elsewhere there is no bound."""

    def end(*_: Any) -> None:
        raise _TimeUp

    try:
        before = signal.signal(signal.SIGPROF, end)
    except ValueError:  # not the main thread
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


if __name__ == "__main__":
    _work(sys.stdin.buffer, sys.stdout.buffer)

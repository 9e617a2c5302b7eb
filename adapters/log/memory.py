"""The log in memory: the same contract, nothing persisted. For tests, and for what-if replays."""

import threading
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from adapters.log.continuity import check_continues
from domain.errors import ExecutionKnown
from domain.ledger import NO_SNAPSHOTS, ClockConfirmed, Head, Logged, Recorded, Snapshots, confirmation, part_at, schema


class MemoryLog:
    """Implements domain.ledger.log.EventLog. Safe between threads."""

    def __init__(self, records: Sequence[Recorded] = (), snapshots: Snapshots = NO_SNAPSHOTS) -> None:
        self.snapshots = snapshots
        self._records: list[Recorded] = []
        self._streams: dict[str, list[Recorded]] = {}
        self._executed: dict[str, str] = {}
        self._appended = threading.Condition()
        self.append(records)

    def head(self) -> Head:
        with self._appended:
            return Head(len(self._records), self._records[-1].recorded_at if self._records else None)

    def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        with self._appended:
            first = max(after, 0)
            return self._streams.get(stream, [])[first : None if limit is None else first + limit]

    def read_all(self, streams: Sequence[str], *, limit: int | None = None) -> dict[str, list[Recorded]]:
        return {stream: self.read(stream, limit=limit) for stream in streams}

    def append(self, records: Sequence[Recorded]) -> int:
        with self._appended:
            versions = {record.stream: len(self._streams.get(record.stream, ())) for record in records}
            check_continues(records, self.head(), versions)
            self._executed |= self._executions(records)
            self._records.extend(records)
            for record in records:
                self._streams.setdefault(record.stream, []).append(record)
            self._appended.notify_all()
            return len(self._records)

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._appended:
            yield

    def _executions(self, records: Sequence[Recorded]) -> dict[str, str]:
        added: dict[str, str] = {}
        for record in records:
            key = schema.execution_key(record.event)
            if key in self._executed or key in added:
                raise ExecutionKnown(record.stream)
            if key is not None:
                added[key] = record.stream
        return added

    def executed(self, keys: Sequence[str]) -> dict[str, str]:
        with self._appended:
            return {key: self._executed[key] for key in keys if key in self._executed}

    def select(
        self, *, after: int = 0, upto: int | None = None, limit: int = 1000, topics: Collection[str] | None = None
    ) -> list[Logged]:
        with self._appended:
            first = max(after, 0)
            last = first + limit if upto is None else min(upto, first + limit)
            found = [Logged(seq, record) for seq, record in enumerate(self._records[first : max(last, 0)], first + 1)]
        return found if topics is None else [each for each in found if schema.topic_of(each.recorded.event) in topics]

    def seq_at(self, moment: datetime) -> int:
        with self._appended:
            confirmations = [
                confirmation(Logged(seq, record))
                for seq, record in enumerate(self._records, 1)
                if isinstance(record.event, ClockConfirmed)
            ]
            first, end = part_at(confirmations, moment)
            stop = len(self._records) if end is None else end - 1
            return bisect_right(self._records, moment, first - 1, stop, key=lambda record: record.recorded_at)

    def wait(self, after: int, timeout_s: float) -> int:
        """Return the head's seq as soon as it is beyond `after`, or when the time is up."""
        with self._appended:
            self._appended.wait_for(lambda: len(self._records) > after, timeout_s)
            return len(self._records)

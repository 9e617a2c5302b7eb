"""A mark store that records for tests, with a writer of its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from adapters.log.postgres import PostgresLog
from adapters.market.mark_store import FundingRate, KnownBy, MarkStore
from adapters.market.recording import MarkRecorder
from adapters.writer.writer import Writer
from domain.values import Mark

ACTOR = "tests"


class RecordingStore(MarkStore):
    """A mark store with `record`, and what was known at its log's end."""

    def __init__(self, url: str, log: PostgresLog, now: Callable[[], datetime], **options: Any) -> None:
        super().__init__(url, **options)
        self.log = log
        self.writer = Writer(log, now)
        self.recorder = MarkRecorder(self, self.writer.carry_out)

    def record(self, marks: Sequence[Mark], *, is_new_only: bool = False) -> int:
        return self.recorder.record(marks, actor=ACTOR, request_id="r1", is_new_only=is_new_only)

    def record_rates(self, rates: Sequence[FundingRate]) -> int:
        return self.recorder.record_rates(rates, actor=ACTOR)

    def known(self) -> KnownBy:
        """What is known now."""
        return KnownBy(self.log.head().seq, datetime.now(UTC))


@contextmanager
def recording(
    url: str, now: Callable[[], datetime] = lambda: datetime.now(UTC), **options: Any
) -> Iterator[RecordingStore]:
    """A store to record with; `now` is the writer's clock."""
    with PostgresLog(url) as log:
        store = RecordingStore(url, log, now, **options)
        try:
            yield store
        finally:
            store.close()

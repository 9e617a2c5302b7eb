"""The writer: one ledger for many threads, a command at a time.

Another process may write as well: the log's unique (stream, version) keeps both honest, and whoever was second reads
and decides again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock
from typing import Any

from domain.ledger import Answer, Ledger, Report, Request, no_marks
from domain.log import EventLog
from domain.values import Mark


class Writer:
    """A `Ledger` behind a lock."""

    def __init__(
        self, log: EventLog, now: Callable[[], datetime], marks: Callable[[str], Mark | None] = no_marks
    ) -> None:
        self._ledger = Ledger(log, now, marks)
        self._lock = Lock()

    def request(self, request: Request, *, actor: str, request_id: str = "") -> Answer:
        """Carry out a client's request; see `Ledger.request`."""
        with self._lock:
            return self._ledger.request(request, actor=actor, request_id=request_id)

    def report(self, reports: Sequence[Report], *, actor: str, request_id: str = "") -> list[Answer]:
        """Take down what a venue says has happened; see `Ledger.report`."""
        with self._lock:
            return self._ledger.report(reports, actor=actor, request_id=request_id)

    def state(self, stream: str) -> Any:
        """The aggregate of a stream as the log has it now; None if the stream is empty."""
        with self._lock:
            return self._ledger.state(stream)

"""The tail: the newest records of the log, as the writer of this process has committed them.

What follows the log in the same process reads them here, without the database and without decoding. The log in the
database remains the authority: nothing is verified, proved or rebuilt from the tail.
"""

import threading
from collections.abc import Sequence

from domain.ledger import Logged, Recorded

RECORDS_MAX = 8192


class Tail:
    """At most `records_max` records without a gap. Safe between threads."""

    def __init__(self, records_max: int = RECORDS_MAX) -> None:
        self._records_max = records_max
        self._lock = threading.Lock()
        self._records: list[Recorded] = []
        self._end = 0  # the seq of the last one

    def extend(self, after: int, records: Sequence[Recorded]) -> None:
        """Add committed records that continue the log after a seq. Those before are dropped unless they end there."""
        with self._lock:
            if after != self._end:
                self._records.clear()
            self._records += records
            self._end = after + len(records)
            if len(self._records) > 2 * self._records_max:
                del self._records[: -self._records_max]

    def clear(self) -> None:
        """Drop all: other processes may have recorded more."""
        with self._lock:
            self._records.clear()
            self._end = 0

    def between(self, after: int, upto: int) -> list[Logged] | None:
        """Return the records with `after` < seq <= `upto`; None unless all of them are here."""
        with self._lock:
            first = self._end - len(self._records) + 1
            if after + 1 < first or upto > self._end:
                return None
            found = self._records[after + 1 - first : upto + 1 - first]
        return [Logged(seq, record) for seq, record in enumerate(found, after + 1)]

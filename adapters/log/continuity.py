"""Check that records continue the log: stream versions without gaps, and a `recorded_at` that decreases only where
the clock is confirmed.
"""

from collections.abc import Mapping, Sequence

from domain.errors import StreamConflict
from domain.ledger import ClockConfirmed, Head, Recorded


def check_continues(records: Sequence[Recorded], head: Head, versions: Mapping[str, int]) -> None:
    """Raise StreamConflict unless `records` continue a log that ends at `head`.

    `versions` maps each stream of the batch to its last version; a missing stream is at 0.
    """
    last_at = head.recorded_at
    last_version = dict(versions)
    for record in records:
        expected = last_version.get(record.stream, 0) + 1
        if record.version < expected:
            raise StreamConflict(record.stream, f"version {record.version} exists: another writer appended first")
        if record.version > expected:
            raise StreamConflict(record.stream, f"version {record.version} would leave a gap after {expected - 1}")
        if last_at is not None and record.recorded_at < last_at and not isinstance(record.event, ClockConfirmed):
            detail = (
                f"recorded at {record.recorded_at.isoformat()}, before the log's last record at {last_at.isoformat()}"
            )
            raise StreamConflict(record.stream, detail)
        last_version[record.stream] = record.version
        last_at = record.recorded_at

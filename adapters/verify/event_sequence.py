"""The sequence of events: their seqs, times and stream versions, from one event to the next."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from adapters.verify.completeness import Gap
from adapters.verify.range_check import CLOCK_TOPIC, UNDECODABLE, Envelope, topic_of
from domain.errors import HistoryBroken


class SequenceCheck:
    """Checks seqs, times and stream versions from event to event, which proofs alone do not show."""

    def __init__(self, on_gap: Callable[[Gap], None] | None = None, *, is_from_start: bool = True) -> None:
        self._on_gap = on_gap  # None for a whole bundle, which has none
        self._is_from_start = is_from_start
        self._last_seq = 0
        self._last_at: datetime | None = None
        self._versions: dict[str, int] = {}
        self._decoder = msgspec.json.Decoder(Envelope)

    def check(self, seq: int, state: bytes) -> Envelope:
        """Return the record's envelope. Raises HistoryBroken if this event cannot follow the ones before."""
        try:
            envelope = self._decoder.decode(state)
        except UNDECODABLE as error:
            raise HistoryBroken(f"altered at seq {seq}: its bytes are no record") from error
        if seq <= self._last_seq:
            raise HistoryBroken(f"reordered at seq {seq}: it comes after seq {self._last_seq}")
        is_before = self._on_gap is None and self._last_at is not None and envelope.recorded_at < self._last_at
        if is_before and topic_of(state).encode() != CLOCK_TOPIC:
            raise HistoryBroken(f"altered at seq {seq}: it was recorded before its predecessor")
        before = self._versions.get(envelope.stream, 0 if self._is_from_start else envelope.version - 1)
        if envelope.version != before + 1:
            if self._on_gap is None or envelope.version <= before:
                raise HistoryBroken(
                    f"missing before seq {seq}: {envelope.stream} goes from version {before} to {envelope.version}"
                )
            self._on_gap(Gap(envelope.stream, before, envelope.version, seq))
        self._last_seq, self._last_at, self._versions[envelope.stream] = seq, envelope.recorded_at, envelope.version
        return envelope

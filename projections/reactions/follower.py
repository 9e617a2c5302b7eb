"""A follower: one process manager at its place in the log, with its state there, and what it sends.

The state goes on only when the requests of an event have been answered, and is stored after that. After a crash at any
point the events since the stored place are read again, and cause the same requests under the same ids: what was
carried out or refused under an id is not decided again, what was not is sent now. So nothing is repeated, and nothing
forgotten.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from domain.errors import Busy, ClockInDoubt, StreamConflict, Unavailable
from domain.ledger import Logged, schema
from domain.reactions.process import Process, Reaction, Reactions, Send
from projections.reactions import places
from projections.reactions.places import REASON_CHARS_MAX, Counts, Place

SENT_MAX = 200  # requests that are sent at a time
TRANSIENT = (Unavailable, Busy, ClockInDoubt, StreamConflict)  # no fault of the request: it is sent again


class Follower:
    """Follows the log for one process manager.

    `since_at` is when the last event that it does not react to was recorded, where that is still ahead.
    """

    def __init__(self, process: Process, place: Place, send: Send) -> None:
        self.process = process
        self._send = send
        self.since_at: datetime | None = None
        self.place = place
        self.is_moved = False
        self.error = place.error
        if place.version > process.version:
            self.error = f"its state is of version {place.version}, this Daybook's of {process.version}"
        elif place.version < process.version:
            self._again()
        try:
            self._state = process.state() if self.place.state is None else places.unpacked(process, self.place.state)
        except (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError):
            self._again()
            self._state = process.state()

    def _again(self) -> None:
        """Fold the log again from its start; what was before the place has been reacted to."""
        since = max(self.place.since, self.place.seq)
        self.place = self.place._replace(version=self.process.version, since=since, seq=0, state=None)
        self.is_moved = True

    @property
    def seq(self) -> int:
        """The seq up to which events were read."""
        return self.place.seq

    @property
    def state(self) -> Any:
        """The state after the events read so far."""
        return self._state

    @property
    def is_running(self) -> bool:
        """Whether no error has stopped it."""
        return self.error is None

    def read(self, batch: Sequence[Logged], upto: int) -> None:
        """Read the events of a batch after its place, which is complete up to a seq, and send what they cause.

        An event that it cannot read, or whose request is no valid one, stops it right before that event. Raises what is
        no fault of the event: then it is to be read again.
        """
        for logged in batch:
            if logged.seq <= self.seq or type(logged.recorded.event) not in self.process.reads:
                continue
            self._settle(logged.seq)
            try:
                state, reactions = self.process.react(self._state, logged)
                if logged.seq > self.place.since:
                    self._carry_out(reactions, logged.recorded.recorded_at)
            except TRANSIENT:
                raise
            except Exception as error:  # noqa: BLE001 (the edge of a process manager: the others go on)
                self._go_on(self._state, logged.seq - 1)
                topic = schema.topic_of(logged.recorded.event)
                self._stop(f"seq {logged.seq}: {topic} of {logged.recorded.stream}", error)
                return
            self._go_on(state, logged.seq)
        if upto > self.seq:
            self._settle(upto + 1)
            self._go_on(self._state, upto)

    def _settle(self, next_seq: int) -> None:
        """Drop what was due before the place that it reacts from, once it is reached."""
        if self.seq <= self.place.since < next_seq and self.since_at is not None:
            self._state, _ = self.process.due(self._state, self.since_at)
            self.since_at = None

    def fire(self, now: datetime) -> None:
        """Send what the passing of time causes. Raises like `read`."""
        next_due = self.process.next_due(self._state)
        if next_due is None or next_due > now or self.seq < self.place.since:
            return
        try:
            state, reactions = self.process.due(self._state, now)
            self._carry_out(reactions, now)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001
            self._stop(f"seq {self.seq}: what is due at {now.isoformat()}", error)
            return
        self._go_on(state, self.seq)

    def _go_on(self, state: Any, seq: int) -> None:
        self._state = state
        self.place = self.place._replace(seq=seq)
        self.is_moved = True

    def _carry_out(self, reactions: Reactions, at: datetime) -> None:
        for first in range(0, len(reactions), SENT_MAX):
            part = reactions[first : first + SENT_MAX]
            for reaction, refusal in zip(part, self._send(part), strict=True):
                self.place = self.place._replace(counts=_counted(self.place.counts, reaction, refusal, at))

    def _stop(self, where: str, error: Exception) -> None:
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        self.error = f"{self.process.name} stopped at {where}: {why[:REASON_CHARS_MAX]}"
        self.is_moved = True

    def to_save(self) -> Place:
        """Return the place as it is to be stored."""
        return self.place._replace(state=places.packed(self._state), error=self.error)

    def saved(self, place: Place) -> None:
        """Note that the place was stored."""
        self.place = place
        self.is_moved = False


def _counted(counts: Counts, reaction: Reaction, refusal: str | None, at: datetime) -> Counts:
    if not reaction.is_once and refusal is None:  # monitoring: what it found is in the log
        return counts
    return Counts(
        counts.carried_out + (refusal is None), counts.refused + (refusal is not None), reaction.request_id,
        last_cause=reaction.cause, last_refusal=refusal, last_at=at,
    )  # fmt: skip

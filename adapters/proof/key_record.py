"""The signing keys on record in the log: recorded with each key that is published, and compared with `ledger.keys`.

The table is what seals; the log is what proves. A key is published and recorded in one transaction, so that they can
differ only where somebody has changed one of them, or in a ledger whose keys were made by an earlier Daybook.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from adapters.log.postgres import APPEND_LOCK, HEAD, PostgresLog
from adapters.postgres.connections import Connection
from adapters.proof import checkpoints
from adapters.proof.checkpoints import Tenure
from domain.access import Actor, identity, label
from domain.errors import ClockInDoubt, HistoryBroken
from domain.ledger import (
    SIGNING_STREAM,
    Recorded,
    SigningEvent,
    SigningKeyHandedOver,
    SigningKeyLost,
    SigningKeyStarted,
    schema,
)

BEHIND_MAX = timedelta(seconds=5)  # how far our clock may be behind the log's end
RECORDED = """
SELECT notification_id, topic, state FROM ledger.events WHERE originator_id = %s ORDER BY originator_version
"""
COUNTS = """
SELECT (SELECT count(*) FROM ledger.keys), (SELECT count(*) FROM ledger.events WHERE originator_id = %s),
    (SELECT coalesce(max(notification_id), 0) FROM ledger.events)
"""


class KeyOnRecord(NamedTuple):
    """The event of a signing key, and its seq."""

    seq: int
    event: SigningEvent


class KeyRecorder:
    """Records signing keys in the log, by `actor`, within the transaction that publishes them."""

    def __init__(self, log: PostgresLog, now: Callable[[], datetime], actor: Actor) -> None:
        self._log = log
        self._now = now
        self._actor = actor

    def record(self, connection: Connection, events: Sequence[SigningEvent]) -> None:
        """Append events on a connection in the writer's role. Raises ClockInDoubt if ours is behind the log."""
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [APPEND_LOCK])
        row = connection.execute(HEAD).fetchone()
        moment, last_at = self._now(), row[1] if row else None
        if last_at is not None and last_at > moment + BEHIND_MAX:
            raise ClockInDoubt(f"the log ends at {last_at.isoformat()}, and our clock is at {moment.isoformat()}")
        at = moment if last_at is None else max(moment, last_at)
        version = len(on_record(connection))
        self._log.append_on(
            connection,
            [
                Recorded(
                    SIGNING_STREAM, number, recorded_at=at, actor=label(self._actor), request_id="", event=event,
                    by=identity(self._actor),
                )
                for number, event in enumerate(events, version + 1)
            ],
        )  # fmt: skip


def on_record(connection: Connection) -> list[KeyOnRecord]:
    """Return the keys on record in the log, in their order. Raises HistoryBroken for an event that is none."""
    rows = connection.execute(RECORDED, [SIGNING_STREAM]).fetchall()
    return [KeyOnRecord(seq, event_of(schema.decode(topic, bytes(state)), seq)) for seq, topic, state in rows]


def event_of(record: Recorded, seq: int) -> SigningEvent:
    """Return the event of a record of the stream of keys. Raises HistoryBroken if it is another one's."""
    event = record.event
    if not isinstance(event, SigningEvent):
        raise HistoryBroken(f"keys disagree at seq {seq}: {SIGNING_STREAM} has an event of another kind")
    return event


def event_for(chain: Sequence[Tenure], place: int, origin: str) -> SigningEvent:
    """Return the event that records the key at a place (from 0) of the chain."""
    tenure, vkey, since = chain[place], chain[place].key.vkey, chain[place].since
    if place == 0:
        return SigningKeyStarted(vkey, since)
    before = chain[place - 1]
    if tenure.handover is not None and checkpoints.is_vouched(before, tenure, origin):
        return SigningKeyHandedOver(vkey, since, before.key.vkey, tenure.handover)
    return SigningKeyLost(vkey, since, before.key.vkey)


def disagreement(
    chain: Sequence[Tenure], records: Mapping[int, KeyOnRecord], origin: str, *, is_complete: bool
) -> tuple[int, str] | None:
    """Return the seq and the description of the first key whose table and log differ; None if they agree.

    `records` has the events by version. Unless it `is_complete`, those of other versions may exist as well. A ledger
    with none at all is one of an earlier Daybook, whose keys are not on record yet.
    """
    for version, (seq, event) in sorted(records.items()):
        if version > len(chain):
            return seq, f"the log has the key {event.vkey} on record, and the published keys end before it"
        expected = event_for(chain, version - 1, origin)
        if event.vkey != expected.vkey:
            return seq, f"the log has {event.vkey} on record as key number {version}, and {expected.vkey} is published"
        if event != expected:
            return seq, f"the log and the published keys differ in how {event.vkey} began"
    if is_complete and records and len(records) < len(chain):
        return max(seq for seq, _ in records.values()), (
            f"the key {chain[len(records)].key.vkey} is published, and is not on record in the log: it was not begun "
            "by Daybook. Do not trust it; `daybook keys seal show` lists what is published"
        )
    return None

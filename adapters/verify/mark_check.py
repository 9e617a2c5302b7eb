"""Marks against the log: that every price is as its batch stated it, none is gone, and none was added.

The log is verified first (`adapters.verify.verification`); here the mark store is compared with its MarksRecorded
events. The hash of each leaf is stored beside the prices: while these hashes lead to the root in the event, they name
the very price that was altered. Prices that were recorded before batches were, and are not committed yet, are counted
as not covered; so are, apart, those of batches that were never completed, which no query shows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from adapters.postgres import price_rows
from adapters.postgres.connections import Connection, Role, connect, reaching
from domain.errors import HistoryBroken
from domain.ledger import Recorded, schema
from domain.marks import Leaf, MarksRecorded, PriceKind, hashes_of, leaf_bytes, root_of, stream
from domain.sealed.merkle import HASH_BYTES, inclusion_proof, leaf_hash, levels

FETCH_ROWS = 5000
FINDINGS_MAX = 100
STATEMENT_SECONDS_MAX = 6 * 3600

TOPIC = schema.topic_of_class(MarksRecorded)
BATCHES = f"""
SELECT batch.first_id, batch.last_id, batch.seq, event.topic, event.state, leaves.hashes,
    batch.recorded_at = event.recorded_at, batch.is_earlier, batch.known_to
FROM market.batches AS batch LEFT JOIN ledger.events AS event
    ON event.notification_id = batch.seq AND event.topic = '{TOPIC}'
LEFT JOIN market.leaves AS leaves USING (kind, first_id)
WHERE batch.kind = %s ORDER BY batch.first_id
"""  # noqa: S608 (our own words)
BATCH_OF = """
SELECT first_id, last_id, seq FROM market.batches WHERE kind = %s AND first_id <= %s ORDER BY first_id DESC LIMIT 1
"""
EVENT = "SELECT topic, state FROM ledger.events WHERE notification_id = %s"
HASHES = "SELECT hashes FROM market.leaves WHERE kind = %s AND first_id = %s"
# Events whose batch the store does not have, or has otherwise.
UNSTORED = f"""
SELECT notification_id, topic, state FROM ledger.events AS event WHERE topic = '{TOPIC}' AND NOT EXISTS (
    SELECT FROM market.batches AS batch WHERE batch.seq = event.notification_id
) ORDER BY notification_id LIMIT {FINDINGS_MAX}
"""  # noqa: S608
BEGUN = "SELECT min(seq) FROM market.batches WHERE NOT is_earlier"
COUNT = "SELECT (SELECT count(*) FROM market.marks) + (SELECT count(*) FROM market.funding_rates)"
KNOWN_TO = """
SELECT kind, seq FROM (
    SELECT kind, seq, known_to, max(last_id) OVER (PARTITION BY kind ORDER BY seq) AS rightly FROM market.batches
) AS batches WHERE known_to <> rightly ORDER BY seq LIMIT 1
"""

OnProgress = Callable[[int, int], None]


class MarkFault(StrEnum):
    """What is wrong with a price or a batch."""

    ALTERED = "altered"
    REMOVED = "removed"
    INSERTED = "inserted"
    RETIMED = "re-timed"


class MarkFinding(NamedTuple):
    """A price, or a whole batch if `mark_id` is None, that is not as the log states. `seq` is that of the batch."""

    fault: MarkFault
    kind: PriceKind
    seq: int | None
    detail: str
    mark_id: int | None = None
    instrument_id: str | None = None

    def __str__(self) -> str:
        what = "funding rate" if self.kind is PriceKind.FUNDING_RATE else "mark"
        where = "in no batch" if self.seq is None else f"of the batch recorded as seq {self.seq}"
        named = f"the {what} {self.mark_id}" if self.mark_id is not None else f"{what}s"
        return f"{self.fault}: {named} {where}: {self.detail}"


class CheckedMarks(NamedTuple):
    """The result: prices as committed by `batches`, prices that no batch covers, prices never shown, and what is wrong.

    At most 100 faults are listed.
    """

    batches: int
    covered: int
    not_covered: int
    unfinished: int
    findings: list[MarkFinding]


class StoredBatch(NamedTuple):
    """A batch as the store has it beside the log."""

    first_id: int
    last_id: int
    seq: int
    topic: str | None
    state: bytes | None
    hashes: bytes | None
    is_time_right: bool | None
    is_earlier: bool
    known_to: int


def check_marks(url: str, *, on_progress: OnProgress = lambda *_: None) -> CheckedMarks:
    """Compare all prices of a database with its log. Read-only. Raises Unavailable, HistoryBroken."""
    with (
        reaching(url),
        connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection,
        connection.transaction(),
    ):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return _Check(connection, on_progress).run()


class _Check:
    def __init__(self, connection: Connection, on_progress: OnProgress) -> None:
        self._connection = connection
        self._on_progress = on_progress
        self._findings: list[MarkFinding] = []
        self._batches = self._covered = self._not_covered = self._unfinished = self._done = 0
        self._total = _one(connection, COUNT)
        self._begun: int | None = _one(connection, BEGUN)

    def run(self) -> CheckedMarks:
        for kind in PriceKind:
            self._prices(kind)
        for seq, topic, state in self._connection.execute(UNSTORED).fetchall():
            event = event_of(seq, topic, state)
            detail = f"{_described(event)} {_are(event)} hidden: the batch is gone from market.batches"
            self._add(MarkFinding(MarkFault.REMOVED, event.kind, seq, detail))
        if (row := self._connection.execute(KNOWN_TO).fetchone()) is not None:
            detail = "known_to in market.batches is not the greatest id on record by then"
            self._add(MarkFinding(MarkFault.RETIMED, PriceKind(row[0]), row[1], detail))
        return CheckedMarks(
            self._batches, self._covered, self._not_covered, unfinished=self._unfinished, findings=self._findings
        )

    def _prices(self, kind: PriceKind) -> None:
        """Walk through the batches and prices of a kind by id, both at once."""
        rows = self._rows(kind)
        row = next(rows, None)
        for batch in self._stored_batches(kind):
            while row is not None and row.mark_id < batch.first_id:
                self._outside(kind, row)
                row = next(rows, None)
            found = []
            while row is not None and row.mark_id <= batch.last_id:
                found.append(row)
                row = next(rows, None)
            self._batch(kind, batch, found)
        while row is not None:
            self._outside(kind, row)
            row = next(rows, None)

    def _batch(self, kind: PriceKind, batch: StoredBatch, rows: list[Leaf]) -> None:
        if batch.topic is None or batch.state is None:
            detail = f"market.batches has a batch of seq {batch.seq}, and the log has none there"
            self._add(MarkFinding(MarkFault.RETIMED, kind, batch.seq, detail))
            return
        event = event_of(batch.seq, batch.topic, batch.state)
        stated = (event.kind, event.first_id, event.last_id, event.is_earlier)
        if stated != (kind, batch.first_id, batch.last_id, batch.is_earlier) or not batch.is_time_right:
            detail = "market.batches has it with other ids or another time than the log"
            self._add(MarkFinding(MarkFault.RETIMED, kind, batch.seq, detail))
            return
        if event.is_earlier and self._begun is not None and batch.seq > self._begun:
            detail = "it claims to be of prices recorded before batches were, and batches had begun"
            self._add(MarkFinding(MarkFault.INSERTED, kind, batch.seq, detail))
        hashes = hashes_of(rows)
        if root_of(hashes) == event.root and len(rows) == event.count:
            self._batches += 1
            self._covered += len(rows)
            if batch.hashes != hashes:
                detail = "market.leaves has other hashes than its prices, which are as recorded"
                self._add(MarkFinding(MarkFault.ALTERED, kind, batch.seq, detail))
            return
        for finding in compared(event, batch.seq, rows, batch.hashes):
            self._add(finding)

    def _outside(self, kind: PriceKind, row: Leaf) -> None:
        if row.recorded_at is None:
            self._unfinished += 1
        elif self._begun is None:
            self._not_covered += 1
        else:
            detail = f"{_named(row)} is in no batch of the log"
            self._add(
                MarkFinding(
                    MarkFault.INSERTED, kind, None, detail, mark_id=row.mark_id, instrument_id=row.instrument_id
                )
            )

    def _add(self, finding: MarkFinding) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(finding)

    def _stored_batches(self, kind: PriceKind) -> Iterator[StoredBatch]:
        with self._connection.cursor(f"batches_{kind.value.lower()}", binary=True) as cursor:
            cursor.itersize = 64
            for row in cursor.execute(BATCHES, [kind.value]):
                yield StoredBatch(*row)

    def _rows(self, kind: PriceKind) -> Iterator[Leaf]:
        query = price_rows.leaves_of(kind, f"ORDER BY {price_rows.IDS[kind]}")
        with self._connection.cursor(f"prices_{kind.value.lower()}", binary=True) as cursor:
            cursor.itersize = FETCH_ROWS
            for row in cursor.execute(query):
                self._done += 1
                if self._done % FETCH_ROWS == 0:
                    self._on_progress(self._done, self._total)
                yield Leaf(*row)


def compared(event: MarksRecorded, seq: int, rows: Sequence[Leaf], hashes: bytes | None) -> Iterator[MarkFinding]:
    """Name the prices of a batch that are not as recorded, by the hashes stored beside them if those are right."""
    if hashes is None or root_of(hashes) != event.root:
        what = "one or more of them differ, and market.leaves was altered too, so which is not known"
        detail = f"{_described(event)}: {what}"
        yield MarkFinding(MarkFault.ALTERED, event.kind, seq, detail)
        return
    stated = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    if event.is_earlier:
        yield from _compared_by_hash(event, seq, rows, stated)
        return
    by_id = {row.mark_id: row for row in rows}
    for mark_id, leaf in enumerate(stated, event.first_id):
        row = by_id.get(mark_id)
        if row is None:
            detail = f"it is one of {_described(event)}, and is gone"
            yield MarkFinding(MarkFault.REMOVED, event.kind, seq, detail, mark_id=mark_id)
        elif hashes_of([row]) != leaf:
            yield _altered(event, seq, row)


def _compared_by_hash(
    event: MarksRecorded, seq: int, rows: Sequence[Leaf], stated: Sequence[bytes]
) -> Iterator[MarkFinding]:
    """Compare prices whose ids may have gaps, so that no id is known of one that is gone."""
    found = {hashes_of([row]): row for row in rows}
    wrong = [row for leaf, row in found.items() if leaf not in set(stated)]
    missing = sum(1 for leaf in stated if leaf not in found)
    for place, row in enumerate(wrong):
        if place < missing:
            yield _altered(event, seq, row)
        else:
            detail = f"{_named(row)} was not among {_described(event)}"
            yield MarkFinding(
                MarkFault.INSERTED, event.kind, seq, detail, mark_id=row.mark_id, instrument_id=row.instrument_id
            )
    if missing > len(wrong):
        detail = f"{missing - len(wrong)} of {_described(event)} are gone"
        yield MarkFinding(MarkFault.REMOVED, event.kind, seq, detail)


def _altered(event: MarksRecorded, seq: int, row: Leaf) -> MarkFinding:
    detail = f"{_named(row)} is not what was recorded: its price, time, source, quality or instrument was changed"
    return MarkFinding(MarkFault.ALTERED, event.kind, seq, detail, mark_id=row.mark_id, instrument_id=row.instrument_id)


class UsedMark(NamedTuple):
    """A mark that a figure depends on: its id, and its batch's event with its bytes. None if no batch covers it."""

    mark_id: int
    seq: int | None
    state: bytes | None


def check_used(connection: Connection, mark_ids: Iterable[int]) -> Iterator[UsedMark | MarkFinding]:
    """Check single marks against the events of their batches: what each is covered by, or what is wrong with it.

    Whether the events are those of the signed log is for the caller to check, by their bytes.
    """
    has_begun = _one(connection, BEGUN) is not None
    known: dict[int, _Known] = {}
    for mark_id in mark_ids:
        yield _used(connection, mark_id, known, has_begun=has_begun)


class ProvedMark(NamedTuple):
    """A mark and the proof that it is in its batch: leaf `place` of the tree of `size` with the root in event `seq`."""

    leaf: bytes
    place: int
    size: int
    proof: list[bytes]
    root: str
    seq: int


def prove_mark(connection: Connection, mark_id: int) -> ProvedMark | MarkFinding | None:
    """Prove that a mark is in its batch; or return what is wrong with it, or None if no batch covers it."""
    known: dict[int, _Known] = {}
    used = _used(connection, mark_id, known, has_begun=_one(connection, BEGUN) is not None)
    if isinstance(used, MarkFinding):
        return used
    if not known:
        return None
    (of,) = known.values()
    assert of.event is not None, "what is covered has an event"
    row = connection.execute(price_rows.leaves_of(of.event.kind, "WHERE mark_id = %s"), [mark_id]).fetchone()
    assert row is not None, "marks stay"
    leaf = leaf_bytes(Leaf(*row))
    hashes, size = of.hashes, len(of.hashes) // HASH_BYTES
    index = next(at for at in range(size) if hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] == leaf_hash(leaf))

    def node_at(level: int, place: int) -> bytes:
        width = HASH_BYTES << level
        return levels(hashes[place * width : (place + 1) * width])[-1]

    return ProvedMark(leaf, index, size, proof=inclusion_proof(index, size, node_at), root=of.event.root, seq=of.seq)


class _Known(NamedTuple):
    """A batch that was looked up: its event and bytes, and the hashes that lead to its root; or what is wrong."""

    seq: int
    event: MarksRecorded | None
    state: bytes
    hashes: bytes
    wrong: str = ""


def _used(connection: Connection, mark_id: int, known: dict[int, _Known], *, has_begun: bool) -> UsedMark | MarkFinding:
    kind = PriceKind.MARK
    found = connection.execute(price_rows.leaves_of(kind, "WHERE mark_id = %s"), [mark_id]).fetchone()
    if found is None:
        return MarkFinding(MarkFault.REMOVED, kind, None, "it is gone", mark_id=mark_id)
    row = Leaf(*found)
    batch = connection.execute(BATCH_OF, [kind.value, mark_id]).fetchone()
    if batch is None or batch[1] < mark_id:
        if not has_begun:
            return UsedMark(mark_id, None, None)
        detail = f"{_named(row)} is in no batch of the log"
        return MarkFinding(MarkFault.INSERTED, kind, None, detail, mark_id=mark_id, instrument_id=row.instrument_id)
    first_id, last_id, seq = batch
    if first_id not in known:
        known[first_id] = _looked_up(connection, first_id, last_id, seq)
    of = known[first_id]
    if of.event is None:
        name = row.instrument_id
        return MarkFinding(MarkFault.RETIMED, kind, seq, of.wrong, mark_id=mark_id, instrument_id=name)
    return UsedMark(mark_id, seq, of.state) if _is_in(of.event, row, of.hashes) else _altered(of.event, seq, row)


def _looked_up(connection: Connection, first_id: int, last_id: int, seq: int) -> _Known:
    """Look up a batch of marks. Its hashes are computed from the prices where the stored ones are wrong."""
    kind = PriceKind.MARK
    stored = connection.execute(EVENT, [seq]).fetchone()
    if stored is None or stored[0] != TOPIC:
        wrong = f"market.batches has it in a batch of seq {seq}, and the log has none there"
        return _Known(seq, None, b"", b"", wrong=wrong)
    event = event_of(seq, *stored)
    if (event.kind, event.first_id, event.last_id) != (kind, first_id, last_id):
        return _Known(seq, None, b"", b"", wrong="market.batches has its batch with other ids than the log")
    row = connection.execute(HASHES, [kind.value, first_id]).fetchone()
    hashes = bytes(row[0]) if row else b""
    if root_of(hashes) != event.root:
        rest = "WHERE mark_id BETWEEN %s AND %s ORDER BY mark_id"
        rows = connection.execute(price_rows.leaves_of(kind, rest), [first_id, last_id]).fetchall()
        hashes = hashes_of(Leaf(*each) for each in rows)
    return _Known(seq, event, bytes(stored[1]), hashes if root_of(hashes) == event.root else b"")


def _is_in(event: MarksRecorded, row: Leaf, hashes: bytes) -> bool:
    """Whether a price is in its batch, whose hashes are given."""
    leaf = hashes_of([row])
    if event.is_earlier:
        return any(hashes[at : at + HASH_BYTES] == leaf for at in range(0, len(hashes), HASH_BYTES))
    at = (row.mark_id - event.first_id) * HASH_BYTES
    return hashes[at : at + HASH_BYTES] == leaf


def event_of(seq: int, topic: str, state: bytes) -> MarksRecorded:
    """Return the batch of an event. Raises HistoryBroken if it is none."""
    record: Recorded = schema.decode(topic, bytes(state))
    if not isinstance(record.event, MarksRecorded):
        raise HistoryBroken(f"altered at seq {seq}: it is no batch of marks; run daybook verify")
    return record.event


def _described(event: MarksRecorded) -> str:
    what = "funding rates" if event.kind is PriceKind.FUNDING_RATE else "marks"
    of = stream(event).partition(":")[2]
    named = event.instruments[0] if event.instrument_count == 1 else f"{event.instrument_count} instruments"
    first, last = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (event.first_at, event.last_at))
    return f"{event.count} {what} of {named} by {of}, {first} to {last}"


def _are(event: MarksRecorded) -> str:
    return "is" if event.count == 1 else "are"


def _named(row: Leaf) -> str:
    return f"{row.value} of {row.instrument_id} at {row.at} by {row.source}"


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None

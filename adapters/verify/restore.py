"""Restore a ledger from a whole bundle: the same events under the same seqs, the same tree, the same root."""

from collections.abc import Iterator, Sequence

import psycopg
from psycopg.rows import TupleRow

from adapters.log.postgres import APPEND_LOCK, COPY, COPY_TYPES
from adapters.postgres.connections import Connection, connect, reaching
from adapters.proof.checkpoints import Pin, PublicKey
from adapters.proof.sealer import KEYS_LOCK, SEAL_LOCK, STORE_CHECKPOINT, STORE_TILES
from adapters.proof.tiles import Growth
from adapters.verify import bundle_marks
from adapters.verify.bundles import Bundle, Line, OnProgress, Proved
from adapters.verify.range_check import topic_of
from adapters.verify.record_check import record_of
from domain.errors import HistoryBroken, RequestRefused
from domain.ledger import schema
from domain.sealed.merkle import TILE_WIDTH, leaf_hash

BATCH_EVENTS = 5000
STATEMENT_SECONDS_MAX = 6 * 3600
NAME = "INSERT INTO ledger.identity (ledger_id, restored_size) VALUES (%s, %s)"
PUBLISH = "INSERT INTO ledger.keys (place, vkey, since_size, handover) VALUES (%s, %s, %s, %s)"


def restore(
    url: str,
    bundle: Bundle,
    trusted: PublicKey | None = None,
    *,
    pins: Sequence[Pin] = (),
    on_progress: OnProgress = lambda *_: None,
) -> Proved:
    """Fill an empty, migrated database with a whole ledger, in one transaction. The account of `url` must own it.

    `pins` are keys trusted besides the `trusted` one.

    Raises RequestRefused if the database is not empty or the bundle is only a part, HistoryBroken if it is not proved.
    """
    if not bundle.manifest.is_whole:
        raise RequestRefused(
            "only a bundle of a whole ledger restores one: this is a part", events=bundle.manifest.events
        )
    proved = bundle.prove(trusted, pins=pins)
    with (
        reaching(url),
        connect(url, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection,
        connection.transaction(),
    ):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [APPEND_LOCK])
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [KEYS_LOCK])
        if not _one(connection, "SELECT pg_try_advisory_xact_lock(%s)", SEAL_LOCK):
            raise RequestRefused("no sealer works on the database; stop `daybook serve` first")
        if _one(connection, "SELECT EXISTS (TABLE ledger.identity) OR EXISTS (TABLE ledger.events)"):
            raise RequestRefused("a ledger is restored into an empty database; name a new one")
        connection.execute(NAME, [proved.manifest.ledger_id, proved.note.checkpoint.size])
        for place, tenure in enumerate(proved.keys, 1):
            connection.execute(PUBLISH, [place, tenure.key.vkey, tenure.since, tenure.handover])
        growth = _filled(connection, bundle, proved.manifest.events, on_progress)
        if growth.root() != proved.note.checkpoint.root:
            raise HistoryBroken("the bundle changed while it was read")
        leaves = growth.leaves(growth.size % TILE_WIDTH)
        connection.execute(STORE_CHECKPOINT, [growth.size, bundle.note_text, leaves])
    return proved


def _filled(connection: Connection, bundle: Bundle, events: int, on_progress: OnProgress) -> Growth:
    try:
        return _fill(connection, bundle, events, on_progress)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.InternalError) as error:
        reason = " ".join(str(error).split())
        raise HistoryBroken(
            f"no Daybook wrote these events: the database does not accept them ({reason}); nothing was restored"
        ) from error


def _fill(connection: Connection, bundle: Bundle, events: int, on_progress: OnProgress) -> Growth:
    growth = Growth()
    for batch in _batches(bundle.lines()):
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.set_types(COPY_TYPES)
            for seq, state in batch:
                copy.write_row(_row(seq, state))
                growth.extend(leaf_hash(state))
        if full := growth.pop_full():
            with connection.cursor() as cursor, cursor.copy(STORE_TILES) as copy:
                copy.set_types(("int2", "int8", "bytea", "bytea"))
                for tile in full:
                    copy.write_row(tile)
        on_progress(growth.size, events)
    if bundle.manifest.marks is not None:
        bundle_marks.restore(connection, bundle.marks())
    return growth


def _row(seq: int, state: bytes) -> TupleRow:
    record = record_of(seq, state)
    topic = topic_of(state)
    return record.stream, record.version, topic, state, seq, record.recorded_at, schema.execution_key(record.event)


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH_EVENTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _one(connection: Connection, query: str, *params: object) -> object:
    row = connection.execute(query, params).fetchone()
    return row[0] if row else None

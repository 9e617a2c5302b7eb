"""Attestation: verifies a projection's rows against the log, and traces since when they differ.

Every transaction that writes rows updates a digest of them (`projections.storage.copy_lines`). To verify, the log is
folded again into other schemas; the rows in use are compared with the result, and the digests kept along the way with
those of the fold at the same places. A row that was altered is named, with the event that had written it. The first
digest that differs shows between which two places that happened: rows were wrong when they were next folded, and may
be right again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from domain.ledger import EventLog
from projections.runner.build import READ_EVENTS, Build, Goal
from projections.runner.diff import TableDifference
from projections.runner.rebuild import Compared, OnProgress, compared, rebuild_lock
from projections.runner.workers import Opener, open_builders
from projections.storage import progress
from projections.storage.progress import Attested
from projections.storage.rows import Key, SqlRows, key_of
from projections.storage.tables import Projection, Row


class Verified(NamedTuple):
    """The findings on a projection at `seq`.

    `parted` are two places in the log, of the last kept digest that agrees and the first that does not, if one does
    not. `first_seq` is the first event whose rows are not as it left them: of rows altered at rest the event that had
    written them; after the last digest that agrees, the first event to change a row that differs.
    """

    name: str
    seq: int
    rows: int
    digest: str
    digest_kept: str
    attestations: int
    differences: tuple[TableDifference, ...]
    parted: tuple[int, int] | None
    first_seq: int | None

    @property
    def is_right(self) -> bool:
        """Whether rows and digests agree with the log."""
        return not self.differences and self.parted is None


def verify(
    log: EventLog,
    engine: sa.Engine,
    projections: Sequence[Projection],
    on_progress: OnProgress | None = None,
    *,
    opener: Opener | None = None,
) -> list[Verified]:
    """Fold the log again and compare. The rows it builds are dropped at the end; nothing else is written.

    Raises ProjectionStopped, RequestRefused while a rebuild is under way or where rows are of another version.
    """
    with engine.connect() as connection, rebuild_lock(connection, projections):
        with connection.begin():
            places = progress.places_of_version(connection, projections)
            kept = {one.name: progress.attested(connection, one) for one in projections}
        stops = {name: tuple(one.seq for one in attested) for name, attested in kept.items()}
        last = max((place.seq for place in places.values()), default=0)
        with open_builders(log, engine, projections, opener) as builders:
            goals = {name: Goal(place.seq, stops[name]) for name, place in places.items()}
            builders.build(goals, None if on_progress is None else lambda seq: on_progress(seq, last))
            builders.finish()
            found = compared(engine, connection, projections, builders)
        verified = [_verified(one, found[one.name], kept[one.name]) for one in projections]
        return [_traced(log, connection, one, each) for one, each in zip(projections, verified, strict=True)]


def _verified(projection: Projection, found: Compared, kept: Sequence[Attested]) -> Verified:
    place, built, differences = found
    attested = [*kept, Attested(place.seq, place.sum)]
    folded = {one.seq: one.sum for one in built.attested} | {built.seq: built.sum}
    agreed, parted = 0, None
    for one in attested:
        if folded.get(one.seq) != one.sum:
            parted = (agreed, one.seq)
            break
        agreed = one.seq
    seqs = [one.first_seq for one in differences if one.first_seq is not None]
    return Verified(
        name=projection.name,
        seq=place.seq,
        rows=built.sum.rows,
        digest=built.sum.digest.hex(),
        digest_kept=place.sum.digest.hex(),
        attestations=len(attested),
        differences=differences,
        parted=parted,
        first_seq=min(seqs, default=None),
    )


def _traced(log: EventLog, connection: sa.Connection, projection: Projection, found: Verified) -> Verified:
    """Add the first event after the last digest that agrees that changed one of the rows that differ."""
    if found.parted is None or not found.differences:
        return found
    suspects = {(row.table, tuple(row.key.values())) for table in found.differences for row in table.sample}
    agreed, parted = found.parted
    with connection.begin() as transaction:
        build = Build(connection, projection, kind=_WatchedRows)
        rows = build.rows
        assert isinstance(rows, _WatchedRows)
        seq = 0
        while seq < parted and rows.changed_at is None:
            upto = min(seq + READ_EVENTS, agreed if seq < agreed else parted)
            rows.suspects = suspects if seq >= agreed else set()
            for logged in log.select(after=seq, upto=upto, limit=READ_EVENTS):
                build.fold([logged])
            build.flush(upto)
            seq = upto
        transaction.rollback()
    return found._replace(first_seq=rows.changed_at)


class _WatchedRows(SqlRows):
    """Rows that record the first event to change a suspect."""

    suspects: set[tuple[str, Key]]
    changed_at: int | None = None

    def put(self, table: sa.Table, row: Row) -> None:
        self._watch(table, key_of(table)(row))
        super().put(table, row)

    def delete(self, table: sa.Table, *key: Any) -> None:
        self._watch(table, key)
        super().delete(table, *key)

    def _watch(self, table: sa.Table, key: Key) -> None:
        if self.changed_at is None and (table.name, key) in self.suspects:
            self.changed_at = self.seq

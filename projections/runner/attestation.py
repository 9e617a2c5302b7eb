"""Attestation: are a projection's rows what the log says, and if not, since when.

Every transaction that writes rows moves a digest of them along (`projections.storage.copy_lines`). To verify, the log
is folded once more, beside; then the rows in use are compared with those, and the digests that were kept along the way
with what the fold had there. A row that somebody changed is named, with the event that had made it. A digest that
parted from the log's tells between which two places that happened: rows were wrong when they were next folded, and may
be right again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from domain.ledger import EventLog
from projections.runner.build import READ_EVENTS, Build, Goal
from projections.runner.diff import TableDifference
from projections.runner.rebuild import Compared, OnProgress, alone, compared
from projections.runner.workers import Opener, crew
from projections.storage import progress
from projections.storage.progress import Attested
from projections.storage.rows import Key, SqlRows, key_of
from projections.storage.tables import Projection, Row


class Verified(NamedTuple):
    """What was found of a projection that stands at `seq`.

    `parted` are two places in the log, the last digest kept that agrees and the first that does not, if there is one.
    `first_seq` is the first event whose rows are not there as it left them: of rows that were altered at rest the event
    that had made them; behind the last digest that agrees, the first event to touch a row that differs.
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
        """Whether rows and digests are what the log says."""
        return not self.differences and self.parted is None


def verify(
    log: EventLog,
    engine: sa.Engine,
    projections: Sequence[Projection],
    on_progress: OnProgress | None = None,
    *,
    opener: Opener | None = None,
) -> list[Verified]:
    """Fold the log again and compare. What it builds beside is removed at the end; nothing else is written.

    Raises ProjectionStopped, RequestRefused while a rebuild is under way or where rows are of another version.
    """
    with engine.connect() as connection, alone(connection, projections):
        with connection.begin():
            places = progress.places_of_version(connection, projections)
            kept = {one.name: progress.attested(connection, one) for one in projections}
        stops = {name: tuple(one.seq for one in attested) for name, attested in kept.items()}
        last = max((place.seq for place in places.values()), default=0)
        with crew(log, engine, projections, opener) as builders:
            goals = {name: Goal(place.seq, stops[name]) for name, place in places.items()}
            builders.build(goals, None if on_progress is None else lambda seq: on_progress(seq, last))
            builders.finish()
            found = compared(engine, connection, projections, builders)
        told = [_verified(one, found[one.name], kept[one.name]) for one in projections]
        return [_traced(log, connection, one, each) for one, each in zip(projections, told, strict=True)]


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
        projection.name, place.seq, built.sum.rows, built.sum.digest.hex(), place.sum.digest.hex(), len(attested),
        differences, parted, min(seqs, default=None),
    )  # fmt: skip


def _traced(log: EventLog, connection: sa.Connection, projection: Projection, found: Verified) -> Verified:
    """The same, with the first event behind the last digest that agrees to touch one of the rows that differ."""
    if found.parted is None or not found.differences:
        return found
    suspects = {(row.table, tuple(row.key.values())) for table in found.differences for row in table.sample}
    agreed, parted = found.parted
    with connection.begin() as transaction:
        build = Build(connection, projection, kind=_Watched)
        rows = build.rows
        assert isinstance(rows, _Watched)
        seq = 0
        while seq < parted and rows.touched_at is None:
            upto = min(seq + READ_EVENTS, agreed if seq < agreed else parted)
            rows.suspects = suspects if seq >= agreed else set()
            for logged in log.select(after=seq, upto=upto, limit=READ_EVENTS):
                build.fold([logged])
            build.flush(upto)
            seq = upto
        transaction.rollback()
    return found._replace(first_seq=rows.touched_at)


class _Watched(SqlRows):
    """Rows that tell which event was the first to touch a suspect."""

    suspects: set[tuple[str, Key]]
    touched_at: int | None = None

    def put(self, table: sa.Table, row: Row) -> None:
        self._touch(table, key_of(table)(row))
        super().put(table, row)

    def delete(self, table: sa.Table, *key: Any) -> None:
        self._touch(table, key)
        super().delete(table, *key)

    def _touch(self, table: sa.Table, key: Key) -> None:
        if self.touched_at is None and (table.name, key) in self.suspects:
            self.touched_at = self.seq

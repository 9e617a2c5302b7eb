"""The marks and funding rates of a whole bundle: `marks.jsonl` and `rates.jsonl`, one leaf per line, by id.

Only prices of batches are in it. They are proved by the roots in the bundle's MarksRecorded events, which are proved
with all others by its checkpoint. A line is a leaf's bytes as they are hashed (`domain.marks`).
"""

import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from adapters.postgres import price_rows
from adapters.postgres.connections import Connection
from adapters.verify.archive import Archive
from adapters.verify.mark_check import TOPIC, event_of
from adapters.verify.range_check import topic_of
from domain.errors import HistoryBroken, InvalidInput
from domain.marks import BATCH_MARKS_MAX, Leaf, PriceKind, leaf_bytes, leaf_of, root_of
from domain.sealed.merkle import leaf_hash

FETCH_ROWS = 5000
FILES = {PriceKind.MARK: "marks.jsonl", PriceKind.FUNDING_RATE: "rates.jsonl"}
STORE_HASHES = "COPY market.leaves (kind, first_id, hashes) FROM STDIN (FORMAT BINARY)"
COPIES = {
    PriceKind.MARK: "COPY market.marks (mark_id, instrument_id, mark_at, price, source, quality, recorded_at)"
    " FROM STDIN",
    PriceKind.FUNDING_RATE: "COPY market.funding_rates (rate_id, instrument_id, rate_at, rate, source, recorded_at)"
    " FROM STDIN",
}
ADVANCE_IDS = "SELECT setval('market.price_ids', greatest(%s, (SELECT last_value FROM market.price_ids)))"


class BundledBatch(NamedTuple):
    """What an event of the bundle states of a batch."""

    first_id: int
    last_id: int
    seq: int
    prices: int
    root: str


def write(connection: Connection, bundle: zipfile.ZipFile, upto: int) -> int:
    """Write the prices of all batches up to a seq to a bundle. Return how many."""
    count = 0
    for kind, name in FILES.items():
        is_in_batch = f"""EXISTS (
            SELECT FROM (
                SELECT last_id, seq FROM market.batches WHERE kind = '{kind}' AND first_id <= {price_rows.IDS[kind]}
                ORDER BY first_id DESC LIMIT 1
            ) AS batch WHERE last_id >= {price_rows.IDS[kind]} AND seq <= %s
        )"""  # noqa: S608 (our own words)
        query = price_rows.leaves_of(kind, f"WHERE {is_in_batch} ORDER BY {price_rows.IDS[kind]}")
        with (
            connection.transaction(),
            connection.cursor(f"bundled_{kind.value.lower()}", binary=True) as cursor,
            bundle.open(name, "w", force_zip64=True) as lines,
        ):
            cursor.itersize = FETCH_ROWS
            for row in cursor.execute(query, [upto]):
                lines.write(leaf_bytes(Leaf(*row)) + b"\n")
                count += 1
    return count


class MarkProof:
    """Proves the prices of a bundle by its events, which are shown to it one after the other."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._batches: dict[PriceKind, list[BundledBatch]] = {kind: [] for kind in PriceKind}

    def see(self, seq: int, state: bytes) -> None:
        """Take note of an event of the bundle."""
        if TOPIC.encode() in state and topic_of(state) == TOPIC:
            event = event_of(seq, TOPIC, state)
            batch = BundledBatch(event.first_id, event.last_id, seq, prices=event.count, root=event.root)
            self._batches[event.kind].append(batch)

    def check(self, stated: int) -> None:
        """Raise HistoryBroken unless all prices of all batches are there, as recorded, `stated` of them."""
        count = sum(len(leaves) for kind in PriceKind for _, leaves in self.batches(kind))
        if count != stated:
            raise HistoryBroken(
                f"{self._archive.path} has {count} prices, and its manifest states {stated}; export it again"
            )

    def batches(self, kind: PriceKind) -> Iterator[tuple[BundledBatch, list[Leaf]]]:
        """Yield the batches of a kind by id, with their prices. Raises HistoryBroken."""
        with closing(self._archive.lines(FILES[kind])) as lines:
            line = next(lines, None)
            for batch in sorted(self._batches[kind]):
                leaves, hashes = list[Leaf](), list[bytes]()
                while line is not None and (leaf := self._leaf(line)).mark_id <= batch.last_id:
                    if leaf.mark_id < batch.first_id or len(leaves) == min(batch.prices, BATCH_MARKS_MAX):
                        raise self._added(leaf)
                    leaves.append(leaf)
                    hashes.append(leaf_hash(line))
                    line = next(lines, None)
                if len(leaves) != batch.prices or root_of(b"".join(hashes)) != batch.root:
                    raise HistoryBroken(
                        f"marks altered: those of the batch recorded as seq {batch.seq} in {self._archive.path}, with"
                        f" the ids {batch.first_id} to {batch.last_id}, are not what was recorded; export it again"
                    )
                yield batch, leaves
            if line is not None:
                raise self._added(self._leaf(line))

    def _leaf(self, line: bytes) -> Leaf:
        try:
            return leaf_of(line)
        except InvalidInput as error:
            raise HistoryBroken(f"the marks of {self._archive.path} are damaged: {error}") from error

    def _added(self, leaf: Leaf) -> HistoryBroken:
        where = self._archive.path
        return HistoryBroken(f"marks inserted: the price {leaf.mark_id} in {where} is more than its events state")


def restore(connection: Connection, proof: MarkProof) -> None:
    """Store the prices of a bundle in a database whose events were restored."""
    newest = 1
    for kind in PriceKind:
        for batch, leaves in proof.batches(kind):
            newest = max(newest, batch.last_id)
            hashes = b"".join(leaf_hash(leaf_bytes(leaf)) for leaf in leaves)
            with connection.cursor() as cursor:
                with cursor.copy(COPIES[kind]) as copy:
                    for leaf in leaves:
                        copy.write_row(leaf if kind is PriceKind.MARK else (*leaf[:5], leaf.recorded_at))
                with cursor.copy(STORE_HASHES) as copy:
                    copy.set_types(("text", "int8", "bytea"))
                    copy.write_row((kind.value, batch.first_id, hashes))
    connection.execute(ADVANCE_IDS, [newest])

"""Marks: how fast candles are imported with their batches in the log, and how fast they are verified.

Run as `python -m benchmarks.marks [MARKS]` (200,000 by default), on a server of its own with fsync on. The peer stores
the same rows in the same way as Daybook did before batches: one INSERT for each 5,000, which skips what is known, into
a table of that layout. Both take turns, 20,000 at a time, so that they meet the same machine; reading the file, which
is the same for both, is added to each. Processor time is this process's and the server's.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import psycopg

from adapters.log.postgres import PostgresLog
from adapters.market.files import read_market
from adapters.market.mark_store import MarkStore
from adapters.market.recording import MarkRecorder
from adapters.postgres.connections import connect
from adapters.verify.mark_check import check_marks
from adapters.writer.writer import Writer
from benchmarks.lines import line
from benchmarks.servers import server
from domain import values
from domain.marks import QualifiedMark
from domain.values import Mark

MARKS = 200_000
TURN = 20_000
STATEMENT = 5000
BTC = "BTCUSDT.SIM"
T0 = datetime(2020, 1, 1, tzinfo=UTC)

LAYOUT = """
CREATE TABLE public.marks (
    mark_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, instrument_id text NOT NULL, mark_at timestamptz NOT NULL,
    price numeric NOT NULL CHECK (price > '-Infinity' AND price < 'Infinity'), source text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(), quality text NOT NULL DEFAULT 'UNSTATED'
);
CREATE INDEX ON public.marks (instrument_id, mark_at DESC, mark_id DESC) INCLUDE (recorded_at);
CREATE INDEX ON public.marks (instrument_id, recorded_at);
"""
INSERT_NEW = """
INSERT INTO public.marks (instrument_id, mark_at, price, source, quality)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::text[], %s::text[])
    AS given (instrument_id, mark_at, price, source, quality)
WHERE NOT EXISTS (
    SELECT FROM public.marks AS known
    WHERE (known.instrument_id, known.mark_at) = (given.instrument_id, given.mark_at)
    AND (known.price, known.source, known.quality) = (given.price, given.source, given.quality)
)
"""


def peer(connection: psycopg.Connection, marks: Sequence[QualifiedMark]) -> None:
    """Store marks without batches, as they were stored before."""
    for at in range(0, len(marks), STATEMENT):
        part = marks[at : at + STATEMENT]
        checked = [
            Mark(
                values.instrument_id(mark.instrument_id), values.positive(mark.price, "price"),
                values.name(mark.source, "source"), values.time(mark.mark_at, "mark_at"),
            )
            for mark in part
        ]  # fmt: skip
        rows = [
            (m.instrument_id, m.mark_at, m.price, m.source, q.quality.value) for m, q in zip(checked, part, strict=True)
        ]
        with connection.cursor(binary=True) as cursor:
            cursor.execute(INSERT_NEW, [list(column) for column in zip(*rows, strict=True)])


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds a piece of work took, and the processor time of this process."""
    start, used = perf_counter(), process_time()
    work()
    return perf_counter() - start, process_time() - used


def candles(path: Path, first: int, count: int) -> Path:
    """Write a file of one-minute candles."""
    lines = ["ts,open,high,low,close,volume"]
    for n in range(first, first + count):
        at, price = T0 + timedelta(minutes=n), Decimal(2_000_000 + n * 7919 % 900_000) / 100
        lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{price},{price},{price},{price},1.5")
    path.write_text("\n".join(lines) + "\n")
    return path


def main(count: int) -> None:
    """Measure imports in turns, then verification."""
    with server() as (url, _), PostgresLog(url) as log, tempfile.TemporaryDirectory() as folder, connect(url) as old:
        old.execute(LAYOUT)
        store = MarkStore(url)
        recorder = MarkRecorder(store, Writer(log, lambda: datetime.now(UTC), store.latest).carry_out)
        ours = theirs = reading = 0.0
        used = [0.0, 0.0]
        for turn, first in enumerate(range(0, count, TURN)):
            path = candles(Path(folder) / "candles.csv", first, TURN)
            found = read_market(path, BTC, "candles", now=datetime.now(UTC), every=timedelta(minutes=1))
            reading += timed(
                partial(read_market, path, BTC, "candles", now=datetime.now(UTC), every=timedelta(minutes=1))
            )[0]
            works: list[Callable[[], object]] = [
                partial(recorder.record, found.marks, actor="benchmark", is_new_only=True),
                partial(peer, old, found.marks),
            ]
            for which in (0, 1) if turn % 2 else (1, 0):
                seconds, processor = timed(works[which])
                used[which] += processor
                if which:
                    theirs += seconds
                else:
                    ours += seconds
        store.close()
        note = f"of it {used[0]:.1f} s of processor time here, theirs {used[1]:.1f} s; no file read"
        line("marks recorded", count / ours, "marks/s", peer="rows alone", peer_value=count / theirs, note=note)
        line(
            "candles imported from a file", count / (ours + reading), "candles/s", peer="rows alone",
            peer_value=count / (theirs + reading), note="read, checked, recorded",
        )  # fmt: skip
        seconds, _ = timed(lambda: check_marks(url))
        line("marks verified", count / seconds, "marks/s", note="every leaf hashed again and compared with its batch")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MARKS)

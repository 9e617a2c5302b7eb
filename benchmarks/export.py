"""Exports: how fast the rows of a long report are written to a file, and that memory does not grow with them.

Run as `python -m benchmarks.export [ROWS]` (1,000,000 by default), on a server of its own. A few hundred trades are
booked as usual; their rows are then repeated inside the read models until there are ROWS, so that only reading and
writing is measured. The peer is a bare COPY of the same table as CSV into a file, by PostgreSQL itself: the upper
bound. Memory is the growth of the largest resident size.
"""

import io
import os
import sys
import tempfile
from decimal import Decimal as D
from itertools import islice
from time import perf_counter, process_time
from typing import Any

import psycopg
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from api.reports.arrow_copy import copied
from api.reports.catalog import REPORTS, Parameters
from api.reports.contents import STORED
from api.reports.files import shapes_of, write_csv, write_parquet
from benchmarks.lines import largest_mb, line
from benchmarks.servers import server
from domain.values import Money, Side
from projections.runner.runner import Runner
from projections.storage.schemas import as_placed
from tests.desk import Desk, fill

ROWS = 1_000_000
CSV_ROWS = 100_000  # these pass through Python one by one
TRADES = 400
REPEAT = """
INSERT INTO {table} SELECT (jsonb_populate_record(one, jsonb_build_object({key}))).*
FROM {table} AS one CROSS JOIN generate_series(1, {times}) AS n
"""
KEYS = {
    "executions": ("read_executions.executions",
                   "'exec_id', one.exec_id || '-' || n, 'booked_seq', one.booked_seq + 1000000::bigint * n"),
    "journal": ("read_journal.entries", "'entry_seq', one.entry_seq + 1000000::bigint * n"),
}  # fmt: skip


def filled(url: str, rows: int) -> None:
    """Book trades, update the read models, and repeat their rows."""
    desk = Desk(PostgresLog(url))
    for first in range(0, TRADES, 50):
        desk.report(
            *(
                fill(f"E{n}", Side.BUY if n % 3 else Side.SELL, D(1 + n % 7) / 10, D(97000 + n), minute=n % 600,
                     fee=Money(D(1 + n) / 1000, "USDT"))
                for n in range(first, first + 50)
            )
        )  # fmt: skip
    made = engine(url, Role.PROJECTOR)
    Runner(desk.log, made).catch_up()  # type: ignore[arg-type]
    made.dispose()
    with psycopg.connect(url, autocommit=True) as connection:
        for name, key in KEYS.values():
            table = in_use(connection, name)
            connection.execute(REPEAT.format(table=table, key=key, times=rows // TRADES - 1))
            connection.execute(f"ANALYZE {table}")


def in_use(connection: "psycopg.Connection[Any]", table: str) -> str:
    """Return the table behind a view."""
    schema, _, name = table.partition(".")
    found = connection.execute("SELECT schema FROM read.progress WHERE 'read_' || projection = %s", [schema]).fetchone()
    assert found is not None, "it was followed"
    return f"{found[0]}.{name}"


def copy_bare(url: str, table: str) -> float:
    """Return the seconds of a bare COPY to CSV."""
    began = perf_counter()
    statement = f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT CSV)"
    with (
        psycopg.connect(url) as connection,
        tempfile.TemporaryFile() as out,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for part in copy:
            out.write(part)
    return perf_counter() - began


def main(rows: int) -> None:
    """Run all measurements."""
    import pyarrow.parquet  # noqa: F401 (half a second, once)

    with server() as (url, _):
        filled(url, rows)
        reader = engine(url, Role.AUDITOR)
        for name, (table, _) in KEYS.items():
            shapes, bare = shapes_of(REPORTS[name], REPORTS[name].part(None)), copy_bare(url, table)
            for kind in ("parquet", "csv"):
                before = largest_mb()
                with reader.connect() as connection, tempfile.TemporaryFile() as file:
                    entries = connection.scalar(sa.text(f"SELECT count(*) FROM {table}"))
                    began, worked = perf_counter(), process_time()
                    out: io.BufferedRandom = file  # type: ignore[assignment]
                    if kind == "parquet":
                        batches = copied(name, shapes, as_placed(connection), Parameters())
                        assert batches is not None
                        count = write_parquet(shapes, batches, out, decimals=18, about={})
                    else:
                        count = write_csv(shapes, islice(STORED[name].rows(connection, Parameters()), CSV_ROWS), out)
                    took, worked = perf_counter() - began, process_time() - worked
                    size = os.fstat(file.fileno()).st_size
                note = (
                    f"{count:,} rows of {entries:,} stored, {size / 2**20:.0f} MiB, {count / worked:,.0f} rows a CPU s"
                )
                peer = "COPY of the table to CSV, stored rows/s"
                line(f"export {name} {kind}", count / took, "rows/s", peer=peer, peer_value=entries / bare, note=note)
                line(f"export {name} {kind}: memory growth", largest_mb() - before, "MiB", note=note)
        reader.dispose()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)

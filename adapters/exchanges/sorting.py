"""Sort the rows of a trade history by occurrence, in bounded memory (external merge sort).

Exports are sorted newest first, by symbol, or concatenated; the ledger books sorted fills fastest. A file of one chunk
is sorted in memory. A longer one is written to a temporary file as sorted runs, which are then merged; the file is
unnamed, so it is gone with the process. Unreadable lines are not sorted and are passed on as they are found.
"""

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from adapters.exchanges import Unreadable
from adapters.exchanges.via_csv import Row
from domain.values import Occurrence

CHUNK_ROWS_MAX = 10_000
BLOCK_BYTES = 65_536

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Row)


def in_order(found: Iterable[Row | Unreadable], *, chunk_rows_max: int = CHUNK_ROWS_MAX) -> Iterator[Row | Unreadable]:
    """Yield the rows by (transact time, trade sequence, exec id); of equals the earlier line comes first."""
    source = iter(found)
    runs: list[tuple[int, int]] = []
    held: list[Row] = []
    with tempfile.TemporaryFile() as file:
        while chunk := list(islice(source, chunk_rows_max)):
            if held:
                start = file.tell()
                file.writelines(_ENCODER.encode(row) + b"\n" for row in held)
                runs.append((start, file.tell()))
            held = sorted((row for row in chunk if isinstance(row, Row)), key=occurrence_of)
            yield from (line for line in chunk if isinstance(line, Unreadable))
        file.flush()
        yield from heapq.merge(*(_run(file.fileno(), *run) for run in runs), held, key=occurrence_of)


def occurrence_of(row: Row) -> tuple[Occurrence, int]:
    """Return a row's sort key."""
    fill = row.fill
    return Occurrence(fill.transact_time, fill.trade_seq, fill.exec_id), row.line


def _run(file: int, start: int, end: int) -> Iterator[Row]:
    """Yield the rows of one sorted run, read block by block."""
    rest = b""
    while start < end:
        block = os.pread(file, min(BLOCK_BYTES, end - start), start)
        start += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield from map(_DECODER.decode, lines)

"""Sort the facts of a file by occurrence, in bounded memory (external merge sort), and gather those of one moment.

Exports are sorted newest first, by symbol, or concatenated; the ledger books sorted fills fastest. A file of one chunk
is sorted in memory. A longer one is written to a temporary file as sorted runs, which are then merged; the file is
unnamed, so it is gone with the process. Unreadable lines are not sorted and are passed on as they are found.
"""

import heapq
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from adapters.exchanges import Unreadable
from adapters.exchanges.files.facts import Fact, Traded

CHUNK_FACTS_MAX = 10_000
BLOCK_BYTES = 65_536
FACTS_OF_A_MOMENT_MAX = 5_000

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Fact)
Key = tuple[datetime, int, int, int]


class Moment(NamedTuple):
    """The facts of one moment; `is_edge` at the first and the last one of a file."""

    facts: list[Fact]
    is_edge: bool


def in_order(
    found: Iterable[Fact | Unreadable], *, chunk_facts_max: int = CHUNK_FACTS_MAX
) -> Iterator[Fact | Unreadable]:
    """Yield the facts by time and the venue's sequence; of equals the one that the file has as the earlier.

    A file whose first chunk goes back in time is one that has the newest first.
    """
    source = iter(found)
    runs: list[tuple[int, int]] = []
    held: list[Fact] = []
    key: Callable[[Fact], Key] | None = None
    with tempfile.TemporaryFile() as file:
        while chunk := list(islice(source, chunk_facts_max)):
            if held:
                start = file.tell()
                file.writelines(_ENCODER.encode(fact) + b"\n" for fact in held)
                runs.append((start, file.tell()))
            facts = [fact for fact in chunk if not isinstance(fact, Unreadable)]
            key = key or _key_of(facts)
            held = sorted(facts, key=key)
            yield from (line for line in chunk if isinstance(line, Unreadable))
        file.flush()
        yield from heapq.merge(*(_run(file.fileno(), *run) for run in runs), held, key=key or oldest_first)


def moments(found: Iterable[Fact | Unreadable]) -> Iterator[Moment | Unreadable]:
    """Gather facts in order into moments. One of very many facts is divided."""
    held: list[Fact] = []
    is_first = True
    for fact in found:
        if isinstance(fact, Unreadable):
            yield fact
            continue
        if held and (_at(held[0]) != _at(fact) or len(held) >= FACTS_OF_A_MOMENT_MAX):
            yield Moment(held, is_first)
            held, is_first = [], False
        held.append(fact)
    if held:
        yield Moment(held, is_edge=True)


def oldest_first(fact: Fact) -> Key:
    """Return the sort key of a fact in a file that has the oldest first."""
    return *_at(fact), fact.seq if isinstance(fact, Traded) else 0, fact.source.line


def newest_first(fact: Fact) -> Key:
    """Return the sort key of a fact in a file that has the newest first."""
    return *_at(fact), fact.seq if isinstance(fact, Traded) else 0, -fact.source.line


def _key_of(facts: list[Fact]) -> Callable[[Fact], Key]:
    return newest_first if facts and _at(facts[0]) > _at(facts[-1]) else oldest_first


def _at(fact: Fact) -> tuple[datetime, int]:
    return fact.source.at, fact.source.nanos


def _run(file: int, start: int, end: int) -> Iterator[Fact]:
    """Yield the facts of one sorted run, read block by block."""
    rest = b""
    while start < end:
        block = os.pread(file, min(BLOCK_BYTES, end - start), start)
        start += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield from map(_DECODER.decode, lines)

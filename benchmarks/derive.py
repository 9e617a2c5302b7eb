"""Derivation: `python -m benchmarks.derive [ORDERS]` (10,000 by default; thirteen events each).

A desk's log, written by the writer, is decided again as `daybook verify --derivation` does it: in one process and in
several. The peer, in the same run and by turns, is a replay of the same log, decode and fold, which is the least that
reading it takes. Every part of a log is decided on streams of before, so memory is that of the ledger's own caches.
"""

import os
import sys
from collections.abc import Callable
from time import perf_counter, process_time
from typing import NamedTuple

import structlog

from adapters.log.postgres import PostgresLog
from adapters.proof.sealer import Sealer
from adapters.verify.bundles import export, opened
from adapters.verify.derivation import derive, derive_bundle
from benchmarks import desk, replay
from benchmarks.lines import largest_mb, line
from domain.ledger import Derived

ROUNDS = 3


class Rate(NamedTuple):
    """Events per second by the clock, and of processor time, that of child processes included."""

    clock: float
    core: float


def rates(*works: Callable[[], int]) -> list[Rate]:
    """Return the rates of each: the best of several alternating rounds."""
    best = [Rate(0, 0)] * len(works)
    for _ in range(ROUNDS):
        for number, work in enumerate(works):
            clock, before = perf_counter(), os.times()
            count = work()
            spent = sum(os.times()[:4]) - sum(before[:4])
            now = Rate(count / (perf_counter() - clock), count / spent)
            best[number] = Rate(max(best[number].clock, now.clock), max(best[number].core, now.core))
    return best


def _count(found: Derived) -> int:
    assert not found.faults, found.faults[0]
    return found.events


def main(orders: int) -> None:
    """Run all measurements."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with desk.desk() as (url, log, writer):
        replay.written(writer, orders)
        one, several, folded = rates(
            lambda: _count(derive(url, workers=1)), lambda: _count(derive(url)), lambda: replay.along(log)
        )
        memory = f"{largest_mb():.0f} MB the largest process"
        note = f"{log.head().seq:,} events; by the clock {one.clock:,.0f} against {folded.clock:,.0f}"
        line("derive.one_process", one.core, "events/s of a core", peer="replay along the log",
             peer_value=folded.core, note=note)  # fmt: skip
        note = f"{os.cpu_count()} cores; {several.core:,.0f} events/s of a core; {memory}"
        line("derive", several.clock, "events/s", peer="replay along the log", peer_value=folded.clock, note=note)
        of_a_bundle(url, log)


def of_a_bundle(url: str, log: PostgresLog) -> None:
    """Measure a whole bundle of the same log."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "whole.zip"
        Sealer(url, Path(folder)).seal()
        export(url, path)
        with opened(path) as bundle:
            began = process_time()
            found = derive_bundle(bundle, size=path.stat().st_size)
            spent = process_time() - began
        assert found.upto == log.head().seq, found.ended
        size = path.stat().st_size / 1e6
        note = f"a bundle of {size:.1f} MB: {spent / size:.2f} s of processor time a megabyte"
        line("derive.bundle", found.upto / spent, "events/s of a core", note=note)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)

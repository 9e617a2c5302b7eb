"""Gains by coin of a book: `python -m benchmarks.gains [FILLS ...]` (10000 and 100000 by default).

The fills pass through the whole domain onto a server of its own, and the read models follow them. Then the gains of
all accounts are computed as the report does, all rows made: in the accounts' own currency, where each amount is exact,
and in EUR, where every fill needs a rate of its own moment. A line gives the seconds; its note has the rows, and by how
much the process grew. The peer is the same at the first size.
"""

import sys
import time
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

from api.analytics.gains import GAINS_MODELS, GainsRequest, gains
from api.daybook import Daybook
from api.read_models.snapshot import reading
from benchmarks.lines import largest_mb, line
from benchmarks.query import T0, desk, grow
from domain.instrument import Contract, Kind, ListInstrument
from domain.values import Mark

SIZES = (10_000, 100_000)
CURRENCIES = ("USDT", "EUR")
MARKS = 2000


def main() -> None:
    """Print the lines."""
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    peers: dict[str, float] = {}
    with desk() as book:
        _mark_euro(book, max(sizes))
        size = 0
        for wanted in sizes:
            grow(book, size, wanted)
            size = wanted
            for currency in CURRENCIES:
                _measure(book, size, currency, peers)


def _mark_euro(book: Daybook, fills: int) -> None:
    """Record prices of the dollar in EUR, spread over the time of the fills."""
    contract = Contract(Kind.SPOT, "USDT", "EUR", "EUR")
    book.writer.request(ListInstrument("USDTEUR.SIM", contract, D("0.0001"), D("0.01")), actor="bench")
    step = timedelta(milliseconds=fills) / MARKS
    marks = [
        Mark("USDTEUR.SIM", D("0.9") + D(n % 100) / 10_000, "SIM", T0 - timedelta(minutes=1) + n * step)
        for n in range(MARKS)
    ]
    book.recorder.record(marks, actor="bench")


def _measure(book: Daybook, size: int, currency: str, peers: dict[str, float]) -> None:
    before, began = largest_mb(), time.perf_counter()
    with reading(book, *GAINS_MODELS) as at:
        found = gains(book, at, GainsRequest(currency=currency))
        rows = sum(1 for _ in found.items)
    seconds = time.perf_counter() - began
    valued = sum(row["disposals"] - row["unvalued"] for row in found.years)
    peer: dict[str, Any] = {"peer": "10,000 fills", "peer_value": peers[currency]} if currency in peers else {}
    note = f"{rows:,} rows, {valued:,} valued; peak memory grew by {largest_mb() - before:.0f} MB"
    line(f"gains, {size:,} fills in {currency}", round(seconds, 2), "s", note=note, **peer)
    peers.setdefault(currency, round(seconds, 2))


if __name__ == "__main__":
    main()

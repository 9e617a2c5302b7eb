"""Import of export files: `python -m benchmarks.importing [FILLS]` (100,000 unless given).

Fills of the neutral form, three an order, end to end on a server of its own with fsync on, beside `append.bulk` of the
same run: the same fills' worth of commands, sent without reading them from a file. Parsing alone (rows to facts), rows
to reports, the detection of a layout, and the memory of an import as files grow.
"""

import statistics
import sys
import tempfile
import time
import tracemalloc
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path

import structlog

from adapters.exchanges.files.grouping import together
from adapters.exchanges.files.reading import ExportFile, Text, Wanted
from adapters.exchanges.files.reports import Whose, reports
from adapters.exchanges.files.sorting import in_order, moments
from adapters.exchanges.layouts.catalog import catalog
from adapters.writer.writer import Writer
from api.intake.importing.ingest import import_file
from benchmarks import desk
from benchmarks.append import FILLS_A_BATCH, ROUNDS, Desk
from benchmarks.lines import line, seconds
from domain.account import Costing, OpenAccount

ROWS = 20_000
SLICE_SECONDS = 1.0
SLICE_FILLS = 10_000  # of a slice
HEADER = "time,instrument,side,qty,price,fee,fee_asset,id,order_id,liquidity\n"


def written(path: Path, count: int, name: str = "F") -> Path:
    """Write `count` fills of the neutral form, three an order, alternately bought and sold."""
    with path.open("w") as file:
        file.write(HEADER)
        for n in range(count):
            order, at = n // desk.FILLS_AN_ORDER, desk.T0 + timedelta(milliseconds=n)
            side, price = ("sell", "buy")[order % 4 != 3], D("97500.10") + D(n % 100) / 100
            file.write(
                f"{at:%Y-%m-%dT%H:%M:%S.%f}Z,{desk.BTC},{side},0.25,{price},0.02,USDT,{name}{n},{name}O{order},taker\n"
            )
    return path


def facts(path: Path) -> int:
    """Read the rows of a file as facts; return how many."""
    with ExportFile(path, catalog(), Wanted(desk.now())) as file:
        return sum(1 for text in file.texts() if isinstance(text, Text) for _ in text.facts)


def reported(path: Path) -> int:
    """Read the rows of a file as reports, in order of occurrence; return how many."""
    count = 0
    with ExportFile(path, catalog(), Wanted(desk.now())) as file:
        for text in file.texts():
            assert isinstance(text, Text)
            whose = Whose("main", "main", text.layout.venue)
            for moment in moments(in_order(text.facts)):
                found = together(moment.facts, text.reading.assets, text.layout.symbol_form, is_edge=moment.is_edge)
                count += sum(1 for _ in reports(found, whose))
    return count


def parsing(folder: Path) -> None:
    """Measure rows to facts and to reports, the detection of a layout, and the memory of reading."""
    path = written(folder / "rows.csv", ROWS)
    line("importing.facts", ROWS / seconds(lambda: facts(path)), "rows/s", note="neutral form, parsing alone, one core")
    line(
        "importing.reports", ROWS / seconds(lambda: reported(path)), "rows/s", note="sorted, grouped, as venue reports"
    )
    known = catalog()
    header = ["Zeit", "Paar", "Richtung", "Menge", "amount", "time", "fee"]
    taken = seconds(lambda: known.match(header)) * 1000
    line("importing.detection", taken, "ms", note=f"a header that none of {len(known.every)} layouts has")
    peaks = []
    for count in (ROWS, 5 * ROWS):
        written(path, count)
        tracemalloc.start()
        reported(path)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    line("importing.memory", peaks[1], "MB", peer="a fifth of the rows", peer_value=peaks[0], note="peak of reading")


def end_to_end(folder: Path, count: int) -> None:
    """Measure an import end to end beside fills that are sent as commands, in alternating rounds."""
    with desk.desk() as (url, log, writer):
        group = writer._group
        assert group is not None
        bulk = Desk(url, log, group)
        rates: list[tuple[float, float]] = []
        for at in range(ROUNDS):
            path = written(folder / f"{at}.csv", count // ROUNDS, f"R{at}-")
            rates.append((_imported(writer, path, f"import{at}"), _sent(bulk, count // ROUNDS)))
        ours, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
        note = f"{count} fills of the neutral form, three an order, durable; beside fills of known orders as commands"
        line("importing.fills", ours, "fills/s", peer="append.bulk", peer_value=theirs, note=note)


def _sent(bulk: Desk, count: int) -> float:
    """Return the fills/s of commands, by slices whose orders the writer can queue at once."""
    slices = max(count // SLICE_FILLS, 1)
    return statistics.harmonic_mean(bulk.send(SLICE_SECONDS, FILLS_A_BATCH).fills_s for _ in range(slices))


def _imported(writer: Writer, path: Path, account_id: str) -> float:
    writer.request(OpenAccount(account_id, "USDT", Costing(), desk.T0), actor="bench")
    began = time.perf_counter()
    summary = import_file(writer, path, account_id=account_id, now=desk.now(), actor="bench")
    taken = time.perf_counter() - began
    assert summary.recorded == summary.read, summary.errors[:1]
    return summary.recorded / taken


def main(count: int) -> None:
    """Run all measurements."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        parsing(Path(folder))
        end_to_end(Path(folder), count)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

"""Files of a random truth, in the layouts of venues and as people save them, import to the book of that truth."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from adapters.writer.writer import Writer as LedgerWriter
from api.intake.importing.counts import ImportSummary
from api.intake.importing.ingest import import_file
from domain.errors import InvalidInput
from domain.holdings.holdings import holdings_of
from tests.scenarios.exports.saving import save, ways
from tests.scenarios.exports.truth import Trade, Truth, balances, parted, truths
from tests.scenarios.exports.writers import WRITERS, Rows, Writer

SPOILS = ("", "-", "NaN", "1E400", "-0", "1,2,3", "0x10", "\0", "9" * 60, "2026-02-30 00:00:00", "=1+1", "null")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
EXAMPLES = 25
each_layout = pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)


class Book:
    """A ledger in memory, into which files are imported."""

    def __init__(self) -> None:
        self._log = MemoryLog()
        self._writer = LedgerWriter(self._log, lambda: NOW)

    def take(self, path: Path) -> ImportSummary:
        """Import a file, of which no row may be left."""
        found = self.attempt(path)
        assert (found.unreadable, found.conflicting, found.errors) == (0, 0, [])
        return found

    def attempt(self, path: Path) -> ImportSummary:
        """Import a file, of which rows may be left."""
        return import_file(self._writer, path, now=NOW, actor="test")

    def balances(self) -> dict[str, Decimal]:
        events = [logged.recorded.event for logged in self._log.select(after=0, limit=100_000)]
        held = holdings_of(events, "main", "", NOW).wallets.balances()
        return {asset: amount for asset, amount in held.items() if amount}


def drawn(data: st.DataObject, writer: Writer) -> Truth:
    return data.draw(truths(writer.pairs, writer.fees, has_cash=writer.has_cash, third=writer.third))


def rows_of(writer: Writer, truth: Truth) -> Rows:
    rows = [row for each in truth for row in writer.rows(each)]
    return rows[::-1] if writer.is_newest_first else rows


@each_layout
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_a_file_saved_in_any_way_is_the_truth_and_importing_it_again_adds_nothing(
    writer: Writer, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    truth, way = drawn(data, writer), data.draw(ways)
    path = save(tmp_path_factory.mktemp("export") / "export.csv", writer.header, rows_of(writer, truth), way)
    book = Book()
    book.take(path)
    assert book.balances() == balances(truth)
    assert book.take(path).recorded == 0
    assert book.balances() == balances(truth)


@each_layout
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_pieces_that_overlap_in_any_order_are_the_truth(
    writer: Writer, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    truth = drawn(data, writer)
    start = parted(truth, data.draw(st.integers(0, len(truth))))
    end = parted(truth, data.draw(st.integers(0, start)))
    pieces = data.draw(st.permutations([truth[:start], truth[end:]]))
    folder, book = tmp_path_factory.mktemp("export"), Book()
    for number, piece in enumerate(pieces):
        if piece:
            book.take(save(folder / f"{number}.csv", writer.header, rows_of(writer, piece)))
    assert book.balances() == balances(truth)


SAME_DAYS = (
    ("Binance spot trades", "Binance statement"),
    ("Kraken trades", "Kraken ledgers"),
    ("Coinbase fills", "Coinbase Pro account"),
)


@pytest.mark.parametrize("names", SAME_DAYS, ids=" and ".join)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_two_exports_of_a_venue_of_the_same_days_are_booked_once(
    names: tuple[str, str], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """What both say is booked once, in either order; deposits are in the second alone."""
    trades, ledger = (next(each for each in WRITERS if each.name == name) for name in names)
    truth = data.draw(truths(trades.pairs, trades.fees, has_cash=True, third=trades.third))
    traded = [each for each in truth if isinstance(each, Trade)]
    folder, book = tmp_path_factory.mktemp("export"), Book()
    paths = [save(folder / "ledger.csv", ledger.header, rows_of(ledger, truth))]
    if traded:
        paths.append(save(folder / "trades.csv", trades.header, rows_of(trades, traded)))
    for path in data.draw(st.permutations(paths)):
        book.take(path)
    assert book.balances() == balances(truth)


@each_layout
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_of_a_file_with_a_spoiled_cell_each_row_is_read_or_kept(
    writer: Writer, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rows = [list(row) for row in rows_of(writer, drawn(data, writer))]
    spoiled = data.draw(st.sampled_from(rows))
    at = data.draw(st.integers(0, len(spoiled) - 1))
    spoiled[at] = data.draw(st.one_of(st.text(max_size=12), st.sampled_from(SPOILS), st.just(spoiled[at][:-1])))
    path = save(tmp_path_factory.mktemp("export") / "export.csv", writer.header, rows)
    try:
        found = Book().attempt(path)
    except InvalidInput:
        return  # it is no such file any more, and nothing was recorded
    assert found.read == found.settled

"""An import: every line accounted for, nothing doubled, and one book in any order of the lines."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from adapters.postgres.migrations import migrate
from adapters.verify.derivation import derive
from adapters.writer.writer import Writer
from api.intake.importing.counts import ImportProgress
from domain import account
from domain.account import CostBasis, Costing, FeePolicy, RawReportKept, evidence
from domain.errors import InvalidInput, Unavailable
from domain.ledger import EventLog, schema
from tests.scenarios.importing.histories import HEADER, NOW, book, breaks, desk, history, imported, open_book, written

ROWS = history(60)
CONVENTIONS = [Costing(basis, policy) for basis in CostBasis for policy in FeePolicy]


def counts(summary: object) -> tuple[int, ...]:
    """read, recorded, already known, conflicting, unreadable"""
    return tuple(getattr(summary, name) for name in ("read", "recorded", "already_known", "conflicting", "unreadable"))


def topics(log: EventLog) -> Counter[str]:
    return Counter(schema.topic_of(logged.recorded.event) for logged in log.select(limit=100_000))


def test_a_file_opens_the_account_lists_the_instrument_and_is_recorded_once(tmp_path: Path) -> None:
    log, writer = desk()
    path = written(tmp_path / "fills.csv", ROWS)
    first = imported(writer, path)
    assert counts(first) == (60, 60, 0, 0, 0)
    assert first.seq == log.head().seq
    assert topics(log) == {
        "AccountOpened": 1, "InstrumentListed": 1, "OrderAdopted": 60, "OrderFilled": 60, "TradeBooked.v3": 60,
        "HoldPosted": 60, "AccountRegistered": 1, "PositionOpened": 1, "PositionBroken": 1,
    }  # fmt: skip
    was = log.head()
    again = imported(writer, path)
    assert counts(again) == (60, 0, 60, 0, 0)
    assert log.head() == was
    assert again.seq == was.seq


def test_an_account_keeps_its_own_conventions(tmp_path: Path) -> None:
    _, writer = desk(Costing(CostBasis.HIFO, FeePolicy.CAPITALISED))
    imported(writer, written(tmp_path / "fills.csv", ROWS))
    assert writer.state(account.stream("main")).costing.cost_basis is CostBasis.HIFO


def test_a_repeated_fill_with_another_content_conflicts_every_time_and_is_not_booked(tmp_path: Path) -> None:
    log, writer = desk()
    imported(writer, written(tmp_path / "fills.csv", ROWS))
    was = book(writer)
    seq, trade_id, *rest = ROWS[4].split(",")
    changed = [*ROWS[:4], ",".join([seq, trade_id, *rest[:-2], "0.5", "BNB"]), *ROWS[5:]]
    path = written(tmp_path / "changed.csv", changed)
    for attempt in range(3):
        summary = imported(writer, path)
        assert counts(summary) == (60, 0, 59, 1, 0), f"attempt {attempt}"
        (conflict,) = summary.conflicts
        assert conflict.line == 6
        fee, paid_in = rest[-2:]
        assert f"commission {fee} {paid_in} on record, 0.5 BNB in this line" in conflict.error
        assert book(writer) == was
    assert topics(log)["OrderBroken"] == 1
    assert breaks(writer, f"BTCUSDT-{trade_id}") == ["one exec_id has one content"]
    assert counts(imported(writer, written(tmp_path / "fills.csv", ROWS))) == (60, 0, 60, 0, 0)


def test_two_reports_of_one_fill_in_one_file_are_a_fill_and_a_conflict(tmp_path: Path) -> None:
    _, writer = desk()
    other = ROWS[0].replace("maker", "?").replace("taker", "maker").replace("?", "taker")
    summary = imported(writer, written(tmp_path / "fills.csv", [ROWS[0], other, ROWS[0]]))
    assert counts(summary) == (3, 1, 1, 1, 0)
    assert summary.conflicts[0].line == 3
    assert "liquidity" in summary.conflicts[0].error


def test_unreadable_lines_are_kept_raw_once_and_the_rest_is_recorded(tmp_path: Path) -> None:
    log, writer = desk()
    bad = ROWS[3].replace(",BUY,", ",HOLD,").replace(",SELL,", ",HOLD,")
    path = written(tmp_path / "fills.csv", [*ROWS[:3], bad, *ROWS[4:], bad])
    for recorded in (59, 0):
        summary = imported(writer, path)
        assert counts(summary) == (61, recorded, 59 - recorded, 0, 2)
        assert [finding.line for finding in summary.errors] == [5, 62]
        assert "side: 'HOLD'" in summary.errors[0].error
    assert topics(log)["RawReportKept"] == 2, "the line, and the header to read it with"
    kept = writer.state(evidence.stream(RawReportKept("main", "BINANCE", "", bad, "")))
    assert (kept.source, kept.raw, kept.reason) == ("fills.csv:5", bad, summary.errors[0].error)


def test_an_unknown_symbol_is_unreadable_and_the_message_names_the_remedy(tmp_path: Path) -> None:
    _, writer = desk()
    row = ROWS[0].replace("BTCUSDT", "NOSUCHPAIR")
    summary = imported(writer, written(tmp_path / "fills.csv", [row, ROWS[1]]))
    assert counts(summary) == (2, 1, 0, 0, 1)
    assert "--instrument NOSUCHPAIR=BASE/QUOTE" in summary.errors[0].error


def test_lists_of_findings_are_bounded_and_counts_are_not(tmp_path: Path) -> None:
    _, writer = desk()
    summary = imported(writer, written(tmp_path / "fills.csv", [f"{n},nonsense" for n in range(1200)]))
    assert counts(summary) == (1200, 0, 0, 0, 1200)
    assert len(summary.errors) == 100


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", HEADER.replace("qty", "size") + "\n"])
def test_a_file_of_no_known_layout_changes_nothing(tmp_path: Path, content: str) -> None:
    log, writer = desk()
    path = tmp_path / "fills.csv"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="Binance trade history"):
        imported(writer, path)
    assert log.head().seq == 0


def test_progress_ends_at_one_and_never_goes_back(tmp_path: Path) -> None:
    _, writer = desk()
    seen: list[ImportProgress] = []
    path = written(tmp_path / "fills.csv", history(1700))
    summary = imported(writer, path, on_progress=seen.append)
    assert [progress.recorded for progress in seen] == [500, 1000, 1500, 1700, 1700]
    assert [progress.fraction for progress in seen] == sorted(progress.fraction for progress in seen)
    assert seen[-1].fraction == 1
    assert counts(seen[-1]) == counts(summary)


@given(data=st.data(), costing=st.sampled_from(CONVENTIONS))
@settings(max_examples=60)
def test_any_split_shuffle_and_repetition_of_the_lines_ends_in_one_book(
    data: st.DataObject, costing: Costing, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split")
    _, straight = desk(costing)
    imported(straight, written(folder / "all.csv", ROWS))
    lines = data.draw(st.permutations(ROWS)) + data.draw(st.lists(st.sampled_from(ROWS), max_size=10))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=5)))
    _, writer = desk(costing)
    recorded = 0
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(lines)], strict=True)):
        summary = imported(writer, written(folder / f"{number}.csv", lines[start:end]))
        assert summary.recorded + summary.already_known == summary.read == end - start
        recorded += summary.recorded
    assert recorded == len(ROWS)
    assert book(writer) == book(straight)


@pytest.mark.parametrize("costing", [Costing(), Costing(CostBasis.FIFO, FeePolicy.CAPITALISED)])
def test_a_long_history_newest_first_is_booked_in_order(
    tmp_path: Path, costing: Costing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than one chunk of the sort, so that it is sorted on disk."""
    monkeypatch.setattr("adapters.exchanges.files.sorting.in_order.__kwdefaults__", {"chunk_facts_max": 150})
    rows = history(1300)
    _, straight = desk(costing)
    imported(straight, written(tmp_path / "all.csv", rows))
    log, writer = desk(costing)
    assert counts(imported(writer, written(tmp_path / "newest.csv", rows[::-1]))) == (1300, 1300, 0, 0, 0)
    assert book(writer) == book(straight)
    assert not any(topic.startswith("PositionRestated") for topic in topics(log)), "nothing was late"


def test_the_same_in_postgres(log: PostgresLog, tmp_path: Path) -> None:
    memory, straight = desk(Costing())
    path = written(tmp_path / "fills.csv", history(700))
    imported(straight, path)
    writer = Writer(log, lambda: NOW)
    open_book(writer, Costing())
    assert counts(imported(writer, path)) == (700, 700, 0, 0, 0)
    assert counts(imported(Writer(log, lambda: NOW), path)) == (700, 0, 700, 0, 0)
    assert book(writer) == book(straight)
    assert [one.recorded for one in log.select(limit=9999)] == [one.recorded for one in memory.select(limit=9999)]
    assert not derive(log.recorder.datastore.url).faults


@pytest.mark.slow
def test_a_database_lost_half_way_is_reported_and_the_import_goes_on_later(tmp_path: Path, home: Path) -> None:
    path = written(tmp_path / "fills.csv", history(1700))
    _, straight = desk()
    imported(straight, path)
    url = embedded.start(home)
    migrate(url)

    def pull_the_plug(progress: ImportProgress) -> None:
        if progress.recorded == 1000:
            embedded.stop(home)

    with PostgresLog(url) as log:
        writer = Writer(log, lambda: NOW)
        with pytest.raises(Unavailable, match=r"1000 fills were recorded.*again"):
            imported(writer, path, on_progress=pull_the_plug)
        embedded.start(home)
        assert counts(imported(writer, path)) == (1700, 700, 1000, 0, 0)
        assert book(writer) == book(straight)


def test_without_a_database_nothing_is_recorded(tmp_path: Path) -> None:
    with PostgresLog("postgresql://unknown@127.0.0.1:1/none") as log, pytest.raises(Unavailable, match="0 fills"):
        imported(Writer(log, lambda: NOW), written(tmp_path / "fills.csv", ROWS))

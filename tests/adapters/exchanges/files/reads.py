"""Files of tests, written here and read as an import reads them, up to the reports that would be recorded."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from adapters.exchanges import Unreadable
from adapters.exchanges.files.balances import Balances
from adapters.exchanges.files.grouping import Together, together
from adapters.exchanges.files.reading import ExportFile, Text, Wanted
from adapters.exchanges.files.reports import Booked, Skipped, Whose, reports
from adapters.exchanges.files.sorting import in_order, moments
from adapters.exchanges.layouts.catalog import catalog
from domain.ledger import Report

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Found(NamedTuple):
    """What is in one text: its layout's name, reports, skipped and unreadable rows, and what changes of each asset."""

    layout: str
    booked: list[Booked]
    skipped: list[Skipped]
    unreadable: list[Unreadable]
    balances: Balances

    @property
    def reports(self) -> list[Report]:
        return [one.report for one in self.booked]

    @property
    def rows(self) -> int:
        return sum(len(one.sources) for one in self.booked) + len(self.skipped) + len(self.unreadable)

    @property
    def changes(self) -> dict[str, str]:
        return {asset: f"{amount:f}" for asset, amount in self.balances.changes.items() if amount}


def read(path: Path, content: str | bytes, **stated: Any) -> Found:
    """Write a file and read its only text."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_file(path, **stated)


def read_file(path: Path, **stated: Any) -> Found:
    with ExportFile(path, catalog(), Wanted(NOW, **stated)) as file:
        (text,) = file.texts()
        assert isinstance(text, Text)
        balances = Balances()
        items: list[Any] = []
        facts = []
        for fact in in_order(text.facts):
            if not isinstance(fact, Unreadable):
                balances.add(fact)
            facts.append(fact)
        for moment in moments(facts):
            if isinstance(moment, Unreadable):
                items.append(moment)
                continue
            found = list(
                together(moment.facts, text.reading.assets, text.layout.symbol_form, is_edge=moment.is_edge)
            )  # fmt: skip
            items += [one for one in found if isinstance(one, Unreadable)]
            items += reports(
                [one for one in found if isinstance(one, Together)], Whose("main", "main", text.layout.venue)
            )
    return Found(
        text.layout.name,
        [one for one in items if isinstance(one, Booked)],
        [one for one in items if isinstance(one, Skipped)],
        [one for one in items if isinstance(one, Unreadable)],
        balances,
    )

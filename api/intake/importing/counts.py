"""Counts of an import: what became of every row, by kind, and the first rows of each problem."""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import asdict

from adapters.exchanges.files.balances import Parted
from domain.errors.codes import Code

FINDINGS_MAX = 100


class Finding(Struct, frozen=True):
    """What is wrong with one line of a file, and its code. `file` is that within an archive."""

    line: int
    error: str
    code: Code
    file: str = ""


class LayoutFound(Struct, frozen=True):
    """A text of the file, the layout that recognised it, and how its times and numbers are read."""

    file: str
    layout: str
    venue: str
    columns: list[str]
    columns_not_used: list[str]
    offset_minutes: int
    decimal_sign: str


class BalancesFound(Struct, frozen=True):
    """Balances that the file has beside its rows: how many were compared, and the first one that is another."""

    compared: int
    parted: Parted | None = None


class ImportSummary(Struct):
    """The outcome of a file's rows.

    read = recorded + completed + already_known + conflicting + unreadable + skipped. `broken` of those recorded are
    booked with a break beside them; conflicting and unreadable ones are not booked; skipped ones move nothing.
    `breaks`, `conflicts` and `errors` list the first 100 of each. `seq` is the place in the log that covers all of it.
    """

    source: str
    read: int = 0
    recorded: int = 0
    completed: int = 0
    already_known: int = 0
    conflicting: int = 0
    unreadable: int = 0
    broken: int = 0
    skipped: int = 0
    is_dry_run: bool = False
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    layouts: list[LayoutFound] = field(default_factory=list)
    first_at: datetime | None = None
    last_at: datetime | None = None
    changes: dict[str, Decimal] = field(default_factory=dict)
    balances: list[BalancesFound] = field(default_factory=list)
    breaks: list[Finding] = field(default_factory=list)
    conflicts: list[Finding] = field(default_factory=list)
    errors: list[Finding] = field(default_factory=list)
    seq: int = 0

    def count(self, outcome: str, kind: str, rows: int = 1) -> None:
        """Count rows of a kind that ended in one way."""
        if rows:
            setattr(self, outcome, getattr(self, outcome) + rows)
            of_kind = self.kinds.setdefault(kind, {})
            of_kind[outcome] = of_kind.get(outcome, 0) + rows

    def note(self, findings: list[Finding], finding: Finding) -> None:
        """Keep one of the first findings of a problem."""
        if len(findings) < FINDINGS_MAX:
            findings.append(finding)

    @property
    def settled(self) -> int:
        """How many rows have an outcome."""
        return (
            self.recorded + self.completed + self.already_known + self.conflicting + self.unreadable + self.skipped
        )  # fmt: skip

    def progress(self, bytes_read: int, bytes_total: int) -> "ImportProgress":
        """Return how far the import is."""
        known = asdict(self)
        counts = {name: known[name] for name in ImportProgress.__struct_fields__ if name in known}
        return ImportProgress(**counts, bytes_read=bytes_read, bytes_total=bytes_total)


class ImportProgress(Struct, frozen=True):
    """How far an import is: rows settled so far, and how much of the file has been read."""

    read: int
    recorded: int
    completed: int
    already_known: int
    conflicting: int
    unreadable: int
    skipped: int
    bytes_read: int
    bytes_total: int

    @property
    def fraction(self) -> float:
        """From 0 to 1: the rows that are settled, of an estimate of all rows of the file."""
        settled = (
            self.recorded + self.completed + self.already_known + self.conflicting + self.unreadable + self.skipped
        )  # fmt: skip
        return settled * self.bytes_read / (self.read * self.bytes_total) if self.read and self.bytes_total else 1.0


def ignore(_: ImportProgress) -> None:
    """Ignore progress."""

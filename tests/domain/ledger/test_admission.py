"""Reports whose numbers are too long to be exact spoil themselves alone."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

from adapters.log.memory import MemoryLog
from domain.ledger.admission import each_exact
from domain.ledger.unit_of_work import Aggregates, UnitOfWork

T0 = datetime(2026, 1, 2, tzinfo=UTC)
LARGE = Decimal("9" * 40)


def outcomes(*reports: Decimal) -> list[str]:
    """Products of each with itself, and their running sums, as exact as figures are."""
    work = UnitOfWork(Aggregates(MemoryLog()), T0)

    def admit(_: UnitOfWork, some: Sequence[Decimal]) -> list[str]:
        return [str(total) for total in accumulate(each * each * each for each in some)]

    return each_exact(work, reports, admit, lambda report: "unreadable")


def test_a_report_that_is_too_long_spoils_no_other():
    assert outcomes(Decimal(2), LARGE * 10 + 1, Decimal(3)) == ["8", "unreadable", "35"]
    assert outcomes(Decimal(2), Decimal(3)) == ["8", "35"]


def test_reports_too_long_only_together_are_all_unreadable():
    assert outcomes(LARGE, Decimal("0.1")) == ["unreadable", "unreadable"]

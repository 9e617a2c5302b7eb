"""Reports whose numbers are too long to be exact: each is unreadable, alone.

Arithmetic never rounds (`domain.values.EXACT`); a product of more digits than it computes with is an error instead.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import DecimalException
from typing import TypeVar

from domain.errors import ReportUnreadable
from domain.ledger.unit_of_work import UnitOfWork
from domain.values import PRECISION

TOO_LONG = f"with numbers whose products have at most {PRECISION} digits"

Sent = TypeVar("Sent")
Made = TypeVar("Made")


def too_long(report: object) -> ReportUnreadable:
    """Return the error of a report whose numbers are too long."""
    return ReportUnreadable("report", type(report).__name__, TOO_LONG)


def each_exact(
    work: UnitOfWork,
    reports: Sequence[Sent],
    admit: Callable[[UnitOfWork, Sequence[Sent]], list[Made]],
    failed: Callable[[Sent], Made],
) -> list[Made]:
    """Return what `admit` returns for the reports, and `failed` for those that cannot be computed with."""
    try:
        return admit(work, reports)
    except DecimalException:
        work.drop()
    outcomes = {index: failed(report) for index, report in enumerate(reports)}
    for index, report in enumerate(reports):
        with suppress(DecimalException):
            admit(work, [report])
            del outcomes[index]
        work.drop()
    exact = [index for index in range(len(reports)) if index not in outcomes]
    try:
        outcomes |= dict(zip(exact, admit(work, [reports[index] for index in exact]), strict=True))
    except DecimalException:  # only together
        work.drop()
        outcomes |= {index: failed(reports[index]) for index in exact}
    return [outcomes[index] for index in range(len(reports))]

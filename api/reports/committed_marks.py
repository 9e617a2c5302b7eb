"""Whether the marks that a figure depends on are those of the log: each in its batch, and that in the signed tree."""

from collections.abc import Iterable

from adapters.market.mark_store import KnownBy
from adapters.postgres.connections import reaching
from adapters.verify.mark_check import MarkFinding, check_used
from api.daybook import Daybook
from api.problems import Problem
from domain.marks import MarkOnRecord
from domain.values import Mark


def check_recorded(daybook: Daybook, marks: Iterable[Mark], known: KnownBy | None) -> None:
    """Check marks, as they were found at `known`, against the log.

    Raises Problem for the first that was altered, moved in time or added there. Marks recorded before batches were, and
    not committed yet, are covered by nothing and not checked.
    """
    found = list(marks)
    mark_ids = [mark.mark_id for mark in found if isinstance(mark, MarkOnRecord)]
    others = [mark for mark in found if not isinstance(mark, MarkOnRecord)]
    mark_ids += daybook.market.ids_of(others, known) if others else []
    if not mark_ids:
        return
    checked: set[int] = set()
    with reaching(daybook.url), daybook.history.connection() as connection:
        for used in check_used(connection, sorted(set(mark_ids))):
            if isinstance(used, MarkFinding):
                raise altered(str(used), used.seq)
            if used.seq is None or used.state is None or used.seq in checked:
                continue
            checked.add(used.seq)
            if not daybook.proofs.is_event(used.seq, used.state):
                raise altered(f"the batch recorded as seq {used.seq} is not the one that was sealed", used.seq)


def altered(what: str, seq: int | None) -> Problem:
    """Return the problem of a mark that is not as recorded."""
    detail = f"a mark that the figures depend on is not what was recorded. {what}; run daybook verify"
    return Problem(409, "altered-marks", "Altered marks", detail, seq=seq)

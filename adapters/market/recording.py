"""Recording of marks and funding rates: a batch is stored, then its event is appended, which makes both visible.

If the process is killed between the two, neither is on record, and the same prices can be recorded again.
"""

from collections.abc import Callable, Sequence

from adapters.market.mark_store import FundingRate, MarkStore
from domain.access import UPGRADE, Actor
from domain.ledger import Answer, Command
from domain.marks import BATCH_MARKS_MAX, RecordMarks
from domain.values import Mark

RECORDED_BEFORE = "recorded before"  # their cause


class MarkRecorder:
    """Records prices in a store, and their batches through `carry_out`, which is a writer's."""

    def __init__(self, store: MarkStore, carry_out: Callable[[Command], list[Answer]]) -> None:
        self._store = store
        self._carry_out = carry_out
        self._is_begun = False

    def stage(self, marks: Sequence[Mark]) -> RecordMarks:
        """Store marks for the request that is returned; see `MarkStore.stage`. Earlier prices are committed first."""
        self._commit_earlier_once()
        return self._store.stage(marks)

    def commit_earlier(self, *, actor: Actor = UPGRADE) -> int:
        """Commit the prices that were recorded before batches were to the log, as they are. Return how many.

        Raises ClockInDoubt, NotLeading, Unavailable.
        """
        added = 0
        with self._store.committing_earlier():
            while (request := self._store.stage_earlier()).batches:
                added += self._commit(request, Command(request, actor, cause=RECORDED_BEFORE))
        return added

    def _commit_earlier_once(self) -> None:
        if not self._is_begun:
            self.commit_earlier()
            self._is_begun = True

    def record(
        self, marks: Sequence[Mark], *, actor: Actor, request_id: str = "", cause: str = "", is_new_only: bool = False
    ) -> int:
        """Record marks, in batches. Return how many. With `is_new_only`, skip marks on record with equal values.

        Raises InvalidInput for an invalid mark, ClockInDoubt, NotLeading, Unavailable.
        """
        self._commit_earlier_once()
        added = 0
        for at in range(0, len(marks), BATCH_MARKS_MAX):
            part = marks[at : at + BATCH_MARKS_MAX]
            request = self._store.stage(part, is_new_only=is_new_only)
            added += self._commit(request, Command(request, actor, request_id, cause))
            self._store.remember(part)
        return added

    def record_rates(self, rates: Sequence[FundingRate], *, actor: Actor, request_id: str = "") -> int:
        """Record funding rates like `record`, skipping those on record with equal values. Return how many."""
        self._commit_earlier_once()
        added = 0
        for at in range(0, len(rates), BATCH_MARKS_MAX):
            request = self._store.stage_rates(rates[at : at + BATCH_MARKS_MAX])
            added += self._commit(request, Command(request, actor, request_id))
        return added

    def _commit(self, request: RecordMarks, command: Command) -> int:
        if not request.batches:
            return 0
        for answer in self._carry_out(command):
            if answer.error is not None:
                raise answer.error
        return sum(batch.count for batch in request.batches)

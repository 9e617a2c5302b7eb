"""Proofs of events that may not be sealed yet: waits for the checkpoint, as long as a query may wait."""

import time
from collections.abc import Callable
from typing import TypeVar

from adapters.postgres.connections import reaching
from adapters.proof.checkpoints import Note
from adapters.proof.proofs import NotSealed, Proofs
from api.daybook import Daybook
from api.problems import Problem, not_found
from domain.errors import InvalidInput

POLL_SECONDS = 0.02

T = TypeVar("T")


def newest_note(daybook: Daybook, *, is_cosigned: bool) -> tuple[Note, str]:
    """Return the newest checkpoint and its text with cosignatures. Raises Problem if there is none."""
    with reaching(daybook.url):
        found = daybook.proofs.latest_cosigned(daybook.witness_policy if is_cosigned else None, is_required=is_cosigned)
    if found is None:
        raise not_found("a cosigned checkpoint" if is_cosigned else "a checkpoint")
    return found


def sealed(daybook: Daybook, field: str, prove: Callable[[Proofs], T]) -> T:
    """Return a proof once a checkpoint covers its events. Raises Problem if none does in time, InvalidInput."""
    deadline = time.monotonic() + daybook.settings.wait_seconds_max
    while True:
        try:
            with reaching(daybook.url):
                return prove(daybook.proofs)
        except NotSealed as error:
            if error.wanted > (head := daybook.history.head().seq):
                raise InvalidInput(field, error.wanted, f"a place in the log, which ends at {head}") from error
            if time.monotonic() >= deadline:
                raise Problem(503, "behind", "Not sealed yet", str(error), headers={"Retry-After": "1"}) from error
        time.sleep(POLL_SECONDS)

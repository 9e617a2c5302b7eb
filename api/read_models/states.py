"""States of streams as of a place in the log, folded from their events where they have changed since."""

from typing import Any

from adapters.log.queries import streams_after, version_at
from api.daybook import Daybook
from domain.ledger import AGGREGATES, pages
from domain.order.parent import ParentOrder

PARENTS = "parentorder:"


class StatesAt:
    """The states of streams as of a place in the log."""

    def __init__(self, daybook: Daybook, seq: int) -> None:
        self._daybook = daybook
        self._seq = seq
        self._known: dict[str, Any] = {}

    def state(self, stream: str) -> Any:
        """The state of a stream; None if it was empty."""
        if stream not in self._known:
            self._known[stream] = self._read(stream)
        return self._known[stream]

    def _read(self, stream: str) -> Any:
        history = self._daybook.history
        known = self._daybook.state(stream)
        version = version_at(history, stream, self._seq)
        if version == version_at(history, stream, None):
            return known
        evolve, state = AGGREGATES[stream.partition(":")[0]].evolve, None
        for page in pages(history, stream):
            for recorded in page:
                if recorded.version > version:
                    return state
                state = evolve(state, recorded.event)
        return state


def parents_at(
    daybook: Daybook, seq: int, account_id: str | None, *, after: str | None = None, limit: int
) -> list[ParentOrder]:
    """Return the first parent orders of one account or of all, by account and id, as of a place in the log.

    `after` is the id of the last one before, in one account.
    """
    states, prefix = StatesAt(daybook, seq), f"{PARENTS}{account_id}:" if account_id else PARENTS
    place = f"{prefix}{after}" if after and account_id else prefix
    found: list[ParentOrder] = []
    while len(found) < limit and (streams := streams_after(daybook.history, prefix, place, limit)):
        place = streams[-1]
        found += [state for state in map(states.state, streams) if state is not None]
    return found[:limit]

"""Process managers: what one is, and what it causes.

A process manager is a `Process`: a name, a version, the events that it reads, a state, and pure functions over it.

`react(state, logged)` reads one event and returns the state after it, and the requests that the event causes. The same
log causes the same requests under the same ids, whenever it is read.
`due(state, now)` does the same for time that has passed while nothing was recorded. It is called with the ledger's
clock, after the last event of the log was read, and again at `next_due(state)`: None while nothing is to come.

A follower keeps the state with its place in the log (`projections.reactions`), so a state is a frozen struct of types
that MessagePack holds, and as large as what is open, not as what has happened. Change the shape of a state or the
meaning of an event to it, and `version` must rise: the state is folded again from the log, and sends nothing that was
due before. To add one: a module here with a `PROCESS`, and its entry in `domain.reactions.catalog`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from domain.access import Part
from domain.ledger import Logged, Report, Request
from domain.policies import Policy

S = TypeVar("S")


class Reaction(Struct, frozen=True):
    """A request, or venue reports, that a policy makes, under an id that is the same whenever the reason is.

    `cause` names what it follows from: `event:17`, or `timer`. `is_once` is False where to repeat it changes nothing,
    as with monitoring; all others are carried out once under their id, and never again.
    """

    policy: Policy
    request: Request | tuple[Report, ...]
    request_id: str
    cause: str
    is_once: bool = True

    @property
    def actor(self) -> str:
        """The actor of the request."""
        return f"policy:{self.policy}"

    @property
    def identity(self) -> Part:
        """The identity that the request is recorded under."""
        return Part(self.actor)


Reactions = tuple[Reaction, ...]
# Carries out requests, each with `is_once` at most once under its id; returns for each why it was refused, or None.
Send = Callable[[Sequence[Reaction]], list[str | None]]


def cause_of(seq: int) -> str:
    """The cause of what follows from an event of the log."""
    return f"event:{seq}"


def nothing_due(state: Any, now: datetime) -> tuple[Any, Reactions]:
    """Return that nothing is due."""
    return state, ()


def never(state: Any) -> None:
    """Return that nothing will be due."""


class Process(NamedTuple):
    """A process manager. `state` is the type of its state, whose defaults are the state before the first event."""

    name: str
    version: int
    reads: frozenset[type]
    state: type
    react: Callable[[Any, Logged], tuple[Any, Reactions]]
    due: Callable[[Any, datetime], tuple[Any, Reactions]] = nothing_due
    next_due: Callable[[Any], datetime | None] = never

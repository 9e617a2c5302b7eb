"""Given / when | reported / then, on events only, for any aggregate module of the domain.

    after = Given(order)

    after(submitted).when(cancel).then(cancel_requested)
    after(submitted, canceled).reported(filled).then(filled, broken)
    after(submitted, filled).when(cancel).refused("an open order", status="FILLED")
    after().when(submit).then(submitted).repeated().then()

What `decide` and `admit` take besides state and command follows the command: `after().reported(fill, contract)`.
`then` and `refused` give back a scene whose history has grown, so a story can go on. Every event that comes out is
also written and read back through `domain.ledger.schema`, so that no event can be forgotten there.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import reduce
from types import ModuleType
from typing import Any

from domain.errors import RequestRefused
from domain.ledger import Recorded, schema

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Given:
    """The start of every sentence about one aggregate module."""

    def __init__(self, aggregate: ModuleType) -> None:
        self.aggregate = aggregate

    def __call__(self, *events: Any) -> "Scene":
        return Scene(self.aggregate, events)


class Scene:
    """An aggregate with a history."""

    def __init__(
        self, aggregate: ModuleType, events: tuple[Any, ...], last: Callable[["Scene"], "Outcome"] | None = None
    ) -> None:
        self.aggregate = aggregate
        self.events = events
        self._last = last

    @property
    def state(self) -> Any:
        """What the history folds to; None if there is none."""
        return reduce(self.aggregate.evolve, self.events, None)

    def when(self, request: Any, *facts: Any) -> "Outcome":
        """A request is made: `decide`."""
        return self._carry_out(lambda scene: Outcome(scene, scene.aggregate.decide, request, facts))

    def reported(self, report: Any, *facts: Any) -> "Outcome":
        """A venue reports that it has happened: `admit`."""
        return self._carry_out(lambda scene: Outcome(scene, scene.aggregate.admit, report, facts))

    def repeated(self) -> "Outcome":
        """The last request or report, once more."""
        assert self._last is not None, "nothing was requested or reported yet"
        return self._carry_out(self._last)

    def _carry_out(self, step: Callable[["Scene"], "Outcome"]) -> "Outcome":
        outcome = step(self)
        outcome.step = step
        return outcome


class Outcome:
    """What a command led to: events, or a refusal."""

    step: Callable[[Scene], "Outcome"]

    def __init__(self, scene: Scene, rule: Callable[..., tuple[Any, ...]], command: Any, facts: tuple[Any, ...]):
        self.scene = scene
        self.command = command
        self.events: tuple[Any, ...] = ()
        self.refusal: RequestRefused | None = None
        try:
            self.events = tuple(rule(scene.state, command, *facts))
        except RequestRefused as refusal:
            self.refusal = refusal
        for event in self.events:
            _check_stored(event)

    def then(self, *events: Any) -> Scene:
        """Exactly these events came out, in this order."""
        assert self.refusal is None, f"{self.command} was {self.refusal}"
        assert self.events == events, f"{self.command} gave\n  {_lines(self.events)}\nand not\n  {_lines(events)}"
        return self._grown()

    def then_some(self, *event_classes: type) -> Scene:
        """Events of exactly these classes came out, in this order."""
        assert self.refusal is None, f"{self.command} was {self.refusal}"
        assert tuple(type(event) for event in self.events) == event_classes, f"{self.command} gave {self.events}"
        return self._grown()

    def refused(self, rule: str, **facts: Any) -> Scene:
        """It was refused by this rule, and the refusal names at least these facts."""
        assert self.refusal is not None, f"{self.command} was not refused but gave\n  {_lines(self.events)}"
        assert self.refusal.rule == rule, f"refused by {self.refusal.rule!r} and not by {rule!r}"
        shown = {name: self.refusal.facts.get(name) for name in facts}
        assert shown == facts, f"the refusal names {self.refusal.facts} and not {facts}"
        return self._grown()

    def _grown(self) -> Scene:
        return Scene(self.scene.aggregate, self.scene.events + self.events, self.step)


def _check_stored(event: Any) -> None:
    recorded = Recorded("stream:id", 1, AT, "tester", "", event)
    assert schema.decode(schema.topic_of(event), schema.encode(recorded)) == recorded


def _lines(events: tuple[Any, ...]) -> str:
    return "\n  ".join(map(str, events)) or "nothing"

"""Groups of options that commands take alike: a command names a group as one parameter, and `spread` takes it apart.

What comes in one place and means one thing is written down once: its options, their order, defaults and help.
"""

import functools
from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, NamedTuple

from api.asked import Moment, Where, moment_of
from api.cli_parts import AnyAccount, AnyInstrument, AnyStrategy, AsOf, KnownAt


class Which(NamedTuple):
    """Which positions."""

    account: AnyAccount = None
    strategy: AnyStrategy = None
    instrument: AnyInstrument = None

    @property
    def where(self) -> Where:
        """The same, as it is asked for."""
        return Where(*self)


class When(NamedTuple):
    """Which moment the book is read as of."""

    as_of: AsOf = None
    known_at: KnownAt = None

    @property
    def moment(self) -> Moment | None:
        """The moment the two name; None for now. Raises ReportUnreadable."""
        return moment_of(*self)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are groups (named tuples of options) have become the options, in their place."""
    groups: dict[str, Any] = {}
    options: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        if hasattr(parameter.annotation, "_fields"):
            groups[parameter.name] = parameter.annotation
            options += signature(parameter.annotation).parameters.values()
        else:
            options.append(parameter)

    @functools.wraps(command)
    def called(**given: Any) -> None:
        gathered = {name: group(*map(given.pop, group._fields)) for name, group in groups.items()}
        command(**gathered, **given)

    called.__signature__ = signature(command).replace(  # type: ignore[attr-defined]
        parameters=[option.replace(kind=Parameter.KEYWORD_ONLY) for option in options]
    )
    return called

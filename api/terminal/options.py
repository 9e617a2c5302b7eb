"""What commands share: the open Daybook, the acting user, and options parsed by the rules of the domain."""

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer
from typer.exceptions import TyperException

from adapters.os_account import os_account
from api.clock import now
from api.parameters import NOW, Format, Moment, Where, given_mark, moment_of, place_of
from api.problems import field_errors
from api.terminal import startup
from api.terminal.output import note, progress_bar
from domain import values
from domain.access import OsAccount
from domain.errors import InvalidInput, LedgerError
from domain.values import Mark, PositionSide

if TYPE_CHECKING:
    from api.daybook import Daybook
    from api.read_models.snapshot import Reading
    from api.settings import Settings

WAIT_SECONDS_MAX = 30.0
_claimed = ""
REBUILD_POLL_SECONDS = 0.5
BAR_SECONDS = 2.0
NOTE_SECONDS = 5.0

T = TypeVar("T")


def environment() -> "Settings":
    """Return the settings in the environment. An invalid one is a usage error."""
    from pydantic import ValidationError

    from api.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        wrong = field_errors(error.errors(include_url=False))[0]
        raise TyperException(
            f"DAYBOOK_{wrong['field'].upper()}{wrong['message'].removeprefix(wrong['field'])}"
        ) from error


@contextmanager
def opened(settings: "Settings | None" = None) -> Iterator["Daybook"]:
    """Open the Daybook of the environment. At the end, events recorded meanwhile are sealed, unless a service does."""
    from api.daybook import Daybook

    with Daybook.open(settings or environment()) as daybook:
        startup.end()
        head = daybook.log.head().seq
        ended: typer.Exit | None = None
        try:
            yield daybook
        except typer.Exit as exit_:  # the command has done what it could
            ended = exit_
        if daybook.log.head().seq > head:
            try:
                daybook.seal()
            except LedgerError as error:
                note(f"Recorded, but not sealed yet: {error}")
        if ended is not None:
            raise ended


@contextmanager
def read(daybook: "Daybook", *names: str, moment: Moment | None = None) -> Iterator["Reading"]:
    """Read models as of a moment, or caught up with the whole log."""
    from api.read_models.snapshot import reading

    head = _brought_forward(daybook, names, moment)
    with reading(daybook, *names, min_seq=head, moment=moment, wait_seconds_max=WAIT_SECONDS_MAX) as at:
        yield at


def _brought_forward(daybook: "Daybook", names: tuple[str, ...], moment: Moment | None) -> int:
    """Bring read models forward to a past moment, or the log's end, however long it takes; return the seq reached.

    A process that follows does it, else this one. One that an error has stopped is not waited for.
    """
    from projections.runner.rebuild import RebuildUnderWay

    head = daybook.log.head().seq
    wanted = head if moment is None or moment.seq is None else min(moment.seq, head)
    before: list[int] | None = None
    with _noting_progress() as on_progress:
        while True:
            standing = [one for one in daybook.runner.status() if one.projection in names]
            seqs = [wanted if one.error else one.seq for one in standing]
            if min(seqs, default=wanted) >= wanted and daybook.runner.is_built():
                return wanted
            if seqs == before:
                return wanted  # nothing moves them: the reading says why
            try:
                daybook.runner.catch_up(on_progress)
                before = seqs
            except RebuildUnderWay:
                on_progress(min(seqs, default=0), wanted)
                time.sleep(REBUILD_POLL_SECONDS)


@contextmanager
def _noting_progress() -> Iterator[Callable[[float, float], None]]:
    """Show progress on stderr once it takes a while: a bar at a terminal, else a line now and then."""
    due_at = time.monotonic() + BAR_SECONDS
    on_bar: Callable[[float, float], None] | None = None
    with ExitStack() as stack:

        def on_progress(done: float, of: float) -> None:
            nonlocal due_at, on_bar
            if on_bar is not None:
                on_bar(done, of)
            elif time.monotonic() >= due_at:
                if sys.stderr.isatty():
                    on_bar = stack.enter_context(progress_bar("bringing read models forward", is_quiet=False))
                else:
                    due_at = time.monotonic() + NOTE_SECONDS
                    note(f"Bringing read models forward: seq {done:,.0f} of {of:,.0f}")

        yield on_progress


def actor() -> OsAccount:
    """Return who runs the command: the account of the operating system, and the names claimed beside it."""
    return os_account(os.environ, claimed=_claimed)


def claim_name(name: str) -> None:
    """Set the name that `--actor` claims for this command."""
    global _claimed  # noqa: PLW0603 (one command line a process)
    _claimed = name


def by(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Turn a parser of the domain into that of an option."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except InvalidInput as error:
            raise typer.BadParameter(f"{error.value!r} is not {error.rule}") from error

    return parsed


def _as_of(text: str) -> Moment:
    moment = place_of(text, "as-of", now())
    if moment == NOW:
        raise InvalidInput("as-of", text, "a past moment; leave it out for the present")
    return moment


def _known_at(text: str) -> Moment:
    return place_of(text, "known-at", now())


MOMENT = by(_as_of)

AccountId = Annotated[str, typer.Option("--account", parser=by(lambda t: values.name(t, "account")), metavar="ID")]
AnyAccount = Annotated[
    str | None,
    typer.Option("--account", parser=by(lambda t: values.name(t, "account")), metavar="ID", help="Only this account."),
]
Strategy = Annotated[str, typer.Option("--strategy", parser=by(lambda t: values.name(t, "strategy")), metavar="ID")]
AnyStrategy = Annotated[
    str | None,
    typer.Option(
        "--strategy", parser=by(lambda t: values.name(t, "strategy")), metavar="ID", help="Only this strategy."
    ),
]
InstrumentId = Annotated[
    str,
    typer.Option(
        "--instrument", parser=by(lambda t: values.instrument_id(t, "instrument")), metavar="SYMBOL.VENUE",
    ),
]  # fmt: skip
AnyInstrument = Annotated[
    str | None,
    typer.Option(
        "--instrument", parser=by(lambda t: values.instrument_id(t, "instrument")), metavar="SYMBOL.VENUE",
        help="Only this instrument.",
    ),
]  # fmt: skip
AnyLeg = Annotated[
    PositionSide | None,
    typer.Option("--position-side", help="Only this leg of hedge mode: LONG or SHORT; BOTH of one-way positions."),
]
AsOf = Annotated[
    Moment | None,
    typer.Option(
        "--as-of", parser=by(_as_of), metavar="SEQ|TIME",
        help="As recorded at a past moment: a time in UTC, or a seq of the log. The events of one append, such as those"
        " of a fill, share one recorded_at; by seq, name the last of them to include them all.",
    ),
]  # fmt: skip
KnownAt = Annotated[
    Moment | None,
    typer.Option(
        "--known-at", parser=by(_known_at), metavar="SEQ|TIME|now",
        help="With --as-of TIME: what had happened by that time, as known at this moment, or now.",
    ),
]  # fmt: skip
Marks = Annotated[
    list[Mark] | None,
    typer.Option(
        "--mark", parser=by(given_mark), metavar="INSTRUMENT=PRICE",
        help="Value at this price instead of the newest known mark; may be repeated.",
    ),
]  # fmt: skip


def format_option(help_: str, *known: Format) -> Any:
    """Return the option `--format` of a report with these formats."""

    def parsed(text: str) -> Format:
        if text not in known:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, map(str, known)))}")
        return Format(text)

    return typer.Option("--format", parser=parsed, metavar=f"<{'|'.join(known)}>", help=help_)


def number_option(text: str) -> Decimal:
    """Parse a decimal."""
    return by(lambda t: values.number(t, "number"))(text)


def positive_option(text: str) -> Decimal:
    """Parse a decimal above zero."""
    return by(lambda t: values.positive(t, "number"))(text)


def currency_option(text: str) -> str:
    """Parse a currency or asset code."""
    return by(lambda t: values.currency(t, "currency"))(text)


def venue_option(text: str) -> str:
    """Parse our code of a venue."""
    return by(lambda t: values.venue(t, "venue"))(text)


def moment_option(text: str) -> Moment:
    """Parse a past moment."""
    return MOMENT(text)


def time_option(text: str) -> datetime:
    """Parse a time in UTC, also a future one."""
    return by(lambda t: values.time(t, "time"))(text)


def name_option(text: str) -> str:
    """Parse an id."""
    return by(lambda t: values.name(t, "id"))(text)


def plain_name_option(text: str) -> str:
    """Parse the id of a person or a key: ASCII only."""
    return by(lambda t: values.plain_name(t, "id"))(text)


def instrument_option(text: str) -> str:
    """Parse an instrument id."""
    return by(lambda t: values.instrument_id(t, "instrument"))(text)


class Which(NamedTuple):
    """The options that select positions."""

    account: AnyAccount = None
    strategy: AnyStrategy = None
    instrument: AnyInstrument = None
    position_side: AnyLeg = None

    @property
    def where(self) -> Where:
        """The positions selected."""
        return Where(*self)


class When(NamedTuple):
    """The options that select a past moment."""

    as_of: AsOf = None
    known_at: KnownAt = None

    @property
    def moment(self) -> Moment | None:
        """The moment that both options select; None for now. Raises InvalidInput."""
        return moment_of(*self)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameters that are groups (named tuples of options) by the options, in their place."""
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

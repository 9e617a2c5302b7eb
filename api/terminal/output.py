"""Output: tables for people, JSON and CSV for programs, one sentence for an error.

Numbers are exact in every format; only tables group thousands. A table too wide for the terminal leaves out its least
important columns and names them. Colour appears on a terminal only, and never under NO_COLOR.
"""

import json as jsonlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from api.encoding import age_text, grouped, plain, time_text
from api.problems import problem_of
from domain.errors import Unavailable, UpgradeNeeded
from domain.reasons.codes import Code

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_UNAVAILABLE = 4
EXIT_NOT_SHOWN = 5  # all that is there is proved, and whether something is missing is not shown
EXIT_UPGRADE = 6
PIPE_WIDTH = 500
# What moves a terminal's cursor, sets its title or reverses its text, and half characters, which no stream encodes.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NONE = "-"


class Kind(StrEnum):
    """What a column holds, which decides how it is shown."""

    TEXT = "text"
    NUMBER = "number"
    PNL = "pnl"  # a number that is good above zero and bad below
    TIME = "time"
    AGE = "age"  # in milliseconds


class Column(NamedTuple):
    """A column of a table; the higher its `rank`, the sooner it is left out on a narrow terminal."""

    name: str
    title: str
    kind: Kind = Kind.TEXT
    rank: int = 0


Json = Annotated[bool, typer.Option("--json", help="Write JSON, including errors.")]


def console(*, is_error: bool = False) -> "Console":
    """Return the terminal's console; piped output is not wrapped."""
    from rich.console import Console

    stream = sys.stderr if is_error else sys.stdout
    return Console(stderr=is_error, width=None if stream.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False)


def printable(text: str) -> str:
    """Return text with its control characters written out, so that none that a stranger wrote reaches a terminal."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(sentence: str) -> None:
    """Write a line for people to stdout."""
    console().print(printable(sentence), markup=False, soft_wrap=True)


def note(sentence: str) -> None:
    """Write a remark to stderr, so that a program reading stdout never gets it."""
    console(is_error=True).print(printable(sentence), markup=False, soft_wrap=True, style="dim")


def warn(sentence: str) -> None:
    """Write a warning to stderr: the command goes on, and its result may not be what it seems."""
    console(is_error=True).print(printable(f"warning: {sentence}"), markup=False, soft_wrap=True, style="bold yellow")


def write_json(value: Any) -> None:
    """Write indented JSON to stdout."""
    sys.stdout.write(_json(value, indent=2) + "\n")


def _json(value: Any, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    text = jsonlib.dumps(plain(value), indent=indent, separators=separators, ensure_ascii=False)
    return text.encode(errors="backslashreplace").decode()  # half characters, of a file's name, become escapes


def write_table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, empty: str) -> None:
    """Write rows as a table, or the sentence `empty` if there are none."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    out = console()
    if not rows:
        say(empty)
        return
    shown, hidden = _fitting(rows, columns, out.width)
    out.print(Text(title, style="bold"))
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in shown:
        is_number = column.kind in (Kind.NUMBER, Kind.PNL, Kind.AGE)
        table.add_column(column.title, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(_styled(row.get(column.name), column.kind) for column in shown))
    out.print(table)
    out.print()
    if hidden:
        note(f"not shown on this narrow terminal: {', '.join(column.title for column in hidden)} (use --json)")


@contextmanager
def progress_bar(task: str, *, is_quiet: bool) -> Iterator[Callable[[float, float], None]]:
    """Show a progress bar on stderr, if it is a terminal. Yields a function of how much is done, and of how much."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    err = console(is_error=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=is_quiet or not err.is_terminal) as bar:
        shown = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(shown, completed=done, total=total)


def _fitting(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int
) -> tuple[list[Column], list[Column]]:
    widths = {
        column.name: max(len(column.title), *(len(_shown(row.get(column.name), column.kind)) for row in rows))
        for column in columns
    }
    shown = [column for column in columns if column.rank < 9 or any(row.get(column.name) for row in rows)]
    hidden: list[Column] = []
    while sum(widths[column.name] + 3 for column in shown) - 3 > width and any(column.rank for column in shown):
        least = max(shown, key=lambda column: column.rank)
        shown.remove(least)
        hidden.append(least)
    return shown, hidden


def _shown(value: Any, kind: Kind = Kind.TEXT) -> str:
    match value:
        case None:
            return NONE
        case int() if kind is Kind.AGE:
            return age_text(value)
        case Decimal():
            return grouped(value)
        case datetime():
            return time_text(value).replace("T", " ").removesuffix("Z")
        case Mapping():
            return ", ".join(f"{_shown(amount)} {_shown(name)}" for name, amount in value.items()) or NONE
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_shown, value))
        case _:
            return printable(str(value))


def _styled(value: Any, kind: Kind) -> "Text":
    from rich.text import Text

    style = ""
    if kind is Kind.PNL and isinstance(value, Decimal) and value:
        style = "green" if value > 0 else "red"
    return Text(_shown(value, kind), style=style)


def fail(error: Exception, *, is_json: bool) -> int:
    """Write an error to stderr; return the exit code."""
    problem = problem_of(error)
    code = problem.code
    is_named = code in problem.detail or code in (Code.UNREADABLE, Code.USAGE, Code.REFUSED, Code.HTTP, Code.INTERNAL)
    detail = printable(problem.detail if is_named else f"{problem.detail} [{code}]")
    if is_json:
        sys.stderr.write(_json(problem.body()) + "\n")
    elif not sys.stderr.isatty():
        sys.stderr.write(f"error: {detail}\n")
    else:
        from rich.text import Text

        console(is_error=True).print(Text.assemble(("error: ", "bold red"), detail), soft_wrap=True)
    match error:
        case UpgradeNeeded():
            return EXIT_UPGRADE
        case Unavailable():
            return EXIT_UNAVAILABLE
    return EXIT_REFUSED

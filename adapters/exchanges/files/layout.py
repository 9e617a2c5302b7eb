"""Layouts: the columns of a venue's file, and how a row of it is read. The language that layouts are written in.

A layout names its columns in words of its own (`time`, `qty`) with the headers that venues give them. Headers are
compared in small letters, with blanks for underscores, and without a zone in brackets, which is kept as the zone of
the column's times. One that begins with `^` is a pattern.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeVar

from msgspec import Struct

from adapters.exchanges import Unreadable
from adapters.exchanges.files import numbers
from adapters.exchanges.files.assets import Assets, Split
from adapters.exchanges.files.facts import Fact, Source
from adapters.exchanges.files.json_texts import Item
from adapters.exchanges.files.numbers import Style
from adapters.exchanges.files.records import Lines
from adapters.exchanges.files.times import UTC_CLOCK, Clock, DateOrder, instant, stated_offset
from domain import names, values
from domain.errors import InvalidInput, ReportUnreadable
from domain.instrument import Contract
from domain.values import ZERO, Instant, Liquidity, Money, Side

_ZONE = re.compile(r"\s*\((?:utc|gmt)[^)]*\)", re.IGNORECASE)
_BLANKS = re.compile(r"[\s_\u00a0]+")
SIDES = {
    "buy": Side.BUY, "b": Side.BUY, "bid": Side.BUY, "bought": Side.BUY, "long": Side.BUY, "open long": Side.BUY,
    "close short": Side.BUY, "open buy": Side.BUY, "close buy": Side.BUY, "1": Side.BUY,
    "sell": Side.SELL, "s": Side.SELL, "sold": Side.SELL, "short": Side.SELL, "open short": Side.SELL,
    "close long": Side.SELL, "open sell": Side.SELL, "close sell": Side.SELL, "2": Side.SELL,
}  # fmt: skip
LIQUIDITIES = {"maker": Liquidity.MAKER, "m": Liquidity.MAKER, "taker": Liquidity.TAKER, "t": Liquidity.TAKER}
FAILED = re.compile(
    r"not |cancel|fail|reject|declin|pending|processing|expired|refund|in progress|open|new|created|error",
    re.IGNORECASE,
)


Known = TypeVar("Known")


def normal(header: str) -> str:
    """Return a header as it is compared: small, without marks, zones in brackets and double blanks."""
    text = _ZONE.sub("", header.replace("\ufeff", "").strip().strip('"'))
    return _BLANKS.sub(" ", text).strip().casefold()


class Reading(NamedTuple):
    """How one file is read: what is decided for the whole of it, and what is known beside it.

    `origin` are the lines above the header and the names of the text and its file.
    """

    layout: "Layout"
    columns: Mapping[str, int]
    assets: Assets
    now: datetime
    clock: Clock = UTC_CLOCK
    style: Style = Style.POINT
    headers: Sequence[str] = ()
    origin: str = ""


class Row:
    """One row, by the layout's names of its columns."""

    __slots__ = ("_columns", "_fields", "_instant", "line", "raw", "reading")

    def __init__(self, reading: Reading, fields: Sequence[str], line: int, raw: str) -> None:
        self.reading = reading
        self._columns = reading.columns
        self._fields = fields
        self._instant: Instant | None = None
        self.line = line
        self.raw = raw

    def text(self, name: str) -> str:
        """Return a cell without blanks around it; "" where the file has no such column."""
        at = self._columns.get(name)
        return "" if at is None else self._fields[at].strip()

    def has(self, name: str) -> bool:
        """Whether a cell has a value."""
        return not numbers.is_absent(self.text(name))

    def number(self, name: str) -> Decimal:
        """Return a number. Raises InvalidInput."""
        return numbers.number(self.text(name), name, self.reading.style)

    def parsed(self, text: str, name: str) -> Decimal:
        """Return a number of a text that is part of a cell. Raises InvalidInput."""
        return numbers.number(text, name, self.reading.style)

    def positive(self, name: str) -> Decimal:
        """Return a number above zero. Raises InvalidInput."""
        found = self.number(name)
        if found <= 0:
            raise InvalidInput(name, self.text(name), "above zero")
        return found

    def amount(self, name: str) -> Decimal:
        """Return a number, 0 where the cell is empty. Raises InvalidInput."""
        return self.number(name) if self.has(name) else ZERO

    def maybe(self, name: str) -> Decimal | None:
        """Return a number, None where the cell is empty. Raises InvalidInput."""
        return self.number(name) if self.has(name) else None

    @property
    def at(self) -> Instant:
        """The row's time. Raises InvalidInput."""
        if self._instant is None:
            text = self.text("time")
            if self.text("date"):
                text = f"{self.text('date').split()[0]} {(text.split() or [''])[-1]}"
            self._instant = instant(text, "time", self.reading.clock, now=self.reading.now)
        return self._instant

    @property
    def source(self) -> Source:
        """The row as the source of a fact. Raises InvalidInput."""
        at = self.at
        return Source(self.line, self.raw, at.at, at.nanos)

    def side(self, name: str = "side") -> Side:
        """Return the side. Raises InvalidInput."""
        return self.one_of(name, SIDES, "buy or sell")

    def liquidity(self, name: str = "liquidity") -> Liquidity:
        """Return who was in the book first; unknown where the file does not say."""
        return LIQUIDITIES.get(self.text(name).casefold(), Liquidity.UNKNOWN)

    def one_of(self, name: str, words: Mapping[str, Known], rule: str = "") -> Known:
        """Return what a word means. Raises InvalidInput."""
        text = self.text(name)
        found = words.get(_BLANKS.sub(" ", text).casefold())
        if found is None:
            raise ReportUnreadable(name, text, rule or " or ".join(words))
        return found

    def asset(self, name: str) -> str:
        """Return an asset by the name it has in the book. Raises InvalidInput."""
        return self.reading.assets.named(names.currency(self.text(name), name))

    def spot(self, pair: str, *, base: str = "", quote: str = "") -> Contract:
        """Return the contract of a spot pair. Raises ReportUnreadable where its assets are not clear."""
        return self.reading.assets.spot(pair, base=base, quote=quote)

    def cells(self) -> Iterator[tuple[str, str]]:
        """Yield the header and the text of every cell, for files that have columns by asset."""
        for header, text in zip(self.reading.headers, self._fields, strict=True):
            yield header.strip(), text

    def header(self, name: str) -> str:
        """Return the header of a column as the file has it."""
        at = self._columns.get(name)
        return self.reading.headers[at] if at is not None and at < len(self.reading.headers) else ""

    def money(self, amount: Decimal, asset: str) -> Money:
        """Return an amount of an asset."""
        return Money(values.exact(amount), asset)


Read = Callable[[Row], Sequence[Fact]]


def no_facts(_: Row) -> Sequence[Fact]:
    """Return nothing: the reading of rows by a layout that has none."""
    return ()


class Layout(Struct, frozen=True, kw_only=True):
    """A file layout of a venue.

    `columns` are needed, `others` may be missing; each is its name here, and the headers it has. `ignored` are columns
    that say nothing that is booked. A row whose `status` is that of something that did not happen is left out. `click`
    is where to get the file, `gives` what is taken from it. A layout of JSON has the `keys` of its objects and
    `read_item` instead of columns; one of a log what its texts begin with, and `read_lines`.
    """

    name: str
    venue: str
    columns: dict[str, tuple[str, ...]] = {}
    read: Read = no_facts
    others: dict[str, tuple[str, ...]] = {}
    ignored: tuple[str, ...] = ()
    order: DateOrder | None = None
    click: str = ""
    gives: str = ""
    is_strict: bool = False
    is_venue: bool = True  # else of a program, or of several venues
    aliases: dict[str, str] = {}
    quotes: tuple[str, ...] = ()
    symbol_form: str = "{base}{quote}"
    split: Split | None = None
    strip: str = ""
    needs: Callable[["Match"], bool] | None = None
    status: str = "status"
    keys: tuple[str, ...] = ()
    begins: bytes = b""
    read_lines: "Callable[[Lines, Reading], Iterator[Fact | Unreadable]] | None" = None
    read_item: Callable[[Item], Sequence[Fact]] | None = None

    @property
    def header(self) -> tuple[str, ...]:
        """The headers that are needed, by their first names."""
        return tuple(names_[0] for names_ in self.columns.values())


class Match(NamedTuple):
    """A header that a layout recognised: where each column is, the zone stated in it, and columns not known."""

    layout: Layout
    columns: dict[str, int]
    headers: tuple[str, ...]
    unknown: tuple[str, ...]
    offset: object = None


def numbered(headers: Sequence[str]) -> list[str]:
    """Return headers as they are compared; the second of a name is `name 2`."""
    seen: dict[str, int] = {}
    found = []
    for header in headers:
        name = normal(header)
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found


class Catalog:
    """Layouts, prepared so that one is recognised by a header."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self.every = tuple(layouts)
        self.layouts = tuple(layout for layout in layouts if layout.columns)
        self._exact = [_exact(layout) for layout in self.layouts]
        self._patterns = [_patterns(layout) for layout in self.layouts]
        self._needed = [frozenset(layout.columns) for layout in self.layouts]
        self._ignored = [frozenset(map(normal, layout.ignored)) for layout in self.layouts]
        self.words = frozenset(word for exact in self._exact for word in exact)

    def match(self, headers: Sequence[str]) -> Match | None:
        """Return the layout that knows most of a header whose needed columns are all there; None if there is none."""
        written = numbered(headers)
        if not written or len(self.words.intersection(written)) < 2:
            return None
        best: tuple[int, int, Match] | None = None
        for at in range(len(self.layouts)):
            found = self._match(at, headers, written)
            if found is None:
                continue
            score = (len(found.columns), -len(found.unknown))
            if best is None or score > best[:2]:
                best = (*score, found)
        return best[2] if best is not None else None

    def _match(self, at: int, headers: Sequence[str], written: Sequence[str]) -> Match | None:
        layout, exact = self.layouts[at], self._exact[at]
        columns: dict[str, int] = {}
        unknown = []
        for place, name in enumerate(written):
            known = exact.get(name) or next((of for pattern, of in self._patterns[at] if pattern.fullmatch(name)), None)
            if known is not None and known not in columns:
                columns[known] = place
            elif name and name not in self._ignored[at]:
                unknown.append(headers[place].strip())
        if not self._needed[at] <= columns.keys() or (layout.is_strict and unknown):
            return None
        time = columns.get("time", columns.get("date"))
        found = Match(
            layout, columns, tuple(headers), tuple(unknown),
            offset=stated_offset(headers[time]) if time is not None else None,
        )  # fmt: skip
        return found if layout.needs is None or layout.needs(found) else None

    def of_start(self, start: bytes) -> Layout | None:
        """Return the layout of a log whose texts begin so; None if there is none."""
        return next((one for one in self.every if one.begins and start.startswith(one.begins)), None)

    def of_item(self, item: Item) -> Layout | None:
        """Return the layout of JSON whose keys an object has, the most of several; None if there is none."""
        found = [one for one in self.every if one.read_item is not None and item.value.keys() >= set(one.keys)]
        return max(found, key=lambda one: len(one.keys), default=None)

    def nearest(self, headers: Sequence[str], count: int = 3) -> Iterator[str]:
        """Yield sentences about the layouts nearest to a header: what is missing and what is unknown."""
        written = numbered(headers)
        scored = []
        for at, layout in enumerate(self.layouts):
            known = {self._exact[at][name] for name in written if name in self._exact[at]}
            missing = [layout.columns[name][0] for name in layout.columns if name not in known]
            unknown = [
                header.strip()
                for header, name in zip(headers, written, strict=True)
                if name and name not in self._exact[at] and name not in self._ignored[at]
            ]
            scored.append((len(missing) + len(unknown) - 2 * len(known), at, layout, missing, unknown))
        for _, _, layout, missing, unknown in sorted(scored, key=lambda one: one[:2])[:count]:
            yield f"{layout.name}: {_differences(missing, unknown, headers)}"


def _differences(missing: Sequence[str], unknown: Sequence[str], headers: Sequence[str]) -> str:
    repeated = sorted({header for header in headers if headers.count(header) > 1 and header.strip()})
    found = [
        f"{what} {', '.join(repr(column[:40]) for column in which[:20])}"
        for what, which in (("missing", missing), ("unknown", unknown), ("repeated", repeated))
        if which
    ]
    return "; ".join(found) or "all columns are there"


def _exact(layout: Layout) -> dict[str, str]:
    every = layout.columns | layout.others
    return {normal(header): name for name, headers in every.items() for header in headers if not header.startswith("^")}


def _patterns(layout: Layout) -> list[tuple[re.Pattern[str], str]]:
    every = layout.columns | layout.others
    return [
        (re.compile(header, re.IGNORECASE), name)
        for name, headers in every.items()
        for header in headers
        if header.startswith("^")
    ]

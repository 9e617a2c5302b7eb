"""A statement as PDF, A4 landscape: the same content and charts as the HTML page, drawn without a browser.

The same statement gives the same bytes: the file's date is the end of the period, and nothing else in it varies. The
PDF's own fonts have Latin letters. A statement that has others is written in the font of DAYBOOK_PDF_FONT, embedded; a
character that the font lacks is written as its code, `U+5E01` (the HTML page has all of them).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos
from fpdf.errors import FPDFException
from fpdf.fonts import TTFFont

from api.problems import Problem
from api.settings import Settings
from api.statements.charts import Bar, Curve, bars, curve
from api.statements.html import MINUS, NONE, age, amount, amounts, moment, price, quantity, signed
from api.statements.places import with_leg
from api.statements.statement import Statement, bases

LATIN_END = 0x100  # the fonts of PDF have the characters before
TRUE_TYPE = (b"\0\1\0\0", b"true", b"ttcf")  # how such a font begins
MARGIN = 14.0
WIDTH, HEIGHT = 297.0, 210.0
INNER = WIDTH - 2 * MARGIN
ROW = 4.9
GAP = 3.2
INK, SOFT, LINE, BLUE = (27, 31, 36), (95, 107, 122), (216, 222, 230), (31, 95, 191)
GAIN, LOSS, PALE = (23, 117, 58), (179, 38, 30), (228, 236, 247)
AGES = "Marks are the newest that were seen by the end of the period; their age counts up to it."
PLACES = "Amounts are shown at the places of their currency; JSON, CSV and Parquet have every digit."
Tone = tuple[int, int, int]


class Cell(NamedTuple):
    """A text in a table, in its colour."""

    text: str
    tone: Tone = INK
    is_strong: bool = False


class Head(NamedTuple):
    """A column: its title, whether it holds numbers, whether its text may wrap."""

    title: str
    is_number: bool = False
    is_wrapped: bool = False


def document(statement: Statement, *, digest: str, root: str, code: str) -> bytes:
    """Return the PDF. It names the report's digest, the Merkle root of the log and the version that made it."""
    paper = _Paper(statement)
    paper.head()
    paper.balances()
    paper.result()
    paper.charts()
    paper.positions()
    paper.entries()
    paper.foot(digest, root, code)
    return bytes(paper.output())


def _has_latin(text: str) -> bool:
    return all(ord(character) < LATIN_END for character in text.replace(MINUS, "-").replace(NONE, "-"))


def _texts(value: Any) -> Iterator[str]:
    """Yield all text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in (*value, *value.values()) for text in _texts(each))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts(each))


class _Paper(FPDF):
    """The document while it is drawn."""

    def __init__(self, statement: Statement) -> None:
        super().__init__(orientation="landscape", format="A4")
        self._statement = statement
        self._family, self._glyphs = "Helvetica", frozenset[int]()
        path = None if all(map(_has_latin, _texts(statement))) else Settings().pdf_font
        if path is not None:
            self._embed(path)
        self.set_creation_date(statement.period.end)
        self.set_title(self._written(f"Statement {statement.account_id}, {statement.period.name}"))
        self.set_producer("Daybook")
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(False)
        self.alias_nb_pages()
        self.add_page()

    def _embed(self, path: Path) -> None:
        """Use a font for all text. Raises Problem if it cannot be read."""
        try:
            with path.open("rb") as file:
                if file.read(4) not in TRUE_TYPE:
                    raise ValueError("it begins otherwise")  # noqa: TRY301 (refused like what is found later)
            for style in ("", "B"):
                self.add_font("Given", style, path)
            self._glyphs = frozenset(cast(TTFFont, self.fonts["given"]).cmap)
        except (OSError, ValueError, KeyError, FPDFException) as error:
            raise Problem(
                409, "font", "Font not readable",
                f"DAYBOOK_PDF_FONT names {path}, which is no TrueType font that can be embedded: {error}",
                path=str(path),
            ) from error  # fmt: skip
        self._family = "Given"

    def _written(self, text: str) -> str:
        """Return text in the characters that the font has; of others their code, such as U+5E01."""
        has = self._glyphs.__contains__ if self._glyphs else LATIN_END.__gt__
        shown = text.replace(MINUS, "-").replace(NONE, "-")
        return "".join(each if has(ord(each)) or each == "\n" else f"U+{ord(each):04X}" for each in shown)

    def footer(self) -> None:
        """Write the footer of a page: account, period, seq."""
        self.set_y(-9)
        self._font(7, SOFT)
        shown = self._statement
        left = self._written(f"Account {shown.account_id}, {shown.period.name}, as recorded up to seq {shown.seq:,}")
        self.cell(INNER / 2, 4, left)
        self.cell(INNER / 2, 4, f"Page {self.page_no()} of {{nb}}", align="R")

    def head(self) -> None:
        """Draw the title, the period and the counts."""
        shown = self._statement
        self._font(18, INK, is_strong=True)
        self.cell(INNER * 0.62, 8, self._written(f"Statement of account {shown.account_id}"))
        self._font(8.5, SOFT)
        self.cell(
            INNER * 0.38, 8, f"As recorded up to seq {shown.seq:,}", align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )
        self.cell(INNER * 0.62, 5, f"{shown.period.name}, by value date, UTC")
        counts = f"{shown.trades_count:,} trades and position transfers, {shown.entries_count:,} entries"
        self.cell(INNER * 0.38, 5, counts, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self._rule(INK, 0.5, self.get_y() + 1.5)
        self.set_y(self.get_y() + 3)

    def balances(self) -> None:
        """Draw the balances: opening, movements and closing."""
        heads = [Head("Asset"), Head("Venue"), *(Head(name, True) for name in ("Opening", "In", "Out", "Closing"))]
        rows = [
            [Cell(row["asset"]), Cell(row["venue"]),
             *(Cell(amount(row[name], row["asset"])) for name in ("opening", "in", "out")),
             Cell(amount(row["closing"], row["asset"]), is_strong=True)]
            for row in self._statement.balances
        ]  # fmt: skip
        self._table("Balances", heads, rows, "No balances and no movements.")

    def result(self) -> None:
        """Draw the result of the period, by asset."""
        names = ("realized", "rounding", "funding", "other_income", "fees", "fees_in_kind")
        heads = [Head("Asset"), *(Head(name.replace("_", " ").capitalize(), True) for name in (*names, "net"))]
        rows = [
            [Cell(row["asset"]), *(Cell(amount(row[name], row["asset"])) for name in names),
             Cell(signed(row["net"], row["asset"]), _tone(row["net"]), is_strong=True)]
            for row in self._statement.result
        ]  # fmt: skip
        self._table("Result of the period", heads, rows, "No income and no expenses.")

    def charts(self) -> None:
        """Draw the cumulative result and the result by instrument, side by side for each asset."""
        period = self._statement.period
        first = datetime.fromisoformat(period.first).replace(tzinfo=period.end.tzinfo)
        for asset, steps in self._statement.curves.items():
            values = [
                (row["instrument_id"] or "account", row["net"])
                for row in self._statement.by_instrument
                if row["asset"] == asset
            ]
            self._room(46)
            top, half = self.get_y() + 2, (INNER - 10) / 2
            self._caption(MARGIN + 1, top, f"Cumulative result, {asset}")
            self._caption(MARGIN + half + 10, top, f"Net result by instrument, {asset}")
            self._curve(curve(steps, first, period.end), x=MARGIN, y=top + 5, width=half, height=34)
            self._bars(*bars(values), asset=asset, x=MARGIN + half + 10, y=top + 5, width=half)
            self.set_y(top + 43)

    def positions(self) -> None:
        """Draw the positions open at the end of the period."""
        titles = ("Quantity", "Average price", "Cost", "Mark", "Mark age", "Value", "Unrealized")
        heads = [Head("Instrument"), Head("Strategy"), *(Head(title, True) for title in titles), Head("Ccy")]
        rows = [
            [Cell(with_leg(row["instrument_id"], row["position_side"])), Cell(row["strategy_id"]),
             Cell(quantity(row["quantity"])), Cell(price(row["avg_px"], row["settle"])),
             Cell(amount(row["cost"], row["settle"])), Cell(price(row["mark"], row["settle"])),
             Cell(age(row["mark_age_ms"]), LOSS if row["is_mark_stale"] else INK),
             Cell(amount(row["value"], row["settle"])),
             Cell(signed(row["unrealized"], row["settle"]), _tone(row["unrealized"]), is_strong=True),
             Cell(row["settle"])]
            for row in self._statement.positions
        ]  # fmt: skip
        self._table("Positions at the end", heads, rows, "No open positions.")
        if any(row["mark"] is None for row in self._statement.positions):
            self._line("- : no mark was known by the end of the period; the position is not valued.")
        if self._statement.positions:
            self._line(f"{AGES} {PLACES}")

    def entries(self) -> None:
        """Draw the journal entries that a statement shows."""
        shown = self._statement
        heads = [
            Head("Time"), Head("Kind"), Head("Reference", is_wrapped=True), Head("Description", is_wrapped=True),
            Head("Movement", True), Head("Result", True), Head("Seq", True),
        ]  # fmt: skip
        rows = [
            [Cell(moment(row["transact_time"])), Cell(row["kind"]), Cell(row["reference"]), Cell(_description(row)),
             Cell("\n".join(amounts(row["moved"]))), Cell("\n".join(amounts(row["gained"]))),
             Cell(str(row["entry_seq"]), SOFT)]
            for row in shown.entries
        ]  # fmt: skip
        self._table("Entries", heads, rows, "No entry has a value date in this period.", size=7.2)
        if shown.entries_count > len(shown.entries):
            self._line(f"The first {len(shown.entries)} of {shown.entries_count:,}; daybook report journal lists all.")

    def foot(self, digest: str, root: str, code: str) -> None:
        """Draw what the figures rest on, and the command that reproduces the statement."""
        self._room(33)
        self._rule(LINE, 0.2, self.get_y() + 3)
        self.set_y(self.get_y() + 5)
        self._font(7, SOFT)
        shown = self._statement
        lines = [
            f"{basis.figures}: {basis.rests_on}."
            for basis in bases(shown.seq, root, has_positions=bool(shown.positions))
        ]
        lines.append(f"Made by Daybook {code}. To reproduce the same bytes:")
        for text in lines:
            self.multi_cell(INNER, 3.3, text, wrapmode=WrapMode.WORD, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        again = f"daybook report --reproduce {digest}"
        self.multi_cell(INNER, 3.3, again, wrapmode=WrapMode.CHAR, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _font(self, size: float, tone: Tone, *, is_strong: bool = False) -> None:
        self.set_font(self._family, "B" if is_strong else "", size)
        self.set_text_color(*tone)

    def _room(self, height: float) -> None:
        if self.get_y() + height > HEIGHT - 13:
            self.add_page()

    def _rule(self, tone: Tone, thickness: float, y: float) -> None:
        self.set_draw_color(*tone)
        self.set_line_width(thickness)
        self.line(MARGIN + 1, y, MARGIN + INNER - 1, y)

    def _line(self, text: str) -> None:
        self._room(5)
        self._font(7.5, SOFT)
        self.cell(INNER, 5, self._written(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _caption(self, x: float, y: float, text: str) -> None:
        self._font(8, SOFT, is_strong=True)
        self.text(x, y + 2.6, self._written(text))

    def _table(
        self, title: str, heads: Sequence[Head], rows: Sequence[Sequence[Cell]], empty: str, *, size: float = 8.0
    ) -> None:
        self._room(18 + ROW * min(len(rows), 6))
        self.set_y(self.get_y() + 5)
        self._font(10.5, INK, is_strong=True)
        self.cell(INNER, 5.5, title, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        if not rows:
            self._line(empty)
            return
        widths, size = self._widths(heads, rows, size)
        self._heads(heads, widths, size)
        for row in rows:
            self._row(heads, row, widths, size)

    def _widths(self, heads: Sequence[Head], rows: Sequence[Sequence[Cell]], size: float) -> tuple[list[float], float]:
        """Return widths and font size: as wide as the text, smaller if it does not fit; wrapped text gets the rest."""
        while True:
            self._font(size, INK, is_strong=True)
            natural = [
                max(
                    self.get_string_width(self._written(line))
                    for text in (head.title, *(row[at].text for row in rows))
                    for line in text.split("\n")
                )
                for at, head in enumerate(heads)
            ]
            fixed = sum(width + GAP for width, head in zip(natural, heads, strict=True) if not head.is_wrapped)
            loose = [width for width, head in zip(natural, heads, strict=True) if head.is_wrapped]
            left = INNER - fixed - GAP * len(loose)
            least = 22.0 * len(loose)
            if left >= min(sum(loose), least) or size <= 4.5:
                break
            size -= 0.3
        shrunk = min(1.0, left / sum(loose)) if loose else 1.0
        widths = [
            (width * shrunk if head.is_wrapped else width) + GAP for width, head in zip(natural, heads, strict=True)
        ]
        spare = max(0.0, INNER - sum(widths))
        numbers = sum(head.is_number for head in heads) or 1
        return [
            width + (spare / numbers if head.is_number else 0) for width, head in zip(widths, heads, strict=True)
        ], size

    def _heads(self, heads: Sequence[Head], widths: Sequence[float], size: float) -> None:
        self._font(size - 0.4, SOFT, is_strong=True)
        for head, width in zip(heads, widths, strict=True):
            self.cell(width, ROW, head.title, align="R" if head.is_number else "L")
        self.ln(ROW)
        self._rule(INK, 0.25, self.get_y())

    def _row(self, heads: Sequence[Head], row: Sequence[Cell], widths: Sequence[float], size: float) -> None:
        step = size * 0.47
        self._font(size, INK)
        texts = [
            self._lines(self._written(cell.text), width) if head.is_wrapped else self._written(cell.text).split("\n")
            for head, cell, width in zip(heads, row, widths, strict=True)
        ]
        height = max(ROW, max(len(lines) for lines in texts) * step + 1.6)
        if self.get_y() + height > HEIGHT - 13:
            self.add_page()
            self._heads(heads, widths, size)
        x, y = MARGIN, self.get_y()
        for head, cell, width, lines in zip(heads, row, widths, texts, strict=True):
            self._font(size, cell.tone, is_strong=cell.is_strong)
            for at, text in enumerate(lines):
                self.set_xy(x, y + 0.8 + at * step)
                self.cell(width, step, text, align="R" if head.is_number else "L")
            x += width
        self.set_xy(MARGIN, y + height)
        self._rule(LINE, 0.15, y + height)

    def _lines(self, text: str, width: float) -> list[str]:
        lines = self.multi_cell(width, 1, text, dry_run=True, output="LINES", wrapmode=WrapMode.WORD)
        assert isinstance(lines, list)
        return lines

    def _curve(self, drawn: Curve, *, x: float, y: float, width: float, height: float) -> None:
        left, bottom = x + 20, y + height - 5
        across, up = width - 22, height - 7

        def at(point: tuple[float, float]) -> tuple[float, float]:
            return left + point[0] * across, bottom - point[1] * up

        self.set_line_width(0.15)
        for tick in drawn.levels:
            self.set_draw_color(*(SOFT if abs(tick.place - drawn.zero) < 1e-9 else LINE))
            level = at((0, tick.place))[1]
            self.line(left, level, left + across, level)
            self._font(6.5, SOFT)
            self.set_xy(x, level - 1.5)
            self.cell(18, 3, tick.label, align="R")
        for tick in drawn.times:
            self._font(6.5, SOFT)
            self.set_xy(at((tick.place, 0))[0] - 8, bottom + 1)
            self.cell(16, 3, tick.label, align="C")
        points = [at(point) for point in drawn.points]
        self.set_fill_color(*PALE)
        with self.local_context(fill_opacity=0.75):
            self.polygon([at((0, drawn.zero)), *points, at((1, drawn.zero))], style="F")
        self.set_draw_color(*BLUE)
        self.set_line_width(0.4)
        self.polyline(points)

    def _bars(self, drawn: Sequence[Bar], zero: float, *, asset: str, x: float, y: float, width: float) -> None:
        left, across, row = x + 42, width - 78, 4.2
        for place, bar in enumerate(drawn):
            top = y + place * row
            self._font(6.8, INK)
            self.set_xy(x, top)
            self.cell(40, row, self._written(bar.label), align="R")
            self.set_fill_color(*(GAIN if bar.value > 0 else LOSS))
            length = max((bar.end - bar.start) * across, 0.3)
            self.rect(left + bar.start * across, top + 0.8, length, row - 1.6, style="F")
            self.set_xy(x + width - 36, top)
            self.cell(36, row, self._written(signed(bar.value, asset)), align="R")
        self.set_draw_color(*SOFT)
        self.set_line_width(0.15)
        self.line(left + zero * across, y, left + zero * across, y + len(drawn) * row)


def _tone(value: Any) -> Tone:
    return INK if not value else GAIN if value > 0 else LOSS


def _description(row: dict[str, Any]) -> str:
    return ", ".join(text for text in (row["instrument_id"], row["narrative"]) if text)

"""The demo's report on the simulated day, as tables for a terminal or as one JSON document.

Everything is read from the read models and the log, nothing comes from the simulation. Sums are in the
settlement currency of the instrument and never added across currencies. Net = realized + unrealized - fees + funding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from api.encoding import decimal_text, plain
from domain.errors.sentences import sentence
from domain.values import ONE, ZERO, divide, rounded, symbol_of
from projections.analytics.exposure import ExposureTotal
from projections.analytics.pnl import PnlRow, PnlTotal, totals
from projections.models.breaks import BreakRow
from projections.models.limits import LimitRow
from projections.models.orders import OrderRow
from projections.storage.tables import AnyRow

CENTS = frozenset({"USD", "EUR", "GBP", "CHF", "USDT", "USDC"})
NARROW_COLUMNS = 96
BAR_CELLS = 20
BAR_CELLS_NARROW = 6
NEAR = Decimal("0.8")  # of a limit
MEASURES = {"MAX_POSITION": "position", "MAX_ORDER_NOTIONAL": "order notional"}


@dataclass(frozen=True)
class Throughput:
    """How fast the day was recorded, including the domain's decisions and durable commits."""

    seconds: Decimal
    events_per_second: int
    fills_per_second: int


@dataclass(frozen=True)
class Rebuilt:
    """Whether all read models, rebuilt from the first event, have the rows they had."""

    seconds: Decimal
    events: int
    read_models: int
    rows: int
    is_identical: bool


@dataclass(frozen=True)
class Outcome:
    """The state after the day, from the read models."""

    seed: int
    day: str
    topics: dict[str, int]
    log_seq: int
    log_bytes: int
    throughput: Throughput
    pnl: list[PnlRow]
    exposure: list[ExposureTotal]
    limits: list[LimitRow]
    refusals: list[OrderRow]
    breaks: list[BreakRow]
    rebuilt: Rebuilt

    @property
    def counts(self) -> dict[str, int]:
        """The number of orders, fills, refusals and so on, from the topics of the log."""
        names = {
            "orders": ("OrderSubmitted", "OrderRefused", "OrderAdopted"),
            "fills": ("OrderFilled",),
            "refused": ("OrderRefused",),
            "rejected": ("OrderRejected",),
            "canceled": ("OrderCanceled",),
            "funding_payments": ("FundingSettled",),
            "restatements": ("PositionRestated.v2", "PositionRestated.v3"),
        }
        return {name: sum(self.topics.get(topic, 0) for topic in topics) for name, topics in names.items()}

    def document(self, url: str | None) -> dict[str, Any]:
        """Return everything as JSON; `url` is that of the console, if it is served."""
        fields = asdict(self) | {"counts": self.counts, "breaks": len(self.breaks), "url": url}
        document: dict[str, Any] = plain(fields)
        return document


class Bar:
    """Runs of cells, each in a colour or empty, in the characters the terminal has."""

    def __init__(self, *runs: tuple[int, str], words: str = "") -> None:
        self.runs = runs
        self.words = words

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full, empty = ("=", "-") if options.ascii_only else ("\u2501", "\u2500")
        drawn = [(full * cells, style) if style else (empty * cells, "bright_black") for cells, style in self.runs]
        yield Text.assemble(*drawn, self.words)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = sum(cells for cells, _ in self.runs) + len(self.words)
        return Measurement(width, width)


def report(outcome: Outcome, width: int) -> RenderableType:
    """Return the tables, for a terminal of `width` columns."""
    is_narrow = width < NARROW_COLUMNS
    section = partial(_section, indent=0 if is_narrow else 2)
    parts = [
        section("What happened", _happened(outcome)),
        section("Profit and loss", *_pnl(outcome.pnl, is_narrow=is_narrow)),
        section("Exposure at the last marks", _exposure(outcome.exposure)),
        section("Limits, with all working orders filled", _limits(outcome.limits, is_narrow=is_narrow)),
        section("Log and proof", _log(outcome)),
    ]
    return Group(*parts)


def _section(title: str, *bodies: RenderableType, indent: int) -> RenderableType:
    return Group(Text(title, style="bold"), *(Padding(body, (0, 0, 1, indent), expand=False) for body in bodies))


def _table(*columns: str, left: int = 1) -> Table:
    """Return an empty table; the first `left` columns are text, the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", no_wrap=True)
    return table


# What happened


def _happened(outcome: Outcome) -> RenderableType:
    counts = outcome.counts
    line = (
        f"{counts['orders']:,} orders with {counts['fills']:,} fills; {counts['refused']:,} refused by a limit, "
        f"{counts['rejected']:,} rejected by the venue, {counts['canceled']:,} canceled."
    )
    lines: list[RenderableType] = [Text(line)]
    lines += [Text.assemble(("refused  ", "red"), _refusal(row)) for row in outcome.refusals]
    if outcome.breaks:
        lines.append(
            Text.assemble(
                ("broken   ", "yellow"),
                f"{len(outcome.breaks):,} impossible venue reports, recorded and listed as breaks",
            )
        )
    if late := counts["restatements"]:
        lines.append(
            Text.assemble(("late     ", "yellow"), f"positions restated because a fill arrived late: {late:,}")
        )
    return Group(*lines)


def _refusal(row: OrderRow) -> str:
    facts = row["facts"] or {}
    order = f"{row['strategy_id']} {row['side']} {_number(row['order_qty'])} {symbol_of(row['instrument_id'])}"
    return f"{order}: {sentence(row['rule'] or '', facts)}"


# Profit and loss


def _pnl(rows: list[PnlRow], *, is_narrow: bool) -> Iterator[Table]:
    for total in totals(rows, ()):
        currency = total["settle"]
        held = [row for row in rows if (row["settle"] or "") == currency]
        sums = ("Realized", "Unrealized", "Fees", "Funding", "Net")
        if is_narrow:
            table = _table(f"in {currency}", *sums)
        else:
            table = _table("Strategy", f"in {currency}", "Position", *sums, left=2)
        for row in held:
            symbol, strategy = symbol_of(row["instrument_id"]) or "cash", row["strategy_id"]
            if is_narrow:
                table.add_row(Text.assemble(symbol, "\n", (strategy, "dim")), *_sums(row, currency))
            else:
                table.add_row(strategy, symbol, _number(row["quantity"]), *_sums(row, currency))
        if len(held) > 1:
            table.add_section()
            table.add_row("total", *(() if is_narrow else ("", "")), *_sums(total, currency), style="bold")
        yield table


def _sums(row: PnlRow | PnlTotal, currency: str) -> tuple[Text, ...]:
    fees = -(row["fee_cost"] + row["fees_settle"])
    values = (row["realized"], row["unrealized"], fees, row["funding"], row["net"])
    return tuple(_money(value, currency) for value in values)


def _money(value: Decimal | None, currency: str) -> Text:
    if value is None:
        return Text("no mark", style="dim")
    places = 2 if currency in CENTS else 8
    shown = rounded(value, places)
    style = "green" if shown > 0 else "red" if shown < 0 else "dim"
    return Text(f"{shown:+,.{places}f}" if shown else f"{ZERO:.{places}f}", style=style)


# Exposure and limits


def _exposure(rows: Sequence[AnyRow]) -> Table:
    table = _table("Instrument", "Short | long", "Net", "Gross", left=2)
    widest: dict[str, Decimal] = {}
    for row in rows:
        widest[row["quote"]] = max(widest.get(row["quote"], ZERO), row["gross"] or ZERO)
    for row in rows:
        if row["net"] is None:
            table.add_row(row["instrument_id"], "", "no mark", "no mark")
            continue
        places = 2 if row["quote"] in CENTS else 8
        table.add_row(
            row["instrument_id"],
            _two_sided(row["net"], row["gross"], widest[row["quote"]]),
            f"{rounded(row['net'], places):+,.{places}f} {row['quote']}",
            f"{rounded(row['gross'], places):,.{places}f} {row['quote']}",
        )
    return table


def _two_sided(net: Decimal, gross: Decimal, widest: Decimal) -> Bar:
    half = BAR_CELLS // 2
    short = _cells(divide(gross - net, Decimal(2)), widest, half)
    long = _cells(divide(gross + net, Decimal(2)), widest, half)
    return Bar((half - short, ""), (short, "yellow"), (long, "blue"), (half - long, ""))


def _cells(part: Decimal, whole: Decimal, cells: int) -> int:
    """Return how many of `cells` are filled; a part above zero fills at least one."""
    if not part or not whole:
        return 0
    return min(cells, max(1, int(divide(part * cells, whole))))


def _limits(rows: Sequence[AnyRow], *, is_narrow: bool) -> RenderableType:
    if not rows:
        return Text("none set", style="dim")
    cells = BAR_CELLS_NARROW if is_narrow else BAR_CELLS
    table = _table("Scope", "Measure", "Used", "Limit", "", left=2)
    for row in rows:
        scope = f"{row['strategy_id'] or 'all'} / {symbol_of(row['instrument_id'] or '') or 'each'}"
        measure = MEASURES.get(row["measure"], row["measure"])
        if row["used"] is None:
            table.add_row(scope, measure, "", _number(row["limit"]), Text("per order", style="dim"))
            continue
        part = divide(row["used"], row["limit"]) if row["limit"] else ONE
        filled = _cells(part, ONE, cells)
        style = "red" if part >= 1 else "yellow" if part >= NEAR else "green"
        bar = Bar((filled, style), (cells - filled, ""), words=f" {rounded(part * 100, 0):>3} %")
        table.add_row(scope, measure, _number(row["used"]), _number(row["limit"]), bar)
    return table


# Log and proof


def _log(outcome: Outcome) -> RenderableType:
    speed, rebuilt = outcome.throughput, outcome.rebuilt
    table = Table.grid(padding=(0, 2))
    table.add_row("log", f"{outcome.log_seq:,} events without gaps, {_bytes(outcome.log_bytes)} of JSON")
    table.add_row(
        "speed",
        f"{speed.events_per_second:,} events/s, {speed.fills_per_second:,} fills/s, every commit on disk "
        f"({speed.seconds} s)",
    )
    comparison = ("every row identical", "green") if rebuilt.is_identical else ("ROWS DIFFER", "bold red")
    table.add_row(
        "proof",
        Text.assemble(
            f"{rebuilt.read_models} read models rebuilt from event 1 in {rebuilt.seconds} s, {rebuilt.rows:,} rows: ",
            comparison,
        ),
    )
    return table


def _bytes(count: int) -> str:
    return f"{rounded(Decimal(count).scaleb(-6), 1)} MB"


def _number(value: Decimal | None) -> str:
    if value is None:
        return ""
    whole, dot, fraction = decimal_text(value).partition(".")
    return f"{int(whole):,}{dot}{fraction}" if whole != "-0" else f"-0{dot}{fraction}"

"""Statements of one account for a day or a month, computed from its journal.

By value date: all that happened in the period, however late it was recorded, up to the seq of the statement. Opening +
in - out = closing, for every asset; the result of the period is the turnover of the income and expense accounts;
positions are those at the end of the period, at the newest mark known by then. What each figure rests on is stated in
`bases`: most are sums of journal lines, which follow from the log; values are at marks, which are recorded beside it.
The first ENTRIES_SHOWN_MAX entries are shown, with their total number: `daybook report journal` lists all.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from api.statements.periods import Period
from domain.instrument import Kind
from domain.values import ZERO, exact
from projections.analytics import pnl
from projections.analytics.valuation import Marks, mark_of
from projections.models import bookkeeping as chart
from projections.models import journal
from projections.models.positions import PositionRow, average_price, positions
from projections.storage.rows import MemoryRows, Source
from projections.storage.tables import AnyRow, Row

ENTRIES_SHOWN_MAX = 400
CURVES_MAX = 3
PAGE_ROWS = 2000
RESULT = {
    chart.REALIZED: "realized",
    chart.ROUNDING: "rounding",
    chart.FUNDING: "funding",
    chart.FEES: "fees",
    chart.FEES_IN_KIND: "fees_in_kind",
}  # every other income account is "other_income"


class Statement(NamedTuple):
    """The figures of a statement; amounts are exact, gains are above zero."""

    account_id: str
    period: Period
    seq: int
    balances: list[Row]
    result: list[Row]
    by_instrument: list[Row]
    positions: list[Row]
    entries: list[Row]
    entries_count: int
    trades_count: int
    curves: dict[str, list[tuple[datetime, Decimal]]]


def gathered(source: Source, account_id: str, period: Period, *, seq: int, marks: Marks) -> Statement:
    """Return the statement of an account, from its journal and positions."""
    kept: list[journal.StoredEntryRow] = []
    tally = _Tally(period)
    for entry in _since(source, account_id, period.first):
        if not period.holds(entry["value_date"]):
            tally.after(entry)
            continue
        tally.within(entry)
        if len(kept) < ENTRIES_SHOWN_MAX:
            kept.append(entry)
    return Statement(
        account_id=account_id, period=period, seq=seq, balances=_balances(source, account_id, period),
        result=tally.result(), by_instrument=tally.by_instrument(),
        positions=tally.positions(positions(source, account_id=account_id), marks),
        entries=[_shown(entry) for entry in kept], entries_count=tally.entries, trades_count=tally.trades,
        curves=tally.curves(),
    )  # fmt: skip


def _since(source: Source, account_id: str, first: str) -> Iterator[journal.StoredEntryRow]:
    """Yield the account's entries of a value date and all later ones, in order of occurrence within a date."""
    days = sorted({row["value_date"] for row in journal.turnover(source, account_id) if row["value_date"] >= first})
    for day in days:
        after = None
        limit = None if isinstance(source, MemoryRows) else PAGE_ROWS
        while page := journal.stored_entries(source, account_id, day, after=after, limit=limit):
            yield from page
            if limit is None or len(page) < limit:
                break
            after = [page[-1][name] for name in journal.BY_OCCURRENCE]


def _balances(source: Source, account_id: str, period: Period) -> list[Row]:
    """Return opening, in, out and closing of every asset at every venue."""
    found: dict[tuple[str, str], Row] = {}
    for row in journal.turnover(source, account_id):
        root, _, venue = row["account"].partition(":")
        if root != chart.ASSETS or row["value_date"] > period.last:
            continue
        place = (venue, row["asset"])
        balance = found.setdefault(
            place, {"venue": venue, "asset": row["asset"], "opening": ZERO, "in": ZERO, "out": ZERO}
        )
        if row["value_date"] < period.first:
            balance["opening"] += row["debit"] - row["credit"]
        else:
            balance["in"] += row["debit"]
            balance["out"] += row["credit"]
    for balance in found.values():
        balance |= {name: exact(balance[name]) for name in ("opening", "in", "out")}
        balance["closing"] = exact(balance["opening"] + balance["in"] - balance["out"])
    return [balance for _, balance in sorted(found.items()) if balance["opening"] or balance["in"] or balance["out"]]


class _Tally:
    """Sums of the entries of a period, and of the later ones that its positions do not include."""

    def __init__(self, period: Period) -> None:
        self.entries = 0
        self.trades = 0
        self._period = period
        self._result: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        self._instruments: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self._steps: dict[str, list[tuple[datetime, Decimal]]] = defaultdict(list)
        self._later: dict[tuple[str, str, str, str | None], Decimal] = defaultdict(Decimal)

    def within(self, entry: AnyRow) -> None:
        """Add an entry of the period."""
        self.entries += 1
        self.trades += 1 if entry["kind"] not in ("REVERSAL", "RESTATEMENT") and entry["instrument_id"] else 0
        gained: dict[str, Decimal] = defaultdict(Decimal)
        for account, asset, amount in entry["lines"]:
            if not account.startswith(("Income:", "Expenses:")):
                continue
            gain = -Decimal(amount)
            gained[asset] += gain
            self._result[asset][RESULT.get(account, "other_income")] += gain
        for asset, gain in gained.items():
            self._steps[asset].append((entry["transact_time"], gain))
            self._instruments[entry["instrument_id"] or "", asset] += gain

    def after(self, entry: AnyRow) -> None:
        """Add an entry after the period, whose effect on positions is subtracted."""
        for account, asset, amount in entry["lines"]:
            if account == chart.TRADING:
                place = entry["strategy_id"], entry["instrument_id"], entry["position_side"]
                self._later[(*place, asset)] += Decimal(amount)

    def result(self) -> list[Row]:
        """Return the result of the period by asset; `net` is its sum."""
        names = (*RESULT.values(), "other_income")
        return [
            {"asset": asset, **{name: exact(sums[name]) for name in names}, "net": exact(sum(sums.values(), ZERO))}
            for asset, sums in sorted(self._result.items())
        ]

    def by_instrument(self) -> list[Row]:
        """Return the net result by instrument ("" for entries of no position) and asset."""
        return [
            {"instrument_id": name, "asset": asset, "net": exact(net)}
            for (name, asset), net in sorted(self._instruments.items())
            if net
        ]

    def positions(self, now: Iterable[PositionRow], marks: Marks) -> list[Row]:
        """Return the positions at the end of the period: those now, less later entries; valued at the marks."""
        found = []
        for row in now:
            if row["settle"] is None or row["kind"] is None:
                continue
            place = row["strategy_id"], row["instrument_id"], row["position_side"]
            asset = row["base"] if row["kind"] == Kind.SPOT else row["instrument_id"]
            quantity = exact(row["quantity"] + self._later.get((*place, asset), ZERO))
            cost = exact(row["cost"] - self._later.get((*place, row["settle"]), ZERO))
            if quantity or cost:
                then = row | {"quantity": quantity, "cost": cost}
                valued: AnyRow = pnl.valued(then | {"avg_px": average_price(then)}, mark_of(then, marks))
                found.append({name: valued[name] for name in POSITION_COLUMNS})
        return found

    def curves(self) -> dict[str, list[tuple[datetime, Decimal]]]:
        """Return the cumulative result, step by step, of the assets with most steps."""
        busiest = sorted(self._steps, key=lambda asset: (-len(self._steps[asset]), asset))[:CURVES_MAX]
        curves = {}
        for asset in busiest:
            so_far, points = ZERO, []
            for at, gain in sorted(self._steps[asset], key=lambda step: step[0]):
                so_far = exact(so_far + gain)
                points.append((at, so_far))
            curves[asset] = points
        return curves


POSITION_COLUMNS = (
    "strategy_id", "instrument_id", "position_side", "quantity", "avg_px", "cost", "settle", "mark", "mark_source",
    "mark_at", "mark_age_ms", "is_mark_stale", "value", "unrealized",
)  # fmt: skip


def _shown(entry: AnyRow) -> Row:
    """Return an entry as a statement shows it: its movements of assets, and its result."""
    moved: dict[str, Decimal] = defaultdict(Decimal)
    gained: dict[str, Decimal] = defaultdict(Decimal)
    for account, asset, amount in entry["lines"]:
        if account.startswith(chart.ASSETS):
            moved[asset] += Decimal(amount)
        elif account.startswith(("Income:", "Expenses:")):
            gained[asset] -= Decimal(amount)
    names = ("transact_time", "value_date", "kind", "reference", "instrument_id", "narrative", "entry_seq")
    return {name: entry[name] for name in names} | {
        "moved": {asset: exact(amount) for asset, amount in moved.items() if amount},
        "gained": {asset: exact(amount) for asset, amount in gained.items() if amount},
    }


class Basis(NamedTuple):
    """Figures of a statement, and what they rest on."""

    figures: str
    rests_on: str


def bases(seq: int, root: str, *, has_positions: bool) -> list[Basis]:
    """Return what each kind of figure rests on: the log up to the statement's seq, of this Merkle root, or marks."""
    log = f"the log up to seq {seq}, whose Merkle root is {root}"
    found = [Basis("Balances, result, charts and entries", f"sums of journal lines, which follow from {log}")]
    if has_positions:
        found += [
            Basis("Quantities and costs of positions", "sums of what was booked in the same log by then"),
            Basis("Average prices", "at which a quantity is worth its cost, rounded at 18 places"),
            Basis(
                "Values and unrealized results",
                "quantities at the marks shown: prices recorded in the log by batches, each compared with its batch, "
                "or prices given with the request",
            ),
        ]
    return found

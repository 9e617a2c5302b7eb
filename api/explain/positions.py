"""Explanations of positions, PnL and exposure: a cell of a read model and its components, which add up to it exactly.

A summed cell is its value before the oldest event shown, and what each event shown added; both ends are read from the
read model, the steps from the log, and if they do not add up the read model has drifted. A composed cell is its terms.
A valued cell is the mark, and the open lots at the mark. A cell of several positions is the same cell of each of them.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from adapters.log import queries
from api.daybook import Daybook
from api.http.cursors import cursor_of
from api.parameters import Where
from api.problems import not_found
from api.read_models import views
from api.read_models.snapshot import Reading, marks_at
from domain import position
from domain.errors import HistoryBroken, InvalidInput
from domain.ledger import Recorded, schema
from domain.position import TradeBooked
from domain.values import ZERO, Mark, exact
from projections.analytics import explanation, exposure, pnl
from projections.analytics.valuation import mark_of
from projections.models import lots, positions
from projections.storage.tables import POSITION, AnyRow, Row, position_key, position_of

MODELS: dict[str, tuple[str, ...]] = {
    "positions": explanation.SUMMED,
    "pnl": (*explanation.SUMMED, "fees_settle", "value", *explanation.COMPOSED),
    "exposure": ("notional",),
}
READ = ("positions", "lots", "capital")


class Cell(NamedTuple):
    """The cell to explain: of `fees`, those in `currency`."""

    model: str
    name: str
    currency: str | None = None

    def check(self) -> None:
        """Raise InvalidInput if there is no such cell."""
        if self.name not in MODELS.get(self.model, ()):
            raise InvalidInput("cell", self.name, f"a cell of {self.model}: {', '.join(MODELS[self.model])}")
        if self.name == "fees" and self.currency is None:
            raise InvalidInput("currency", None, "the currency of the fees to explain")


class Page(NamedTuple):
    """At most `limit` events, from version `upto` of the position downwards (by default its newest)."""

    limit: int
    upto: int | None = None


def explained(daybook: Daybook, at: Reading, where: Where, cell: Cell, marks: dict[str, Mark], page: Page) -> Row:
    """Return the cell of the positions selected, and its components. Raises InvalidInput, HistoryBroken, Problem."""
    cell.check()
    known = marks_at(daybook, at, marks)
    found = [
        pnl.valued(row, mark_of(row, known)) | {"notional": exposure.sized(row, mark_of(row, known))["notional"]}
        for row in positions.positions(at.source, **where._asdict())
    ]
    cash = pnl.of_cash(views.flows_of(at, where)) if cell.model == "pnl" else []
    earned: list[Row] = [dict(row) for row in cash if _value(dict(row), cell)]
    if not found and not earned:
        raise not_found(f"a position of {' '.join(filter(None, where)) or 'any account'} at seq {at.seq}")
    selected: Row = where._asdict() | {"model": cell.model, "cell": cell.name, "currency": cell.currency}
    if len(found) != 1 or earned:
        return selected | _of_many([*found, *earned], cell)
    (row,) = found
    return selected | _key(row) | _of_one(daybook, at, row, cell, page=page, mark=mark_of(row, known))


_NOTHING: Row = {
    "unit": None, "terms": [], "valuation": None, "opening": None, "events": [], "positions": [], "next": None,
}  # fmt: skip


def _of_many(rows: Sequence[Row], cell: Cell) -> Row:
    """Return the same cell of each position, and of cash; a sum only where all are in one unit and all are known."""
    parts = [_key(row) | {"unit": _unit(row, cell), "value": _value(row, cell)} for row in rows]
    units = {part["unit"] for part in parts}
    values = [part["value"] for part in parts]
    is_known = len(units) <= 1 and None not in values
    return _NOTHING | {
        "unit": units.pop() if len(units) == 1 else None,
        "value": exact(sum(values, ZERO)) if is_known else None,
        "positions": parts,
    }


def _of_one(daybook: Daybook, at: Reading, row: Row, cell: Cell, page: Page, mark: Mark | None) -> Row:
    components = _NOTHING | {"unit": _unit(row, cell), "value": _value(row, cell)}
    if cell.name in explanation.COMPOSED:
        terms = explanation.COMPOSED[cell.name]
        components["terms"] = [{"cell": name, "sign": sign, "value": row[name]} for sign, name in terms]
    elif cell.name in ("value", "notional"):
        components["valuation"] = _valuation(at, row, mark, is_value=cell.name == "value")
    else:
        components |= _events(daybook, at, row, cell, page=page)
    return components


def _valuation(at: Reading, row: Row, mark: Mark | None, *, is_value: bool) -> Row:
    """Return the mark and the quantity it values; of a value also the lots, the pooled part, and the rounding."""
    valuation: Row = {
        name: row[name] for name in ("kind", "quantity", "contract_size", "mark", "mark_source", "mark_at")
    }
    valuation |= {"lots": [], "pooled": None, "rounding": None}
    if is_value and mark is not None and row["quantity"]:
        opened = lots.open_lots(at.source, **_key(row), limit=None)
        valuation |= explanation.valued(row, opened, mark)._asdict()
    return valuation


def _events(daybook: Daybook, at: Reading, row: Row, cell: Cell, page: Page) -> Row:
    stream = position.stream(position_key(position_of(row)))
    newest = queries.version_at(daybook.history, stream, at.seq)
    upto = newest if page.upto is None else min(page.upto, newest)
    stored = queries.backwards(daybook.history, stream, upto, page.limit)
    records = [(each.seq, schema.decode(each.topic, each.state)) for each in stored]
    name, currency = ("fees", row["settle"]) if cell.name == "fees_settle" else (cell.name, cell.currency)
    shares = [explanation.share(record.event, name, currency) for _, record in records]
    before = records[-1][0] - 1 if records else at.seq
    opening = _at(at, row, cell, before) if upto > len(records) else ZERO
    closing = _summed(row, cell) if upto == newest or not records else _at(at, row, cell, records[0][0])
    if exact(opening + sum(shares, ZERO)) != closing:
        raise HistoryBroken(
            f"{cell.name} of {stream} is {closing} in the read model after seq {stored[0].seq}, and its events add up"
            " to something else: the read model has drifted; run `daybook rebuild`"
        )
    reports = queries.fills(daybook.history, _execution_keys(records))
    parts = [_part(seq, record, share, reports) for (seq, record), share in zip(records, shares, strict=True) if share]
    older = upto - len(records)
    return {
        "opening": {"seq": before, "value": opening}, "events": parts,
        "next": cursor_of({"version": older}, ("version",)) if older else None,
    }  # fmt: skip


def _at(at: Reading, row: Row, cell: Cell, seq: int) -> Decimal:
    """Return a summed cell when the log ended at `seq`; 0 before there was such a position."""
    found = positions.positions(at.back_to(seq), **_key(row))
    return _summed(found[0] | {"settle": row["settle"]}, cell) if found else ZERO


def _part(seq: int, record: Recorded, share: Decimal, reports: dict[str, Any]) -> Row:
    """Return one event's share, and the venue report behind it where it is a trade."""
    report = reports.get(_execution_key(record) or "")
    return {
        "seq": seq, "topic": schema.topic_of(record.event), "amount": share, "recorded_at": record.recorded_at,
        "transact_time": getattr(record.event, "transact_time", None), "actor": record.actor,
        "request_id": record.request_id, "facts": explanation.facts(record.event),
        "report": None if report is None else {
            "seq": report.seq, "stream": report.stream, "topic": report.topic, "state": report.state.decode(),
        },
    }  # fmt: skip


def _execution_key(record: Recorded) -> str | None:
    event = record.event
    if not isinstance(event, TradeBooked):
        return None
    return schema.execution_key_of(event.key.account_id, event.key.instrument_id, event.exec_id)


def _execution_keys(records: Sequence[tuple[int, Recorded]]) -> list[str]:
    return [key for _, record in records if (key := _execution_key(record)) is not None]


def _value(row: Row, cell: Cell) -> Decimal | None:
    if cell.name in explanation.SUMMED or cell.name == "fees_settle":
        return _summed(row, cell)
    value: Decimal | None = row[cell.name]
    return value


def _summed(row: AnyRow, cell: Cell) -> Decimal:
    if cell.name in ("fees", "fees_settle"):
        fees: dict[str, Decimal] = row["fees"]
        return fees.get((row["settle"] if cell.name == "fees_settle" else cell.currency) or "", ZERO)
    value: Decimal = row[cell.name]
    return value


def _unit(row: Row, cell: Cell) -> str | None:
    """Return the unit of the cell: a currency, or for a quantity the asset (of a derivative, contracts)."""
    match cell.name:
        case "quantity":
            unit = row["base"] if row["kind"] == "SPOT" else "contracts"
        case "fees":
            unit = cell.currency
        case "notional":
            unit = row["settle"] if row["kind"] == "OPTION" else row["quote"]
        case _:
            unit = row["settle"]
    return unit if unit is None else str(unit)


def _key(row: Row) -> Row:
    return {name: row[name] for name in POSITION}

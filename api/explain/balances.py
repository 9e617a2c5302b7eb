"""Explanations of balances: the journal entries that add up to one, or the pending transfers that hold it.

Balance and journal are folded independently: an explanation has the balance before the oldest entry, and what each
entry moved in the asset's account. If they do not add up, a read model has drifted.
"""

from decimal import Decimal
from typing import Any, NamedTuple

from adapters.log import queries
from adapters.log.postgres import Stored
from api.daybook import Daybook
from api.http.cursors import cursor_of
from api.problems import not_found
from api.read_models.snapshot import Reading
from domain.errors import HistoryBroken, InvalidInput
from domain.ledger import schema
from domain.values import ZERO, exact
from projections.models import balances, journal
from projections.models.bookkeeping import asset_account
from projections.storage.tables import AnyRow, Row

CELLS = ("total", "held", "available")
KEY = ("account_id", "venue", "asset")


class Of(NamedTuple):
    """Which balances: None for all."""

    account_id: str | None
    asset: str | None
    venue: str | None


class EntryPage(NamedTuple):
    """At most about `limit` entries after (entry_seq, part): whole events, the newest first."""

    limit: int
    after: tuple[int, int] | None = None


def explained(daybook: Daybook, at: Reading, of: Of, cell: str, page: EntryPage) -> Row:
    """Return the cell of the balances selected, and its components. Raises InvalidInput, HistoryBroken, Problem."""
    if cell not in CELLS:
        raise InvalidInput("cell", cell, f"a cell of balances: {', '.join(CELLS)}")
    found: list[AnyRow] = [
        row
        for row in balances.balances(at.source, account_id=of.account_id, asset=of.asset)
        if of.venue is None or row["venue"] == of.venue
    ]
    if not found:
        raise not_found(f"a balance of {' '.join(filter(None, of)) or 'any account'} at seq {at.seq}")
    explanation: Row = {"model": "balances", "cell": cell, "terms": [], "opening": None, "events": [], "next": None}
    if len(found) > 1:
        return explanation | of._asdict() | _of_many(found, cell)
    (row,) = found
    explanation |= {name: row[name] for name in KEY} | {"unit": row["asset"], "value": row[cell], "balances": []}
    match cell:
        case "total":
            explanation |= _entries(daybook, at, row, page)
        case "held":
            explanation["events"] = _pending(daybook, at, row)
        case _:
            explanation["terms"] = [{"cell": name, "sign": sign, "value": row[name]} for sign, name in AVAILABLE]
    return explanation


AVAILABLE = ((1, "total"), (-1, "held"))


def _of_many(rows: list[AnyRow], cell: str) -> Row:
    parts = [{name: row[name] for name in KEY} | {"value": row[cell]} for row in rows]
    units = {row["asset"] for row in rows}
    is_one = len(units) == 1
    return {
        "unit": units.pop() if is_one else None,
        "value": exact(sum((row[cell] for row in rows), ZERO)) if is_one else None,
        "balances": parts,
    }


def _entries(daybook: Daybook, at: Reading, row: AnyRow, page: EntryPage) -> Row:
    account, asset = asset_account(row["venue"]), row["asset"]
    found = journal.entries(
        at.source, account_id=row["account_id"], asset=asset, limit=page.limit + 1, after=page.after, is_descending=True
    )
    shown = found[: page.limit]
    if len(found) > page.limit:  # an event's entries are shown together
        whole = [entry for entry in shown if entry["entry_seq"] != found[-1]["entry_seq"]]
        shown = whole or shown
    shares = {(entry["entry_seq"], entry["part"]): _share(entry, account, asset) for entry in shown}
    is_last = len(shown) == len(found)
    before = shown[-1]["entry_seq"] - 1 if shown else at.seq
    opening = ZERO if is_last else _at(at, row, before)
    closing = row["total"] if page.after is None else _at(at, row, shown[0]["entry_seq"] if shown else before)
    if exact(opening + sum(shares.values(), ZERO)) != closing:
        raise HistoryBroken(
            f"the balance of {row['account_id']} in {asset} at {row['venue'] or 'no one venue'} is {closing} after seq"
            f" {shown[0]['entry_seq'] if shown else before}, and its journal entries add up to something else: a read"
            " model has drifted; run `daybook rebuild balances journal`"
        )
    stored = queries.at_seqs(daybook.history, {entry["entry_seq"] for entry in shown})
    return {
        "opening": {"seq": before, "value": opening},
        "events": [
            _part(stored[entry["entry_seq"]], shares[entry["entry_seq"], entry["part"]], _facts(entry))
            for entry in shown
            if shares[entry["entry_seq"], entry["part"]]
        ],
        "next": None if is_last else cursor_of(shown[-1], journal.CURSOR),
    }


def _share(entry: journal.JournalEntryRow, account: str, asset: str) -> Decimal:
    moved = (line["amount"] for line in entry["lines"] if (line["account"], line["asset"]) == (account, asset))
    return exact(sum(moved, ZERO))


def _at(at: Reading, row: AnyRow, seq: int) -> Decimal:
    """Return the total when the log ended at `seq`; 0 before there was such a balance."""
    found = balances.balances(at.back_to(seq), account_id=row["account_id"], asset=row["asset"])
    return next((one["total"] for one in found if one["venue"] == row["venue"]), ZERO)


def _pending(daybook: Daybook, at: Reading, row: AnyRow) -> list[Row]:
    """Return the transfers that hold a part of it, the newest first."""
    found = [
        transfer
        for transfer in balances.pending_transfers(at.source, row["account_id"])
        if row["asset"] in transfer["held"]
    ]
    stored = queries.at_seqs(daybook.history, {transfer["seq"] for transfer in found})
    parts = [
        _part(stored[transfer["seq"]], transfer["held"][row["asset"]], {"transfer_id": transfer["transfer_id"]})
        for transfer in sorted(found, key=lambda transfer: -transfer["seq"])
    ]
    if exact(sum((part["amount"] for part in parts), ZERO)) != row["held"]:
        raise HistoryBroken(
            f"what is held of {row['asset']} for {row['account_id']} is not what its pending transfers add up to: the"
            " read model has drifted; run `daybook rebuild balances`"
        )
    return parts


def _facts(entry: AnyRow) -> dict[str, Any]:
    names = ("kind", "value_date", "strategy_id", "instrument_id", "reference", "narrative", "lines")
    return {name: entry[name] for name in names}


def _part(stored: Stored, amount: Decimal, facts: dict[str, Any]) -> Row:
    record = schema.decode(stored.topic, stored.state)
    return {
        "seq": stored.seq, "topic": stored.topic, "amount": amount, "recorded_at": record.recorded_at,
        "transact_time": getattr(record.event, "transact_time", None), "actor": record.actor,
        "request_id": record.request_id, "facts": facts,
        "report": {
            "seq": stored.seq, "stream": stored.stream, "topic": stored.topic, "state": stored.state.decode(),
        },
    }  # fmt: skip

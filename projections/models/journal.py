"""Journal: every event that moves money or an asset as balanced entries, and the ledger accounts they add up to.

Words are those of ISO 20022: an entry has lines; `value_date` is the UTC day on which something happened (of cash, as
it was told), `booking_date` the day on which it came into the book (of cash, as it was told). A late fill, a bust and
what they restate are booked on the day they came in, for the day they belong to. Which accounts an event debits and
credits is in `projections.models.bookkeeping`.

Entries keep their lines. Two tables add them up, debit and credit of each ledger account in one row: `ledger` by
position and asset, for the trial balance; `turnover` by value date and asset, for what an account had on any day. What
is asked as of a past moment is asked of the rows of that moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from domain.account import AccountOpened, EntryBooked, FeeCharged, TransferReturned, TransferSettled
from domain.instrument import Contract, Kind
from domain.ledger import Logged
from domain.position import (
    FundingSettled,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
)
from domain.values import ZERO, exact, venue_of
from projections.models.bookkeeping import (
    ASSETS,
    BOOKED_AS,
    FEES,
    FUNDING,
    TRANSFERS,
    Line,
    asset_account,
    cash_lines,
    restated_lines,
    traded_lines,
    transferred_lines,
)
from projections.storage.copy_out import CopyOut
from projections.storage.rows import Source, fetch
from projections.storage.tables import AT, ITEMS, WHOLE, Projection, Row, Rows, fact, key, maybe, printable, table

PAGE_ROWS_MAX = 1000

Sums = dict[str, tuple[Decimal, Decimal]]  # debit and credit by ledger account


class Turnovers(sa.types.TypeDecorator[Sums]):
    """Debit and credit by ledger account, kept as a JSON object of pairs of decimal texts."""

    impl = ITEMS
    cache_ok = True

    def process_bind_param(self, value: Sums | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy's)
        return value  # JSON has decimals as text

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Sums:  # noqa: ARG002
        return {account: (Decimal(debit), Decimal(credit)) for account, (debit, credit) in (value or {}).items()}


entries_table = table(
    "journal",
    "entries",
    key("entry_seq", WHOLE),
    key("part", WHOLE),
    fact("account_id"),
    fact("kind"),
    fact("booking_date"),
    fact("value_date"),
    maybe("strategy_id"),
    maybe("instrument_id"),
    fact("reference"),
    fact("narrative"),
    fact("transact_time", AT),
    fact("recorded_at", AT),
    fact("lines", ITEMS),
    indexes=(("account_id", "entry_seq", "part"), ("value_date", "entry_seq", "part")),
    born="entry_seq",
    is_only_added=True,
)
ledger_table = table(
    "journal",
    "ledger",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    key("asset"),
    fact("sums", Turnovers()),
    indexes=(("account_id", "instrument_id"),),
)
turnover_table = table(
    "journal",
    "turnover",
    key("account_id"),
    key("asset"),
    key("value_date"),
    fact("sums", Turnovers()),
    indexes=(("account_id", "value_date"),),
)
instruments_table = table("journal", "instruments", key("instrument_id"), fact("settle"), fact("kind"))
venues_table = table("journal", "venues", key("account_id"), fact("venue"))

CURSOR = ("entry_seq", "part")
LINES = (
    "SELECT e.*, l.ordinality AS line, l.value->>0 AS account, l.value->>1 AS asset,"
    " CASE WHEN l.value->>2 NOT LIKE '-%%' THEN l.value->>2 END AS debit,"
    " CASE WHEN l.value->>2 LIKE '-%%' THEN substr(l.value->>2, 2) END AS credit"
    " FROM {entries} AS e CROSS JOIN LATERAL jsonb_array_elements(e.lines) WITH ORDINALITY AS l"
)
COPIED_LINES = CopyOut(
    entries_table,
    ", ".join((*CURSOR, "line")),
    ("account_id", "strategy_id", "instrument_id", "day"),
    LINES,
)
NOTHING = (ZERO, ZERO)


class Entry(NamedTuple):
    """What one entry is about; its lines are beside it. `position` is None of cash."""

    account_id: str
    kind: str
    booking_date: str
    value_date: str
    reference: str
    transact_time: datetime
    position: PositionKey | None = None
    narrative: str = ""


def day_of(moment: datetime) -> str:
    """The UTC day of a moment."""
    return moment.astimezone(UTC).date().isoformat()


def _booked(rows: Rows, logged: Logged, event: TradeBooked) -> None:
    _learn(rows, logged, event.key.instrument_id, event.contract)
    narrative = f"{event.side.value} {event.last_qty:f} at {event.last_px:f}"
    late = ", late" if event.is_late else ""
    entry = _of_position(logged, event.key, event.kind.value, event.exec_id, event.transact_time, narrative + late)
    _put(rows, logged, 0, entry, traded_lines(event))


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    entry = _of_position(
        logged, event.key, "REVERSAL", event.exec_id, event.transact_time, f"taken back: {event.reason}"
    )
    _put(rows, logged, 0, entry, traded_lines(event, -1))


def _transferred(rows: Rows, logged: Logged, event: PositionTransferred) -> None:
    _learn(rows, logged, event.key.instrument_id, event.contract)
    narrative = f"{event.side.value} {event.quantity:f} without a trade: {event.reason.value}"
    if event.counterparty is not None:
        narrative += f", {event.counterparty.account_id} {event.counterparty.strategy_id}"
    entry = _of_position(logged, event.key, "TRANSFER", event.transfer_id, event.transact_time, narrative)
    _put(rows, logged, 0, entry, transferred_lines(event))


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    contract, venue = _contract(rows, event.key.instrument_id), venue_of(event.key.instrument_id)
    because = f"moved by {', '.join(event.late_exec_ids[:3])}" + (" ..." if len(event.late_exec_ids) > 3 else "")
    for number, item in enumerate(event.items):
        before = restated_lines(item.was, contract, venue, -1)
        after = restated_lines(item.now, contract, venue, 1)
        for place, (kind, lines) in enumerate((("REVERSAL", before), ("RESTATEMENT", after))):
            entry = _of_position(logged, event.key, kind, item.exec_id, item.transact_time, because)
            _put(rows, logged, 2 * number + place, entry, lines)


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    money, assets = event.amount, asset_account(venue_of(event.key.instrument_id))
    entry = _of_position(logged, event.key, "FUNDING", event.funding_id, event.transact_time)
    lines = [Line(assets, money.currency, money.amount), Line(FUNDING, money.currency, -money.amount)]
    _put(rows, logged, 0, entry, lines)


def _settled(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned) -> None:
    leg, other = event.leg, event.leg.counter_account_id or event.leg.counterparty
    kind, narrative = ("TRANSFER", "settled") if isinstance(event, TransferSettled) else ("RETURN", event.reason)
    entry = _of_cash(event, kind, leg.transfer_id, narrative + (f", {other}" if other else ""))
    lines = cash_lines(event.entries[:1], _venue(rows, event.account_id), TRANSFERS)
    _put(rows, logged, 0, entry, lines + cash_lines(event.entries[1:], _venue(rows, event.account_id), FEES))


def _charged(rows: Rows, logged: Logged, event: FeeCharged) -> None:
    entry = _of_cash(event, "FEE", event.fee_id, event.reason)
    _put(rows, logged, 0, entry, cash_lines(event.entries, _venue(rows, event.account_id), FEES))


def _entered(rows: Rows, logged: Logged, event: EntryBooked) -> None:
    entry = _of_cash(event, event.kind.value, event.entry_id, event.reason)
    _put(rows, logged, 0, entry, cash_lines(event.entries, _venue(rows, event.account_id), BOOKED_AS[event.kind]))


def _opened(rows: Rows, logged: Logged, event: AccountOpened) -> None:
    rows.put(venues_table, {"account_id": event.account_id, "venue": event.venue, "seq": logged.seq})


def _venue(rows: Rows, account_id: str) -> str:
    known = rows.get(venues_table, account_id)
    return known["venue"] if known is not None else ""


def _learn(rows: Rows, logged: Logged, instrument_id: str, contract: Contract) -> None:
    """Kind and currencies, which no amendment changes: a restatement does not tell them."""
    if rows.get(instruments_table, instrument_id) is None:
        told = {"settle": contract.settle, "kind": contract.kind.value, "seq": logged.seq}
        rows.put(instruments_table, {"instrument_id": instrument_id, **told})


def _contract(rows: Rows, instrument_id: str) -> Contract:
    known = rows.get(instruments_table, instrument_id)
    assert known is not None, "what is restated has been booked before"
    return Contract(Kind(known["kind"]), "", "", known["settle"])


def _of_position(
    logged: Logged, position: PositionKey, kind: str, reference: str, at: datetime, narrative: str = ""
) -> Entry:
    booked = day_of(logged.recorded.recorded_at)
    return Entry(position.account_id, kind, booked, day_of(at), reference, at, position, narrative)


def _of_cash(
    event: TransferSettled | TransferReturned | FeeCharged | EntryBooked, kind: str, reference: str, narrative: str
) -> Entry:
    booked, value = event.booking_date.isoformat(), event.value_date.isoformat()
    return Entry(event.account_id, kind, booked, value, reference, event.transact_time, None, narrative)


def _put(rows: Rows, logged: Logged, part: int, entry: Entry, lines: Sequence[Line]) -> None:
    """One entry with its lines, those of nothing left out, added to the ledger accounts."""
    kept = [line for line in lines if line.amount]
    if not kept:
        return
    seq, position = logged.seq, entry.position
    rows.put(
        entries_table,
        {
            "entry_seq": seq,
            "part": part,
            "account_id": entry.account_id,
            "kind": entry.kind,
            "booking_date": entry.booking_date,
            "value_date": entry.value_date,
            "strategy_id": position.strategy_id if position else None,
            "instrument_id": position.instrument_id if position else None,
            "reference": entry.reference,
            "narrative": printable(entry.narrative),
            "transact_time": entry.transact_time,
            "recorded_at": logged.recorded.recorded_at,
            "lines": [[account, asset, f"{amount:f}"] for account, asset, amount in kept],
            "seq": seq,
        },
    )
    _add(rows, entry, kept, seq)


def _add(rows: Rows, entry: Entry, lines: Iterable[Line], seq: int) -> None:
    """Add an entry's lines to both sums."""
    account_id, value_date, position = entry.account_id, entry.value_date, entry.position
    strategy_id, instrument_id = (position.strategy_id, position.instrument_id) if position is not None else ("", "")
    by_asset: dict[str, list[Line]] = {}
    for line in lines:
        by_asset.setdefault(line.asset, []).append(line)
    for asset, moved in by_asset.items():
        known = rows.get(ledger_table, account_id, strategy_id, instrument_id, asset)
        rows.put(
            ledger_table,
            {
                "account_id": account_id,
                "strategy_id": strategy_id,
                "instrument_id": instrument_id,
                "asset": asset,
                "sums": _added(known, moved),
                "seq": seq,
            },
        )
        known = rows.get(turnover_table, account_id, asset, value_date)
        rows.put(
            turnover_table,
            {
                "account_id": account_id,
                "asset": asset,
                "value_date": value_date,
                "sums": _added(known, moved),
                "seq": seq,
            },
        )


def _added(known: Row | None, moved: Iterable[Line]) -> Sums:
    """Sums are exact, and put into their one form when they are read."""
    sums: Sums = known["sums"].copy() if known is not None else {}
    for account, _, amount in moved:
        debit, credit = sums.get(account, NOTHING)
        sums[account] = (debit + amount, credit) if amount > 0 else (debit, credit - amount)
    return sums


PROJECTION = Projection(
    "journal",
    2,
    (entries_table, ledger_table, turnover_table, instruments_table, venues_table),
    {
        AccountOpened: _opened,
        TradeBooked: _booked,
        TradeReversed: _reversed,
        PositionTransferred: _transferred,
        PositionRestated: _restated,
        FundingSettled: _funded,
        TransferSettled: _settled,
        TransferReturned: _settled,
        FeeCharged: _charged,
        EntryBooked: _entered,
    },
)


def entries(
    source: Source,
    *,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    asset: str | None = None,
    day: str | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: tuple[int, int] | None = None,
    is_descending: bool = False,
) -> list[Row]:
    """Entries in the order of the log (or the newest first), of one account, in one asset, for one value date.

    The next page is `after` the last row's (entry_seq, part). An asset is looked for only in days that moved it.
    """
    where: Row = {"account_id": account_id, "strategy_id": strategy_id, "instrument_id": instrument_id}
    where["value_date"] = day
    if asset is None:
        found = fetch(
            source, entries_table, where=where, by=CURSOR, after=after, limit=limit, is_descending=is_descending
        )
        return [_with_amounts(row) for row in found]
    days = fetch(source, turnover_table, where={"account_id": account_id, "value_date": day, "asset": asset})
    where["value_date"] = tuple(sorted({row["value_date"] for row in days}))
    shown: list[Row] = []
    size = PAGE_ROWS_MAX if limit is None else min(PAGE_ROWS_MAX, limit)
    while limit is None or len(shown) < limit:
        page = fetch(
            source, entries_table, where=where, by=CURSOR, after=after, limit=size, is_descending=is_descending
        )
        shown += (row for row in page if any(line[1] == asset for line in row["lines"]))
        if len(page) < size:
            break
        after, size = (page[-1]["entry_seq"], page[-1]["part"]), min(PAGE_ROWS_MAX, 4 * size)
    return [_with_amounts(row) for row in shown[:limit]]


def _with_amounts(row: Row) -> Row:
    lines = [{"account": account, "asset": asset, "amount": Decimal(text)} for account, asset, text in row["lines"]]
    return row | {"lines": lines}


def lines_of(rows: Iterable[Row]) -> Iterator[Row]:
    """Entries as one row a line, for tables and files: `line` numbers them, amounts are debit or credit."""
    for row in rows:
        about = {name: value for name, value in row.items() if name != "lines"}
        for number, line in enumerate(row["lines"], 1):
            debit, credit = split(line["amount"])
            yield about | {"line": number, **line, "debit": debit, "credit": credit}


def split(amount: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """A signed amount as debit and credit, of which one is None."""
    return (amount, None) if amount > 0 else (None, exact(-amount))


def ledger(source: Source, *, account_id: str | None = None, instrument_id: str | None = None) -> list[Row]:
    """Ledger accounts by position, with their `balance`: debit less credit. Assets are of no position.

    Of one instrument there are those that carry a position's name.
    """
    found: list[Row] = []
    for row in accounts(fetch(source, ledger_table, where={"account_id": account_id, "instrument_id": instrument_id})):
        if not row["account"].startswith(ASSETS):
            found.append(row)
        elif instrument_id is None:
            found.append(row | {"strategy_id": "", "instrument_id": ""})
    return summed(found, (*ACCOUNT, "strategy_id", "instrument_id"))


def trial_balance(
    source: Source, *, account_id: str | None = None, asset: str | None = None, upto: str | None = None
) -> list[Row]:
    """Debit, credit and balance of every ledger account and asset, as of now or of the end of a value date `upto`."""
    where = {"account_id": account_id, "asset": asset}
    if upto is None:
        return summed(accounts(fetch(source, ledger_table, where=where)), ACCOUNT)
    return summed(accounts(fetch(source, turnover_table, where=where, at_most={"value_date": upto})), ACCOUNT)


def turnover(source: Source, account_id: str) -> list[Row]:
    """What each ledger account of an account moved in each asset, by value date: debit and credit."""
    return accounts(fetch(source, turnover_table, where={"account_id": account_id}))


def accounts(rows: Iterable[Row]) -> list[Row]:
    """Rows of sums as one row a ledger account."""
    return [
        {name: value for name, value in row.items() if name != "sums"}
        | {"account": account, "debit": exact(debit), "credit": exact(credit)}
        for row in rows
        for account, (debit, credit) in row["sums"].items()
    ]


ACCOUNT = ("account_id", "account", "asset")


def summed(rows: Iterable[Row], by: Sequence[str]) -> list[Row]:
    """Debit, credit and balance for each value of the `by` columns, sorted by them; `seq` is the last that touched."""
    sums: dict[tuple[str, ...], Row] = {}
    for row in rows:
        place = tuple(row[name] for name in by)
        known = sums.get(place)
        if known is None:
            known = sums[place] = dict(zip(by, place, strict=True)) | {"debit": ZERO, "credit": ZERO, "seq": 0}
        known["debit"] += row["debit"]
        known["credit"] += row["credit"]
        known["seq"] = max(known["seq"], row["seq"])
    return [
        row | {"debit": exact(row["debit"]), "credit": exact(row["credit"]),
               "balance": exact(row["debit"] - row["credit"])}
        for _, row in sorted(sums.items())
    ]  # fmt: skip

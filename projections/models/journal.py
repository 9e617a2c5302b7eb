"""Journal: balanced entries of every event that moves money or an asset, and the ledger accounts they add up to.

Words are those of ISO 20022: an entry has lines; `value_date` is the UTC day of the occurrence (of cash, as stated),
`booking_date` the day of the recording (of cash, as stated). A late fill, a bust and the restatements they cause are
booked on the day they were recorded, with the value date of the day they belong to. Which accounts an event debits and
credits is in `projections.models.bookkeeping`.

Entries keep their lines. Two tables add them up, debit and credit of each ledger account in one row: `ledger` by
position and asset, for the trial balance; `turnover` by value date and asset, for an account's balances on any day.
Queries as of a past moment read the rows of that moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, Final, NamedTuple, TypedDict, cast

import sqlalchemy as sa

from domain import position
from domain.account import AccountOpened, EntryBooked, FeeCharged, TransferReturned, TransferSettled
from domain.instrument import Contract, Kind
from domain.ledger import Logged
from domain.position import (
    FundingSettled,
    Moved,
    PositionKey,
    PositionRestated,
    PositionTransferred,
    TradeBooked,
    TradeReversed,
)
from domain.values import ZERO, exact, venue_of
from projections.calendar import SLOTS_A_DAY, slot_start
from projections.models.bookkeeping import (
    ASSETS,
    FEES,
    FUNDING,
    TRANSFERS,
    Line,
    asset_account,
    cash_lines,
    entry_lines,
    restated_lines,
    traded_lines,
    transferred_lines,
)
from projections.storage.copy_out import CopyOut
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    ITEMS,
    POSITION,
    WHOLE,
    AnyRow,
    Projection,
    Row,
    Rows,
    fact,
    key,
    maybe,
    place_of,
    position_filter,
    printable,
    table,
)

PAGE_ROWS_MAX = 1000

Sums = dict[str, tuple[Decimal, Decimal]]  # debit and credit by ledger account


class Turnovers(sa.types.TypeDecorator[Sums]):
    """Debit and credit by ledger account, stored as a JSON object of pairs of decimal texts."""

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
    maybe("position_side"),
    fact("reference"),
    fact("narrative"),
    fact("transact_time", AT),
    fact("recorded_at", AT),
    fact("lines", ITEMS),
    indexes=(("account_id", "entry_seq", "part"), ("value_date", "entry_seq", "part")),
    created_by="entry_seq",
    is_only_added=True,
)
ledger_table = table(
    "journal",
    "ledger",
    *map(key, POSITION),
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


class EntryColumns(TypedDict):
    """A journal entry without its lines: dates are UTC days in ISO 8601; position columns are None of cash."""

    entry_seq: int
    part: int
    account_id: str
    kind: str
    booking_date: str
    value_date: str
    strategy_id: str | None
    instrument_id: str | None
    position_side: str | None
    reference: str
    narrative: str
    transact_time: datetime
    recorded_at: datetime
    seq: int


class JournalLine(TypedDict):
    """A debit (above zero) or credit (below) of a ledger account, in units of the asset."""

    account: str
    asset: str
    amount: Decimal


class StoredEntryRow(EntryColumns):
    """A journal entry as stored: a line is account, asset and the amount's text, signed as in `JournalLine`."""

    lines: list[list[str]]


class JournalEntryRow(EntryColumns):
    """A journal entry: its lines sum to zero in each asset."""

    lines: list[JournalLine]


class JournalLineRow(EntryColumns):
    """One line of an entry, numbered from 1: `amount` signed, `debit` or `credit` above zero, the other None."""

    line: int
    account: str
    asset: str
    amount: Decimal
    debit: Decimal | None
    credit: Decimal | None


class TurnoverRow(TypedDict):
    """Debit and credit of a ledger account in one asset for one value date, in units of the asset."""

    account_id: str
    asset: str
    value_date: str
    seq: int
    account: str
    debit: Decimal
    credit: Decimal


class AssetTotalRow(TypedDict):
    """Debit, credit and balance (debit less credit) of all ledger accounts in one asset, in units of it."""

    asset: str
    debit: Decimal
    credit: Decimal
    balance: Decimal
    seq: int


class TrialBalanceRow(AssetTotalRow):
    """Debit, credit and balance of one ledger account in one asset."""

    account_id: str
    account: str


class LedgerRow(TrialBalanceRow):
    """Debit, credit and balance of one ledger account and position in one asset; "" where there is no position."""

    strategy_id: str
    instrument_id: str
    position_side: str


CURSOR = ("entry_seq", "part")
BY_OCCURRENCE: Final = ("value_date", "transact_time", "entry_seq", "part")
LINES = (
    "SELECT e.*, l.ordinality AS line, l.value->>0 AS account, l.value->>1 AS asset,"
    " CASE WHEN l.value->>2 NOT LIKE '-%%' THEN l.value->>2 END AS debit,"
    " CASE WHEN l.value->>2 LIKE '-%%' THEN substr(l.value->>2, 2) END AS credit"
    " FROM {entries} AS e CROSS JOIN LATERAL jsonb_array_elements(e.lines) WITH ORDINALITY AS l"
)
COPIED_LINES = CopyOut(
    entries_table,
    ", ".join((*CURSOR, "line")),
    (*POSITION, "day"),
    LINES,
)
NOTHING = (ZERO, ZERO)


class Entry(NamedTuple):
    """One entry without its lines. `position` is None of cash."""

    account_id: str
    kind: str
    booking_date: str
    value_date: str
    reference: str
    transact_time: datetime
    position: PositionKey | None = None
    narrative: str = ""


def day_of(moment: datetime) -> str:
    """Return the UTC day of a moment."""
    return moment.astimezone(UTC).date().isoformat()


def _booked(rows: Rows, logged: Logged, event: TradeBooked) -> None:
    _put_instrument(rows, logged, event.key.instrument_id, event.contract)
    narrative = f"{event.side.value} {event.last_qty:f} at {event.last_px:f}"
    late = ", late" if event.is_late else ""
    about = (event.kind.value, event.exec_id)
    entry = _of_position(logged, event.key, about, event.transact_time, narrative=narrative + late)
    _put(rows, logged, entry, traded_lines(event))


def _reversed(rows: Rows, logged: Logged, event: TradeReversed) -> None:
    about, narrative = ("REVERSAL", event.exec_id), f"taken back: {event.reason}"
    entry = _of_position(logged, event.key, about, event.transact_time, narrative=narrative)
    _put(rows, logged, entry, traded_lines(event, -1))


def _transferred(rows: Rows, logged: Logged, event: PositionTransferred) -> None:
    _put_instrument(rows, logged, event.key.instrument_id, event.contract)
    narrative = f"{event.side.value} {event.quantity:f} without a trade: {event.reason.value}"
    if event.counterparty is not None:
        narrative += f", {event.counterparty.account_id} {event.counterparty.strategy_id}"
    about = ("TRANSFER", event.transfer_id)
    entry = _of_position(logged, event.key, about, event.transact_time, narrative=narrative)
    _put(rows, logged, entry, transferred_lines(event))


def _restated(rows: Rows, logged: Logged, event: PositionRestated) -> None:
    contract, venue = _contract(rows, event.key.instrument_id), venue_of(event.key.instrument_id)
    because = f"moved by {', '.join(event.late_exec_ids[:3])}" + (" ..." if len(event.late_exec_ids) > 3 else "")
    for number, item in enumerate(event.items):
        before = restated_lines(item.was, contract, venue, -1)
        after = restated_lines(item.now, contract, venue, 1)
        for place, (kind, lines) in enumerate((("REVERSAL", before), ("RESTATEMENT", after))):
            entry = _of_position(logged, event.key, (kind, item.exec_id), item.transact_time, narrative=because)
            _put(rows, logged, entry, lines, part=2 * number + place)
    if event.since is None:
        return
    about, narrative = ("RESTATEMENT", event.since.exec_id), f"{because}: all of the day since {event.since.exec_id}"
    days = groupby(event.moved, key=lambda moved: moved.half_hour // SLOTS_A_DAY)
    for number, (day, moves) in enumerate(days, 2 * len(event.items)):
        at = max(slot_start(day * SLOTS_A_DAY), event.since.transact_time)
        entry = _of_position(logged, event.key, about, at, narrative=narrative)
        _put(rows, logged, entry, restated_lines(_total(moves), contract, venue, 1), part=number)


def _total(moves: Iterable[Moved]) -> position.Sums:
    """Return the change of sums of several half hours."""
    known = list(moves)
    names = position.Sums.__struct_fields__
    return position.Sums(*(exact(sum((getattr(move, name) for move in known), ZERO)) for name in names))


def _funded(rows: Rows, logged: Logged, event: FundingSettled) -> None:
    money, assets = event.amount, asset_account(venue_of(event.key.instrument_id))
    entry = _of_position(logged, event.key, ("FUNDING", event.funding_id), event.transact_time)
    lines = [Line(assets, money.currency, money.amount), Line(FUNDING, money.currency, -money.amount)]
    _put(rows, logged, entry, lines)


def _settled(rows: Rows, logged: Logged, event: TransferSettled | TransferReturned) -> None:
    leg, other = event.leg, event.leg.counter_account_id or event.leg.counterparty
    kind, narrative = ("TRANSFER", "settled") if isinstance(event, TransferSettled) else ("RETURN", event.reason)
    entry = _of_cash(event, kind, leg.transfer_id, narrative + (f", {other}" if other else ""))
    lines = cash_lines(event.entries[:1], _venue(rows, event.account_id), TRANSFERS)
    _put(rows, logged, entry, lines + cash_lines(event.entries[1:], _venue(rows, event.account_id), FEES))


def _charged(rows: Rows, logged: Logged, event: FeeCharged) -> None:
    entry = _of_cash(event, "FEE", event.fee_id, event.reason)
    _put(rows, logged, entry, cash_lines(event.entries, _venue(rows, event.account_id), FEES))


def _entered(rows: Rows, logged: Logged, event: EntryBooked) -> None:
    entry = _of_cash(event, event.kind.value, event.entry_id, event.reason)
    _put(rows, logged, entry, entry_lines(event, _venue(rows, event.account_id)))


def _opened(rows: Rows, logged: Logged, event: AccountOpened) -> None:
    rows.put(venues_table, {"account_id": event.account_id, "venue": event.venue, "seq": logged.seq})


def _venue(rows: Rows, account_id: str) -> str:
    known = rows.get(venues_table, account_id)
    return known["venue"] if known is not None else ""


def _put_instrument(rows: Rows, logged: Logged, instrument_id: str, contract: Contract) -> None:
    """Keep kind and settlement currency, which no amendment changes, for restatements: those do not have them."""
    if rows.get(instruments_table, instrument_id) is None:
        columns = {"settle": contract.settle, "kind": contract.kind.value, "seq": logged.seq}
        rows.put(instruments_table, {"instrument_id": instrument_id, **columns})


def _contract(rows: Rows, instrument_id: str) -> Contract:
    known = rows.get(instruments_table, instrument_id)
    assert known is not None, "a restated entry has been booked before"
    return Contract(Kind(known["kind"]), "", "", known["settle"])


def _of_position(
    logged: Logged, position: PositionKey, about: tuple[str, str], at: datetime, *, narrative: str = ""
) -> Entry:
    """Return an entry of a position; `about` is its kind and reference."""
    return Entry(
        account_id=position.account_id,
        kind=about[0],
        booking_date=day_of(logged.recorded.recorded_at),
        value_date=day_of(at),
        reference=about[1],
        transact_time=at,
        position=position,
        narrative=narrative,
    )


def _of_cash(
    event: TransferSettled | TransferReturned | FeeCharged | EntryBooked, kind: str, reference: str, narrative: str
) -> Entry:
    return Entry(
        account_id=event.account_id,
        kind=kind,
        booking_date=event.booking_date.isoformat(),
        value_date=event.value_date.isoformat(),
        reference=reference,
        transact_time=event.transact_time,
        narrative=narrative,
    )


def _put(rows: Rows, logged: Logged, entry: Entry, lines: Sequence[Line], *, part: int = 0) -> None:
    """Put one entry with its lines, without those of zero, and add them to the ledger accounts."""
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
            "position_side": position.position_side.value if position else None,
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
    place = place_of(position) if position is not None else (account_id, "", "", "")
    by_asset: dict[str, list[Line]] = {}
    for line in lines:
        by_asset.setdefault(line.asset, []).append(line)
    for asset, moved in by_asset.items():
        known = rows.get(ledger_table, *place, asset)
        rows.put(
            ledger_table,
            {
                **dict(zip(POSITION, place, strict=True)),
                "asset": asset,
                "sums": _added(known, moved),
                "seq": seq,
            },
        )
        known = rows.get(turnover_table, account_id, asset, value_date)
        of_day = {"account_id": account_id, "asset": asset, "value_date": value_date}
        rows.put(turnover_table, of_day | {"sums": _added(known, moved), "seq": seq})


def _added(known: Row | None, moved: Iterable[Line]) -> Sums:
    """Return sums with lines added; they are exact, and made canonical when they are read."""
    sums: Sums = known["sums"].copy() if known is not None else {}
    for account, _, amount in moved:
        debit, credit = sums.get(account, NOTHING)
        sums[account] = (debit + amount, credit) if amount > 0 else (debit, credit - amount)
    return sums


PROJECTION = Projection(
    "journal",
    3,
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
    position_side: str | None = None,
    asset: str | None = None,
    day: str | None = None,
    limit: int | None = PAGE_ROWS_MAX,
    after: tuple[int, int] | None = None,
    is_descending: bool = False,
) -> list[JournalEntryRow]:
    """Return entries in log order (or the newest first), of one account, in one asset, for one value date.

    The next page is `after` the last row's (entry_seq, part). An asset is searched only in days that moved it.
    """
    where: Row = {**position_filter(account_id, strategy_id, instrument_id, position_side), "value_date": day}
    if asset is None:
        found = fetch(
            source, entries_table, where=where, by=CURSOR, after=after, limit=limit, is_descending=is_descending
        )
        return [with_amounts(row) for row in found]
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
    return [with_amounts(row) for row in shown[:limit]]


def with_amounts(row: Row) -> JournalEntryRow:
    """Return a row of the table as a journal entry."""
    lines = [{"account": account, "asset": asset, "amount": Decimal(text)} for account, asset, text in row["lines"]]
    return cast(JournalEntryRow, row | {"lines": lines})


def stored_entries(
    source: Source, account_id: str, value_date: str, *, after: Sequence[Any] | None = None, limit: int | None = None
) -> list[StoredEntryRow]:
    """Return an account's entries for one value date by time of occurrence, their lines as stored.

    The next page is `after` the last row's `BY_OCCURRENCE` columns.
    """
    where = {"account_id": account_id, "value_date": value_date}
    found = fetch(source, entries_table, where=where, by=BY_OCCURRENCE, after=after, limit=limit)
    return cast(list[StoredEntryRow], found)


def lines_of(rows: Iterable[JournalEntryRow]) -> Iterator[JournalLineRow]:
    """Yield entries as one row a line, for tables and files: `line` numbers them, amounts are debit or credit."""
    for row in rows:
        about: Row = {name: value for name, value in row.items() if name != "lines"}
        for number, line in enumerate(row["lines"], 1):
            debit, credit = split(line["amount"])
            yield cast(JournalLineRow, about | {"line": number, **line, "debit": debit, "credit": credit})


def split(amount: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """Return a signed amount as debit and credit, of which one is None."""
    return (amount, None) if amount > 0 else (None, exact(-amount))


def ledger(source: Source, *, account_id: str | None = None, instrument_id: str | None = None) -> list[LedgerRow]:
    """Return ledger accounts by position, with their `balance`: debit less credit. Asset accounts have no position.

    With an `instrument_id` only accounts that have a position.
    """
    found: list[Row] = []
    for row in _accounts(fetch(source, ledger_table, where={"account_id": account_id, "instrument_id": instrument_id})):
        if not row["account"].startswith(ASSETS):
            found.append(row)
        elif instrument_id is None:
            found.append(row | dict.fromkeys(POSITION[1:], ""))
    return cast(list[LedgerRow], _summed(found, (*ACCOUNT, *POSITION[1:])))


def trial_balance(
    source: Source, *, account_id: str | None = None, asset: str | None = None, upto: str | None = None
) -> list[TrialBalanceRow]:
    """Return debit, credit and balance of every ledger account and asset, now or at the end of a value date `upto`."""
    where = {"account_id": account_id, "asset": asset}
    if upto is None:
        found = fetch(source, ledger_table, where=where)
    else:
        found = fetch(source, turnover_table, where=where, at_most={"value_date": upto})
    return cast(list[TrialBalanceRow], _summed(_accounts(found), ACCOUNT))


def totals(rows: Iterable[TrialBalanceRow]) -> list[AssetTotalRow]:
    """Sum a trial balance by asset: each balance is zero."""
    return cast(list[AssetTotalRow], _summed(rows, ("asset",)))


def turnover(source: Source, account_id: str) -> list[TurnoverRow]:
    """Return debit and credit of each ledger account of an account in each asset, by value date."""
    return cast(list[TurnoverRow], _accounts(fetch(source, turnover_table, where={"account_id": account_id})))


def _accounts(rows: Iterable[Row]) -> list[Row]:
    """Return rows of sums as one row a ledger account."""
    return [
        {name: value for name, value in row.items() if name != "sums"}
        | {"account": account, "debit": exact(debit), "credit": exact(credit)}
        for row in rows
        for account, (debit, credit) in row["sums"].items()
    ]


ACCOUNT = ("account_id", "account", "asset")


def _summed(rows: Iterable[AnyRow], by: Sequence[str]) -> list[Row]:
    """Return debit, credit and balance for each value of the `by` columns, sorted by them; `seq` is the latest."""
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

"""Schemas of answers, for OpenAPI. Decimals are text, so that no client reads them as floats."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from domain.errors.codes import Code
from projections.analytics import exposure, pnl
from projections.controls import shadow_limits
from projections.models import balances, breaks, executions, journal, limits, lots, orders, positions
from projections.storage.tables import ITEMS, POSITION, Amounts

DecimalText = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["0.5"]})
]
TimeText = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Answer(BaseModel):
    """An answer with no members but these."""

    model_config = ConfigDict(extra="forbid")


class AccountAnswer(Answer):
    account_id: str
    base_currency: str
    cost_basis: str
    fee_policy: str
    money_places: int
    owner: str | None
    venue: str | None
    is_margin: bool
    closed_at: TimeText | None


class OwnerAnswer(Answer):
    account_id: str
    subject_id: str
    name: str | None
    is_forgotten: bool


class InstrumentAnswer(Answer):
    instrument_id: str
    kind: str
    base: str
    quote: str
    settle: str
    contract_size: DecimalText
    tick_size: DecimalText
    lot_size: DecimalText
    expiry: TimeText | None
    strike: DecimalText | None
    put_or_call: str | None
    exercise_style: str | None = Field(description="of an option: EUROPEAN or AMERICAN")
    effective_at: TimeText | None = Field(description="since when the newest facts hold; null: always")
    delisted_at: TimeText | None


class Accounts(Answer):
    seq: int
    items: list[AccountAnswer]


class Instruments(Answer):
    seq: int
    items: list[InstrumentAnswer]


class LimitAnswer(Answer):
    account_id: str
    measure: str
    status: str
    limit: DecimalText | None
    currency: str | None
    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None
    version: int


class CapitalAnswer(Answer):
    """The capital that is stated; null where none is."""

    account_id: str
    amount: DecimalText | None
    currency: str | None
    stated_at: TimeText | None


class PaidIn(Answer):
    amount: DecimalText
    currency: str


class CapitalRow(Answer):
    """The capital that limits are measured by: amounts in `currency`; equity = capital + gain, at present marks."""

    account_id: str
    basis: str | None = Field(description="STATED, or BOOK: of what was paid in; null where none is known")
    currency: str | None
    capital: DecimalText | None
    gain: DecimalText | None
    equity: DecimalText | None
    stated_at: TimeText | None
    paid_in: list[PaidIn] = Field(description="on record, by currency: cash entries and the cost of transfers")
    unassessed: str | None = Field(description="why the equity is not known: what is missing, and what to do")


class OrderAnswer(Answer):
    """An order as it was submitted. GET shows its present state."""

    account_id: str
    cl_ord_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    side: str
    ord_type: str
    order_qty: DecimalText
    price: DecimalText | None
    time_in_force: str
    expire_time: TimeText | None
    stop_px: DecimalText | None
    trigger_price: str
    peg_offset_value: DecimalText | None
    peg_offset: str
    exec_inst: list[str]
    display_qty: DecimalText | None
    parent: str
    transact_time: TimeText
    recorded_at: TimeText
    actor: str


class CancelAnswer(Answer):
    account_id: str
    cl_ord_id: str
    status: str


class TransferredLot(Answer):
    lot_id: str
    quantity: DecimalText
    cost: DecimalText
    opened_at: TimeText


class TransferAnswer(Answer):
    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    transfer_id: str
    side: str
    quantity: DecimalText
    cost: DecimalText
    reason: str
    transact_time: TimeText
    lots: list[TransferredLot]


class MarksAnswer(Answer):
    recorded: int


class VenueReportAnswer(Answer):
    """The outcome of one venue report of a submission."""

    index: int
    status: Literal["recorded", "known", "broken", "unreadable"] = Field(
        description="`recorded`: new, and in the book. `known`: reported before, nothing was added. `broken`: it "
        "breaks a rule, and a break is on record. `unreadable`: kept raw, as evidence."
    )
    booked: bool = Field(
        description="whether it is in the book. Of a `broken` one: true with a break beside it, such as a fill beyond "
        "its order; false where it contradicts what is on record, or amends a fill that is not, and is a break alone"
    )
    code: Code | None = Field(None, description="of the rule it broke")
    rule: str | None = Field(None, description="the rule it broke")
    detail: str | None = Field(None, description="what is wrong with it, in a sentence")
    errors: list[dict[str, Any]] | None = Field(
        None, description="of an unreadable one: field, value, rule, code, message"
    )
    break_id: str | None = Field(
        None, description="the id of the break that keeps it, opened now or before: `GET /v1/breaks?break_id=`"
    )
    breaks: list[dict[str, Any]] | None = Field(
        None, description="of a venue statement: its differences from our records, each with the id of its break"
    )


class VenueReportsAnswer(Answer):
    """How many reports ended in each status, and the outcome of each."""

    recorded: int
    known: int
    broken: int
    unreadable: int
    answers: list[VenueReportAnswer]


class EventAnswer(Answer):
    """One event: `state` is what is stored and hashed, as text; `record` the same decoded."""

    seq: int
    stream: str
    version: int
    topic: str
    recorded_at: TimeText
    actor: str
    request_id: str
    cause: str = Field(description="what the request follows from, such as `event:17` of a policy's; mostly empty")
    summary: str = Field(description="what happened, in one line for people")
    code: Code | None = Field(description="of the rule that refused or was broken, where the event states one")
    sha256: str
    state: str
    record: dict[str, Any]


class EventsAnswer(Answer):
    seq: int = Field(description="the head of the log")
    items: list[EventAnswer]
    next: int | None = Field(description="`after` of the next page; null on the last")


class CheckpointAnswer(Answer):
    """A signed tree head: `note` is the signed text, to be kept as it is."""

    origin: str
    size: int
    root: str
    note: str


class CheckpointsAnswer(Answer):
    items: list[CheckpointAnswer]
    next: int | None = Field(description="`after` of the next page; null on the last")


class InclusionAnswer(Answer):
    """Leaf `leaf_index` is in the tree of `size` with `root` (RFC 9162, 2.1.3.2)."""

    seq: int
    leaf_index: int
    size: int
    leaf: str
    proof: list[str]
    root: str


class MarkProofAnswer(Answer):
    """Leaf `leaf_index` is in the batch of `size` marks with `root` (RFC 9162, 2.1.3.2). Its hash is that of `leaf`.

    `root` is that of the MarksRecorded event of `seq`, which GET /v1/proofs/inclusion proves.
    """

    leaf: str = Field(description="a JSON array: id, instrument, time, price, source, quality, recorded_at")
    leaf_index: int
    size: int
    proof: list[str]
    root: str
    seq: int


class ConsistencyAnswer(Answer):
    """The tree with `from_root` is the beginning of the tree with `to_root` (RFC 9162, 2.1.4.2)."""

    from_: int = Field(alias="from")
    to: int
    from_root: str
    to_root: str
    proof: list[str]


class SealKeyAnswer(Answer):
    """A public key, as a C2SP signed-note vkey and bare; `handover` is its predecessor's signed statement for it."""

    vkey: str
    public_key: str
    since_size: int
    handover: str | None
    recorded_seq: int | None = Field(description="the event by which the key is on record; null before it is")


class SealKeysAnswer(Answer):
    items: list[SealKeyAnswer]


class RestatementItem(Answer):
    """One cause of a difference: its effect on what is booked, and on the value of what is held."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    settle: str
    cause: str
    recorded_at: TimeText | None
    first_seq: int | None
    last_seq: int | None
    exec_ids: list[str]
    mark_was: DecimalText | None
    mark_is: DecimalText | None
    booked: DecimalText
    unrealized: DecimalText | None
    amount: DecimalText | None


class RestatementTotal(Answer):
    """A day's PnL as it was reported and as it is known, in one settlement currency."""

    settle: str
    reported: DecimalText | None
    known: DecimalText | None
    difference: DecimalText | None


class RestatementRow(RestatementTotal):
    """The same of one position."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str
    items: int


class RestatementAnswer(Answer):
    day_start: TimeText
    day_end: TimeText
    reported_seq: int = Field(description="the head of the log when the day was reported")
    seq: int
    positions: list[RestatementRow]
    items: list[RestatementItem]
    totals: list[RestatementTotal]


def moment(text: str) -> datetime:
    """Parse a time in a cursor, as we wrote it."""
    return datetime.fromisoformat(text)


def _type_of(column: sa.Column[Any]) -> Any:
    match column.type:
        case Amounts():
            type_: Any = dict[str, DecimalText]
        case sa.Numeric():
            type_ = DecimalText
        case sa.Boolean():
            type_ = bool
        case sa.BigInteger():
            type_ = int
        case sa.DateTime():
            type_ = TimeText
        case sa.Text():
            type_ = str
        case _:
            type_ = list[Any] if column.type is ITEMS else dict[str, Any]
    return type_ | None if column.nullable else type_


def _row(name: str, doc: str, columns: Iterable[sa.Column[Any]], **derived: Any) -> type[Answer]:
    """Return the schema of a read model's rows: its table's columns, and what is derived from them; `seq` last."""
    fields: dict[str, Any] = {column.name: (_type_of(column), ...) for column in columns}
    fields |= {column: (type_, ...) for column, type_ in derived.items()}
    fields["seq"] = (int, Field(..., description="the last event that touched the row"))
    return create_model(name, __base__=Answer, __doc__=doc, **fields)


def listing(shape: type[Answer], *, is_paged: bool = False, **more: type[Answer]) -> type[Answer]:
    """Return the schema of a list of rows; one without anything more beside it is paged."""
    fields: dict[str, Any] = {
        "seq": (int, Field(..., description="the place in the log the rows are of")),
        "recorded_at": (TimeText | None, Field(..., description="of a past moment: when that place was recorded")),
        "occurred_by": (TimeText | None, Field(..., description="as occurred: only what had happened by then")),
        "items": (list[shape], ...),  # type: ignore[valid-type]
    }
    fields |= {name: (list[each], ...) for name, each in more.items()}  # type: ignore[valid-type]
    if is_paged or not more:
        fields["next"] = (str | None, Field(None, description="cursor of the next page; null on the last"))
    return create_model(f"{shape.__name__}s", __base__=Answer, **fields)


_MARKED = {
    "mark": DecimalText | None, "mark_source": str | None, "mark_at": TimeText | None, "mark_quality": str | None,
    "mark_age_ms": int | None, "is_mark_stale": bool | None,
}  # fmt: skip
_GROUPS = dict.fromkeys(exposure.GROUPS, str | None)
_POSITION = positions.positions_table.c
_SHOWN = [column for column in _POSITION if column.name not in ("seq", *positions.BOOKKEEPING)]
_SIZED = [_POSITION[name] for name in (*POSITION, "kind", "base", "quote", "quantity")]


def _without_seq(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.c if column.name != "seq"]


OrderReportRow = _row(
    "OrderReportRow", "An order of the blotter, in reports.", _without_seq(orders.orders), avg_px=DecimalText | None
)
OrderRow = _row(
    "OrderRow",
    "An order of the blotter; `code`, `rule` and `facts` of one that was refused.",
    _without_seq(orders.orders),
    avg_px=DecimalText | None,
    code=Code | None,
)
ExecutionRow = _row("ExecutionRow", "A trade or transfer booked.", _without_seq(executions.executions))
PositionRow = _row("PositionRow", "A position.", _SHOWN, avg_px=DecimalText | None)
LotRow = _row("LotRow", "An open lot.", _without_seq(lots.lots_table))
MatchRow = _row(
    "MatchRow",
    "A part of a lot consumed by a disposal, with its acquisition; `proceeds` is cost + gain.",
    _without_seq(lots.matches_table),
    acquired_at=TimeText | None,
    proceeds=DecimalText,
    holding_days=int | None,
    is_long_term=bool | None,
    settle=str | None,
)
BreakRow = _row(
    "BreakRow", "A venue report that broke a rule or was unreadable.", _without_seq(breaks.breaks_table),
    code=Code | None,
)  # fmt: skip
PnlRow = _row(
    "PnlRow",
    "A position and its PnL; or what cash of an account earned and was charged in a currency (kind CASH, without an"
    " instrument): `income` and `fees_settle`.",
    _SHOWN,
    avg_px=DecimalText | None,
    venue=str,
    **_MARKED,
    value=DecimalText | None,
    unrealized=DecimalText | None,
    fees_settle=DecimalText,
    other_fees=dict[str, DecimalText],
    net=DecimalText | None,
)
ExposureRow = _row(
    "ExposureRow",
    "The size of a position, or of what else is held of a coin (kind COIN, without an instrument): payments of crosses,"
    " fees paid in it, cash. `priced_by` is the instrument of the mark.",
    _SIZED, venue=str, priced_by=str, **_MARKED, notional=DecimalText | None,
)  # fmt: skip


class UncountedRow(Answer):
    """A balance that no exposure counts: the account's base currency, or one without a price. `strategy_id` is that of
    what positions have moved, "" of cash.
    """

    account_id: str
    strategy_id: str
    venue: str
    asset: str
    quantity: DecimalText
    seq: int


LimitRow = _row(
    "LimitRow",
    "A limit and its usage; null scopes mean all strategies and each instrument. `subject` is the instrument or asset"
    " it is measured on; `headroom` is what is left of it, below zero where it is breached. `status` is ACTIVE (it"
    " refuses), SHADOW (checked with every order, which passes) or DRAFT (not checked). `would_refuse`, of a SHADOW"
    " limit, is how many orders and replacements it would have refused since it was set to this number.",
    [limits.limits.c[name] for name in ("account_id", "measure", "currency", "version", "unassessed", "transact_time")],
    **dict.fromkeys(limits.SCOPE, str | None),
    scope=str,
    subject=str,
    limit=DecimalText,
    **dict.fromkeys(("position", "held_buy", "held_sell", "used", "utilisation", "headroom"), DecimalText | None),
    is_breached=bool | None,
    breached_at=TimeText | None,
    status=str,
    would_refuse=int | None,
)
RefusalRow = _row(
    "RefusalRow",
    "An order that passed, or a replacement (`requested_as`), which a shadow limit would have refused. The scope and"
    " the numbers are the limit's: `used` without the order, and `with_order`; null where `rule` is that something to"
    " measure it by was missing, which `facts` name.",
    [column for column in _without_seq(shadow_limits.refusals) if column.name not in limits.SCOPE],
    **dict.fromkeys(limits.SCOPE, str | None),
)
RefusalCount = _row(
    "RefusalCount",
    "How many orders and replacements a version of a shadow limit would have refused, and the largest usage with one.",
    [column for column in _without_seq(shadow_limits.counts) if column.name not in limits.SCOPE],
    **dict.fromkeys(limits.SCOPE, str | None),
)


def _total(name: str, doc: str, currency: str, sums: dict[str, Any], groups: dict[str, Any] = _GROUPS) -> type[Answer]:
    fields: dict[str, Any] = {each: (type_, ...) for each, type_ in (groups | {currency: str} | sums).items()}
    fields |= dict.fromkeys(("missing_marks", "stale_marks"), (list[str], ...))
    return create_model(name, __base__=Answer, __doc__=doc, **fields)


_PNL = dict.fromkeys(pnl.SUMS, DecimalText | None) | {
    "other_fees": dict[str, DecimalText], "fees_converted": DecimalText, "left_out": dict[str, DecimalText],
}  # fmt: skip
_SIZES = dict.fromkeys(("gross", "net"), DecimalText | None)
PnlTotal = _total("PnlTotal", "Sums in one settlement currency.", "settle", _PNL)
PnlSum = _total("PnlSum", "Sums in one settlement currency.", "settle", _PNL, groups={})
ExposureTotal = _total("ExposureTotal", "Sums in one quote currency.", "quote", _SIZES)
ExposureSum = _total("ExposureSum", "Sums in one quote currency.", "quote", _SIZES, groups={})


class JournalLine(Answer):
    """A debit (above zero) or credit (below) of one ledger account in one asset."""

    account: str
    asset: str
    amount: DecimalText


BalanceRow = _row(
    "BalanceRow", "An account's balance of an asset.", _without_seq(balances.balances_table), available=DecimalText
)
DailyBalanceRow = _row(
    "DailyBalanceRow",
    "A balance on one day: opening + inflow - outflow = closing.",
    [balances.balances_table.c[name] for name in ("account_id", "asset")],
    day=str,
    opening=DecimalText,
    inflow=DecimalText,
    outflow=DecimalText,
    inflow_by_kind=dict[str, DecimalText],
    outflow_by_kind=dict[str, DecimalText],
    closing=DecimalText,
)
EntryRow = _row(
    "EntryRow",
    "A journal entry: its lines sum to zero in each asset.",
    [column for column in _without_seq(journal.entries_table) if column.name != "lines"],
    lines=list[JournalLine],
)
JournalLineRow = _row(
    "JournalLineRow",
    "One line of a journal entry.",
    [column for column in _without_seq(journal.entries_table) if column.name != "lines"],
    line=int,
    account=str,
    asset=str,
    debit=DecimalText | None,
    credit=DecimalText | None,
)
TrialBalanceRow = _row(
    "TrialBalanceRow",
    "A ledger account in one asset.",
    [journal.ledger_table.c.account_id],
    account=str,
    asset=str,
    debit=DecimalText,
    credit=DecimalText,
    balance=DecimalText,
)


class TrialBalanceTotal(Answer):
    """All ledger accounts in one asset: the balance is zero."""

    asset: str
    debit: DecimalText
    credit: DecimalText
    balance: DecimalText

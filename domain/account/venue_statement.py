"""Venue statement: an account's balances, positions, working orders and fills at a venue, as of one moment.

Balances are totals of a currency as the venue shows them (held and locked together; for derivatives the wallet, without
unrealized PnL). Positions are the venue's net of one derivative each, or in hedge mode one line for each leg
(`position_side`); a spot holding is a balance. A section that is
None was not stated; one that is stated is complete, so what it leaves out is zero there.

Each statement is a stream of its own, named by the digest of its content, so that the same one is recorded once however
often it is sent, and an account with a statement a minute stays as quick to load as before. Balances, positions and
open orders are kept whole; of the fills their number and SHA-256 (the fills themselves become orders' events).
"""

import hashlib
from collections.abc import Hashable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import assert_never

import msgspec
from msgspec import UNSET, Struct, UnsetType

from domain import names, values
from domain.errors import ReportUnreadable
from domain.values import Liquidity, Money, PositionSide, Side


class BalanceLine(Struct, frozen=True, tag="BalanceLine"):
    """The total of one currency."""

    currency: str
    amount: Decimal


class PositionLine(Struct, frozen=True, tag="PositionLine"):
    """The signed net of one derivative, its average entry price where it is stated, and the resulting cost.

    With a `position_side`, of one leg of hedge mode.
    """

    instrument_id: str
    quantity: Decimal
    avg_px: Decimal | None = None
    cost: Decimal | None = None
    position_side: PositionSide | UnsetType = UNSET


class OrderLine(Struct, frozen=True, tag="OrderLine"):
    """One working order. `cl_ord_id` is "" where the venue does not know ours.

    `strategy_id` and `settle`, the instrument's settlement currency, are added from our records.
    `order_qty` is None only on our side, where it was never reported.
    """

    order_id: str
    cl_ord_id: str
    instrument_id: str
    side: Side
    order_qty: Decimal | None
    cum_qty: Decimal
    price: Decimal | None = None
    strategy_id: str = ""
    settle: str = ""
    position_side: PositionSide | UnsetType = UNSET


class FillLine(Struct, frozen=True, tag="FillLine"):
    """One fill, in the words of `OrderFilled`."""

    exec_id: str
    trade_seq: int
    order_id: str
    cl_ord_id: str
    instrument_id: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    commission: Money
    transact_time: datetime
    liquidity: Liquidity = Liquidity.UNKNOWN
    strategy_id: str = ""
    further_commissions: tuple[Money, ...] | UnsetType = UNSET  # fees beside `commission`
    position_side: PositionSide | UnsetType = UNSET

    @property
    def commissions(self) -> tuple[Money, ...]:
        """All fees of the fill."""
        return (self.commission, *(self.further_commissions or ()))


Line = BalanceLine | PositionLine | OrderLine | FillLine


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class StatementTaken(Struct, frozen=True, tag="StatementTaken"):
    """A venue statement was recorded. `transact_time` is the moment it is as of; it lists fills since `fills_from`."""

    account_id: str
    venue: str
    statement_id: str
    source: str
    balances: tuple[BalanceLine, ...] | None
    positions: tuple[PositionLine, ...] | None
    open_orders: tuple[OrderLine, ...] | None
    fills_from: datetime | None
    fills_count: int
    fills_digest: str
    transact_time: datetime


StatementEvent = StatementTaken


class Statement(Struct, frozen=True):
    """A venue statement. Fills are complete from `fills_from` to `transact_time`; None where they are not stated."""

    account_id: str
    venue: str
    statement_id: str
    transact_time: datetime
    balances: tuple[BalanceLine, ...] | None = None
    positions: tuple[PositionLine, ...] | None = None
    open_orders: tuple[OrderLine, ...] | None = None
    fills: tuple[FillLine, ...] | None = None
    fills_from: datetime | None = None
    source: str = ""


StatementReport = Statement

_ENCODER = msgspec.json.Encoder(order="deterministic")


def digest_of(content: object) -> str:
    """SHA-256, in hexadecimal, of the content's JSON in one fixed form."""
    return hashlib.sha256(_ENCODER.encode(content)).hexdigest()


def stream(statement: Statement) -> str:
    """The stream of one statement."""
    return names.stream("statement", statement.account_id, digest_of(statement)[:32])


def admit(known: StatementTaken | None, statement: StatementReport) -> tuple[StatementEvent, ...]:
    """The event that records the statement; () if it is known. Raises ReportUnreadable for one that is not valid."""
    check(statement)
    if known is not None:
        return ()
    fills = statement.fills
    return (
        StatementTaken(
            statement.account_id, statement.venue, statement.statement_id, statement.source,
            balances=statement.balances, positions=statement.positions, open_orders=statement.open_orders,
            fills_from=statement.fills_from, fills_count=len(fills or ()),
            fills_digest=digest_of(fills) if fills is not None else "", transact_time=statement.transact_time,
        ),
    )  # fmt: skip


def evolve(known: StatementTaken | None, event: StatementEvent) -> StatementTaken:
    """The statement after an event. Total and unconditional."""
    match event:
        case StatementTaken():
            return event
        case _:
            assert_never(event)


def check(statement: Statement) -> None:
    """Check a statement's numbers, ids, times and repetitions. Raises ReportUnreadable naming the field."""
    values.name(statement.account_id, "account_id")
    values.name(statement.statement_id, "statement_id")
    values.zoned(statement.transact_time, "transact_time")
    for number, balance in enumerate(statement.balances or ()):
        values.currency(balance.currency, f"balances[{number}].currency")
        values.number(balance.amount, f"balances[{number}].amount")
    for number, held in enumerate(statement.positions or ()):
        values.instrument_id(held.instrument_id, f"positions[{number}].instrument_id")
        values.number(held.quantity, f"positions[{number}].quantity")
        if held.avg_px is not None:
            values.number(held.avg_px, f"positions[{number}].avg_px")
    for number, order in enumerate(statement.open_orders or ()):
        _check_order(order, f"open_orders[{number}]")
    _check_fills(statement)
    _check_once("balances.currency", (line.currency for line in statement.balances or ()))
    places = ((line.instrument_id, values.leg_of(line.position_side)) for line in statement.positions or ())
    _check_once("positions.instrument_id", (name if leg is PositionSide.BOTH else (name, leg) for name, leg in places))
    _check_once("open_orders.order_id", (line.order_id for line in statement.open_orders or ()))
    _check_once("fills.exec_id", ((line.instrument_id, line.exec_id) for line in statement.fills or ()))


def _check_order(order: OrderLine, field: str) -> None:
    values.name(order.order_id, f"{field}.order_id")
    if order.cl_ord_id:
        values.name(order.cl_ord_id, f"{field}.cl_ord_id")
    values.instrument_id(order.instrument_id, f"{field}.instrument_id")
    order_qty = values.positive(order.order_qty, f"{field}.order_qty")
    values.number(order.cum_qty, f"{field}.cum_qty")
    if not 0 <= order.cum_qty <= order_qty:
        raise ReportUnreadable(f"{field}.cum_qty", order.cum_qty, f"from 0 to order_qty {order_qty}")
    if order.price is not None:
        values.number(order.price, f"{field}.price")


def _check_fills(statement: Statement) -> None:
    if statement.fills is None:
        return
    if statement.fills_from is None:
        raise ReportUnreadable("fills_from", None, "the moment since which all fills are stated")
    values.zoned(statement.fills_from, "fills_from")
    for number, fill in enumerate(statement.fills):
        field = f"fills[{number}]"
        values.execution_id(fill.exec_id, f"{field}.exec_id")
        for id_field, value in (("order_id", fill.order_id), ("cl_ord_id", fill.cl_ord_id)):
            if value:
                values.name(value, f"{field}.{id_field}")
        values.instrument_id(fill.instrument_id, f"{field}.instrument_id")
        values.positive(fill.last_qty, f"{field}.last_qty")
        values.number(fill.last_px, f"{field}.last_px")
        for paid in fill.commissions:
            values.number(paid.amount, f"{field}.commission.amount")
            values.currency(paid.currency, f"{field}.commission.currency")
        values.zoned(fill.transact_time, f"{field}.transact_time")
        if not statement.fills_from <= fill.transact_time <= statement.transact_time:
            raise ReportUnreadable(f"{field}.transact_time", fill.transact_time, "from fills_from to transact_time")


def _check_once(field: str, keys: Iterable[Hashable]) -> None:
    seen: set[Hashable] = set()
    for key in keys:
        if key in seen:
            raise ReportUnreadable(field, key, "stated once in a statement")
        seen.add(key)

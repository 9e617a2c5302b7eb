"""Schemas of the answers of forms, for OpenAPI."""

from pydantic import Field

from api.read_models.schemas import AccountAnswer, Answer, DecimalText, InstrumentAnswer, TimeText, TransferAnswer

__all__ = ["AccountAnswer", "InstrumentAnswer", "TransferAnswer"]


class MoneyAnswer(Answer):
    amount: DecimalText
    currency: str


class RedenominationAnswer(Answer):
    """A redenomination as it is on record; `account_id` null: of all accounts."""

    instrument_id: str
    redenomination_id: str
    to_instrument_id: str
    units: DecimalText
    per: DecimalText
    effective_at: TimeText
    account_id: str | None


class ReplaceAnswer(Answer):
    """A replacement as it was requested, and the order's status."""

    account_id: str
    cl_ord_id: str
    requested_as: str
    orig_cl_ord_id: str
    status: str
    order_qty: DecimalText
    price: DecimalText | None
    stop_px: DecimalText | None
    peg_offset_value: DecimalText | None
    display_qty: DecimalText | None
    expire_time: TimeText | None


class ChildAnswer(Answer):
    cl_ord_id: str
    status: str
    order_qty: DecimalText | None
    cum_qty: DecimalText
    cum_cost: DecimalText
    leaves_qty: DecimalText
    held_qty: DecimalText = Field(description="what it may yet fill if every replacement under way is accepted")


class ParentAnswer(Answer):
    """A parent order: its contract, its sums over its children, and each child."""

    account_id: str
    cl_ord_id: str
    strategy_id: str
    kind: str
    base: str
    quote: str
    settle: str
    contract_size: DecimalText
    expiry: TimeText | None
    strike: DecimalText | None
    put_or_call: str | None
    side: str
    order_qty: DecimalText
    price: DecimalText | None
    status: str
    is_closed: bool
    cum_qty: DecimalText
    cum_cost: DecimalText
    working_qty: DecimalText = Field(description="what working children may still fill")
    leaves_qty: DecimalText
    transact_time: TimeText
    children: list[ChildAnswer]


class ParentsAnswer(Answer):
    seq: int
    items: list[ParentAnswer]
    next: str | None = Field(description="`cursor` of the next page; null on the last")


class MovedLotAnswer(Answer):
    lot_id: str
    quantity: DecimalText
    cost: DecimalText
    opened_at: TimeText


class MoveAnswer(Answer):
    """What was moved at which cost, and what is held here and there."""

    transfer_id: str
    account_id: str
    strategy_id: str
    instrument_id: str
    to_account_id: str
    to_strategy_id: str
    quantity: DecimalText
    cost: DecimalText
    lots: list[MovedLotAnswer]
    transact_time: TimeText
    quantity_left: DecimalText
    cost_left: DecimalText
    quantity_there: DecimalText
    cost_there: DecimalText


class DeliveryAnswer(Answer):
    """What was delivered at which price, and what is held of the contract and of the underlying."""

    delivery_id: str
    account_id: str
    strategy_id: str
    instrument_id: str
    to_instrument_id: str
    quantity: DecimalText
    price: DecimalText = Field(description="the strike, or of a future the settlement price")
    is_premium_in_cost: bool
    transact_time: TimeText
    quantity_left: DecimalText
    realized: DecimalText = Field(description="by the contract, in `settle`")
    settle: str
    quantity_there: DecimalText
    cost_there: DecimalText
    realized_there: DecimalText


class SettlementAnswer(Answer):
    """A settled position: the price it was settled at, and all that it has realized, in `settle`."""

    settlement_id: str
    account_id: str
    strategy_id: str
    instrument_id: str
    underlying_px: DecimalText
    settlement_px: DecimalText
    quantity: DecimalText
    realized: DecimalText
    settle: str


class AssignmentAnswer(Answer):
    """Lots assigned to a disposal, and all that the position has realized with them, in `settle`."""

    account_id: str
    strategy_id: str
    instrument_id: str
    exec_id: str
    lot_ids: list[str]
    realized: DecimalText
    settle: str


class CashTransferAnswer(Answer):
    """A transfer of money as it stands in one account."""

    account_id: str
    transfer_id: str
    indicator: str
    amount: MoneyAnswer
    fee: MoneyAnswer | None
    counter_account_id: str
    counterparty: str
    status: str = Field(description="PENDING, SETTLED or RETURNED")
    settled_at: TimeText | None
    returned_at: TimeText | None


class CashTransfersAnswer(Answer):
    seq: int
    items: list[CashTransferAnswer]


class TradingDayAnswer(Answer):
    account_id: str
    starts_at_hour: int = Field(description="UTC")


class ConversionAnswer(Answer):
    account_id: str
    instrument_id: str
    is_used: bool
    base: str | None
    quote: str | None


class ConversionsAnswer(Answer):
    seq: int
    items: list[ConversionAnswer]


class BreachAnswer(Answer):
    """A limit that is exceeded without an order. `subject` is an instrument or asset; empty: the scope as a whole."""

    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None
    measure: str
    subject: str
    limit: DecimalText
    currency: str | None
    used: DecimalText


class MissedAnswer(Answer):
    """A limit whose usage cannot be measured, and why."""

    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None
    measure: str
    rule: str


class MonitoredAnswer(Answer):
    """What monitoring has found of an account."""

    account_id: str
    capital: DecimalText | None
    currency: str | None
    highest_gain: DecimalText | None
    breaches: list[BreachAnswer]
    missed: list[MissedAnswer]

"""The requests and reports that a history of events came from, with the changes of a what-if request.

A report is its own event; a request is recovered from the event that it led to. Events that follow from commands
(bookings, holds, restatements, breaks, progress of parents) are left out: the replay produces them again. Cash and
reconciliation are left out too, as no decision here depends on them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec.structs import replace

from domain import values
from domain.account import AccountOpened, CostBasis, FeePolicy, OpenAccount
from domain.errors import InvalidInput
from domain.instrument import (
    AmendInstrument,
    Contract,
    DelistInstrument,
    InstrumentAmended,
    InstrumentDelisted,
    InstrumentListed,
    Kind,
    ListInstrument,
    PutOrCall,
)
from domain.order import (
    CancelOrder,
    CloseParent,
    OpenParent,
    OrderCancelRequested,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderRefused,
    OrderReplaced,
    OrderReplaceRequested,
    OrderReport,
    OrderRestated,
    OrderSubmitted,
    ParentClosed,
    ParentOpened,
    ReplaceOrder,
    SubmitOrder,
)
from domain.position import (
    FundingSettled,
    MovePosition,
    PositionTransferred,
    SettleContract,
    SettleFunding,
    TradeBooked,
    TradeKind,
    Transfer,
    TransferReason,
)
from domain.risk import (
    AssessMarks,
    ConversionSet,
    EngageSwitch,
    EquityAssessed,
    LimitSet,
    Measure,
    ReleaseSwitch,
    Scope,
    SetConversion,
    SetLimit,
    SetTradingDay,
    SwitchEngaged,
    SwitchReleased,
    TradingDaySet,
)
from domain.values import ONE, Liquidity, Mark, Money, divide, exact, venue_of


class FeeRate(NamedTuple):
    """Commission as fractions of the traded value, paid in settlement currency; below zero is a rebate."""

    maker: Decimal
    taker: Decimal


LimitKey = tuple[str, Scope, Measure]


class Changed(NamedTuple):
    """What a replay changes; what is None or empty stays as recorded.

    `fees` are by instrument, venue or "" for all, in this order of precedence. `limits` replace those of the same
    account, scope and measure for the whole of history, None lifts one; `is_without_limits` lifts all others. `marks`
    take precedence over those on record, at any moment.
    """

    cost_basis: CostBasis | None = None
    fee_policy: FeePolicy | None = None
    fees: Mapping[str, FeeRate] = {}
    limits: Mapping[LimitKey, tuple[Decimal | None, str | None]] = {}
    is_without_limits: bool = False
    marks: Mapping[str, Mark] = {}

    def keeps_limit(self, event: LimitSet) -> bool:
        """Whether a recorded limit is set as it was."""
        return not self.is_without_limits and (event.account_id, event.scope, event.measure) not in self.limits

    def fee_rate(self, instrument_id: str) -> FeeRate | None:
        """Return the rate for an instrument, if one is named."""
        named = (instrument_id, venue_of(instrument_id), "")
        return next((self.fees[name] for name in named if name in self.fees), None)


def setting(event: Any, changed: Changed) -> Any:
    """Return the request that created or changed an account, instrument or setting; None for another event."""
    match event:
        case AccountOpened(costing=costing):
            chosen = replace(
                costing,
                cost_basis=changed.cost_basis or costing.cost_basis,
                fee_policy=changed.fee_policy or costing.fee_policy,
            )
            return OpenAccount(
                account_id=event.account_id, base_currency=event.base_currency, costing=chosen,
                transact_time=event.transact_time, venue=event.venue, is_margin=event.is_margin,
            )  # fmt: skip
        case InstrumentListed():
            return ListInstrument(event.instrument_id, event.contract, event.tick_size, event.lot_size)
        case InstrumentAmended():
            return AmendInstrument(
                instrument_id=event.instrument_id, contract=event.contract, tick_size=event.tick_size,
                lot_size=event.lot_size, effective_at=event.effective_at,
            )  # fmt: skip
        case InstrumentDelisted():
            return DelistInstrument(event.instrument_id, event.effective_at)
        case LimitSet():
            if not changed.keeps_limit(event):
                return None
            return SetLimit(
                account_id=event.account_id, scope=event.scope, measure=event.measure, limit=event.limit,
                currency=event.currency, transact_time=event.transact_time,
            )  # fmt: skip
        case SwitchEngaged():
            return EngageSwitch(
                account_id=event.account_id, scope=event.scope, mode=event.mode, reason=event.reason,
                transact_time=event.transact_time, actor=event.actor,
            )  # fmt: skip
        case SwitchReleased():
            return ReleaseSwitch(
                account_id=event.account_id, scope=event.scope, reason=event.reason,
                transact_time=event.transact_time, actor=event.actor,
            )  # fmt: skip
        case TradingDaySet():
            return SetTradingDay(event.account_id, event.starts_at_hour, event.transact_time)
        case ConversionSet():
            return SetConversion(event.account_id, event.instrument_id, event.transact_time, event.contract is not None)
        case EquityAssessed():
            marks = tuple(changed.marks.get(seen.mark.instrument_id, seen.mark) for seen in event.marks)
            fresh = tuple(replace(mark, mark_at=event.transact_time) for mark in marks)
            return AssessMarks(event.account_id, fresh, event.transact_time, Money(event.capital, event.currency))
        case _:
            return None


def requested(event: Any) -> Any:
    """Return the request about an order, parent or expired contract that led to an event; None for another event."""
    match event:
        case OrderSubmitted() | OrderRefused():
            return SubmitOrder(event.key, event.terms, event.transact_time)
        case OrderCancelRequested():
            return CancelOrder(event.key, event.reason, event.transact_time, event.requested_as)
        case OrderReplaceRequested():
            return ReplaceOrder(
                key=event.key, requested_as=event.requested_as, changes=event.changes,
                transact_time=event.transact_time, orig_cl_ord_id=event.orig_cl_ord_id,
            )  # fmt: skip
        case ParentOpened():
            return OpenParent(
                key=event.key, strategy_id=event.strategy_id, contract=event.contract, side=event.side,
                order_qty=event.order_qty, price=event.price, transact_time=event.transact_time,
            )  # fmt: skip
        case ParentClosed():
            return CloseParent(event.key, event.reason, event.transact_time)
        case TradeBooked(kind=TradeKind.SETTLEMENT | TradeKind.EXERCISE, cl_ord_id=""):
            underlying = _underlying(event.contract, event.last_px)
            return SettleContract(event.key, event.exec_id, underlying, event.transact_time)
        case _:
            return None


def _underlying(contract: Contract, price: Decimal) -> Decimal:
    """Return a price of the underlying at which a contract settles at `price`; of a worthless option its strike."""
    if contract.kind is not Kind.OPTION or contract.strike is None:
        return price
    sign = 1 if contract.put_or_call is PutOrCall.CALL else -1
    if contract.settle == contract.base:
        return divide(contract.strike, ONE - sign * price)
    return exact(contract.strike + sign * price)


def reported(event: Any, changed: Changed, contract: Contract | None) -> Any:
    """Return an event's report without the fields added when it was recorded; None for another event.

    `contract` is the instrument's, for the commission of a fill under changed fees.
    """
    match event:
        case OrderFilled():
            return _with_fee(event, changed, contract)
        case OrderFillBusted():
            return replace(event, was=None)
        case OrderFillCorrected(now=now, commission=commission):
            if now is not None and changed.fee_rate(now.instrument_id) is not None:
                commission = _with_fee(now, changed, contract).commission
            return replace(event, was=None, now=None, commission=commission)
        case OrderReplaced() | OrderRestated():
            return replace(event, terms=None)
        case _ if isinstance(event, OrderReport):
            return event
        case PositionTransferred() if not is_move(event):
            return Transfer(
                key=event.key, transfer_id=event.transfer_id, side=event.side, quantity=event.quantity,
                cost=event.cost, transact_time=event.transact_time, reason=event.reason,
                counterparty=event.counterparty, lots=event.lots,
            )  # fmt: skip
        case FundingSettled():
            return SettleFunding(event.key, event.funding_id, event.amount, event.transact_time)
        case _:
            return None


def _with_fee(fill: OrderFilled, changed: Changed, contract: Contract | None) -> OrderFilled:
    rate = changed.fee_rate(fill.instrument_id)
    if rate is None or contract is None:
        return fill
    part = rate.maker if fill.liquidity is Liquidity.MAKER else rate.taker
    paid = divide(abs(contract.value(fill.last_qty, fill.last_px)) * part, ONE)
    return replace(fill, commission=Money(paid, contract.settle))


def is_move(event: PositionTransferred) -> bool:
    """Whether the event is one of the two sides of an internal move."""
    return event.reason is TransferReason.INTERNAL and event.counterparty is not None


def moved(event: PositionTransferred) -> MovePosition:
    """Return the move of which an event is the outgoing side."""
    assert event.counterparty is not None, "a move has two sides"
    return MovePosition(
        key=event.key, to=event.counterparty, transfer_id=event.transfer_id, quantity=event.quantity,
        transact_time=event.transact_time,
    )  # fmt: skip


_SCOPES = {"strategy": "strategy_id", "instrument": "instrument_id", "venue": "venue", "asset": "asset"}
_LIMIT = "ACCOUNT,MEASURE=VALUE[,currency=USDT][,strategy=…][,instrument=…][,venue=…][,asset=…], or MEASURE=none"
_FEES = "[INSTRUMENT or VENUE=]MAKER:TAKER, fractions of the value traded, such as BINANCE=0.0002:0.0005"


def parsed_fee_rate(text: str) -> tuple[str, FeeRate]:
    """Parse the instrument or venue ("" for all) and rates of `[INSTRUMENT|VENUE=]MAKER:TAKER`. Raises InvalidInput."""
    whose, _, rates = text.rpartition("=")
    maker, colon, taker = rates.partition(":")
    if not colon:
        raise InvalidInput("fee", text, _FEES)
    if "." in whose:
        values.instrument_id(whose, "fee")
    elif whose:
        values.currency(whose, "fee")
    return whose, FeeRate(values.number(maker, "fee"), values.number(taker, "fee"))


def parsed_limit(text: str) -> tuple[LimitKey, tuple[Decimal | None, str | None]]:
    """Parse `ACCOUNT,MEASURE=VALUE[,currency=…][,strategy=…]…`; VALUE `none` lifts the limit. Raises InvalidInput."""
    account_id, *parts = text.split(",")
    fields: dict[str, Any] = {}
    measure: Measure | None = None
    size: Decimal | None = None
    for part in parts:
        name, _, value = part.partition("=")
        if name in Measure.__members__ and measure is None:
            measure, size = Measure(name), None if value == "none" else values.number(value, "limit")
        elif name in _SCOPES or name == "currency":
            fields[_SCOPES.get(name, name)] = value
        else:
            raise InvalidInput("limit", text, _LIMIT)
    if measure is None:
        raise InvalidInput("limit", text, _LIMIT)
    return limit_of(account_id, measure, size, **fields)


def limit_of(
    account_id: str,
    measure: Measure,
    size: Decimal | None,
    *,
    currency: str | None = None,
    **scope: str | None,
) -> tuple[LimitKey, tuple[Decimal | None, str | None]]:
    """Return a changed limit. Raises InvalidInput if currency and measure do not fit."""
    values.name(account_id, "limit.account_id")
    if size is not None and size < 0:
        raise InvalidInput("limit", size, "zero or more")
    if size is not None and measure.is_money != (currency is not None):
        rule = "with a currency: it is an amount" if measure.is_money else "without a currency: it is not an amount"
        raise InvalidInput("limit.currency", currency, f"{measure} {rule}")
    if currency is not None:
        values.currency(currency, "limit.currency")
    return (account_id, Scope(**scope), measure), (size, currency)


def changed_of(
    *,
    method: Any = None,
    fee_policy: Any = None,
    fees: Sequence[tuple[str, FeeRate]] = (),
    limits: Sequence[tuple[LimitKey, tuple[Decimal | None, str | None]]] = (),
    is_without_limits: bool = False,
    marks: Sequence[Mark] = (),
) -> Changed:
    """Return the changes of a request. Raises InvalidInput if there are none."""
    changed = Changed(
        cost_basis=method, fee_policy=fee_policy, fees=dict(fees), limits=dict(limits),
        is_without_limits=is_without_limits, marks={mark.instrument_id: mark for mark in marks},
    )  # fmt: skip
    if changed == Changed():
        raise InvalidInput("changes", None, "empty: name a method, fees, limits or marks to change")
    return changed

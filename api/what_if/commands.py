"""What was asked and reported, told again: the commands that a history of events came from, with some things changed.

A report is its own event; a request is recovered from the event that it led to. What follows from commands (bookings,
holds, restatements, breaks, progress of parents) is left out, for it follows again. Cash and reconciliation are left
out too: they decide nothing here.
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
    """What is to be other than it was; what is None or empty stays.

    `fees` are by instrument, venue or "" for all, the first of these that is named. `limits` replace those of the same
    account, scope and measure for the whole of history, None lifts one; `is_without_limits` lifts all others. `marks`
    go before those on record, at any moment.
    """

    cost_basis: CostBasis | None = None
    fee_policy: FeePolicy | None = None
    fees: Mapping[str, FeeRate] = {}
    limits: Mapping[LimitKey, tuple[Decimal | None, str | None]] = {}
    is_without_limits: bool = False
    marks: Mapping[str, Mark] = {}

    def keeps_limit(self, event: LimitSet) -> bool:
        """Whether a limit of history is set as it was."""
        return not self.is_without_limits and (event.account_id, event.scope, event.measure) not in self.limits

    def fee_rate(self, instrument_id: str) -> FeeRate | None:
        """The rate for an instrument, if one is named."""
        named = (instrument_id, venue_of(instrument_id), "")
        return next((self.fees[name] for name in named if name in self.fees), None)


def setting(event: Any, changed: Changed) -> Any:
    """The request that made or changed an account, instrument or setting; None if the event is no such thing."""
    match event:
        case AccountOpened(costing=costing):
            chosen = replace(
                costing,
                cost_basis=changed.cost_basis or costing.cost_basis,
                fee_policy=changed.fee_policy or costing.fee_policy,
            )
            return OpenAccount(
                event.account_id, event.base_currency, chosen, event.transact_time, event.venue, event.is_margin
            )
        case InstrumentListed():
            return ListInstrument(event.instrument_id, event.contract, event.tick_size, event.lot_size)
        case InstrumentAmended():
            return AmendInstrument(
                event.instrument_id, event.contract, event.tick_size, event.lot_size, event.effective_at
            )
        case InstrumentDelisted():
            return DelistInstrument(event.instrument_id, event.effective_at)
        case LimitSet():
            if not changed.keeps_limit(event):
                return None
            return SetLimit(
                event.account_id, event.scope, event.measure, event.limit, event.currency, event.transact_time
            )
        case SwitchEngaged():
            return EngageSwitch(
                event.account_id, event.scope, event.mode, event.reason, event.transact_time, event.actor
            )
        case SwitchReleased():
            return ReleaseSwitch(event.account_id, event.scope, event.reason, event.transact_time, event.actor)
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


def asked(event: Any) -> Any:
    """The request about an order, parent or expired contract that an event came from; None if from none."""
    match event:
        case OrderSubmitted() | OrderRefused():
            return SubmitOrder(event.key, event.terms, event.transact_time)
        case OrderCancelRequested():
            return CancelOrder(event.key, event.reason, event.transact_time, event.requested_as)
        case OrderReplaceRequested():
            return ReplaceOrder(
                event.key, event.requested_as, event.changes, event.transact_time, event.orig_cl_ord_id
            )  # fmt: skip
        case ParentOpened():
            return OpenParent(
                event.key, event.strategy_id, event.contract, event.side, event.order_qty, event.price,
                event.transact_time,
            )  # fmt: skip
        case ParentClosed():
            return CloseParent(event.key, event.reason, event.transact_time)
        case TradeBooked(kind=TradeKind.SETTLEMENT | TradeKind.EXERCISE, cl_ord_id=""):
            underlying = _underlying(event.contract, event.last_px)
            return SettleContract(event.key, event.exec_id, underlying, event.transact_time)
        case _:
            return None


def _underlying(contract: Contract, price: Decimal) -> Decimal:
    """A price of the underlying at which a contract settles at `price`; of a worthless option its strike."""
    if contract.kind is not Kind.OPTION or contract.strike is None:
        return price
    sign = 1 if contract.put_or_call is PutOrCall.CALL else -1
    if contract.settle == contract.base:
        return divide(contract.strike, ONE - sign * price)
    return exact(contract.strike + sign * price)


def reported(event: Any, changed: Changed, contract: Contract | None) -> Any:
    """The report that an event is, without what was added when it was admitted; None if it is none.

    `contract` is the instrument's, for the commission of a fill under other fees.
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
                event.key, event.transfer_id, event.side, event.quantity, event.cost, event.transact_time, event.reason,
                event.counterparty, event.lots,
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
    """Whether it is one of the two sides of a move between holders of ours."""
    return event.reason is TransferReason.INTERNAL and event.counterparty is not None


def moved(event: PositionTransferred) -> MovePosition:
    """The move that an event is the leaving side of."""
    assert event.counterparty is not None, "a move has two sides"
    return MovePosition(event.key, event.counterparty, event.transfer_id, event.quantity, event.transact_time)


_SCOPES = {"strategy": "strategy_id", "instrument": "instrument_id", "venue": "venue", "asset": "asset"}
_LIMIT = "ACCOUNT,MEASURE=VALUE[,currency=USDT][,strategy=…][,instrument=…][,venue=…][,asset=…], or MEASURE=none"
_FEES = "[INSTRUMENT or VENUE=]MAKER:TAKER, fractions of the value traded, such as BINANCE=0.0002:0.0005"


def parsed_fee_rate(text: str) -> tuple[str, FeeRate]:
    """Whose fees, and the rates, in `[INSTRUMENT|VENUE=]MAKER:TAKER`. Raises InvalidInput."""
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
    """A limit in `ACCOUNT,MEASURE=VALUE[,currency=…][,strategy=…]…`; VALUE `none` lifts it. Raises InvalidInput."""
    account_id, *parts = text.split(",")
    told: dict[str, Any] = {}
    measure: Measure | None = None
    size: Decimal | None = None
    for part in parts:
        name, _, value = part.partition("=")
        if name in Measure.__members__ and measure is None:
            measure, size = Measure(name), None if value == "none" else values.number(value, "limit")
        elif name in _SCOPES or name == "currency":
            told[_SCOPES.get(name, name)] = value
        else:
            raise InvalidInput("limit", text, _LIMIT)
    if measure is None:
        raise InvalidInput("limit", text, _LIMIT)
    return limit_of(account_id, measure, size, **told)


def limit_of(
    account_id: str,
    measure: Measure,
    size: Decimal | None,
    *,
    currency: str | None = None,
    **scope: str | None,
) -> tuple[LimitKey, tuple[Decimal | None, str | None]]:
    """A limit of the question. Raises InvalidInput where currency and measure do not fit."""
    values.name(account_id, "limit.account_id")
    if size is not None and size < 0:
        raise InvalidInput("limit", size, "zero or more")
    if size is not None and measure.is_money != (currency is not None):
        rule = "with a currency: it is an amount" if measure.is_money else "without a currency: it is no amount"
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
    """The question. Raises InvalidInput where nothing is to be other than it was."""
    changed = Changed(
        method, fee_policy, dict(fees), dict(limits), is_without_limits, {mark.instrument_id: mark for mark in marks}
    )
    if changed == Changed():
        raise InvalidInput("changes", None, "empty: name a method, fees, limits or marks that are to be others")
    return changed

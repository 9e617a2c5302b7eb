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
from domain.account import AccountOpened, CostBasis, FeePolicy
from domain.account.cash import MoneyEvent
from domain.errors import InvalidInput
from domain.instrument import Contract, InstrumentAmended, InstrumentDelisted, InstrumentListed, InstrumentRedenominated
from domain.ledger import report_of, request_of
from domain.order import (
    OrderCancelRequested,
    OrderFillCorrected,
    OrderFilled,
    OrderRefused,
    OrderReplaceRequested,
    OrderReport,
    OrderSubmitted,
    ParentClosed,
    ParentOpened,
)
from domain.position import (
    ContractDelivered,
    FundingSettled,
    MovePosition,
    PositionTransferred,
    TradeBooked,
    TransferReason,
)
from domain.risk import (
    AssessMarks,
    CapitalBasis,
    CapitalStated,
    ConversionSet,
    EquityAssessed,
    LimitSet,
    LimitStatus,
    Measure,
    Scope,
    SwitchEngaged,
    SwitchReleased,
    TradingDaySet,
)
from domain.values import ONE, Liquidity, Mark, Money, divide, venue_of


class FeeRate(NamedTuple):
    """Commission as fractions of the traded value, paid in settlement currency; below zero is a rebate."""

    maker: Decimal
    taker: Decimal


LimitKey = tuple[str, Scope, Measure]


class Changed(NamedTuple):
    """What a replay changes; what is None or empty stays as recorded.

    `activated` are the statuses whose limits are active from the beginning, as they are set at the end of the history.
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
    activated: tuple[LimitStatus, ...] = ()

    def with_limits(self, found: Mapping[LimitKey, tuple[Decimal | None, str | None]]) -> "Changed":
        """Return the changes with more limits, but those that it has already."""
        return self._replace(limits={**found, **self.limits})

    def keeps_limit(self, event: LimitSet) -> bool:
        """Whether a recorded limit is set as it was."""
        return not self.is_without_limits and (event.account_id, event.scope, event.measure) not in self.limits

    def fee_rate(self, instrument_id: str) -> FeeRate | None:
        """Return the rate for an instrument, if one is named."""
        named = (instrument_id, venue_of(instrument_id), "")
        return next((self.fees[name] for name in named if name in self.fees), None)


_SETTINGS = (
    InstrumentListed, InstrumentAmended, InstrumentDelisted, InstrumentRedenominated, LimitSet, SwitchEngaged,
    SwitchReleased, TradingDaySet, ConversionSet, CapitalStated,
)  # fmt: skip
_OF_ORDERS = (
    OrderSubmitted, OrderRefused, OrderCancelRequested, OrderReplaceRequested, ParentOpened, ParentClosed,
)  # fmt: skip


def setting(event: Any, changed: Changed) -> Any:
    """Return the request that created or changed an account, instrument or setting; None for another event."""
    match event:
        case AccountOpened(costing=costing):
            chosen = replace(
                costing,
                cost_basis=changed.cost_basis or costing.cost_basis,
                fee_policy=changed.fee_policy or costing.fee_policy,
            )
            return replace(request_of(event), costing=chosen)
        case LimitSet() if not changed.keeps_limit(event):
            return None
        case EquityAssessed():
            marks = tuple(changed.marks.get(seen.mark.instrument_id, seen.mark) for seen in event.marks)
            fresh = tuple(replace(mark, mark_at=event.transact_time) for mark in marks)
            is_stated = event.basis is CapitalBasis.STATED  # and of older books, by this event alone
            capital = Money(event.capital, event.currency) if is_stated else None
            return AssessMarks(event.account_id, fresh, event.transact_time, capital)
        case _:
            return request_of(event) if isinstance(event, _SETTINGS) else None


def requested(event: Any) -> Any:
    """Return the request about an order, parent or expired contract that led to an event; None for another event."""
    return request_of(event) if isinstance(event, (*_OF_ORDERS, TradeBooked, ContractDelivered)) else None


def reported(event: Any, changed: Changed, contract: Contract | None) -> Any:
    """Return an event's report without the fields added when it was recorded; None for another event.

    `contract` is the instrument's, for the commission of a fill under changed fees.
    """
    match event:
        case OrderFilled():
            return _with_fee(event, changed, contract)
        case OrderFillCorrected(now=OrderFilled() as now) if changed.fee_rate(now.instrument_id) is not None:
            with_fee = _with_fee(now, changed, contract)
            return replace(report_of(event), commission=with_fee.commission, further_commissions=())
        case PositionTransferred() if is_move(event) or is_consequence(event):
            return None
        case _ if isinstance(event, OrderReport | PositionTransferred | FundingSettled | MoneyEvent):
            return report_of(event)
        case _:
            return None


def _with_fee(fill: OrderFilled, changed: Changed, contract: Contract | None) -> OrderFilled:
    rate = changed.fee_rate(fill.instrument_id)
    if rate is None or contract is None:
        return fill
    part = rate.maker if fill.liquidity is Liquidity.MAKER else rate.taker
    paid = divide(abs(contract.value(fill.last_qty, fill.last_px)) * part, ONE)
    return replace(fill, commission=Money(paid, contract.settle), further_commissions=())


def is_move(event: PositionTransferred) -> bool:
    """Whether the event is one of the two sides of an internal move."""
    return event.reason is TransferReason.INTERNAL and event.counterparty is not None


def is_consequence(event: PositionTransferred) -> bool:
    """Whether the event follows from a redenomination, or corrects the cost of what was sent."""
    return event.reason is TransferReason.REDENOMINATION or not event.quantity


def moved(event: PositionTransferred) -> MovePosition:
    """Return the move of which an event is the outgoing side."""
    move: MovePosition = request_of(event)
    return move


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
    activated: Sequence[LimitStatus] = (),
) -> Changed:
    """Return the changes of a request. Raises InvalidInput if there are none."""
    changed = Changed(
        cost_basis=method, fee_policy=fee_policy, fees=dict(fees), limits=dict(limits),
        is_without_limits=is_without_limits, marks={mark.instrument_id: mark for mark in marks},
        activated=tuple(activated),
    )  # fmt: skip
    if changed == Changed():
        raise InvalidInput("changes", None, "empty: name a method, fees, limits, their status or marks to change")
    return changed

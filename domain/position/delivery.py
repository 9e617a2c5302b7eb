"""Delivery: an option exercised or assigned, or a dated future settled, by its underlying instead of in cash.

A long call and a short put buy the underlying at the strike, a long put and a short call sell it; who holds the option
long exercises it, who holds it short is assigned. Two trades book it: one closes the contract, one opens the
underlying. The premium is kept apart by default: the option is closed at a price of zero, so that what was paid or
received for it is realized, and the underlying trades at the strike. With `is_premium_in_cost` the option is closed at
its own average price, so that nothing is realized, and the underlying trades at the strike plus or minus that price.
Either way the cash that moves is the strike, and both results together are the same. A future is closed at its
settlement price, at which the underlying is then bought or sold.
"""

from decimal import Decimal

from domain.errors import RequestRefused
from domain.instrument import Contract, ExerciseStyle, Kind, PutOrCall
from domain.position import costing
from domain.position.events import ContractDelivered, DeliverContract, Filled, PositionKey
from domain.position.position import Position
from domain.values import ZERO, Liquidity, Money, Side, TradeKind, divide, exact


def delivered(
    position: Position | None, there: Position | None, into: Contract, request: DeliverContract
) -> tuple[ContractDelivered, Filled, Filled] | None:
    """The event of a delivery and its two trades: of the contract, and of `into`; None if it is on record.

    `there` is the position in `into`. Raises RequestRefused.
    """
    if position is not None and (known := position.deliveries.get(request.delivery_id)) is not None:
        if (known.to, known.settlement_px, known.is_premium_in_cost) != (
            request.to, request.settlement_px, request.is_premium_in_cost,
        ) or request.quantity not in (None, known.quantity):  # fmt: skip
            raise RequestRefused("one delivery_id names one delivery", delivery_id=request.delivery_id)
        return None
    if position is None or position.contract is None or not position.quantity or position.costing is None:
        raise RequestRefused(
            "an open position to settle", instrument_id=request.key.instrument_id, account_id=request.key.account_id,
            strategy_id=request.key.strategy_id,
        )  # fmt: skip
    contract, held = position.contract, position.quantity
    quantity = abs(held) if request.quantity is None else request.quantity
    _check(position, contract, quantity, request=request)
    _check_underlying(contract, into, request)
    if any(request.delivery_id in known.settlement_ids for known in (position, there) if known is not None):
        raise RequestRefused("one delivery_id names one delivery", delivery_id=request.delivery_id)
    is_long, is_put = held > 0, contract.put_or_call is PutOrCall.PUT
    closed_at, price = _prices(position, contract, quantity, request=request)
    if not into.has_price(price):
        raise RequestRefused(
            "a price that the underlying may have", price=price, instrument_id=request.to.instrument_id
        )
    event = ContractDelivered(
        request.key, request.delivery_id, request.to, quantity, transact_time=request.transact_time,
        settlement_px=request.settlement_px, is_premium_in_cost=request.is_premium_in_cost,
    )  # fmt: skip
    closing = _trade(request.key, contract, Side.SELL if is_long else Side.BUY, quantity, price=closed_at, of=request)
    units = divide(quantity * contract.contract_size, into.contract_size)
    if exact(units * into.contract_size) != exact(quantity * contract.contract_size):
        raise RequestRefused("what is delivered is a number of contracts", quantity=quantity)
    side = Side.BUY if is_long is not is_put else Side.SELL
    return event, closing, _trade(request.to, into, side, units, price=price, of=request)


def _check(position: Position, contract: Contract, quantity: Decimal, *, request: DeliverContract) -> None:
    """Check that so much of a contract may be delivered at this moment. Raises RequestRefused."""
    at = request.transact_time
    if not quantity.is_finite() or quantity <= 0 or quantity > abs(position.quantity):
        raise RequestRefused("no more is delivered than is held", quantity=quantity, held=position.quantity)
    if position.last is not None and at < position.last.transact_time:
        raise RequestRefused(
            "a delivery comes after what is on record", transact_time=at, last=position.last.transact_time
        )
    if contract.expiry is None or contract.kind is Kind.INVERSE:
        raise RequestRefused("only an option or a linear dated future delivers", kind=contract.kind)
    is_option = contract.kind is Kind.OPTION
    is_american = is_option and contract.exercise_style is ExerciseStyle.AMERICAN
    if at < contract.expiry and not is_american:
        raise RequestRefused("a contract is settled at its expiry", expiry=contract.expiry, at=at)
    if is_option is (request.settlement_px is not None):
        raise RequestRefused("a future delivers at a settlement price, an option at its strike", kind=contract.kind)
    if request.is_premium_in_cost and not is_option:
        raise RequestRefused("only an option has a premium", kind=contract.kind)


def _check_underlying(contract: Contract, into: Contract, request: DeliverContract) -> None:
    """Check that an instrument is what a contract delivers. Raises RequestRefused."""
    is_same = (into.base, into.quote) == (contract.base, contract.quote)
    is_tradable = into.kind in (Kind.SPOT, Kind.LINEAR) and not into.is_quanto
    is_paid_alike = not request.is_premium_in_cost or into.settle == contract.settle
    if not (is_same and is_tradable and is_paid_alike) or request.to.instrument_id == request.key.instrument_id:
        raise RequestRefused(
            "what is delivered is spot or a linear contract of the same base and quote",
            instrument_id=request.to.instrument_id, base=contract.base, quote=contract.quote,
        )  # fmt: skip


def _prices(
    position: Position, contract: Contract, quantity: Decimal, *, request: DeliverContract
) -> tuple[Decimal, Decimal]:
    """The price at which a contract is closed, and the price of what it delivers."""
    if contract.strike is None:
        assert request.settlement_px is not None, "a future delivers at its settlement price"
        return request.settlement_px, request.settlement_px
    if not request.is_premium_in_cost:
        return ZERO, contract.strike
    assert position.costing is not None, "an open position has conventions"
    cost, _ = costing.release(position.book, quantity, position.costing)
    premium = divide(abs(cost), quantity * contract.contract_size)
    sign = -1 if contract.put_or_call is PutOrCall.PUT else 1
    return premium, exact(contract.strike + sign * premium)


def _trade(
    key: PositionKey, contract: Contract, side: Side, quantity: Decimal, *, price: Decimal, of: DeliverContract
) -> Filled:
    return Filled(
        key, contract, cl_ord_id="", exec_id=of.delivery_id, trade_seq=0, side=side, last_qty=quantity, last_px=price,
        commission=Money(ZERO, contract.settle), liquidity=Liquidity.UNKNOWN, transact_time=of.transact_time,
        kind=TradeKind.DELIVERY,
    )  # fmt: skip

"""Measures of limits, and the scope a limit covers."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from msgspec import Struct

from domain.values import venue_of


class Measure(StrEnum):
    """The measure of a limit. Of the order itself, for any effect on the position:

    MAX_ORDER_QTY: units of base or contracts. MAX_ORDER_NOTIONAL: currency; at the worse of its own price and the mark.
    PRICE_COLLAR: a fraction of the reference, by which a price may be worse than it for us (a buy above, a sell below).
    The reference of an order that waits for a trigger is the trigger, of others the mark; a market order needs a fresh
    mark and is its equal. MAX_MARK_AGE: seconds; an older mark is not fresh (60 where no limit sets it).

    Of what is held at its mark, with all working orders of the order's side filled, these at the worse of their own
    prices and the mark (`domain.risk.valuing`); one that brings the usage towards zero passes:

    MAX_POSITION: units, of each instrument; all strategies of the scope net. MAX_POSITION_NOTIONAL: the same in money.
    MAX_POSITION of an asset: units of the coin, what is held of it over all pairs, contracts and cash.
    MAX_NET_EXPOSURE: currency; the sum over what is held by coin and contract, longs less shorts.

    Of what is held, the worse of both sides; an order that only closes its strategy's position passes:

    MAX_GROSS_EXPOSURE: currency; the sum of what is held by coin and contract, unsigned. MAX_LEVERAGE: gross exposure /
    equity. MAX_CONCENTRATION: the gross exposure in one asset / equity. MAX_OPEN_ORDERS: working orders.
    MAX_ORDERS_PER_SECOND, MAX_ORDERS_PER_MINUTE: orders and replacements let through in the second or minute up to it.
    MAX_DAILY_LOSS: currency; realized and unrealized since the trading day began, net of fees and funding.
    MAX_DRAWDOWN: a fraction; the fall of the scope's gains since their highest, of the account's equity at that time.

    These four count each coin of an account, and each leg of its contracts, net over its strategies: spot positions,
    what crosses were paid with, fees, and cash where the scope is a whole account or an asset of it. Base currency is
    cash, and so is the currency of the measure (`domain.risk.coins`).

    Equity is that of the whole account, or of the firm: `domain.risk.capital`.

    BUYING_POWER: a leverage, of an account or of one of its instruments; an order needs no more cash, coins or initial
    margin than is available (`domain.risk.buying_power`).
    """

    MAX_POSITION = "MAX_POSITION"
    MAX_ORDER_NOTIONAL = "MAX_ORDER_NOTIONAL"
    MAX_ORDER_QTY = "MAX_ORDER_QTY"
    PRICE_COLLAR = "PRICE_COLLAR"
    MAX_MARK_AGE = "MAX_MARK_AGE"
    MAX_POSITION_NOTIONAL = "MAX_POSITION_NOTIONAL"
    MAX_NET_EXPOSURE = "MAX_NET_EXPOSURE"
    MAX_GROSS_EXPOSURE = "MAX_GROSS_EXPOSURE"
    MAX_LEVERAGE = "MAX_LEVERAGE"
    MAX_CONCENTRATION = "MAX_CONCENTRATION"
    MAX_OPEN_ORDERS = "MAX_OPEN_ORDERS"
    MAX_ORDERS_PER_SECOND = "MAX_ORDERS_PER_SECOND"
    MAX_ORDERS_PER_MINUTE = "MAX_ORDERS_PER_MINUTE"
    MAX_DAILY_LOSS = "MAX_DAILY_LOSS"
    MAX_DRAWDOWN = "MAX_DRAWDOWN"
    BUYING_POWER = "BUYING_POWER"

    @property
    def is_money(self) -> bool:
        """Whether the limit is an amount of a currency."""
        return self in _MONEY

    @property
    def is_count(self) -> bool:
        """Whether the limit is a whole number of orders."""
        return self in _COUNTS

    @property
    def is_held(self) -> bool:
        """Whether it measures what is held, so that it can be exceeded without an order."""
        return self in _HELD

    @property
    def lets_closing_through(self) -> bool:
        """Whether an order that only closes its strategy's position passes at any usage."""
        return self in _CLOSING_PASSES

    @property
    def is_of_equity(self) -> bool:
        """Whether it is a fraction or multiple of equity."""
        return self in _OF_EQUITY

    @property
    def is_exposure(self) -> bool:
        """Whether it measures the size of what is held by coin."""
        return self in _EXPOSURES

    @property
    def spans_instruments(self) -> bool:
        """Whether the marks of everything held are needed."""
        return self in _SPANNING


_MONEY = {
    Measure.MAX_ORDER_NOTIONAL, Measure.MAX_POSITION_NOTIONAL, Measure.MAX_NET_EXPOSURE, Measure.MAX_GROSS_EXPOSURE,
    Measure.MAX_DAILY_LOSS,
}  # fmt: skip
_COUNTS = {Measure.MAX_OPEN_ORDERS, Measure.MAX_ORDERS_PER_SECOND, Measure.MAX_ORDERS_PER_MINUTE}
_OF_EQUITY = {Measure.MAX_LEVERAGE, Measure.MAX_CONCENTRATION, Measure.MAX_DRAWDOWN}
_EXPOSURES = {
    Measure.MAX_NET_EXPOSURE, Measure.MAX_GROSS_EXPOSURE, Measure.MAX_LEVERAGE, Measure.MAX_CONCENTRATION,
}  # fmt: skip
_SPANNING = _OF_EQUITY | {Measure.MAX_NET_EXPOSURE, Measure.MAX_GROSS_EXPOSURE, Measure.MAX_DAILY_LOSS}
_CLOSING_PASSES = _COUNTS | _OF_EQUITY | {Measure.MAX_GROSS_EXPOSURE, Measure.MAX_DAILY_LOSS}
_HELD = _SPANNING | {Measure.MAX_POSITION, Measure.MAX_POSITION_NOTIONAL}
WINDOWS: Mapping[Measure, timedelta] = {
    Measure.MAX_ORDERS_PER_SECOND: timedelta(seconds=1),
    Measure.MAX_ORDERS_PER_MINUTE: timedelta(minutes=1),
}


def is_by_coin(measure: Measure, scope: "Scope") -> bool:
    """Whether a limit measures what is held by coin, with what is paid and with cash."""
    return measure.is_exposure or (measure is Measure.MAX_POSITION and scope.is_of_coin)


class Scope(Struct, frozen=True):
    """The part of an account (or of the firm) that a limit or kill switch covers; None: any.

    `venue` is the instrument's, `asset` its base currency.
    """

    strategy_id: str | None = None
    instrument_id: str | None = None
    venue: str | None = None
    asset: str | None = None

    def covers(self, strategy_id: str, instrument_id: str, asset: str | None = None) -> bool:
        """Whether the scope includes a strategy in an instrument."""
        return (
            self.strategy_id in (None, strategy_id)
            and self.instrument_id in (None, instrument_id)
            and (self.venue is None or self.venue == venue_of(instrument_id))
            and self.asset in (None, asset)
        )

    @property
    def is_of_coin(self) -> bool:
        """Whether it is of an asset in any instrument."""
        return self.asset is not None and self.instrument_id is None

    def of_instrument(self, instrument_id: str) -> "Scope":
        """Return the scope narrowed to one instrument."""
        return Scope(self.strategy_id, instrument_id, self.venue, self.asset)


ANYWHERE = Scope()

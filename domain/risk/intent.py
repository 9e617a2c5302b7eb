"""Intent: an order, or a replacement of it, that is to be checked against limits."""

from decimal import Decimal
from typing import NamedTuple

from domain.instrument import Contract
from domain.order import OrderKey, OrderTerms
from domain.risk.exposure import Desk, Exposure
from domain.values import PositionSide, Side


class Intent(NamedTuple):
    """An order to be checked: it is to hold `quantity`, of which it already holds `holding` (a replacement)."""

    key: OrderKey
    terms: OrderTerms
    contract: Contract
    quantity: Decimal
    holding: Decimal
    is_new: bool

    @property
    def position_side(self) -> PositionSide:
        """The leg of the order."""
        return self.terms.leg

    @property
    def strategy_id(self) -> str:
        """The strategy of the order."""
        return self.terms.strategy_id

    @property
    def instrument_id(self) -> str:
        """The instrument of the order."""
        return self.terms.instrument_id

    @property
    def side(self) -> Side:
        """The side of the order."""
        return self.terms.side

    @property
    def order_qty(self) -> Decimal:
        """The quantity of the order as a whole, in base units or contracts."""
        return self.terms.order_qty

    @property
    def price(self) -> Decimal | None:
        """The limit of the order."""
        return self.terms.price

    @property
    def stop_px(self) -> Decimal | None:
        """The trigger of the order."""
        return self.terms.stop_px

    @property
    def desk(self) -> Desk:
        """The desk of the order."""
        return Desk(self.key.account_id, self.strategy_id, self.position_side)

    @property
    def is_closing(self) -> bool:
        """Whether by its side it can only close a leg of hedge mode."""
        return self.position_side.opening not in (None, self.side)

    def counts(self, desk: Desk) -> bool:
        """Whether what a desk holds counts in the direction that the order trades: the other leg does not."""
        ours = self.position_side
        if ours is PositionSide.BOTH:
            ours = PositionSide.LONG if self.side is Side.BUY else PositionSide.SHORT
        return desk.position_side in (PositionSide.BOTH, ours)

    @property
    def is_at_market(self) -> bool:
        """Whether it has neither price nor trigger."""
        return self.price is None and self.stop_px is None

    @property
    def added(self) -> Decimal:
        """The quantity that is to be held in addition, unsigned; below zero if less is to be held."""
        return self.quantity - self.holding

    def is_reducing(self, exposure: Exposure) -> bool:
        """Whether it brings its strategy's position towards zero and not through, with all other working orders.

        A replacement that holds no more than before reduces as well.
        """
        if not self.is_new and self.added <= 0:
            return True
        cell = exposure.cell(self.desk, self.instrument_id)
        working = cell.held(self.side) + self.added
        return cell.now.quantity * self.side.sign < 0 and working <= abs(cell.now.quantity)

"""Holdings: balances, positions, orders and fills of one account from our log, as lines of a statement.

The moment is one of occurrence: all that had happened by then, as far as it is known now. Positions are netted over
strategies, and over legs where a venue does, and balances kept as the venue does (`domain.holdings.balances.Wallets`).
Grows with the account's orders and futures trades, for the length of one reconciliation.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

from msgspec import UNSET
from msgspec.structs import replace

from domain import instrument, order, position, values
from domain.account import (
    BalanceLine,
    BookEntry,
    EntryBooked,
    FeeCharged,
    FillLine,
    OrderLine,
    PositionLine,
    TransferReturned,
    TransferSettled,
)
from domain.holdings.balances import Wallets
from domain.instrument import Contract, Instrument, Kind
from domain.order import Order, OrderFillBusted, OrderFillCompleted, OrderFillCorrected, OrderFilled, OrderReport
from domain.position import Entry, PositionKey, PositionTransferred, TradeBooked, TradeReversed, Transfer
from domain.values import ZERO, Money, Occurrence, PositionSide, by_currency, exact, stated_leg

AS_OF_TRADE = OrderFillBusted | OrderFillCorrected
BREAKS = order.OrderBroken | order.OrderBreakWithdrawn


class Holdings:
    """One account's holdings at a venue, to which further reports can be applied.

    `venue` "" includes all venues. Money that moved other than by trades belongs to the account at any venue.
    """

    def __init__(self, account_id: str, venue: str, at: datetime) -> None:
        self.account_id = account_id
        self.venue = venue
        self.at = at
        self.wallets = Wallets()
        self.orders: dict[str, Order] = {}
        self.touched: dict[str, datetime] = {}
        self._quantities: dict[tuple[str, PositionSide], dict[str, Decimal]] = {}
        self._instruments: dict[str, Instrument] = {}
        self._names: dict[str, str] = {}

    def add(self, event: Any) -> None:
        """Add an event, in order of the log. One of another account or venue, or of a later moment, changes nothing."""
        match event:
            case (
                instrument.InstrumentListed() | instrument.InstrumentAmended() | instrument.InstrumentDelisted()
                | instrument.InstrumentRedenominated()
            ):  # fmt: skip
                known = self._instruments.get(event.instrument_id)
                self._instruments[event.instrument_id] = instrument.evolve(known, event)
            case TradeBooked() | TradeReversed() | PositionTransferred() | position.FundingSettled():
                if self._is_ours(event.key.account_id, event.key.instrument_id, event.transact_time):
                    self._add_booking(event)
            case TransferSettled() | TransferReturned() | FeeCharged() | EntryBooked():
                if event.account_id == self.account_id and event.transact_time <= self.at:
                    for entry in event.entries:
                        self.wallets.pay(Money(entry.indicator.sign * entry.amount.amount, entry.amount.currency))
            case _ if isinstance(event, ORDER_EVENTS) and event.key.account_id == self.account_id:
                # an amendment is of the day of its fill; so is a break
                at = self.at if isinstance(event, AS_OF_TRADE | BREAKS) else event.transact_time
                if at <= self.at:
                    self._evolve(event)
            case _:
                pass

    def _is_ours(self, account_id: str, instrument_id: str, at: datetime) -> bool:
        is_there = not self.venue or values.venue_of(instrument_id) == self.venue
        return account_id == self.account_id and is_there and at <= self.at

    def _add_booking(self, event: TradeBooked | TradeReversed | PositionTransferred | position.FundingSettled) -> None:
        self.wallets.add(event)
        if isinstance(event, position.FundingSettled):
            return
        if event.contract.kind is not Kind.SPOT:
            sign = -1 if isinstance(event, TradeReversed) else 1
            self._hold(event.key, sign * event.effect.quantity)

    def _hold(self, key: PositionKey, quantity: Decimal) -> None:
        held = self._quantities.setdefault((key.instrument_id, key.position_side), {})
        held[key.strategy_id] = exact(held.get(key.strategy_id, ZERO) + quantity)

    def _evolve(self, event: order.OrderEvent) -> None:
        cl_ord_id = event.key.cl_ord_id
        state = self.orders[cl_ord_id] = order.evolve(self.orders.get(cl_ord_id), event)
        if not isinstance(event, BREAKS):
            self.touched[cl_ord_id] = max(self.touched.get(cl_ord_id, event.transact_time), event.transact_time)
        for order_id in state.order_ids:
            self._names[order_id] = cl_ord_id
        if state.terms_as:
            self._names[state.terms_as] = cl_ord_id

    def find(self, cl_ord_id: str, order_id: str, instrument_id: str) -> Order | None:
        """The order that a venue names by these ids."""
        for named in (cl_ord_id, self._names.get(cl_ord_id, ""), self._names.get(order_id, "")):
            known = self.orders.get(named) if named else None
            if known is not None and known.alias_of:
                known = self.orders.get(known.alias_of)
            if known is not None and known.instrument_id in ("", instrument_id):
                return known
        return None

    def contract(self, instrument_id: str, at: datetime) -> Contract | None:
        """The instrument's contract at a moment; None if it is not listed."""
        known = self._instruments.get(instrument_id)
        return known.facts_at(at).contract if known is not None else None

    def fills(self) -> Iterator[FillLine]:
        """All fills that stand."""
        for state in self._orders():
            for fill in state.fills.values():
                yield _fill_line(fill, state)

    def is_busted(self, line: FillLine) -> bool:
        """Whether a fill is on record as void."""
        known = self.orders.get(line.cl_ord_id)
        amended = known.amendments.fills.get(line.exec_id) if known is not None else None
        return amended is not None and amended.is_busted

    def open_orders(self) -> Iterator[OrderLine]:
        """All working orders on record; not those known only by their fills."""
        return (order_line(state) for state in self._orders() if state.is_open and state.order_qty is not None)

    def _orders(self) -> Iterator[Order]:
        for state in self.orders.values():
            if not self.venue or values.venue_of(state.instrument_id) == self.venue:
                yield state

    def positions(self) -> dict[str, PositionLine]:
        """The net position in each derivative, with its cost at average cost."""
        names = dict.fromkeys(instrument_id for instrument_id, _ in self._quantities)
        return {line.instrument_id: line for name in names if (line := self._line(name, *PositionSide)) is not None}

    def legs(self) -> dict[tuple[str, PositionSide], PositionLine]:
        """The position in each derivative by leg, BOTH the one without a leg, with its cost at average cost."""
        lines = {place: self._line(*place) for place in self._quantities}
        return {
            place: replace(line, position_side=stated_leg(place[1]))
            for place, line in lines.items()
            if line is not None
        }

    def held_by(self, instrument_id: str, leg: PositionSide) -> Mapping[str, Decimal]:
        """The quantity that each strategy holds of a leg of a derivative."""
        return self._quantities.get((instrument_id, leg), {})

    def _line(self, instrument_id: str, *legs: PositionSide) -> PositionLine | None:
        held = (each for leg in legs for each in self.held_by(instrument_id, leg).values())
        quantity, contract = exact(sum(held, ZERO)), self.contract(instrument_id, self.at)
        if not quantity or contract is None:
            return None
        cost = self.wallets.open_cost(instrument_id, *legs)
        return PositionLine(instrument_id, quantity, contract.average_price(quantity, cost), cost)

    def balances(self) -> dict[str, BalanceLine]:
        """The balance of each currency, as the venue counts it."""
        return {currency: BalanceLine(currency, amount) for currency, amount in self.wallets.balances().items()}

    def apply(self, report: OrderReport | Transfer | BookEntry) -> None:
        """Apply a report that is not recorded yet."""
        match report:
            case BookEntry():
                sign = report.indicator.sign
                self.wallets.pay(Money(sign * report.amount.amount, report.amount.currency))
            case Transfer():
                if (contract := self.contract(report.key.instrument_id, report.transact_time)) is not None:
                    entry = Entry(
                        occurrence=position.occurrence_of(report),
                        contract=contract,
                        side=report.side,
                        quantity=report.quantity,
                        price=None,
                        commission=None,
                        cost=report.cost,
                    )
                    self.wallets.book(report.key, entry)
                    if contract.kind is not Kind.SPOT:
                        self._hold(report.key, report.side.sign * report.quantity)
            case _:
                for event in order.admit(self.orders.get(report.key.cl_ord_id), report):
                    self._apply_order(event)

    def _apply_order(self, event: order.OrderEvent) -> None:
        self._evolve(event)
        state = self.orders[event.key.cl_ord_id]
        match event:
            case OrderFilled():
                self._apply_fill(event, state, 1)
            case OrderFillBusted(was=OrderFilled() as was):
                self._apply_fill(was, state, -1)
            case (
                OrderFillCorrected(was=OrderFilled() as was, now=OrderFilled() as now)
                | OrderFillCompleted(was=OrderFilled() as was, now=OrderFilled() as now)
            ):
                self._apply_fill(was, state, -1)
                self._apply_fill(now, state, 1)
            case _:
                pass

    def _apply_fill(self, fill: OrderFilled, state: Order, sign: int) -> None:
        contract = self.contract(fill.instrument_id, fill.transact_time)
        if contract is None:
            return
        key = PositionKey(self.account_id, state.strategy_id, fill.instrument_id, state.leg_of(fill))
        place = Occurrence(fill.transact_time, fill.trade_seq, fill.exec_id)
        commission, *further = by_currency(fill.fees)
        entry = Entry(
            occurrence=place,
            contract=contract,
            side=fill.side,
            quantity=fill.last_qty,
            price=fill.last_px,
            commission=commission,
            further_commissions=tuple(further),
        )
        if sign > 0:
            self.wallets.book(key, entry)
        else:
            self.wallets.unbook(key, entry)
        if contract.kind is not Kind.SPOT:
            self._hold(key, sign * fill.side.sign * fill.last_qty)


ORDER_EVENTS = get_args(order.OrderEvent)


def holdings_of(events: Iterable[Any], account_id: str, venue: str, at: datetime) -> Holdings:
    """An account's holdings at a venue at a moment, from the events of the whole log."""
    holdings = Holdings(account_id, venue, at)
    for event in events:
        holdings.add(event)
    return holdings


def order_line(state: Order) -> OrderLine:
    """An order as a line of a statement."""
    return OrderLine(
        state.order_id, state.key.cl_ord_id, state.instrument_id, state.side, order_qty=state.order_qty,
        cum_qty=state.cum_qty, price=state.terms.price if state.terms is not None else None,
        strategy_id=state.strategy_id, position_side=stated_leg(state.leg),
    )  # fmt: skip


def _fill_line(fill: OrderFilled, state: Order) -> FillLine:
    return FillLine(
        fill.exec_id, fill.trade_seq, fill.order_id, fill.key.cl_ord_id, instrument_id=fill.instrument_id,
        side=fill.side, last_qty=fill.last_qty, last_px=fill.last_px, commission=fill.commission,
        transact_time=fill.transact_time, liquidity=fill.liquidity, strategy_id=state.strategy_id,
        further_commissions=fill.further_commissions or UNSET, position_side=stated_leg(state.leg_of(fill)),
    )  # fmt: skip

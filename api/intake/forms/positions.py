"""Moves of positions at cost, settlement at expiry, and lots assigned to disposals."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from api.intake.forms.fields import (
    DEFAULT_ACCOUNT,
    DEFAULT_STRATEGY,
    INSTRUMENT,
    NAME,
    NUMBER,
    POSITIVE,
    TEXT,
    TIME,
    WHOLE,
    Field,
)
from api.intake.forms.form import Form, Look, Operation, Record, known
from api.problems import not_found
from domain import instrument, position
from domain.access import Scope
from domain.ledger import pages
from domain.position import (
    AssignLots,
    ContractDelivered,
    DeliverContract,
    Lot,
    MovePosition,
    PositionKey,
    PositionTransferred,
    SettleContract,
    TradeBooked,
)
from domain.values import PositionSide

if TYPE_CHECKING:
    from api.daybook import Daybook


class OfPosition(Form, frozen=True, kw_only=True):
    """The fields that name a position."""

    account_id: Annotated[str, Field(NAME, "the account", "--account", DEFAULT_ACCOUNT)]
    strategy_id: Annotated[str, Field(NAME, "the strategy", "--strategy")] = DEFAULT_STRATEGY
    instrument_id: Annotated[str, Field(INSTRUMENT, "the instrument", "--instrument")]
    position_side: Annotated[PositionSide, Field(None, "the leg of hedge mode", "--position-side")] = PositionSide.BOTH

    @property
    def key(self) -> PositionKey:
        """The key of the position."""
        return PositionKey(self.account_id, self.strategy_id, self.instrument_id, self.position_side)

    def _check_known(self, look: Look) -> None:
        """Check that the position is on record. Raises Problem."""
        known(
            look(position.stream(self.key)),
            f"a position of account {self.account_id}, strategy {self.strategy_id}, in {self.instrument_id}",
            account_id=self.account_id, strategy_id=self.strategy_id, instrument_id=self.instrument_id,
        )  # fmt: skip


def _held(look: Look, key: PositionKey) -> tuple[Decimal, Decimal]:
    """The quantity and cost of a position; zeros if it is not on record."""
    state = look(position.stream(key))
    return (state.book.quantity, state.book.cost) if state is not None else (Decimal(0), Decimal(0))


def lot_records(lots: tuple[Lot, ...]) -> list[Record]:
    """Return lots as records."""
    return [
        {"lot_id": lot.lot_id, "quantity": lot.quantity, "cost": lot.cost, "opened_at": lot.opened_at.transact_time}
        for lot in lots
    ]


class MovePositionForm(OfPosition, frozen=True, kw_only=True):
    """Move quantity to another strategy or account of ours, at its cost and with its lots. Nothing is realized.

    Which lots move is decided by the account's cost basis; they keep their age. A short position is moved alike.
    """

    to_account_id: Annotated[str | None, Field(NAME, "the account moved to; the same if absent", "--to-account")] = None
    to_strategy_id: Annotated[str | None, Field(NAME, "the strategy moved to; the same if absent", "--to-strategy")] = (
        None
    )
    transfer_id: Annotated[str, Field(NAME, "your own id of the move", "--id")]
    quantity: Annotated[Decimal, Field(POSITIVE, "at most what is held", "--qty")]
    transact_time: Annotated[datetime | None, Field(TIME, "when it was moved; now if absent", "--at")] = None

    @property
    def to(self) -> PositionKey:
        """The key of the position moved to."""
        account_id, strategy_id = self.to_account_id or self.account_id, self.to_strategy_id or self.strategy_id
        return PositionKey(account_id, strategy_id, self.instrument_id, self.position_side)

    def request(self, daybook: "Daybook", at: datetime) -> MovePosition:
        """Return the request. Raises Problem if there is no such position."""
        self._check_known(daybook.writer.state)
        return MovePosition(self.key, self.to, self.transfer_id, self.quantity, transact_time=self.transact_time or at)

    def record(self, look: Look) -> Record:
        """Return what was moved, at which cost, and what both positions hold."""
        state = look(position.stream(self.to))
        arrived: PositionTransferred = state.transfers[self.transfer_id]
        left, there = _held(look, self.key), _held(look, self.to)
        return {
            "transfer_id": self.transfer_id, "account_id": self.account_id, "strategy_id": self.strategy_id,
            "instrument_id": self.instrument_id, "to_account_id": self.to.account_id,
            "to_strategy_id": self.to.strategy_id, "quantity": arrived.quantity, "cost": arrived.cost,
            "lots": lot_records(arrived.lots),
            "transact_time": arrived.transact_time, "quantity_left": left[0], "cost_left": left[1],
            "quantity_there": there[0], "cost_there": there[1],
        }  # fmt: skip


class SettleContractForm(OfPosition, frozen=True, kw_only=True):
    """Settle what is held of an expired future or option in cash, and close the position.

    A future settles at the price of its underlying, a linear one also at or below zero; an option at its intrinsic
    value, which may be zero.
    """

    settlement_id: Annotated[str, Field(NAME, "your own id of the settlement", "--id")]
    underlying_px: Annotated[Decimal, Field(NUMBER, "the underlying's price at expiry", "--price")]
    transact_time: Annotated[datetime | None, Field(TIME, "when it was settled; its expiry if absent", "--at")] = None

    def request(self, daybook: "Daybook", at: datetime) -> SettleContract:
        """Return the request. Raises Problem if there is no such position."""
        self._check_known(daybook.writer.state)
        listed = daybook.writer.state(instrument.stream(self.instrument_id))
        expiry = listed.contract.expiry if listed is not None else None
        moment = self.transact_time or (expiry if expiry is not None and expiry <= at else at)
        return SettleContract(self.key, self.settlement_id, self.underlying_px, moment)

    def record(self, look: Look) -> Record:
        """Return the position after the settlement."""
        state = look(position.stream(self.key))
        return {
            "settlement_id": self.settlement_id, "account_id": self.account_id, "strategy_id": self.strategy_id,
            "instrument_id": self.instrument_id, "underlying_px": self.underlying_px,
            "settlement_px": state.contract.settlement_price(self.underlying_px), "quantity": state.quantity,
            "realized": state.realized, "settle": state.contract.settle,
        }  # fmt: skip


class DeliverContractForm(OfPosition, frozen=True, kw_only=True):
    """Exercise an option, have one assigned, or settle a dated future, by delivery of the underlying.

    A long call and a short put buy the underlying at the strike, a long put and a short call sell it; a future is
    closed at `settlement_px`, at which its underlying is bought or sold. In the same unit of work the contract is
    closed. The premium is realized, and the underlying costs the strike; with `is_premium_in_cost` nothing is realized,
    and the premium is part of the underlying's price. A European option, and a future, is delivered from its expiry on.
    """

    delivery_id: Annotated[str, Field(NAME, "your own id of the delivery", "--id")]
    to_instrument_id: Annotated[str, Field(INSTRUMENT, "what is delivered: spot, or a linear contract", "--to")]
    quantity: Annotated[Decimal | None, Field(POSITIVE, "how many contracts; all that are held if absent", "--qty")] = (
        None
    )
    settlement_px: Annotated[Decimal | None, Field(NUMBER, "of a future: the price it settles at", "--price")] = None
    is_premium_in_cost: Annotated[
        bool, Field(None, "whether an option's premium goes into the underlying's cost", "--premium-in-cost")
    ] = False
    transact_time: Annotated[datetime | None, Field(TIME, "when it happened; at its expiry, or now", "--at")] = None

    @property
    def to(self) -> PositionKey:
        """The key of the position that what is delivered goes to."""
        return PositionKey(self.account_id, self.strategy_id, self.to_instrument_id)

    def request(self, daybook: "Daybook", at: datetime) -> DeliverContract:
        """Return the request. Raises Problem if there is no such position."""
        self._check_known(daybook.writer.state)
        state = daybook.writer.state(position.stream(self.key))
        known = state.deliveries.get(self.delivery_id)
        expiry = state.contract.expiry if state.contract is not None else None
        moment = known.transact_time if known is not None else expiry if expiry is not None and expiry <= at else at
        return DeliverContract(
            self.key, self.delivery_id, self.to, self.transact_time or moment, quantity=self.quantity,
            settlement_px=self.settlement_px, is_premium_in_cost=self.is_premium_in_cost,
        )  # fmt: skip

    def record(self, look: Look) -> Record:
        """Return what was delivered, and what both positions hold."""
        here, there = look(position.stream(self.key)), look(position.stream(self.to))
        event: ContractDelivered = here.deliveries[self.delivery_id]
        return {
            "delivery_id": self.delivery_id, "account_id": self.account_id, "strategy_id": self.strategy_id,
            "instrument_id": self.instrument_id, "to_instrument_id": self.to_instrument_id,
            "quantity": event.quantity, "price": event.settlement_px or here.contract.strike,
            "is_premium_in_cost": event.is_premium_in_cost, "transact_time": event.transact_time,
            "quantity_left": here.quantity, "realized": here.realized, "settle": here.contract.settle,
            "quantity_there": there.quantity, "cost_there": there.book.cost, "realized_there": there.realized,
        }  # fmt: skip


class AssignLotsForm(OfPosition, frozen=True, kw_only=True):
    """Name the lots that a disposal on record consumes, one after the other, before the oldest.

    For accounts whose cost basis is SPECIFIC. The disposal is a sale of a long position, a purchase of a short one, or
    a transfer; `GET /v1/lots` and `/v1/matches` show lots and what consumed them.
    """

    exec_id: Annotated[str, Field(TEXT, "the execution, or transfer, that disposes of them", "--exec")]
    lot_ids: Annotated[tuple[str, ...], Field(TEXT, "the lots, the first one first", "--lot")]
    trade_seq: Annotated[int | None, Field(WHOLE, "its trade sequence at the venue, where the id is not unique")] = None
    transact_time: Annotated[datetime | None, Field(TIME, "its time, where the id is not unique", "--at")] = None

    def request(self, daybook: "Daybook", at: datetime) -> AssignLots:  # noqa: ARG002 (the disposal's time decides)
        """Return the request, with the time of the disposal. Raises Problem if it is not on record."""
        self._check_known(daybook.writer.state)
        found = self._disposal(daybook)
        trade_seq = found.trade_seq if isinstance(found, TradeBooked) else 0
        return AssignLots(
            self.key, self.exec_id, trade_seq, lot_ids=self.lot_ids, transact_time=found.transact_time
        )  # fmt: skip

    def _disposal(self, daybook: "Daybook") -> TradeBooked | PositionTransferred:
        """The newest booking under the id, and of the time and trade sequence where these are named."""
        found: TradeBooked | PositionTransferred | None = None
        for page in pages(daybook.log, position.stream(self.key)):
            for event in (recorded.event for recorded in page):
                if isinstance(event, TradeBooked):
                    about = (event.exec_id, event.trade_seq)
                elif isinstance(event, PositionTransferred):
                    about = (event.transfer_id, 0)
                else:
                    continue
                if about[0] == self.exec_id and self.trade_seq in (None, about[1]):
                    found = event if self.transact_time in (None, event.transact_time) else found
        if found is None:
            raise not_found(f"an execution or transfer {self.exec_id} of the position", exec_id=self.exec_id)
        return found

    def record(self, look: Look) -> Record:
        """Return what was assigned, and what the position has realized with it."""
        state = look(position.stream(self.key))
        return {
            "account_id": self.account_id, "strategy_id": self.strategy_id, "instrument_id": self.instrument_id,
            "exec_id": self.exec_id, "lot_ids": list(self.lot_ids), "realized": state.realized,
            "settle": state.contract.settle,
        }  # fmt: skip


_HELD = {"account_id": "main", "instrument_id": "BTCUSDT.BINANCE"}
OPERATIONS = (
    Operation(
        "move_position", MovePositionForm, "/positions/move", "position move", scope=Scope.RECORD,
        answer="MoveAnswer", tag="positions",
        said="{quantity} {instrument_id} moved to {to_account_id}/{to_strategy_id} at a cost of {cost}.",
        example=_HELD | {"to_strategy_id": "hedge", "transfer_id": "M-1", "quantity": "0.1"},
        usage="position move --instrument BTCUSDT.BINANCE --to-account cold --id M-2 --qty 0.05",
    ),
    Operation(
        "settle_contract", SettleContractForm, "/positions/settle", "position settle", scope=Scope.RECORD,
        answer="SettlementAnswer", tag="positions",
        said="{instrument_id} is settled at {settlement_px}; realized {realized} {settle} in all.",
        example={
            "account_id": "main", "instrument_id": "BTC-9JAN26-90000-C.DERIBIT", "settlement_id": "EXP-1",
            "underlying_px": "93500",
        },
        usage="position settle --instrument BTC-9JAN26-90000-C.DERIBIT --strategy hedge --id EXP-2 --price 93500",
    ),
    Operation(
        "deliver_contract", DeliverContractForm, "/positions/deliver", "position deliver", scope=Scope.RECORD,
        answer="DeliveryAnswer", tag="positions",
        said="{quantity} {instrument_id} delivered at {price}; {quantity_there} {to_instrument_id} held at a cost of"
        " {cost_there}.",
        example={
            "account_id": "main", "instrument_id": "BTC-9JAN26-90000-C.DERIBIT", "strategy_id": "physical",
            "delivery_id": "DEL-1", "to_instrument_id": "BTCUSD.DERIBIT", "quantity": "1",
        },
        usage="position deliver --instrument BTC-9JAN26-90000-C.DERIBIT --strategy physical --id DEL-2"
        " --to BTCUSD.DERIBIT --premium-in-cost",
    ),
    Operation(
        "assign_lots", AssignLotsForm, "/lots/assign", "lots assign", scope=Scope.RECORD,
        answer="AssignmentAnswer", tag="positions",
        said="{exec_id} consumes {lot_ids}; realized {realized} {settle} in all.",
        example={
            "account_id": "cold", "instrument_id": "BTCUSDT.BINANCE", "exec_id": "C-3", "lot_ids": ["C-2"],
        },
        usage="lots assign --account cold --instrument BTCUSDT.BINANCE --exec C-3 --lot C-1",
    ),
)  # fmt: skip

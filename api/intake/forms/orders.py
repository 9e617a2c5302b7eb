"""Replacements of orders, and parent orders."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import UNSET, UnsetType

from api.intake.forms.fields import (
    ANY_TIME,
    DEFAULT_ACCOUNT,
    INSTRUMENT,
    NAME,
    NUMBER,
    POSITIVE,
    TEXT,
    Field,
)
from api.intake.forms.form import Form, Look, Operation, Record, known
from api.intake.forms.records import parent_record
from domain import instrument, order
from domain.access import Scope
from domain.errors import InvalidInput, RequestRefused
from domain.order import Changes, CloseParent, OpenParent, OrderKey, OrderReplaceRequested, ReplaceOrder, parent
from domain.values import DEFAULT_STRATEGY, Side

if TYPE_CHECKING:
    from api.daybook import Daybook

AccountId = Annotated[str, Field(NAME, "the account", "--account", DEFAULT_ACCOUNT)]
Price = Decimal | UnsetType | None


class ReplaceOrderForm(Form, frozen=True, kw_only=True):
    """Request other terms for an order. A field that is absent stays as it is; one that is null is removed.

    The replacement is checked like a new order, and the venue's answer arrives as a venue report; until then the order
    holds the larger of both quantities. It follows the last replacement under way, or the one that `orig_cl_ord_id`
    names.
    """

    account_id: AccountId
    cl_ord_id: Annotated[str, Field(NAME, "the order's own id, or that of a replacement of it")]
    requested_as: Annotated[str, Field(NAME, "the ClOrdID of the replacement itself, new in the account", "--as")]
    order_qty: Annotated[Decimal | UnsetType, Field(POSITIVE, "the whole quantity, filled part included", "--qty")] = (
        UNSET
    )
    price: Annotated[Price, Field(NUMBER, "the limit")] = UNSET
    stop_px: Annotated[Price, Field(NUMBER, "the price that triggers it")] = UNSET
    peg_offset_value: Annotated[Price, Field(POSITIVE, "the distance of a trailing stop", "--peg-offset")] = UNSET
    display_qty: Annotated[Price, Field(POSITIVE, "the quantity an iceberg shows")] = UNSET
    expire_time: Annotated[datetime | UnsetType | None, Field(ANY_TIME, "when a GTD order expires")] = UNSET
    orig_cl_ord_id: Annotated[str | None, Field(NAME, "the order or replacement that it follows", "--follows")] = None

    def _key(self, look: Look) -> OrderKey:
        """The key of the order, which may be named by the id of a replacement."""
        key = OrderKey(self.account_id, self.cl_ord_id)
        state = known(
            look(order.stream(key)), f"order {self.cl_ord_id} of account {self.account_id}",
            account_id=self.account_id, cl_ord_id=self.cl_ord_id,
        )  # fmt: skip
        return OrderKey(self.account_id, state.alias_of) if state.alias_of else key

    def request(self, daybook: "Daybook", at: datetime) -> ReplaceOrder:
        """Return the request. Raises Problem if the order is not on record."""
        self._key(daybook.writer.state)
        if self.order_qty is None:
            raise InvalidInput("order_qty", None, "a quantity above zero; leave it out to keep it")
        changes = Changes(
            self.order_qty, self.price, self.stop_px, peg_offset_value=self.peg_offset_value,
            display_qty=self.display_qty, expire_time=self.expire_time,
        )  # fmt: skip
        key = OrderKey(self.account_id, self.cl_ord_id)
        return ReplaceOrder(key, self.requested_as, changes, at, orig_cl_ord_id=self.orig_cl_ord_id or "")

    def record(self, look: Look) -> Record:
        """Return the order's status, and the terms that were requested."""
        key = self._key(look)
        state = look(order.stream(key))
        requested = state.requests[self.requested_as].request
        assert isinstance(requested, OrderReplaceRequested), "it was requested as a replacement"
        changing = ("order_qty", "price", "stop_px", "peg_offset_value", "display_qty", "expire_time")
        return {
            "account_id": key.account_id, "cl_ord_id": key.cl_ord_id, "requested_as": self.requested_as,
            "orig_cl_ord_id": requested.orig_cl_ord_id, "status": state.status,
            **{name: getattr(requested.terms, name) for name in changing},
        }  # fmt: skip


class _OfParent(Form, frozen=True, kw_only=True):
    account_id: AccountId
    cl_ord_id: Annotated[str, Field(NAME, "the parent order's own id")]

    def _parent(self, look: Look) -> Any:
        key = OrderKey(self.account_id, self.cl_ord_id)
        return known(
            look(parent.stream(key)), f"parent order {self.cl_ord_id} of account {self.account_id}",
            account_id=self.account_id, cl_ord_id=self.cl_ord_id,
        )  # fmt: skip

    def record(self, look: Look) -> Record:
        """Return the parent order and its children."""
        return parent_record(self._parent(look))


class OpenParentForm(_OfParent, frozen=True, kw_only=True):
    """Open a parent order: one intent to trade, that orders with it as `parent` work at any venue.

    Its children have its side and strategy and trade the same contract; together they do not exceed its quantity, and
    none is beyond its price. It is sent nowhere itself and holds no limit: its children do.
    """

    instrument_id: Annotated[str, Field(INSTRUMENT, "an instrument of the contract to trade", "--instrument")]
    side: Side
    order_qty: Annotated[Decimal, Field(POSITIVE, "what all children may fill together", "--qty")]
    price: Annotated[Decimal | None, Field(NUMBER, "no child pays more, or sells for less")] = None
    strategy_id: Annotated[str, Field(NAME, "the strategy", "--strategy")] = DEFAULT_STRATEGY

    def request(self, daybook: "Daybook", at: datetime) -> OpenParent:
        """Return the request. Raises RequestRefused if the instrument is not listed."""
        listed = daybook.writer.state(instrument.stream(self.instrument_id))
        if listed is None:
            raise RequestRefused("the instrument is listed; list it first", instrument_id=self.instrument_id)
        key = OrderKey(self.account_id, self.cl_ord_id)
        return OpenParent(
            key, self.strategy_id, listed.facts_at(at).contract, self.side, order_qty=self.order_qty, price=self.price,
            transact_time=at,
        )  # fmt: skip


class CloseParentForm(_OfParent, frozen=True, kw_only=True):
    """Close a parent order: no more children are accepted. Those at work go on until they are canceled themselves."""

    reason: Annotated[str, Field(TEXT, "why; kept on record")] = ""

    def request(self, daybook: "Daybook", at: datetime) -> CloseParent:
        """Return the request. Raises Problem if the parent order is not on record."""
        self._parent(daybook.writer.state)
        return CloseParent(OrderKey(self.account_id, self.cl_ord_id), self.reason, at)


OPERATIONS = (
    Operation(
        "replace_order", ReplaceOrderForm, "/orders/{account_id}/{cl_ord_id}/replace", "order replace",
        scope=Scope.TRADE, answer="ReplaceAnswer", arguments=("cl_ord_id",),
        said="Order {cl_ord_id} is {status}: {order_qty} at {price} was requested as {requested_as}.",
        example={"account_id": "main", "cl_ord_id": "A-17", "requested_as": "A-17b", "price": "97400.50"},
        usage="order replace A-17 --as A-17c --qty 0.2 --price 97400.70",
    ),
    Operation(
        "open_parent", OpenParentForm, "/parents", "parent open", scope=Scope.TRADE,
        answer="ParentAnswer", arguments=("cl_ord_id",),
        said="Parent order {cl_ord_id} is {status}: {side} {order_qty} {base}, {leaves_qty} to go.",
        example={
            "account_id": "main", "cl_ord_id": "P-1", "instrument_id": "BTCUSDT.BINANCE", "side": "BUY",
            "order_qty": "2", "price": "98000",
        },
        usage="parent open P-2 --instrument BTCUSDT.BINANCE --side BUY --qty 2 --price 98000",
    ),
    Operation(
        "close_parent", CloseParentForm, "/parents/{account_id}/{cl_ord_id}/close", "parent close", scope=Scope.TRADE,
        answer="ParentAnswer", arguments=("cl_ord_id",),
        said="Parent order {cl_ord_id} is {status}: {cum_qty} of {order_qty} filled, {working_qty} working.",
        example={"account_id": "main", "cl_ord_id": "P-1", "reason": "enough"},
        usage="parent close P-2 --reason enough",
    ),
)  # fmt: skip

"""`daybook order`: submit, replace, cancel, show."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

import typer

from api.clock import now
from api.problems import not_found
from api.read_models.records import order_record
from api.terminal.options import (
    AccountId,
    InstrumentId,
    Strategy,
    name_option,
    number_option,
    opened,
    positive_option,
    read,
    spread,
    time_option,
)
from api.terminal.output import Column, Json, say, write_json, write_table
from api.terminal.requests import requested
from domain import order as orders
from domain.order import (
    CancelOrder,
    ExecInst,
    OrderKey,
    OrderTerms,
    OrdType,
    PegOffset,
    SubmitOrder,
    TimeInForce,
    TriggerPrice,
)
from domain.values import PositionSide, Side, stated_leg

order = typer.Typer(name="order", help="Orders: submit, replace, cancel, show.", no_args_is_help=True)

CL_ORD_ID = typer.Argument(parser=name_option, metavar="CL_ORD_ID", help="Your own id of the order.")


def _price(help_: str, *names: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, parser=number_option, metavar="PRICE", help=help_)
    return option


def _positive(help_: str, metavar: str = "PRICE", *names: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, parser=positive_option, metavar=metavar, help=help_)
    return option


class Terms(NamedTuple):
    """The options of an order's terms beside instrument, side and quantity."""

    price: Annotated[Decimal | None, _price("The limit. Absent: a market order, or one that a stop triggers.")] = None
    ord_type: Annotated[
        OrdType | None, typer.Option("--type", help="Absent: by what is given, LIMIT, STOP, STOP_LIMIT or MARKET.")
    ] = None
    time_in_force: Annotated[TimeInForce, typer.Option("--tif", help="How long it works.")] = TimeInForce.GTC
    expire_time: Annotated[
        datetime | None, typer.Option("--expires", parser=time_option, metavar="TIME", help="Of a GTD order.")
    ] = None
    stop_px: Annotated[Decimal | None, _price("The price that triggers it.", "--stop")] = None
    trigger_price: Annotated[
        TriggerPrice, typer.Option("--trigger", help="The kind of price that triggers it.")
    ] = TriggerPrice.LAST  # fmt: skip
    peg_offset_value: Annotated[
        Decimal | None, _positive("The distance of a trailing stop.", "NUMBER", "--peg-offset")
    ] = None
    peg_offset: Annotated[PegOffset, typer.Option("--peg-unit", help="The unit of that distance.")] = PegOffset.PRICE
    post_only: Annotated[bool, typer.Option("--post-only", help="Never takes liquidity.")] = False
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="Never increases the position.")] = False
    display_qty: Annotated[Decimal | None, _positive("The quantity an iceberg shows.", "QTY", "--display")] = None
    position_side: Annotated[
        PositionSide, typer.Option(help="The leg of hedge mode; BUY with SHORT closes a short leg.")
    ] = PositionSide.BOTH  # fmt: skip
    parent: Annotated[
        str | None, typer.Option(parser=name_option, metavar="ID", help="The parent order it is a child of.")
    ] = None

    @property
    def kind(self) -> OrdType:
        """The order type, as named or by the prices given."""
        if self.ord_type is not None:
            return self.ord_type
        if self.peg_offset_value is not None:
            return OrdType.TRAILING_STOP
        if self.stop_px is not None:
            return OrdType.STOP if self.price is None else OrdType.STOP_LIMIT
        return OrdType.MARKET if self.price is None else OrdType.LIMIT

    @property
    def exec_inst(self) -> frozenset[ExecInst]:
        """The instructions for its execution."""
        chosen = {ExecInst.POST_ONLY: self.post_only, ExecInst.REDUCE_ONLY: self.reduce_only}
        return frozenset(instruction for instruction, is_chosen in chosen.items() if is_chosen)


@order.command()
@spread
def submit(
    cl_ord_id: Annotated[str, CL_ORD_ID],
    instrument: InstrumentId,
    side: Annotated[Side, typer.Option()],
    qty: Annotated[Decimal, typer.Option(parser=positive_option, metavar="QTY")],
    terms: Terms,
    account: AccountId = "main",
    strategy: Strategy = "main",
    json: Json = False,
) -> None:
    """Submit an order: checked against its account's limits, then recorded.

    Example: daybook order submit A-17 --instrument BTCUSDT.BINANCE --side BUY --qty 0.25 --price 97500.10
    """
    key = OrderKey(account, cl_ord_id)
    wanted = OrderTerms(
        strategy_id=strategy, instrument_id=instrument, side=side, ord_type=terms.kind, order_qty=qty,
        price=terms.price, time_in_force=terms.time_in_force, expire_time=terms.expire_time, stop_px=terms.stop_px,
        trigger_price=terms.trigger_price, peg_offset_value=terms.peg_offset_value, peg_offset=terms.peg_offset,
        exec_inst=terms.exec_inst, display_qty=terms.display_qty, parent=terms.parent or "",
        position_side=stated_leg(terms.position_side),
    )  # fmt: skip
    with opened() as daybook:
        answer = requested(daybook, SubmitOrder(key, wanted, now()), json=json)
        record = order_record(key, daybook.log.read(orders.stream(key), limit=1)[0])
    if json:
        write_json(record)
    else:
        say(f"Order {cl_ord_id} is submitted." if answer.records else f"Order {cl_ord_id} was submitted already.")


@order.command()
def cancel(
    cl_ord_id: Annotated[str, CL_ORD_ID],
    account: AccountId = "main",
    reason: Annotated[str, typer.Option(help="Why; kept with the request.")] = "",
    requested_as: Annotated[
        str | None,
        typer.Option("--as", parser=name_option, metavar="ID", help="The ClOrdID of the request itself."),
    ] = None,
    json: Json = False,
) -> None:
    """Request that an order be canceled."""
    key = OrderKey(account, cl_ord_id)
    with opened() as daybook:
        requested(daybook, CancelOrder(key, reason, now(), requested_as or ""), json=json)
        state = daybook.writer.state(orders.stream(key))
    if json:
        write_json({"account_id": account, "cl_ord_id": cl_ord_id, "status": state.status})
    else:
        say(f"Order {cl_ord_id} is {state.status}.")


@order.command()
def show(cl_ord_id: Annotated[str, CL_ORD_ID], account: AccountId = "main", json: Json = False) -> None:
    """Show one order as it stands."""
    from projections.models import orders as blotter

    with opened() as daybook, read(daybook, "orders") as at:
        row = blotter.order(at.source, account, cl_ord_id)
    if row is None:
        raise not_found(f"order {cl_ord_id} of account {account}", account_id=account, cl_ord_id=cl_ord_id)
    if json:
        write_json(row)
        return
    rows = [{"name": name, "value": value} for name, value in row.items() if value not in (None, "", {})]
    write_table(f"Order {cl_ord_id}", rows, [Column("name", "Field"), Column("value", "Value")], empty="")

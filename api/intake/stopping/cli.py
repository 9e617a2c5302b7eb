"""`daybook order cancel-all`: cancel every working order of a selection."""

from typing import Annotated

import typer

from api.terminal.options import AccountId, actor, currency_option, instrument_option, name_option, opened
from api.terminal.output import Column, Json, Kind, say, write_json, write_table
from domain.values import Side


def cancel_all(
    account: AccountId = "main",
    strategy: Annotated[str | None, typer.Option(parser=name_option, metavar="ID", help="Only this one.")] = None,
    instrument: Annotated[
        str | None, typer.Option(parser=instrument_option, metavar="SYMBOL.VENUE", help="Only this one.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(metavar="SYMBOL", help="Only this one, at any venue.")] = None,
    venue: Annotated[str | None, typer.Option(parser=currency_option, metavar="VENUE", help="Only this one.")] = None,
    side: Annotated[Side | None, typer.Option(case_sensitive=False, help="Only these.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with every request.")] = "",
    json: Json = False,
) -> None:
    """Request that every working order of an account, or of a part of it, be canceled.

    Orders on record when it begins are selected. The same command again cancels what is new.
    """
    from api.intake.stopping.cancel_all import Selection, begun, carried_out, record

    selection = Selection(account, strategy, instrument, symbol=symbol, venue=venue, side=side)
    with opened() as daybook:
        request = begun(daybook, selection, reason, actor=actor())
        done = record(request, carried_out(daybook, request))
    if json:
        write_json(done)
        return
    columns = (
        Column("cl_ord_id", "Order"), Column("strategy_id", "Strategy", rank=3), Column("instrument_id", "Instrument"),
        Column("side", "Side"), Column("leaves_qty", "Open", Kind.NUMBER), Column("result", "Result"),
        Column("status", "Status", rank=1),
    )  # fmt: skip
    write_table(f"Working orders of {account}", done["orders"], columns, empty=f"No order of {account} is working.")
    if done["orders"]:
        say(f"{done['requested']:,} are to be canceled now, {done['pending']:,} were to be before.")

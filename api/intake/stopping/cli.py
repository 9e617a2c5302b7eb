"""`daybook order cancel-all` and `daybook dead-man-switch`: cancel every working order, now or by a countdown."""

from typing import Annotated

import typer

from api.terminal.options import AccountId, actor, currency_option, instrument_option, name_option, opened
from api.terminal.output import Column, Json, Kind, say, write_json, write_table
from domain.values import Side

SECONDS_MAX = 86_400.0
dead_man_switch = typer.Typer(
    name="dead-man-switch", help="Dead man's switches: arm, extend, disarm, fire, list.", no_args_is_help=True
)

Strategy = Annotated[
    str | None, typer.Option(parser=name_option, metavar="ID", help="Its switch; absent: that of the whole account.")
]


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


@dead_man_switch.command()
def arm(
    seconds: Annotated[float, typer.Option(min=1, max=SECONDS_MAX, help="The countdown, from now.")],
    account: AccountId = "main",
    strategy: Strategy = None,
    halt: Annotated[
        bool, typer.Option("--halt", help="When it fires, a kill switch refuses further orders too.")
    ] = False,
    json: Json = False,
) -> None:
    """Arm a switch, or extend one that is armed: when the countdown passes, all its working orders are canceled.

    The same command again extends it; nothing is recorded then. A server that runs fires it.
    """
    from api.clock import now
    from api.intake.stopping import dead_man
    from domain.risk import ArmDeadManSwitch

    request = ArmDeadManSwitch(account, strategy, round(seconds * 1000), now(), halts=halt)
    with opened() as daybook:
        is_extended = dead_man.extended(daybook, request) is not None
        if not is_extended:
            daybook.writer.request(request, actor=actor())
            dead_man.begin(daybook, request)
        (found,) = (each for each in dead_man.switches(daybook, account) if each["strategy_id"] == strategy)
    if json:
        write_json(found)
    else:
        done = "extended" if is_extended else "armed"
        say(f"The dead man's switch of {strategy or account} is {done}: {seconds:g} s.")


@dead_man_switch.command()
def disarm(account: AccountId = "main", strategy: Strategy = None, json: Json = False) -> None:
    """Disarm a switch: it no longer fires."""
    from api.clock import now
    from domain.risk import DisarmDeadManSwitch

    with opened() as daybook:
        done = daybook.writer.request(DisarmDeadManSwitch(account, strategy, now()), actor=actor())
    if json:
        write_json({"account_id": account, "strategy_id": strategy, "is_changed": bool(done.records)})
    else:
        say("The dead man's switch is disarmed." if done.records else "It was not armed.")


@dead_man_switch.command()
def fire(account: AccountId = "main", strategy: Strategy = None, json: Json = False) -> None:
    """Fire an armed switch at once, as if its countdown had passed."""
    from api.intake.stopping import dead_man

    with opened() as daybook:
        request = dead_man.to_fire(daybook, account, strategy)
        done = daybook.writer.request(request, actor=actor())
    if json:
        write_json({"account_id": account, "strategy_id": strategy, "is_changed": bool(done.records)})
    else:
        say("The dead man's switch has fired.")


@dead_man_switch.command(name="list")
def list_switches(
    account: Annotated[str | None, typer.Option(parser=name_option, metavar="ID", help="Only this one.")] = None,
    json: Json = False,
) -> None:
    """List dead man's switches, with the time left of those that are armed."""
    from api.intake.stopping import dead_man

    with opened() as daybook:
        found = dead_man.switches(daybook, account)
    if json:
        write_json({"switches": found})
        return
    columns = (
        Column("account_id", "Account"), Column("strategy_id", "Strategy"), Column("status", "Status"),
        Column("countdown_ms", "Countdown (ms)", Kind.NUMBER, 1), Column("time_left_ms", "Left (ms)", Kind.NUMBER),
        Column("armed_at", "Armed", Kind.TIME, 3), Column("fired_at", "Fired", Kind.TIME, 2),
    )  # fmt: skip
    write_table("Dead man's switches", found, columns, empty="No dead man's switch was ever armed.")

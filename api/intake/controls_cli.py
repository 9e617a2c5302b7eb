"""`daybook kill-switch` and `daybook break`: stop orders, let them through again; dismiss or correct a break."""

from typing import Annotated, NamedTuple

import typer
from msgspec.structs import asdict

from api.clock import now
from api.terminal.options import (
    AccountId,
    actor,
    currency_option,
    instrument_option,
    name_option,
    opened,
    spread,
    venue_option,
)
from api.terminal.output import Column, Json, say, write_json, write_table
from api.terminal.requests import requested
from domain import risk
from domain.account import ResolveBreak
from domain.risk import EngageSwitch, Mode, ReleaseSwitch, Scope

kill_switch = typer.Typer(name="kill-switch", help="Kill switches: engage, release, list.", no_args_is_help=True)
breaks = typer.Typer(name="break", help="Breaks: dismiss, correct.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why; kept on record.")]


class Covered(NamedTuple):
    """The options that say what a switch covers."""

    account: AccountId = "main"
    strategy: Annotated[str | None, typer.Option(parser=name_option, metavar="ID", help="Only this one.")] = None
    instrument: Annotated[
        str | None, typer.Option(parser=instrument_option, metavar="SYMBOL.VENUE", help="Only this one.")
    ] = None
    venue: Annotated[str | None, typer.Option(parser=venue_option, metavar="VENUE", help="Only this one.")] = None
    asset: Annotated[str | None, typer.Option(parser=currency_option, metavar="ASSET", help="Only this one.")] = None

    @property
    def scope(self) -> Scope:
        """The scope of the switch."""
        return Scope(self.strategy, self.instrument, self.venue, self.asset)


@kill_switch.command()
@spread
def engage(
    reason: Reason,
    covered: Covered,
    mode: Annotated[Mode, typer.Option(help="HALT: no orders. REDUCE_ONLY: only those that reduce.")] = Mode.HALT,
    json: Json = False,
) -> None:
    """Stop orders of an account; the account `firm` is all of them."""
    request = EngageSwitch(covered.account, covered.scope, mode, reason, transact_time=now())
    with opened() as daybook:
        done = requested(daybook, request, json=json)
    if json:
        write_json({"account_id": covered.account, "mode": mode, "is_changed": bool(done.records)})
    else:
        say(f"The kill switch of {covered.account} is engaged: {mode}.")


@kill_switch.command()
@spread
def release(reason: Reason, covered: Covered, json: Json = False) -> None:
    """Let orders through again; another actor does than who engaged it."""
    request = ReleaseSwitch(covered.account, covered.scope, reason, transact_time=now())
    with opened() as daybook:
        done = requested(daybook, request, json=json)
    if json:
        write_json({"account_id": covered.account, "mode": None, "is_changed": bool(done.records)})
    else:
        say(f"The kill switch of {covered.account} is released." if done.records else "It was not engaged.")


@kill_switch.command(name="list")
def list_(account: AccountId = risk.FIRM, json: Json = False) -> None:
    """List the kill switches that are engaged for an account, or for the firm."""
    with opened() as daybook:
        known = daybook.writer.state(risk.stream(account))
    rows = [
        asdict(each.scope) | {"mode": each.mode, "reason": each.reason, "engaged_by": each.actor}
        for each in (known.switches.values() if known else ())
    ]  # fmt: skip
    if json:
        write_json({"switches": rows})
        return
    columns = [
        Column("strategy_id", "Strategy"), Column("instrument_id", "Instrument"), Column("venue", "Venue", rank=1),
        Column("asset", "Asset", rank=1), Column("mode", "Mode"), Column("reason", "Reason"),
        Column("engaged_by", "By"),
    ]  # fmt: skip
    write_table(f"Kill switches of {account}", rows, columns, empty="No kill switch is engaged.")


@breaks.command()
def dismiss(
    break_id: Annotated[str, typer.Argument(parser=name_option, metavar="BREAK", help="Its id, as listed.")],
    reason: Reason,
    account: AccountId = "main",
    json: Json = False,
) -> None:
    """Dismiss a break of a reconciliation by hand. If the next statement still shows it, it opens again."""
    with opened() as daybook:
        requested(daybook, ResolveBreak(account, break_id, reason, now()), json=json)
    if json:
        write_json({"account_id": account, "break_id": break_id, "reason": reason})
    else:
        say(f"Break {break_id} of {account} is dismissed.")


@breaks.command()
def correct(
    break_id: Annotated[str, typer.Argument(parser=name_option, metavar="BREAK", help="Its id, as listed.")],
    account: AccountId = "main",
    json: Json = False,
) -> None:
    """Correct our records to what the venue states: record what resolves a break, and end the break with it."""
    from api.intake.venue_reports.reconciliation import correction

    with opened() as daybook:
        reports = correction(daybook, account, break_id)
        for answer in daybook.writer.report(list(reports), actor=actor()):
            if answer.error is not None:
                raise answer.error
    recorded = [type(report).__name__ for report in reports[:-1]]
    if json:
        write_json({"account_id": account, "break_id": break_id, "recorded": recorded})
    else:
        say(f"Break {break_id} of {account} is resolved by {', '.join(recorded)}.")

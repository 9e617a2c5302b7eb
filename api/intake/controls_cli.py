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
from domain.risk import EngageSwitch, Mode, ReleaseSwitch, Scope

kill_switch = typer.Typer(name="kill-switch", help="Kill switches: engage, release, list.", no_args_is_help=True)
BreakIdArgument = Annotated[str, typer.Argument(metavar="BREAK", help="Its id, as listed.")]
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
    break_id: BreakIdArgument,
    reason: Reason,
    account: AccountId = "main",
    json: Json = False,
) -> None:
    """Dismiss a break of any kind by hand. A difference that the next statement still shows opens again."""
    from api.intake.venue_reports.breaks import dismissal

    with opened() as daybook:
        requested(daybook, dismissal(daybook, account, break_id, reason), json=json)
    if json:
        write_json({"account_id": account, "break_id": break_id, "reason": reason})
    else:
        say(f"Break {break_id} of {account} is dismissed.")


@breaks.command()
def correct(
    break_id: BreakIdArgument,
    account: AccountId = "main",
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="What happened: venue reports, as `daybook venue-report` reads."),
    ] = None,
    json: Json = False,
) -> None:
    """Correct our records: record the reports that resolve a break, and end the break with them.

    Without --report, a difference from a venue statement is corrected to what the venue states.
    """
    from api.intake.venue_reports.breaks import corrected_by, corrections, read_from
    from api.intake.venue_reports.cli import reports_of
    from domain.access import label

    raws = reports_of(report) if report is not None else []
    with opened() as daybook:
        given = read_from(daybook, raws, label(actor()))
        reports = corrections(daybook, account, break_id, given)
        recorded = corrected_by(reports, daybook.writer.report(list(reports), actor=actor()))
    if json:
        write_json({"account_id": account, "break_id": break_id, "recorded": recorded})
    else:
        say(f"Break {break_id} of {account} is resolved by {', '.join(recorded)}.")

"""`daybook policy`: what acts by itself: list, set, pause, resume."""

from typing import Annotated, Any, NamedTuple

import typer

from api.intake.policies.service import (
    Hedge,
    is_acting,
    policy_records,
    reaction_record,
    record_of,
    setting_request,
)
from api.terminal.options import currency_option, instrument_option, name_option, number_option, opened, spread
from api.terminal.output import Column, Json, Kind, say, write_json, write_table
from api.terminal.requests import requested
from domain.policies import Policy, SetPolicy
from domain.risk import FIRM, Mode

policy = typer.Typer(
    name="policy", help="Policies, which act by themselves: list, set, pause, resume.", no_args_is_help=True
)

PolicyName = Annotated[
    Policy,
    typer.Argument(
        case_sensitive=False,
        metavar="POLICY",
        help="LOSS: a breached loss limit engages the kill switch. SWITCH: an engaged kill switch cancels orders."
        " EXPIRY: orders past their good-till date are canceled. HEDGE: a delta is kept in its band. MARKS: accounts"
        " with limits are monitored. BREAKS: open breaks are recorded as older.",
    ),
]
Account = Annotated[
    str | None,
    typer.Option(
        parser=name_option,
        metavar="ID",
        help="Of this account; firm: of all without their own setting. By default firm, of HEDGE main.",
    ),
]
Reason = Annotated[str, typer.Option(help="Why; kept on record.")]
Asset = Annotated[str | None, typer.Option(parser=currency_option, metavar="ASSET", help="HEDGE: the asset.")]


class Settings(NamedTuple):
    """The options that say how a policy acts."""

    is_on: Annotated[bool, typer.Option("--on/--off", help="Whether it acts.")] = True
    mode: Annotated[Mode | None, typer.Option(help="LOSS: what a breached loss limit engages.")] = None
    interval_seconds: Annotated[
        int | None, typer.Option(min=1, max=86400, help="MARKS: how often accounts with limits are monitored.")
    ] = None
    age_seconds: Annotated[
        list[int] | None,
        typer.Option(min=1, help="BREAKS: an age at which an open break is recorded as older; repeat it for more."),
    ] = None


class Band(NamedTuple):
    """The options of a hedge."""

    asset: Asset = None
    instrument: Annotated[
        str | None, typer.Option(parser=instrument_option, metavar="SYMBOL.VENUE", help="HEDGE: what is traded for it.")
    ] = None
    strategy: Annotated[
        str | None, typer.Option(parser=name_option, metavar="ID", help="HEDGE: whose orders; by default hedge.")
    ] = None
    band: Annotated[
        Any, typer.Option(parser=number_option, metavar="QTY", help="HEDGE: how far from the target, base units.")
    ] = None
    target: Annotated[
        Any, typer.Option(parser=number_option, metavar="QTY", help="HEDGE: the delta to bring it to; by default 0.")
    ] = None


@policy.command(name="list")
def list_(
    account: Annotated[
        str | None, typer.Option(parser=name_option, metavar="ID", help="As they count for this account.")
    ] = None,
    json: Json = False,
) -> None:
    """List the policies: which are on, how they act, how far each has read the log, and what it did last."""
    with opened() as daybook:
        records = policy_records(daybook.writer.state, account)
        reactions = [reaction_record(each) for each in daybook.reactions.status()]
    if json:
        write_json({"policies": records, "reactions": reactions})
        return
    _show(records)
    columns = [
        Column("reaction", "Policy"), Column("seq", "Seq", Kind.NUMBER), Column("lag", "Lag, events", Kind.NUMBER),
        Column("carried_out", "Carried out", Kind.NUMBER), Column("refused", "Refused", Kind.NUMBER),
        Column("last_at", "Last", Kind.TIME, rank=1), Column("last_cause", "Because of", rank=2),
        Column("last_refusal", "Last refusal", rank=3), Column("error", "Stopped by"),
    ]  # fmt: skip
    write_table("Reactions", reactions, columns, empty="None.")


def _show(records: list[dict[str, Any]]) -> None:
    columns = [
        Column("account_id", "Account"), Column("policy", "Policy"), Column("is_on", "On"), Column("mode", "Mode"),
        Column("interval_seconds", "Every, s", Kind.NUMBER), Column("asset", "Asset", rank=1),
        Column("instrument_id", "Instrument", rank=1), Column("strategy_id", "Strategy", rank=3),
        Column("band", "Band", Kind.NUMBER, rank=1), Column("target", "Target", Kind.NUMBER, rank=1),
        Column("set_for", "Set for", rank=2), Column("reason", "Reason", rank=2),
    ]  # fmt: skip
    write_table("Policies", records, columns, empty="None.")


@policy.command(name="set")
@spread
def set_(
    name: PolicyName,
    settings: Settings,
    hedge: Band,
    account: Account = None,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Switch a policy on or off, or change how it acts; what is not named stays as it is."""
    wanted = Hedge(hedge.asset, hedge.instrument, hedge.strategy, hedge.band, target=hedge.target)
    request = setting_request(
        _account(account, name), name, is_on=settings.is_on, reason=reason, mode=settings.mode,
        interval_seconds=settings.interval_seconds, ages_seconds=settings.age_seconds or None, hedge=wanted,
    )  # fmt: skip
    _set(request, json=json)


@policy.command()
def pause(
    name: PolicyName, account: Account = None, asset: Asset = None, reason: Reason = "", json: Json = False
) -> None:
    """Pause a policy: what happens meanwhile is not reacted to, also not later."""
    request = setting_request(_account(account, name), name, is_on=False, reason=reason, hedge=Hedge(asset=asset))
    _set(request, json=json)


@policy.command()
def resume(
    name: PolicyName, account: Account = None, asset: Asset = None, reason: Reason = "", json: Json = False
) -> None:
    """Resume a policy that was paused, and let one that stopped at an event read it again."""
    request = setting_request(_account(account, name), name, is_on=True, reason=reason, hedge=Hedge(asset=asset))
    _set(request, json=json, resumes=True)


def _account(given: str | None, name: Policy) -> str:
    return given or ("main" if name is Policy.HEDGE else FIRM)


def _set(request: SetPolicy, *, json: bool, resumes: bool = False) -> None:
    with opened() as daybook:
        state = daybook.writer.state
        if resumes:
            daybook.reactions.resume([request.policy.lower()])
        if not resumes or not is_acting(state, request.account_id, request.policy, request.asset):
            requested(daybook, request, json=json)
        record = record_of(state, request)
    if json:
        write_json(record)
        return
    of = f" in {record['asset']}" if record["asset"] else ""
    say(f"{request.policy}{of} of {request.account_id} is {'on' if record['is_on'] else 'off'}.")
    _show([record])

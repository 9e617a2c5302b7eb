"""`daybook what-if`: replay the log with other conventions, fees, marks or limits, and compare."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.parameters import Moment
from api.terminal.options import AsOf, Marks, by, opened
from api.terminal.output import Column, Json, Kind, note, progress_bar, say, write_json, write_table
from api.what_if.commands import changed_of, parsed_fee_rate, parsed_limit
from domain.account import CostBasis, FeePolicy
from domain.errors.sentences import sentence
from domain.risk import LimitStatus

if TYPE_CHECKING:
    from api.what_if.service import WhatIfResult

CHANGED_ORDERS = (
    Column("account_id", "Account", rank=3), Column("cl_ord_id", "Order"), Column("seq", "Seq", rank=4),
    Column("instrument_id", "Instrument", rank=2), Column("side", "Side"), Column("order_qty", "Quantity", Kind.NUMBER),
    Column("then", "Recorded"), Column("now", "Replayed"), Column("why", "Refused by"),
)  # fmt: skip
POSITIONS = (
    Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2),
    Column("instrument_id", "Instrument"), Column("quantity_then", "Quantity", Kind.NUMBER, 5),
    Column("quantity_now", "Replayed", Kind.NUMBER, 5), Column("realized_then", "Realized", Kind.PNL, 1),
    Column("realized_now", "Replayed", Kind.PNL, 1), Column("net_then", "Net", Kind.PNL),
    Column("net_now", "Replayed", Kind.PNL), Column("difference", "Difference", Kind.PNL), Column("settle", "Ccy"),
)  # fmt: skip


def what_if(
    method: Annotated[
        CostBasis | None, typer.Option("--method", help="Cost basis instead of the accounts' own."),
    ] = None,
    fee_policy: Annotated[
        FeePolicy | None, typer.Option("--fee-policy", help="Fee policy instead of the accounts' own."),
    ] = None,
    fee: Annotated[
        list[Any] | None,
        typer.Option(
            "--fee", parser=by(parsed_fee_rate), metavar="[WHERE=]MAKER:TAKER",
            help="Commissions as fractions of the value traded: of an instrument, a venue or all; may be repeated.",
        ),
    ] = None,
    limit: Annotated[
        list[Any] | None,
        typer.Option(
            "--limit", parser=by(parsed_limit), metavar="ACCOUNT,MEASURE=VALUE[,…]",
            help="A limit in force from the beginning, instead of recorded ones of the same scope: main,MAX_POSITION=2"
            " or main,MAX_ORDER_NOTIONAL=5000,currency=USDT,instrument=BTCUSDT.BINANCE; VALUE none lifts it.",
        ),
    ] = None,
    activate: Annotated[
        list[LimitStatus] | None,
        typer.Option(
            case_sensitive=False,
            help="DRAFT or SHADOW: its limits are active from the beginning, as they are set; may be repeated.",
        ),
    ] = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Lift every recorded limit.")] = False,
    mark: Marks = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Replay the log with changes, and compare: which orders would have had another outcome, and the effect on PnL.

    Every recorded request and venue report is decided again in memory, in order. Nothing is recorded.
    """
    from api.what_if import service

    changed = changed_of(
        method=method, fee_policy=fee_policy, fees=fee or (), limits=limit or (), is_without_limits=no_limits,
        marks=mark or (), activated=activate or (),
    )  # fmt: skip
    with opened() as daybook, progress_bar("replaying", is_quiet=json) as progress:
        result = service.what_if(daybook, changed, moment=as_of, on_progress=progress)
    if json:
        write_json({"report": "what-if", **result._asdict()})
    else:
        _show(result, as_of)


def _show(result: "WhatIfResult", as_of: Moment | None) -> None:
    upto = "" if as_of is None else f", up to seq {result.seq:,}"
    say(
        f"{result.orders:,} orders checked again{upto}:"
        f" {result.refused:,} newly refused, {result.accepted:,} newly accepted"
    )
    rows = [row | {"why": _why(row)} for row in result.verdicts]
    write_table("Orders with another outcome", rows, CHANGED_ORDERS, empty="Every order has the same outcome.")
    if result.lost_fills:
        lost = ", ".join(f"{quantity} of {name}" for name, quantity in result.lost_qty.items())
        say(f"{result.lost_fills:,} fills would not have happened: {lost}")
    changed = [_flat(row) for row in result.positions if row["is_changed"]]
    write_table("Positions that differ", changed, POSITIONS, empty="Every position is the same.")
    totals = [_flat(row) for row in result.totals]
    if totals:
        columns = [column for column in POSITIONS if column.name in totals[0]]
        write_table("Total", totals, columns, empty="")
    unknown = sorted({row["instrument_id"] for row in result.positions if row["difference"]["net"] is None})
    if unknown:
        note(
            f"No mark is on record for {', '.join(unknown)} (--mark values only the replay):"
            " see daybook import-marks --help"
        )
    for rule, number in result.untold.items():
        note(f"{number:,} could not be replayed: {rule}")


def _why(row: dict[str, Any]) -> str:
    return sentence(row["rule"], row["facts"]) if row["rule"] else ""


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    names = ("account_id", "strategy_id", "instrument_id", "position_side")
    flat = {name: row[name] for name in names if name in row}
    for name in ("quantity", "realized", "net"):
        for side in ("then", "now"):
            if name in row[side]:
                flat[f"{name}_{side}"] = row[side][name]
    return flat | {"difference": row["difference"]["net"], "settle": row["settle"]}

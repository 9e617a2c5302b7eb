"""`daybook what-if`: what would have come of the log under other conventions, fees, marks or limits."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.parameters import Moment
from api.terminal.options import AsOf, Marks, by, opened
from api.terminal.output import Column, Json, Kind, note, progress_bar, say, write_json, write_table
from api.what_if.commands import changed_of, parsed_fee_rate, parsed_limit
from domain.account import CostBasis, FeePolicy

if TYPE_CHECKING:
    from api.what_if.service import Told

VERDICTS = (
    Column("account_id", "Account", rank=3), Column("cl_ord_id", "Order"), Column("seq", "Seq", rank=4),
    Column("instrument_id", "Instrument", rank=2), Column("side", "Side"), Column("order_qty", "Quantity", Kind.NUMBER),
    Column("then", "Then"), Column("now", "Now"), Column("why", "Refused by"),
)  # fmt: skip
POSITIONS = (
    Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2),
    Column("instrument_id", "Instrument"), Column("quantity_then", "Quantity then", Kind.NUMBER, 5),
    Column("quantity_now", "now", Kind.NUMBER, 5), Column("realized_then", "Realized then", Kind.PNL, 1),
    Column("realized_now", "now", Kind.PNL, 1), Column("net_then", "Net then", Kind.PNL),
    Column("net_now", "now", Kind.PNL), Column("difference", "Difference", Kind.PNL), Column("settle", "In"),
)  # fmt: skip


def what_if(
    method: Annotated[CostBasis | None, typer.Option("--method", help="Instead of the accounts' own.")] = None,
    fee_policy: Annotated[FeePolicy | None, typer.Option("--fee-policy", help="Instead of the accounts' own.")] = None,
    fee: Annotated[
        list[Any] | None,
        typer.Option(
            "--fee", parser=by(parsed_fee_rate), metavar="[WHERE=]MAKER:TAKER",
            help="Commissions as fractions of the value traded, of an instrument, a venue, or all; may be repeated.",
        ),
    ] = None,
    limit: Annotated[
        list[Any] | None,
        typer.Option(
            "--limit", parser=by(parsed_limit), metavar="ACCOUNT,MEASURE=VALUE[,…]",
            help="A limit from the beginning on, instead of those of the same scope: main,MAX_POSITION=2 or"
            " main,MAX_ORDER_NOTIONAL=5000,currency=USDT,instrument=BTCUSDT.BINANCE; VALUE none lifts it.",
        ),
    ] = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Lift every limit on record.")] = False,
    mark: Marks = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:  # fmt: skip
    """What would have come of the log: which orders would have fared otherwise, and what that makes of PnL.

    Tells every request and report again, in order, to the same decisions in memory. Nothing is recorded.
    """
    from api.what_if import service

    changed = changed_of(
        method=method, fee_policy=fee_policy, fees=fee or (), limits=limit or (), is_without_limits=no_limits,
        marks=mark or (),
    )  # fmt: skip
    with opened() as book, progress_bar("telling history again", is_quiet=json) as progress:
        told = service.what_if(book, changed, moment=as_of, on_progress=progress)
    if json:
        write_json({"report": "what-if", **told._asdict()})
    else:
        _show(told, as_of)


def _show(told: "Told", as_of: Moment | None) -> None:
    upto = "" if as_of is None else f", up to seq {told.seq:,}"
    say(
        f"{told.orders:,} orders judged again{upto}: {told.refused:,} would have been refused,"
        f" {told.accepted:,} accepted that were not"
    )
    rows = [verdict | {"why": _why(verdict)} for verdict in told.verdicts]
    write_table("Orders that fare otherwise", rows, VERDICTS, empty="Every order fares as it did.")
    if told.lost_fills:
        lost = ", ".join(f"{quantity} of {name}" for name, quantity in told.lost_qty.items())
        say(f"{told.lost_fills:,} fills would not have been: {lost}")
    changed = [_flat(row) for row in told.positions if row["is_changed"]]
    write_table("Positions that differ", changed, POSITIONS, empty="Every position is as it is.")
    totals = [_flat(row) for row in told.totals]
    if totals:
        columns = [column for column in POSITIONS if column.name in totals[0]]
        write_table("In all", totals, columns, empty="")
    unknown = sorted({row["instrument_id"] for row in told.positions if row["difference"]["net"] is None})
    if unknown:
        note(f"No mark is on record for {', '.join(unknown)} (--mark is of now alone): see daybook import-marks --help")
    for rule, number in told.untold.items():
        note(f"{number:,} could not be told again: {rule}")


def _why(verdict: dict[str, Any]) -> str:
    facts = verdict["facts"]
    numbers = ", ".join(f"{name} {facts[name]}" for name in ("used", "asked", "limit") if name in facts)
    return f"{verdict['rule']} ({numbers})" if numbers else str(verdict["rule"])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    names = ("account_id", "strategy_id", "instrument_id")
    flat = {name: row[name] for name in names if name in row}
    for name in ("quantity", "realized", "net"):
        for side in ("then", "now"):
            if name in row[side]:
                flat[f"{name}_{side}"] = row[side][name]
    return flat | {"difference": row["difference"]["net"], "settle": row["settle"]}

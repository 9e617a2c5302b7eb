"""`daybook explain`: a figure of a read model, and its components."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from api.encoding import grouped
from api.parameters import Moment, Where
from api.terminal.options import (
    AnyAccount,
    AnyInstrument,
    AnyLeg,
    AnyStrategy,
    AsOf,
    Marks,
    currency_option,
    opened,
    read,
)
from api.terminal.output import NONE, Column, Json, Kind, note, say, write_json, write_table

if TYPE_CHECKING:
    from projections.storage.tables import Row


class Model(StrEnum):
    """The read models whose cells can be explained."""

    POSITIONS = "positions"
    PNL = "pnl"
    EXPOSURE = "exposure"
    BALANCES = "balances"


EVENTS = (
    Column("seq", "Seq"), Column("transact_time", "Occurred", Kind.TIME, 2), Column("topic", "Event"),
    Column("of", "Of"), Column("report", "Report", rank=3), Column("actor", "By", rank=5),
    Column("amount", "Amount", Kind.PNL),
)  # fmt: skip
LOTS = (
    Column("lot_id", "Lot"), Column("opened_at", "Opened", Kind.TIME, 1), Column("quantity", "Quantity", Kind.NUMBER),
    Column("cost", "Cost", Kind.NUMBER), Column("value", "Value", Kind.PNL),
)  # fmt: skip
TERMS = (Column("sign", ""), Column("cell", "Cell"), Column("value", "Value", Kind.PNL))
BALANCES = (
    Column("account_id", "Account"), Column("venue", "Venue"), Column("asset", "Asset"),
    Column("value", "Value", Kind.PNL),
)  # fmt: skip
POSITIONS = (
    Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2),
    Column("instrument_id", "Instrument"), Column("position_side", "Leg", rank=4), Column("value", "Value", Kind.PNL),
    Column("unit", "In"),
)  # fmt: skip


def explain(
    model: Annotated[Model, typer.Argument(help="The read model the figure is in.")],
    cell: Annotated[str, typer.Argument(help="The figure: realized, quantity, fees, net, unrealized, notional …")],
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    position_side: AnyLeg = None,
    currency: Annotated[
        str | None, typer.Option(parser=currency_option, metavar="CODE", help="Of fees: those in this currency.")
    ] = None,
    asset: Annotated[
        str | None, typer.Option(parser=currency_option, metavar="CODE", help="Of balances: of this asset.")
    ] = None,
    mark: Marks = None,
    as_of: AsOf = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many events, the newest.")] = 20,
    json: Json = False,
) -> None:
    """Show the components of a figure: the events, lots, marks and rounding that add up to it, exactly."""
    if model is Model.BALANCES:
        _explain_balance(cell, account, asset, as_of, limit=limit, json=json)
        return
    from api.explain.positions import READ, Cell, Page, explained

    given = {each.instrument_id: each for each in mark or []}
    with opened() as daybook, read(daybook, *READ, moment=as_of) as at:
        where = Where(account, strategy, instrument, position_side)
        found = explained(daybook, at, where, Cell(model.value, cell, currency), marks=given, page=Page(limit))
        seq = at.seq
    if json:
        write_json({"seq": seq, **found})
        return
    whose = (
        " ".join(filter(None, (found["account_id"], found["strategy_id"], found["instrument_id"]))) or "all positions"
    )
    say(f"{cell} of {whose} at seq {seq:,}: {_number(found)}")
    _write(found)


def _explain_balance(
    cell: str, account: str | None, asset: str | None, as_of: Moment | None, limit: int, *, json: bool
) -> None:
    from api.explain.balances import EntryPage, Of, explained

    with opened() as daybook, read(daybook, "balances", "journal", moment=as_of) as at:
        found = explained(daybook, at, Of(account, asset, None), cell, page=EntryPage(limit))
        seq = at.seq
    if json:
        write_json({"seq": seq, **found})
        return
    whose = " ".join(filter(None, (found["account_id"], found["venue"], found["asset"]))) or "all accounts"
    say(f"{cell} of {whose} at seq {seq:,}: {_number(found)}")
    if found["balances"]:
        write_table("The same of each balance", found["balances"], BALANCES, empty="")
    _write(found | {"positions": [], "valuation": None})


def _number(found: "Row") -> str:
    if found["value"] is None:
        return "not one figure: a mark is missing, or there are several units"
    return f"{grouped(found['value'])} {found['unit'] or ''}".rstrip()


def _write(found: "Row") -> None:
    if found["positions"]:
        write_table("The same of each position", found["positions"], POSITIONS, empty="")
    if found["terms"]:
        terms = [term | {"sign": "+" if term["sign"] > 0 else "-"} for term in found["terms"]]
        write_table("The sum of", terms, TERMS, empty="")
    if found["events"] and not found["opening"]:
        write_table("Held by", [_event(event) for event in found["events"]], EVENTS, empty="")
    if found["opening"]:
        write_table(
            "Events, the newest first",
            [_event(event) for event in found["events"]],
            EVENTS,
            empty="No event adds to it.",
        )
        say(f"and {grouped(found['opening']['value'])} as of seq {found['opening']['seq']:,}, before them")
        if found["next"]:
            note("older events: --limit N, or the API's cursor")
    if found["valuation"]:
        _write_valuation(found["valuation"])


def _event(event: "Row") -> "Row":
    facts = event["facts"]
    known = ("exec_id", "transfer_id", "funding_id", "late_exec_ids", "reference")
    names = tuple(facts.get(name) for name in known)
    trade = f" {facts['side'].value} {facts['last_qty']} at {facts['last_px']}" if "last_px" in facts else ""
    trade = f" {facts['narrative']}" if facts.get("narrative") else trade
    report = f"seq {event['report']['seq']}" if event["report"] else None
    of = next(("late " + ", ".join(name) if isinstance(name, tuple) else name for name in names if name), NONE)
    return event | {"of": f"{of}{trade}", "report": report}


def _write_valuation(valuation: "Row") -> None:
    if valuation["mark"] is None:
        note("No mark is known for it: give one with --mark INSTRUMENT=PRICE")
        return
    since = f" of {valuation['mark_at']}" if valuation["mark_at"] else ""
    say(
        f"{grouped(valuation['quantity'])} x {grouped(valuation['contract_size'])} at {grouped(valuation['mark'])}"
        f" ({valuation['mark_source']}{since})"
    )
    pooled = [valuation["pooled"] | {"lot_id": "held in no lot", "opened_at": None}] if valuation["pooled"] else []
    if valuation["lots"] or pooled:
        write_table("Open lots at the mark", [*valuation["lots"], *pooled], LOTS, empty="")
    if valuation["rounding"]:
        say(f"and {grouped(valuation['rounding'])} because the whole is rounded once")

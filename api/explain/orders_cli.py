"""`daybook why`: why an order was accepted or refused, by which limits, usage and marks."""

from typing import Annotated, Any

import typer

from api.encoding import time_text
from api.terminal.options import AccountId, opened
from api.terminal.output import Column, Json, Kind, note, say, write_json, write_table

CHECKS = (
    Column("account_id", "Whose", rank=4), Column("measure", "Limit of"), Column("on", "On", rank=3),
    Column("version", "Version", Kind.NUMBER, 2), Column("set_seq", "Set at", Kind.NUMBER, 5),
    Column("limit", "Limit", Kind.NUMBER), Column("used", "Used", Kind.NUMBER, 1),
    Column("with_order", "With order", Kind.NUMBER), Column("headroom", "Headroom", Kind.PNL),
    Column("currency", "In", rank=2), Column("outcome", "Outcome"),
)  # fmt: skip
MARKS = (
    Column("instrument_id", "Instrument"), Column("price", "Mark", Kind.NUMBER), Column("source", "Source"),
    Column("mark_at", "Seen", Kind.TIME), Column("age_ms", "Age ms", Kind.NUMBER),
)  # fmt: skip
SCOPE = ("strategy_id", "instrument_id", "venue", "asset")


def why(
    cl_ord_id: Annotated[str, typer.Argument(metavar="CL_ORD_ID")], account: AccountId = "main", json: Json = False
) -> None:
    """Show why an order was accepted or refused: limits, usage, headroom and marks, as recorded when it was decided."""
    from api.explain.orders import why as explained

    with opened() as daybook:
        found = explained(daybook, account, cl_ord_id)
    if json:
        write_json(found)
        return
    for decision in found["decisions"]:
        _write(decision)


def _write(decision: dict[str, Any]) -> None:
    say(_headline(decision))
    say(f"  {decision['code'] + ': ' if decision['code'] else ''}{decision['detail']}")
    for name, value in decision["facts"].items():
        say(f"  {name}: {value}")
    if decision["checks"]:
        write_table("Limits", [row | {"on": _on(row)} for row in decision["checks"]], CHECKS, empty="")
        for row in decision["checks"]:
            if row["outcome"] != "PASSED":
                say(f"  {row['measure']}: {row['reason']}")
    if decision["marks"]:
        write_table("Marks used", decision["marks"], MARKS, empty="")
    for row in decision["without_numbers"]:
        note(f"{row['measure']}{_on(row)} (version {row['version']}, set at {row['set_seq']}): {row['reason']}")


def _headline(decision: dict[str, Any]) -> str:
    quantity = "" if decision["quantity"] is None else f", {decision['side']} {decision['quantity']:f}"
    was = "" if decision["was"] is None else f" instead of {decision['was']:f}"
    return (
        f"{decision['about']} {decision['outcome']} at seq {decision['seq']:,}, {time_text(decision['recorded_at'])}, "
        f"by {decision['actor']}{quantity}{was}"
    )


def _on(row: dict[str, Any]) -> str:
    return " ".join(row[name] for name in SCOPE if row[name])

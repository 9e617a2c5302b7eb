"""`daybook limit list` and `daybook limit would-refuse`: limits by status, and what those in shadow would refuse."""

from typing import Annotated

import typer

from api.terminal.options import AccountId, name_option, opened, read
from api.terminal.output import Column, Json, Kind, note, write_json, write_table
from domain.risk import LimitStatus

PAGE_ROWS_MAX = 1000
ROWS_SHOWN = 20

Whose = Annotated[
    str | None,
    typer.Option("--account", parser=name_option, metavar="ID", help="Only its limits; `firm`: those over all."),
]


def list_limits(
    account: Whose = None,
    status: Annotated[
        list[LimitStatus] | None, typer.Option(case_sensitive=False, help="Only these; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """List limits with their status and usage: those that are active, in shadow, and drafts."""
    from api.terminal.columns import LIMITS
    from projections.controls import shadow_limits

    with opened() as daybook, read(daybook, *shadow_limits.BOTH) as at:
        rows = shadow_limits.every_limit(at.source, account)
    shown = [row for row in rows if not status or row["status"] in status]
    if json:
        write_json({"items": shown})
        return
    write_table("Limits", shown, LIMITS, empty="No limit is set. Set one: daybook limit set --help")


def would_refuse(
    account: Whose = None,
    rows: Annotated[
        int, typer.Option("--limit", min=1, max=PAGE_ROWS_MAX, help="How many orders, the newest first.")
    ] = ROWS_SHOWN,
    json: Json = False,
) -> None:
    """Show the orders that passed and that shadow limits would have refused, and how many of each limit."""
    from projections.controls import shadow_limits

    with opened() as daybook, read(daybook, shadow_limits.NAME) as at:
        found = shadow_limits.would_refuse(at.source, account, limit=rows + 1)
        counts = shadow_limits.would_refuse_counts(at.source, account)
    shown = found[:rows]
    if json:
        write_json({"items": shown, "totals": counts})
        return
    of_limit = (
        Column("account_id", "Account", rank=2), Column("strategy_id", "Strategy", rank=4),
        Column("instrument_id", "Instrument", rank=3), Column("measure", "Measure"),
        Column("version", "Version", Kind.NUMBER, 5), Column("limit", "Limit", Kind.NUMBER),
    )  # fmt: skip
    write_table(
        "Shadow limits", counts,
        (
            *of_limit, Column("orders", "Would refuse", Kind.NUMBER), Column("with_order_max", "Most", Kind.NUMBER, 1),
            Column("currency", "Ccy", rank=3), Column("first_at", "First", Kind.TIME, 6),
            Column("last_at", "Last", Kind.TIME, 5),
        ),
        empty="No shadow limit would have refused an order.",
    )  # fmt: skip
    write_table(
        "Orders", shown,
        (
            Column("order_account_id", "Account", rank=4), Column("cl_ord_id", "Order"),
            Column("order_instrument_id", "Instrument", rank=2), Column("side", "Side"),
            Column("order_qty", "Quantity", Kind.NUMBER), Column("measure", "Measure"),
            Column("limit", "Limit", Kind.NUMBER), Column("used", "Used", Kind.NUMBER, 1),
            Column("with_order", "Requested", Kind.NUMBER), Column("currency", "Ccy", rank=3),
            Column("transact_time", "When", Kind.TIME, 5),
        ),
        empty="",
    )  # fmt: skip
    if len(found) > rows:
        note(f"The newest {rows} are shown; --limit shows more.")


def show_buying_power(account: AccountId = "main", json: Json = False) -> None:
    """Show the cash, coins and margin of an account: the balance, what is committed, what is available."""
    from api.analytics.buying_power import buying_power

    with opened() as daybook:
        found = buying_power(daybook, account)
    if json:
        write_json(found)
        return
    columns = (
        Column("currency", "Currency"), Column("balance", "Balance", Kind.NUMBER),
        Column("committed", "Committed", Kind.NUMBER), Column("available", "Available", Kind.NUMBER),
    )  # fmt: skip
    write_table(f"Buying power of {account}", found["items"], columns, empty=f"{account} has no balance.")
    if not found["is_limited"]:
        note("No order is refused for it: daybook limit set --measure BUYING_POWER --limit 1")

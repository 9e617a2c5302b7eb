"""`daybook limit list`, `limit would-refuse` and `capital`: limits with their usage, and what they are measured by."""

from decimal import Decimal
from typing import Annotated

import typer
from msgspec.structs import asdict

from api.clock import now
from api.encoding import grouped
from api.terminal.columns import LIMITS
from api.terminal.options import AccountId, currency_option, name_option, number_option, opened, read
from api.terminal.output import Column, Json, Kind, note, say, write_json, write_table
from api.terminal.requests import requested
from domain.risk import CapitalBasis, LimitStatus, StateCapital
from domain.values import Money

capital = typer.Typer(name="capital", help="Capital: state, withdraw, show.", no_args_is_help=True)

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
    """List limits with their status: used, headroom and breach, at the newest marks."""
    from api.read_models.limit_usage import MODELS, usage

    with opened() as daybook, read(daybook, *MODELS) as at:
        rows = [row for row in usage(daybook, at, account) if not status or row["status"] in status]
    if json:
        write_json({"seq": at.seq, "items": rows, "limits": rows})
        return
    write_table("Limits", rows, LIMITS, empty="No limits. Set one: daybook limit set --help")


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


@capital.command()
def state(
    amount: Annotated[
        Decimal, typer.Argument(parser=number_option, metavar="AMOUNT", help="Paid in less withdrawals, without gains.")
    ],
    currency: Annotated[str, typer.Argument(parser=currency_option, metavar="CURRENCY")],
    account: AccountId = "main",
    json: Json = False,
) -> None:
    """State the capital of an account; the account `firm` is all of them. It replaces what is on record."""
    _state(account, Money(amount, currency), json=json)


@capital.command()
def withdraw(account: AccountId = "main", json: Json = False) -> None:
    """Withdraw a statement of capital: limits are measured by the capital on record again."""
    _state(account, None, json=json)


def _state(account: str, stated: Money | None, *, json: bool) -> None:
    with opened() as daybook:
        done = requested(daybook, StateCapital(account, stated, now()), json=json)
    if json:
        record = {"amount": None, "currency": None} if stated is None else asdict(stated)
        write_json({"account_id": account, **record, "is_changed": bool(done.records)})
    elif stated is None:
        say(f"The capital of {account} is that on record again." if done.records else "No capital was stated.")
    else:
        say(f"The capital of {account} is stated: {grouped(stated.amount)} {stated.currency}.")


@capital.command()
def show(account: AccountId = "main", json: Json = False) -> None:
    """Show the capital that limits of an account are measured by, stated or on record, and its equity."""
    from api.read_models.limit_usage import capital_of

    with opened() as daybook, read(daybook, "limits") as at:
        found = capital_of(daybook, at, account)
    if json:
        write_json(found)
        return
    if found["basis"] == CapitalBasis.STATED:
        say(f"Stated at {found['stated_at']:%Y-%m-%d %H:%M} UTC: {_text(found['capital'])} {found['currency']}")
    elif found["paid_in"]:
        amounts = ", ".join(f"{_text(each['amount'])} {each['currency']}" for each in found["paid_in"])
        say(f"Paid in, on record: {amounts}")
    else:
        say("No capital is on record, and none is stated. State one: daybook capital state --help")
        return
    if found["unassessed"] is None:
        say(f"Equity: {_text(found['equity'])} {found['currency']}, of which gains: {_text(found['gain'])}")
    else:
        say(f"Equity is not known: {found['unassessed']}")


def _text(amount: Decimal | None) -> str:
    return "unknown" if amount is None else grouped(amount)

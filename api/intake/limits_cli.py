"""`daybook limit list` and `daybook capital`: limits with their usage, and the capital they are measured by."""

from decimal import Decimal
from typing import Annotated

import typer
from msgspec.structs import asdict

from api.clock import now
from api.encoding import grouped
from api.terminal.columns import LIMITS
from api.terminal.options import AccountId, currency_option, number_option, opened, read
from api.terminal.output import Json, say, write_json, write_table
from api.terminal.requests import requested
from domain.risk import CapitalBasis, StateCapital
from domain.values import Money

capital = typer.Typer(name="capital", help="Capital: state, withdraw, show.", no_args_is_help=True)

Reading = Annotated[str, typer.Option("--account", metavar="ID", help="Only this one; `firm`: the firm's own.")]


def list_limits(account: Reading = "", json: Json = False) -> None:
    """List the limits of every account and of the firm: used, headroom and breach, at the newest marks."""
    from api.read_models.limit_usage import usage

    with opened() as daybook, read(daybook, "limits") as at:
        rows = usage(daybook, at, account or None)
    if json:
        write_json({"seq": at.seq, "limits": rows})
        return
    write_table("Limits", rows, LIMITS, empty="No limits. Set one: daybook limit set --help")


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

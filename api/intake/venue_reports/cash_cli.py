"""`daybook cash`: money and coins that moved other than by trades, one at a time."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import typer

from api.clock import now
from api.intake.venue_reports.cli import record_one
from api.terminal.options import (
    AccountId,
    Strategy,
    currency_option,
    instrument_option,
    name_option,
    number_option,
    positive_option,
    spread,
    time_option,
)
from api.terminal.output import Json
from domain.account import EntryKind

cash = typer.Typer(
    name="cash",
    help="Cash: deposits, withdrawals, interest, loans, fees, rewards, conversions. Each has an id of your own: "
    "recorded again under it, it adds nothing.",
    no_args_is_help=True,
)

NEGATIVE = {"ignore_unknown_options": True}  # an amount below zero is no option
AmountAbove = Annotated[Decimal, typer.Argument(parser=positive_option, metavar="AMOUNT")]
Signed = Annotated[
    Decimal,
    typer.Argument(parser=number_option, metavar="AMOUNT", help="Above zero received, below zero paid."),
]
Currency = Annotated[str, typer.Argument(parser=currency_option, metavar="CURRENCY")]


class About(NamedTuple):
    """The options that every movement has."""

    id_: Annotated[str, typer.Option("--id", parser=name_option, metavar="ID", help="Its id, your own or the venue's.")]
    account: AccountId = "main"
    at: Annotated[
        datetime | None, typer.Option(parser=time_option, metavar="TIME", help="When it happened, UTC; by default now.")
    ] = None
    reason: Annotated[str, typer.Option(help="Why; kept on record.")] = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the report."""
        return {"account_id": self.account, "transact_time": self.at or now(), "reason": self.reason}


class InKind(NamedTuple):
    """The options of coins in kind."""

    instrument: Annotated[
        str | None,
        typer.Option(
            parser=instrument_option, metavar="SYMBOL.VENUE", help="Coins in kind: the spot position they belong to."
        ),
    ] = None
    strategy: Strategy = "main"
    cost: Annotated[
        Decimal | None, typer.Option(parser=positive_option, metavar="COST", help="What coins in kind are worth.")
    ] = None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the report."""
        if self.instrument is None and self.cost is None:
            return {}
        return {"instrument_id": self.instrument, "strategy_id": self.strategy, "cost": self.cost}


class Sides(NamedTuple):
    """The options of a transfer."""

    fee: Annotated[
        Decimal | None, typer.Option(parser=positive_option, metavar="FEE", help="Charged beside the amount.")
    ] = None
    fee_currency: Annotated[
        str | None, typer.Option(parser=currency_option, metavar="CURRENCY", help="By default the amount's.")
    ] = None
    counterparty: Annotated[str | None, typer.Option(help="Who is on the other side, such as an address.")] = None
    counter_account: Annotated[
        str | None, typer.Option(parser=name_option, metavar="ID", help="The other account, where it is one of ours.")
    ] = None

    def fields(self, currency: str) -> dict[str, Any]:
        """The fields of the report."""
        fee = None if self.fee is None else {"amount": self.fee, "currency": self.fee_currency or currency}
        return {"fee": fee, "counterparty": self.counterparty, "counter_account_id": self.counter_account}


def _money(amount: Decimal, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


def _direction(text: str) -> str:
    if text not in ("deposit", "withdrawal"):
        raise typer.BadParameter(f"{text!r} is not deposit or withdrawal")
    return text


@cash.command()
@spread
def deposit(
    amount: AmountAbove, currency: Currency, about: About, sides: Sides, in_kind: InKind, json: Json = False
) -> None:
    """Record money or coins that came in: a flow of capital, and no gain."""
    _transfer("deposit", _money(amount, currency), about, sides.fields(currency) | in_kind.fields, json=json)


@cash.command()
@spread
def withdraw(
    amount: AmountAbove, currency: Currency, about: About, sides: Sides, in_kind: InKind, json: Json = False
) -> None:
    """Record money or coins that went out: a flow of capital, and no loss."""
    _transfer("withdrawal", _money(amount, currency), about, sides.fields(currency) | in_kind.fields, json=json)


@cash.command(name="return")
@spread
def return_(
    direction: Annotated[str, typer.Argument(metavar="deposit|withdrawal", parser=_direction)],
    amount: AmountAbove, currency: Currency, about: About, json: Json = False,
) -> None:  # fmt: skip
    """Record that a deposit or withdrawal, named by --id, came back: what it booked is reversed."""
    _transfer(f"{direction}_returned", _money(amount, currency), about, {}, json=json)


def _transfer(
    type_: str, amount: dict[str, Any], about: About, more: dict[str, Any], *, json: bool
) -> None:  # fmt: skip
    record_one({"type": type_, "transfer_id": about.id_, "amount": amount} | about.fields | more, json=json)


def _entry(type_: str, about: About, fields: dict[str, Any], *, json: bool) -> None:
    record_one({"type": type_, "entry_id": about.id_} | about.fields | fields, json=json)


@cash.command(context_settings=NEGATIVE)
@spread
def interest(amount: Signed, currency: Currency, about: About, in_kind: InKind, json: Json = False) -> None:
    """Record interest: above zero received, below zero paid. Income."""
    _entry("interest", about, {"amount": _money(amount, currency)} | in_kind.fields, json=json)


@cash.command(context_settings=NEGATIVE)
@spread
def rebate(amount: Signed, currency: Currency, about: About, in_kind: InKind, json: Json = False) -> None:
    """Record a rebate, referral bonus or cashback. Income."""
    _entry("rebate", about, {"amount": _money(amount, currency)} | in_kind.fields, json=json)


@cash.command(context_settings=NEGATIVE)
@spread
def reward(amount: Signed, currency: Currency, about: About, in_kind: InKind, json: Json = False) -> None:
    """Record a reward of staking. Income of its worth."""
    _entry("staking_reward", about, {"amount": _money(amount, currency)} | in_kind.fields, json=json)


@cash.command(context_settings=NEGATIVE)
@spread
def airdrop(amount: Signed, currency: Currency, about: About, in_kind: InKind, json: Json = False) -> None:
    """Record coins that were given away. Income of their worth."""
    _entry("airdrop", about, {"amount": _money(amount, currency)} | in_kind.fields, json=json)


@cash.command(context_settings=NEGATIVE)
@spread
def income(amount: Signed, currency: Currency, about: About, json: Json = False) -> None:
    """Record income of no other kind: above zero received, below zero paid."""
    _entry("income", about, {"amount": _money(amount, currency)}, json=json)


@cash.command()
@spread
def fee(amount: AmountAbove, currency: Currency, about: About, json: Json = False) -> None:
    """Record a fee that belongs to no trade and no transfer."""
    record_one(
        {"type": "fee", "fee_id": about.id_, "amount": _money(amount, currency)} | about.fields, json=json
    )  # fmt: skip


@cash.command()
@spread
def borrow(amount: AmountAbove, currency: Currency, about: About, json: Json = False) -> None:
    """Record what was borrowed: more balance, and as much owed. No gain and no capital."""
    _entry("borrowed", about, {"amount": _money(amount, currency)}, json=json)


@cash.command()
@spread
def repay(amount: AmountAbove, currency: Currency, about: About, json: Json = False) -> None:
    """Record what was given back of what was borrowed."""
    _entry("repaid", about, {"amount": _money(amount, currency)}, json=json)


@cash.command()
@spread
def stake(amount: AmountAbove, currency: Currency, about: About, json: Json = False) -> None:
    """Record coins that were locked up: the balance stays, less of it is available."""
    _entry("staked", about, {"amount": _money(amount, currency)}, json=json)


@cash.command()
@spread
def unstake(amount: AmountAbove, currency: Currency, about: About, json: Json = False) -> None:
    """Record staked coins that are available again."""
    _entry("unstaked", about, {"amount": _money(amount, currency)}, json=json)


@cash.command()
@spread
def convert(
    sold: AmountAbove, sold_currency: Currency,
    bought: Annotated[Decimal, typer.Argument(parser=positive_option, metavar="AMOUNT")],
    bought_currency: Annotated[str, typer.Argument(parser=currency_option, metavar="CURRENCY")],
    about: About, sides: Sides, json: Json = False,
) -> None:  # fmt: skip
    """Record one currency exchanged for another other than by a trade, such as dust: what went, and what came."""
    fee_paid = sides.fields(bought_currency)["fee"]
    moneys = {"sold": _money(sold, sold_currency), "bought": _money(bought, bought_currency), "fee": fee_paid}
    _entry("converted", about, moneys, json=json)


@cash.command(context_settings=NEGATIVE)
@spread
def entry(
    kind: Annotated[EntryKind, typer.Argument()], amount: Signed, currency: Currency, about: About, json: Json = False
) -> None:
    """Record any other entry by its kind, such as OPENING or ADJUSTMENT."""
    _entry("entry", about, {"kind": kind, "amount": _money(amount, currency)}, json=json)

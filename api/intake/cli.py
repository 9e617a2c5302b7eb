"""Commands that write to the log, and the one that shows an order."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec.structs import asdict

from api.clock import now
from api.encoding import grouped
from api.intake.requests import Listing, opening
from api.read_models.records import account_record, instrument_record, owner_record
from api.terminal.options import (
    AccountId,
    actor,
    currency_option,
    instrument_option,
    name_option,
    number_option,
    opened,
    positive_option,
    time_option,
)
from api.terminal.output import (
    Column,
    Json,
    Kind,
    say,
    write_json,
    write_table,
)
from api.terminal.requests import requested
from domain import account as accounts
from domain import instrument as instruments
from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import ExerciseStyle, PutOrCall
from domain.instrument import Kind as ContractKind
from domain.risk import LimitStatus, Measure, Scope, SetLimit
from domain.values import ONE

if TYPE_CHECKING:
    from api.daybook import Daybook

account = typer.Typer(name="account", help="Accounts: open, close, list.", no_args_is_help=True)
instrument = typer.Typer(name="instrument", help="Instruments: add, amend, delist, list.", no_args_is_help=True)
limit = typer.Typer(name="limit", help="Limits: set, list, what shadow limits would refuse.", no_args_is_help=True)


@account.command(name="open")
def open_account(
    account_id: Annotated[str, typer.Argument(parser=name_option, metavar="ID")],
    base_currency: Annotated[str, typer.Option("--base", parser=currency_option, metavar="CURRENCY")] = "USDT",
    method: Annotated[CostBasis, typer.Option(help="Which acquisitions a disposal consumes.")] = CostBasis.AVERAGE,
    fee_policy: Annotated[FeePolicy, typer.Option(help="How commissions are booked.")] = FeePolicy.EXPENSED,
    money_places: Annotated[int, typer.Option(min=0, max=18, help="Places at which realized PnL is booked.")] = 8,
    venue: Annotated[
        str | None, typer.Option(parser=currency_option, metavar="VENUE", help="Where it is kept; absent: anywhere.")
    ] = None,
    is_margin: Annotated[bool, typer.Option("--margin", help="It may owe cash; without, it is not overdrawn.")] = False,
    owner: Annotated[
        str | None,
        typer.Option(parser=name_option, metavar="SUBJECT", help="The owner: an id that reveals no person."),
    ] = None,
    owner_name: Annotated[str, typer.Option(help="The owner's name, stored sealed; prompted for if absent.")] = "",
    json: Json = False,
) -> None:
    """Open an account. Its conventions are set once."""
    if owner is None and owner_name:
        raise typer.BadParameter("--owner-name needs --owner, the id under which it can be forgotten")
    if owner is not None and not owner_name:
        owner_name = typer.prompt("Owner's name", err=True)
    with opened() as daybook:
        costing = Costing(method, fee_policy, money_places)
        request = opening(
            daybook, account_id, base_currency, costing, venue=venue or "", is_margin=is_margin,
            owner=(owner, owner_name) if owner else None,
        )  # fmt: skip
        answer = daybook.writer.request(request, actor=actor())
        record = account_record(daybook.writer.state(accounts.stream(account_id)))
    if json:
        write_json(record)
    else:
        say(f"Account {account_id} is open." if answer.records else f"Account {account_id} was open already.")


@account.command(name="list")
def list_accounts(json: Json = False) -> None:
    """List accounts and their conventions."""
    from adapters.log.queries import streams

    with opened() as daybook:
        rows = [_with_owner(daybook, daybook.writer.state(stream)) for stream in streams(daybook.url, "account:")]
    if json:
        write_json({"accounts": rows})
        return
    columns = [
        Column("account_id", "Account"),
        Column("base_currency", "Base"),
        Column("cost_basis", "Cost basis"),
        Column("fee_policy", "Fees"),
        Column("money_places", "Places", Kind.NUMBER, rank=1),
        Column("shown", "Owner", rank=9),
    ]
    for row in rows:
        row["shown"] = row["owner"] and _owner_shown(row["owner"])
    write_table("Accounts", rows, columns, empty="No accounts. Open one: daybook account open main")


def _with_owner(daybook: "Daybook", known: accounts.Account) -> dict[str, Any]:
    """Return an account with its owner, as the operator of its database may see it."""
    record = account_record(known)
    if known.owner is not None:
        record["owner"] = owner_record(daybook.subjects.open(known.owner, accounts.owner_place(known.account_id)))
    return record


def _owner_shown(owner: dict[str, Any]) -> str:
    if owner["is_forgotten"]:
        return f"{owner['subject_id']} (forgotten)"
    return owner["name"] or f"{owner['subject_id']} (no key here)"


@instrument.command(name="add")
def add_instrument(
    instrument_id: Annotated[str, typer.Argument(parser=instrument_option, metavar="SYMBOL.VENUE")],
    base: Annotated[str, typer.Option(parser=currency_option, metavar="CURRENCY")],
    quote: Annotated[str, typer.Option(parser=currency_option, metavar="CURRENCY")],
    tick_size: Annotated[Decimal, typer.Option(parser=positive_option, metavar="PRICE")],
    lot_size: Annotated[Decimal, typer.Option(parser=positive_option, metavar="QTY")],
    kind: Annotated[ContractKind, typer.Option(help="How a quantity becomes money.")] = ContractKind.SPOT,
    settle: Annotated[
        str | None,
        typer.Option(
            parser=currency_option,
            metavar="CURRENCY",
            help="What PnL is in. Absent: base of an inverse contract, else quote.",
        ),
    ] = None,
    contract_size: Annotated[Decimal, typer.Option(parser=positive_option, metavar="SIZE")] = ONE,
    expiry: Annotated[
        datetime | None, typer.Option(parser=time_option, metavar="TIME", help="Of a dated future or an option.")
    ] = None,
    strike: Annotated[
        Decimal | None, typer.Option(parser=positive_option, metavar="PRICE", help="Of an option.")
    ] = None,
    put_or_call: Annotated[PutOrCall | None, typer.Option(help="Of an option.")] = None,
    exercise_style: Annotated[ExerciseStyle | None, typer.Option(help="Of an option; EUROPEAN if absent.")] = None,
    json: Json = False,
) -> None:
    """List an instrument.

    Example: daybook instrument add BTCUSDT.BINANCE --base BTC --quote USDT --tick-size 0.01 --lot-size 0.00001
    """
    request = Listing(
        instrument_id, kind, base, quote, tick_size=tick_size, lot_size=lot_size, settle=settle,
        contract_size=contract_size, expiry=expiry, strike=strike, put_or_call=put_or_call,
        exercise_style=exercise_style,
    ).request()  # fmt: skip
    with opened() as daybook:
        answer = daybook.writer.request(request, actor=actor())
        record = instrument_record(daybook.writer.state(instruments.stream(instrument_id)))
    if json:
        write_json(record)
    else:
        say(f"{instrument_id} is listed." if answer.records else f"{instrument_id} was listed already.")


@instrument.command(name="list")
def list_instruments(json: Json = False) -> None:
    """List instruments and their facts."""
    from adapters.log.queries import streams

    with opened() as daybook:
        rows = [instrument_record(daybook.writer.state(stream)) for stream in streams(daybook.url, "instrument:")]
    if json:
        write_json({"instruments": rows})
        return
    columns = [
        Column("instrument_id", "Instrument"),
        Column("kind", "Kind"),
        Column("base", "Base", rank=2),
        Column("quote", "Quote", rank=2),
        Column("settle", "Settles in"),
        Column("contract_size", "Size", Kind.NUMBER, rank=1),
        Column("tick_size", "Tick", Kind.NUMBER),
        Column("lot_size", "Lot", Kind.NUMBER),
    ]
    write_table("Instruments", rows, columns, empty="No instruments. Add one: daybook instrument add --help")


@limit.command(name="set")
def set_limit(
    measure: Annotated[Measure, typer.Option(help="What is measured.")],
    account: AccountId = "main",
    value: Annotated[
        Decimal | None, typer.Option("--limit", parser=number_option, metavar="NUMBER", help="Absent: lift the limit.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(parser=currency_option, metavar="CURRENCY", help="Of a notional limit.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(parser=name_option, metavar="ID", help="Only this one.")] = None,
    instrument: Annotated[
        str | None, typer.Option(parser=instrument_option, metavar="SYMBOL.VENUE", help="Only this one.")
    ] = None,
    venue: Annotated[str | None, typer.Option(parser=currency_option, metavar="VENUE", help="Only this one.")] = None,
    asset: Annotated[str | None, typer.Option(parser=currency_option, metavar="ASSET", help="Only this base.")] = None,
    status: Annotated[
        LimitStatus,
        typer.Option(
            case_sensitive=False,
            help="DRAFT: not checked. SHADOW: orders pass, what it would refuse is recorded. ACTIVE: it refuses.",
        ),
    ] = LimitStatus.ACTIVE,
    json: Json = False,
) -> None:
    """Set, change or lift a limit of an account; the account `firm` is all of them together.

    One of the same number in another status is moved to this one.
    """
    scope = Scope(strategy, instrument, venue, asset)
    request = SetLimit(
        account, scope, measure=measure, limit=value, currency=currency, transact_time=now(), status=status
    )  # fmt: skip
    with opened() as daybook:
        answer = requested(daybook, request, json=json)
    record: dict[str, Any] = {
        "account_id": account,
        **asdict(scope),
        "measure": measure,
        "status": status,
        "limit": value,
        "currency": currency,
        "is_changed": bool(answer.records),
    }
    if json:
        write_json(record)
        return
    name = measure if status is LimitStatus.ACTIVE else f"{status} {measure}"
    if value is None:
        say(f"{name} of {account} is lifted.")
    else:
        say(f"{name} of {account} is {grouped(value)} {currency or ''}".rstrip() + ".")

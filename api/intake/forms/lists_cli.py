"""The groups of commands that forms add to, and the commands that list what their requests have set up."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.intake.forms.records import conversion_record, day_record, parent_record, transfer_record
from api.terminal.options import AccountId, AnyAccount, AsOf, opened
from api.terminal.output import Column, Json, Kind, say, write_json, write_table
from domain import account as accounts
from domain import risk as risks

if TYPE_CHECKING:
    from domain.account.cash import TransferStatus

LISTED_MAX = 1000


def _group(name: str, help_: str) -> typer.Typer:
    return typer.Typer(name=name, help=help_, no_args_is_help=True)


parent = _group("parent", "Parent orders: open, close, list.")
asset = _group("asset", "Coins: redenominate.")
position = _group("position", "Positions: move at cost, settle at expiry, exercise by delivery.")
lots = _group("lots", "Lots: assign to a disposal.")
transfer = _group("transfer", "Quantity transferred in or out: book.")
cash_transfer = _group("cash-transfer", "Transfers of money: request, settle, return, list.")
trading_day = _group("trading-day", "When trading days start: set, show.")
conversion = _group("conversion", "Pairs that limits convert by: set, list.")
risk = _group("risk", "Monitoring: check what is held against limits.")

GROUPS = (parent, asset, position, lots, transfer, cash_transfer, trading_day, conversion, risk)


@parent.command(name="list")
def list_parents(account: AnyAccount = None, as_of: AsOf = None, json: Json = False) -> None:
    """List parent orders, with their sums over their children, as of now or of a past moment."""
    from api.read_models.snapshot import ended_at
    from api.read_models.states import parents_at

    with opened() as daybook:
        past = ended_at(daybook, as_of) if as_of is not None else None
        seq = daybook.history.head().seq if past is None else past.seq
        rows = [parent_record(state) for state in parents_at(daybook, seq, account, limit=LISTED_MAX)]
    if json:
        write_json({"parents": rows})
        return
    for row in rows:
        row["count"] = len(row["children"])
    columns = [
        Column("account_id", "Account", rank=1), Column("cl_ord_id", "Parent order"), Column("side", "Side"),
        Column("base", "Of"), Column("order_qty", "Quantity", Kind.NUMBER), Column("price", "Price", Kind.NUMBER),
        Column("status", "Status"), Column("cum_qty", "Filled", Kind.NUMBER),
        Column("working_qty", "Working", Kind.NUMBER), Column("count", "Children", Kind.NUMBER, rank=2),
    ]  # fmt: skip
    write_table("Parent orders", rows, columns, empty="No parent orders. Open one: daybook parent open --help")


@cash_transfer.command(name="list")
def list_cash_transfers(
    account: AccountId = "main",
    status: Annotated[str | None, typer.Option(help="Only PENDING, SETTLED or RETURNED ones.")] = None,
    json: Json = False,
) -> None:
    """List transfers of money of an account, the newest first."""
    from api.problems import not_found

    with opened() as daybook:
        state = daybook.writer.state(accounts.stream(account))
    if state is None:
        raise not_found(f"account {account}", account_id=account)
    found: list[Any] = list(state.cash.transfers.values())
    rows = [transfer_record(account, one) for one in reversed(found) if _is(one.status, status)][:LISTED_MAX]
    if json:
        write_json({"transfers": rows})
        return
    for row in rows:
        row |= {"money": f"{row['amount'].amount:f} {row['amount'].currency}"}
        row["other"] = row["counter_account_id"] or row["counterparty"]
    columns = [
        Column("transfer_id", "Transfer"), Column("indicator", "Direction"), Column("money", "Amount", Kind.NUMBER),
        Column("other", "Other end"), Column("status", "Status"),
    ]  # fmt: skip
    write_table(f"Transfers of {account}", rows, columns, empty="No transfers. See daybook cash-transfer --help")


def _is(status: "TransferStatus", wanted: str | None) -> bool:
    return wanted is None or status == wanted.upper()


@trading_day.command(name="show")
def show_trading_day(account: AccountId = "main", json: Json = False) -> None:
    """Show the hour, UTC, at which an account's trading days start."""
    with opened() as daybook:
        record = day_record(account, daybook.writer.state(risks.stream(account)))
    write_json(record) if json else say(f"Trading days of {account} start at {record['starts_at_hour']}:00 UTC.")


@conversion.command(name="list")
def list_conversions(account: AccountId = "main", json: Json = False) -> None:
    """List the instruments that an account's limits convert by."""
    with opened() as daybook:
        state = daybook.writer.state(risks.stream(account))
    rows = [conversion_record(account, name, state) for name in (sorted(state.conversions) if state else ())]
    if json:
        write_json({"conversions": rows})
        return
    columns = [Column("instrument_id", "Instrument"), Column("base", "Base"), Column("quote", "Quote")]
    write_table(f"Conversions of {account}", rows, columns, empty="None. Set one: daybook conversion set --help")

"""`daybook report` and `daybook replay`: what the book says, now or as it was recorded at a past moment."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from api.encoding import decimal_text, time_text
from api.parameters import Format, Moment, Where, parsed_asset, parsed_day
from api.reports.cli_tables import (
    Decimals,
    JournalFormat,
    Output,
    ReportFormat,
    StatementFormat,
    reproduce,
    show,
    to_file,
)
from api.terminal.columns import ORDERS, PNL, PNL_TOTALS, POSITIONS
from api.terminal.options import AccountId, AnyAccount, AsOf, Marks, When, Which, by, opened, read, spread
from api.terminal.output import Json, say, write_json, write_table
from domain.account import CostBasis, FeePolicy
from domain.values import Mark

if TYPE_CHECKING:
    from api.reports.catalog import Parameters

report = typer.Typer(name="report", help="What the book says, now or at a past moment.")


def _day(text: str) -> str:
    return parsed_day(text).isoformat()


def _period(text: str) -> str:
    from api.statements.periods import period_of

    period_of(text)
    return text


AnyAsset = Annotated[
    str | None,
    typer.Option("--asset", parser=by(parsed_asset), metavar="ASSET", help="Only this currency or contract."),
]
Day = Annotated[str | None, typer.Option("--day", parser=by(_day), metavar="DATE", help="Only this value date.")]
UptoDay = Annotated[str | None, typer.Option("--day", parser=by(_day), metavar="DATE", help="Until this value date.")]


@report.callback(invoke_without_command=True)
def chosen(
    context: typer.Context,
    digest: Annotated[
        str | None, typer.Option("--reproduce", metavar="DIGEST", help="Make the report again that this digest names.")
    ] = None,
    output: Output = None,
    json: Annotated[bool, typer.Option("--json", help="Write errors as JSON.", hidden=True)] = False,  # noqa: ARG001
) -> None:
    """What the book says, now or at a past moment."""
    if context.invoked_subcommand is not None:
        if digest is not None:
            raise typer.BadParameter("--reproduce names a whole report, and goes with no other", ctx=context)
        return
    if digest is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    reproduce(digest, output)


class Kept(NamedTuple):
    """How cost is kept, instead of as the account has it."""

    method: Annotated[CostBasis | None, typer.Option(help="Cost basis instead of the account's own.")] = None
    fee_policy: Annotated[FeePolicy | None, typer.Option(help="Instead of the account's own.")] = None


class Written(NamedTuple):
    """How the report is written, and where."""

    format_: ReportFormat = Format.TABLE
    output: Output = None
    decimals: Decimals = 18
    json: Json = False


def _asked(
    which: Which,
    kept: Kept = Kept(),
    mark: list[Mark] | None = None,
    *,
    asset: str | None = None,
    day: str | None = None,
    limit: int | None = None,
) -> "Parameters":
    from api.reports.catalog import Parameters

    marks = tuple(f"{one.instrument_id}={decimal_text(one.price)}" for one in mark or [])
    return Parameters(*which, asset, day, *kept, marks, limit)


@report.command()
@spread
def pnl(*, which: Which, kept: Kept, mark: Marks = None, when: When, written: Written) -> None:
    """What positions have gained: realized, and at the newest or given marks."""
    show("pnl", _asked(which, kept, mark), when.moment, *written)


@report.command()
@spread
def positions(*, which: Which, kept: Kept, when: When, written: Written) -> None:
    """What is held, what it cost and what it has realized."""
    show("positions", _asked(which, kept), when.moment, *written)


@report.command()
@spread
def exposure(*, which: Which, mark: Marks = None, when: When, written: Written) -> None:
    """How large open positions are at the newest or given marks."""
    show("exposure", _asked(which, mark=mark), when.moment, *written)


@report.command()
@spread
def lots(
    *,
    which: Which,
    kept: Kept,
    matches: Annotated[bool, typer.Option("--matches", help="Disposals and the lots they used up, instead.")] = False,
    when: When,
    written: Written,
) -> None:
    """Open lots, or which disposal used up how much of which lot. An account under AVERAGE has none of its own."""
    show("matches" if matches else "lots", _asked(which, kept), when.moment, *written)


@report.command()
@report.command("orders", hidden=True)
@spread
def blotter(
    *,
    which: Which,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    as_of: AsOf = None,
    written: Written,
) -> None:
    """Orders and how they fare, the newest first."""
    show("blotter", _asked(which, limit=limit), as_of, *written)


@report.command()
@spread
def executions(*, which: Which, as_of: AsOf = None, written: Written) -> None:
    """Trades and transfers, the newest booking first."""
    show("executions", _asked(which), as_of, *written)


@report.command()
@spread
def risk(*, which: Which, as_of: AsOf = None, written: Written) -> None:
    """Every limit in force, and what is used of it."""
    show("risk", _asked(which), as_of, *written)


@report.command()
@spread
def balances(*, account: AnyAccount = None, asset: AnyAsset = None, as_of: AsOf = None, written: Written) -> None:
    """What accounts have of each asset at each venue: in all, held by pending transfers, and available."""
    show("balances", _asked(Which(account), asset=asset), as_of, *written)


@report.command()
@spread
def journal(
    *,
    which: Which,
    asset: AnyAsset = None,
    day: Day = None,
    as_of: AsOf = None,
    format_: JournalFormat = Format.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """The double-entry journal, a row a line, in the order of the log."""
    if format_ in (Format.HLEDGER, Format.BEANCOUNT) and not json:
        if which.strategy or which.instrument or asset or day:
            raise typer.BadParameter(f"{format_} takes whole accounts: choose by --account alone")
        _export_journal(which.account, as_of, format_, output)
        return
    show("journal", _asked(which, asset=asset, day=day), as_of, format_, output, decimals, json=json)


def _export_journal(account: str | None, moment: Moment | None, format_: Format, output: "Output") -> None:
    from api.reports.catalog import paged_entries
    from api.reports.plaintext import export
    from projections.models.journal import ledger as ledger_rows

    with opened() as book, read(book, "journal", moment=moment) as at:
        about = f"Daybook, {account or 'all accounts'}, as on record at seq {at.seq}"
        ledger = ledger_rows(at.source, account_id=account)
        parts = export(format_, paged_entries(at.source, account), ledger, about)
        to_file(lambda out: out.writelines(part.encode() for part in parts), output, format_)


@report.command("trial-balance")
@spread
def trial_balance(
    *, account: AnyAccount = None, asset: AnyAsset = None, day: UptoDay = None, as_of: AsOf = None, written: Written
) -> None:
    """Every ledger account: debit, credit and balance; in all, zero in each asset."""
    show("trial-balance", _asked(Which(account), asset=asset, day=day), as_of, *written)


@report.command()
def statement(
    period: Annotated[
        str, typer.Argument(parser=by(_period), metavar="PERIOD", help="A day (2026-01-02) or a month (2026-01).")
    ],
    account: AccountId,
    mark: Marks = None,
    as_of: AsOf = None,
    format_: StatementFormat = Format.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """What became of an account in a day or month: balances, result, positions, entries; HTML and PDF with charts."""
    show("statement", _asked(Which(account), mark=mark, day=period), as_of, format_, output, json=json)


def replay(account: AccountId, as_of: AsOf = None, mark: Marks = None, json: Json = False) -> None:
    """What the book knew of an account at a moment: its positions, PnL and orders, and the log then.

    Replays the log through the very folds that the read models use. As recorded: what arrived later is not in it.
    """
    from api.read_models.snapshot import replayed
    from api.read_models.views import pnl_of
    from projections.analytics.pnl import totals
    from projections.models.orders import blotter as blotter_rows

    with opened() as book:
        head = book.log.head()
        at = replayed(book, "positions", "orders", moment=as_of or Moment(seq=head.seq))
        rows = pnl_of(book, at, Where(account), {one.instrument_id: one for one in mark or []})
        found = blotter_rows(at.source, account_id=account, limit=None)
    log = {"seq": at.seq, "recorded_at": at.recorded_at, "head_seq": head.seq}
    if json:
        write_json({"account_id": account, "as_of": log, "positions": rows, "orders": found,
                    "totals": totals(rows, ())})  # fmt: skip
        return
    when = f" at {time_text(at.recorded_at)}" if at.recorded_at else ""
    say(f"Account {account} as recorded{when}: {at.seq:,} of the log's {head.seq:,} events")
    write_table("Positions", rows, POSITIONS, empty="It held nothing.")
    if rows:
        write_table("PnL", rows, PNL, empty="")
        write_table("PnL in all", totals(rows, ()), PNL_TOTALS, empty="")
    write_table("Orders", found, ORDERS, empty="It had no orders.")

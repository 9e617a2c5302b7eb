"""`daybook report` and `daybook replay`: what the book says, now or as it was recorded at a past moment."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.asked import Moment, Where, moment_of
from api.cli_output import Json, say, write_json, write_table
from api.cli_parts import AccountId, AnyAccount, AnyInstrument, AnyStrategy, AsOf, KnownAt, Marks, by, opened, read
from api.cli_shown import (
    ORDERS,
    PNL,
    PNL_TOTALS,
    POSITIONS,
    Decimals,
    Formats,
    JournalFormat,
    Output,
    ReportFormat,
    StatementFormat,
    reproduce,
    show,
    to_file,
)
from api.wire import decimal_text, time_text
from domain import values
from domain.account import CostBasis, FeePolicy
from domain.errors import ReportUnreadable
from domain.values import Mark

if TYPE_CHECKING:
    from api.exports import Parameters

__all__ = ["PNL", "POSITIONS", "replay", "report"]

report = typer.Typer(name="report", help="What the book says, now or at a past moment.")

Method = Annotated[CostBasis | None, typer.Option("--method", help="Cost basis instead of the account's own.")]
Fees = Annotated[FeePolicy | None, typer.Option("--fee-policy", help="Instead of the account's own.")]


def _asset(text: str) -> str:
    return values.instrument_id(text, "asset") if "." in text else values.currency(text, "asset")


def _day(text: str) -> str:
    from api.statements_periods import period_of

    if len(text) != 10:
        raise ReportUnreadable("day", text, "a date such as 2026-01-02")
    return period_of(text).first


def _period(text: str) -> str:
    from api.statements_periods import period_of

    period_of(text)
    return text


AnyAsset = Annotated[
    str | None, typer.Option("--asset", parser=by(_asset), metavar="ASSET", help="Only this currency or contract.")
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


def _asked(
    where: Where,
    method: CostBasis | None = None,
    fee_policy: FeePolicy | None = None,
    mark: list[Mark] | None = None,
    decimals: int = 18,
) -> "Parameters":
    from api.exports import Parameters

    marks = tuple(f"{one.instrument_id}={decimal_text(one.price)}" for one in mark or [])
    return Parameters(*where, method=method, fee_policy=fee_policy, mark=marks, decimals=decimals)


@report.command()
def pnl(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    method: Method = None,
    fee_policy: Fees = None,
    mark: Marks = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """What positions have gained: realized, and at the newest or given marks."""
    asked = _asked(Where(account, strategy, instrument), method, fee_policy, mark, decimals)
    show("pnl", asked, moment_of(as_of, known_at), format_, output, json=json)


@report.command()
def positions(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    method: Method = None,
    fee_policy: Fees = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """What is held, what it cost and what it has realized."""
    asked = _asked(Where(account, strategy, instrument), method, fee_policy, decimals=decimals)
    show("positions", asked, moment_of(as_of, known_at), format_, output, json=json)


@report.command()
def exposure(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    mark: Marks = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """How large open positions are at the newest or given marks."""
    asked = _asked(Where(account, strategy, instrument), mark=mark, decimals=decimals)
    show("exposure", asked, moment_of(as_of, known_at), format_, output, json=json)


@report.command()
def lots(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    method: Method = None,
    fee_policy: Fees = None,
    matches: Annotated[bool, typer.Option("--matches", help="Disposals and the lots they used up, instead.")] = False,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """Open lots, or which disposal used up how much of which lot. An account under AVERAGE has none of its own."""
    asked = _asked(Where(account, strategy, instrument), method, fee_policy, decimals=decimals)
    show("matches" if matches else "lots", asked, moment_of(as_of, known_at), format_, output, json=json)


@report.command()
@report.command("orders", hidden=True)
def blotter(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    as_of: AsOf = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """Orders and how they fare, the newest first."""
    from msgspec.structs import replace

    asked = replace(_asked(Where(account, strategy, instrument), decimals=decimals), limit=limit)
    show("blotter", asked, as_of, format_, output, json=json)


@report.command()
def executions(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    as_of: AsOf = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """Trades and transfers, the newest booking first."""
    asked = _asked(Where(account, strategy, instrument), decimals=decimals)
    show("executions", asked, as_of, format_, output, json=json)


@report.command()
def risk(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    as_of: AsOf = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """Every limit in force, and what is used of it."""
    asked = _asked(Where(account, strategy, instrument), decimals=decimals)
    show("risk", asked, as_of, format_, output, json=json)


@report.command()
def balances(
    account: AnyAccount = None,
    asset: AnyAsset = None,
    as_of: AsOf = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """What accounts have of each asset at each venue: in all, held by pending transfers, and available."""
    from api.exports import Parameters

    asked = Parameters(account, asset=asset, decimals=decimals)
    show("balances", asked, as_of, format_, output, json=json)


@report.command()
def journal(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    asset: AnyAsset = None,
    day: Day = None,
    as_of: AsOf = None,
    format_: Annotated[
        JournalFormat, typer.Option("--format", help="How to write it; hledger and beancount take whole accounts.")
    ] = JournalFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """The double-entry journal, a row a line, in the order of the log."""
    from api.exports import Parameters

    if format_ in (JournalFormat.HLEDGER, JournalFormat.BEANCOUNT) and not json:
        if strategy or instrument or asset or day:
            raise typer.BadParameter(f"{format_} takes whole accounts: choose by --account alone")
        _export_journal(account, as_of, format_, output)
        return
    asked = Parameters(account, strategy, instrument, asset, day, decimals=decimals)
    show("journal", asked, as_of, format_, output, json=json)


def _export_journal(account: str | None, moment: Moment | None, format_: str, output: "Output") -> None:
    from api.exports import paged_entries
    from api.exports_ledger import Books, export
    from projections import journal as journals

    with opened() as book, read(book, "journal", moment=moment) as at:
        about = f"Daybook, {account or 'all accounts'}, as on record at seq {at.seq}"
        ledger = journals.ledger(at.source, account_id=account)
        parts = export(Books(format_), paged_entries(at.source, account), ledger, about)
        to_file(lambda out: out.writelines(part.encode() for part in parts), output, format_)


@report.command("trial-balance")
def trial_balance(
    account: AnyAccount = None,
    asset: AnyAsset = None,
    day: UptoDay = None,
    as_of: AsOf = None,
    format_: Formats = ReportFormat.TABLE,
    output: Output = None,
    decimals: Decimals = 18,
    json: Json = False,
) -> None:
    """Every ledger account: debit, credit and balance; in all, zero in each asset."""
    from api.exports import Parameters

    asked = Parameters(account, asset=asset, day=day, decimals=decimals)
    show("trial-balance", asked, as_of, format_, output, json=json)


@report.command()
def statement(
    period: Annotated[
        str, typer.Argument(parser=by(_period), metavar="PERIOD", help="A day (2026-01-02) or a month (2026-01).")
    ],
    account: AccountId,
    mark: Marks = None,
    as_of: AsOf = None,
    format_: Annotated[
        StatementFormat, typer.Option("--format", help="How to write the statement.")
    ] = StatementFormat.TABLE,
    output: Output = None,
    json: Json = False,
) -> None:
    """What became of an account in a day or month: balances, result, positions, entries; HTML and PDF with charts."""
    from msgspec.structs import replace

    asked = replace(_asked(Where(account), mark=mark), day=period)
    show("statement", asked, as_of, format_, output, json=json)


def replay(account: AccountId, as_of: AsOf = None, mark: Marks = None, json: Json = False) -> None:
    """What the book knew of an account at a moment: its positions, PnL and orders, and the log then.

    Replays the log through the very folds that the read models use. As recorded: what arrived later is not in it.
    """
    from api.reading import replayed
    from api.views import pnl_of
    from projections import orders as blotters
    from projections import pnl as pnls

    with opened() as book:
        head = book.log.head()
        at = replayed(book, "positions", "orders", moment=as_of or Moment(seq=head.seq))
        rows = pnl_of(book, at, Where(account), {one.instrument_id: one for one in mark or []})
        found = blotters.blotter(at.source, account_id=account, limit=None)
    log = {"seq": at.seq, "recorded_at": at.recorded_at, "head_seq": head.seq}
    if json:
        write_json({"account_id": account, "as_of": log, "positions": rows, "orders": found,
                    "totals": pnls.totals(rows, ())})  # fmt: skip
        return
    when = f" at {time_text(at.recorded_at)}" if at.recorded_at else ""
    say(f"Account {account} as recorded{when}: {at.seq:,} of the log's {head.seq:,} events")
    write_table("Positions", rows, POSITIONS, empty="It held nothing.")
    if rows:
        write_table("PnL", rows, PNL, empty="")
        write_table("PnL in all", pnls.totals(rows, ()), PNL_TOTALS, empty="")
    write_table("Orders", found, ORDERS, empty="It had no orders.")

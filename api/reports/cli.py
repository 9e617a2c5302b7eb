"""`daybook report` and `daybook replay`: reports as of now or a past moment."""

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
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
from api.terminal.options import (
    AccountId,
    AnyAccount,
    AsOf,
    Marks,
    When,
    Which,
    by,
    opened,
    read,
    spread,
    time_option,
)
from api.terminal.output import Json, say, write_json, write_table
from domain.account import CostBasis, FeePolicy
from domain.values import Mark

if TYPE_CHECKING:
    from api.reports.catalog import Parameters

report = typer.Typer(name="report", help="Print a report, as of now or a past moment.")


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
UptoDay = Annotated[
    str | None, typer.Option("--day", parser=by(_day), metavar="DATE", help="Up to and including this value date.")
]


@report.callback(invoke_without_command=True)
def chosen(
    context: typer.Context,
    digest: Annotated[
        str | None,
        typer.Option("--reproduce", metavar="DIGEST", help="Reproduce the report of this digest: the same bytes."),
    ] = None,
    output: Output = None,
    json: Annotated[bool, typer.Option("--json", help="Write errors as JSON.", hidden=True)] = False,  # noqa: ARG001
) -> None:
    """Print a report, as of now or a past moment."""
    if context.invoked_subcommand is not None:
        if digest is not None:
            raise typer.BadParameter("--reproduce names a report itself; leave the report's name out", ctx=context)
        return
    if digest is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    reproduce(digest, output)


class CostOptions(NamedTuple):
    """The options that replace the account's conventions of cost."""

    method: Annotated[CostBasis | None, typer.Option(help="Cost basis instead of the account's own.")] = None
    fee_policy: Annotated[FeePolicy | None, typer.Option(help="Fee policy instead of the account's own.")] = None


class Held(NamedTuple):
    """The options that select disposals by their time, and how long a lot is held for long."""

    since: Annotated[
        Any, typer.Option("--since", parser=time_option, metavar="TIME", help="Only disposals from this time on.")
    ] = None
    until: Annotated[
        Any, typer.Option("--until", parser=time_option, metavar="TIME", help="Only disposals before this time.")
    ] = None
    long_term_days: Annotated[int, typer.Option(min=0, help="Held for so many days of 24 hours is held for long.")] = (
        365
    )

    @property
    def parameters(self) -> dict[str, Any]:
        """The options as parameters of the report."""
        return self._asdict()


class OutputOptions(NamedTuple):
    """The options of format and destination."""

    format_: ReportFormat = Format.TABLE
    output: Output = None
    decimals: Decimals = 18
    json: Json = False


def _parameters(
    which: Which,
    cost: CostOptions = CostOptions(),
    mark: list[Mark] | None = None,
    *,
    asset: str | None = None,
    day: str | None = None,
    limit: int | None = None,
) -> "Parameters":
    from api.reports.catalog import Parameters

    marks = tuple(f"{one.instrument_id}={decimal_text(one.price)}" for one in mark or [])
    return Parameters(*which, asset=asset, day=day, **cost._asdict(), mark=marks, limit=limit)


@report.command()
@spread
def pnl(*, which: Which, cost: CostOptions, mark: Marks = None, when: When, written: OutputOptions) -> None:
    """Show the PnL of positions: realized, and unrealized at the newest or given marks."""
    show("pnl", _parameters(which, cost, mark), when.moment, *written)


@report.command()
@spread
def positions(*, which: Which, cost: CostOptions, when: When, written: OutputOptions) -> None:
    """Show positions: quantity, average price, cost, and realized PnL."""
    show("positions", _parameters(which, cost), when.moment, *written)


@report.command()
@spread
def exposure(*, which: Which, mark: Marks = None, when: When, written: OutputOptions) -> None:
    """Show the exposure of open positions, at the newest or given marks."""
    show("exposure", _parameters(which, mark=mark), when.moment, *written)


@report.command()
@spread
def lots(
    *,
    which: Which,
    cost: CostOptions,
    matches: Annotated[
        bool, typer.Option("--matches", help="Show disposals and the lots they consumed instead.")
    ] = False,
    when: When,
    written: OutputOptions,
) -> None:
    """Show open lots, or the lots that each disposal consumed. Accounts with AVERAGE cost have none unless recosted."""
    show("matches" if matches else "lots", _parameters(which, cost), when.moment, *written)


@report.command()
@spread
def matches(*, which: Which, cost: CostOptions, held: Held, when: When, written: OutputOptions) -> None:
    """Show disposals and the lots they consumed: acquired when, held how long, proceeds, cost and gain."""
    show("matches", msgspec.structs.replace(_parameters(which, cost), **held.parameters), when.moment, *written)


@report.command()
@report.command("orders", hidden=True)
@spread
def blotter(
    *,
    which: Which,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many orders, the newest.")] = None,
    as_of: AsOf = None,
    written: OutputOptions,
) -> None:
    """Show orders with their status and fills, newest first."""
    show("blotter", _parameters(which, limit=limit), as_of, *written)


@report.command()
@spread
def executions(*, which: Which, as_of: AsOf = None, written: OutputOptions) -> None:
    """Show executions: trades and transfers, the newest booking first."""
    show("executions", _parameters(which), as_of, *written)


@report.command()
@spread
def risk(*, which: Which, as_of: AsOf = None, written: OutputOptions) -> None:
    """Show every limit in force and its utilisation."""
    show("risk", _parameters(which), as_of, *written)


@report.command()
@spread
def balances(*, account: AnyAccount = None, asset: AnyAsset = None, as_of: AsOf = None, written: OutputOptions) -> None:
    """Show balances by account, venue and asset: total, held by pending transfers, and available."""
    show("balances", _parameters(Which(account), asset=asset), as_of, *written)


@report.command("daily-balances")
@spread
def daily_balances(
    *,
    account: AnyAccount = None,
    asset: AnyAsset = None,
    first: Annotated[
        Any, typer.Option("--from", parser=by(parsed_day), metavar="DATE", help="Default: 29 before the last.")
    ] = None,
    last: Annotated[
        Any, typer.Option("--to", parser=by(parsed_day), metavar="DATE", help="Default: the last one on record.")
    ] = None,
    as_of: AsOf = None,
    written: OutputOptions,
) -> None:
    """Show what balances opened and closed each day with, and what moved them, by kind. Days are value dates."""
    chosen = msgspec.structs.replace(_parameters(Which(account), asset=asset), first=first, last=last)
    show("daily-balances", chosen, as_of, *written)


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
    """Show the double-entry journal, one row a line, in the order of the log."""
    if format_ in (Format.HLEDGER, Format.BEANCOUNT) and not json:
        if which.strategy or which.instrument or asset or day:
            raise typer.BadParameter(f"{format_} takes whole accounts: select by --account alone")
        _export_journal(which.account, as_of, format_, output)
        return
    show(
        "journal",
        _parameters(which, asset=asset, day=day),
        as_of,
        form=format_,
        output=output,
        decimals=decimals,
        json=json,
    )


def _export_journal(account: str | None, moment: Moment | None, format_: Format, output: "Output") -> None:
    from api.reports.catalog import paged_entries
    from api.reports.plaintext import export
    from projections.models.journal import ledger as ledger_rows

    with opened() as daybook, read(daybook, "journal", moment=moment) as at:
        about = f"Daybook, {account or 'all accounts'}, as on record at seq {at.seq}"
        ledger = ledger_rows(at.source, account_id=account)
        parts = export(format_, paged_entries(at.source, account), ledger, about)
        to_file(lambda out: out.writelines(part.encode() for part in parts), output, format_)


@report.command("trial-balance")
@spread
def trial_balance(
    *,
    account: AnyAccount = None,
    asset: AnyAsset = None,
    day: UptoDay = None,
    as_of: AsOf = None,
    written: OutputOptions,
) -> None:
    """Show debit, credit and balance of every ledger account. The balances of each asset sum to zero."""
    show("trial-balance", _parameters(Which(account), asset=asset, day=day), as_of, *written)


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
    """Write the statement of an account for a day or month: balances, result, positions, entries, charts."""
    show("statement", _parameters(Which(account), mark=mark, day=period), as_of, form=format_, output=output, json=json)


def replay(account: AccountId, as_of: AsOf = None, mark: Marks = None, json: Json = False) -> None:
    """Replay the log up to a moment, and show an account as recorded then: positions, PnL and orders.

    Uses the same folds as the read models. What was recorded later is not included.
    """
    from api.read_models.snapshot import replayed
    from api.read_models.views import pnl_of
    from projections.analytics.pnl import totals
    from projections.models.orders import blotter as blotter_rows

    with opened() as daybook:
        head = daybook.log.head()
        at = replayed(daybook, "positions", "orders", moment=as_of or Moment(seq=head.seq))
        rows = pnl_of(daybook, at, Where(account), {one.instrument_id: one for one in mark or []})
        found = blotter_rows(at.source, account_id=account, limit=None)
    log = {"seq": at.seq, "recorded_at": at.recorded_at, "head_seq": head.seq}
    if json:
        write_json({"account_id": account, "as_of": log, "positions": rows, "orders": found,
                    "totals": totals(rows, ())})  # fmt: skip
        return
    when = f" at {time_text(at.recorded_at)}" if at.recorded_at else ""
    say(f"Account {account} as recorded{when}: {at.seq:,} of the log's {head.seq:,} events")
    write_table("Positions", rows, POSITIONS, empty="No positions.")
    if rows:
        write_table("PnL", rows, PNL, empty="")
        write_table("PnL in total", totals(rows, ()), PNL_TOTALS, empty="")
    write_table("Orders", found, ORDERS, empty="No orders.")

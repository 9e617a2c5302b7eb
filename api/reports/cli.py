"""`daybook report`, with a command for each report of the catalog, and `daybook replay`."""

from collections.abc import Callable
from inspect import Parameter
from typing import Annotated, Any

import typer

from api.encoding import time_text
from api.parameters import Moment, Where
from api.problems import not_found
from api.reports.catalog import REPORTS, Report
from api.reports.cli_tables import reproduce, show
from api.reports.options import AllowMissing, Output, destination_in, moment_in, parameters_in, signature_of
from api.terminal.columns import ORDERS, PNL, PNL_TOTALS, POSITIONS
from api.terminal.options import AccountId, AsOf, Marks, opened
from api.terminal.output import Json, say, write_json, write_table
from domain.account import stream

Disposals = Annotated[bool, typer.Option("--matches", help="Show disposals and the lots they consumed instead.")]
report = typer.Typer(
    name="report",
    help="Print a report, as of now or a past moment. Exit code 3: a mark or a conversion rate is missing.",
)


@report.callback(invoke_without_command=True)
def chosen(
    context: typer.Context,
    digest: Annotated[
        str | None,
        typer.Option("--reproduce", metavar="DIGEST", help="Reproduce the report of this digest: the same bytes."),
    ] = None,
    output: Output = None,
    allow_missing: AllowMissing = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, including errors.", hidden=True)] = False,
) -> None:
    """Print a report, as of now or a past moment. Exit code 3: a mark or a conversion rate is missing."""
    if context.invoked_subcommand is not None:
        if digest is not None:
            raise typer.BadParameter("--reproduce names a report itself; leave the report's name out", ctx=context)
        context.obj = {"output": output, "allow_missing": allow_missing, "json": json}
        return
    if digest is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    raise typer.Exit(reproduce(digest, output, allow_missing=allow_missing))


def _command(of: Report) -> Callable[..., None]:
    """Return the command of a report: its options are those of its parameters."""

    def called(context: typer.Context, **given: Any) -> None:
        named = REPORTS["matches"] if given.pop("matches", False) else of
        moment = moment_in(named, given)
        destination = destination_in(named, given, context.obj or {})
        code = show(named.name, parameters_in(named, given, moment), moment, destination)
        raise typer.Exit(code)

    options = signature_of(of)
    more = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    if of.name == "lots":
        more.append(Parameter("matches", Parameter.KEYWORD_ONLY, annotation=Disposals, default=False))
    called.__signature__ = options.replace(parameters=[*more, *options.parameters.values()])  # type: ignore[attr-defined]
    called.__doc__ = of.summary
    return called


for _report in REPORTS.values():
    report.command(_report.name)(_command(_report))
report.command("orders", hidden=True)(_command(REPORTS["blotter"]))


def replay(account: AccountId, as_of: AsOf = None, mark: Marks = None, json: Json = False) -> None:
    """Replay the log up to a moment, and show an account as recorded then: positions, PnL and orders.

    Uses the same folds as the read models. What was recorded later is not included.
    """
    from api.read_models.snapshot import marks_at, replayed
    from api.read_models.views import PRICED, pnl_of, pnl_totals
    from projections.models.orders import blotter as blotter_rows

    with opened() as daybook:
        if daybook.state(stream(account)) is None:
            raise not_found(f"account {account}", account_id=account)
        head = daybook.log.head()
        at = replayed(daybook, "orders", *PRICED, moment=as_of or Moment(seq=head.seq))
        marks = marks_at(daybook, at, {one.instrument_id: one for one in mark or []})
        rows = pnl_of(at, Where(account), marks)
        sums = pnl_totals(rows, (), at, marks)
        found = blotter_rows(at.source, account_id=account, limit=None)
    log = {"seq": at.seq, "recorded_at": at.recorded_at, "head_seq": head.seq}
    if json:
        write_json({"account_id": account, "as_of": log, "positions": rows, "orders": found,
                    "totals": sums})  # fmt: skip
        return
    when = f" at {time_text(at.recorded_at)}" if at.recorded_at else ""
    say(f"Account {account} as recorded{when}: {at.seq:,} of the log's {head.seq:,} events")
    write_table("Positions", rows, POSITIONS, empty="No positions.")
    if rows:
        write_table("PnL", rows, PNL, empty="")
        write_table("PnL in total", sums, PNL_TOTALS, empty="")
    write_table("Orders", found, ORDERS, empty="No orders.")

"""`daybook report daily|equity|nav|statistics|quality|leverage`: days, equity, NAV, execution, risk."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from api.encoding import decimal_text
from api.parameters import ARRIVAL_SECONDS, DAY_SECONDS, FLOW_MARK_SECONDS, Format, parsed_day, parsed_equals
from api.terminal.options import (
    AnswerFormat,
    AnyAccount,
    AsOf,
    Marks,
    Which,
    by,
    currency_option,
    number_option,
    opened,
    read,
    spread,
)
from api.terminal.output import Column, Json, Kind, note, say, write_csv, write_json, write_table
from domain.values import ZERO

if TYPE_CHECKING:
    from api.analytics.closing_marks import Valuing
    from api.analytics.service import Span
    from api.read_models.snapshot import Reading
    from projections.storage.tables import AnyRow, Row

DAILY = (
    Column("day", "Day"), Column("account_id", "Account", rank=4), Column("strategy_id", "Strategy", rank=3),
    Column("instrument_id", "Instrument", rank=1), Column("realized", "Realized", Kind.PNL, 2),
    Column("funding", "Funding", Kind.PNL, 6), Column("fees_settle", "Fees", Kind.NUMBER, 5),
    Column("unrealized_change", "Unrealized +/-", Kind.PNL, 2), Column("net", "Net", Kind.PNL),
    Column("settle", "In"), Column("net_base", "Net in base", Kind.PNL), Column("base_currency", "Base", rank=1),
    Column("fills", "Fills", Kind.NUMBER, 7),
)  # fmt: skip
EQUITY = (
    Column("day", "Day"), Column("equity", "Equity", Kind.NUMBER), Column("cash", "Cash", Kind.NUMBER, 5),
    Column("positions", "Positions", Kind.NUMBER, 5), Column("external", "Brought in", Kind.NUMBER, 3),
    Column("pnl", "PnL", Kind.PNL), Column("return", "Return", Kind.PNL),
    Column("drawdown", "Drawdown", Kind.NUMBER, 4),
    Column("currency", "In"), Column("reason", "Unknown for", rank=9),
)  # fmt: skip
NAV = (
    Column("day", "Day"), Column("nav", "NAV", Kind.NUMBER), Column("cash", "Cash", Kind.NUMBER, 5),
    Column("positions", "Positions", Kind.NUMBER, 5), Column("external", "Brought in", Kind.NUMBER, 3),
    Column("pnl", "PnL", Kind.PNL, 2), Column("return", "Return", Kind.PNL), Column("index", "Index", Kind.NUMBER, 1),
    Column("method", "Method", rank=4), Column("currency", "In"), Column("reason", "Unknown for", rank=9),
)  # fmt: skip
QUALITY = (
    Column("account_id", "Account", rank=4), Column("strategy_id", "Strategy", rank=5), Column("cl_ord_id", "Order"),
    Column("instrument_id", "Instrument", rank=1), Column("side", "Side"),
    Column("avg_px", "Avg price", Kind.NUMBER, 3),
    Column("arrival_px", "At arrival", Kind.NUMBER, 3), Column("slippage_bps", "Slippage bps", Kind.NUMBER),
    Column("shortfall", "Cost", Kind.NUMBER), Column("quote", "In", rank=1),
    Column("fill_ratio", "Filled", Kind.NUMBER, 2), Column("seconds_to_first_fill", "First s", Kind.NUMBER, 6),
    Column("seconds_to_last_fill", "Last s", Kind.NUMBER, 6),
)  # fmt: skip
QUALITY_TOTALS = (
    Column("quote", "In"), Column("orders", "Orders", Kind.NUMBER), Column("filled", "Filled", Kind.NUMBER),
    Column("without_mark", "No mark", Kind.NUMBER, 4), Column("notional", "Size", Kind.NUMBER, 2),
    Column("shortfall", "Cost", Kind.NUMBER), Column("slippage_bps", "Slippage bps", Kind.NUMBER),
    Column("fill_ratio", "Fill ratio", Kind.NUMBER), Column("seconds_to_first_fill", "First s", Kind.NUMBER, 5),
)  # fmt: skip
CUTS = (
    Column("account_id", "Account", rank=9), Column("strategy_id", "Strategy", rank=9),
    Column("venue", "Venue", rank=9), Column("asset", "Asset", rank=9), Column("instrument_id", "Instrument", rank=9),
    Column("gross", "Gross", Kind.NUMBER), Column("net", "Net", Kind.PNL), Column("delta", "Delta", Kind.PNL, 1),
    Column("delta_value", "Delta value", Kind.PNL, 2), Column("share", "Share", Kind.NUMBER),
)  # fmt: skip
LIMITS = (
    Column("account_id", "Account"), Column("measure", "Limit of"), Column("subject", "On", rank=1),
    Column("limit", "Limit", Kind.NUMBER), Column("used", "Used", Kind.NUMBER),
    Column("headroom", "Headroom", Kind.PNL), Column("currency", "In"), Column("unassessed", "Unknown for", rank=9),
)  # fmt: skip


def _close(text: str) -> Any:
    from projections import calendar

    return calendar.parsed(text)


Age = Annotated[int, typer.Option("--mark-age-max", min=1, help="Seconds; an older mark is not used.")]
FlowAge = Annotated[
    int, typer.Option("--flow-mark-age-max", min=1, help="Seconds; at a flow of capital an older mark is not used.")
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="COLUMN", help="What to sum by, such as venue or account_id; may be repeated."),
]
Rate = Annotated[
    Any, typer.Option("--risk-free", parser=number_option, metavar="RATE", help="An annual rate, such as 0.04.")
]
Target = Annotated[
    Any,
    typer.Option(
        "--target", parser=number_option, metavar="RATE", help="The annual return below which there is a shortfall."
    ),
]


class Days(NamedTuple):
    """Which days, and when they end."""

    first: Annotated[
        Any,
        typer.Option(
            "--from", parser=by(parsed_day), metavar="DATE", help="The first day; default: 29 before the last."
        ),
    ] = None
    last: Annotated[
        Any, typer.Option("--to", parser=by(parsed_day), metavar="DATE", help="Default: the present day.")
    ] = None
    close: Annotated[
        Any,
        typer.Option(
            parser=by(_close), metavar="HH:MM[ ZONE]", help="When a day ends, such as '17:00 America/New_York'."
        ),
    ] = None

    @property
    def span(self) -> "Span":
        """The days as a parameter of the analyses."""
        from api.analytics.service import Span
        from projections.calendar import MIDNIGHT

        return Span(self.close or MIDNIGHT, self.first, self.last)


class Worth(NamedTuple):
    """The currency of equity, and capital that is not on record."""

    currency: Annotated[
        str | None, typer.Option(parser=currency_option, metavar="CODE", help="Instead of the base currency.")
    ] = None
    capital: Annotated[
        Any, typer.Option(parser=number_option, metavar="AMOUNT", help="Capital that is not on record.")
    ] = None


class Valued(NamedTuple):
    """How to value."""

    equal: Annotated[
        list[Any] | None,
        typer.Option(parser=by(parsed_equals), metavar="USDT=USD", help="Currencies taken as equal; may be repeated."),
    ] = None
    mark_age_max: Age = DAY_SECONDS

    @property
    def valuing(self) -> "Valuing":
        """The valuation as a parameter of the analyses."""
        from api.analytics.closing_marks import Valuing

        return Valuing(timedelta(seconds=self.mark_age_max), tuple(self.equal or ()))


class Written(NamedTuple):
    """How the answer is written."""

    format_: AnswerFormat = Format.TABLE
    json: Json = False

    @property
    def format(self) -> Format:
        """The form that the two options select."""
        return Format.JSON if self.json else self.format_


def add_to(report: typer.Typer) -> None:
    """Add the commands to `daybook report`."""
    for command in (daily, equity, nav, statistics, quality, leverage):
        report.command()(spread(command))


def daily(*, which: Which, days: Days, by: By = None, valued: Valued, as_of: AsOf = None, written: Written) -> None:
    """Show PnL by day, in settlement currency and in the account's base currency."""
    from api.analytics import service
    from projections.analytics import daily_pnl

    groups = _groups(by, daily_pnl.GROUPS, ("account_id", "strategy_id", "instrument_id"))
    with opened() as daybook, read(daybook, *service.DAILY_MODELS, moment=as_of) as at:
        found = service.daily_pnl(daybook, at, which.where, days.span, by=groups, valuing=valued.valuing)
    rows = [row | {"net_base": row["in_base"]["net"]} for row in found.items]
    if written.format is Format.JSON:
        _write_json("daily", at, items=found.items, totals=found.totals, rates=found.rates)
        return
    totals = [row | {"day": "in all", "net_base": row["in_base"]["net"]} for row in found.totals]
    _write(written.format, f"Daily PnL at seq {at.seq:,}", rows, DAILY, totals=totals)
    if missing := sorted({name for row in rows for name in row["missing_marks"]}):
        note(f"No fresh mark is known at some closes for {', '.join(missing)}")
    for rate in (rate for rate in found.rates if rate["reason"]):
        note(f"{rate['day']}: {rate['from_currency']} is not converted to {rate['to_currency']}: {rate['reason']}")


def equity(
    *, account: AnyAccount = None, days: Days, worth: Worth, valued: Valued, as_of: AsOf = None, written: Written
) -> None:
    """Show the equity of an account, or of all together, at each close, and the return of each day."""
    at, currency, rows = _curve(as_of, account, days=days, worth=worth, valued=valued)
    if written.format is Format.JSON:
        _write_json("equity", at, currency=currency, items=rows)
    else:
        _write(written.format, f"Equity at seq {at.seq:,}", rows, EQUITY)


def nav(
    *,
    account: AnyAccount = None,
    days: Days,
    worth: Worth,
    valued: Valued,
    flow_mark_age_max: FlowAge = FLOW_MARK_SECONDS,
    as_of: AsOf = None,
    written: Written,
) -> None:
    """Show net asset value at each close and now, and the time-weighted return, valued at each flow of capital.

    The returns between flows are linked. Where a mark is lacking at a flow, the return around it is modified Dietz.
    """
    from api.analytics import service

    with opened() as daybook, read(daybook, *service.EQUITY_MODELS, moment=as_of) as at:
        found = service.nav(
            daybook, at, account, days.span, valuing=valued.valuing, currency=worth.currency,
            flow_mark_age_max=timedelta(seconds=flow_mark_age_max), capital=worth.capital or ZERO,
        )  # fmt: skip
    if written.format is Format.JSON:
        _write_json(
            "nav", at, currency=found.currency, time_weighted_return=found.time_weighted_return, items=found.rows
        )
        return
    _write(written.format, f"Net asset value at seq {at.seq:,}", found.rows, NAV)
    if found.time_weighted_return is not None:
        note(f"Time-weighted return of these days: {decimal_text(found.time_weighted_return)}")
    for row in (row for row in found.rows if row["flows_weighted"]):
        note(f"{row['day']}: {row['flows_weighted']} flows without fresh marks, so the return is modified Dietz")


def statistics(
    *,
    account: AnyAccount = None,
    days: Days,
    worth: Worth,
    risk_free: Rate = None,
    target: Target = None,
    valued: Valued,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show return, volatility, Sharpe, Sortino, drawdown and value at risk of the daily returns, 365 a year."""
    from api.analytics.service import equity_statistics

    at, currency, curve = _curve(as_of, account, days=days, worth=worth, valued=valued)
    figures = equity_statistics(curve, risk_free or ZERO, target or ZERO)
    if json:
        _write_json("statistics", at, account_id=account, currency=currency, **figures)
        return
    say(f"{figures['days']:,} days with a return, {figures['days_unknown']:,} without, in {currency}")
    drawdowns = ("max_drawdown", "current_drawdown")
    shown = [
        {"figure": name.replace("_", " "), "value": value, "why": figures["reasons"].get(name, "")}
        for name, value in figures.items()
        if name not in ("days", "days_unknown", "reasons", "losses", *drawdowns)
    ]
    shown += [
        {"figure": name.replace("_", " "), "value": figures[name] and figures[name]["depth"], "why": ""}
        for name in drawdowns
    ]
    for loss in figures["losses"]:
        level = decimal_text(loss["level"])
        for name in ("historical_var", "historical_es", "parametric_var", "parametric_es"):
            why = "" if loss[name] is not None else figures["reasons"].get(f"var_{level}", "")
            shown.append({"figure": f"{name.replace('_', ' ')} {level}", "value": loss[name], "why": why})
    columns = (Column("figure", "Figure"), Column("value", "Value", Kind.NUMBER), Column("why", "Unknown for", rank=9))
    write_table(f"Statistics at seq {at.seq:,}", shown, columns, empty="")


def quality(
    *,
    which: Which,
    days: Days,
    by: By = None,
    mark_age_max: Age = ARRIVAL_SECONDS,
    as_of: AsOf = None,
    written: Written,
) -> None:
    """Show what orders cost against the mark at their arrival, how far and how fast they were filled."""
    from api.analytics import service
    from projections.analytics import execution_quality

    groups = _groups(by, execution_quality.GROUPS, ())
    with opened() as daybook, read(daybook, *service.QUALITY_MODELS, moment=as_of) as at:
        age_max = timedelta(seconds=mark_age_max)
        found = service.execution_quality(daybook, at, which.where, days.span, by=groups, age_max=age_max)
    if written.format is Format.JSON:
        _write_json("quality", at, items=found.items, totals=found.totals)
        return
    _write(written.format, f"Execution quality at seq {at.seq:,}", found.items, QUALITY)
    if found.totals and written.format is Format.TABLE:
        columns = (*(Column(name, name.removesuffix("_id").title()) for name in groups), *QUALITY_TOTALS)
        write_table("In all", found.totals, columns, empty="")


def leverage(
    *,
    which: Which,
    worth: Worth,
    by: By = None,
    mark: Marks = None,
    valued: Valued,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show exposure by asset in one currency, leverage, concentration, and every limit with its headroom."""
    from api.analytics import service
    from projections.analytics import exposure

    groups = _groups(by, exposure.CUTS, ("asset",))
    given = {each.instrument_id: each for each in mark or ()}
    valuing = valued.valuing._replace(given=given)
    with opened() as daybook, read(daybook, *service.RISK_MODELS, moment=as_of) as at:
        found = service.risk_report(
            daybook, at, which.where, groups, valuing=valuing, currency=worth.currency, capital=worth.capital or ZERO
        )  # fmt: skip
    if json:
        _write_json("leverage", at, **found)
        return
    names = ("equity", "gross", "net", "delta_value", "leverage", "herfindahl", "largest_share", "largest_asset")
    figures = [{"figure": name.replace("_", " "), "value": found[name]} for name in names]
    columns = (Column("figure", "Figure"), Column("value", found["currency"], Kind.NUMBER))
    write_table(f"Risk at seq {at.seq:,}", figures, columns, empty="")
    write_table("Exposure", found["exposure"], CUTS, empty="Nothing is held.")
    write_table("Limits", found["limits"], LIMITS, empty="No limit is set.")
    for lacking in found["lacking"]:
        note(lacking)


def _groups(requested: list[str] | None, known: tuple[str, ...], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    for name in requested or ():
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--by")
    return tuple(requested or otherwise)


def _curve(
    as_of: Any, account: str | None, *, days: Days, worth: Worth, valued: Valued
) -> "tuple[Reading, str, list[Row]]":
    from api.analytics import service

    with opened() as daybook, read(daybook, *service.EQUITY_MODELS, moment=as_of) as at:
        found = service.equity_curve(
            daybook, at, account, days.span, valuing=valued.valuing, currency=worth.currency,
            capital=worth.capital or ZERO,
        )  # fmt: skip
    return at, found.currency, found.rows


def _write(
    format_: Format,
    title: str,
    rows: "Sequence[AnyRow]",
    columns: tuple[Column, ...],
    *,
    totals: "Sequence[AnyRow] | None" = None,
) -> None:
    if format_ is Format.CSV:
        write_csv(rows, list(rows[0]) if rows else [column.name for column in columns])
        return
    write_table(title, rows, columns, empty=f"{title}: none.")
    if totals:
        shown = [column for column in columns if any(column.name in row for row in totals)]
        write_table("In all", totals, shown, empty="")


def _write_json(name: str, at: "Reading", **members: Any) -> None:
    write_json({"report": name, "seq": at.seq, "recorded_at": at.recorded_at, **members})

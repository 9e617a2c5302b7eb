"""The options of `daybook report`: one for each parameter that a report of the catalog can take."""

from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from api.clock import now
from api.encoding import decimal_text
from api.parameters import Format, Moment, moment_of, parsed_asset, parsed_day, parsed_equals, place_of
from api.reports.catalog import DECIMALS, PLAIN_TEXT, STATEMENT, Parameters, Report
from api.terminal.options import (
    AccountId,
    AnyAccount,
    AnyInstrument,
    AnyLeg,
    AnyStrategy,
    AsOf,
    KnownAt,
    Marks,
    currency_option,
    format_option,
    moment_option,
    number_option,
    time_option,
)
from api.terminal.options import by as read_by
from api.terminal.output import Json
from domain.account import CostBasis, FeePolicy
from domain.holdings.gains import Scope, Withdrawals

SUFFIXES = {
    ".json": Format.JSON, ".csv": Format.CSV, ".parquet": Format.PARQUET, ".html": Format.HTML, ".pdf": Format.PDF,
    ".journal": Format.HLEDGER, ".hledger": Format.HLEDGER, ".beancount": Format.BEANCOUNT,
}  # fmt: skip
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", dir_okay=False, metavar="FILE",
        help="Write to this file instead of stdout, in the format of its suffix unless --format names one.",
    ),
]  # fmt: skip
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Exit with code 0 also where marks or rates are missing.")
]


def _day(text: str) -> str:
    return parsed_day(text).isoformat()


def _period(text: str) -> str:
    from api.statements.periods import period_of

    period_of(text)
    return text


def _close(text: str) -> str:
    from projections import calendar

    calendar.parsed_close(text)
    return text


def _zone(text: str) -> str:
    from projections import calendar

    return calendar.parsed_zone(text).key


def _equal(text: str) -> str:
    return "=".join(parsed_equals(text))


def _place(text: str) -> str:
    place_of(text, "known-at", now())
    return text


class Options(NamedTuple):
    """Every option, by the parameter it sets."""

    account_id: AnyAccount = None
    strategy_id: AnyStrategy = None
    instrument_id: AnyInstrument = None
    position_side: AnyLeg = None
    asset: Annotated[
        str | None,
        typer.Option("--asset", parser=read_by(parsed_asset), metavar="ASSET", help="Only this currency or contract."),
    ] = None
    day: Annotated[
        str | None, typer.Option("--day", parser=read_by(_day), metavar="DATE", help="Only this value date.")
    ] = None
    method: Annotated[CostBasis | None, typer.Option(help="Cost basis instead of the account's own.")] = None
    fee_policy: Annotated[FeePolicy | None, typer.Option(help="Fee policy instead of the account's own.")] = None
    mark: Marks = None
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many orders, the newest.")] = None
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="What to sum by, such as venue or account_id; may be repeated."),
    ] = None
    first: Annotated[
        str | None,
        typer.Option(
            "--from", parser=read_by(_day), metavar="DATE", help="The first day. Default: 29 before the last."
        ),
    ] = None
    last: Annotated[
        str | None, typer.Option("--to", parser=read_by(_day), metavar="DATE", help="Default: the present day.")
    ] = None
    close: Annotated[
        str | None,
        typer.Option(
            "--close", parser=read_by(_close), metavar="HH:MM[ ZONE]",
            help="When a day ends, such as '17:00 America/New_York'; default: 00:00, the end of the date in UTC.",
        ),
    ] = None  # fmt: skip
    currency: Annotated[
        str | None, typer.Option(parser=currency_option, metavar="CODE", help="Instead of the base currency.")
    ] = None
    capital: Annotated[
        Any, typer.Option(parser=number_option, metavar="AMOUNT", help="Capital that is not on record.")
    ] = None
    risk_free: Annotated[
        Any, typer.Option("--risk-free", parser=number_option, metavar="RATE", help="An annual rate, such as 0.04.")
    ] = None
    target: Annotated[
        Any,
        typer.Option(
            "--target", parser=number_option, metavar="RATE", help="The annual return below which there is a shortfall."
        ),
    ] = None
    equal: Annotated[
        list[str] | None,
        typer.Option(parser=read_by(_equal), metavar="USDT=USD", help="Currencies taken as equal; may be repeated."),
    ] = None
    mark_age_max: Annotated[
        int | None,
        typer.Option("--mark-age-max", min=1, help="Seconds; an older mark is not used. Default: a day, of an order's"
                     " arrival a minute."),
    ] = None  # fmt: skip
    since: Annotated[
        Any, typer.Option("--since", parser=time_option, metavar="TIME", help="Only disposals from this time on.")
    ] = None
    until: Annotated[
        Any, typer.Option("--until", parser=time_option, metavar="TIME", help="Only disposals before this time.")
    ] = None
    long_term_days: Annotated[
        int | None, typer.Option(min=0, help="Held for so many days of 24 hours is held for long; default: 365.")
    ] = None
    scope: Annotated[
        Scope | None,
        typer.Option(help="Whose lots a disposal uses: those of its ACCOUNT (the default) or of ALL accounts."),
    ] = None
    withdrawals: Annotated[
        Withdrawals | None,
        typer.Option(help="Coins withdrawn are REMOVED with their lots (the default) or DISPOSED of at market value."),
    ] = None
    year: Annotated[
        int | None, typer.Option("--year", min=2009, max=9998, help="Only disposals of this year, in --zone.")
    ] = None
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone", parser=read_by(_zone), metavar="ZONE", help="The zone of years, such as Europe/Berlin; else UTC."
        ),
    ] = None
    flow_mark_age_max: Annotated[
        int | None,
        typer.Option("--flow-mark-age-max", min=1, help="Seconds; at a flow of capital an older mark is not used."
                     " Default: an hour."),
    ] = None  # fmt: skip
    as_of: AsOf = None
    known_at: KnownAt = None
    restated_at: Annotated[
        Moment | None,
        typer.Option(parser=moment_option, metavar="SEQ|TIME", help="When it is known as restated, instead of now."),
    ] = None


UPTO_DAY = Annotated[
    str | None, typer.Option("--day", parser=read_by(_day), metavar="DATE", help="Up to and including this value date.")
]
CLOSING_DAY = Annotated[
    str, typer.Option("--day", parser=read_by(_day), metavar="YYYY-MM-DD", help="The date of the day's close.")
]
PERIOD = Annotated[
    str, typer.Argument(parser=read_by(_period), metavar="PERIOD", help="A day (2026-01-02) or a month (2026-01).")
]
REPORTED_AT = Annotated[
    str | None,
    typer.Option(
        "--known-at",
        parser=read_by(_place),
        metavar="SEQ|TIME|now",
        help="When it was reported; default: as the day ended.",
    ),
]
OTHERWISE: dict[tuple[str, str], tuple[str, Any, Any]] = {
    ("trial-balance", "day"): ("day", UPTO_DAY, None),
    ("restatement", "day"): ("day", CLOSING_DAY, Parameter.empty),
    ("restatement", "known_at"): ("known_at", REPORTED_AT, None),
    (STATEMENT, "day"): ("period", PERIOD, Parameter.empty),
    (STATEMENT, "account_id"): ("account", AccountId, Parameter.empty),
}
_EVERY = signature(Options).parameters


class Destination(NamedTuple):
    """How a report is written, and where."""

    form: Format
    output: Path | None
    allow_missing: bool


def signature_of(report: Report) -> Signature:
    """Return the options of a report as the parameters of its command."""
    taken = {
        name: OTHERWISE.get((report.name, name), (_flag(name), _EVERY[name].annotation, _EVERY[name].default))
        for name in report.parameters
    }
    taken["since_seq"] = ("since_seq", _since(), None)
    if len(report.parts) > 1:
        taken["part"] = ("part", _part(report), None)
    taken["format"] = ("format_", _format(report), None)
    taken["output"] = ("output", Output, None)
    taken["decimals"] = ("decimals", _decimals(), DECIMALS)
    taken["allow_missing"] = ("allow_missing", AllowMissing, False)
    taken["json"] = ("json", Json, False)
    return Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, annotation, default in taken.values()
        ]
    )


def _flag(name: str) -> str:
    return name.removesuffix("_id") if name.endswith("_id") else name


def _since() -> Any:
    return Annotated[
        int | None,
        typer.Option(
            "--since-seq", min=0, metavar="SEQ",
            help="Only what has changed since this place in the log; go on from the seq of the answer.",
        ),
    ]  # fmt: skip


def _part(report: Report) -> Any:
    names = "|".join(part.name for part in report.parts)
    return Annotated[
        str | None,
        typer.Option("--part", metavar=f"<{names}>", help="The table to write; CSV and Parquet have the first."),
    ]


def _format(report: Report) -> Any:
    about = "; hledger and beancount take whole accounts" if report.name == "journal" else ""
    return Annotated[Format | None, format_option(f"Output format{about}.", *report.formats)]


def _decimals() -> Any:
    return Annotated[
        int, typer.Option(min=0, max=38, help="Decimal places of numbers in Parquet, out of 38 digits in total.")
    ]


def moment_in(report: Report, given: dict[str, Any]) -> Moment | None:
    """Return the past moment that the options select; None for the present. Raises InvalidInput."""
    if "restated_at" in report.parameters:
        return given.get("restated_at")
    return moment_of(given.get("as_of"), given.get("known_at"))


def parameters_in(report: Report, given: dict[str, Any], moment: Moment | None) -> Parameters:
    """Return the parameters that the options select. Raises a usage error."""
    values: dict[str, Any] = {
        name: given.get(OTHERWISE.get((report.name, name), (_flag(name), None, None))[0]) for name in report.parameters
    }
    known_at = values.pop("known_at", None) if "restated_at" in report.parameters else None
    for name in ("as_of", "known_at", "restated_at"):
        values.pop(name, None)
    values["mark"] = tuple(f"{one.instrument_id}={decimal_text(one.price)}" for one in values.get("mark") or ())
    values["equal"] = tuple(values.get("equal") or ())
    values["by"] = tuple(values.get("by") or ())
    for name in values["by"]:
        if name not in report.groups:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(report.groups)}", param_hint="--by")
    part = given.get("part")
    if part is not None and part not in (known := [one.name for one in report.parts]):
        raise typer.BadParameter(f"{part!r} is none of {', '.join(known)}", param_hint="--part")
    values |= {"part": part, "since_seq": given["since_seq"], "decimals": given["decimals"], "known_at": known_at}
    return Parameters(**values, occurred_by=moment.occurred_by if moment else None)


def destination_in(report: Report, given: dict[str, Any], before: dict[str, Any]) -> Destination:
    """Return how and where to write; `before` are options given before the report's name. Raises a usage error."""
    outputs = [path for path in (before.get("output"), given["output"]) if path is not None]
    if len(outputs) > 1 and outputs[0] != outputs[1]:
        raise typer.BadParameter("it is given twice, before and after the report's name", param_hint="--output")
    output = outputs[-1] if outputs else None
    form: Format | None = given["format_"]
    if given["json"] or before.get("json"):
        form = Format.JSON
    if form is None and output is not None:
        form = SUFFIXES.get(output.suffix.lower())
        if form is not None and form not in report.formats:
            known = ", ".join(report.formats)
            raise typer.BadParameter(f"{output} would be {form}, and this report has {known}", param_hint="--output")
    if form in PLAIN_TEXT and any(given.get(name) for name in ("strategy", "instrument", "asset", "day")):
        raise typer.BadParameter(f"{form} takes whole accounts: select by --account alone")
    allow_missing = given["allow_missing"] or bool(before.get("allow_missing"))
    return Destination(form or Format.TABLE, output, allow_missing)

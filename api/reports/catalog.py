"""The catalog of reports: each report's parameters, parts and formats.

Commands, routes, formats and docs/reports.md are made from it. How a report's rows are read is in
`api.reports.contents`, what its columns mean in `api.reports.columns`.

A report is selected by name and parameters; together with its place in the log they are its `Digest`
(`api.reports.digest`), from which it can be reproduced. It has one or more parts: tables, of which CSV and Parquet hold
one, by default the first, and the other formats all.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from api.parameters import Format, Where
from api.problems import not_found
from domain.account import CostBasis, FeePolicy
from domain.holdings.gains import Scope, Withdrawals

DECIMALS = 18
STATEMENT = "statement"
ROWS = (Format.TABLE, Format.JSON, Format.CSV, Format.PARQUET)
LAID_OUT = (Format.HTML, Format.PDF)
PLAIN_TEXT = (Format.HLEDGER, Format.BEANCOUNT)
MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.HTML: "text/html; charset=utf-8",
    Format.PDF: "application/pdf",
    Format.HLEDGER: "text/plain; charset=utf-8",
    Format.BEANCOUNT: "text/plain; charset=utf-8",
}
CHANGE = "change"
SET, REMOVED = "set", "removed"


class Parameters(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The parameters of a report, as its digest has them.

    `mark` are INSTRUMENT=PRICE; `day` is a date, of a statement also a month. `since` and `until` bound the time of
    disposals, `year` in `zone` selects those of one year, `long_term_days` is how long a lot is held for long. `scope`
    is whose lots a disposal of a coin uses, `withdrawals` what withdrawals of coins are. `occurred_by`: positions,
    lots, gains, PnL and exposure of only what had happened by that time. `first` and `last` are the days of an
    analysis. `known_at` is when a restated day was reported, a time or a place in the log. `since_seq`: only what has
    changed since that place.
    """

    account_id: str | None = None
    strategy_id: str | None = None
    instrument_id: str | None = None
    position_side: str | None = None
    asset: str | None = None
    day: str | None = None
    method: CostBasis | None = None
    fee_policy: FeePolicy | None = None
    mark: tuple[str, ...] = ()
    limit: int | None = None
    decimals: int = DECIMALS
    occurred_by: datetime | None = None
    by: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    close: str | None = None
    currency: str | None = None
    capital: Decimal | None = None
    risk_free: Decimal | None = None
    target: Decimal | None = None
    equal: tuple[str, ...] = ()
    mark_age_max: int | None = None
    known_at: str | None = None
    part: str | None = None
    since_seq: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    long_term_days: int | None = None
    flow_mark_age_max: int | None = None
    scope: Scope | None = None
    withdrawals: Withdrawals | None = None
    year: int | None = None
    zone: str | None = None

    @property
    def where(self) -> Where:
        """The positions selected."""
        return Where(self.account_id, self.strategy_id, self.instrument_id, self.position_side)


class Part(NamedTuple):
    """One table of a report. `key` are the columns that identify a row.

    A part without a key is written whole also where only changes are requested: it replaces what was before. The rows
    of a `is_marked` one depend on marks, which change without the log. An `is_single` part has one row, whose columns
    are members of the JSON object itself.
    """

    name: str
    title: str
    key: tuple[str, ...] = ()
    is_marked: bool = False
    is_single: bool = False


class Report(NamedTuple):
    """One kind of report. `parameters` are those it takes besides format, destination and the moment it is of.

    `is_recorded` ones can be read as of a past moment. `is_valued` ones depend on marks, or on conversion rates made of
    them. `groups` are the columns that `by` may name, `grouped_by` those without it.
    """

    name: str
    title: str
    summary: str
    models: tuple[str, ...]
    parameters: tuple[str, ...]
    parts: tuple[Part, ...]
    formats: tuple[Format, ...] = ROWS
    is_valued: bool = False
    groups: tuple[str, ...] = ()
    grouped_by: tuple[str, ...] = ()

    @property
    def occurs(self) -> bool:
        """Whether it can be of only what had happened by a moment."""
        return {"as_of", "known_at"} <= set(self.parameters)

    @property
    def is_dated(self) -> bool:
        """Whether it is of a range of days, by default up to the present one."""
        return "last" in self.parameters

    def part(self, name: str | None) -> Part:
        """Return a part by name, the first without one. Raises Problem."""
        found = next((one for one in self.parts if name in (None, one.name)), None)
        if found is None:
            known = ", ".join(one.name for one in self.parts)
            raise not_found(f"a part {name!r} of the report {self.name} (there are {known})", part=name)
        return found


WHICH = ("account_id", "strategy_id", "instrument_id", "position_side")
COST = ("method", "fee_policy")
DAYS = ("first", "last", "close")
WORTH = ("currency", "capital")
VALUED = ("equal", "mark_age_max")
AS_OF, AS_OCCURRED = ("as_of",), ("as_of", "known_at")
CUTS = ("account_id", "strategy_id", "venue", "asset", "instrument_id", "position_side")
DAILY_GROUPS = ("account_id", "strategy_id", "instrument_id", "position_side", "venue", "base")
QUALITY_GROUPS = ("account_id", "strategy_id", "instrument_id", "position_side", "venue", "day")
MATCH = ("exec_id", "line")

_REPORTS = (
    Report(
        "pnl",
        "PnL",
        "Show the PnL of positions: realized, and unrealized at the newest or given marks; and what cash earned.",
        models=("positions", "references", "capital"),
        parameters=(*WHICH, *COST, "mark", *AS_OCCURRED),
        parts=(Part("items", "PnL", (*WHICH, "settle"), True), Part("totals", "Total", ("settle",), True)),
        is_valued=True,
    ),
    Report(
        "exposure",
        "Exposure",
        "Show the exposure of what is held, by position and coin, at the newest or given marks.",
        models=("positions", "references", "capital", "balances"),
        parameters=(*WHICH, "mark", *AS_OCCURRED),
        parts=(
            Part("items", "Exposure", (*WHICH, "venue", "base"), True),
            Part("totals", "Total", ("quote",), True),
            Part("uncounted", "Cash, not counted", ("account_id", "strategy_id", "venue", "asset"), True),
        ),
        is_valued=True,
    ),
    Report(
        "positions",
        "Positions",
        "Show positions: quantity, average price, cost, and realized PnL.",
        models=("positions",),
        parameters=(*WHICH, *COST, *AS_OCCURRED),
        parts=(Part("items", "Positions", WHICH),),
    ),
    Report(
        "balances",
        "Balances",
        "Show balances by account, venue and asset: total, held by pending transfers, and available.",
        models=("balances",),
        parameters=("account_id", "asset", *AS_OF),
        parts=(Part("items", "Balances", ("account_id", "venue", "asset")),),
    ),
    Report(
        "daily-balances",
        "Daily balances",
        "Show what balances opened and closed each day with, and what moved them, by kind. Days are value dates.",
        models=("journal",),
        parameters=("account_id", "asset", "first", "last", *AS_OF),
        parts=(Part("items", "Daily balances", ("day", "account_id", "asset")),),
    ),
    Report(
        "journal",
        "Journal",
        "Show the double-entry journal, one row a line, in the order of the log.",
        models=("journal",),
        parameters=(*WHICH, "asset", "day", *AS_OF),
        parts=(Part("items", "Journal", ("entry_seq", "part", "line")),),
        formats=(*ROWS, *PLAIN_TEXT),
    ),
    Report(
        "trial-balance",
        "Trial balance",
        "Show debit, credit and balance of every ledger account. The balances of each asset sum to zero.",
        models=("journal",),
        parameters=("account_id", "asset", "day", *AS_OF),
        parts=(Part("items", "Trial balance", ("account_id", "account", "asset")), Part("totals", "Total", ("asset",))),
    ),
    Report(
        "blotter",
        "Blotter",
        "Show orders with their status and fills, newest first.",
        models=("orders",),
        parameters=(*WHICH, "limit", *AS_OF),
        parts=(Part("items", "Blotter", ("account_id", "cl_ord_id")),),
    ),
    Report(
        "executions",
        "Executions",
        "Show executions: trades and transfers, the newest booking first.",
        models=("executions",),
        parameters=(*WHICH, *AS_OF),
        parts=(Part("items", "Executions", (*WHICH, "exec_id", "cl_ord_id", "entry")),),
    ),
    Report(
        "risk",
        "Limits",
        "Show every limit: status, used, headroom and whether it is breached, at the newest marks.",
        models=("limits", "shadow_limits"),
        parameters=(*WHICH, *AS_OF),
        parts=(Part("items", "Limits"),),
        is_valued=True,
    ),
    Report(
        "lots",
        "Open lots",
        "Show open lots. Accounts with AVERAGE cost have none unless recosted.",
        models=("lots", "positions"),
        parameters=(*WHICH, *COST, *AS_OCCURRED),
        parts=(Part("items", "Open lots", (*WHICH, "lot_id")),),
    ),
    Report(
        "matches",
        "Matches",
        "Show disposals and the lots they consumed: acquired when, held how long, proceeds, cost and gain."
        " Accounts with AVERAGE cost have none unless recosted.",
        models=("lots", "positions", "executions"),
        parameters=(*WHICH, *COST, "since", "until", "long_term_days", *AS_OCCURRED),
        parts=(Part("items", "Matches", (*WHICH, *MATCH)),),
    ),
    Report(
        "gains",
        "Gains",
        "Show every disposal of a coin with the lots it used up: acquired when, held how long, cost, proceeds and gain"
        " in one currency at the rates of their moments; totals by year, income, derivatives, what is left.",
        models=("executions", "coins", "references"),
        parameters=(
            "account_id",
            "asset",
            *COST,
            "scope",
            "withdrawals",
            "year",
            "zone",
            "since",
            "until",
            "long_term_days",
            "currency",
            *VALUED,
            *AS_OCCURRED,
        ),
        parts=(
            Part("items", "Disposals", ("account_id", "coin", "instrument_id", "reference", "kind", "line"), True),
            Part("totals", "By year, coin and term", ("year", "account_id", "coin", "term"), True),
            Part("years", "By year", ("year",), True),
            Part("income", "Income", is_marked=True),
            Part("derivatives", "Derivatives", is_marked=True),
            Part("left", "Lots left", is_marked=True),
            Part("removed", "Withdrawn", is_marked=True),
            Part("coins", "Coins", ("account_id", "coin"), True),
        ),
        is_valued=True,
    ),
    Report(
        "daily",
        "Daily PnL",
        "Show PnL by day, in settlement currency and in the account's base currency.",
        models=("daily", "capital", "references"),
        parameters=(*WHICH, *DAYS, "by", *VALUED, *AS_OF),
        parts=(
            Part("items", "Daily PnL", ("day", *DAILY_GROUPS, "settle", "base_currency"), True),
            Part("totals", "In all", ("settle", "base_currency"), True),
            Part("rates", "Rates", ("day", "from_currency", "to_currency"), True),
        ),
        is_valued=True,
        groups=DAILY_GROUPS,
        grouped_by=WHICH,
    ),
    Report(
        "equity",
        "Equity",
        "Show the equity of an account, or of all together, at each close, and the return of each day.",
        models=("daily", "capital", "references"),
        parameters=("account_id", *DAYS, *WORTH, *VALUED, *AS_OF),
        parts=(Part("items", "Equity", ("day",), True),),
        is_valued=True,
    ),
    Report(
        "reconciliation",
        "Reconciliation of equity",
        "Show what leads from the equity of one close to the next: trading PnL, the revaluation of coins held"
        " otherwise, cash income and charges, and flows.",
        models=("daily", "capital", "references"),
        parameters=("account_id", *DAYS, "currency", *VALUED, *AS_OF),
        parts=(Part("items", "Reconciliation", ("day",), True), Part("totals", "In all", ("currency",), True)),
        is_valued=True,
    ),
    Report(
        "nav",
        "Net asset value",
        "Show net asset value at each close and now, and the time-weighted return, valued at each flow of capital."
        " Where a mark is lacking at a flow, the return around it is modified Dietz.",
        models=("daily", "capital", "references"),
        parameters=("account_id", *DAYS, *WORTH, *VALUED, "flow_mark_age_max", *AS_OF),
        parts=(Part("items", "Net asset value", ("day",), True),),
        is_valued=True,
    ),
    Report(
        "statistics",
        "Statistics",
        "Show return, volatility, Sharpe, Sortino, drawdown and value at risk of the daily returns, 365 a year.",
        models=("daily", "capital", "references"),
        parameters=("account_id", *DAYS, *WORTH, "risk_free", "target", *VALUED, *AS_OF),
        parts=(
            Part("figures", "Statistics", is_single=True),
            Part("losses", "Possible loss of a day", ("level",), True),
        ),
        is_valued=True,
    ),
    Report(
        "quality",
        "Execution quality",
        "Show what orders cost against the mark at their arrival, how far and how fast they were filled.",
        models=("orders", "executions"),
        parameters=(*WHICH, *DAYS, "by", "mark_age_max", *AS_OF),
        parts=(
            Part("items", "Execution quality", ("account_id", "cl_ord_id")),
            Part("totals", "In all", (*QUALITY_GROUPS, "quote"), True),
        ),
        is_valued=True,
        groups=QUALITY_GROUPS,
    ),
    Report(
        "leverage",
        "Risk",
        "Show exposure by asset in one currency, leverage, concentration, and every limit with its headroom.",
        models=("positions", "limits", "shadow_limits", "daily", "capital", "references", "balances"),
        parameters=(*WHICH, *WORTH, "by", "mark", *VALUED, *AS_OF),
        parts=(
            Part("figures", "Risk", is_single=True),
            Part("exposure", "Exposure", CUTS, True),
            Part("limits", "Limits"),
            Part("positions", "Holdings", (*WHICH, "venue", "asset"), True),
        ),
        is_valued=True,
        groups=CUTS,
        grouped_by=("asset",),
    ),
    Report(
        "restatement",
        "Restatement",
        "Show a day's PnL as it was reported, as it is known now, and which late fills,"
        " busts or prices differ. It was reported as the day ended, or as known at --known-at. The items sum to the"
        " difference exactly.",
        models=("positions", "executions"),
        parameters=(*WHICH, "day", "close", "known_at", "restated_at"),
        parts=(
            Part("items", "Causes of the difference"),
            Part("positions", "PnL of the day", (*WHICH, "settle"), True),
            Part("totals", "In all", ("settle",), True),
        ),
        is_valued=True,
    ),
    Report(
        STATEMENT,
        "Statement",
        "Write the statement of an account for a day or month: balances, result, positions, entries, charts.",
        models=("journal", "positions", "balances", "executions"),
        parameters=("account_id", "day", "mark", *AS_OF),
        parts=(
            Part("balances", "Balances", ("venue", "asset")),
            Part("result", "Result", ("asset",)),
            Part("by_instrument", "Result by instrument", ("instrument_id", "asset")),
            Part(
                "positions", "Positions at the end", ("strategy_id", "instrument_id", "position_side", "settle"), True
            ),
            Part("entries", "Entries"),
        ),
        formats=(*ROWS, *LAID_OUT),
        is_valued=True,
    ),
)
REPORTS = {report.name: report for report in _REPORTS}


def report_of(name: str) -> Report:
    """Return the report of a name. Raises Problem."""
    known = REPORTS.get(name)
    if known is None:
        raise not_found(f"a report {name!r} (there are {', '.join(REPORTS)})", report=name)
    return known


def formats_over_http(report: Report) -> tuple[Format, ...]:
    """Return the formats of a report that have a media type, the default first."""
    formats = [form for form in report.formats if form is not Format.TABLE]
    return tuple(sorted(formats, key=LAID_OUT.__contains__, reverse=True)) if report.name == STATEMENT else (*formats,)

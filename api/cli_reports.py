"""`daybook report` and `daybook replay`: what the book says, now or as it was recorded at a past moment."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.asked import Moment, Where, moment_of
from api.cli_output import Column, Format, Formats, Json, Kind, note, say, write_csv, write_json, write_table
from api.cli_parts import AccountId, AnyAccount, AnyInstrument, AnyStrategy, AsOf, KnownAt, Marks, opened, read
from api.wire import time_text
from domain.account import CostBasis, FeePolicy
from domain.values import Mark

if TYPE_CHECKING:
    from api.reading import Reading
    from projections.tables import Row

report = typer.Typer(name="report", help="What the book says, now or at a past moment.", no_args_is_help=True)

OF_POSITIONS = ("positions", "executions")
Method = Annotated[CostBasis | None, typer.Option("--method", help="Cost basis instead of the account's own.")]
Fees = Annotated[FeePolicy | None, typer.Option("--fee-policy", help="Instead of the account's own.")]

WHOSE = (Column("account_id", "Account", rank=3), Column("strategy_id", "Strategy", rank=2))
INSTRUMENT = Column("instrument_id", "Instrument")
HELD = (Column("quantity", "Quantity", Kind.NUMBER), Column("avg_px", "Avg price", Kind.NUMBER, 4))
POSITIONS = (
    *WHOSE, INSTRUMENT, *HELD, Column("cost", "Cost", Kind.NUMBER), Column("realized", "Realized", Kind.PNL),
    Column("fees", "Fees", rank=1), Column("funding", "Funding", Kind.PNL, 9), Column("settle", "In"),
    Column("cost_basis", "Basis", rank=5),
)  # fmt: skip
PNL = (
    *WHOSE, INSTRUMENT, Column("quantity", "Quantity", Kind.NUMBER, 1), Column("mark", "Mark", Kind.NUMBER, 1),
    Column("realized", "Realized", Kind.PNL), Column("unrealized", "Unrealized", Kind.PNL),
    Column("funding", "Funding", Kind.PNL, 9), Column("fees_settle", "Fees", Kind.NUMBER),
    Column("fee_cost", "Fee cost", Kind.NUMBER, 9), Column("other_fees", "Other fees", rank=9),
    Column("net", "Net", Kind.PNL), Column("settle", "In"),
)  # fmt: skip
PNL_TOTALS = (
    Column("settle", "In"), Column("realized", "Realized", Kind.PNL), Column("unrealized", "Unrealized", Kind.PNL),
    Column("funding", "Funding", Kind.PNL, 9), Column("fees_settle", "Fees", Kind.NUMBER),
    Column("fee_cost", "Fee cost", Kind.NUMBER, 9), Column("net", "Net", Kind.PNL),
)  # fmt: skip
EXPOSURE = (
    *WHOSE, INSTRUMENT, Column("quantity", "Quantity", Kind.NUMBER), Column("mark", "Mark", Kind.NUMBER, 1),
    Column("notional", "Notional", Kind.PNL), Column("quote", "In"),
)  # fmt: skip
EXPOSURE_TOTALS = (
    Column("quote", "In"), Column("gross", "Gross", Kind.NUMBER), Column("net", "Net", Kind.PNL),
    Column("missing_marks", "No mark for", rank=9),
)  # fmt: skip
LOTS = (
    *WHOSE, INSTRUMENT, Column("lot_id", "Lot", rank=1), Column("opened_at", "Opened", Kind.TIME),
    Column("opened_quantity", "Of quantity", Kind.NUMBER, 4), Column("quantity", "Open", Kind.NUMBER),
    Column("cost", "Cost", Kind.NUMBER),
)  # fmt: skip
MATCHES = (
    *WHOSE, INSTRUMENT, Column("disposed_at", "Disposed", Kind.TIME, 1), Column("exec_id", "By", rank=4),
    Column("lot_id", "Lot", rank=1), Column("quantity", "Quantity", Kind.NUMBER), Column("cost", "Cost", Kind.NUMBER),
    Column("gain", "Gain", Kind.PNL),
)  # fmt: skip
ORDERS = (
    *WHOSE, Column("cl_ord_id", "Order"), INSTRUMENT, Column("side", "Side"), Column("ord_type", "Type", rank=5),
    Column("order_qty", "Quantity", Kind.NUMBER), Column("price", "Price", Kind.NUMBER, 1),
    Column("status", "Status"), Column("cum_qty", "Filled", Kind.NUMBER), Column("avg_px", "Avg price", Kind.NUMBER, 4),
    Column("rule", "Refused by", rank=9),
)  # fmt: skip


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
    format_: Formats = Format.TABLE,
    json: Json = False,
) -> None:
    """What positions have gained: realized, and at the newest or given marks."""
    from api.recosting import Conventions
    from api.views import pnl_of
    from projections import pnl as pnls

    conventions = Conventions(method, fee_policy)
    moment = moment_of(as_of, known_at)
    with opened() as book, read(book, *OF_POSITIONS, moment=moment) as at:
        rows = pnl_of(book, at, Where(account, strategy, instrument), _by_instrument(mark), conventions)
    shown = _Shown("PnL", at, moment, _format(format_, json))
    shown.write(rows, PNL, totals=pnls.totals(rows, ()), totals_columns=PNL_TOTALS)
    _tell_missing(rows, shown)


@report.command()
def positions(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    method: Method = None,
    fee_policy: Fees = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    format_: Formats = Format.TABLE,
    json: Json = False,
) -> None:
    """What is held, what it cost and what it has realized."""
    from api.recosting import Conventions
    from api.views import positions_of

    conventions = Conventions(method, fee_policy)
    moment = moment_of(as_of, known_at)
    with opened() as book, read(book, *OF_POSITIONS, moment=moment) as at:
        rows = positions_of(at, Where(account, strategy, instrument), conventions)
    _Shown("Positions", at, moment, _format(format_, json)).write(rows, POSITIONS)


@report.command()
def exposure(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    mark: Marks = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    format_: Formats = Format.TABLE,
    json: Json = False,
) -> None:
    """How large open positions are at the newest or given marks."""
    from api.views import exposure_of
    from projections import exposure as exposures

    moment = moment_of(as_of, known_at)
    with opened() as book, read(book, *OF_POSITIONS, moment=moment) as at:
        rows = exposure_of(book, at, Where(account, strategy, instrument), _by_instrument(mark))
    shown = _Shown("Exposure", at, moment, _format(format_, json))
    shown.write(rows, EXPOSURE, totals=exposures.totals(rows, ()), totals_columns=EXPOSURE_TOTALS)
    _tell_missing(rows, shown)


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
    format_: Formats = Format.TABLE,
    json: Json = False,
) -> None:
    """Open lots, or which disposal used up how much of which lot. An account under AVERAGE has none of its own."""
    from api.recosting import Conventions
    from api.views import lots_of

    moment = moment_of(as_of, known_at)
    with opened() as book, read(book, "lots", *OF_POSITIONS, moment=moment) as at:
        found = lots_of(at, Where(account, strategy, instrument), Conventions(method, fee_policy))
    shown = _Shown("Matches" if matches else "Open lots", at, moment, _format(format_, json))
    if shown.format is Format.JSON:
        shown.write_json(items=found.opened, matches=found.matched)
    else:
        shown.write(found.matched if matches else found.opened, MATCHES if matches else LOTS)


@report.command()
def orders(
    account: AnyAccount = None,
    strategy: AnyStrategy = None,
    instrument: AnyInstrument = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    as_of: AsOf = None,
    format_: Formats = Format.TABLE,
    json: Json = False,
) -> None:
    """Orders and how they fare, the newest first."""
    from projections import orders as blotter

    with opened() as book, read(book, "orders", moment=as_of) as at:
        rows = blotter.blotter(at.source, **Where(account, strategy, instrument)._asdict(), limit=limit)
    _Shown("Orders", at, as_of, _format(format_, json)).write(rows, ORDERS)


def replay(account: AccountId, as_of: AsOf = None, mark: Marks = None, json: Json = False) -> None:
    """What the book knew of an account at a moment: its positions, PnL and orders, and the log then.

    Replays the log through the very folds that the read models use. As recorded: what arrived later is not in it.
    """
    from api.reading import replayed
    from api.views import pnl_of
    from projections import orders as blotter
    from projections import pnl as pnls

    with opened() as book:
        head = book.log.head()
        at = replayed(book, "positions", "orders", moment=as_of or Moment(seq=head.seq))
        rows = pnl_of(book, at, Where(account), _by_instrument(mark))
        found = blotter.blotter(at.source, account_id=account, limit=None)
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


class _Shown:
    """A report as it is to be written."""

    def __init__(self, title: str, at: "Reading", moment: Moment | None, format_: Format) -> None:
        self.format = format_
        self._name = title.lower().replace(" ", "_")
        self._title = f"{title} at seq {at.seq:,}" if moment is None else f"{title} as recorded up to seq {at.seq:,}"
        if at.occurred_by is not None:
            self._title += f", as occurred by {time_text(at.occurred_by)}"
        self._at = at

    def write(
        self,
        rows: "list[Row]",
        columns: Sequence[Column],
        *,
        totals: "list[Row] | None" = None,
        totals_columns: Sequence[Column] = (),
    ) -> None:
        match self.format:
            case Format.JSON:
                self.write_json(items=rows, **({"totals": totals} if totals is not None else {}))
            case Format.CSV:
                write_csv(rows, list(rows[0]) if rows else [column.name for column in columns])
            case Format.TABLE:
                write_table(self._title, rows, columns, empty=f"{self._title}: none.")
                if totals:
                    write_table("In all", totals, totals_columns, empty="")

    def write_json(self, **members: Any) -> None:
        write_json(
            {
                "report": self._name,
                "seq": self._at.seq,
                "recorded_at": self._at.recorded_at,
                "occurred_by": self._at.occurred_by,
                **members,
            }
        )


def _format(format_: Format, json: bool) -> Format:
    return Format.JSON if json else format_


def _by_instrument(marks: list[Mark] | None) -> dict[str, Mark]:
    return {mark.instrument_id: mark for mark in marks or []}


def _tell_missing(rows: "list[Row]", shown: _Shown) -> None:
    if shown.format is not Format.TABLE:
        return
    held = [row for row in rows if row["quantity"]]
    if missing := sorted({row["instrument_id"] for row in held if row["mark"] is None}):
        note(f"No mark is known for {', '.join(missing)}: give one with --mark {missing[0]}=PRICE")
    if stale := sorted({row["instrument_id"] for row in held if row["is_mark_stale"]}):
        note(f"The mark of {', '.join(stale)} is older than DAYBOOK_MARK_AGE_SECONDS_MAX")

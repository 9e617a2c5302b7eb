"""The types of rows: columns and types are the tables' own, and every row that a query returns fits its type."""

import random
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints, is_typeddict

import pytest
import sqlalchemy as sa

from adapters.log.memory import MemoryLog
from adapters.log.postgres import PostgresLog
from domain.account import CostBasis, Costing, Indicator, Leg, RequestTransfer, SettleTransfer
from domain.instrument import Contract, Kind
from domain.ledger import EventLog, scan
from domain.position import PositionEvent
from domain.values import ONE, Mark, Money
from projections import calendar
from projections.analytics import daily_pnl, equity, execution_quality, explanation, exposure, pnl
from projections.analytics.closing import Closing, closing
from projections.analytics.conversion import RateRow
from projections.analytics.valuation import mark_of
from projections.calendar import MIDNIGHT
from projections.models import (
    balances,
    breaks,
    capital_flows,
    daily_sums,
    executions,
    journal,
    limits,
    lots,
    orders,
    positions,
    positions_occurred,
)
from projections.runner.runner import Runner, as_of
from projections.storage.rows import MemoryRows, Source
from projections.storage.tables import ITEMS, Amounts
from tests.desk import BTC, CONTRACTS, PERP, T0, Desk, mark

SEED = 20260302
STEPS = 300
FIFO = Costing(CostBasis.FIFO)
PAIRS = {
    BTC: CONTRACTS[BTC],
    "USDUSDT.SIM": Contract(Kind.SPOT, "USD", "USDT", "USDT"),
    "BNBUSDT.SIM": Contract(Kind.SPOT, "BNB", "USDT", "USDT"),
}
MARKS = {name: mark(name, "100") for name in (BTC, PERP, *PAIRS)}
DAYS = calendar.days(MIDNIGHT, date(2026, 2, 27), date(2026, 3, 3))
LINE_COLUMNS = ("account", "asset", "debit", "credit")
BALANCE_COLUMNS = ("account", "debit", "credit", "balance")


class Shape(NamedTuple):
    """A row's type: the table it is read from, columns that are not returned, and columns that are computed.

    A column of the table that is computed too is returned in another form.
    """

    row: type
    table: sa.Table
    hidden: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()


POSITION_HIDDEN = positions.BOOKKEEPING
SHAPES = (
    Shape(balances.BalanceRow, balances.balances_table, computed=("available",)),
    Shape(balances.PendingTransferRow, balances.pending_table),
    Shape(breaks.BreakRow, breaks.breaks_table),
    Shape(capital_flows.CashFlowRow, capital_flows.cash),
    Shape(capital_flows.QuantityFlowRow, capital_flows.moved),
    Shape(daily_sums.DailySumRow, daily_sums.totals_table, hidden=("moved",), computed=("day",)),
    Shape(daily_sums.RestatedRow, daily_sums.restated, computed=("occurred_from",)),
    Shape(executions.TradeRow, executions.executions),
    Shape(journal.EntryColumns, journal.entries_table, hidden=("lines",)),
    Shape(journal.StoredEntryRow, journal.entries_table, computed=("lines",)),
    Shape(journal.JournalEntryRow, journal.entries_table, computed=("lines",)),
    Shape(journal.JournalLineRow, journal.entries_table, hidden=("lines",), computed=("line", "amount", *LINE_COLUMNS)),
    Shape(journal.TurnoverRow, journal.turnover_table, hidden=("sums",), computed=("account", "debit", "credit")),
    Shape(journal.LedgerRow, journal.ledger_table, hidden=("sums",), computed=BALANCE_COLUMNS),
    Shape(
        limits.LimitRow,
        limits.limits,
        computed=(
            *limits.SCOPE, "scope", "limit", "position", "held_buy", "held_sell", "used", "utilisation", "breached_at",
            "status", "would_refuse",
        ),
    ),
    Shape(limits.BreachRow, limits.breaches_table, computed=limits.SCOPE),
    Shape(limits.SwitchRow, limits.switches_table, computed=limits.SCOPE),
    Shape(lots.LotRow, lots.lots_table),
    Shape(lots.MatchRow, lots.matches_table),
    Shape(lots.RecostedLotRow, lots.lots_table, hidden=("seq",)),
    Shape(lots.RecostedMatchRow, lots.matches_table, hidden=("seq",)),
    Shape(orders.StoredOrderRow, orders.orders),
    Shape(orders.OrderRow, orders.orders, computed=("avg_px",)),
    Shape(positions.PositionRow, positions.positions_table, hidden=POSITION_HIDDEN, computed=("avg_px",)),
    Shape(
        pnl.PnlRow,
        positions.positions_table,
        hidden=POSITION_HIDDEN,
        computed=(
            "avg_px", "venue", "mark", "mark_source", "mark_at", "mark_quality", "mark_age_ms", "is_mark_stale",
            "value", "unrealized", "fees_settle", "other_fees", "net",
        ),
    ),
)  # fmt: skip


def type_of(column: sa.Column[Any]) -> Any:
    """The type that a column's values have in Python."""
    match column.type:
        case Amounts():
            type_: Any = dict[str, Decimal]
        case sa.Numeric():
            type_ = Decimal
        case sa.Boolean():
            type_ = bool
        case sa.BigInteger():
            type_ = int
        case sa.DateTime():
            type_ = datetime
        case sa.Text():
            type_ = str
        case _:
            type_ = list[Any] if column.type is ITEMS else dict[str, Any]
    return type_ | None if column.nullable else type_


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.row.__name__)
def test_a_row_type_has_the_columns_of_its_table_and_the_computed_ones(shape: Shape) -> None:
    hints = get_type_hints(shape.row)
    stored = {column.name: type_of(column) for column in shape.table.columns if column.name not in shape.hidden}
    assert hints.keys() == stored.keys() | set(shape.computed)
    own = {name: type_ for name, type_ in stored.items() if name not in shape.computed}
    assert {name: hints[name] for name in own} == own
    assert shape.row.__doc__ not in (None, "", dict.__doc__), "says its units"


def fits(value: Any, type_: Any) -> bool:
    """Whether a value is of a type, to the last column of every row in it."""
    if type_ is Any:
        return True
    if is_typeddict(type_):
        return misfits(value, type_) == {}
    origin, args = get_origin(type_), get_args(type_)
    if origin is list:
        return isinstance(value, list) and all(fits(item, args[0]) for item in value)
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, args[0]) for item in value)
    if origin is dict:
        return isinstance(value, Mapping) and all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if args:
        return any(fits(value, one) for one in args)
    return isinstance(value, type_) and (type_ is bool or not isinstance(value, bool))


def misfits(row: Mapping[str, Any], type_: Any) -> dict[str, Any]:
    """The columns of a row that are missing, that its type does not have, or whose value is of another type."""
    hints = get_type_hints(type_)
    odd = dict.fromkeys(type_.__required_keys__ - row.keys(), "missing")
    odd |= dict.fromkeys(row.keys() - hints.keys(), "unknown")
    return odd | {name: value for name, value in row.items() if name in hints and not fits(value, hints[name])}


def check(rows: Iterable[Mapping[str, Any]], type_: Any) -> None:
    """Every row fits its type, and is a plain dict; there is one at least."""
    found = list(rows)
    assert found, f"no row of {type_.__name__} to look at"
    for row in found:
        assert misfits(row, type_) == {}, type_.__name__
        assert type(row) is dict, "rows are plain dicts"


def lived(log: EventLog) -> Desk:
    """A desk after a long random day with everything in it."""
    chance = random.Random(SEED)
    desk = Desk(log, FIFO)
    usdt = Money(Decimal(500), "USDT")
    desk.report(SettleTransfer("main", Leg("T-8", Indicator.CREDIT, usdt), T0))
    desk.request(RequestTransfer("main", Leg("T-9", Indicator.DEBIT, usdt), T0))
    desk.live([tuple(chance.randrange(30) for _ in range(5)) for _ in range(STEPS)])
    return desk


def at_closes() -> list[Closing]:
    marks = {name: Mark(name, Decimal(100), "SIM", T0) for name in MARKS}
    return [closing(at, marks, PAIRS, timedelta(days=999)) for at in DAYS.bounds]


def check_models(source: Source) -> None:
    entries = journal.entries(source)
    check(balances.balances(source), balances.BalanceRow)
    check(balances.pending_transfers(source), balances.PendingTransferRow)
    check(breaks.breaks(source), breaks.BreakRow)
    check(capital_flows.cash_of(source, None, 10**6), capital_flows.CashFlowRow)
    check(capital_flows.moved_of(source), capital_flows.QuantityFlowRow)
    check(daily_sums.sums(source, MIDNIGHT, DAYS.bounds), daily_sums.DailySumRow)
    check(daily_sums.restatements(source), daily_sums.RestatedRow)
    check(executions.trades(source), executions.TradeRow)
    check(entries, journal.JournalEntryRow)
    check(journal.stored_entries(source, "main", entries[0]["value_date"]), journal.StoredEntryRow)
    check(journal.lines_of(entries), journal.JournalLineRow)
    check(journal.ledger(source), journal.LedgerRow)
    check(journal.turnover(source, "main"), journal.TurnoverRow)
    for upto in (None, "2026-03-02"):
        trial = journal.trial_balance(source, upto=upto)
        check(trial, journal.TrialBalanceRow)
        check(journal.totals(trial), journal.AssetTotalRow)
    check(limits.utilisation(source), limits.LimitRow)
    check(limits.breaches(source), limits.BreachRow)
    check(limits.switches(source), limits.SwitchRow)
    check(lots.open_lots(source), lots.LotRow)
    check(lots.matches(source), lots.MatchRow)
    check(orders.blotter(source), orders.OrderRow)
    check(positions.positions(source), positions.PositionRow)
    key = {name: executions.trades(source)[0][name] for name in lots.POSITION}
    trades = executions.history(source, **key)
    check(trades, executions.TradeRow)
    matched, opened, _ = lots.recosted(trades, FIFO)
    check(opened, lots.RecostedLotRow)
    check(matched, lots.RecostedMatchRow)


def check_analytics(rows: MemoryRows, log: EventLog) -> None:
    held = positions.positions(rows)
    valued = pnl.pnl(rows, marks=MARKS)
    cash: list[exposure.CashRow] = [{"account_id": "main", "venue": "", "asset": "BTC", "quantity": ONE, "seq": 1}]
    pricing = exposure.Pricing(MARKS, bases={"main": "USDT", "hedge": "USD"})
    sizes = exposure.exposure(held, cash, pricing)
    check(exposure.uncounted(held, cash, pricing), exposure.CoinRow)
    check(valued, pnl.PnlRow)
    check(pnl.totals(valued, ("account_id", "base")), pnl.PnlTotal)
    check(sizes, exposure.ExposureRow)
    check(exposure.totals(sizes, ("venue",)), exposure.ExposureTotal)
    close = at_closes()[-1]
    sized = exposure.holdings(held, cash, close, "USDT", pricing.bases)
    check(sized, exposure.SizedRow)
    check(exposure.cut(sized, ("strategy_id", "asset")), exposure.ExposureCut)
    check([exposure.concentration(sized)], exposure.Concentration)
    check(map(exposure.with_headroom, limits.utilisation(rows)), exposure.HeadroomRow)

    sums = daily_sums.sums(rows, MIDNIGHT, DAYS.bounds)
    daily = daily_pnl.daily_pnl(sums, DAYS, at_closes(), {"main": "USDT", "hedge": "USD"})
    check(daily, daily_pnl.DailyPnlRow)
    check(daily_pnl.breakdown(daily, ("account_id", "venue")), daily_pnl.DailyPnlTotal)
    check(daily_pnl.breakdown(daily, (), is_by_day=False), daily_pnl.DailyPnlTotal)
    check(daily_pnl.rates(daily, at_closes()), daily_pnl.DailyRateRow)
    check([close.rates.rate("BTC", "USD").as_row(), close.rates.rate("BTC", "XYZ").as_row()], RateRow)
    inputs = equity.EquityInputs(sums, capital_flows.cash_of(rows), capital_flows.moved_of(rows))
    check(equity.curve(inputs, DAYS, at_closes(), "USDT", Decimal(1000)), equity.EquityPoint)

    sent = execution_quality.orders_between(rows, T0 - timedelta(days=1), T0 + timedelta(days=9))
    check(sent, orders.StoredOrderRow)
    fills = execution_quality.fills_of(rows, sent)
    measured = [
        execution_quality.measured(one, fills.get((one["account_id"], one["cl_ord_id"])), MARKS[BTC], MIDNIGHT)
        for one in sent
    ]
    check(measured, execution_quality.QualityRow)
    check(execution_quality.grouped(measured, ("day", "venue")), execution_quality.QualityTotal)

    events = [logged.recorded.event for logged in scan(log)]
    check((explanation.facts(one) for one in events if isinstance(one, PositionEvent)), explanation.EventFacts)
    for row in held:
        if (at := mark_of(row, MARKS)) is not None and row["quantity"]:
            place = {name: row[name] for name in lots.POSITION}
            worth = explanation.valued(row, lots.open_lots(rows, **place), at)
            assert all(fits(lot, explanation.ValuedLot) for lot in worth.lots)
            assert worth.pooled is None or fits(worth.pooled, explanation.ValuedPart)


def test_every_row_of_a_replay_fits_its_type() -> None:
    desk = lived(MemoryLog())
    rows = as_of(desk.log)
    check_models(rows)
    check_analytics(rows, desk.log)


def test_every_row_of_the_database_fits_its_type(log: PostgresLog, projector: sa.Engine) -> None:
    lived(log)
    Runner(log, projector).catch_up()
    with projector.connect() as connection:
        check_models(connection)
        check(positions_occurred.positions(connection, T0 + timedelta(minutes=20)), positions.PositionRow)
        check(execution_quality.orders_between(connection, T0, T0 + timedelta(days=9)), orders.StoredOrderRow)

"""What SQL says positions and accounts are worth is what Daybook says."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import psycopg
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from domain.instrument import Contract, Kind, ListInstrument
from domain.values import Mark, Money, Side
from projections.analytics import pnl
from projections.analytics.closing import is_future
from projections.models import balances, positions
from projections.runner.runner import Runner, as_of
from tests.desk import BTC, CONTRACTS, PERP, T0, Desk, fill
from tests.marks import recording
from tests.projections.analytics.test_equity import deposit

INVERSE = "BTCUSD.SIM"
PRICES = {BTC: D("123.45"), PERP: D(131), INVERSE: D(70001)}


def test_positions_and_net_assets_are_those_of_the_read_models_at_the_marks(
    log: PostgresLog, projector: sa.Engine, database_url: str
) -> None:
    desk = Desk(log)
    contract = Contract(Kind.INVERSE, "BTC", "USD", "BTC", contract_size=D(100))
    desk.request(ListInstrument(INVERSE, contract, D("0.1"), D(1)))
    desk.report(deposit("D", "5000", T0 - timedelta(days=1)))
    desk.report(fill("E1", Side.BUY, "3", "100", 1, fee=Money(D("0.3"), "USDT")))
    desk.report(fill("E2", Side.SELL, "1", "110", 2))
    desk.report(fill("E3", Side.SELL, "2", "120", 3, instrument_id=PERP))
    desk.report(fill("E4", Side.BUY, "7", "65000", 4, instrument_id=INVERSE, fee=Money(D("0.0001"), "BTC")))
    Runner(log, projector).catch_up()
    columns = "account_id, strategy_id, instrument_id, mark, value, unrealized"
    query = f"SELECT {columns} FROM v1.position_values ORDER BY 1, 2, 3"
    net = "SELECT asset, balance, open_value, net_assets, without_mark FROM v1.net_assets WHERE account_id = 'main'"
    with psycopg.connect(database_url, autocommit=True) as reader, recording(database_url) as store:
        unvalued = {row[0]: row[3:] for row in reader.execute(net)}
        assert (unvalued["USDT"][1], unvalued["BTC"]) == (0, (None, 2))
        for name, price in PRICES.items():
            store.record([Mark(name, price, "test", datetime.now(UTC))])
        shown: list[Any] = reader.execute(query.encode()).fetchall()
        assets = {row[0]: row[1:] for row in reader.execute(net)}
    memory = as_of(log)
    rows = [
        pnl.valued(row, Mark(row["instrument_id"], PRICES[row["instrument_id"]], "test", T0))
        for row in positions.positions(memory)
    ]
    assert {tuple(row) for row in shown} == {
        (*(row[name] for name in ("account_id", "strategy_id", "instrument_id", "mark", "value", "unrealized")),)
        for row in rows
    }
    assert set(CONTRACTS) >= {BTC, PERP}
    worth: dict[str, D] = defaultdict(D)
    for balance in balances.balances(memory, account_id="main"):
        worth[balance["asset"]] += balance["total"]
    for row in rows:
        if is_future(row) and row["unrealized"] is not None:
            worth[row["settle"] or ""] += row["unrealized"]
    assert {asset: figures[2] for asset, figures in assets.items()} == worth
    assert all(figures[3] == 0 and figures[0] + figures[1] == figures[2] for figures in assets.values())

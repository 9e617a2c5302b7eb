"""Layouts: every header is recognised as its own, and rows of each kind say what they should."""

import json
import time
from pathlib import Path

import pytest

from adapters.exchanges.files.layout import Layout
from adapters.exchanges.layouts.catalog import catalog
from domain.account import BookEntry, ChargeFee, ConvertMoney, EntryKind, SettleTransfer
from domain.order import OrderAccepted, OrderFilled, OrderReplaced
from domain.position import SettleFunding
from tests.adapters.exchanges.files.reads import read

LAYOUTS = catalog().layouts


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("form", [str, str.upper, str.lower, lambda header: f" {header} "])
def test_a_header_is_recognised_as_its_own(layout: Layout, form: object) -> None:
    match = catalog().match([form(header) for header in layout.header])  # type: ignore[operator]
    assert match is not None
    assert match.layout is layout
    assert set(match.columns) >= set(layout.columns)


def test_all_layouts_are_tried_within_fifty_milliseconds() -> None:
    known = catalog()
    assert len(known.every) >= 44
    header = ["nothing", "of", "what", "is", "known", "amount", "time"]
    best = min(_elapsed(lambda: [known.match(header), known.match(header[::-1])]) for _ in range(5))
    assert best < 0.05


def _elapsed(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


ROWS = {
    "Binance spot trades": (
        ("Date(UTC),Pair,Side,Price,Executed,Amount,Fee\n"
        '2026-01-05 10:00:00,BTCUSDT,BUY,"61,200.00",0.0500000000BTC,"3,060.00000000USDT",0.0000500000BTC\n'),
        {"BTC": "0.04995", "USDT": "-3060"}, 1,
    ),
    "Binance spot trades (before 2021)": (
        ("Date(UTC),Market,Type,Price,Amount,Total,Fee,Fee Coin\n"
        "2020-02-04 16:19:07,LTCBTC,BUY,0.0075,1.6,0.012,0.0016,LTC\n"),
        {"LTC": "1.5984", "BTC": "-0.012"}, 1,
    ),
    "Binance statement": (
        ("User_ID,UTC_Time,Account,Operation,Coin,Change,Remark\n"
        "1,2026-01-02 09:05:00,Spot,Transaction Spend,EUR,-300,\n"
        "1,2026-01-02 09:05:00,Spot,Transaction Buy,ZRX,1000,\n"
        "1,2026-01-02 09:05:00,Spot,Transaction Fee,BNB,-1E-8,\n"
        "1,2026-01-03 00:00:00,Spot,Something New,ZRX,2\n"
        "1,2026-01-03 00:00:00,Spot,Small Assets Exchange BNB,ZRX,-0.5,\n"
        "1,2026-01-03 00:00:00,Spot,Small Assets Exchange BNB,BNB,0.001,\n"),
        {"EUR": "-300", "ZRX": "1001.5", "BNB": "0.00099999"}, 6,
    ),
    "Binance futures trades": (
        ("Date(UTC),Symbol,Side,Price,Quantity,Amount,Fee,Realized Profit,Quote Asset\n"
        "2026-01-05 10:00:00,BTCUSDT,BUY,60000,0.01,600,-0.24,0,USDT\n"),
        {"USDT": "-0.24"}, 1,
    ),
    "Binance futures transactions": (
        ("Date(UTC),type,Amount,Asset,Symbol,Transaction ID\n"
        "2026-01-05 08:00:00,FUNDING_FEE,-0.05,USDT,BTCUSDT,1\n"
        "2026-01-05 09:00:00,TRANSFER,100,USDT,,2\n"
        "2026-01-05 16:00:00,FUNDING_FEE,0.000001,BTC,BTCUSD_PERP,3\n"),
        {"USDT": "99.95", "BTC": "0.000001"}, 3,
    ),
    "Kraken ledgers": (
        ("txid,refid,time,type,subtype,aclass,asset,amount,fee,balance\n"
        "L1,D1,2026-01-01 00:00:00,deposit,,currency,ZEUR,1000,0,1000\n"
        ",D1,2026-01-01 00:00:00,deposit,,currency,ZEUR,1000,0,\n"
        "L2,T1,2026-01-02 00:00:00.123,trade,,currency,ZEUR,-600,0.96,399.04\n"
        "L3,T1,2026-01-02 00:00:00.123,trade,,currency,XXBT,0.01,0,0.01\n"
        "L4,S1,2026-01-03 00:00:00,staking,,currency,DOT.S,0.5,0,0.5\n"),
        {"EUR": "399.04", "BTC": "0.01", "DOT": "0.5"}, 5,
    ),
    "Coinbase Pro account": (
        ("portfolio,type,time,amount,balance,amount/balance unit,transfer id,trade id,order id\n"
        "default,deposit,2026-01-01T10:00:00.000Z,2.5,2.5,BTC,d1,,\n"
        "default,match,2026-01-02T10:00:00.000Z,52.3,52.3,ETH,,7,o1\n"
        "default,match,2026-01-02T10:00:00.000Z,-1.14732,1.35268,BTC,,7,o1\n"
        "default,fee,2026-01-02T10:00:00.000Z,-0.00344196,1.34923804,BTC,,7,o1\n"),
        {"BTC": "1.34923804", "ETH": "52.3"}, 4,
    ),
    "Bybit transaction log": (
        ("Uid,Currency,Contract,Type,Direction,Quantity,Position,Filled Price,Funding,Fee Paid,Cash Flow,Change,"
        "Wallet Balance,Action,Time(UTC)\n"
        "1,BTC,BTCEUR,TRADE,BUY,0.0001,0,50000,0,-0.0000001,0.0001,0.0000999,0.0000999,--,2026-06-05 08:22:20\n"
        "1,EUR,BTCEUR,TRADE,BUY,-5,0,50000,0,0,-5,-5,95,--,2026-06-05 08:22:20\n"
        "1,USDT,ETHUSDT,TRADE,SELL,-0.5,-0.5,2400,0,-0.6,0,-0.6,10,--,2026-06-05 09:00:00\n"
        "1,USDT,ETHUSDT,SETTLEMENT,--,0.5,0.5,2400,-0.01,0,0,-0.01,9.99,--,2026-06-05 16:00:00\n"),
        {"BTC": "0.0000999", "EUR": "-5", "USDT": "-0.61"}, 4,
    ),
    "OKX trading history": (
        ("id,Order id,Time,Trade Type,Symbol,Action,Amount,Trading Unit,Filled Price,PnL,Fee,Fee Unit,Position Change,"
        "Position Balance,Balance Change,Balance,Balance Unit\n"
        "1,9,2026-01-05 10:00:00,Spot,BTC-USDT,Buy,0.01,BTC,60000,0,-0.00001,BTC,0,0,0.00999,0.00999,BTC\n"
        "2,9,2026-01-05 10:00:00,Spot,BTC-USDT,Sell,0.01,BTC,60000,0,0,USDT,0,0,-600,400,USDT\n"
        "3,10,2026-01-05 11:00:00,Perpetual,BTC-USDT-SWAP,Open long,5,cont,60000,0,-1.5,USDT,5,5,-1.5,398.5,USDT\n"),
        {"BTC": "0.00999", "USDT": "-601.5"}, 3,
    ),
    "Bitfinex ledger": (
        ("#,DESCRIPTION,CURRENCY,AMOUNT,BALANCE,DATE,WALLET\n"
        "1,Deposit (BITCOIN) #5 on wallet exchange,BTC,0.5,0.5,03-02-26 10:00:00,exchange\n"),
        {"BTC": "0.5"}, 1,
    ),
    "HTX spot trades": (
        ("uid,symbol,deal_type,order_type,account_type,price,volume,amount,fee_amount,fee_currency,fee_point_currency,"
        "fee_point_volume,deal_time\n"
        "1,SOL/USDT,sell,web,spot,24.000000000000000000,60,1440,2.88,usdt,,,2026-01-03 14:29:46\n"),
        {"SOL": "-60", "USDT": "1437.12"}, 1,
    ),
    "Hyperliquid trades": (
        ("time,coin,dir,px,sz,ntl,fee,closedPnl\n"
        "25/09/2025 - 13:33:06,HYPE/USDC,Buy,42,20,840,0.5,-0.5\n"
        "03/09/2025 - 13:33:06,BTC,Open Short,100000,0.002,200,0.02,-0.02\n"),
        {"HYPE": "20", "USDC": "-840.52"}, 2,
    ),
    "Crypto.com app": (
        ("Timestamp (UTC),Transaction Description,Currency,Amount,To Currency,To Amount,Native Currency,Native Amount,"
        "Native Amount (in USD),Transaction Kind\n"
        "2026-01-01 00:00:00,CRO Stake Rewards,CRO,2.5,,,EUR,0.2,0.2,mco_stake_reward\n"
        "2026-01-02 00:00:00,BTC -> ETH,BTC,-0.1,ETH,2,EUR,6000,6500,crypto_exchange\n"),
        {"CRO": "2.5", "BTC": "-0.1", "ETH": "2"}, 2,
    ),
    "Koinly": (
        ("Koinly Date,Sent Amount,Sent Currency,Received Amount,Received Currency,Fee Amount,Fee Currency,"
            "Label,Description\n"
        "2026-01-01 00:00 UTC,600,EUR,0.01,BTC,1,EUR,,bought\n"
        "2026-01-02 00:00 UTC,,,0.5,DOT,,,reward,\n"),
        {"EUR": "-601", "BTC": "0.01", "DOT": "0.5"}, 2,
    ),
    "CoinTracking": (
        ('"Type","Buy","Cur.","Sell","Cur.","Fee","Cur.","Exchange","Group","Comment","Date"\n'
        '"Trade","0.01","BTC","600","EUR","1","EUR","Kraken","","","05.01.2026 10:00:00"\n'),
        {"BTC": "0.01", "EUR": "-601"}, 1,
    ),
    "Daybook trades": (
        ("time,instrument,side,qty,price,fee,fee_asset,id\n"
        "2026-01-01T00:00:00Z,BTC-EUR.KRAKEN,buy,0.01,60000,1,EUR,t1\n"),
        {"BTC": "0.01", "EUR": "-601"}, 1,
    ),
    "Daybook movements": (
        ("time,kind,asset,amount,fee,id,note\n"
        "2026-01-01T00:00:00Z,deposit,EUR,1000,,d1,\n2026-01-02T00:00:00Z,withdrawal,EUR,-100,1,w1,to the bank\n"),
        {"EUR": "899"}, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_a_layout_change_what_they_should(name: str, tmp_path: Path) -> None:
    content, changes, rows = ROWS[name]
    found = read(tmp_path / "export.csv", content)
    assert [str(one.error) for one in found.unreadable] == []
    assert (found.layout, found.changes, found.rows) == (name, changes, rows)
    assert found.balances.parted is None


def test_what_belongs_together_is_one_report(tmp_path: Path) -> None:
    statement = read(tmp_path / "statement.csv", ROWS["Binance statement"][0])
    fill, *_ = [one for one in statement.booked if isinstance(one.report, OrderFilled)]
    assert len(fill.sources) == 3, "two legs and the fee"
    assert isinstance(fill.report, OrderFilled)
    assert (fill.report.instrument_id, f"{fill.report.last_px:f}") == ("ZRXEUR.BINANCE", "0.3")
    assert [type(one) for one in statement.reports].count(ConvertMoney) == 1
    entry = next(one for one in statement.reports if isinstance(one, BookEntry))
    assert (entry.kind, entry.reason) == (EntryKind.ADJUSTMENT, "Something New")


def test_a_ledger_and_the_trades_of_a_venue_say_a_trade_once(tmp_path: Path) -> None:
    trades = read(
        tmp_path / "trades.csv",
        "txid,ordertxid,pair,time,type,ordertype,price,cost,fee,vol\n"
        "T1,O1,XXBTZEUR,2026-01-02 00:00:00.123,buy,limit,60000,600,0.96,0.01\n",
    )
    ledger = read(tmp_path / "ledgers.csv", ROWS["Kraken ledgers"][0])
    of_both = [next(one for one in found.reports if isinstance(one, OrderFilled)) for found in (trades, ledger)]
    assert (
        len({(one.exec_id, one.side, one.last_qty, one.last_px, one.commissions, one.transact_time) for one in of_both})
        == 1
    )


def test_a_file_of_trades_and_the_statement_have_one_id_for_one_fill(tmp_path: Path) -> None:
    trades = read(
        tmp_path / "trades.csv",
        "Date(UTC),Pair,Side,Price,Executed,Amount,Fee\n"
        "2026-01-02 09:05:00,ZRXEUR,BUY,0.3,1000ZRX,300EUR,0.00000001BNB\n",
    )
    statement = read(tmp_path / "statement.csv", ROWS["Binance statement"][0])
    assert trades.reports[0] == next(one for one in statement.reports if isinstance(one, OrderFilled))


def test_equal_lines_are_two_fills_with_ids_that_stay(tmp_path: Path) -> None:
    header, line = ROWS["Binance spot trades"][0].splitlines()
    once = read(tmp_path / "one.csv", f"{header}\n{line}\n")
    twice = read(tmp_path / "two.csv", f"{header}\n{line}\n{line}\n")
    ids = [one.exec_id for one in twice.reports if isinstance(one, OrderFilled)]
    assert len(set(ids)) == 2
    assert once.reports[0] in twice.reports


def test_movements_are_transfers_fees_and_entries(tmp_path: Path) -> None:
    found = read(tmp_path / "m.csv", ROWS["Daybook movements"][0] + "2026-01-03T00:00:00Z,fee,EUR,-2,,f1,custody\n")
    deposit, withdrawal, fee = found.reports
    assert isinstance(deposit, SettleTransfer)
    assert isinstance(withdrawal, SettleTransfer)
    assert withdrawal.leg.fee is not None
    assert isinstance(fee, ChargeFee)


def test_funding_is_of_its_perpetual(tmp_path: Path) -> None:
    found = read(tmp_path / "f.csv", ROWS["Binance futures transactions"][0])
    paid = [one for one in found.reports if isinstance(one, SettleFunding)]
    assert [one.key.instrument_id for one in paid] == ["BTCUSDT.BINANCEUSDM", "BTCUSD_PERP.BINANCECOINM"]


def test_a_row_that_failed_moves_nothing(tmp_path: Path) -> None:
    content = (
        "Date(UTC),Coin,Network,Amount,Fee,Address,TXID,Status\n"
        "2026-01-01 00:00:00,BTC,BTC,0.1,0.0001,bc1,x,Completed\n2026-01-01 00:00:00,BTC,BTC,0.2,0.0001,bc1,y,Failed\n"
    )
    found = read(tmp_path / "w.csv", content)
    assert (found.changes, len(found.skipped)) == ({"BTC": "-0.1001"}, 1)


def test_the_first_row_whose_balance_is_another_is_named(tmp_path: Path) -> None:
    wrong = ROWS["Kraken ledgers"][0].replace("399.04\n", "399.05\n")
    parted = read(tmp_path / "l.csv", wrong).balances.parted
    assert parted is not None
    assert (parted.line, parted.asset, f"{parted.file:f}", f"{parted.book:f}") == (4, "EUR", "399.05", "399.04")


def test_a_leg_without_the_other_is_kept_with_the_reason(tmp_path: Path) -> None:
    lines = ROWS["Kraken ledgers"][0].splitlines()
    found = read(tmp_path / "cut.csv", "\n".join([*lines[:4], ""]))
    (kept,) = found.unreadable
    assert "the other leg of this trade" in str(kept.error)
    assert found.changes["EUR"] == "399.04", "as the file says it"


DROP_COPY = (
    "8=FIX.4.4|9=175|35=8|34=2|49=VENUE|56=DESK|37=V1|11=A-1|17=E1|150=0|39=0|55=BTC-USD|54=1|38=2|60=20260112-10:00:00.1",
    (
        "8=FIX.4.4|9=200|35=8|34=3|49=VENUE|56=DESK|37=V1|11=A-1|17=E2|150=F|39=1|55=BTC-USD|54=1|32=1|31=79990.5|12=8|479=USD"
        "|136=1|137=0.5|138=USDC|139=7|60=20260112-10:00:00.200"
    ),
    (
        "8=FIX.4.4|9=200|35=8|34=4|49=VENUE|56=DESK|37=V1|11=A-2|41=A-1|17=E3|150=5|39=5|55=BTC-USD|54=1|38=3|44=79950"
        "|60=20260112-10:00:00.3"
    ),
    "8=FIX.4.4|9=60|35=0|34=5|49=VENUE|56=DESK",
)


def summed(message: str, sign: str) -> str:
    body = message.replace("|", "\x01") + "\x01"
    return body.replace("\x01", sign) + f"10={sum(body.encode()) % 256:03}{sign}"


@pytest.mark.parametrize("sign", ["\x01", "|"])
def test_a_drop_copy_has_orders_and_fills_with_all_fees(tmp_path: Path, sign: str) -> None:
    lines = [summed(message, sign) for message in DROP_COPY]
    found = read(tmp_path / "drop.log", "\n".join([*lines, lines[1].replace("32=1", "32=9"), ""]))
    accepted, fill, replaced = found.reports
    assert isinstance(fill, OrderFilled)
    assert (fill.instrument_id, fill.key.cl_ord_id) == ("BTC-USD.VENUE", "A-1")
    assert [f"{fee.amount:f} {fee.currency}" for fee in fill.commissions] == ["8 USD", "0.5 USDC"]
    assert isinstance(accepted, OrderAccepted)
    assert isinstance(replaced, OrderReplaced)
    assert (replaced.key.cl_ord_id, replaced.requested_as) == ("A-1", "A-2")
    assert len(found.skipped) == 1, "a heartbeat"
    (spoiled,) = found.unreadable
    assert "is not the sum of the message" in str(spoiled.error)


def test_numbers_of_floats_are_exact_by_the_raw_answer_beside_them(tmp_path: Path) -> None:
    item = {
        "id": "1", "timestamp": 1767398400000, "symbol": "BTC/USDT:USDT", "side": "buy", "price": 80000.1,
        "amount": 0.1,
        "fees": [{"cost": 4.0000050000000002, "currency": "USDT"}], "info": {"execFee": "4.000005"},
    }  # fmt: skip
    text = json.dumps([item, item | {"id": "2", "symbol": "ONE/BTC", "price": 3.8e-07}], indent=1)
    text = text.replace("4.000005,", "4.0000050000000002,")
    future, spot = [one for one in read(tmp_path / "t.json", text).reports if isinstance(one, OrderFilled)]
    assert (future.instrument_id, f"{future.commission.amount:f}") == ("BTC/USDT:USDT.BYBIT", "4.000005")
    assert f"{spot.last_px:f}" == "0.00000038"

"""How venues write what happened: a header line and a row, or several, for each event.

Headers are those of files that people share in public reports; nothing here is taken from how Daybook reads them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from tests.scenarios.exports.truth import Cash, Happened, Trade

Rows = Sequence[Sequence[str]]
USDT_PAIRS = (("BTC", "USDT"), ("1INCH", "USDT"), ("ETH", "BTC"))
EURO_PAIRS = (("BTC", "EUR"), ("ETH", "EUR"), ("ADA", "USD"))


class Writer(NamedTuple):
    """A kind of file. `above` are lines above the header; `is_summed` files say what moved, not what was traded."""

    name: str
    header: Sequence[str]
    rows: Callable[[Happened], Rows]
    pairs: Sequence[tuple[str, str]] = USDT_PAIRS
    fees: Sequence[str] = ("received",)
    third: str = ""
    has_cash: bool = False
    above: Sequence[str] = ()
    is_newest_first: bool = False


def clock(at: datetime, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return at.strftime(form)


def plain(number: Decimal, places: int = 0) -> str:
    """A number without an exponent, with at least so many places."""
    text = f"{number:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}" if fraction or places else whole


def _side(trade: Trade, words: tuple[str, str]) -> str:
    return words[0] if trade.is_buy else words[1]


def _trade(each: Happened) -> Trade:
    assert isinstance(each, Trade)
    return each


def binance_spot(each: Happened) -> Rows:
    """Units are glued to numbers, which have fixed places."""
    trade = _trade(each)
    return [[
        clock(trade.at), trade.base + trade.quote, _side(trade, ("BUY", "SELL")), plain(trade.price, 10),
        plain(trade.quantity, 10) + trade.base, plain(trade.value, 8) + trade.quote,
        plain(trade.fee, 10) + trade.fee_asset,
    ]]  # fmt: skip


def binance_before_2021(each: Happened) -> Rows:
    trade = _trade(each)
    return [[
        clock(trade.at), trade.base + trade.quote, _side(trade, ("BUY", "SELL")), plain(trade.price),
        plain(trade.quantity), plain(trade.value), plain(trade.fee), trade.fee_asset,
    ]]  # fmt: skip


def binance_statement(each: Happened) -> Rows:
    """Every movement has a line of its own, with the time of the trade."""

    def line(operation: str, coin: str, change: Decimal) -> list[str]:
        return ["1000001", clock(each.at), "Spot", operation, coin, plain(change, 8), ""]

    if isinstance(each, Cash):
        word = "Deposit" if each.amount > 0 else "Withdraw"
        return [line(word, each.asset, each.amount), *([line("Fee", each.asset, -each.fee)] if each.fee else [])]
    got, gave = (each.base, each.quantity), (each.quote, each.value)
    if not each.is_buy:
        got, gave = gave, got
    rows = [line("Transaction Buy" if each.is_buy else "Transaction Revenue", *got)]
    rows.append(line("Transaction Spend" if each.is_buy else "Transaction Sold", gave[0], -gave[1]))
    return [*rows, *([line("Transaction Fee", each.fee_asset, -each.fee)] if each.fee else [])]


KRAKEN = {"BTC": "XXBT", "ETH": "XETH", "EUR": "ZEUR", "USD": "ZUSD"}


def kraken_trades(each: Happened) -> Rows:
    trade = _trade(each)
    pair = KRAKEN.get(trade.base, trade.base) + (KRAKEN if trade.base in KRAKEN else {}).get(trade.quote, trade.quote)
    return [[
        f"TAAAAA-BBBBB-C{trade.number:05}", f"OAAAAA-BBBBB-C{trade.number:05}", pair, clock(trade.at) + ".1234",
        _side(trade, ("buy", "sell")), "limit", plain(trade.price, 5), plain(trade.value, 5), plain(trade.fee, 5),
        plain(trade.quantity, 8), "0.00000", "", f"LAAAAA-BBBBB-C{trade.number:05},LAAAAA-BBBBB-D{trade.number:05}",
    ]]  # fmt: skip


def kraken_ledgers(each: Happened) -> Rows:
    """A trade is two lines of one reference, the fee of one of them beside its amount."""

    def line(letter: str, kind: str, asset: str, amount: Decimal, fee: Decimal) -> list[str]:
        number = f"LAAAAA-BBBBB-{letter}{each.number:05}"
        reference = f"{'TR'[isinstance(each, Cash)]}AAAAA-BBBBB-C{each.number:05}"
        name = KRAKEN.get(asset, asset)
        return [
            number,
            reference,
            clock(each.at) + ".1234",
            kind,
            "",
            "currency",
            name,
            plain(amount, 8),
            plain(fee, 8),
            "",
        ]

    if isinstance(each, Cash):
        kind = "deposit" if each.amount > 0 else "withdrawal"
        return [line("C", kind, each.asset, each.amount, each.fee)]
    sign = 1 if each.is_buy else -1
    is_of_base = each.fee_asset == each.base
    return [
        line("C", "trade", each.quote, -sign * each.value, Decimal() if is_of_base else each.fee),
        line("D", "trade", each.base, sign * each.quantity, each.fee if is_of_base else Decimal()),
    ]


def coinbase_fills(each: Happened) -> Rows:
    trade = _trade(each)
    sign = -1 if trade.is_buy else 1
    return [[
        "default", str(trade.number), f"{trade.base}-{trade.quote}", _side(trade, ("BUY", "SELL")),
        clock(trade.at, "%Y-%m-%dT%H:%M:%S.123Z"), plain(trade.quantity), trade.base, plain(trade.price),
        plain(trade.fee), plain(sign * trade.value - trade.fee), trade.quote,
    ]]  # fmt: skip


def coinbase_account(each: Happened) -> Rows:
    """The lines of one trade share its id; running balances are left empty here."""

    def line(kind: str, asset: str, amount: Decimal, trade: str) -> list[str]:
        transfer = "" if trade else f"a1b2c3d4-0000-0000-0000-{each.number:012}"
        order = f"b2c3d4e5-0000-0000-0000-{each.number:012}" if trade else ""
        at = clock(each.at, "%Y-%m-%dT%H:%M:%S.123Z")
        return ["default", kind, at, plain(amount), "", asset, transfer, trade, order]

    if isinstance(each, Cash):
        return [line("deposit" if each.amount > 0 else "withdrawal", each.asset, each.amount - each.fee, "")]
    sign = 1 if each.is_buy else -1
    rows = [
        line("match", each.base, sign * each.quantity, str(each.number)),
        line("match", each.quote, -sign * each.value, str(each.number)),
    ]
    return [*rows, *([line("fee", each.fee_asset, -each.fee, str(each.number))] if each.fee else [])]


def bitstamp(each: Happened) -> Rows:
    """Times have the month as a word, and amounts their currency behind them."""
    at = each.at.replace(second=0).strftime("%b. %d, %Y, %I:%M %p")
    if isinstance(each, Cash):
        kind = "Deposit" if each.amount > 0 else "Withdrawal"
        fee = f"{plain(each.fee, 8)} {each.asset}" if each.fee else ""
        return [[kind, at, "Main Account", f"{plain(abs(each.amount), 8)} {each.asset}", "", "", fee, ""]]
    return [[
        "Market", at, "Main Account", f"{plain(each.quantity, 8)} {each.base}", f"{plain(each.value)} {each.quote}",
        f"{plain(each.price)} {each.quote}", f"{plain(each.fee)} {each.fee_asset}" if each.fee else "",
        _side(each, ("Buy", "Sell")),
    ]]  # fmt: skip


def bitfinex(each: Happened) -> Rows:
    """Amounts and fees have signs: what was sold and what was paid is below zero."""
    trade = _trade(each)
    quantity = trade.quantity if trade.is_buy else -trade.quantity
    return [[
        str(900_000_000 + trade.number), f"{trade.base}/{trade.quote}", plain(quantity), plain(trade.price),
        plain(-trade.fee), "0.2%", trade.fee_asset, clock(trade.at, "%d-%m-%y %H:%M:%S"), str(trade.number),
    ]]  # fmt: skip


def kucoin(each: Happened) -> Rows:
    """Times are those of the zone that the header names."""
    trade = _trade(each)
    return [[
        "****0001", "mainAccount", f"o{trade.number}", f"{trade.base}-{trade.quote}", _side(trade, ("BUY", "SELL")),
        "MARKET", plain(trade.price), plain(trade.quantity), plain(trade.value), plain(trade.value),
        clock(trade.at + timedelta(hours=8)), plain(trade.fee), "TAKER", trade.fee_asset,
    ]]  # fmt: skip


def rotki(each: Happened) -> Rows:
    trade = _trade(each)
    gave, got = (trade.quote, trade.value), (trade.base, trade.quantity)
    if not trade.is_buy:
        gave, got = got, gave
    fee = [plain(trade.fee), trade.fee_asset] if trade.fee else ["", ""]
    milliseconds = str(int(trade.at.timestamp()) * 1000)
    return [["kraken", gave[0], got[0], plain(got[1]), plain(gave[1]), *fee, f"Trade {trade.number}", milliseconds]]


def koinly(each: Happened) -> Rows:
    at, fee = clock(each.at, "%Y-%m-%d %H:%M:%S UTC"), ["", ""]
    if isinstance(each, Cash):
        money = [plain(abs(each.amount)), each.asset]
        sent, got = (["", ""], money) if each.amount > 0 else (money, ["", ""])
        fee = [plain(each.fee), each.asset] if each.fee else fee
    else:
        base, quote = [plain(each.quantity), each.base], [plain(each.value), each.quote]
        sent, got = (quote, base) if each.is_buy else (base, quote)
        fee = [plain(each.fee), each.fee_asset] if each.fee else fee
    return [[at, *sent, *got, *fee, "", "", "", "", f"0x{each.number:064x}"]]


def cointracking(each: Happened) -> Rows:
    at = clock(each.at, "%d.%m.%Y %H:%M:%S")
    if isinstance(each, Cash):
        money, none = [plain(abs(each.amount)), each.asset], ["", ""]
        kind, sides = ("Deposit", [*money, *none]) if each.amount > 0 else ("Withdrawal", [*none, *money])
        fee = [plain(each.fee), each.asset] if each.fee else none
    else:
        base, quote = [plain(each.quantity), each.base], [plain(each.value), each.quote]
        kind, sides = "Trade", [*base, *quote] if each.is_buy else [*quote, *base]
        fee = [plain(each.fee), each.fee_asset] if each.fee else ["", ""]
    return [[kind, *sides, *fee, "Kraken", "", f"number {each.number}", at, f"tx{each.number}"]]


def bybit_transaction_log(each: Happened) -> Rows:
    """One line for each asset that a trade moved; the fee is that of its line, and below zero."""
    trade = _trade(each)

    def line(asset: str, amount: Decimal, fee: Decimal) -> list[str]:
        direction = _side(trade, ("BUY", "SELL"))
        return [
            "100000001", asset, trade.base + trade.quote, "TRADE", direction, plain(amount, 20), plain(Decimal(), 20),
            plain(trade.price, 20), plain(Decimal(), 20), plain(-fee, 20), plain(amount, 20), plain(amount - fee, 20),
            plain(Decimal(), 20), "--", clock(trade.at),
        ]  # fmt: skip

    sign = 1 if trade.is_buy else -1
    base_fee = trade.fee if trade.fee_asset == trade.base else Decimal()
    quote_fee = trade.fee if trade.fee_asset == trade.quote else Decimal()
    return [line(trade.base, sign * trade.quantity, base_fee), line(trade.quote, -sign * trade.value, quote_fee)]


WRITERS = (
    Writer(
        "Binance spot trades", ("Date(UTC)", "Pair", "Side", "Price", "Executed", "Amount", "Fee"),
        binance_spot, fees=("received", "third"), third="BNB", is_newest_first=True,
    ),
    Writer(
        "Binance spot trades (before 2021)",
        ("Date(UTC)", "Market", "Type", "Price", "Amount", "Total", "Fee", "Fee Coin"),
        binance_before_2021, fees=("received", "third"), third="BNB", is_newest_first=True,
    ),
    Writer(
        "Binance statement", ("User_ID", "UTC_Time", "Account", "Operation", "Coin", "Change", "Remark"),
        binance_statement, fees=("received", "third"), third="BNB", has_cash=True,
    ),
    Writer(
        "Kraken trades",
        ("txid", "ordertxid", "pair", "time", "type", "ordertype", "price", "cost", "fee", "vol", "margin", "misc",
         "ledgers"),
        kraken_trades, pairs=EURO_PAIRS, fees=("quote",),
    ),
    Writer(
        "Kraken ledgers",
        ("txid", "refid", "time", "type", "subtype", "aclass", "asset", "amount", "fee", "balance"),
        kraken_ledgers, pairs=EURO_PAIRS, fees=("base", "quote"), has_cash=True,
    ),
    Writer(
        "Coinbase fills",
        ("portfolio", "trade id", "product", "side", "created at", "size", "size unit", "price", "fee", "total",
         "price/fee/total unit"),
        coinbase_fills, pairs=EURO_PAIRS, fees=("quote",),
    ),
    Writer(
        "Coinbase Pro account",
        ("portfolio", "type", "time", "amount", "balance", "amount/balance unit", "transfer id", "trade id",
         "order id"),
        coinbase_account, pairs=EURO_PAIRS, fees=("quote",), has_cash=True,
    ),
    Writer(
        "Bitstamp transactions",
        ("Type", "Datetime", "Account", "Amount", "Value", "Rate", "Fee", "Sub Type"),
        bitstamp, pairs=EURO_PAIRS, fees=("quote",), has_cash=True,
    ),
    Writer(
        "Bitfinex trades",
        ("#", "PAIR", "AMOUNT", "PRICE", "FEE", "FEE PERC", "FEE CURRENCY", "DATE", "ORDER ID"),
        bitfinex, pairs=(("BTC", "USD"), ("ETH", "BTC")), fees=("received",), is_newest_first=True,
    ),
    Writer(
        "KuCoin filled orders",
        ("UID", "Account Type", "Order ID", "Symbol", "Side", "Order Type", "Avg. Filled Price", "Filled Amount",
         "Filled Volume", "Filled Volume (USDT)", "Filled Time(UTC+08:00)", "Fee", "Maker/Taker", "Fee Currency"),
        kucoin, fees=("quote", "third"), third="KCS",
    ),
    Writer(
        "rotki generic trades",
        ("Location", "Spend Currency", "Receive Currency", "Receive Amount", "Spend Amount", "Fee", "Fee Currency",
         "Description", "Timestamp"),
        rotki, pairs=EURO_PAIRS, fees=("base", "quote"),
    ),
    Writer(
        "Koinly",
        ("Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency", "Fee Amount", "Fee Currency",
         "Net Worth Amount", "Net Worth Currency", "Label", "Description", "TxHash"),
        koinly, pairs=EURO_PAIRS, fees=("base", "quote", "third"), third="BNB", has_cash=True,
    ),
    Writer(
        "CoinTracking",
        ("Type", "Buy Amount", "Buy Currency", "Sell Amount", "Sell Currency", "Fee", "Fee Currency", "Exchange",
         "Group", "Comment", "Date", "Tx-ID"),
        cointracking, pairs=EURO_PAIRS, fees=("base", "quote", "third"), third="BNB", has_cash=True,
    ),
    Writer(
        "Bybit transaction log",
        ("Uid", "Currency", "Contract", "Type", "Direction", "Quantity", "Position", "Filled Price", "Funding",
         "Fee Paid", "Cash Flow", "Change", "Wallet Balance", "Action", "Time(UTC)"),
        bybit_transaction_log, pairs=EURO_PAIRS, fees=("received",),
    ),
)  # fmt: skip

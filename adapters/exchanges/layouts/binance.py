"""Binance: spot trades in three forms, the statement of all accounts, futures, deposits and withdrawals."""

from collections.abc import Sequence
from decimal import Decimal

from adapters.exchanges.files.contracts import futures
from adapters.exchanges.files.facts import Fact, Funded, Ignored, Moved, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import Ledger, Trades, ledger, meaning, trades
from adapters.exchanges.files.times import DateOrder
from domain.instrument import Contract

VENUE = "BINANCE"
HUNDRED, TEN = Decimal(100), Decimal(10)
USDM, COINM = "BINANCEUSDM", "BINANCECOINM"
QUOTES = (  # of spot pairs, as the venue's public list of symbols has them, 2026-11; it has none in USD
    "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDP", "USD1", "USDE", "DAI", "PAX", "USDS", "UST", "VAI", "EUR", "EURI",
    "GBP", "AUD", "TRY", "BRL", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "CZK", "IDR", "IDRT", "BIDR", "BKRW", "BVND",
    "JPY", "MXN", "ARS", "COP", "BTC", "ETH", "BNB", "TRX", "XRP", "DOGE", "DOT", "SOL",
)  # fmt: skip
TIME = ("Date(UTC)", "Time", "UTC_Time", "Time(UTC)", "Date")
STATEMENT = {
    "deposit": What.DEPOSIT,
    "fiat deposit": What.DEPOSIT,
    "crypto deposit": What.DEPOSIT,
    "withdraw": What.WITHDRAWAL,
    "withdrawal": What.WITHDRAWAL,
    "fiat withdraw*": What.WITHDRAWAL,
    "crypto withdrawal": What.WITHDRAWAL,
    "buy": What.TRADE,
    "sell": What.TRADE,
    "transaction buy": What.TRADE,
    "transaction spend": What.TRADE,
    "transaction sold": What.TRADE,
    "transaction revenue": What.TRADE,
    "transaction related": What.TRADE,
    "fee": What.TRADE_FEE,
    "transaction fee": What.TRADE_FEE,
    "binance convert": What.CONVERSION,
    "convert": What.CONVERSION,
    "small assets exchange bnb*": What.CONVERSION,
    "large otc trading": What.CONVERSION,
    "eth 2.0 staking": What.CONVERSION,
    "token swap - redenomination/rebranding": What.REBRANDING,
    "token swap - distribution": What.REBRANDING,
    "token swap*": What.REBRANDING,
    "funding fee": What.FUNDING,
    "realized profit and loss": What.SETTLEMENT,
    "realize profit and loss": What.SETTLEMENT,
    "insurance fund compensation": What.SETTLEMENT,
    "transfer*": What.INTERNAL,
    "main and funding account transfer": What.INTERNAL,
    "pos savings interest": What.INTEREST,
    "savings interest": What.INTEREST,
    "savings distribution": What.INTERNAL,
    "launchpool interest": What.INTEREST,
    "simple earn flexible interest": What.INTEREST,
    "simple earn flexible airdrop": What.AIRDROP,
    "simple earn locked rewards": What.STAKING,
    "bnb vault rewards": What.STAKING,
    "eth 2.0 staking rewards": What.STAKING,
    "staking rewards": What.STAKING,
    "swap farming rewards": What.STAKING,
    "liquid swap rewards": What.STAKING,
    "defi staking interest": What.STAKING,
    "distribution": What.AIRDROP,
    "airdrop assets": What.AIRDROP,
    "hodler airdrops distribution": What.AIRDROP,
    "launchpool airdrop*": What.AIRDROP,
    "cash voucher*": What.INCOME,
    "mission reward distribution": What.INCOME,
    "commission rebate": What.REBATE,
    "commission history": What.REBATE,
    "commission fee shared with you": What.REBATE,
    "referral commission": What.REBATE,
    "referral kickback": What.REBATE,
    "cashback voucher": What.REBATE,
    "margin loan": What.LOAN,
    "isolatedmargin loan": What.LOAN,
    "isolated margin loan": What.LOAN,
    "margin repayment": What.LOAN,
    "isolated margin repayment": What.LOAN,
    "isolatedmargin repayment": What.LOAN,
    "bnb fee deduction": What.FEE,
}  # fmt: skip
INCOME = {
    "realized pnl": What.SETTLEMENT,
    "realized profit and loss": What.SETTLEMENT,
    "commission": What.FEE,
    "funding fee": What.FUNDING,
    "transfer": What.INTERNAL,
    "insurance clear": What.SETTLEMENT,
    "delivered settelment": What.SETTLEMENT,
    "referral kickback": What.REBATE,
    "commission rebate": What.REBATE,
    "api rebate": What.REBATE,
    "welcome bonus": What.INCOME,
    "coin swap deposit": What.CONVERSION,
    "coin swap withdraw": What.CONVERSION,
}


def _account(row: Row) -> str:
    return row.text("wallet").casefold()


def usdm(row: Row) -> Contract:
    """Return the contract of a USD-M future: linear, in the quote of its symbol."""
    symbol = row.text("pair")
    return futures(symbol, row.reading.assets.split(symbol.partition("_")[0]))


def coinm(row: Row) -> Contract:
    """Return the contract of a COIN-M future: 100 USD of BTC, 10 USD of other coins."""
    symbol = row.text("pair")
    base = symbol.partition("_")[0].removesuffix("USD")
    size = HUNDRED if base == "BTC" else TEN
    return futures(symbol, (base, "USD"), is_inverse=True, size=size)


def _transactions(row: Row) -> Sequence[Fact]:
    """Read the transaction history of futures: what moved the balance beside fills."""
    word = row.text("kind")
    what = meaning(word, INCOME, What.ADJUSTMENT) or What.ADJUSTMENT
    amount, asset = row.number("amount"), row.asset("asset")
    if not amount:
        return (Ignored(row.source, f"{word}: no amount"),)
    symbol = row.text("pair")
    if what is What.FUNDING and symbol:
        is_coin = symbol.partition("_")[0].endswith("USD")
        contract = coinm(row) if is_coin else usdm(row)
        if contract.settle == asset:
            venue = COINM if is_coin else USDM
            money = row.money(amount, asset)
            return (Funded(row.source, symbol, contract, money, venue=venue),)
    return (Moved(row.source, what, asset, amount, note=f"{word} {symbol}".strip(), wallet="futures"),)


SPOT_PLACE = "Orders > Spot Order > Trade History > Export"
LAYOUTS = (
    Layout(
        name="Binance spot trades",
        quotes=QUOTES,
        venue=VENUE,
        columns={
            "time": TIME, "pair": ("Pair",), "side": ("Side", "Type"), "price": ("Price",), "qty": ("Executed",),
            "amount": ("Amount",), "fee": ("Fee",),
        },
        order=DateOrder.YMD,
        read=trades(Trades(is_glued=True)),
        click=SPOT_PLACE,
        gives="fills",
    ),
    Layout(
        name="Binance spot trades (before 2021)",
        quotes=QUOTES,
        venue=VENUE,
        columns={
            "time": TIME, "pair": ("Market", "Pair"), "side": ("Type", "Side"), "price": ("Price",),
            "qty": ("Amount",), "amount": ("Total",), "fee": ("Fee",), "fee_asset": ("Fee Coin", "Fee Asset"),
        },
        order=DateOrder.YMD,
        read=trades(),
        click=SPOT_PLACE,
        gives="fills",
    ),
    Layout(
        name="Binance statement",
        quotes=QUOTES,
        venue=VENUE,
        columns={
            "time": ("UTC_Time", "Time", "Date(UTC)"), "wallet": ("Account",), "kind": ("Operation",),
            "asset": ("Coin",), "amount": ("Change",),
        },
        others={"note": ("Remark",)},
        ignored=("User_ID", "User ID"),
        order=DateOrder.YMD,
        read=ledger(Ledger(STATEMENT, What.ADJUSTMENT, wallet_of=_account)),
        click="Wallet > Transaction History > Export, all accounts",
        gives="all that moved: trades, deposits, withdrawals, fees, funding, earnings, conversions",
    ),
    Layout(
        name="Binance futures trades",
        quotes=QUOTES,
        venue=USDM,
        columns={
            "time": ("Date(UTC)", "Time(UTC)", "Time"), "pair": ("Symbol",), "side": ("Side",), "price": ("Price",),
            "qty": ("Quantity",), "amount": ("Amount",), "fee": ("Fee",), "realized": ("Realized Profit",),
        },
        others={"fee_asset": ("Fee Coin", "Fee Asset", "Quote Asset"), "id": ("Trade ID",), "order_id": ("Order ID",)},
        ignored=("UID",),
        order=DateOrder.YMD,
        read=trades(Trades(contract=usdm, fee_in="settle", fee_sign=-1)),
        click="Orders > USD-M Futures > Trade History > Export",
        gives="fills; fees that were paid are negative",
    ),
    Layout(
        name="Binance futures transactions",
        quotes=QUOTES,
        venue=USDM,
        columns={
            "time": ("Date(UTC)", "Time(UTC)", "Time"), "kind": ("type",), "amount": ("Amount",), "asset": ("Asset",),
            "pair": ("Symbol",), "id": ("Transaction ID",),
        },
        ignored=("UID",),
        order=DateOrder.YMD,
        read=_transactions,
        click="Orders > Futures > Transaction History > Export",
        gives="funding, transfers, fees and profit of closed positions: not together with the file of trades",
    ),
    Layout(
        name="Binance withdrawals",
        venue=VENUE,
        columns={
            "time": TIME, "asset": ("Coin",), "amount": ("Amount",), "fee": ("Fee",), "id": ("TXID",),
            "note": ("Address",), "status": ("Status",),
        },
        ignored=("Network",),
        order=DateOrder.YMD,
        read=ledger(Ledger({}, What.WITHDRAWAL, is_signed=False, is_fee_beside=True)),
        click="Wallet > Transaction History > Withdraw > Export",
        gives="withdrawals, with their fees",
    ),
    Layout(
        name="Binance deposits",
        venue=VENUE,
        columns={
            "time": TIME, "asset": ("Coin",), "network": ("Network",), "amount": ("Amount",), "note": ("Address",),
            "id": ("TXID",), "status": ("Status",),
        },
        order=DateOrder.YMD,
        read=ledger(Ledger({}, What.DEPOSIT, is_signed=False)),
        click="Wallet > Transaction History > Deposit > Export",
        gives="deposits",
    ),
)  # fmt: skip

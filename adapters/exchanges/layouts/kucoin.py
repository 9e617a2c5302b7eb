"""KuCoin: filled orders of spot since 2017, deposits, withdrawals, and the history of an account."""

from adapters.exchanges.files.facts import What
from adapters.exchanges.files.layout import Layout
from adapters.exchanges.files.shapes import Ledger, Trades, ledger, trades

VENUE = "KUCOIN"
TIME = ("Time", "Time(UTC)", "Filled Time", "Filled Time(UTC)", "tradeCreatedAt", "Time Filled", "created_at",
        "createdDate")  # fmt: skip
IGNORED = ("UID", "Account Type", "Order Type", "Filled Volume (USDT)", "Tax", "Account Mode", "Order Time",
           "Order Price", "Order Amount", "orderType", "Hash", "Deposit Address", "Transfer Network")  # fmt: skip
HISTORY = {
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "withdraw": What.WITHDRAWAL,
    "transfer*": What.INTERNAL,
    "spot": What.TRADE,
    "exchange": What.TRADE,
    "trade exchange": What.TRADE,
    "spot trading": What.TRADE,
    "kcs pay fees": What.TRADE_FEE,
    "rewards": What.INCOME,
    "airdrop": What.AIRDROP,
    "distribution": What.AIRDROP,
    "kcs bonus": What.INCOME,
    "staking*": What.STAKING,
    "soft staking profits": What.STAKING,
    "convert*": What.CONVERSION,
    "refunded fees": What.REBATE,
    "rebate*": What.REBATE,
    "realised pnl": What.SETTLEMENT,
    "funding*": What.FUNDING,
}
LAYOUTS = (
    Layout(
        name="KuCoin filled orders",
        venue=VENUE,
        columns={
            "time": TIME,
            "pair": ("Symbol",),
            "side": ("Side", "direction"),
            "price": ("Avg. Filled Price", "price", "dealPrice", "Filled Price"),
            "qty": ("Filled Amount", "size"),
            "amount": ("Filled Volume", "funds", "dealValue"),
            "fee": ("Fee",),
            "fee_asset": ("Fee Currency", "feeCurrency"),
        },
        others={
            "order_id": ("Order ID", "orderId", "oid"),
            "liquidity": ("Maker/Taker", "liquidity"),
            "status": ("Status",),
        },
        ignored=IGNORED,
        read=trades(Trades(is_average=True)),
        symbol_form="{base}-{quote}",
        click="Orders > Spot > Trade History > Export",
        gives="fills; one file has a fill a row, the other an order a row: import one of them",
    ),
    Layout(
        name="KuCoin deposits",
        venue=VENUE,
        columns={
            "time": TIME,
            "asset": ("Coin",),
            "amount": ("Amount",),
            "fee": ("Fee",),
            "status": ("Status",),
            "note": ("Remarks",),
            "network": ("Transfer Network",),
        },
        ignored=("UID", "Account Type", "Hash", "Deposit Address"),
        read=ledger(Ledger({}, What.DEPOSIT, is_signed=False)),
        click="Assets > Deposit history > Export",
        gives="deposits",
    ),
    Layout(
        name="KuCoin withdrawals",
        venue=VENUE,
        columns={
            "time": TIME,
            "asset": ("Coin",),
            "amount": ("Amount",),
            "fee": ("Fee",),
            "status": ("Status",),
            "note": ("Withdrawal Address/Account",),
            "network": ("Transfer Network",),
        },
        ignored=("UID", "Account Type", "Hash", "Remarks"),
        read=ledger(Ledger({}, What.WITHDRAWAL, is_signed=False, is_fee_beside=True)),
        click="Assets > Withdrawal history > Export",
        gives="withdrawals, with their fees",
    ),
    Layout(
        name="KuCoin account history",
        venue=VENUE,
        columns={
            "time": TIME,
            "asset": ("Currency",),
            "side": ("Side",),
            "amount": ("Amount",),
            "fee": ("Fee",),
            "kind": ("Remark",),
        },
        others={"wallet": ("Account Type",)},
        ignored=("UID", "Type"),
        read=ledger(Ledger(HISTORY, What.ADJUSTMENT, is_signed=False, is_fee_beside=True)),
        symbol_form="{base}-{quote}",
        click="Assets > Account statement > Export",
        gives="all that moved of an account",
    ),
)

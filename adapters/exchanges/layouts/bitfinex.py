"""Bitfinex: trades, the ledger, and movements (deposits and withdrawals)."""

from adapters.exchanges.files.facts import What
from adapters.exchanges.files.layout import Layout
from adapters.exchanges.files.shapes import Ledger, Trades, ledger, trades
from adapters.exchanges.files.times import DateOrder

VENUE = "BITFINEX"
ALIASES = {  # as the venue's public list of labels has them, 2026-11
    "UST": "USDT", "UDC": "USDC", "EUT": "EURT", "DSH": "DASH", "QTM": "QTUM", "IOT": "IOTA", "DAT": "DATA",
    "MNA": "MANA", "QSH": "QASH", "SNG": "SNGLS", "YYW": "YOYOW", "STJ": "STORJ", "ALG": "ALGO", "ATO": "ATOM",
    "AMP": "AMPL", "TSD": "TUSD", "GNT": "GLM", "LUNA2": "LUNA", "LUNA": "LUNC",
}  # fmt: skip
WORDS = {
    "deposit*": What.DEPOSIT,
    "*withdrawal fee*": What.FEE,
    "*withdrawal*": What.WITHDRAWAL,
    "exchange*": What.TRADE,
    "trading fee*": What.TRADE_FEE,
    "transfer*": What.INTERNAL,
    "margin funding payment*": What.INTEREST,
    "funding cost*": What.INTEREST,
    "position funding cost*": What.FUNDING,
    "funding fee*": What.FUNDING,
    "position*": What.SETTLEMENT,
    "settlement*": What.SETTLEMENT,
    "*airdrop*": What.AIRDROP,
    "*staking reward*": What.STAKING,
    "affiliate rebate*": What.REBATE,
    "unused fees*": What.REBATE,
}
LAYOUTS = (
    Layout(
        name="Bitfinex trades",
        venue=VENUE,
        columns={
            "id": ("#",), "pair": ("PAIR",), "qty": ("AMOUNT",), "price": ("PRICE",), "fee": ("FEE",),
            "fee_asset": ("FEE CURRENCY",), "time": ("DATE",), "order_id": ("ORDER ID",),
        },
        ignored=("FEE PERC",),
        order=DateOrder.DMY,
        aliases=ALIASES,
        read=trades(Trades(is_signed=True, fee_sign=-1)),
        symbol_form="{base}/{quote}",
        click="Reports > Trading history > Export",
        gives="fills",
    ),
    Layout(
        name="Bitfinex ledger",
        venue=VENUE,
        columns={
            "kind": ("DESCRIPTION",), "asset": ("CURRENCY",), "amount": ("AMOUNT",), "balance": ("BALANCE",),
            "time": ("DATE",), "wallet": ("WALLET",),
        },
        others={"id": ("#",)},
        order=DateOrder.DMY,
        aliases=ALIASES,
        read=ledger(Ledger(WORDS, What.ADJUSTMENT)),
        symbol_form="{base}/{quote}",
        click="Reports > Ledgers > Export",
        gives="all that moved",
    ),
    Layout(
        name="Bitfinex movements",
        venue=VENUE,
        columns={
            "id": ("#",), "time": ("DATE", "UPDATED"), "asset": ("CURRENCY",), "status": ("STATUS",),
            "amount": ("AMOUNT",), "fee": ("FEES",), "note": ("DESCRIPTION",),
        },
        others={"tx": ("TRANSACTION ID",)},
        ignored=("STARTED", "NOTE"),
        order=DateOrder.DMY,
        aliases=ALIASES,
        read=ledger(Ledger({}, What.DEPOSIT, is_fee_beside=True)),
        click="Reports > Movements > Export",
        gives="deposits and withdrawals",
    ),
)  # fmt: skip

"""Kraken: trades and ledgers of spot. A ledger's `refid` is the trade's `txid`, so both files say one trade once."""

from collections.abc import Sequence

from adapters.exchanges.files.facts import Fact, Ignored, Moved, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import meaning, trades
from domain.values import Money

VENUE = "KRAKEN"
FIAT = ("EUR", "USD", "GBP", "CAD", "JPY", "AUD", "CHF", "KRW")
COINS = ("ETC", "ETH", "LTC", "MLN", "REP", "XLM", "XMR", "XRP", "ZEC", "ICN", "DAO", "NMC", "XVN")
ALIASES = (  # as the venue's public list of assets has them, 2026-11
    {"XBT": "BTC", "XXBT": "BTC", "XDG": "DOGE", "XXDG": "DOGE", "ETH2": "ETH", "KFEE": "FEE"}
    | {f"Z{fiat}": fiat for fiat in FIAT}
    | {f"X{coin}": coin for coin in COINS}
)
STAKED = r"(\d{2})?\.(S|M|F|P|B|T|HOLD)$"
WORDS = {
    "trade": What.TRADE,
    "spend": What.TRADE,
    "receive": What.TRADE,
    "conversion": What.TRADE,
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "staking": What.STAKING,
    "earn": What.STAKING,
    "reward": What.STAKING,
    "dividend": What.INCOME,
    "airdrop": What.AIRDROP,
    "transfer": What.INTERNAL,
    "margin": What.SETTLEMENT,
    "rollover": What.FEE,
    "settled": What.SETTLEMENT,
    "adjustment": What.ADJUSTMENT,
    "credit": What.ADJUSTMENT,
    "invite bonus": What.REBATE,
    "nft rebate": What.REBATE,
    "creator fee": What.FEE,
}
INTERNAL = ("allocation", "deallocation", "autoallocation", "migration", "spottostaking", "stakingfromspot",
            "spotfromstaking", "stakingtospot", "spottofutures", "spotfromfutures", "bonding", "unbonding")  # fmt: skip


def split(pair: str) -> tuple[str, str] | None:
    """Split the venue's older names, four letters an asset: XXBTZEUR; None for others."""
    if len(pair) == 8 and pair[4] in "XZ" and (pair[:4] in ALIASES or pair[:4] == "USDT") and pair[4:] in ALIASES:
        return pair[:4], pair[4:]
    return None


def _ledger(row: Row) -> Sequence[Fact]:
    word, subtype = row.text("kind"), row.text("subtype").casefold()
    if not row.text("id"):
        return (Ignored(row.source, f"{word} that was announced; another row has it with its balance"),)
    what = meaning(word, WORDS, What.ADJUSTMENT) or What.ADJUSTMENT
    if subtype in INTERNAL:
        what = What.INTERNAL
    asset = row.asset("asset")
    amount, fee = row.amount("amount"), row.amount("fee")
    if not amount and not fee:
        return (Ignored(row.source, f"{word}: no amount"),)
    paid = Money(fee, asset) if fee else None
    if what is What.TRADE and not amount:
        what, amount, paid = What.TRADE_FEE, -fee, None
    elif amount and paid is not None and what is What.FEE:
        amount, paid = amount - fee, None
    reference = row.text("group")
    is_leg = what in (What.TRADE, What.TRADE_FEE)
    return (
        Moved(
            row.source, what, asset, amount, id="" if is_leg else row.text("id"), group=reference if is_leg else "",
            group_id=reference if is_leg else "", note=f"{word} {subtype}".strip(), fee=paid,
            balance=row.maybe("balance"), wallet=row.text("wallet"),
        ),
    )  # fmt: skip


def _futures(row: Row) -> Sequence[Fact]:
    words = {"funding*": What.FUNDING, "futures trade": What.SETTLEMENT, "*transfer*": What.INTERNAL}
    what = meaning(row.text("kind"), words, What.ADJUSTMENT) or What.ADJUSTMENT
    amount, asset = row.amount("amount"), row.asset("asset")
    if not amount:
        return (Ignored(row.source, f"{row.text('kind')}: no amount"),)
    note = f"{row.text('kind')} {row.text('pair')}".strip()
    return (Moved(row.source, what, asset, amount, id=row.text("id"), note=note),)


KRAKEN_PLACE = "Profile > Documents > New export"
LAYOUTS = (
    Layout(
        name="Kraken trades",
        venue=VENUE,
        columns={
            "id": ("txid",), "order_id": ("ordertxid",), "pair": ("pair",), "time": ("time",), "side": ("type",),
            "price": ("price",), "amount": ("cost",), "fee": ("fee",), "qty": ("vol",),
        },
        ignored=("ordertype", "margin", "misc", "ledgers", "postxid", "posstatus", "cprice", "ccost", "cfee", "cvol",
                 "cmargin", "net", "trades", "costusd", "aclass", "subclass", "posstatuscode", "leverage"),
        aliases=ALIASES,
        split=split,
        symbol_form="{base}/{quote}",
        read=trades(),
        click=f"{KRAKEN_PLACE}, Trades",
        gives="fills",
    ),
    Layout(
        name="Kraken ledgers",
        venue=VENUE,
        columns={
            "id": ("txid",), "group": ("refid",), "time": ("time",), "kind": ("type",), "asset": ("asset",),
            "amount": ("amount",), "fee": ("fee",), "balance": ("balance",),
        },
        others={"subtype": ("subtype",), "wallet": ("wallet",)},
        ignored=("aclass", "subclass", "amountusd", "feeusd", "address"),
        aliases=ALIASES,
        strip=STAKED,
        split=split,
        symbol_form="{base}/{quote}",
        read=_ledger,
        click=f"{KRAKEN_PLACE}, Ledgers",
        gives="all that moved: trades, deposits, withdrawals, fees, staking, transfers",
    ),
    Layout(
        name="Kraken futures log",
        venue="KRAKENFUTURES",
        columns={
            "id": ("uid",), "time": ("dateTime",), "kind": ("type",), "pair": ("contract", "symbol"),
            "amount": ("change",), "asset": ("collateral", "currency", "account currency"), "balance": ("new balance",),
        },
        others={"fee": ("fee",), "note": ("info",), "wallet": ("account",), "funding": ("realized funding",)},
        ignored=("trade price", "mark price", "funding rate", "realized pnl", "new average entry price",
                 "liquidation fee", "position uid", "margin account"),
        aliases=ALIASES,
        read=_futures,
        click="Futures > History > Account log > Download",
        gives="what moved the balance: funding, fees, profit of closed positions, transfers",
    ),
)  # fmt: skip

"""Bybit: the transaction log of a unified account, its funding account, and spot orders."""

from collections.abc import Sequence

from adapters.exchanges.files import contracts
from adapters.exchanges.files.facts import Fact, Funded, Ignored, Moved, Traded, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import Ledger, Trades, ledger, meaning, trades
from domain.instrument import Contract
from domain.values import Money

VENUE = "BYBIT"
WORDS = {
    "transfer*": What.INTERNAL,
    "deposit*": What.DEPOSIT,
    "withdraw*": What.WITHDRAWAL,
    "currency buy": What.CONVERSION,
    "currency sell": What.CONVERSION,
    "interest*": What.INTEREST,
    "bonus*": What.INCOME,
    "airdrop*": What.AIRDROP,
    "fee refund": What.REBATE,
    "liquidation": What.TRADE,
    "auto*": What.ADJUSTMENT,
}
FUND = {
    "transfer*": What.INTERNAL,
    "deposit*": What.DEPOSIT,
    "fiat deposit": What.DEPOSIT,
    "fiat*": What.DEPOSIT,
    "withdraw*": What.WITHDRAWAL,
    "airdrop*": What.AIRDROP,
    "earn*": What.INTERNAL,
    "convert*": What.CONVERSION,
}


def derivative(symbol: str, row: Row) -> tuple[str, Contract]:
    """Return a derivative's symbol here and its contract.

    A perpetual has the symbol of the spot pair at the venue; here it ends in `-PERP`. Contracts that settle in a coin
    are inverse, of 1 USD each.
    """
    if "-" in symbol:
        return symbol, contracts.deribit(symbol.removesuffix("-USDT").replace("PERP", "-PERP"))
    if symbol.endswith("PERP"):
        return symbol, contracts.linear(symbol.removesuffix("PERP"), "USDC")
    base, quote = row.reading.assets.split(symbol)
    if quote == "USD":
        return f"{symbol}-PERP", contracts.inverse(base, quote)
    return f"{symbol}-PERP", contracts.linear(base, quote)


def _log(row: Row) -> Sequence[Fact]:
    word, asset = row.text("kind"), row.asset("asset")
    change = row.amount("amount")
    symbol = row.text("pair")
    if word.upper() in ("TRADE", "LIQUIDATION") and symbol:
        return _traded(row, asset, symbol)
    if word.upper() == "SETTLEMENT" and symbol:
        name, contract = derivative(symbol, row)
        if not change:
            return (Ignored(row.source, "funding of nothing"),)
        return (Funded(row.source, name, contract, Money(change, asset)),)
    if not change:
        return (Ignored(row.source, f"{word}: no change"),)
    what = meaning(word, WORDS, What.ADJUSTMENT) or What.ADJUSTMENT
    return (Moved(row.source, what, asset, change, note=f"{word} {symbol}".strip(), balance=row.maybe("balance")),)


def _traded(row: Row, asset: str, symbol: str) -> Sequence[Fact]:
    """Return a fill of a derivative, or a leg of a spot trade, whose quantity is what moved of the asset."""
    quantity, flow, fee = row.amount("qty"), row.amount("flow"), row.amount("fee")
    paid = Money(-fee, asset) if fee else None
    trade_id, order_id = row.text("trade"), row.text("order_id")
    if quantity == flow:
        group = "|".join((symbol, row.text("side"), row.text("price"), trade_id))
        return (
            Moved(
                row.source, What.TRADE, asset, flow, group=group, group_id=trade_id, note=f"trade {symbol}", fee=paid,
                balance=row.maybe("balance"), symbol=symbol,
            ),
        )  # fmt: skip
    name, contract = derivative(symbol, row)
    return (
        Traded(
            row.source, name, row.reading.assets.listed(name) or contract, row.side(), quantity=abs(quantity),
            price=row.positive("price"), fees=(paid,) if paid is not None else (), id=trade_id, order_id=order_id,
        ),
    )  # fmt: skip


LAYOUTS = (
    Layout(
        name="Bybit transaction log",
        venue=VENUE,
        columns={
            "time": ("Time", "Time(UTC)"), "asset": ("Currency",), "pair": ("Contract",), "kind": ("Type",),
            "side": ("Direction",), "qty": ("Quantity",), "price": ("Filled Price",), "funding": ("Funding",),
            "fee": ("Fee Paid",), "flow": ("Cash Flow",), "amount": ("Change",), "balance": ("Wallet Balance",),
        },
        others={"trade": ("Trade ID", "TradeID"), "order_id": ("Order ID", "OrderID"), "position": ("Position",)},
        ignored=("Uid", "Action", "Fee Rate"),
        read=_log,
        click="Assets > Unified Trading > Transaction Log > Export",
        gives="all that moved: fills of spot and derivatives, funding, transfers, interest",
    ),
    Layout(
        name="Bybit funding account",
        venue=VENUE,
        columns={
            "time": ("Date & Time(UTC)", "Date & Time"), "asset": ("Coin",), "amount": ("QTY",), "kind": ("Type",),
            "balance": ("Account Balance",), "note": ("Description",),
        },
        ignored=("Uid",),
        read=ledger(Ledger(FUND, What.ADJUSTMENT)),
        click="Assets > Funding > History > Export",
        gives="deposits, withdrawals, transfers, airdrops",
    ),
    Layout(
        name="Bybit spot trades",
        venue=VENUE,
        columns={
            "pair": ("Spot Pairs",), "side": ("Direction",), "amount": ("Filled Value",), "price": ("Filled Price",),
            "qty": ("Filled Quantity",), "fee": ("Fees",), "id": ("Transaction ID",), "order_id": ("Order No.",),
            "time": ("Timestamp", "Timestamp (UTC)"),
        },
        ignored=("Order Type",),
        read=trades(Trades(fee_in="received")),
        click="Orders > Spot > Trade History > Export",
        gives="fills",
    ),
)  # fmt: skip

"""Hyperliquid and BitMEX, whose files are mostly of perpetuals."""

from collections.abc import Sequence
from decimal import Decimal

from adapters.exchanges.files import contracts
from adapters.exchanges.files.facts import Fact, Funded, Ignored, Traded
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import funding
from domain.errors import ReportUnreadable
from domain.instrument import Contract
from domain.values import Money, Side

DIRECTIONS = {
    "buy": Side.BUY, "open long": Side.BUY, "close short": Side.BUY, "short > long": Side.BUY,
    "sell": Side.SELL, "open short": Side.SELL, "close long": Side.SELL, "long > short": Side.SELL,
}  # fmt: skip
SATOSHI, MICRO = Decimal("0.00000001"), Decimal("0.000001")


def _coin(row: Row) -> tuple[str, Contract]:
    """Return the symbol and contract of a coin: a perpetual of Hyperliquid, or of a pair spot."""
    coin = row.text("pair")
    if "/" in coin:
        return coin, row.spot(coin)
    symbol = f"{coin}-PERP"
    return symbol, row.reading.assets.listed(symbol) or contracts.linear(coin, "USDC")


def _hyperliquid(row: Row) -> Sequence[Fact]:
    symbol, contract = _coin(row)
    side = row.one_of("side", DIRECTIONS, f"a direction known here: {', '.join(DIRECTIONS)}")
    fee = row.amount("fee")
    asset = row.text("fee_asset") or "USDC"
    return (
        Traded(
            row.source, symbol, contract, side, quantity=row.positive("qty"), price=row.positive("price"),
            fees=(Money(fee, asset),) if fee else (), id=row.text("id"),
        ),
    )  # fmt: skip


def _hyperliquid_funding(row: Row) -> Sequence[Fact]:
    symbol, contract = _coin(row)
    return funding(row, symbol, contract, row.amount("amount"))


def _bitmex(row: Row) -> Sequence[Fact]:
    """Read an execution: commissions are whole satoshis of XBT, or millionths of USDT."""
    kind, symbol = row.text("kind").casefold(), row.text("pair")
    if kind not in ("trade", "funding", "settlement"):
        return (Ignored(row.source, f"execution of type {kind}"),)
    contract = _contract(row, symbol)
    unit = MICRO if contract.settle == "USDT" else SATOSHI
    fee = Money(row.amount("fee") * unit, contract.settle)
    if kind == "funding":
        if not fee.amount:
            return (Ignored(row.source, "funding of nothing"),)
        return (Funded(row.source, symbol, contract, Money(-fee.amount, fee.currency), id=row.text("id")),)
    return (
        Traded(
            row.source, symbol, contract, row.side(), quantity=abs(row.number("qty")), price=row.positive("price"),
            fees=(fee,) if fee.amount else (), id=row.text("id"), order_id=row.text("order_id"),
        ),
    )  # fmt: skip


def _contract(row: Row, symbol: str) -> Contract:
    """Return a contract whose size is known: inverse ones of XBT are of 1 USD, linear ones of a millionth XBT."""
    listed = row.reading.assets.listed(symbol)
    if listed is not None:
        return listed
    if symbol == "XBTUSD" or (symbol.startswith("XBT") and len(symbol) == 6):
        return contracts.inverse("BTC", "USD")
    if symbol == "XBTUSDT":
        return contracts.linear("BTC", "USDT", size=MICRO)
    command = f"daybook instrument add {symbol}.BITMEX --contract-size SIZE --kind KIND"
    raise ReportUnreadable("symbol", symbol, f"a contract whose size is known; list it with `{command} ...`")


LAYOUTS = (
    Layout(
        name="Hyperliquid trades",
        venue="HYPERLIQUID",
        columns={
            "time": ("time",), "pair": ("coin",), "side": ("dir",), "price": ("px",), "qty": ("sz",),
            "amount": ("ntl",), "fee": ("fee",),
        },
        others={"fee_asset": ("feeToken",), "id": ("tid",)},
        ignored=("closedPnl", "hash"),
        read=_hyperliquid,
        symbol_form="{base}/{quote}",
        click="Portfolio > Trade history > Export as CSV",
        gives="fills of perpetuals and spot",
    ),
    Layout(
        name="Hyperliquid funding",
        venue="HYPERLIQUID",
        columns={
            "time": ("time",), "pair": ("coin",), "qty": ("sz",), "side": ("side",), "amount": ("payment",),
            "rate": ("rate",),
        },
        read=_hyperliquid_funding,
        click="Portfolio > Funding history > Export as CSV",
        gives="funding payments",
    ),
    Layout(
        name="BitMEX trade history",
        venue="BITMEX",
        columns={
            "time": ("transactTime", "timestamp"), "pair": ("symbol",), "kind": ("execType",), "side": ("side",),
            "qty": ("lastQty",), "price": ("lastPx",), "fee": ("execComm",), "order_id": ("orderID",),
        },
        others={"id": ("execID", "trdMatchID")},
        ignored=("execCost", "commission", "ordType", "orderQty", "leavesQty", "price", "text", "clOrdID", "cumQty",
                 "avgPx", "homeNotional", "foreignNotional", "account", "currency", "settlCurrency"),
        aliases={"XBT": "BTC"},
        read=_bitmex,
        click="Trade > Trade history > Save as CSV",
        gives="fills and funding",
    ),
)  # fmt: skip

"""Specifications of Binance's main spot symbols: enough to import a trade history on its own.

Tick and lot size are the finest each symbol has had (PRICE_FILTER, LOT_SIZE), since a history may predate today's.
"""

from decimal import Decimal

from domain.instrument import Contract, Kind, ListInstrument

BINANCE = "BINANCE"

# symbol: base, quote, tick size, lot size
BINANCE_SPOT = {
    "BTCUSDT": ("BTC", "USDT", "0.01", "0.000001"),
    "BTCUSDC": ("BTC", "USDC", "0.01", "0.000001"),
    "BTCFDUSD": ("BTC", "FDUSD", "0.01", "0.00001"),
    "BTCBUSD": ("BTC", "BUSD", "0.01", "0.000001"),
    "BTCEUR": ("BTC", "EUR", "0.01", "0.000001"),
    "ETHUSDT": ("ETH", "USDT", "0.01", "0.00001"),
    "ETHUSDC": ("ETH", "USDC", "0.01", "0.00001"),
    "ETHEUR": ("ETH", "EUR", "0.01", "0.00001"),
    "ETHBTC": ("ETH", "BTC", "0.000001", "0.0001"),
    "BNBUSDT": ("BNB", "USDT", "0.0001", "0.001"),
    "BNBBTC": ("BNB", "BTC", "0.0000001", "0.001"),
    "SOLUSDT": ("SOL", "USDT", "0.0001", "0.001"),
    "XRPUSDT": ("XRP", "USDT", "0.00001", "0.1"),
    "ADAUSDT": ("ADA", "USDT", "0.00001", "0.1"),
    "DOGEUSDT": ("DOGE", "USDT", "0.0000001", "0.1"),
    "LTCUSDT": ("LTC", "USDT", "0.01", "0.00001"),
    "TRXUSDT": ("TRX", "USDT", "0.00001", "0.1"),
    "LINKUSDT": ("LINK", "USDT", "0.0001", "0.001"),
    "DOTUSDT": ("DOT", "USDT", "0.0001", "0.001"),
    "AVAXUSDT": ("AVAX", "USDT", "0.0001", "0.001"),
}


def binance_spot(symbol: str) -> ListInstrument | None:
    """Return the request that lists a Binance spot symbol; None if it is not one of the main symbols."""
    facts = BINANCE_SPOT.get(symbol)
    if facts is None:
        return None
    base, quote, tick_size, lot_size = facts
    contract = Contract(Kind.SPOT, base, quote, quote)
    return ListInstrument(f"{symbol}.{BINANCE}", contract, Decimal(tick_size), Decimal(lot_size))

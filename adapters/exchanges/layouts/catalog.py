"""All layouts, in one catalog that recognises a file by its header."""

from functools import cache

from adapters.exchanges.files.layout import Catalog
from adapters.exchanges.layouts import (
    binance,
    bitfinex,
    bybit,
    ccxt,
    coinbase,
    deribit,
    fix,
    kraken,
    kucoin,
    okx,
    own,
    perpetual_venues,
    spot_venues,
    trackers,
    wallets,
)

VENUES = (
    own, binance, kraken, coinbase, bybit, kucoin, okx, bitfinex, deribit, spot_venues, perpetual_venues, wallets, ccxt,
    fix, trackers,
)  # fmt: skip


@cache
def catalog() -> Catalog:
    """Return the catalog of all layouts."""
    return Catalog([layout for venue in VENUES for layout in venue.LAYOUTS])

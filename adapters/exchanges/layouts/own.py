"""Daybook's own files: trades, everything else that moves, and trades with the ids of Binance's interface."""

import re
from collections.abc import Sequence
from decimal import Decimal

from adapters.exchanges.binance import BINANCE, binance_spot
from adapters.exchanges.files import contracts
from adapters.exchanges.files.facts import Fact, Funded, Traded, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import Ledger, is_failed, ledger
from domain import names, values
from domain.errors import ReportUnreadable
from domain.instrument import Contract
from domain.values import Liquidity, Money, Side

QUOTE_STEP = Decimal("0.00000001")  # Binance truncates quote_qty to the places of its assets
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z0-9]{1,16}", re.ASCII)  # as this venue writes them
_SYMBOL = re.compile(r"[A-Z0-9]{2,32}", re.ASCII)
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_LIQUIDITIES = {"maker": Liquidity.MAKER, "taker": Liquidity.TAKER}
WORDS = {
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "fee": What.FEE,
    "funding": What.FUNDING,
    "interest": What.INTEREST,
    "staking": What.STAKING,
    "airdrop": What.AIRDROP,
    "rebate": What.REBATE,
    "income": What.INCOME,
    "loan": What.LOAN,
    "transfer": What.INTERNAL,
    "conversion": What.CONVERSION,
    "trade": What.TRADE,
    "trade fee": What.TRADE_FEE,
    "adjustment": What.ADJUSTMENT,
}


def _binance_trade(row: Row) -> Sequence[Fact]:
    """Read a trade of a Binance account: its amount is price x quantity, cut at eight places."""
    _whole(row, "seq")
    trade_id = _whole(row, "id")
    source, symbol = row.source, row.text("pair")
    if not _SYMBOL.fullmatch(symbol):
        raise ReportUnreadable("symbol", symbol, "a symbol of 2 to 32 capitals and digits")
    side = row.one_of("side", _SIDES, "BUY or SELL")
    price, quantity, amount = row.positive("price"), row.positive("qty"), row.number("quote_qty")
    liquidity = row.one_of("liquidity", _LIQUIDITIES)
    fee = Money(row.number("fee"), row.text("fee_currency"))
    if not _CURRENCY.fullmatch(fee.currency):
        raise ReportUnreadable("fee_currency", fee.currency, "a currency of 1 to 16 capitals and digits")
    product = values.exact(price * quantity)
    if amount not in (product, values.exact(product - product % QUOTE_STEP)):
        raise ReportUnreadable("quote_qty", row.text("quote_qty"), f"price x qty, which is {product:f}")
    return (
        Traded(
            source, symbol, _binance_contract(row, symbol), side, quantity=quantity, price=price, fees=(fee,),
            id=trade_id, seq=int(trade_id), liquidity=liquidity,
        ),
    )  # fmt: skip


def _binance_contract(row: Row, symbol: str) -> Contract:
    listed = row.reading.assets.listed(symbol)
    if listed is not None:
        return listed
    known = binance_spot(symbol)
    return row.spot(symbol) if known is None else known.contract


def _whole(row: Row, name: str) -> str:
    text = row.text(name)
    if not _WHOLE.fullmatch(text):
        field = "trade_id" if name == "id" else name
        raise ReportUnreadable(field, text, "a whole number of at most 18 digits, without leading zeros")
    return text


def _trade(row: Row) -> Sequence[Fact]:
    """Read a fill of the neutral form. Its instrument is SYMBOL.VENUE, listed or of a pair that is clear."""
    instrument_id = names.instrument_id(row.text("instrument"), "instrument")
    symbol, venue = names.symbol_of(instrument_id), names.venue_of(instrument_id)
    fee = row.amount("fee")
    return (
        Traded(
            row.source, symbol, _contract(row, instrument_id, symbol), row.side(), quantity=row.positive("qty"),
            price=row.number("price"), fees=(Money(fee, row.asset("fee_asset")),) if fee else (), id=row.text("id"),
            order_id=row.text("order_id"), liquidity=row.liquidity(), venue=venue,
        ),
    )  # fmt: skip


def _contract(row: Row, instrument_id: str, symbol: str) -> Contract:
    listed = row.reading.assets.listed(instrument_id)
    if listed is not None:
        return listed
    if ":" in symbol:
        return contracts.unified(symbol)
    return row.spot(symbol, base=row.text("base"), quote=row.text("quote"))


_moved = ledger(Ledger(WORDS, group=("group",), is_fee_beside=True))


def _movement(row: Row) -> Sequence[Fact]:
    instrument = row.text("instrument")
    if row.text("kind").casefold() != "funding" or not instrument or is_failed(row):
        return _moved(row)
    instrument_id = names.instrument_id(instrument, "instrument")
    symbol, venue = names.symbol_of(instrument_id), names.venue_of(instrument_id)
    amount = Money(row.number("amount"), row.asset("asset"))
    contract = row.reading.assets.listed(instrument_id) or contracts.unified(symbol)
    return (Funded(row.source, symbol, contract, amount, id=row.text("id"), venue=venue),)


LAYOUTS = (
    Layout(
        name="Binance trade history",
        venue=BINANCE,
        columns={
            "seq": ("seq",), "id": ("trade_id",), "time": ("ts",), "pair": ("symbol",), "side": ("side",),
            "price": ("price",), "qty": ("qty",), "quote_qty": ("quote_qty",), "liquidity": ("liquidity",),
            "fee": ("fee",), "fee_currency": ("fee_currency",),
        },
        read=_binance_trade,
        is_strict=True,
        click="written by programs that read the venue's interface (`myTrades`)",
        gives="fills",
    ),
    Layout(
        name="Daybook trades",
        venue="DAYBOOK",
        is_venue=False,
        columns={
            "time": ("time",), "instrument": ("instrument",), "side": ("side",), "qty": ("qty",), "price": ("price",),
        },
        others={
            "fee": ("fee",), "fee_asset": ("fee_asset",), "id": ("id",), "order_id": ("order_id",),
            "liquidity": ("liquidity",), "base": ("base",), "quote": ("quote",),
        },
        read=_trade,
        click="write it yourself: the neutral form of fills",
        gives="fills of any venue",
    ),
    Layout(
        name="Daybook movements",
        venue="DAYBOOK",
        is_venue=False,
        columns={"time": ("time",), "kind": ("kind",), "asset": ("asset",), "amount": ("amount",)},
        others={
            "fee": ("fee",), "fee_asset": ("fee_asset",), "id": ("id",), "group": ("group",), "note": ("note",),
            "balance": ("balance",), "wallet": ("wallet",), "instrument": ("instrument",),
        },
        read=_movement,
        is_strict=True,
        click="write it yourself: the neutral form of everything that is no fill",
        gives="deposits, withdrawals, fees, funding, interest, rewards, conversions, loans, adjustments",
    ),
)  # fmt: skip

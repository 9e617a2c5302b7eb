"""JSON that programs with the `ccxt` library keep: `fetch_my_trades`, `fetch_ledger`, `fetch_funding_history`.

Symbols are those of the library. The venue is known by the raw answer beside each item, which every venue writes in
its own way; an item without one is of the venue CCXT.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from adapters.exchanges.files import contracts
from adapters.exchanges.files.facts import Fact, Funded, Ignored, Moved, Traded, What
from adapters.exchanges.files.json_texts import Item
from adapters.exchanges.files.layout import FAILED, LIQUIDITIES, SIDES, Layout
from adapters.exchanges.files.shapes import meaning
from domain import values
from domain.errors import ReportUnreadable
from domain.instrument import Contract, Kind
from domain.values import Liquidity, Money, divide, rounded

VENUE = "CCXT"
BY_KEYS = (  # keys of raw answers that one venue only has
    ("BYBIT", ("execQty", "execPrice", "execFee", "execId", "execType")),
    ("GATE", ("gt_fee", "point_fee", "create_time_ms")),
    ("BINANCE", ("commissionAsset", "isBuyerMaker", "commission")),
    ("OKX", ("fillSz", "fillPx", "instId")),
    ("KRAKEN", ("ordertxid", "postxid", "ledgers")),
    ("KUCOIN", ("tradeCreatedAt", "counterOrderId", "forceTaker")),
    ("COINBASE", ("product_id", "entry_id", "trade_type")),
    ("DERIBIT", ("instrument_name", "trade_seq", "user_seq")),
    ("BITGET", ("feeDetail", "tradeScope", "priceAvg")),
    ("HTX", ("filled-amount", "match-id", "filled-fees")),
    ("HYPERLIQUID", ("closedPnl", "startPosition")),
    ("BITMEX", ("execID", "lastQty", "lastPx")),
    ("CRYPTOCOM", ("traded_price", "traded_quantity")),
    ("GEMINI", ("is_auction_fill", "aggressor")),
    ("BITSTAMP", ("btc_usd", "order_id_string")),
)
LEDGER = {
    "trade": What.TRADE,
    "transfer": What.INTERNAL,
    "fee": What.FEE,
    "rebate": What.REBATE,
    "cashback": What.REBATE,
    "referral": What.REBATE,
    "margin": What.SETTLEMENT,
    "funding*": What.FUNDING,
    "interest*": What.INTEREST,
    "airdrop": What.AIRDROP,
    "staking*": What.STAKING,
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
}
SIZE_PLACES = 8


def venue_of(info: Mapping[str, Any]) -> str:
    """Return the venue whose raw answer this is; "" where it is not clear."""
    found = [(sum(key in info for key in keys), venue) for venue, keys in BY_KEYS]
    count, venue = max(found, key=lambda one: one[0])
    return venue if count else ""


def _trade(item: Item) -> Sequence[Fact]:
    info, symbol = item.info, item.text("symbol")
    venue = venue_of(info)
    contract = contracts.unified(symbol)
    fees = _fees(item, contract)
    source = item.source
    if str(info.get("execType", item.text("type"))).casefold() == "funding":
        if not fees:
            return (Ignored(source, "funding of nothing"),)
        paid = fees[0]
        return (Funded(source, symbol, contract, Money(-paid.amount, paid.currency), id=item.text("id"), venue=venue),)
    side = SIDES.get(item.text("side").casefold())
    if side is None:
        raise ReportUnreadable("side", item.text("side"), "buy or sell")
    quantity = item.number(item.value.get("amount"), "amount")
    price = item.number(item.value.get("price"), "price")
    if quantity <= 0:
        raise ReportUnreadable("amount", item.text("amount"), "above zero")
    return (
        Traded(
            source, symbol, _sized(item, contract, quantity, price), side, quantity=quantity, price=price, fees=fees,
            id=item.text("id"), order_id=item.text("order"), venue=venue,
            liquidity=LIQUIDITIES.get(item.text("takerOrMaker"), Liquidity.UNKNOWN),
        ),
    )  # fmt: skip


def _sized(item: Item, contract: Contract, quantity: Decimal, price: Decimal) -> Contract:
    """Return the contract of a derivative with its size, which its cost states: cost = quantity x size x price."""
    if contract.kind is Kind.SPOT or item.value.get("cost") is None or price <= 0:
        return contract
    cost = item.number(item.value["cost"], "cost")
    if cost <= 0:
        return contract
    size = divide(cost * price, quantity) if contract.kind is Kind.INVERSE else divide(cost, quantity * price)
    found = rounded(size, SIZE_PLACES)
    return replace(contract, contract_size=found) if found > 0 and len(found.as_tuple().digits) <= 3 else contract


def _fees(item: Item, contract: Contract) -> tuple[Money, ...]:
    stated = item.value.get("fees") or [item.value.get("fee")]
    found = []
    for fee in stated:
        if isinstance(fee, dict) and fee.get("cost") is not None:
            cost = item.number(fee["cost"], "fee.cost")
            if cost:
                found.append(Money(cost, values.currency(fee.get("currency") or contract.settle, "fee.currency")))
    return tuple(found)


def _ledger(item: Item) -> Sequence[Fact]:
    source, word, status = item.source, item.text("type"), item.text("status")
    if status and FAILED.match(status):
        return (Ignored(source, f"status: {status}"),)
    direction = item.text("direction").casefold()
    amount = abs(item.number(item.value.get("amount"), "amount"))
    signed = -amount if direction == "out" else amount
    what = meaning(word, LEDGER)
    if word.casefold() in ("transaction", "payment"):
        what = What.WITHDRAWAL if direction == "out" else What.DEPOSIT
    asset = values.currency(item.text("currency"), "currency")
    fee = item.value.get("fee")
    cost = item.number(fee["cost"], "fee.cost") if isinstance(fee, dict) and fee.get("cost") is not None else None
    reference = item.text("referenceId")
    if not amount and not cost:
        return (Ignored(source, f"{word}: no amount"),)
    return (
        Moved(
            source, what or What.ADJUSTMENT, asset, signed, id="" if what is What.TRADE else item.text("id"),
            group=reference, group_id=reference, note=word, venue=venue_of(item.info),
            fee=Money(cost, values.currency(fee.get("currency") or asset, "fee.currency")) if cost and fee else None,
            wallet=item.text("account"),
        ),
    )  # fmt: skip


def _funding(item: Item) -> Sequence[Fact]:
    symbol = item.text("symbol")
    contract = contracts.unified(symbol)
    amount = item.number(item.value.get("amount"), "amount")
    if not amount:
        return (Ignored(item.source, "funding of nothing"),)
    asset = values.currency(item.text("code") or contract.settle, "code")
    return (Funded(item.source, symbol, contract, Money(amount, asset), id=item.text("id"), venue=venue_of(item.info)),)


LAYOUTS = (
    Layout(
        name="ccxt trades",
        venue=VENUE,
        is_venue=False,
        keys=("id", "timestamp", "symbol", "side", "price", "amount", "info"),
        read_item=_trade,
        symbol_form="{base}/{quote}",
        click="`json.dump(exchange.fetch_my_trades(), file)`",
        gives="fills with all their fees, and funding among them",
    ),
    Layout(
        name="ccxt ledger",
        venue=VENUE,
        is_venue=False,
        keys=("id", "timestamp", "direction", "type", "currency", "amount", "info"),
        read_item=_ledger,
        symbol_form="{base}/{quote}",
        click="`json.dump(exchange.fetch_ledger(), file)`",
        gives="all that moved",
    ),
    Layout(
        name="ccxt funding history",
        venue=VENUE,
        is_venue=False,
        keys=("id", "timestamp", "symbol", "code", "amount", "info"),
        read_item=_funding,
        click="`json.dump(exchange.fetch_funding_history(), file)`",
        gives="funding payments",
    ),
)

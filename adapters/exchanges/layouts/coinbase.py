"""Coinbase: the retail report since 2018, fills of Advanced and the former Pro, and the account statement of Pro."""

import re
from collections.abc import Sequence
from decimal import Decimal

from adapters.exchanges.files.facts import Converted, Fact, Moved, Traded, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import Ledger, Trades, ledger, meaning, trades
from domain import values
from domain.errors import ReportUnreadable
from domain.values import ZERO, Money, Side, divide, exact

VENUE = "COINBASE"
WORDS = {
    "buy": What.TRADE,
    "sell": What.TRADE,
    "advance trade buy": What.TRADE,
    "advance trade sell": What.TRADE,
    "advanced trade buy": What.TRADE,
    "advanced trade sell": What.TRADE,
    "convert": What.CONVERSION,
    "deposit": What.DEPOSIT,
    "receive": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "send": What.WITHDRAWAL,
    "paid for an order": What.WITHDRAWAL,
    "exchange deposit": What.INTERNAL,
    "exchange withdrawal": What.INTERNAL,
    "pro deposit": What.INTERNAL,
    "pro withdrawal": What.INTERNAL,
    "vault withdrawal": What.INTERNAL,
    "retail staking transfer": What.INTERNAL,
    "retail unstaking transfer": What.INTERNAL,
    "retail eth2 deprecation": What.INTERNAL,
    "staking income": What.STAKING,
    "rewards income": What.STAKING,
    "inflation reward": What.STAKING,
    "reward income": What.STAKING,
    "learning reward": What.INCOME,
    "coinbase earn": What.INCOME,
    "incentives rewards payout": What.INCOME,
    "interest payout": What.INTEREST,
    "subscription rebate*": What.REBATE,
    "subscription": What.FEE,
}
OUT = frozenset({What.WITHDRAWAL, What.FEE})
LEAVING = re.compile(r"(pro|exchange) deposit|retail staking", re.IGNORECASE)
CONVERTED = re.compile(r"converted\s+([\d.,]+)\s+(\S+)\s+to\s+([\d.,]+)\s+(\S+)", re.IGNORECASE)
PRO = {
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "match": What.TRADE,
    "fee": What.TRADE_FEE,
    "conversion": What.CONVERSION,
    "rebate": What.REBATE,
}


def _retail(row: Row) -> Sequence[Fact]:
    word = row.text("kind")
    what = meaning(word, WORDS)
    if what is None:
        raise ReportUnreadable("kind", word, f"a transaction type known here: {', '.join(WORDS)}")
    asset, quantity = row.asset("asset"), row.number("qty")
    if not quantity:
        raise ReportUnreadable("qty", row.text("qty"), "other than zero")
    if what is What.TRADE:
        return (_trade(row, asset, abs(quantity), Side.SELL if "sell" in word.casefold() else Side.BUY),)
    note, id_ = row.text("note") or word, row.text("id")
    if what is What.CONVERSION:
        return (_converted(row, asset, abs(quantity), note, id_=id_),)
    amount = quantity
    if quantity > 0 and (what in OUT or (what is What.INTERNAL and LEAVING.match(word))):
        amount = -quantity
    return (Moved(row.source, what, asset, amount, id=id_, note=f"{word}: {note}" if note != word else word),)


def _trade(row: Row, asset: str, quantity: Decimal, side: Side) -> Traded:
    """Return the fill of a row: its total includes the fee, its price may be rounded."""
    currency = row.text("currency") or row.header("price")[:3]
    quote = row.reading.assets.named(values.currency(currency.upper(), "currency"))
    fee = abs(row.amount("fee"))
    total = abs(row.amount("total"))
    amount = exact(total - fee if side is Side.BUY else total + fee) if total else abs(row.amount("subtotal"))
    stated = row.amount("price")
    price = stated if exact(stated * quantity) == amount or not amount else divide(amount, quantity)
    symbol = f"{asset}-{quote}"
    return Traded(
        row.source, symbol, row.spot(symbol, base=asset, quote=quote), side, quantity=quantity, price=price,
        amount=amount, fees=(Money(fee, quote),) if fee else (), id=row.text("id"),
    )  # fmt: skip


def _converted(row: Row, asset: str, quantity: Decimal, note: str, id_: str) -> Converted:
    """Return a conversion, of which the other side is only in the note."""
    found = CONVERTED.search(note)
    if found is None:
        raise ReportUnreadable("note", note, "a note such as `Converted 0.5 ETH to 1,450.25 USDC`")
    bought = Money(row.parsed(found[3].rstrip(".,"), "note"), row.reading.assets.named(found[4].rstrip(".,")))
    if bought.amount <= ZERO:
        raise ReportUnreadable("note", note, "a conversion into more than nothing")
    return Converted(row.source, Money(quantity, asset), bought, id=id_, note=note)


RETAIL = {
    "time": ("Timestamp",),
    "kind": ("Transaction Type",),
    "asset": ("Asset",),
    "qty": ("Quantity Transacted",),
    "price": ("Price at Transaction", "Spot Price at Transaction", "^[a-z]{3} spot price at transaction"),
    "subtotal": ("Subtotal", "^[a-z]{3} subtotal"),
    "total": (
        "Total (inclusive of fees and/or spread)", "Total (inclusive of fees)",
        r"^[a-z]{3} total \(inclusive of fees\)",
    ),
    "fee": ("Fees and/or Spread", "Fees", "^[a-z]{3} fees"),
}  # fmt: skip
FILLS: dict[str, tuple[str, ...]] = {
    "id": ("trade id",), "pair": ("product",), "side": ("side",), "time": ("created at",), "qty": ("size",),
    "price": ("price",), "fee": ("fee",), "total": ("total",), "fee_asset": ("price/fee/total unit",),
}  # fmt: skip
LAYOUTS = (
    Layout(
        name="Coinbase report",
        venue=VENUE,
        columns=RETAIL,
        others={
            "id": ("ID",),
            "currency": ("Price Currency", "Spot Price Currency"),
            "note": ("Notes",),
            "sender": ("Sender Address",),
            "recipient": ("Recipient Address",),
        },
        read=_retail,
        symbol_form="{base}-{quote}",
        click="Settings > Documents > Generate transaction report (CSV)",
        gives="buys, sells, trades of Advanced, conversions, deposits, sends, rewards",
    ),
    Layout(
        name="Coinbase fills",
        venue=VENUE,
        columns=FILLS,
        others={"base": ("size unit",)},
        ignored=("portfolio",),
        read=trades(Trades()),
        symbol_form="{base}-{quote}",
        click="Advanced > Orders > Fills > Download; of the former Pro: Statements > Fills",
        gives="fills",
    ),
    Layout(
        name="Coinbase Pro account",
        venue=VENUE,
        columns={
            "kind": ("type",),
            "time": ("time", "timestamp"),
            "amount": ("amount",),
            "balance": ("balance",),
            "asset": ("amount/balance unit",),
            "transfer": ("transfer id",),
            "trade": ("trade id",),
            "order": ("order id",),
        },
        others={"wallet": ("portfolio",)},
        read=ledger(Ledger(PRO, group=("trade", "order"), group_id="trade")),
        symbol_form="{base}-{quote}",
        click="Pro: Statements > Account",
        gives="all that moved: matches with their fees, deposits, withdrawals, conversions",
    ),
)

"""Bitstamp, Gemini, HTX, Gate, Bitget and the Crypto.com exchange."""

import re
from collections.abc import Sequence

from adapters.exchanges.files import numbers
from adapters.exchanges.files.facts import Fact, Ignored, Moved, Traded, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import Ledger, Trades, ledger, meaning, trades
from domain import values
from domain.errors import ReportUnreadable
from domain.values import Money, Side, exact

BITSTAMP_WORDS = {
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "market": What.TRADE,
    "staking reward": What.STAKING,
    "earn reward": What.STAKING,
    "sub account transfer": What.INTERNAL,
    "started generating rewards": What.NOTHING,
    "stopped generating rewards": What.NOTHING,
    "crypto currency credit": What.ADJUSTMENT,
}
GEMINI_WORDS = {
    "credit": What.DEPOSIT,
    "debit": What.WITHDRAWAL,
    "interest credit": What.INTEREST,
    "reward payout": What.INCOME,
    "buy": What.TRADE,
    "sell": What.TRADE,
}
GATE_WORDS = {
    "deposit*": What.DEPOSIT,
    "withdraw*": What.WITHDRAWAL,
    "order filled": What.TRADE,
    "trade filled": What.TRADE,
    "trade": What.TRADE,
    "trade fee": What.TRADE_FEE,
    "trading fee*": What.TRADE_FEE,
    "order placed": What.NOTHING,
    "order cancelled": What.NOTHING,
    "airdrop*": What.AIRDROP,
    "dust*": What.CONVERSION,
    "*interest*": What.INTEREST,
    "*funding*": What.FUNDING,
    "*transfer*": What.INTERNAL,
    "*rebate*": What.REBATE,
}
BITGET_WORDS = {
    "deposit*": What.DEPOSIT,
    "withdraw*": What.WITHDRAWAL,
    "*funding*": What.FUNDING,
    "contract main settle fee": What.FUNDING,
    "*settle fee*": What.FUNDING,
    "open*": What.FEE,
    "close*": What.SETTLEMENT,
    "*burst*": What.SETTLEMENT,
    "*trans*": What.INTERNAL,
    "buy": What.TRADE,
    "sell": What.TRADE,
    "airdrop*": What.AIRDROP,
    "*rebate*": What.REBATE,
}
_AMOUNT_OF = re.compile(r"(?P<asset>[A-Z0-9]+) Amount (?P=asset)")
_FEE_OF = re.compile(r"(?:Trading )?Fee \((?P<asset>[A-Z0-9]+)\) (?P=asset)")


def _money(row: Row, name: str) -> Money | None:
    """Return an amount with its asset: in the column beside it, or glued to it."""
    if not row.has(name):
        return None
    asset = row.text(f"{name}_asset")
    text, unit = numbers.with_unit(row.text(name), (asset,) if asset else ())
    amount = row.parsed(text, name)
    return Money(amount, row.reading.assets.named(values.currency(asset or unit, name)))


def _bitstamp(row: Row) -> Sequence[Fact]:
    word = row.text("kind")
    what = meaning(word, BITSTAMP_WORDS)
    moved, fee = _money(row, "amount"), _money(row, "fee")
    if what is None or moved is None:
        raise ReportUnreadable("kind", word, f"a type known here: {', '.join(BITSTAMP_WORDS)}")
    if what is What.NOTHING:
        return (Ignored(row.source, word),)
    if what is not What.TRADE:
        amount = -abs(moved.amount) if what is What.WITHDRAWAL else moved.amount
        paid = fee if fee is not None and fee.amount else None
        return (Moved(row.source, what, moved.currency, amount, id=row.text("id"), note=word, fee=paid),)
    value, rate = _money(row, "value"), _money(row, "price")
    if value is None or rate is None:
        raise ReportUnreadable("value", row.text("value"), "a value and a rate of what was traded")
    symbol = f"{moved.currency}/{value.currency}"
    contract = row.spot(symbol, base=moved.currency, quote=value.currency)
    price = rate.amount
    if abs(exact(price * abs(moved.amount)) - abs(value.amount)) * 100 > abs(value.amount):
        price = values.divide(abs(value.amount), abs(moved.amount))
    return (
        Traded(
            row.source, symbol, contract, row.side("side"), quantity=abs(moved.amount), price=price,
            amount=abs(value.amount), fees=(fee,) if fee is not None and fee.amount else (), id=row.text("id"),
            order_id=row.text("order_id"),
        ),
    )  # fmt: skip


def _gemini(row: Row) -> Sequence[Fact]:
    """Read a row with a pair of columns for each asset."""
    word, symbol = row.text("kind"), row.text("pair")
    what = meaning(word, GEMINI_WORDS, What.ADJUSTMENT) or What.ADJUSTMENT
    amounts, fees = _by_asset(row, _AMOUNT_OF), _by_asset(row, _FEE_OF)
    paid = tuple(Money(abs(fee.amount), fee.currency) for fee in fees)
    if what is What.TRADE:
        contract = row.spot(symbol)
        base = next((each for each in amounts if each.currency == contract.base), None)
        quote = next((each for each in amounts if each.currency == contract.quote), None)
        if base is None or quote is None:
            raise ReportUnreadable("pair", symbol, "a row with the amounts of both assets")
        side = Side.BUY if base.amount > 0 else Side.SELL
        quantity, amount = abs(base.amount), abs(quote.amount)
        return (
            Traded(
                row.source, symbol, contract, side, quantity=quantity, price=values.divide(amount, quantity),
                amount=amount, fees=paid, id=row.text("id"), order_id=row.text("order_id"), liquidity=row.liquidity(),
            ),
        )  # fmt: skip
    return tuple(
        Moved(row.source, what, each.currency, each.amount, id=row.text("tx"), note=word) for each in amounts
    ) or (Ignored(row.source, f"{word}: no amount"),)


def _by_asset(row: Row, pattern: re.Pattern[str]) -> list[Money]:
    found = []
    for header, text in row.cells():
        known = pattern.fullmatch(header)
        if known is not None and not numbers.is_absent(text):
            amount = row.parsed(text, header)
            if amount:
                found.append(Money(amount, row.reading.assets.named(known["asset"])))
    return found


LAYOUTS = (
    Layout(
        name="Bitstamp transactions",
        venue="BITSTAMP",
        columns={
            "kind": ("Type",), "time": ("Datetime",), "amount": ("Amount",), "value": ("Value",), "price": ("Rate",),
            "fee": ("Fee",), "side": ("Sub Type", "Subtype"),
        },
        others={
            "id": ("ID",), "amount_asset": ("Amount currency",), "value_asset": ("Value currency",),
            "price_asset": ("Rate currency",), "fee_asset": ("Fee currency",), "order_id": ("Order ID",),
        },
        ignored=("Account",),
        read=_bitstamp,
        symbol_form="{base}/{quote}",
        click="Transactions > Export",
        gives="fills, deposits, withdrawals, rewards",
    ),
    Layout(
        name="Gemini transactions",
        venue="GEMINI",
        columns={
            "date": ("Date",), "time": ("Time (UTC)", "Time"), "kind": ("Type",), "pair": ("Symbol",),
            "note": ("Specification",),
        },
        others={
            "liquidity": ("Liquidity Indicator",), "id": ("Trade ID",), "order_id": ("Order ID",), "tx": ("Tx Hash",),
        },
        ignored=("Trading Fee Rate (bps)", "Order Date", "Order Time", "Client Order ID", "API Session",
                 "Deposit Destination", "Deposit Tx Output", "Withdrawal Destination", "Withdrawal Tx Output"),
        read=_gemini,
        click="Account > Statements > Transaction history (XLSX)",
        gives="fills, deposits, withdrawals, interest",
    ),
    Layout(
        name="HTX spot trades",
        venue="HTX",
        columns={
            "pair": ("symbol",), "side": ("deal_type",), "price": ("price",), "qty": ("volume",),
            "amount": ("amount",), "fee": ("fee_amount",), "fee_asset": ("fee_currency",), "time": ("deal_time",),
        },
        ignored=("uid", "order_type", "account_type", "fee_point_currency", "fee_point_volume"),
        read=trades(Trades(is_upper=True)),
        symbol_form="{base}/{quote}",
        click="Orders > Trade history > Export",
        gives="fills",
    ),
    Layout(
        name="HTX spot trades (before 2022)",
        venue="HTX",
        columns={
            "time": ("Time",), "kind": ("Type",), "pair": ("Pair",), "side": ("Side",), "price": ("Price",),
            "qty": ("Amount",), "amount": ("Total",), "fee": ("Fee",),
        },
        read=trades(Trades(is_upper=True, is_average=False)),
        symbol_form="{base}/{quote}",
        click="Orders > Trade history > Export",
        gives="fills",
    ),
    Layout(
        name="HTX deposits",
        venue="HTX",
        columns={
            "asset": ("currency",), "id": ("tx_hash",), "from": ("from_address",), "amount": ("amount",),
            "time": ("deposit_time",),
        },
        ignored=("uid", "to_address"),
        read=ledger(Ledger({}, What.DEPOSIT, is_signed=False, is_upper=True)),
        click="Assets > Deposit history > Export",
        gives="deposits",
    ),
    Layout(
        name="HTX withdrawals",
        venue="HTX",
        columns={
            "asset": ("currency",), "id": ("tx_hash",), "note": ("to_address",), "amount": ("amount",), "fee": ("fee",),
            "time": ("withdraw_time",),
        },
        ignored=("uid",),
        read=ledger(Ledger({}, What.WITHDRAWAL, is_signed=False, is_fee_beside=True, is_upper=True)),
        click="Assets > Withdrawal history > Export",
        gives="withdrawals, with their fees",
    ),
    Layout(
        name="Gate spot trades",
        venue="GATE",
        columns={
            "time": ("Time",), "side": ("Trade Type", "Side"), "pair": ("Pair", "Currency Pair"), "price": ("Price",),
            "qty": ("Amount",), "fee": ("Fee",), "no": ("No", "No."),
        },
        others={"amount": ("Total",), "order_id": ("Order id",), "id": ("Trade id",), "fee_asset": ("Fee Currency",)},
        read=trades(Trades(is_glued=True, fee_in="received")),
        symbol_form="{base}_{quote}",
        click="Orders > Spot > Trade history > Download",
        gives="fills",
    ),
    Layout(
        name="Gate billing",
        venue="GATE",
        columns={
            "time": ("time",), "kind": ("action_desc",), "group": ("action_data",), "asset": ("type",),
            "amount": ("change_amount",), "balance": ("total",),
        },
        ignored=("no", "amount"),
        read=ledger(Ledger(GATE_WORDS, What.ADJUSTMENT, group=("group",))),
        symbol_form="{base}_{quote}",
        click="Wallet > Billing details > Download",
        gives="all that moved",
    ),
    Layout(
        name="Bitget transactions",
        venue="BITGET",
        columns={
            "id": ("Order",), "time": ("Date",), "asset": ("Coin",), "kind": ("Type",), "amount": ("Amount",),
            "fee": ("Fee",), "balance": ("Wallet balance", "Available balance"),
        },
        others={"pair": ("Futures",)},
        ignored=("Margin Mode",),
        read=ledger(Ledger(BITGET_WORDS, What.ADJUSTMENT, is_fee_beside=True, group=("id",))),
        click="Assets > Transactions > Export",
        gives="all that moved; of futures fees, funding and profit",
    ),
    Layout(
        name="Crypto.com exchange trades",
        venue="CRYPTOCOM",
        columns={
            "order_id": ("order_id",), "id": ("trade_id",), "time": ("create_time_utc", "Time (UTC)", "create_time"),
            "pair": ("symbol", "instrument"), "side": ("side",), "price": ("traded_price", "trade_price"),
            "qty": ("traded_quantity", "trade_quantity"), "fee": ("fee", "fees"),
            "fee_asset": ("fee_currency", "fees_currency"),
        },
        others={"liquidity": ("liquidity_indicator", "liquditiy_indicator", "taker_side")},
        ignored=("account_type", "account_id", "client_oid", "journal_type", "event_date"),
        read=trades(Trades(fee_sign=0)),
        symbol_form="{base}_{quote}",
        click="Orders > Trade history > Export",
        gives="fills",
    ),
)  # fmt: skip

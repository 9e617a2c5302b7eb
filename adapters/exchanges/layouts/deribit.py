"""Deribit: the transaction log of one currency, with options, futures and perpetuals."""

import re
from collections.abc import Sequence

from adapters.exchanges.files import contracts
from adapters.exchanges.files.facts import Fact, Funded, Ignored, Moved, Traded, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import meaning
from domain.errors import ReportUnreadable
from domain.values import Money, exact

VENUE = "DERIBIT"
WORDS = {
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "transfer*": What.INTERNAL,
    "*reward*": What.INTEREST,
    "negative balance fee": What.FEE,
    "swap": What.CONVERSION,
    "correction": What.ADJUSTMENT,
}
_CURRENCY = re.compile(r"(?<![A-Za-z])(BTC|ETH|SOL|XRP|USDC|USDT|USDE|EURR|BUIDL|STETH|PAXG|BNB|MATIC)(?![A-Za-z])")


def currency(row: Row) -> str:
    """Return the currency of a log: that of a column, of the row's instrument, or in the file's name.

    Raises ReportUnreadable where none says it.
    """
    if row.text("asset"):
        return row.asset("asset")
    name = row.text("pair")
    if name and name != "-":
        return contracts.deribit(name).settle
    found = _CURRENCY.search(row.reading.origin)
    if found is None:
        rule = "a log whose currency is known; keep it in the file's name, such as transactions-BTC.csv"
        raise ReportUnreadable("currency", row.reading.origin.strip()[:80], rule)
    return found[1]


def _log(row: Row) -> Sequence[Fact]:
    word, asset = row.text("kind").casefold(), currency(row)
    change, fee = row.amount("amount"), row.amount("fee")
    if word in ("trade", "delivery", "liquidation", "exercise") and row.has("qty") and row.text("pair"):
        return _traded(row, asset)
    if word == "settlement":
        return _settled(row, asset)
    if not change:
        return (Ignored(row.source, f"{word}: no change"),)
    what = meaning(word, WORDS, What.ADJUSTMENT) or What.ADJUSTMENT
    paid = Money(fee, asset) if fee and what is What.WITHDRAWAL else None
    amount = exact(change + fee) if paid is not None else change
    note = row.text("note") or word
    return (
        Moved(row.source, what, asset, amount, id=row.text("id"), note=note, fee=paid, balance=row.maybe("balance")),
    )


def _traded(row: Row, asset: str) -> Sequence[Fact]:
    """Return a fill; what expires is one at the price of its delivery, zero where it is worth nothing."""
    name, quantity, word = row.text("pair"), abs(row.number("qty")), row.text("kind").casefold()
    contract = row.reading.assets.listed(name) or contracts.deribit(name)
    paid = row.amount("fee")
    trade_id = row.text("trade") if row.has("trade") else ""
    return (
        Traded(
            row.source, name, contract, row.side(), quantity=quantity, price=row.amount("price"),
            fees=(Money(paid, asset),) if paid else (), id=trade_id or f"{word}-{row.text('id')}",
            order_id=row.text("order_id") if row.has("order_id") else "",
        ),
    )  # fmt: skip


def _settled(row: Row, asset: str) -> Sequence[Fact]:
    """Return the funding and the profit of a session that a settlement pays."""
    name, id_ = row.text("pair"), row.text("id")
    contract = row.reading.assets.listed(name) or contracts.deribit(name)
    funding, flow = row.amount("funding"), row.amount("flow")
    facts: list[Fact] = []
    if flow:
        facts.append(Moved(row.source, What.SETTLEMENT, asset, flow, id=id_, note=f"settlement of {name}"))
    if funding:
        facts.append(Funded(row.source, name, contract, Money(funding, asset), id=f"settlement-{id_}"))
    return facts or (Ignored(row.source, "a settlement of nothing"),)


LAYOUTS = (
    Layout(
        name="Deribit transaction log",
        venue=VENUE,
        columns={
            "id": ("ID",), "time": ("Date",), "pair": ("Instrument",), "kind": ("Type",), "side": ("Side",),
            "qty": ("Amount", "Base Amount", "Size"), "price": ("Price",), "flow": ("Cash Flow",),
            "funding": ("Funding",), "fee": ("Fee Charged", "Fee Paid"), "amount": ("Change",),
            "balance": ("Balance",), "trade": ("Trade ID",), "order_id": ("Order ID",),
        },
        others={"note": ("Info",), "asset": ("Currency",)},
        ignored=("UserSeq", "Position", "Mark Price", "Index Price", "Fee Rate", "Fee Balance", "Equity", "Note",
                 "Base Amount"),
        read=_log,
        click="Account > Transaction log > Download, one currency a file",
        gives="all that moved: fills, expiries, funding, settlements, deposits, withdrawals",
    ),
)  # fmt: skip

"""Files of portfolio trackers: Koinly, CoinTracking, and rotki's generic ones."""

from collections.abc import Sequence

from adapters.exchanges.files.facts import Converted, Fact, Moved, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import Ledger, Sides, ledger, sides
from domain.errors import ReportUnreadable
from domain.values import Money

KOINLY = {
    "*reward*": What.STAKING,
    "*staking*": What.STAKING,
    "*mining*": What.INCOME,
    "*airdrop*": What.AIRDROP,
    "*fork*": What.AIRDROP,
    "*interest*": What.INTEREST,
    "*cashback*": What.REBATE,
    "*fee refund*": What.REBATE,
    "*income*": What.INCOME,
    "*salary*": What.INCOME,
    "*realized*": What.SETTLEMENT,
    "*margin fee*": What.FEE,
    "cost": What.FEE,
    "*loan*": What.LOAN,
}
COINTRACKING = {
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "staking": What.STAKING,
    "masternode": What.STAKING,
    "mining*": What.INCOME,
    "airdrop*": What.AIRDROP,
    "interest income": What.INTEREST,
    "lending income": What.INTEREST,
    "income*": What.INCOME,
    "reward / bonus": What.INCOME,
    "other income*": What.INCOME,
    "other fee": What.FEE,
    "derivatives / futures profit": What.SETTLEMENT,
    "derivatives / futures loss": What.SETTLEMENT,
    "margin profit": What.SETTLEMENT,
    "margin loss": What.SETTLEMENT,
    "margin fee": What.FEE,
}
ROTKI = {
    "deposit": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "income": What.INCOME,
    "loss": What.ADJUSTMENT,
    "spend": What.WITHDRAWAL,
    "staking": What.STAKING,
}


def _rotki_trade(row: Row) -> Sequence[Fact]:
    """Read a trade: of a row that has one side only the other one is missing."""
    sold, bought = Money(row.positive("sent"), row.asset("sent_asset")), None
    bought = Money(row.positive("received"), row.asset("received_asset"))
    fee = row.amount("fee")
    if sold.currency == bought.currency:
        raise ReportUnreadable("received_asset", bought.currency, "another asset than the one spent")
    paid = Money(fee, row.asset("fee_asset")) if fee else None
    note = f"{row.text('location')}: {row.text('note')}"
    return (Converted(row.source, sold, bought, paid, note=note),)


_events = ledger(Ledger(ROTKI, is_signed=False, is_fee_beside=True))


def _rotki_event(row: Row) -> Sequence[Fact]:
    if row.text("kind").casefold() != "loss":
        return _events(row)
    amount, asset = row.positive("amount"), row.asset("asset")
    return (Moved(row.source, What.ADJUSTMENT, asset, -amount, note=row.text("note") or "loss"),)


LAYOUTS = (
    Layout(
        name="Koinly",
        venue="KOINLY",
        is_venue=False,
        columns={
            "time": ("Date", "Date (UTC)", "Koinly Date"), "sent": ("Sent Amount", "From Amount"),
            "sent_asset": ("Sent Currency", "From Currency"), "received": ("Received Amount", "To Amount"),
            "received_asset": ("Received Currency", "To Currency"), "fee": ("Fee Amount",),
            "fee_asset": ("Fee Currency",),
        },
        others={
            "kind": ("Label", "Tag"), "note": ("Description",), "tx": ("TxHash",), "id": ("ID (read-only)",),
            "type": ("Type",),
        },
        ignored=("Net Worth Amount", "Net Worth Currency"),
        read=sides(Sides(KOINLY)),
        click="Koinly: Transactions > Export, or the universal template",
        gives="exchanges as conversions, deposits, withdrawals, rewards",
    ),
    Layout(
        name="CoinTracking",
        venue="COINTRACKING",
        is_venue=False,
        columns={
            "kind": ("Type",), "received": ("Buy", "Buy Amount"), "received_asset": ("Cur.", "Buy Currency"),
            "sent": ("Sell", "Sell Amount"), "sent_asset": ("Cur. 2", "Sell Currency"), "fee": ("Fee",),
            "fee_asset": ("Cur. 3", "Fee Currency"), "time": ("Date", "Trade Date"),
        },
        others={"location": ("Exchange",), "note": ("Comment",), "id": ("Tx-ID", "Tx ID")},
        ignored=("Group", "Trade Group"),
        read=sides(Sides(COINTRACKING)),
        click="CoinTracking: Enter Coins > Export > CSV (full)",
        gives="trades as conversions, deposits, withdrawals, income",
    ),
    Layout(
        name="rotki generic trades",
        venue="ROTKI",
        is_venue=False,
        columns={
            "location": ("Location",), "sent_asset": ("Spend Currency",), "received_asset": ("Receive Currency",),
            "received": ("Receive Amount",), "sent": ("Spend Amount",), "fee": ("Fee",),
            "fee_asset": ("Fee Currency",), "time": ("Timestamp",),
        },
        others={"note": ("Description",)},
        read=_rotki_trade,
        click="rotki's generic import of trades",
        gives="trades as conversions",
    ),
    Layout(
        name="rotki generic events",
        venue="ROTKI",
        is_venue=False,
        columns={
            "kind": ("Type",), "location": ("Location",), "asset": ("Currency",), "amount": ("Amount",),
            "fee": ("Fee",), "fee_asset": ("Fee Currency",), "time": ("Timestamp",),
        },
        others={"note": ("Description",)},
        read=_rotki_event,
        click="rotki's generic import of events",
        gives="deposits, withdrawals, income, staking, losses",
    ),
)  # fmt: skip

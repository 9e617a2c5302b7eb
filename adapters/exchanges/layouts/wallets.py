"""Wallets and brokers: the Crypto.com app, Nexo, Uphold and Bisq."""

from collections.abc import Sequence

from adapters.exchanges.files.facts import Converted, Fact, Ignored, Moved, Traded, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import meaning
from domain.errors import ReportUnreadable
from domain.values import Money, Side, divide, exact

APP_WORDS = {
    "crypto deposit": What.DEPOSIT,
    "viban deposit*": What.DEPOSIT,
    "crypto purchase": What.DEPOSIT,
    "exchange to crypto transfer": What.DEPOSIT,
    "crypto withdrawal": What.WITHDRAWAL,
    "viban withdrawal*": What.WITHDRAWAL,
    "crypto to exchange transfer": What.WITHDRAWAL,
    "crypto payment*": What.WITHDRAWAL,
    "card top up": What.WITHDRAWAL,
    "crypto earn program*": What.INTERNAL,
    "*lockup*": What.INTERNAL,
    "lockup*": What.INTERNAL,
    "supercharger*": What.INTERNAL,
    "supercharger reward*": What.STAKING,
    "crypto earn interest paid": What.INTEREST,
    "crypto earn extra interest paid": What.INTEREST,
    "*stake reward": What.STAKING,
    "*staking reward*": What.STAKING,
    "*cashback*": What.REBATE,
    "reimbursement*": What.REBATE,
    "*rebate*": What.REBATE,
    "referral*": What.INCOME,
    "rewards platform*": What.INCOME,
    "admin wallet credited": What.INCOME,
    "dust conversion*": What.CONVERSION,
    "*swap*": What.REBRANDING,
}
NEXO_WORDS = {
    "deposit": What.DEPOSIT,
    "top up crypto": What.DEPOSIT,
    "withdrawal": What.WITHDRAWAL,
    "*interest*": What.INTEREST,
    "dividend": What.INCOME,
    "bonus": What.INCOME,
    "*bonus*": What.INCOME,
    "cashback": What.REBATE,
    "exchange cashback": What.REBATE,
    "liquidation": What.SETTLEMENT,
    "repayment": What.LOAN,
    "loan withdrawal": What.LOAN,
    "administrator": What.ADJUSTMENT,
}
NEXO_STAYS = ("locking", "unlocking", "transfer in", "transfer out", "credit card", "exchange to withdraw",
              "deposit to exchange", "exchange deposited", "withdraw exchanged", "withdrawal credit")  # fmt: skip


def _app(row: Row) -> Sequence[Fact]:
    word = row.text("kind")
    amount, asset = row.number("amount"), row.asset("asset")
    note = row.text("note") or word
    if row.has("to_amount") and row.text("to_asset") and row.text("to_asset") != row.text("asset"):
        got = Money(abs(row.number("to_amount")), row.asset("to_asset"))
        return (Converted(row.source, Money(abs(amount), asset), got, note=note),)
    what = meaning(word, APP_WORDS, What.ADJUSTMENT) or What.ADJUSTMENT
    if not amount:
        return (Ignored(row.source, f"{word}: no amount"),)
    return (Moved(row.source, what, asset, amount, id=row.text("id"), note=note),)


def _nexo(row: Row) -> Sequence[Fact]:
    """Read a row with an input and an output; its details begin with `approved`, `rejected` or `pending`."""
    word, details = row.text("kind"), row.text("note")
    state = details.partition("/")[0].strip().casefold()
    small = word.casefold()
    if state and state not in ("approved", "processed", "completed"):
        return (Ignored(row.source, f"{word}: {state}"),)
    if small.startswith(NEXO_STAYS):
        return (Ignored(row.source, f"{word}: stays with the owner, or another row has it"),)
    given, got = row.amount("sent"), row.amount("received")
    sent, received = row.text("sent_asset"), row.text("received_asset") or row.text("sent_asset")
    if sent != received and given and got:
        bought = Money(abs(got), row.asset("received_asset"))
        return (Converted(row.source, Money(abs(given), row.asset("sent_asset")), bought, note=word),)
    amount = given or got
    if not amount:
        return (Ignored(row.source, f"{word}: no amount"),)
    what = meaning(word, NEXO_WORDS, What.ADJUSTMENT) or What.ADJUSTMENT
    return (Moved(row.source, what, row.asset("sent_asset"), amount, note=f"{word}: {details}"),)


def _uphold(row: Row) -> Sequence[Fact]:
    """Read a row from an origin to a destination; the origin's amount includes the fee."""
    if row.text("status").casefold() not in ("completed", ""):
        return (Ignored(row.source, f"status: {row.text('status')}"),)
    given = Money(row.positive("sent"), row.asset("sent_asset"))
    got = Money(row.positive("received"), row.asset("received_asset"))
    match row.text("kind").casefold():
        case "in":
            return (Moved(row.source, What.DEPOSIT, got.currency, got.amount, note=f"from {row.text('origin')}"),)
        case "out":
            to = row.text("destination")
            return (Moved(row.source, What.WITHDRAWAL, given.currency, -given.amount, note=f"to {to}"),)
        case "transfer":
            if given.currency != got.currency:
                return (Converted(row.source, given, got, note="transfer"),)
            missing = exact(got.amount - given.amount)
            if not missing:
                return (Ignored(row.source, "stays with the owner"),)
            return (
                Moved(row.source, What.FEE if missing < 0 else What.INCOME, got.currency, missing, note="transfer"),
            )
        case word:
            raise ReportUnreadable("type", word, "in, out or transfer")


def _bisq(row: Row) -> Sequence[Fact]:
    status = row.text("status").casefold()
    if status not in ("completed", "mediated"):
        return (Ignored(row.source, f"status: {status}"),)
    market = row.text("pair")
    contract = row.spot(market)
    in_btc, other = row.positive("btc"), row.positive("amount")
    quantity, amount = (in_btc, other) if contract.base == "BTC" else (other, in_btc)
    price = row.positive("price")
    if abs(exact(price * quantity) - amount) * 100 > amount:
        raise ReportUnreadable("amount", row.text("amount"), f"price x quantity, about {exact(price * quantity):f}")
    words = row.text("side").split()
    if len(words) != 2 or words[0].casefold() not in ("buy", "sell"):
        raise ReportUnreadable("offer type", row.text("side"), "such as `Buy BTC`")
    is_buy = (words[0].casefold() == "buy") is (words[1] == contract.base)
    fees = [("network", "BTC"), ("fee_btc", "BTC"), ("fee_bsq", "BSQ")]
    paid = tuple(Money(row.amount(name), asset) for name, asset in fees if row.has(name) and row.amount(name))
    return (
        Traded(
            row.source, market, contract, Side.BUY if is_buy else Side.SELL, quantity=quantity,
            price=divide(amount, quantity), amount=amount, fees=paid, id=row.text("id"),
        ),
    )  # fmt: skip


LAYOUTS = (
    Layout(
        name="Crypto.com app",
        venue="CRYPTOCOM",
        columns={
            "time": ("Timestamp (UTC)",), "note": ("Transaction Description",), "asset": ("Currency",),
            "amount": ("Amount",), "to_asset": ("To Currency",), "to_amount": ("To Amount",),
            "kind": ("Transaction Kind",),
        },
        others={"id": ("Transaction Hash",)},
        ignored=("Native Currency", "Native Amount", "Native Amount (in USD)"),
        read=_app,
        click="Accounts > History > Export",
        gives="deposits, withdrawals, exchanges as conversions, interest, cashback",
    ),
    Layout(
        name="Nexo transactions",
        venue="NEXO",
        columns={
            "id": ("Transaction",), "kind": ("Type",), "sent_asset": ("Input Currency", "Currency"),
            "sent": ("Input Amount", "Amount"), "note": ("Details",), "time": ("Date / Time (UTC)", "Date / Time"),
        },
        others={"received_asset": ("Output Currency",), "received": ("Output Amount",)},
        ignored=("USD Equivalent", "Outstanding Loan", "Fee", "Fee Currency", "normalizedDisplayDetails"),
        read=_nexo,
        click="Transactions > Export",
        gives="deposits, withdrawals, exchanges as conversions, interest, loans",
    ),
    Layout(
        name="Uphold transactions",
        venue="UPHOLD",
        columns={
            "time": ("Date",), "destination": ("Destination",), "received": ("Destination Amount",),
            "received_asset": ("Destination Currency",), "origin": ("Origin",), "sent": ("Origin Amount",),
            "sent_asset": ("Origin Currency",), "status": ("Status",), "kind": ("Type",), "id": ("Id",),
        },
        ignored=("Fee Amount", "Fee Currency"),
        read=_uphold,
        click="Activity > Export CSV",
        gives="deposits, withdrawals, exchanges as conversions",
    ),
    Layout(
        name="Bisq trades",
        venue="BISQ",
        columns={
            "id": ("Trade ID",), "time": ("Date/Time",), "pair": ("Market",), "price": ("Price",),
            "btc": ("Amount in BTC",), "amount": ("Amount",), "currency": ("Currency",), "side": ("Offer type",),
            "status": ("Status",),
        },
        others={
            "network": ("Transaction Fee",), "fee_btc": ("Trade Fee BTC",), "fee_bsq": ("Trade Fee BSQ",),
        },
        ignored=("Deviation", "Buyer Deposit", "Seller Deposit"),
        read=_bisq,
        symbol_form="{base}/{quote}",
        click="Portfolio > History > Export to CSV",
        gives="fills with network and trade fees",
    ),
)  # fmt: skip

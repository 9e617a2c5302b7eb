"""OKX: bills of the trading account in three forms, trades of before 2021, and the funding account."""

from collections.abc import Sequence
from decimal import Decimal

from adapters.exchanges.files import contracts
from adapters.exchanges.files.facts import Fact, Funded, Ignored, Moved, Traded, What
from adapters.exchanges.files.layout import Layout, Row
from adapters.exchanges.files.shapes import Ledger, Trades, ledger, meaning, trades
from domain.errors import ReportUnreadable
from domain.instrument import Contract
from domain.values import Money, exact

VENUE = "OKX"
WORDS = {
    "deposit*": What.DEPOSIT,
    "withdraw*": What.WITHDRAWAL,
    "transfer*": What.INTERNAL,
    "funding*": What.FUNDING,
    "interest*": What.INTEREST,
    "*rebate*": What.REBATE,
    "*reward*": What.INCOME,
    "*earn*": What.INTERNAL,
    "*airdrop*": What.AIRDROP,
    "*convert*": What.CONVERSION,
    "*staking*": What.STAKING,
}
SIZES = {  # base units a contract, as the venue's public list of instruments has them, 2026-11
    "BTC-USDT-SWAP": "0.01", "ETH-USDT-SWAP": "0.1", "SOL-USDT-SWAP": "1", "XRP-USDT-SWAP": "100",
    "LTC-USDT-SWAP": "1", "DOGE-USDT-SWAP": "1000", "ADA-USDT-SWAP": "100", "BTC-USDC-SWAP": "0.01",
    "ETH-USDC-SWAP": "0.1", "BTC-USD-SWAP": "100", "ETH-USD-SWAP": "10",
}  # fmt: skip


def contract_of(row: Row, symbol: str) -> Contract:
    """Return a derivative's contract. Raises ReportUnreadable where its size is not known."""
    listed = row.reading.assets.listed(symbol)
    if listed is not None:
        return listed
    base, quote, *_ = [*symbol.split("-"), ""]
    if not quote:
        raise ReportUnreadable("symbol", symbol, "a symbol such as BTC-USDT-SWAP")
    is_coin = row.text("unit").casefold() not in ("cont", "contract", "contracts", "")
    size = Decimal(1) if is_coin else Decimal(SIZES.get(symbol, "0"))
    if not size:
        command = f"daybook instrument add {symbol}.{VENUE} --kind LINEAR --contract-size SIZE"
        raise ReportUnreadable("symbol", symbol, f"a contract whose size is known; list it with `{command} ...`")
    is_inverse = quote == "USD"
    return contracts.inverse(base, quote, size=size) if is_inverse else contracts.linear(base, quote, size=size)


def _bill(row: Row) -> Sequence[Fact]:
    action, symbol, kind = row.text("action"), row.text("pair"), row.text("kind").casefold()
    asset, change, fee = row.asset("asset"), row.amount("amount"), row.amount("fee")
    what = meaning(action, WORDS)
    side = action.casefold()
    if what is What.FUNDING and symbol:
        money = Money(change, asset)
        return (Funded(row.source, symbol, contract_of(row, symbol), money, id=row.text("id")),) if change else (
            Ignored(row.source, "funding of nothing"),
        )  # fmt: skip
    paid = Money(-fee, row.reading.assets.named(row.text("fee_asset") or asset)) if fee else None
    if kind in ("spot", "margin") and side in ("buy", "sell"):
        is_beside = paid is not None and paid.currency == asset
        gross = exact(change - fee) if is_beside else change
        group = "|".join((row.text("order_id"), row.text("price"), row.text("qty")))
        return (
            Moved(
                row.source, What.TRADE, asset, gross, group=group, note=f"{action} {symbol}", symbol=symbol,
                fee=paid, balance=row.maybe("balance"),
            ),
        )  # fmt: skip
    if symbol and row.has("price") and side.split()[0] in ("buy", "sell", "open", "close"):
        contract = contract_of(row, symbol)
        return (
            Traded(
                row.source, symbol, contract, row.side("action"), quantity=abs(row.number("qty")),
                price=row.number("price"), fees=(paid,) if paid is not None else (), id=row.text("id"),
                order_id=row.text("order_id"),
            ),
        )  # fmt: skip
    if not change:
        return (Ignored(row.source, f"{action}: no change"),)
    note = f"{action} {symbol}".strip()
    balance = row.maybe("balance")
    return (Moved(row.source, what or What.ADJUSTMENT, asset, change, id=row.text("id"), note=note, balance=balance),)


def _pair(row: Row) -> str:
    return row.text("pair").replace("_", "-").upper()


LAYOUTS = (
    Layout(
        name="OKX trading history",
        venue=VENUE,
        columns={
            "id": ("id",), "order_id": ("Order id",), "time": ("Time",), "kind": ("Trade Type",),
            "pair": ("Symbol", "Instrument"), "action": ("Action", "Type"), "qty": ("Amount",),
            "amount": ("Balance Change",), "balance": ("Balance",), "fee": ("Fee",),
            "asset": ("Balance Unit", "Unit 2"),
        },
        others={
            "price": ("Filled Price",), "unit": ("Trading Unit", "Unit"), "fee_asset": ("Fee Unit",),
        },
        ignored=("PnL", "PL", "Position Change", "Position Balance", "Position Unit", "Filled Price Unit", "id 2"),
        read=_bill,
        symbol_form="{base}-{quote}",
        click="Assets > Order center > Trading history > Export",
        gives="all that moved in the trading account: fills, funding, transfers",
    ),
    Layout(
        name="OKX trades (before 2021)",
        venue=VENUE,
        columns={
            "order_id": ("Order ID",), "id": ("Trade ID",), "time": ("Trade Time",), "pair": ("Pairs",),
            "qty": ("Amount",), "price": ("Price",), "amount": ("Total",), "liquidity": ("taker/maker",),
            "fee": ("Fee",), "fee_asset": ("unit",),
        },
        read=trades(Trades(is_signed=True, is_glued=True, fee_sign=-1, is_upper=True, symbol=_pair)),
        symbol_form="{base}-{quote}",
        click="Order history > Export",
        gives="fills",
    ),
    Layout(
        name="OKX funding account",
        venue=VENUE,
        columns={
            "id": ("id",), "time": ("Time",), "kind": ("Type",), "amount": ("Amount",),
            "before": ("Before Balance",), "balance": ("After Balance",), "asset": ("Symbol",),
        },
        others={"fee": ("Fee",)},
        ignored=("id 2",),
        read=ledger(Ledger(WORDS, What.ADJUSTMENT)),
        click="Assets > Funding > Bill details > Export",
        gives="deposits, withdrawals, transfers, earnings",
    ),
)  # fmt: skip

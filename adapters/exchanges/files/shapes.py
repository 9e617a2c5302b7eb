"""Shapes that most files have: trades, a ledger of movements, and rows with what was sent and what was received.

A layout names a shape and its options; a file of another shape has a function of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from adapters.exchanges.files import numbers
from adapters.exchanges.files.facts import Converted, Fact, Funded, Ignored, Moved, Traded, What
from adapters.exchanges.files.layout import FAILED, Read, Row
from domain import values
from domain.errors import ReportUnreadable
from domain.instrument import Contract
from domain.values import Money, Side, divide, exact

AMOUNT_PPM_MAX = 5_000  # how far a rounded price times quantity may be from the amount beside it
NEGATIVE = frozenset({What.WITHDRAWAL, What.FEE, What.TRADE_FEE})
POSITIVE = frozenset({What.DEPOSIT, What.INTEREST, What.STAKING, What.AIRDROP, What.REBATE, What.INCOME})


class Trades(NamedTuple):
    """Options of a file of trades.

    `contract` makes the instrument's contract, of spot from the pair if absent. `fee_sign` is -1 where fees that were
    paid are negative, 0 where a sign says nothing. `fee_in` is the asset of fees without a column of it: quote, base,
    received or settle. `is_signed`: a quantity below zero was sold. `is_average`: the price is rounded, and the amount
    exact. `is_quantity_quote`: quantities are quote units.
    """

    contract: Callable[[Row], Contract] | None = None
    fee_sign: int = 1
    fee_in: str = "quote"
    is_signed: bool = False
    is_average: bool = False
    is_glued: bool = False
    is_upper: bool = False
    symbol: Callable[[Row], str] | None = None


def trades(options: Trades | None = None) -> Read:
    """Return the reading of a file with one fill a row."""
    return partial(_trade, options or Trades())


def _trade(options: Trades, row: Row) -> Sequence[Fact]:
    if is_failed(row):
        return (Ignored(row.source, f"{row.reading.layout.status}: {row.text('status')}"),)
    pair = options.symbol(row) if options.symbol is not None else row.text("pair")
    pair = pair.upper() if options.is_upper else pair
    contract = _contract(options, row, pair)
    written = row.number("qty") if not options.is_glued else row.parsed(_bare(row, "qty", contract), "qty")
    if not written:
        return (Ignored(row.source, "nothing was filled"),)
    side = (Side.BUY if written > 0 else Side.SELL) if options.is_signed else row.side()
    quantity = abs(written)
    amount = _amount(options, row, contract)
    price = _price(options, row, quantity=quantity, amount=amount)
    return (
        Traded(
            row.source, pair, contract, side, quantity=quantity, price=price, amount=amount,
            fees=_fees(options, row, contract, side), id=row.text("id"), order_id=row.text("order_id"),
            liquidity=row.liquidity(),
        ),
    )  # fmt: skip


def _contract(options: Trades, row: Row, pair: str) -> Contract:
    if options.contract is not None:
        return row.reading.assets.listed(pair) or options.contract(row)
    base, quote = row.text("base"), row.text("quote")
    if options.is_upper:
        base, quote = base.upper(), quote.upper()
    if options.is_glued and not base:
        base, quote = _glued_pair(row, pair)
    return row.spot(pair, base=base, quote=quote)


def _glued_pair(row: Row, pair: str) -> tuple[str, str]:
    """Return base and quote by the units glued to quantity and amount; empty where they say none."""
    qty, amount = row.text("qty"), row.text("amount")
    for at in range(1, len(pair)):
        base, quote = pair[:at], pair[at:].lstrip("-_/")
        if numbers.with_unit(qty, [base])[1] == base and numbers.with_unit(amount, [quote])[1] == quote:
            return base, quote
    return "", ""


def _bare(row: Row, name: str, contract: Contract) -> str:
    return numbers.with_unit(row.text(name), (contract.base, contract.quote))[0]


def _amount(options: Trades, row: Row, contract: Contract) -> Decimal | None:
    if not row.has("amount"):
        return None
    return abs(row.parsed(_bare(row, "amount", contract), "amount") if options.is_glued else row.number("amount"))


def _price(options: Trades, row: Row, *, quantity: Decimal, amount: Decimal | None) -> Decimal:
    """Return the price: as stated, or of the amount where that is what is exact. Raises ReportUnreadable."""
    stated = row.maybe("price")
    if stated is None or (not stated and amount):
        if amount is None:
            raise ReportUnreadable("price", row.text("price"), "a finite decimal number")
        return divide(amount, quantity)
    if amount is None or options.contract is not None:
        return stated
    product = exact(stated * quantity)
    if product == amount:
        return stated
    if abs(product - amount) * 1_000_000 > AMOUNT_PPM_MAX * max(amount, product) and not _is_rounding(product, amount):
        raise ReportUnreadable("amount", row.text("amount"), f"price x quantity, which is {product:f}")
    return divide(amount, quantity) if options.is_average else stated


def _is_rounding(product: Decimal, amount: Decimal) -> bool:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "numbers of files are finite"
    return abs(product - amount) <= Decimal(1).scaleb(min(exponent, -2))


def _fees(options: Trades, row: Row, contract: Contract, side: Side) -> tuple[Money, ...]:
    """Return the fees of a trade: a number with an asset beside it, glued to it, or of the layout's choice."""
    if not row.has("fee"):
        return ()
    text, unit = numbers.with_unit(row.text("fee"), (contract.base, contract.quote, "BNB"))
    fee = row.parsed(text, "fee")
    if not fee:
        return ()
    asset = row.text("fee_asset") or unit
    asset = asset.upper() if options.is_upper else asset
    named = (
        row.reading.assets.named(values.currency(asset, "fee_asset")) if asset else _fee_asset(options, contract, side)
    )
    return (Money(fee * options.fee_sign if options.fee_sign else abs(fee), named),)


def _fee_asset(options: Trades, contract: Contract, side: Side) -> str:
    match options.fee_in:
        case "base":
            return contract.base
        case "received":
            return contract.base if side is Side.BUY else contract.quote
        case "settle":
            return contract.settle
        case _:
            return contract.quote


def is_failed(row: Row) -> bool:
    """Whether a row's status is that of something that did not happen, or not yet."""
    status = row.text("status")
    return bool(status) and FAILED.match(status) is not None


class Ledger(NamedTuple):
    """Options of a file of movements.

    `words` say what a row is by its kind, `otherwise` what others are: None makes them unreadable. `is_signed` amounts
    have a sign; others get it from what they are. `is_fee_beside`: a fee is taken in addition to the amount.
    `group` are the columns whose cells say what belongs together; without, legs of one moment do. `is_id_shared`: an
    id may be that of several rows.
    """

    words: Mapping[str, What]
    otherwise: What | None = None
    is_signed: bool = True
    is_fee_beside: bool = False
    group: tuple[str, ...] = ()
    is_id_shared: bool = False
    is_upper: bool = False
    kind: tuple[str, ...] = ("kind",)
    group_id: str = ""  # the column with the id of what a group says together, such as a trade
    wallet_of: Callable[[Row], str] | None = None


def ledger(options: Ledger) -> Read:
    """Return the reading of a file with one movement of one asset a row."""
    return partial(_movement, options)


def _movement(options: Ledger, row: Row) -> Sequence[Fact]:
    if is_failed(row):
        return (Ignored(row.source, f"status: {row.text('status')}"),)
    word = " ".join(row.text(name) for name in options.kind).strip()
    what = meaning(word, options.words, options.otherwise)
    if what is None:
        raise ReportUnreadable("kind", word, f"a kind of row known here: {', '.join(options.words)}")
    if what is What.NOTHING:
        return (Ignored(row.source, word),)
    text, unit = row.text("amount"), ""
    if not row.text("asset"):
        text, unit = numbers.with_unit(text, ())
    amount = row.parsed(text, "amount")
    asset = unit or row.text("asset")
    asset = row.reading.assets.named(values.currency(asset.upper() if options.is_upper else asset, "asset"))
    if not options.is_signed:
        amount = _signed(amount, what, row)
    fee = _paid_beside(options, row, asset)
    if not amount and fee is None:
        return (Ignored(row.source, f"{word}: no amount"),)
    balance = None if not row.has("balance") else row.number("balance")
    return (
        Moved(
            row.source, what, asset, amount, id="" if options.is_id_shared or is_leg(what) else row.text("id"),
            group="|".join(row.text(name) for name in options.group) if is_leg(what) else "",
            note=row.text("note") or word, fee=fee, balance=balance, symbol=row.text("pair"),
            wallet=options.wallet_of(row) if options.wallet_of is not None else row.text("wallet"),
            group_id=row.text(options.group_id) if is_leg(what) else "",
        ),
    )  # fmt: skip


def is_leg(what: What) -> bool:
    """Whether a movement is a part of something that several rows say together."""
    return what in (What.TRADE, What.TRADE_FEE, What.CONVERSION)


def meaning(word: str, words: Mapping[str, What], otherwise: What | None = None) -> What | None:
    """Return what a word says, by itself or by the first of `words` that ends with `*` and fits: as its
    beginning or, where that begins with `*` too, as a part of it."""
    small = " ".join(word.replace("_", " ").split()).casefold()
    found = words.get(small)
    if found is not None:
        return found
    for known, what in words.items():
        if known.endswith("*") and (small.startswith(known[:-1]) or (known[0] == "*" and known[1:-1] in small)):
            return what
    return otherwise


def _signed(amount: Decimal, what: What, row: Row) -> Decimal:
    if what in NEGATIVE:
        return -abs(amount)
    if what in POSITIVE:
        return abs(amount)
    side = row.text("side").casefold()
    if side in ("withdrawal", "out", "sell", "debit", "sent", "send"):
        return -abs(amount)
    if side in ("deposit", "in", "buy", "credit", "received", "receive"):
        return abs(amount)
    return amount


def _paid_beside(options: Ledger, row: Row, asset: str) -> Money | None:
    if not options.is_fee_beside or not row.has("fee"):
        return None
    text, unit = numbers.with_unit(row.text("fee"), (asset,))
    fee = abs(row.parsed(text, "fee"))
    named = row.text("fee_asset") or unit
    return Money(fee, row.reading.assets.named(named) if named else asset) if fee else None


class Sides(NamedTuple):
    """Options of a file whose rows have what was sent and what was received.

    `words` say what a row with one side only is, and which rows move nothing; by default deposits and withdrawals.
    """

    words: Mapping[str, What] = {}
    is_sent_negative: bool = False
    is_id_shared: bool = True


def sides(options: Sides | None = None) -> Read:
    """Return the reading of a file with what was sent, what was received and a fee in each row."""
    return partial(_exchange, options or Sides())


def _exchange(options: Sides, row: Row) -> Sequence[Fact]:
    word = row.text("kind")
    what = meaning(word, options.words)
    if is_failed(row) or what is What.NOTHING:
        return (Ignored(row.source, f"{word} {row.text('status')}".strip()),)
    sent, received = _side(row, "sent"), _side(row, "received")
    fee = _side(row, "fee")
    note = row.text("note") or word
    id_ = "" if options.is_id_shared else row.text("id")
    if sent is not None and received is not None:
        if sent.currency == received.currency:
            return _same_asset(row, what or What.INTERNAL, sent, received, note=note)
        return (Converted(row.source, sent, received, fee, id=id_, note=note),)
    if sent is not None:
        return (Moved(row.source, what or What.WITHDRAWAL, sent.currency, -sent.amount, id=id_, note=note, fee=fee),)
    if received is not None:
        return (
            Moved(row.source, what or What.DEPOSIT, received.currency, received.amount, id=id_, note=note, fee=fee),
        )
    if fee is not None:
        return (Moved(row.source, What.FEE, fee.currency, -fee.amount, id=id_, note=note),)
    return (Ignored(row.source, f"{word}: no amount".strip()),)


def _same_asset(row: Row, what: What, sent: Money, received: Money, note: str) -> Sequence[Fact]:
    """Moved from one wallet of the owner to another: what is missing of it is a fee."""
    missing = exact(sent.amount - received.amount)
    if not missing:
        return (Ignored(row.source, f"{note}: stays with the owner"),)
    kind = What.FEE if missing > 0 else what
    return (Moved(row.source, kind, sent.currency, -missing, note=note),)


def _side(row: Row, name: str) -> Money | None:
    amount = row.amount(name)
    asset = row.text(f"{name}_asset")
    if not amount or not asset:
        return None
    return Money(abs(amount), row.reading.assets.named(values.currency(asset, f"{name}_asset")))


def funding(row: Row, symbol: str, contract: Contract, amount: Decimal, asset: str = "") -> Sequence[Fact]:
    """Return a funding payment: above zero received."""
    if not amount:
        return (Ignored(row.source, "funding of nothing"),)
    return (Funded(row.source, symbol, contract, Money(amount, asset or contract.settle), id=row.text("id")),)

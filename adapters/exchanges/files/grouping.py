"""Facts that belong together, as trades and conversions: two legs, their fees, several of one moment.

Legs of one group have one moment. Where one asset came and one went, the largest of each belong together, and so on
down; with unequal numbers they are one trade. Where several assets came or went, neighbouring rows belong together.
A fee on its own line belongs to the trade of its group, of several to the largest.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from adapters.exchanges import Unreadable
from adapters.exchanges.files.assets import Assets, oriented
from adapters.exchanges.files.facts import Converted, Fact, Moved, Source, Traded, What
from adapters.exchanges.files.shapes import is_leg
from domain.errors import ReportUnreadable
from domain.instrument import Contract, Kind
from domain.values import ZERO, Money, Side, divide, exact


class Together(NamedTuple):
    """A fact, and the rows that say it: at least one, the first is its own."""

    fact: Fact
    sources: tuple[Source, ...]


ALONE = "the other leg of this trade beside it: it is not in this file, import one that has both"


def together(
    facts: Sequence[Fact], assets: Assets, symbol_form: str, *, is_edge: bool
) -> Iterator[Together | Unreadable]:
    """Yield the facts of one moment, those that belong together as one.

    `is_edge`: it is the first or last moment of the file, where other rows may have been cut off.
    """
    groups: dict[tuple[str, bool], list[Moved]] = {}
    for fact in facts:
        if isinstance(fact, Moved) and is_leg(fact.what):
            groups.setdefault((fact.group, fact.what is What.CONVERSION), []).append(fact)
        else:
            yield Together(named(fact, assets, symbol_form), (fact.source,))
    for (group, is_conversion), legs in groups.items():
        if is_conversion:
            yield from _conversions(legs)
        else:
            yield from _trades(legs, assets, symbol_form, is_open=bool(group) or is_edge)


def named(fact: Fact, assets: Assets, symbol_form: str) -> Fact:
    """Return a fill of spot under one symbol, in any way its file writes the pair: XXBTZEUR and XBT/EUR are BTC/EUR.

    One that is on record as the file writes it keeps that symbol, unless the usual one is on record too.
    """
    if not isinstance(fact, Traded) or fact.contract.kind is not Kind.SPOT or fact.venue:
        return fact
    symbol = symbol_form.format(base=fact.contract.base, quote=fact.contract.quote)
    if symbol == fact.symbol or (assets.listed(symbol) is None and assets.listed(fact.symbol) is not None):
        return fact
    return replace(fact, symbol=symbol)


def _trades(legs: list[Moved], assets: Assets, symbol_form: str, *, is_open: bool) -> Iterator[Together | Unreadable]:
    fees = [leg for leg in legs if leg.what is What.TRADE_FEE]
    pairs, rest = _paired([leg for leg in legs if leg.what is What.TRADE])
    made = [_trade(gone, come, assets, symbol_form) for gone, come in pairs]
    if not made:
        rest, fees = [*rest, *fees], []
    for at, fee in enumerate(_by_size(fees)):
        place = at if len(fees) == len(made) and len({each.asset for each in fees}) == 1 else len(made) - 1
        trade, sources = made[place]
        assert isinstance(trade, Traded), "made here"
        paid = Money(-fee.amount, fee.asset)
        made[place] = Together(replace(trade, fees=(*trade.fees, paid)), (*sources, fee.source))
    yield from made
    for leg in rest:
        if is_open and leg.what is What.TRADE:
            yield Unreadable(leg.source.line, leg.source.raw, ReportUnreadable("row", leg.note or leg.asset, ALONE))
        else:
            what = What.FEE if leg.what is What.TRADE_FEE else What.ADJUSTMENT
            yield Together(replace(leg, what=what), (leg.source,))


def _paired(legs: list[Moved]) -> tuple[list[tuple[list[Moved], list[Moved]]], list[Moved]]:
    """Pair what went with what came. Return the pairs, the smallest first, and the legs that have no other."""
    come = [leg for leg in legs if leg.amount > 0]
    gone = [leg for leg in legs if leg.amount < 0]
    if not come or not gone:
        return [], legs
    is_one_pair = len({leg.asset for leg in come}) == len({leg.asset for leg in gone}) == 1
    if is_one_pair and come[0].asset != gone[0].asset:
        if len(come) != len(gone):
            return [(gone, come)], []
        return [([one], [other]) for one, other in zip(_by_size(gone), _by_size(come), strict=True)], []
    return _neighbours(legs)


def _neighbours(legs: list[Moved]) -> tuple[list[tuple[list[Moved], list[Moved]]], list[Moved]]:
    """Pair each leg with the first after it that went the other way in another asset."""
    pairs, waiting = [], list[Moved]()
    for leg in sorted(legs, key=lambda one: one.source.line):
        other = next((one for one in waiting if one.amount * leg.amount < 0 and one.asset != leg.asset), None)
        if other is None:
            waiting.append(leg)
            continue
        waiting.remove(other)
        pairs.append(([other], [leg]) if leg.amount > 0 else ([leg], [other]))
    return pairs, waiting


def _by_size(legs: Iterable[Moved]) -> list[Moved]:
    return sorted(legs, key=lambda leg: (abs(leg.amount), leg.source.line))


def _trade(gone: list[Moved], come: list[Moved], assets: Assets, symbol_form: str) -> Together:
    legs = [*gone, *come]
    sold, bought = gone[0].asset, come[0].asset
    symbol = next((leg.symbol for leg in legs if leg.symbol), "")
    contract = assets.spot(symbol) if symbol else None
    if contract is None or {contract.base, contract.quote} != {sold, bought}:
        hint = next((leg.base for leg in legs if leg.base in (sold, bought)), "")
        base, quote = (hint, sold if hint == bought else bought) if hint else oriented(sold, bought)
        symbol = symbol_form.format(base=base, quote=quote)
        contract = assets.spot(symbol, base=base, quote=quote)
    side = Side.BUY if contract.base == bought else Side.SELL
    paid, got = _sum(gone), _sum(come)
    quantity, amount = (got, paid) if side is Side.BUY else (paid, got)
    first = min(legs, key=lambda leg: leg.source.line)
    fact = Traded(
        first.source, symbol, contract, side, quantity=quantity, price=_price(contract, amount, quantity),
        amount=amount, fees=tuple(leg.fee for leg in legs if leg.fee is not None),
        id=next((leg.group_id for leg in legs), ""),
    )  # fmt: skip
    return Together(fact, tuple(leg.source for leg in legs))


def _price(contract: Contract, amount: Decimal, quantity: Decimal) -> Decimal:
    return divide(amount, quantity * contract.contract_size)


def _sum(legs: list[Moved]) -> Decimal:
    return exact(abs(sum((leg.amount for leg in legs), ZERO)))


def _conversions(legs: list[Moved]) -> Iterator[Together | Unreadable]:
    come = sorted((leg for leg in legs if leg.amount > 0), key=lambda leg: leg.source.line)
    gone = sorted((leg for leg in legs if leg.amount < 0), key=lambda leg: leg.source.line)
    is_paired = len(come) == len(gone) and all(one.asset != other.asset for one, other in zip(come, gone, strict=True))
    if not is_paired:
        for leg in legs:
            yield Together(replace(leg, what=What.ADJUSTMENT), (leg.source,))
        return
    for got, paid in zip(come, gone, strict=True):
        sold, bought = Money(-paid.amount, paid.asset), Money(got.amount, got.asset)
        fee = next((leg.fee for leg in (paid, got) if leg.fee is not None), None)
        fact = Converted(paid.source, sold, bought, fee, note=paid.note)
        yield Together(fact, (paid.source, got.source))

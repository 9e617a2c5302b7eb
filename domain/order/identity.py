"""Execution identity: the facts that distinguish the executions of a venue, and those that only describe them.

A venue's exec id alone does not identify an execution. Both sides of a self-trade share one id, several of our orders
may be filled under one trade id, and FIX wants ExecID(17) to be unique within one day only.

These facts identify: account, instrument (with its venue), exec id, side, order, and the trading day where the venue's
ids restart. Orders are compared by what both reports know of them, the venue's order id or the ClOrdID. These facts
describe: quantity, price, time, trade sequence, commission and liquidity. Two reports of one execution may know them at
different precision: a price with more digits, a time in microseconds instead of seconds or a commission that was not
known before completes what is on record. Anything else contradicts it.

Where one report knows only the ClOrdID and the other only the venue's order id, the descriptions decide: reports that
agree in all of them are of one execution. See docs/execution-identity.md.
"""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from enum import Enum, StrEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from domain.names import joined
from domain.order.events import OrderFilled
from domain.order.terms import OrderKey
from domain.values import (
    SHARED_ID,
    Liquidity,
    Money,
    PositionSide,
    TradeKind,
    by_currency,
    nanoseconds,
    symbol_of,
    venue_of,
)

PRICE_DIGITS_MIN = 4  # a price of fewer significant digits is not taken for a rounded one
FEE_DIGITS_MIN = 2
SHARED_MAX = 10_000  # executions of one account, instrument and day under one exec id
_WIDE = Context(prec=200, traps=[])
_GRAINS = (60 * 10**9, 10**9, 10**6, 10**3, 1)  # a minute, a second, a millisecond, a microsecond, a nanosecond


class Restart(StrEnum):
    """How long a venue's exec ids stay unique within an instrument."""

    NEVER = "NEVER"
    DAILY = "DAILY"  # by UTC day


class Policy(Struct, frozen=True):
    """What identifies an execution at one venue."""

    restart: Restart = Restart.DAILY


DEFAULT = Policy()  # FIX: "Must be unique over current trading session"
LASTING = Policy(Restart.NEVER)
# Venues whose published interfaces number trades once and for all within an instrument, or over all of them.
POLICIES: dict[str, Policy] = dict.fromkeys(
    (
        "BINANCE", "BINANCEUSDM", "BINANCECOINM", "BITFINEX", "BITGET", "BITMEX", "BITSTAMP", "BYBIT", "COINBASE",
        "CRYPTOCOM", "DERIBIT", "GATE", "GEMINI", "HTX", "HYPERLIQUID", "KRAKEN", "KUCOIN", "OKX", "SIM",
    ),
    LASTING,
)  # fmt: skip


class Names(NamedTuple):
    """What the order of an execution is known by: the ClOrdID, if we or a report named one, and the venue's ids."""

    key: OrderKey  # of the order's stream
    cl_ord_id: str
    order_ids: frozenset[str]


def adopted_id(instrument_id: str, order_id: str, exec_id: str = "") -> str:
    """The ClOrdID that an order gets of which we know none: made from the venue's order id, or from its only fill's."""
    return joined(venue_of(instrument_id), order_id) if order_id else joined(symbol_of(instrument_id), exec_id)


def is_adopted_id(cl_ord_id: str, fill: OrderFilled) -> bool:
    """Whether a ClOrdID was made by `adopted_id`, so that it names nothing that a venue or client would know."""
    made = (adopted_id(fill.instrument_id, order_id, fill.exec_id) for order_id in (fill.order_id, ""))
    return any(cl_ord_id in (each, f"{each}-{fill.side}") for each in made)


class Relation(Enum):
    """How a report relates to an execution on record."""

    OTHER = "another execution"
    SAME = "the same, and nothing new"
    COMPLETES = "the same, known better"
    CONTRADICTS = "the same by its identity, and described otherwise"


class Finding(NamedTuple):
    """A relation; with SAME and COMPLETES the fill as it is known now. Where only descriptions decided, not certain."""

    relation: Relation
    now: OrderFilled | None = None
    is_certain: bool = True


class OnRecord(NamedTuple):
    """An execution on record, as it was reported, and the names of its order."""

    fill: OrderFilled
    names: Names


class Identified(NamedTuple):
    """What a report is: one execution on record, in which relation, or a new one and the id it is recorded under."""

    relation: Relation
    on_record: OnRecord | None
    now: OrderFilled | None
    entry_id: str


def policy_of(instrument_id: str) -> Policy:
    """The policy of an instrument's venue."""
    return policy_at(venue_of(instrument_id))


def policy_at(venue: str) -> Policy:
    """The policy of a venue."""
    return POLICIES.get(venue, DEFAULT)


def day_of(fill: OrderFilled) -> date:
    """The trading day of an execution, UTC."""
    return fill.transact_time.date()


def identify(report: OrderFilled, by: Names, find: Callable[[str], OnRecord | None]) -> Identified:
    """Identify a reported fill of the order `by`; `find` returns the execution on record under an id, or None."""
    findings: list[tuple[Finding, OnRecord]] = []
    ids = entry_ids(report.exec_id)
    entry_id = next(ids)
    first = find(entry_id)
    if first is not None and first.fill.exec_id == report.exec_id and _is_restarted(first.fill, report):
        ids = entry_ids(report.exec_id, day_of(report))
        entry_id = next(ids)
        first = find(entry_id)
    while first is not None:
        if first.fill.exec_id == report.exec_id:  # else the id of another one with a number, `E1#2`, is taken
            findings.append((compare(first.fill, first.names, report, by), first))
        entry_id = next(ids)
        first = find(entry_id)
    for relation, is_certain in _PRECEDENCE:
        for finding, on_record in findings:
            if (finding.relation, finding.is_certain) == (relation, is_certain):
                return Identified(relation, on_record, finding.now, entry_id)
    return Identified(Relation.OTHER, None, None, entry_id)


def _is_restarted(known: OrderFilled, report: OrderFilled) -> bool:
    """Whether the venue's ids have started again between two reports."""
    if policy_of(known.instrument_id).restart is Restart.NEVER or day_of(known) == day_of(report):
        return False
    return not _is_one_time(known, report)


def compare(known: OrderFilled, of: Names, report: OrderFilled, by: Names) -> Finding:
    """How `report`, of the order `by`, relates to `known` on record, of the order `of`, under the same exec id.

    Both are of one account.
    """
    is_elsewhere = (known.instrument_id, known.side) != (report.instrument_id, report.side)
    if is_elsewhere or _is_restarted(known, report):
        return Finding(Relation.OTHER)
    is_one_order = _is_one_order(of, by)
    if is_one_order is False:
        return Finding(Relation.OTHER)
    now = completed(known, report)
    if now is not None:
        relation = Relation.SAME if now == known else Relation.COMPLETES
        return Finding(relation, now, is_certain=is_one_order is True)
    if is_one_order:
        return Finding(Relation.CONTRADICTS)
    is_one_id_one_trade = policy_of(known.instrument_id).restart is Restart.NEVER
    if is_one_id_one_trade and known.last_qty == report.last_qty and not _is_one_trade(known, report):
        return Finding(Relation.CONTRADICTS, is_certain=False)  # one trade has one time and one price
    return Finding(Relation.OTHER, is_certain=False)


_PRECEDENCE = tuple(
    (relation, is_certain)
    for is_certain in (True, False)
    for relation in (Relation.SAME, Relation.COMPLETES, Relation.CONTRADICTS)
)


def _is_one_order(a: Names, b: Names) -> bool | None:
    """Whether two orders are one; None where nothing known of both decides."""
    if a.key == b.key:
        return True
    if a.cl_ord_id and b.cl_ord_id:
        return False
    if a.order_ids and b.order_ids:
        return bool(a.order_ids & b.order_ids)
    return None


def _is_one_trade(a: OrderFilled, b: OrderFilled) -> bool:
    return _is_one_time(a, b) and _finer_number(a.last_px, b.last_px, PRICE_DIGITS_MIN) is not None


def completed(known: OrderFilled, report: OrderFilled) -> OrderFilled | None:
    """The fill as both together describe it, under the key and ids of `known`; None if they contradict each other."""
    price = _finer_number(known.last_px, report.last_px, PRICE_DIGITS_MIN)
    commissions = finer_commissions(known.commissions, report.commissions)
    is_of_one = known.last_qty == report.last_qty and known.side is report.side and _is_one_time(known, report)
    seqs = {known.trade_seq, report.trade_seq} - {0}
    liquidities = {known.liquidity, report.liquidity} - {Liquidity.UNKNOWN}
    legs = {known.position_side, report.position_side} - {PositionSide.BOTH}
    kinds = {known.kind, report.kind} - {TradeKind.TRADE}
    insurance = _insurance(known.insurance, report.insurance)
    if price is None or commissions is None or len(insurance) > 1 or not is_of_one:
        return None
    if max(len(seqs), len(liquidities), len(legs), len(kinds)) > 1:
        return None
    timed = report if _grain(_at(report)) < _grain(_at(known)) else known
    return replace(
        known, last_px=price, commission=commissions[0], further_commissions=commissions[1:],
        trade_seq=next(iter(seqs), 0), liquidity=next(iter(liquidities), Liquidity.UNKNOWN),
        transact_time=timed.transact_time, nanos=timed.nanos,
        order_id=known.order_id or report.order_id, position_side=next(iter(legs), PositionSide.BOTH),
        kind=next(iter(kinds), TradeKind.TRADE), insurance=next(iter(insurance), None),
    )  # fmt: skip


def _insurance(known: Money | None, report: Money | None) -> tuple[Money, ...]:
    """The insurance charge as two reports together describe it; both where they contradict each other."""
    stated = tuple(each for each in (known, report) if each is not None and each.amount)
    if len(stated) < 2 or stated[0].currency != stated[1].currency:
        return stated
    finer = _finer_number(stated[0].amount, stated[1].amount, FEE_DIGITS_MIN)
    return stated if finer is None else (Money(finer, stated[0].currency),)


def finer_commissions(known: tuple[Money, ...], report: tuple[Money, ...]) -> tuple[Money, ...] | None:
    """The fees as two reports together describe them; None if they contradict each other.

    Fees are compared by currency. Those of zero are not known yet, and a report may know fewer currencies than another;
    but where each knows a currency that the other does not, or one in two amounts, they contradict each other.
    """
    ours, theirs = _amounts(known), _amounts(report)
    if not theirs:
        return known
    if not ours:
        return report
    if not (ours.keys() <= theirs.keys() or theirs.keys() <= ours.keys()):
        return None
    shared = ours.keys() & theirs.keys()
    finer = {currency: _finer_number(ours[currency], theirs[currency], FEE_DIGITS_MIN) for currency in shared}
    found = {currency: amount for currency, amount in (ours | theirs | finer).items() if amount is not None}
    if None in finer.values():
        return None
    return known if found == ours else tuple(Money(amount, currency) for currency, amount in found.items())


def _amounts(commissions: tuple[Money, ...]) -> dict[str, Decimal]:
    return {paid.currency: paid.amount for paid in by_currency(commissions) if paid.amount}


def _finer_number(known: Decimal, report: Decimal, digits_min: int) -> Decimal | None:
    """The one with more places, if the other is that one rounded or cut off; None if it is not."""
    if known == report:
        return known
    coarse, fine = sorted((known, report), key=lambda number: -number.as_tuple().exponent)  # type: ignore[operator]
    exponent = coarse.as_tuple().exponent
    if exponent == fine.as_tuple().exponent or len(coarse.as_tuple().digits) < digits_min:
        return None
    unit = Decimal(1).scaleb(exponent)  # type: ignore[arg-type]
    ways = (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_DOWN)
    return fine if any(fine.quantize(unit, way, _WIDE) == coarse for way in ways) else None


def _is_one_time(a: OrderFilled, b: OrderFilled) -> bool:
    """Whether the less precise of two times is the other one rounded or cut off."""
    one, other = _at(a), _at(b)
    if one == other:
        return True
    coarse, fine = (one, other) if _grain(one) > _grain(other) else (other, one)
    grain = _grain(coarse)
    return grain > _grain(fine) and coarse in (fine // grain * grain, (fine + grain // 2) // grain * grain)


def _at(fill: OrderFilled) -> int:
    return nanoseconds(fill.transact_time, fill.nanos)


def _grain(nanoseconds: int) -> int:
    """The precision a time is given at, in nanoseconds: the coarsest of those usual that leaves nothing over."""
    return next(grain for grain in _GRAINS if nanoseconds % grain == 0)


def entry_ids(exec_id: str, day: date | None = None) -> Iterator[str]:
    """The ids under which executions with one exec id are on record, in the order in which they are given out.

    The first keeps the exec id itself; others on another day (where ids restart) have the day, further ones a number.
    """
    first = exec_id if day is None else f"{exec_id}{SHARED_ID}{day.isoformat()}"
    yield first
    for number in range(2, SHARED_MAX + 1):
        yield f"{first}{SHARED_ID}{number}"

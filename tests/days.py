"""The steps of random days: everything that can be requested of a desk or reported to it, chosen by small numbers.

Times are anywhere in the day, so that much is late; ids come back, so that much is repeated, answered or contradicted.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D

from msgspec.structs import replace

from domain import position
from domain.account import (
    BalanceLine,
    BookEntry,
    Break,
    BreakAged,
    BreakChanged,
    BreakKind,
    BreakOpened,
    BreakResolved,
    ChargeFee,
    CloseAccount,
    ConvertMoney,
    EntryKind,
    Indicator,
    Leg,
    RawReportKept,
    RequestTransfer,
    ResolveBreak,
    ReturnTransfer,
    SettleTransfer,
    break_of,
)
from domain.instrument import AmendInstrument
from domain.ledger import Report
from domain.order import (
    CancelOrder,
    Changes,
    ExecInst,
    OpenParent,
    OrderAccepted,
    OrderCalculated,
    OrderCanceled,
    OrderCancelRejected,
    OrderDoneForDay,
    OrderExpired,
    OrderFillBusted,
    OrderFillCorrected,
    OrderKey,
    OrderPendingCancel,
    OrderPendingNew,
    OrderPendingReplace,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderRestated,
    OrderSuspended,
    OrderTerms,
    OrderTriggered,
    OrdType,
    ReplaceOrder,
    SubmitOrder,
    TimeInForce,
)
from domain.position import AssignLots, MovePosition, Position, PositionKey, SettleFunding, Transfer, TransferReason
from domain.risk import (
    ANYWHERE,
    FIRM,
    AssessMarks,
    EngageSwitch,
    LimitStatus,
    Measure,
    Mode,
    ReleaseSwitch,
    Scope,
    SetConversion,
    SetLimit,
    StateCapital,
)
from domain.values import Money, Side
from tests.desk import ACCOUNTS, BTC, CONTRACTS, PERP, STRATEGIES, T0, Desk, fill, mark

MEASURES = (
    Measure.MAX_POSITION, Measure.MAX_POSITION, Measure.MAX_ORDER_NOTIONAL, Measure.MAX_OPEN_ORDERS,
    Measure.MAX_POSITION_NOTIONAL, Measure.MAX_GROSS_EXPOSURE, Measure.MAX_DAILY_LOSS, Measure.MAX_LEVERAGE,
    Measure.MAX_DRAWDOWN,
)  # fmt: skip


KINDS = tuple(kind for kind in EntryKind if kind is not EntryKind.CONVERSION)


def _key(who: int, which: int) -> PositionKey:
    return PositionKey(ACCOUNTS[who % 2], STRATEGIES[who // 2 % 2], (BTC, BTC, PERP)[which % 3])


def _order(who: int, which: int) -> OrderKey:
    """One of the desk's orders, or one that a later ClOrdID may be all that is known of."""
    return OrderKey(ACCOUNTS[who % 2], f"R-{which % 4}" if which > 9 else f"A-{which % 3}")


def _side(number: int) -> Side:
    return Side.BUY if number % 2 else Side.SELL


def _fill(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """Fills in one report, anywhere in the day, so that many are late; some of orders on record, some repeated."""
    fills = []
    for part in range(1 + d % 3):
        key = _key(a, b + part)
        fee = Money(D(c % 4) / 100, ("USDT", "BTC", "BNB", "BTC")[(c + part) % 4])
        known = f"A-{c % 3}" if d % 4 == 0 else ""
        exec_id = f"{known or 'E'}-{number}-{part}" if d % 7 else f"{known or 'E'}-{c % 5}"
        fills.append(
            fill(
                exec_id,
                _side(c + part),
                D(1 + (a * 7 + part) % 5) / 10,
                D(90 + b),
                d,
                account_id=key.account_id,
                strategy_id=key.strategy_id,
                instrument_id=key.instrument_id,
                cl_ord_id=known,
                fee=fee,
            )
        )
    desk.filled += fills
    desk.report(*fills)


def _amend(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """A bust or correction of a fill, of an earlier correction, or of what is not on record (yet)."""
    at = T0 + timedelta(minutes=d)
    of = desk.filled[(a * 12 + b) % len(desk.filled)] if desk.filled else fill(f"E-{number + 1}-0", Side.BUY, "1", "1")
    ref = f"X-{number - 1 - c % 3}" if d % 6 == 0 else of.exec_id
    shown = {"exec_id": f"X-{number}" if c % 5 else "", "order_id": "V1" if c % 7 == 0 else "", "venue": "SIM"}
    report: Report = (
        OrderFillBusted(of.key, ref, "off\0market", at, **shown)
        if c % 2
        else OrderFillCorrected(
            of.key, ref, D(1 + b) / 10, D(95 + a), at, Money(D(1) / 50, "USDT") if d % 2 else None, **shown
        )
    )
    desk.report(report, *([of] if c % 3 == 0 else []))


def _move(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """Funding, and quantity that comes or goes without a trade."""
    key, at = _key(a, b), T0 + timedelta(minutes=d)
    if c % 3 == 0:
        desk.report(SettleFunding(key, f"F{number}", Money(D(b - 5) / 100, CONTRACTS[key.instrument_id].settle), at))
    elif c % 3 == 1:
        value = CONTRACTS[key.instrument_id].value(D(1 + b) / 10 * _side(a).sign, D(95))
        reason = tuple(TransferReason)[(c + d) % len(TransferReason)]
        desk.report(Transfer(key, f"T{number}", _side(a), D(1 + b) / 10, value, at, reason))
    else:
        to = PositionKey(ACCOUNTS[(a + c) % 2], STRATEGIES[b % 2], key.instrument_id)
        desk.request(MovePosition(key, to, f"M{number}", D(1 + a % 3) / 10, T0 + timedelta(minutes=31 + number)))


def _assign(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """Name other lots for a disposal than those it used up: refused but for SPECIFIC identification."""
    key = _key(a, b)
    known: Position | None = desk.ledger.state(position.stream(key))
    disposals = [item for item in known.tail if item.effect.closed] if known is not None else []
    if known is None or not disposals:
        return
    of = disposals[c % len(disposals)]
    open_lots = [lot.lot_id for lot in known.book.lots]
    lot_ids = [*open_lots[d % 3 :][:1], *reversed([match.lot_id for match in of.effect.closed])]
    at = of.entry.occurrence
    desk.request(AssignLots(key, at.exec_id, at.trade_seq, tuple(lot_ids), at.transact_time))


def _amend_facts(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """From a moment on, a contract of another size."""
    at = T0 + timedelta(minutes=d)
    size = CONTRACTS[PERP].contract_size + c
    desk.request(AmendInstrument(PERP, replace(CONTRACTS[PERP], contract_size=size), D("0.01"), D("0.01"), at))


def _submit(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key, at = _key(a, b), T0 + timedelta(minutes=d)
    price = None if d % 5 == 0 else D(90 + b)
    ord_type = OrdType.LIMIT if price else OrdType.MARKET
    more: dict[str, object] = {}
    if d % 7 == 1:
        ord_type, more = OrdType.STOP_LIMIT if price else OrdType.STOP, {"stop_px": D(91 + b)}
    if c % 4 == 1:
        more |= {"time_in_force": TimeInForce.DAY}
    if c % 4 == 2:
        more |= {"time_in_force": TimeInForce.GTD, "expire_time": at + timedelta(minutes=10)}
    if c % 4 == 3 and price:
        more |= {"exec_inst": frozenset(ExecInst), "display_qty": D("0.1"), "parent": "P" if d % 2 else ""}
    terms = OrderTerms(key.strategy_id, key.instrument_id, _side(c), ord_type, D(1 + c) / 10, price, **more)  # type: ignore[arg-type]
    desk.request(SubmitOrder(OrderKey(key.account_id, f"A-{c % 3}"), terms, at))


def _intend(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key = OrderKey(ACCOUNTS[a % 2], "P")
    desk.request(OpenParent(key, STRATEGIES[b % 2], CONTRACTS[BTC], _side(c), D(1 + d), None, T0))


def _change_request(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """A cancel or replace request, with or without a ClOrdID of its own."""
    key, at, name = _order(a, c), T0 + timedelta(minutes=d), f"R-{b % 4}"
    if d % 3 == 0:
        desk.request(CancelOrder(key, "enough", at, name if b % 2 else ""))
        return
    changes = Changes(D(1 + b) / 5) if d % 3 == 1 else Changes(D(1 + b) / 5, D(80 + a))
    desk.request(ReplaceOrder(key, name, changes, at))


def _venue_report(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key, at = _order(a, c), T0 + timedelta(minutes=d)
    shown = {
        "exec_id": f"S-{number % 9}" if a % 3 else "",
        "requested_as": f"R-{d % 5}" if d % 2 else "",
        "order_qty": D(1 + d) / 10 if a % 4 == 3 else None,
        "venue": "SIM",
    }
    named = shown | {"order_id": f"V{c}" if b % 5 == 0 else ""}
    terms = OrderTerms(STRATEGIES[a % 2], BTC, _side(c), OrdType.LIMIT, D(1 + c) / 10, D(90 + b))
    reports_of: tuple[Callable[[], Report], ...] = (
        lambda: OrderPendingNew(key, at, **named),
        lambda: OrderAccepted(key, f"V{c}", at, terms if d % 3 == 0 else None, **shown),
        lambda: OrderRejected(key, "no\0such thing", at, **named),
        lambda: OrderTriggered(key, at, **named),
        lambda: OrderPendingCancel(key, at, **named),
        lambda: OrderCancelRejected(key, "too late", at, **named),
        lambda: OrderCanceled(key, "as requested", at, **named),
        lambda: OrderExpired(key, "end of day", at, **named),
        lambda: OrderPendingReplace(key, at, **named),
        lambda: OrderReplaceRejected(key, "too late", at, **named),
        lambda: OrderReplaced(key, at, D(77) if d % 5 == 0 else None, **named),
        lambda: OrderReplaced(key, at, None, **named | {"requested_as": f"R-{d % 4}"}),
        lambda: OrderRestated(key, "next day", at, D(78) if d % 5 == 0 else None, **named),
        lambda: OrderDoneForDay(key, at, **named),
        lambda: OrderSuspended(key, "halted", at, **named),
        lambda: OrderCalculated(key, at, **named),
    )
    desk.report(reports_of[(a * 12 + b) % len(reports_of)]())


def _limit(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    key = _key(a, b)
    scope = Scope(
        key.strategy_id if c % 2 else None, key.instrument_id if c % 3 else None,
        "SIM" if c == 6 else None, "BTC" if c in (0, 3) else None,
    )  # fmt: skip
    measure = MEASURES[d % len(MEASURES)]
    currency = "USDT" if measure.is_money else None
    limit = None if d % 5 == 0 else D(b * (40 if currency else 1))
    account_id = FIRM if a % 3 == 0 else key.account_id
    status = (LimitStatus.SHADOW, LimitStatus.SHADOW, LimitStatus.DRAFT, LimitStatus.ACTIVE)[min((a + b) % 8, 3)]
    desk.request(SetLimit(account_id, scope, measure, limit, currency, T0, status))


def _watch(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """Marks against what is held; kill switches, and their release by another."""
    account_id, at = (*ACCOUNTS, FIRM)[a % 3], T0 + timedelta(minutes=d)
    scope = ANYWHERE if b % 2 else Scope(STRATEGIES[c % 2])
    if d % 3 == 0:
        marks = tuple(replace(mark(name, str(60 + 10 * b)), mark_at=at) for name in (BTC, PERP)[: c % 4])
        if c % 4 > 1:
            desk.request(SetConversion(account_id, BTC, at))
            desk.request(SetConversion(account_id, PERP, at))
        desk.request(AssessMarks(account_id, marks, at, Money(D(1000), "USDT") if b % 3 else None))
    elif c == 11:
        desk.request(StateCapital(account_id, Money(D(500), "USDT") if b % 2 else None, at))
    elif d % 3 == 1:
        desk.request(EngageSwitch(account_id, scope, Mode.REDUCE_ONLY if c % 2 else Mode.HALT, "a\0loss", at))
    else:
        desk.request(ReleaseSwitch(account_id, scope, "looked into", at), actor="another")


def _money(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """Cash that moves, by right or not, and differences that reconciliation finds."""
    account_id, at, amount = ACCOUNTS[a % 2], T0 + timedelta(minutes=d), Money(D(1 + b), "USDT")
    leg = Leg(f"T-{c % 3}", Indicator.DEBIT if d % 2 else Indicator.CREDIT, amount)
    found = _difference(account_id, b, c)
    does: tuple[Callable[[], object], ...] = (
        lambda: desk.request(RequestTransfer(account_id, leg, at)),
        lambda: desk.report(SettleTransfer(account_id, leg, at)),
        lambda: desk.report(ChargeFee(account_id, f"F-{c % 3}", amount, "custody", at)),
        lambda: desk.report(BreakOpened(account_id, found, f"S{number}", at)),
        lambda: desk.report(BreakChanged(account_id, _difference(account_id, b + d, c), f"S{number}", at)),
        lambda: desk.report(BreakAged(account_id, found.break_id, f"S{number}", T0, at + timedelta(days=d))),
        lambda: desk.report(BreakResolved(account_id, found.break_id, f"S{number}", "gone", T0, at)),
        lambda: desk.request(ResolveBreak(account_id, found.break_id, "by\0hand", at)),
        lambda: desk.request(CloseAccount(account_id, "moved", at)) if d % 3 == 0 else None,
    )
    does[(a // 2 + b + d) % len(does)]()


def _more_money(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    """Entries of every kind, conversions and returns, under ids that come back."""
    account_id, at, amount = ACCOUNTS[a % 2], T0 + timedelta(minutes=d), Money(D(1 + b), "USDT")
    side = Indicator.DEBIT if d % 2 else Indicator.CREDIT
    bought, fee = Money(D(1) / 100, "BNB"), Money(D(d % 3) / 1000, "BNB")
    if c % 3 == 0:
        desk.report(ConvertMoney(account_id, f"N-{b % 4}", amount, bought, fee, "dust", at))
    elif c % 3 == 1:
        desk.report(ReturnTransfer(account_id, Leg(f"T-{b % 3}", side, amount), "came back", at))
    else:
        desk.report(BookEntry(account_id, f"N-{b % 4}", KINDS[d % len(KINDS)], side, amount, "", at))


def _difference(account_id: str, ours: int, which: int) -> Break:
    currency = ("USDT", "BTC")[which % 2]
    lines = BalanceLine(currency, D(ours)), BalanceLine(currency, D("9.5"))
    return break_of(account_id, BreakKind.AMOUNT_DIFFERS, ("amount",), *lines)


def _keep(desk: Desk, number: int, a: int, b: int, c: int, d: int) -> None:
    desk.report(RawReportKept(ACCOUNTS[a % 2], "SIM", f"day.csv:{b}", f"x\0\\u0000,{c}\t", "price: not a number"))


STEPS = (
    _fill, _fill, _fill, _amend, _move, _assign, _assign, _amend_facts, _submit, _submit, _change_request,
    _change_request, _venue_report, _venue_report, _venue_report, _intend, _limit, _limit, _watch, _watch, _money,
    _keep, _more_money,
)  # fmt: skip

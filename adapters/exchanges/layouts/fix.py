"""FIX drop copies: logs of ExecutionReport(8), a message a line, separated by SOH or, made readable, by a bar.

Fills, busts, corrections, replacements and the ends of orders are read; a message whose CheckSum(10) is another is
unreadable. The venue is SenderCompID(49), the instrument Symbol(55) at it. Messages of a session are skipped.
"""

from collections.abc import Iterator
from decimal import Decimal

from adapters.exchanges import Unreadable
from adapters.exchanges.files.facts import Fact, Ignored, Reported, Source
from adapters.exchanges.files.layout import Layout, Reading
from adapters.exchanges.files.records import Line, Lines, decoded, shortened, verbatim
from adapters.exchanges.files.times import instant
from domain import names, values
from domain.errors import InvalidInput, ReportUnreadable
from domain.instrument import Contract
from domain.order import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFillBusted,
    OrderFillCorrected,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderReplaced,
    OrderReport,
)
from domain.values import EPOCH, ZERO, Liquidity, Money, Side

SOH, BAR = b"\x01", b"|"
SPOT = {"", "FXSPOT", "SPOT", "CASH"}
LIQUIDITIES = {"1": Liquidity.MAKER, "2": Liquidity.TAKER}
Fields = list[tuple[str, str]]


def read(lines: Lines, reading: Reading) -> Iterator[Fact | Unreadable]:
    """Yield what the messages of a log report."""
    for line in lines:
        if not line.content.strip():
            continue
        raw = verbatim(line.content)
        try:
            yield _message(line, raw, reading)
        except InvalidInput as error:
            yield Unreadable(line.number, raw, shortened(error))


def _message(line: Line, raw: str, reading: Reading) -> Fact:
    fields = _fields(line.content)
    known = dict(reversed(fields))
    if known.get("35") != "8":
        return Ignored(Source(line.number, raw, EPOCH), f"message of type {known.get('35', '')}")
    day, _, clock = _needed(known, "60").partition("-")
    at, nanos = instant(f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock}", "60", now=reading.now)
    source = Source(line.number, raw, at, nanos)
    symbol, venue = known.get("55", ""), values.venue(known.get("49", "FIX").upper(), "49")
    report = _report(fields, known, source, f"{symbol}.{venue}")
    if report is None:
        return Ignored(source, f"execution report of type {known.get('150', '')}")
    contract = _contract(known, symbol, venue, reading) if isinstance(report, OrderFilled) else None
    return Reported(source, report, contract)


def _fields(content: bytes) -> Fields:
    """Split a message and check its sum. Raises ReportUnreadable."""
    message = content.rstrip(b"\r\n")
    if SOH not in message:
        message = message.replace(BAR, SOH)
    body, _, trailer = message.rstrip(SOH).rpartition(SOH)
    if not trailer.startswith(b"10="):
        raise ReportUnreadable("10", decoded(trailer[:20]), "a message that ends in its CheckSum")
    total = (sum(body) + 1) % 256
    if trailer[3:] != b"%03d" % total:
        raise ReportUnreadable("10", decoded(trailer[3:20]), f"the sum of the message, {total:03d}")
    return [(tag, value) for tag, _, value in (each.partition("=") for each in decoded(body).split("\x01"))]


def _needed(known: dict[str, str], tag: str) -> str:
    if not known.get(tag):
        raise ReportUnreadable(tag, "", "given")
    return known[tag]


def _number(known: dict[str, str], tag: str) -> Decimal:
    return values.number(_needed(known, tag), tag)


def _report(fields: Fields, known: dict[str, str], source: Source, instrument_id: str) -> OrderReport | None:
    """Return the report of a message for an account that is named later; None for types that book nothing."""
    cl_ord_id = names.name(known.get("41") or _needed(known, "11"), "11")
    key = OrderKey("", cl_ord_id)
    own = OrderKey("", names.name(_needed(known, "11"), "11"))
    at, nanos, order_id = source.at, source.nanos, known.get("37", "")
    exec_id, reason = known.get("17", ""), known.get("58", "")
    match known.get("150", ""):
        case "F" | "1" | "2" if known.get("32"):
            return _fill(fields, known, own, source, instrument_id=instrument_id)
        case "G":
            fees = _fees(fields, known)
            return OrderFillCorrected(
                own, _needed(known, "19"), _number(known, "32"), _number(known, "31"), transact_time=at, nanos=nanos,
                exec_id=exec_id, order_id=order_id, commission=fees[0] if fees else None,
                further_commissions=tuple(fees[1:]),
            )  # fmt: skip
        case "H":
            ref = _needed(known, "19")
            return OrderFillBusted(own, ref, reason, at, nanos=nanos, exec_id=exec_id, order_id=order_id)
        case "0":
            return OrderAccepted(own, order_id, at, nanos=nanos, exec_id=exec_id)
        case "4":
            return OrderCanceled(key, reason, at, nanos=nanos, exec_id=exec_id, order_id=order_id)
        case "5":
            price = values.number(known["44"], "44") if known.get("44") else None
            return OrderReplaced(
                key, at, nanos=nanos, price=price, order_qty=_number(known, "38"), exec_id=exec_id, order_id=order_id,
                requested_as=own.cl_ord_id if own != key else "",
            )  # fmt: skip
        case "8":
            return OrderRejected(own, reason, at, nanos=nanos, exec_id=exec_id, order_id=order_id)
        case "C":
            return OrderExpired(own, reason, at, nanos=nanos, exec_id=exec_id, order_id=order_id)
        case _:
            return None


def _fill(fields: Fields, known: dict[str, str], key: OrderKey, source: Source, *, instrument_id: str) -> OrderFilled:
    side = {"1": Side.BUY, "2": Side.SELL, "5": Side.SELL}.get(known.get("54", ""))
    if side is None:
        raise ReportUnreadable("54", known.get("54", ""), "1 (buy), 2 or 5 (sell)")
    quantity = values.positive(_needed(known, "32"), "32")
    fees = _fees(fields, known) or [Money(ZERO, "")]
    return OrderFilled(
        key, strategy_id="", instrument_id=names.instrument_id(instrument_id, "55"), order_id=known.get("37", ""),
        side=side, exec_id=names.execution_id(_needed(known, "17"), "17"), trade_seq=0, last_qty=quantity,
        last_px=_number(known, "31"), commission=fees[0], further_commissions=tuple(fees[1:]),
        liquidity=LIQUIDITIES.get(known.get("851", ""), Liquidity.UNKNOWN), transact_time=source.at,
        nanos=source.nanos,
    )  # fmt: skip


def _fees(fields: Fields, known: dict[str, str]) -> list[Money]:
    """Return Commission(12) and the group of NoMiscFees(136): MiscFeeAmt(137) in MiscFeeCurr(138)."""
    found = []
    if known.get("12"):
        found.append(Money(_number(known, "12"), values.currency(known.get("479") or known.get("15"), "479")))
    amount: Decimal | None = None
    for tag, value in fields:
        if tag == "137":
            amount = values.number(value, "137")
        elif tag == "138" and amount is not None:
            found.append(Money(amount, values.currency(value, "138")))
            amount = None
    return [fee for fee in found if fee.amount]


def _contract(known: dict[str, str], symbol: str, venue: str, reading: Reading) -> Contract:
    listed = reading.assets.listed(f"{symbol}.{venue}")
    if listed is not None:
        return listed
    if known.get("167", "") not in SPOT:
        rule = f"of a listed instrument; list it with `daybook instrument add {symbol}.{venue} ...`"
        raise ReportUnreadable("55", symbol, rule)
    return reading.assets.spot(symbol)


LAYOUTS = (
    Layout(
        name="FIX drop copy",
        venue="DAYBOOK",  # instruments are looked up by their whole ids
        is_venue=False,
        begins=b"8=FIX",
        read_lines=read,
        click="the log of a drop copy session, a message a line",
        gives="fills with all fees, corrections, cancels of trades, replacements, the ends of orders",
    ),
)

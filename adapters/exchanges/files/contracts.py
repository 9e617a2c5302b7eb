"""Contracts of derivatives by the symbols that venues and programs write; those of spot are in `assets`."""

import re
from datetime import UTC, datetime
from decimal import Decimal

from domain import values
from domain.errors import InvalidInput, ReportUnreadable
from domain.instrument import UNKNOWN_STEP, Contract, Kind, ListInstrument, PutOrCall
from domain.values import ONE

_EXPIRY_HOUR = 8  # UTC, of dated contracts at Deribit, OKX, Bybit and Binance
_MONTHS = {
    name: at
    for at, name in enumerate(["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1)
}
_DAY = re.compile(r"(\d{1,2})([A-Z]{3})(\d\d)", re.ASCII)
_SIX = re.compile(r"(\d\d)(\d\d)(\d\d)", re.ASCII)
_UNIFIED = re.compile(
    r"(?P<base>[^/:\s]+)/(?P<quote>[^/:\s]+)(?::(?P<settle>[^-\s]+)(?:-(?P<expiry>\d{6}))?"
    r"(?:-(?P<strike>[0-9.]+)-(?P<kind>[CP]))?)?"
)


def listing(instrument_id: str, contract: Contract) -> ListInstrument:
    """Return the request that lists an instrument of which a file says no steps."""
    return ListInstrument(instrument_id, contract, UNKNOWN_STEP, UNKNOWN_STEP)


def linear(base: str, quote: str, *, settle: str = "", size: Decimal = ONE, expiry: datetime | None = None) -> Contract:
    """Return a linear contract: a perpetual, or a dated future where it has an expiry."""
    return Contract(Kind.LINEAR, base, quote, settle or quote, contract_size=size, expiry=expiry)


def inverse(base: str, quote: str, *, size: Decimal = ONE, expiry: datetime | None = None) -> Contract:
    """Return an inverse contract, whose size is in quote units."""
    return Contract(Kind.INVERSE, base, quote, base, contract_size=size, expiry=expiry)


def unified(symbol: str) -> Contract:
    """Return the contract of a symbol as `ccxt` writes it: BASE/QUOTE[:SETTLE[-YYMMDD[-STRIKE-C]]].

    Raises ReportUnreadable.
    """
    found = _UNIFIED.fullmatch(symbol)
    if found is None:
        raise ReportUnreadable("symbol", symbol, "a symbol such as BTC/USDT, BTC/USDT:USDT or BTC/USD:BTC-260327")
    base, quote, settle = found["base"], found["quote"], found["settle"]
    expiry = _six(found["expiry"], symbol) if found["expiry"] else None
    if settle is None:
        return Contract(Kind.SPOT, base, quote, quote)
    if found["kind"] and expiry is not None:
        return option(base, quote, settle=settle, expiry=expiry, strike=found["strike"], kind=found["kind"])
    if settle == base:
        return inverse(base, quote, expiry=expiry)
    return linear(base, quote, settle=settle, expiry=expiry)


def option(base: str, quote: str, *, settle: str, expiry: datetime, strike: str, kind: str) -> Contract:
    """Return an option, `kind` C or P."""
    return Contract(
        Kind.OPTION, base, quote, settle, expiry=expiry, strike=values.positive(strike.replace("d", "."), "strike"),
        put_or_call=PutOrCall.CALL if kind == "C" else PutOrCall.PUT,
    )  # fmt: skip


def deribit(name: str) -> Contract:
    """Return the contract of an instrument of Deribit. Raises ReportUnreadable.

    `BTC-PERPETUAL`, `BTC-27MAR26`, `BTC-9JAN26-90000-C`, and with `_USDC` those that settle in it. The log of an
    inverse contract counts quote units, so that its size is 1.
    """
    underlying, *rest = name.split("-")
    base, _, settle = underlying.partition("_")
    quote = settle or "USD"
    if not rest:
        return Contract(Kind.SPOT, base, quote, quote)
    if rest[0] in ("PERPETUAL", "PERP"):
        return linear(base, quote) if settle else inverse(base, quote)
    expiry = _day(rest[0], name)
    if len(rest) == 3 and rest[2] in ("C", "P"):
        return option(base, quote, settle=settle or base, expiry=expiry, strike=rest[1], kind=rest[2])
    return linear(base, quote, expiry=expiry) if settle else inverse(base, quote, expiry=expiry)


def _day(text: str, name: str) -> datetime:
    found = _DAY.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        raise ReportUnreadable("instrument", name, "an instrument with an expiry such as 27MAR26")
    return _at(2000 + int(found[3]), _MONTHS[found[2]], int(found[1]), name)


def _six(text: str, name: str) -> datetime:
    found = _SIX.fullmatch(text)
    if found is None:
        raise ReportUnreadable("symbol", name, "a symbol whose expiry is YYMMDD")
    return _at(2000 + int(found[1]), int(found[2]), int(found[3]), name)


def _at(year: int, month: int, day: int, name: str) -> datetime:
    try:
        return datetime(year, month, day, _EXPIRY_HOUR, tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput("symbol", name, "a symbol with a day that exists") from error


def futures(symbol: str, split: tuple[str, str], *, is_inverse: bool = False, size: Decimal = ONE) -> Contract:
    """Return the contract of a future, dated where its symbol ends in `_YYMMDD` or `-YYMMDD`, of base and quote."""
    tail = re.search(r"[-_](\d{6})$", symbol)
    expiry = _six(tail[1], symbol) if tail is not None else None
    base, quote = split
    return (
        inverse(base, quote, size=size, expiry=expiry) if is_inverse else linear(base, quote, size=size, expiry=expiry)
    )

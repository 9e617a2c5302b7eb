"""Asked: what a reader may choose, over HTTP or from the command line: which positions, as of when, at which marks."""

import contextlib
from datetime import date, datetime
from typing import NamedTuple

from domain import values
from domain.errors import ReportUnreadable
from domain.values import Mark

GIVEN_SOURCE = "given"


class Where(NamedTuple):
    """Which positions: None for all."""

    account_id: str | None = None
    strategy_id: str | None = None
    instrument_id: str | None = None


class Moment(NamedTuple):
    """A past moment to read as of: a place in the log, or a time as we recorded it."""

    seq: int | None = None
    at: datetime | None = None


def given_mark(text: str) -> Mark:
    """The mark in `INSTRUMENT=PRICE`, as of any time. Raises ReportUnreadable."""
    instrument_id, equals, price = text.rpartition("=")
    if not equals:
        raise ReportUnreadable("mark", text, "an instrument and its price, such as BTCUSDT.BINANCE=97500.5")
    checked = values.instrument_id(instrument_id, "mark")
    return Mark(checked, values.positive(price, "mark"), GIVEN_SOURCE, values.EARLIEST)


def given_marks(texts: list[str]) -> dict[str, Mark]:
    """The marks by instrument. Raises ReportUnreadable."""
    return {mark.instrument_id: mark for mark in map(given_mark, texts)}


def parsed_day(text: str) -> date:
    """The date in `YYYY-MM-DD`. Raises ReportUnreadable."""
    with contextlib.suppress(ValueError):
        if len(text) == 10 and (day := date.fromisoformat(text)).year >= values.EARLIEST.year:
            return day
    raise ReportUnreadable("day", text, "a date since 2009 such as 2026-01-02")


def parsed_equals(text: str) -> tuple[str, str]:
    """The two currencies in `USDT=USD`. Raises ReportUnreadable."""
    one, _, other = text.partition("=")
    return values.currency(one, "equal"), values.currency(other, "equal")

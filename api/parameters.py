"""Parameters of queries and reports over HTTP and on the command line: which positions, as of when, in which form."""

import contextlib
import re
from dataclasses import dataclass, replace
from datetime import MAXYEAR, date, datetime
from enum import StrEnum
from typing import NamedTuple

from domain import values
from domain.errors import InvalidInput
from domain.values import Mark

GIVEN_SOURCE = "given"
DAY_SECONDS = 86_400  # default maximum age of a mark that values a close
FLOW_MARK_SECONDS = 3600  # at a flow of capital an older mark is no valuation
ARRIVAL_SECONDS = 60  # default maximum age of a mark at an order's arrival


class Format(StrEnum):
    """A form in which a report is written; each report has some of them."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    HTML = "html"
    PDF = "pdf"
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"


class Where(NamedTuple):
    """Which positions: None for all."""

    account_id: str | None = None
    strategy_id: str | None = None
    instrument_id: str | None = None
    position_side: str | None = None


@dataclass(frozen=True)
class Moment:
    """A past moment to read as of.

    `seq` or `at` is when it was known: up to which place in the log, or up to which time as we recorded it; neither
    means now. `occurred_by`, if given, is when it was true: of what was known only what had happened by then.
    """

    seq: int | None = None
    at: datetime | None = None
    occurred_by: datetime | None = None


NOW = Moment()
NOW_WORD = "now"


def place_of(text: object, field: str, now: datetime) -> Moment:
    """Return the moment that a place in the log, a time in UTC or the word `now` names. Raises InvalidInput."""
    if isinstance(text, str) and text == NOW_WORD:
        return NOW
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,18}", text):
        return Moment(seq=int(text))
    try:
        return Moment(at=values.time(text, field, now=now))
    except InvalidInput as error:
        raise InvalidInput(field, text, f"a seq such as 1200, nor {error.rule}") from error


def moment_of(as_of: Moment | None, known_at: Moment | None) -> Moment | None:
    """Return the moment that the two of them select; None for the present. Raises InvalidInput.

    `as_of` alone, or `known_at` alone, selects what was on record then. Together they select what had happened by
    `as_of`, as far as it was known at `known_at`.
    """
    if known_at is None or as_of is None:
        one = as_of or known_at
        return None if one == NOW else one
    if as_of.at is None:
        given = NOW_WORD if as_of.seq is None else as_of.seq
        raise InvalidInput("as_of", given, "a time, as it must be beside known_at: what had happened by then")
    return replace(known_at, occurred_by=as_of.at)


def given_mark(text: str) -> Mark:
    """Return the mark in `INSTRUMENT=PRICE`, as of any time. Raises InvalidInput."""
    instrument_id, equals, price = text.rpartition("=")
    if not equals:
        raise InvalidInput("mark", text, "an instrument and its price, such as BTCUSDT.BINANCE=97500.5")
    checked = values.instrument_id(instrument_id, "mark")
    return Mark(checked, values.number(price, "mark"), GIVEN_SOURCE, values.EARLIEST)


def given_marks(texts: list[str]) -> dict[str, Mark]:
    """Return the marks by instrument. Raises InvalidInput."""
    return {mark.instrument_id: mark for mark in map(given_mark, texts)}


def parsed_date(text: object, field: str, rule: str = "a date such as 2026-01-02") -> date:
    """Return the date in `YYYY-MM-DD`. Raises InvalidInput."""
    if isinstance(text, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        with contextlib.suppress(ValueError):
            day = date.fromisoformat(text)
            if day.year < MAXYEAR:  # so that the days after it are dates too
                return day
    raise InvalidInput(field, text, rule)


def parsed_day(text: object, field: str = "day") -> date:
    """Return the date in `YYYY-MM-DD`, one since 2009. Raises InvalidInput."""
    rule = "a date since 2009 such as 2026-01-02"
    day = parsed_date(text, field, rule)
    if day.year < values.EARLIEST.year:
        raise InvalidInput(field, text, rule)
    return day


def parsed_asset(text: object, field: str = "asset") -> str:
    """Return a currency, or a derivative, whose contracts are an asset of their own. Raises InvalidInput."""
    return values.currency(text, field)


def parsed_equals(text: str) -> tuple[str, str]:
    """Return the two currencies in `USDT=USD`. Raises InvalidInput."""
    one, _, other = text.partition("=")
    if "=" in other:
        raise InvalidInput("equal", text, "two currencies whose codes have no '=', such as USDT=USD")
    return values.currency(one, "equal"), values.currency(other, "equal")

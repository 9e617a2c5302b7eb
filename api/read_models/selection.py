"""Whether what a report selects is on record: an unknown account, strategy, instrument or currency is an error.

A name that is on record and has no rows gives a report without rows. What is known is what is on record now, also for
a past moment.
"""

import difflib
from collections.abc import Iterable
from typing import Any, Protocol

import sqlalchemy as sa

from api.daybook import Daybook
from api.parameters import given_mark, parsed_equals
from api.problems import Problem
from api.read_models.snapshot import Reading
from domain import account, instrument
from projections.models import balances, journal, limits, orders, positions, reference_data
from projections.storage.history import AsOf
from projections.storage.rows import MemoryRows, fetch

NEAR_MAX = 3
NAMED_MAX = 8
ACCOUNT, STRATEGY, INSTRUMENT, CURRENCY = "account", "strategy", "instrument", "currency"
FIELDS = {
    "account_id": ACCOUNT, "strategy_id": STRATEGY, "instrument_id": INSTRUMENT, "asset": "asset", "currency": CURRENCY,
}  # fmt: skip


class Selection(Protocol):
    """The parameters that select rows; None and () select all."""

    @property
    def account_id(self) -> str | None:
        """One account."""

    @property
    def strategy_id(self) -> str | None:
        """One strategy."""

    @property
    def instrument_id(self) -> str | None:
        """One instrument."""


def check_selection(daybook: Daybook, at: Reading, selected: Selection) -> None:
    """Raise Problem if what is selected is not on record; it names what is nearest to it."""
    assert not isinstance(at.source, MemoryRows), "it is read from the read models"
    known = _Known(daybook, at.source.connection if isinstance(at.source, AsOf) else at.source)
    for field, kind in FIELDS.items():
        if (name := getattr(selected, field, None)) is not None and name not in known.all_of(kind, name):
            raise _unknown(kind, field, name, known.all_of(kind, name))
    for text in getattr(selected, "mark", ()):
        name = given_mark(text).instrument_id
        if name not in known.all_of(INSTRUMENT, name):
            raise _unknown(INSTRUMENT, "mark", name, known.all_of(INSTRUMENT, name))
    for text in getattr(selected, "equal", ()):
        for name in parsed_equals(text):
            if name not in known.all_of(CURRENCY, name):
                raise _unknown(CURRENCY, "equal", name, known.all_of(CURRENCY, name))


class _Known:
    """The names on record, by kind."""

    def __init__(self, daybook: Daybook, connection: sa.Connection) -> None:
        self._daybook = daybook
        self._connection = connection

    def all_of(self, kind: str, name: str) -> set[str]:
        """Return the names of a kind. One that only the log has, as the read models are behind, is among them."""
        match kind:
            case "account":
                return self._accounts() | self._logged(account.stream(name), name)
            case "strategy":
                return self._strategies(name)
            case "instrument":
                return self._instruments() | self._logged(instrument.stream(name), name)
            case "currency":
                return self._currencies()
            case _:
                return self._currencies() | self._instruments()

    def _logged(self, stream: str, name: str) -> set[str]:
        return {name} if self._daybook.state(stream) is not None else set()

    def _distinct(self, column: sa.Column[str]) -> set[str]:
        return {name for name in self._connection.scalars(sa.select(column).distinct()) if name}

    def _accounts(self) -> set[str]:
        named = set(reference_data.base_currencies(self._connection))
        return named.union(*map(self._distinct, (positions.positions_table.c.account_id, limits.limits.c.account_id)))

    def _strategies(self, name: str) -> set[str]:
        columns = (positions.positions_table.c.strategy_id, limits.usage.c.strategy_id, limits.limits.c.strategy_id)
        named = set[str]().union(*map(self._distinct, columns))
        return named if name in named else named | self._distinct(orders.orders.c.strategy_id)  # of orders never filled

    def _instruments(self) -> set[str]:
        named = self._distinct(reference_data.instruments_table.c.instrument_id)
        return named | self._distinct(positions.positions_table.c.instrument_id)

    def _currencies(self) -> set[str]:
        contracts = fetch(self._connection, reference_data.instruments_table)
        contracts += fetch(self._connection, reference_data.conversions_table)
        named = {row[name] for row in contracts for name in ("base", "quote", "settle") if row[name]}
        named |= set(reference_data.base_currencies(self._connection).values())
        return named | self._distinct(balances.balances_table.c.asset) | self._distinct(journal.ledger_table.c.asset)


def _unknown(kind: str, field: str, name: str, known: Iterable[str]) -> Problem:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, NEAR_MAX, cutoff=0.6)
    near += [one for one in names if one.lower() == name.lower() and one not in near]
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        hint = f"there are {', '.join(names[:NAMED_MAX])}{more}"
    else:
        hint = "there is none yet"
    facts: dict[str, Any] = {field: name} if field in FIELDS else {"name": name}
    detail = f"{kind} {name} is not on record; {hint}"
    return Problem(404, "not-found", "Not found", detail, parameter=field, near=near, **facts)

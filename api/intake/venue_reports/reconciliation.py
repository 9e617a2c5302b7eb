"""Reconciliation of an account with a venue statement on record: its differences become breaks, or end them.

Each section (balances, positions, open orders, fills) is governed by the newest statement of it on record. A statement
of before is compared as of its own moment as well: its differences are shown, and change no break.
"""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import to_builtins
from msgspec.structs import replace

from adapters.log.queries import newest_statement, of_account, stated_until
from adapters.writer.batch import Look
from domain import account, position
from domain.access import Actor
from domain.account import (
    BalanceLine,
    Break,
    BreakEvent,
    BreakResolved,
    FillLine,
    Line,
    OpenBreak,
    OrderLine,
    PositionLine,
    Statement,
    StatementTaken,
)
from domain.errors import RequestRefused
from domain.holdings.holdings import Holdings
from domain.holdings.reconciliation import compare, mend, react
from domain.ledger import Command, Report, schema
from domain.position import PositionKey
from domain.values import leg_of

if TYPE_CHECKING:
    from api.daybook import Daybook

SECTIONS: dict[str, type[Line]] = {
    "balances": BalanceLine, "positions": PositionLine, "open_orders": OrderLine, "fills_from": FillLine,
}  # fmt: skip


class Reconciled(NamedTuple):
    """The differences of a statement, and a place in the log that covers what they changed (0 if nothing)."""

    found: tuple[Break, ...]
    seq: int


def differences(daybook: "Daybook", statement: Statement) -> tuple[Break, ...]:
    """Return the differences between our records and a statement, as of its moment. Raises InvalidInput."""
    holdings = Holdings(statement.account_id, statement.venue, statement.transact_time)
    name = account.stream(statement.account_id)
    for stored in of_account(daybook.history, statement.account_id, daybook.history.head().seq):
        if not stored.stream.startswith("account:") or stored.stream == name:
            holdings.add(schema.decode(stored.topic, stored.state).event)
    return compare(holdings, statement)


def reactions(daybook: "Daybook", look: Look, statement: Statement, found: tuple[Break, ...]) -> tuple[BreakEvent, ...]:
    """Return what the differences of a statement change of the account's breaks, where it is the newest of its kind."""
    newest = stated_until(daybook.history, statement.account_id, statement.venue, list(SECTIONS))
    old = {name for name, at in newest.items() if at > statement.transact_time}
    governed = replace(
        statement, **dict.fromkeys(old), **({"fills": None} if "fills_from" in old else {})
    )  # fmt: skip
    kept = [each for each in found if not isinstance(each.line, tuple(SECTIONS[name] for name in old))]
    return react(look(account.stream(statement.account_id)), governed, kept)


def reconciled(daybook: "Daybook", statement: Statement, actor: Actor, request_id: str = "") -> Reconciled:
    """Compare a statement that is on record, and record what follows for the account's breaks.

    Sent again, it is compared again: what was corrected since then ends its break. Raises what recording raises.
    """
    found = differences(daybook, statement)
    events = reactions(daybook, daybook.writer.state, statement, found)
    if not events:
        return Reconciled(found, 0)
    cause = account.venue_statement.stream(statement)
    answers = daybook.writer.carry_out(Command(events, actor, request_id, cause))
    return Reconciled(found, answers[0].seq)


def correction(daybook: "Daybook", account_id: str, break_id: str) -> tuple[Report, ...]:
    """Return the reports that make our records agree with the venue on a break, and the one that ends it.

    Raises RequestRefused where the break is not open, or no report would: then a person decides.
    """
    broken = open_break(daybook, account_id, break_id)
    stated = statement_of(daybook, account_id, broken)
    statement = Statement(account_id, stated.venue, stated.statement_id, stated.transact_time)
    reports = mend(broken.found, statement, held=_held(daybook, broken.found))
    if not reports:
        rule = "a break that a report corrects; report what happened, or dismiss the break"
        raise RequestRefused(rule, break_id=break_id, kind=broken.found.kind)
    ended = BreakResolved(
        account_id, break_id, stated.statement_id, reason="corrected", opened_at=broken.opened_at,
        transact_time=stated.transact_time,
    )  # fmt: skip
    return (*reports, ended)


def open_break(daybook: "Daybook", account_id: str, break_id: str) -> OpenBreak:
    """Return an open difference from a venue statement. Raises RequestRefused."""
    known: account.Account | None = daybook.writer.state(account.stream(account_id))
    broken = known.breaks.get(break_id) if known is not None else None
    if broken is None:
        raise RequestRefused("an open break", break_id=break_id, account_id=account_id)
    return broken


def statement_of(daybook: "Daybook", account_id: str, broken: OpenBreak) -> StatementTaken:
    """Return the newest venue statement that a difference is compared with. Raises RequestRefused."""
    section = next(name for name, kind in SECTIONS.items() if isinstance(broken.found.line, kind))
    stored = newest_statement(daybook.history, account_id, section)
    if stored is None:
        raise RequestRefused("a venue statement to agree with", break_id=broken.found.break_id, section=section)
    stated: StatementTaken = schema.decode(stored.topic, stored.state).event
    return stated


def _held(daybook: "Daybook", found: Break) -> dict[str, Decimal]:
    """Return what each strategy holds of the leg that a break is about."""
    known, line = daybook.writer.state(account.stream(found.account_id)), found.line
    if known is None or not isinstance(line, PositionLine):
        return {}
    place = (line.instrument_id, leg_of(line.position_side))
    keys = [PositionKey(known.account_id, *each) for each in known.positions if each[1:] == place]
    held = {key.strategy_id: daybook.writer.state(position.stream(key)) for key in keys}
    return {strategy_id: each.quantity for strategy_id, each in held.items() if each is not None}


def shown(found: Break) -> dict[str, Any]:
    """Return a difference as a record: both lines, and the fields that differ."""
    return {
        "break_id": found.break_id, "kind": found.kind.value, "about": type(found.line).__name__,
        "fields": list(found.fields), "ours": plain_line(found.ours), "theirs": plain_line(found.theirs),
    }  # fmt: skip


def plain_line(line: Line | None) -> dict[str, Any] | None:
    """Return a line of a statement as a record."""
    return None if line is None else dict(to_builtins(line, builtin_types=(Decimal, datetime)))

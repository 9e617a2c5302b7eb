"""Limits and their usage by positions and working orders; breaches; kill switches.

Follows `domain.risk`: a limit's scope is a strategy or all, an instrument, venue or asset or any; "" stands for all in
the tables, None in query results. Quantities are signed as positions are; held quantities are unsigned, by side. The
firm's limits (account `firm`) are over all accounts together. Usage that depends on marks is not computed here: such a
limit shows the result of the last monitoring while it is breached or cannot be assessed.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict, cast

import sqlalchemy as sa
from msgspec.structs import replace

from domain.instrument import Contract
from domain.ledger import Logged
from domain.order import OrderKey
from domain.position import PositionKey
from domain.risk import (
    FIRM,
    AssessmentMissed,
    AssessmentResumed,
    BreachCleared,
    HoldAdjusted,
    HoldExpired,
    HoldPlaced,
    HoldPosted,
    HoldVoided,
    LimitBreached,
    LimitSet,
    LimitStatus,
    Measure,
    Scope,
    SwitchEngaged,
    SwitchReleased,
)
from domain.values import ZERO, PositionSide, Side, divide, exact, leg_of, venue_of
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    NUMBER,
    POSITION,
    WHOLE,
    Projection,
    Row,
    Rows,
    fact,
    key,
    maybe,
    position_row,
    printable,
    table,
)

SCOPE = ("strategy_id", "instrument_id", "venue", "asset")
USAGE = POSITION

limits = table(
    "limits",
    "limits",
    key("account_id"),
    *map(key, SCOPE),
    key("measure"),
    maybe("limit", NUMBER),
    maybe("currency"),
    fact("version", WHOLE),
    maybe("unassessed"),
    fact("transact_time", AT),
)
breaches_table = table(
    "limits",
    "breaches",
    key("account_id"),
    *map(key, SCOPE),
    key("measure"),
    key("subject"),
    fact("version", WHOLE),
    fact("limit", NUMBER),
    maybe("currency"),
    fact("used", NUMBER),
    fact("transact_time", AT),
)
switches_table = table(
    "limits",
    "switches",
    key("account_id"),
    *map(key, SCOPE),
    fact("mode"),
    fact("reason"),
    fact("actor"),
    fact("version", WHOLE),
    fact("transact_time", AT),
)
usage = table(
    "limits",
    "usage",
    *map(key, USAGE),
    maybe("base"),
    fact("position", NUMBER),
    fact("held_buy", NUMBER),
    fact("held_sell", NUMBER),
    fact("orders", WHOLE),
)
holds = table(
    "limits",
    "holds",
    key("account_id"),
    key("cl_ord_id"),
    fact("strategy_id"),
    fact("instrument_id"),
    fact("position_side"),
    fact("side"),
    fact("quantity", NUMBER),
    has_history=False,
)


class ScopeColumns(TypedDict):
    """The account and scope of a limit or kill switch; None stands for all."""

    account_id: str
    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None


class LimitRow(ScopeColumns):
    """A limit and its usage: `limit` and `used` in `currency`, or without one in base units, contracts or orders;
    `position` signed and held quantities unsigned, in base units or contracts; `utilisation` is a fraction. `scope`
    names what the limit was set for: firm or account, and of it strategy, instrument, venue or asset. `status` is a
    LimitStatus; `would_refuse`, of a SHADOW limit, how many orders its present version would have refused.
    """

    scope: str
    measure: str
    status: str
    would_refuse: int | None
    limit: Decimal
    currency: str | None
    version: int
    unassessed: str | None
    transact_time: datetime
    position: Decimal | None
    held_buy: Decimal | None
    held_sell: Decimal | None
    used: Decimal | None
    utilisation: Decimal | None
    breached_at: datetime | None
    seq: int


class BreachRow(ScopeColumns):
    """A limit exceeded other than by an order: `limit` and `used` as in `LimitRow`, of `subject` ("" of the scope)."""

    measure: str
    subject: str
    version: int
    limit: Decimal
    currency: str | None
    used: Decimal
    transact_time: datetime
    seq: int


class SwitchRow(ScopeColumns):
    """An engaged kill switch."""

    mode: str
    reason: str
    actor: str
    version: int
    transact_time: datetime
    seq: int


def _scope(account_id: str, scope: Scope) -> Row:
    return {"account_id": account_id} | {name: getattr(scope, name) or "" for name in SCOPE}


def place_of(account_id: str, scope: Scope, measure: Measure) -> Row:
    """Return the columns that name a limit, in any status."""
    return _scope(account_id, scope) | {"measure": measure.value}


def _set(rows: Rows, logged: Logged, event: LimitSet) -> None:
    """Set or lift an active limit; one that was moved to another status is lifted here."""
    place = place_of(event.account_id, event.scope, event.measure)
    known = rows.get(limits, *place.values())
    if event.status is not LimitStatus.ACTIVE:
        if event.moved_from is not LimitStatus.ACTIVE or known is None:
            return
        event = replace(event, limit=None, version=known["version"])
    is_lifted = event.limit is None
    row = place | {
        "limit": event.limit,
        "currency": event.currency,
        "version": event.version,
        "unassessed": None if known is None or is_lifted else known["unassessed"],
        "transact_time": event.transact_time,
        "seq": logged.seq,
    }
    rows.put(limits, row)
    if is_lifted and known is not None:
        for breach in rows.find(breaches_table, **place):
            rows.delete(breaches_table, *place.values(), breach["subject"])


def _breached(rows: Rows, logged: Logged, event: LimitBreached) -> None:
    rows.put(breaches_table, breach_of(logged, event))


def breach_of(logged: Logged, event: LimitBreached) -> Row:
    """Return the row of a breach."""
    return _scope(event.account_id, event.scope) | {
        "measure": event.measure.value,
        "subject": event.subject,
        "version": event.version,
        "limit": event.limit,
        "currency": event.currency,
        "used": event.used,
        "transact_time": event.transact_time,
        "seq": logged.seq,
    }


def _cleared(rows: Rows, logged: Logged, event: BreachCleared) -> None:
    place = _scope(event.account_id, event.scope)
    rows.delete(breaches_table, *place.values(), event.measure.value, event.subject)


def _assessable(rows: Rows, logged: Logged, event: AssessmentMissed | AssessmentResumed) -> None:
    place = _scope(event.account_id, event.scope)
    limit = rows.get(limits, *place.values(), event.measure.value)
    assert limit is not None, "an assessed limit has been set"
    rule = event.rule if isinstance(event, AssessmentMissed) else None
    rows.put(limits, limit | {"unassessed": rule, "seq": logged.seq})


def _engaged(rows: Rows, logged: Logged, event: SwitchEngaged) -> None:
    row = _scope(event.account_id, event.scope) | {
        "mode": event.mode.value,
        "reason": printable(event.reason),
        "actor": printable(event.actor),
        "version": event.version,
        "transact_time": event.transact_time,
        "seq": logged.seq,
    }
    rows.put(switches_table, row)


def _released(rows: Rows, logged: Logged, event: SwitchReleased) -> None:
    rows.delete(switches_table, *_scope(event.account_id, event.scope).values())


def _place(event: HoldPlaced | HoldAdjusted | HoldPosted) -> Row:
    leg = leg_of(event.position_side)
    return position_row(PositionKey(event.key.account_id, event.strategy_id, event.instrument_id, leg))


def _held(rows: Rows, logged: Logged, event: HoldPlaced | HoldAdjusted) -> None:
    place = _place(event)
    place |= {"side": event.side.value}
    _hold(rows, logged, event.key, place, quantity=event.quantity, contract=event.contract)


def _hold(
    rows: Rows, logged: Logged, order: OrderKey, place: Row, *, quantity: Decimal, contract: Contract | None = None
) -> None:
    """Set an order's hold to a quantity, in place of its former hold; zero removes it."""
    known = rows.get(holds, order.account_id, order.cl_ord_id)
    was, is_held = known["quantity"] if known is not None else ZERO, quantity > 0
    if known is None and not is_held:
        return
    row = {
        "account_id": order.account_id,
        "cl_ord_id": order.cl_ord_id,
        "strategy_id": place["strategy_id"],
        "instrument_id": place["instrument_id"],
        "position_side": place["position_side"],
        "side": place["side"],
        "quantity": quantity,
        "seq": logged.seq,
    }
    if is_held:
        rows.put(holds, row)
    else:
        rows.delete(holds, order.account_id, order.cl_ord_id)
    held = "held_buy" if place["side"] == Side.BUY else "held_sell"
    changes = {held: quantity - was, "orders": is_held - (known is not None)}
    _use(rows, logged, place, changes, contract=contract)


def _posted(rows: Rows, logged: Logged, event: HoldPosted) -> None:
    place = _place(event)
    _use(rows, logged, place, {"position": event.quantity}, contract=event.contract)
    _release(rows, logged, event)


def _release(rows: Rows, logged: Logged, event: HoldPosted | HoldVoided | HoldExpired) -> None:
    """Reduce the order's hold by the released quantity. A fill's position may differ from that of its order's hold."""
    known = rows.get(holds, event.key.account_id, event.key.cl_ord_id) if event.released else None
    if known is not None:
        _hold(rows, logged, event.key, known, quantity=max(exact(known["quantity"] - event.released), ZERO))


def _use(rows: Rows, logged: Logged, place: Row, changes: dict[str, Any], *, contract: Contract | None) -> None:
    """Add to sums of the usage row of the account, strategy, instrument and leg in `place`."""
    row = rows.get(usage, *(place[name] for name in USAGE))
    if row is None:
        row = {name: place[name] for name in USAGE} | {"base": None, "orders": 0}
        row |= dict.fromkeys(("position", "held_buy", "held_sell"), ZERO)
    row = row.copy()
    for name, change in changes.items():
        total = row[name] + change
        row[name] = exact(total) if isinstance(total, Decimal) else total
    if contract:
        row["base"] = contract.base
    row["seq"] = logged.seq
    rows.put(usage, row)


PROJECTION = Projection(
    "limits",
    4,
    (limits, breaches_table, switches_table, usage, holds),
    {
        LimitSet: _set,
        LimitBreached: _breached,
        BreachCleared: _cleared,
        AssessmentMissed: _assessable,
        AssessmentResumed: _assessable,
        SwitchEngaged: _engaged,
        SwitchReleased: _released,
        HoldPlaced: _held,
        HoldAdjusted: _held,
        HoldPosted: _posted,
        HoldVoided: _release,
        HoldExpired: _release,
    },
)


def utilisation(
    source: Source, account_id: str | None = None, known_usage: Sequence[Row] | None = None
) -> list[LimitRow]:
    """Return every active limit and its usage; a limit on each instrument has a row for each one in use.

    Of MAX_POSITION of instruments, `used` is the larger of the position with all working buys filled and with all
    working sells filled, unsigned; of MAX_OPEN_ORDERS the number of working orders; of others the usage when the limit
    was `breached_at`, else None. `utilisation` is used / limit to 18 places (None of a limit of zero). `unassessed` is
    the reason why monitoring cannot check the limit. `known_usage` are the rows of `usage_of`, where they are known.
    """
    active = {"status": LimitStatus.ACTIVE.value, "would_refuse": None}
    found = [active | row for row in fetch(source, limits, where={"account_id": account_id})]
    in_force = [row for row in found if row["limit"] is not None]
    used = usage_of(source, account_id) if known_usage is None else known_usage
    return used_of(used, in_force, breaches(source, account_id))


def usage_of(source: Source, account_id: str | None) -> list[Row]:
    """Return what limits count, of one account, or of all for the firm."""
    return fetch(source, usage, where={"account_id": None if account_id == FIRM else account_id})


def used_of(used: Sequence[Row], chosen: list[Row], broken: list[BreachRow]) -> list[LimitRow]:
    """Return these limits with their usage and breaches, as `utilisation` does; `used` are the rows of `usage_of`."""
    rows = []
    for limit in chosen:
        covered = [row for row in used if _covers(limit, row)]
        found = [breach for breach in broken if _is_of(limit, breach)]
        match limit["measure"]:
            case Measure.MAX_POSITION if not limit["asset"] or limit["instrument_id"]:  # of a coin it is no sum of rows
                for name in sorted({row["instrument_id"] for row in covered}) or [limit["instrument_id"]]:
                    here = [row for row in covered if row["instrument_id"] == name]
                    rows.append(_position(limit, name, here, [row for row in found if row["subject"] == name]))
            case Measure.MAX_OPEN_ORDERS:
                rows.append(_used(limit, Decimal(sum(row["orders"] for row in covered)), covered, found))
            case _:
                rows.append(_used(limit, max((row["used"] for row in found), default=None), [], found))
    return rows


def breaches(source: Source, account_id: str | None = None) -> list[BreachRow]:
    """Return the limits exceeded other than by an order, as of the last event of each."""
    return breach_rows(source, breaches_table, account_id)


def breach_rows(source: Source, of: sa.Table, account_id: str | None = None) -> list[BreachRow]:
    """Return the rows of a table of breaches."""
    return cast(list[BreachRow], [shown(row) for row in fetch(source, of, where={"account_id": account_id})])


def switches(source: Source, account_id: str | None = None) -> list[SwitchRow]:
    """Return the engaged kill switches, with actor, reason and time."""
    found = fetch(source, switches_table, where={"account_id": account_id})
    return cast(list[SwitchRow], [shown(row) for row in found])


def shown(row: Row) -> Row:
    """Return a row with None for what a scope does not name."""
    return row | {name: row[name] or None for name in SCOPE}


def _named(limit: Row) -> str:
    parts = [name.removesuffix("_id") for name in SCOPE if limit[name]]
    owner = "firm" if limit["account_id"] == FIRM else "account"
    return ", ".join(parts if owner == "account" and parts else [owner, *parts])


def _is_of(limit: Row, breach: BreachRow) -> bool:
    names, row = ("account_id", "measure", *SCOPE), cast(Row, breach)
    return all((limit[name] or None) == row[name] for name in names)


def _covers(limit: Row, row: Row) -> bool:
    """As `domain.risk.measures.Scope.covers` does."""
    return (
        limit["account_id"] in (FIRM, row["account_id"])
        and limit["strategy_id"] in ("", row["strategy_id"])
        and limit["instrument_id"] in ("", row["instrument_id"])
        and limit["venue"] in ("", venue_of(row["instrument_id"]))
        and limit["asset"] in ("", row["base"])
    )


def _position(limit: Row, instrument_id: str, covered: list[Row], found: list[BreachRow]) -> LimitRow:
    position, buys, sells = (
        exact(sum((row[name] for row in covered), ZERO)) for name in ("position", "held_buy", "held_sell")
    )
    legs = [row for row in covered if row["position_side"] != PositionSide.BOTH]  # as domain.risk.exposure counts them
    longest = position + buys - sum(min(row["position"] + row["held_buy"], ZERO) for row in legs)
    shortest = position - sells - sum(max(row["position"] - row["held_sell"], ZERO) for row in legs)
    at_most = exact(max(abs(longest), abs(shortest)))
    row = _used(limit, at_most, covered, found)
    row["position"], row["held_buy"], row["held_sell"] = position, buys, sells
    row["instrument_id"] = instrument_id or None
    return row


def _used(limit: Row, used: Decimal | None, covered: list[Row], found: list[BreachRow]) -> LimitRow:
    row = shown(limit) | {
        "scope": _named(limit),
        "position": None,
        "held_buy": None,
        "held_sell": None,
        "used": used,
        "utilisation": divide(used, limit["limit"]) if used is not None and limit["limit"] else None,
        "breached_at": min((breach["transact_time"] for breach in found), default=None),
        "seq": max([limit["seq"], *(row["seq"] for row in covered), *(breach["seq"] for breach in found)]),
    }
    return cast(LimitRow, row)

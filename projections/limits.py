"""Limits: what is set, and how much of it is used: positions and what working orders hold.

Follows `domain.risk`: a limit's scope is a strategy or all, an instrument or each; "" stands for all and each in the
tables, None in what queries return. Quantities are signed as positions are; what is held is unsigned, by side.
"""

from decimal import Decimal

from domain.log import Logged
from domain.risk import HoldPlaced, HoldPosted, HoldVoided, LimitSet, Measure
from domain.values import ZERO, Side, divide, exact
from projections.rows import Rows, Source, fetch
from projections.tables import AT, NUMBER, WHOLE, Projection, Row, fact, key, maybe, table

limits = table(
    "limits",
    "limits",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    key("measure"),
    maybe("limit", NUMBER),
    maybe("currency"),
    fact("version", WHOLE),
    fact("transact_time", AT),
)
usage = table(
    "limits",
    "usage",
    key("account_id"),
    key("strategy_id"),
    key("instrument_id"),
    fact("position", NUMBER),
    fact("held_buy", NUMBER),
    fact("held_sell", NUMBER),
)
holds = table(
    "limits",
    "holds",
    key("account_id"),
    key("cl_ord_id"),
    fact("strategy_id"),
    fact("instrument_id"),
    fact("side"),
    fact("quantity", NUMBER),
)


def _set(rows: Rows, logged: Logged, event: LimitSet) -> None:
    row = {
        "account_id": event.account_id,
        "strategy_id": event.scope.strategy_id or "",
        "instrument_id": event.scope.instrument_id or "",
        "measure": event.measure.value,
        "limit": event.limit,
        "currency": event.currency,
        "version": event.version,
        "transact_time": event.transact_time,
        "seq": logged.seq,
    }
    rows.put(limits, row)


def _placed(rows: Rows, logged: Logged, event: HoldPlaced) -> None:
    hold: Row = {
        "account_id": event.key.account_id,
        "cl_ord_id": event.key.cl_ord_id,
        "strategy_id": event.strategy_id,
        "instrument_id": event.instrument_id,
        "side": event.side.value,
        "quantity": event.quantity,
        "seq": logged.seq,
    }
    rows.put(holds, hold)
    _use(rows, logged, hold, _held(hold), event.quantity)


def _posted(rows: Rows, logged: Logged, event: HoldPosted) -> None:
    place = {
        "account_id": event.key.account_id,
        "strategy_id": event.strategy_id,
        "instrument_id": event.instrument_id,
    }
    _use(rows, logged, place, "position", event.quantity)
    _release(rows, logged, event)


def _release(rows: Rows, logged: Logged, event: HoldPosted | HoldVoided) -> None:
    """The order's hold without what the event releases. A fill may be booked elsewhere than its order was held for."""
    order = (event.key.account_id, event.key.cl_ord_id)
    hold = rows.get(holds, *order) if event.released else None
    if hold is None:
        return
    left = max(exact(hold["quantity"] - event.released), ZERO)
    _use(rows, logged, hold, _held(hold), left - hold["quantity"])
    if left:
        rows.put(holds, hold | {"quantity": left, "seq": logged.seq})
    else:
        rows.delete(holds, *order)


def _held(hold: Row) -> str:
    return "held_buy" if hold["side"] == Side.BUY else "held_sell"


def _use(rows: Rows, logged: Logged, place: Row, name: str, change: Decimal) -> None:
    """Add to a sum of the usage row at the account, strategy and instrument of `place`."""
    names = ("account_id", "strategy_id", "instrument_id")
    row = rows.get(usage, *(place[key_name] for key_name in names))
    if row is None:
        row = {key_name: place[key_name] for key_name in names}
        row |= dict.fromkeys(("position", "held_buy", "held_sell"), ZERO)
    rows.put(usage, row | {name: exact(row[name] + change), "seq": logged.seq})


PROJECTION = Projection(
    "limits",
    1,
    (limits, usage, holds),
    {LimitSet: _set, HoldPlaced: _placed, HoldPosted: _posted, HoldVoided: _release},
)


def utilisation(source: Source, account_id: str | None = None) -> list[Row]:
    """Every limit in force and what is used of it; a limit on each instrument has a row for each one in use.

    `used` is the larger of the position with all working buys filled and with all working sells filled, unsigned;
    `utilisation` is used / limit to 18 places (None of a limit of zero). A limit on single orders has neither.
    """
    where = {"account_id": account_id}
    used = fetch(source, usage, where=where)
    rows = []
    for limit in fetch(source, limits, where=where):
        if limit["limit"] is None:
            continue
        covered = [row for row in used if _covers(limit, row)] if limit["measure"] == Measure.MAX_POSITION else []
        for instrument_id in sorted({row["instrument_id"] for row in covered}) or [limit["instrument_id"]]:
            used_here = [row for row in covered if row["instrument_id"] == instrument_id]
            rows.append(_utilised(limit, instrument_id, used_here))
    return rows


def _covers(limit: Row, row: Row) -> bool:
    return limit["account_id"] == row["account_id"] and all(
        limit[name] in ("", row[name]) for name in ("strategy_id", "instrument_id")
    )


def _utilised(limit: Row, instrument_id: str, used: list[Row]) -> Row:
    shown = limit | {
        "strategy_id": limit["strategy_id"] or None,
        "instrument_id": instrument_id or None,
        "seq": max([limit["seq"], *(row["seq"] for row in used)]),
    }
    if limit["measure"] != Measure.MAX_POSITION:
        return shown | dict.fromkeys(("position", "held_buy", "held_sell", "used", "utilisation"))
    position, buys, sells = (
        exact(sum((row[name] for row in used), ZERO)) for name in ("position", "held_buy", "held_sell")
    )
    at_most = exact(max(abs(position + buys), abs(position - sells)))
    return shown | {
        "position": position,
        "held_buy": buys,
        "held_sell": sells,
        "used": at_most,
        "utilisation": divide(at_most, limit["limit"]) if limit["limit"] else None,
    }

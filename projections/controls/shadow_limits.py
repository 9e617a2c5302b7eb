"""Draft and shadow limits, and what each shadow limit would have refused or reported, had it been active.

`beside` has the limits that are not active, `breaches_table` the shadow limits that are exceeded other than by an
order. A refusal is one row an order or replacement, all of which passed; `counts` has their number for each version of
a shadow limit. Scopes are as in `projections.models.limits`.
"""

from datetime import datetime
from decimal import Decimal
from typing import cast

from msgspec.structs import replace

from domain.ledger import Logged
from domain.risk import (
    AssessmentMissed,
    AssessmentResumed,
    BreachCleared,
    DayOpened,
    HoldRefused,
    LimitBreached,
    LimitSet,
    LimitStatus,
    ShadowDecided,
)
from domain.values import leg_of
from projections.models import limits
from projections.models.limits import SCOPE, LimitRow, ScopeColumns
from projections.storage.rows import Source, fetch
from projections.storage.tables import (
    AT,
    FACTS,
    NUMBER,
    WHOLE,
    Projection,
    Row,
    Rows,
    fact,
    key,
    maybe,
    printable,
    table,
)

NAME = "shadow_limits"
BOTH = ("limits", NAME)  # the models that `every_limit` reads

beside = table(
    NAME,
    "beside",
    key("account_id"),
    *map(key, SCOPE),
    key("measure"),
    key("status"),
    maybe("limit", NUMBER),
    maybe("currency"),
    fact("version", WHOLE),
    maybe("unassessed"),
    maybe("would_refuse", WHOLE),
    fact("transact_time", AT),
)
breaches_table = table(
    NAME,
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
refusals = table(
    NAME,
    "refusals",
    key("refused_seq", WHOLE),
    fact("account_id"),
    *map(fact, SCOPE),
    fact("measure"),
    fact("version", WHOLE),
    fact("limit", NUMBER),
    maybe("used", NUMBER),
    maybe("with_order", NUMBER),
    maybe("currency"),
    fact("rule"),
    maybe("facts", FACTS),
    fact("order_account_id"),
    fact("cl_ord_id"),
    maybe("requested_as"),
    fact("order_strategy_id"),
    fact("order_instrument_id"),
    fact("position_side"),
    fact("side"),
    fact("order_qty", NUMBER),
    maybe("notional", NUMBER),
    fact("transact_time", AT),
    indexes=(("account_id", "refused_seq"),),
    created_by="refused_seq",
    is_only_added=True,
)
counts = table(
    NAME,
    "counts",
    key("account_id"),
    *map(key, SCOPE),
    key("measure"),
    key("version", WHOLE),
    fact("orders", WHOLE),
    fact("limit", NUMBER),
    maybe("with_order_max", NUMBER),
    maybe("currency"),
    fact("first_at", AT),
    fact("last_at", AT),
)


class RefusalRow(ScopeColumns):
    """An order that passed, or a replacement (`requested_as`), which a shadow limit of this scope would have refused.

    `used` and `with_order` are the usage without the order and with it, as `limit` is; None where `rule` is that
    something to measure it by was missing, which `facts` name.
    """

    refused_seq: int
    measure: str
    version: int
    limit: Decimal
    used: Decimal | None
    with_order: Decimal | None
    currency: str | None
    rule: str
    facts: dict[str, str] | None
    order_account_id: str
    cl_ord_id: str
    requested_as: str | None
    order_strategy_id: str
    order_instrument_id: str
    position_side: str
    side: str
    order_qty: Decimal
    notional: Decimal | None
    transact_time: datetime
    seq: int


class RefusalCount(ScopeColumns):
    """How many orders and replacements a version of a shadow limit would have refused; `with_order_max` is unsigned."""

    measure: str
    version: int
    orders: int
    limit: Decimal
    with_order_max: Decimal | None
    currency: str | None
    first_at: datetime
    last_at: datetime
    seq: int


def _set(rows: Rows, logged: Logged, event: LimitSet) -> None:
    """Set or lift a limit that is not active, and lift one that was moved to another status."""
    place = limits.place_of(event.account_id, event.scope, event.measure)
    left = None if event.moved_from is None else rows.get(beside, *place.values(), event.moved_from.value)
    if left is not None and event.moved_from is not None:
        _put(rows, logged, replace(event, limit=None, status=event.moved_from, version=left["version"]))
    if event.status is not LimitStatus.ACTIVE:
        _put(rows, logged, event)


def _put(rows: Rows, logged: Logged, event: LimitSet) -> None:
    place = limits.place_of(event.account_id, event.scope, event.measure)
    known = rows.get(beside, *place.values(), event.status.value)
    is_lifted = event.limit is None
    row = place | {
        "status": event.status.value,
        "limit": event.limit,
        "currency": event.currency,
        "version": event.version,
        "unassessed": None if known is None or is_lifted else known["unassessed"],
        "would_refuse": 0 if event.status is LimitStatus.SHADOW else None,
        "transact_time": event.transact_time,
        "seq": logged.seq,
    }
    rows.put(beside, row)
    if is_lifted and event.status is LimitStatus.SHADOW:
        for breach in rows.find(breaches_table, **place):
            rows.delete(breaches_table, *place.values(), breach["subject"])


def _decided(rows: Rows, logged: Logged, event: ShadowDecided) -> None:
    place = limits.place_of(event.account_id, event.scope, event.measure)
    known = rows.get(beside, *place.values(), LimitStatus.SHADOW.value)
    assert known is not None, "a shadow limit that decides has been set"
    match event.decided:
        case HoldRefused() as refused:
            rows.put(beside, known | {"would_refuse": known["would_refuse"] + 1, "seq": logged.seq})
            _refused(rows, logged, refused, place | {"version": event.version}, known=known)
        case LimitBreached() as breached:
            rows.put(breaches_table, limits.breach_of(logged, breached))
        case BreachCleared(subject=subject):
            rows.delete(breaches_table, *place.values(), subject)
        case AssessmentMissed(rule=rule):
            rows.put(beside, known | {"unassessed": rule, "seq": logged.seq})
        case AssessmentResumed():
            rows.put(beside, known | {"unassessed": None, "seq": logged.seq})
        case DayOpened():
            pass


def _refused(rows: Rows, logged: Logged, refused: HoldRefused, place: Row, *, known: Row) -> None:
    failed = refused.failed
    row = place | {
        "refused_seq": logged.seq,
        "limit": known["limit"],
        "used": failed.used if failed else None,
        "with_order": failed.asked if failed else None,
        "currency": known["currency"],
        "rule": printable(refused.rule),
        "facts": {name: printable(value) for name, value in refused.facts.items()} or None,
        "order_account_id": refused.key.account_id,
        "cl_ord_id": refused.key.cl_ord_id,
        "requested_as": refused.change_id or None,
        "order_strategy_id": refused.strategy_id,
        "order_instrument_id": refused.instrument_id,
        "position_side": leg_of(refused.position_side),
        "side": refused.side.value,
        "order_qty": refused.quantity,
        "notional": refused.notional,
        "transact_time": refused.transact_time,
        "seq": logged.seq,
    }
    rows.put(refusals, row)
    before = rows.get(counts, *place.values())
    known_max = before["with_order_max"] if before else None
    numbers = [abs(number) for number in (row["with_order"], known_max) if number is not None]
    row = place | {
        "orders": 1 + (before["orders"] if before else 0),
        "limit": known["limit"],
        "with_order_max": max(numbers, default=None),
        "currency": known["currency"],
        "first_at": before["first_at"] if before else refused.transact_time,
        "last_at": refused.transact_time,
        "seq": logged.seq,
    }
    rows.put(counts, row)


PROJECTION = Projection(NAME, 2, (beside, breaches_table, refusals, counts), {LimitSet: _set, ShadowDecided: _decided})


def every_limit(source: Source, account_id: str | None = None) -> list[LimitRow]:
    """Return every limit in every status, as `limits.utilisation` does: the active ones first, then shadows, drafts."""
    found = [row for row in fetch(source, beside, where={"account_id": account_id}) if row["limit"] is not None]
    broken = limits.breach_rows(source, breaches_table, account_id)
    rows = limits.utilisation(source, account_id)
    for status, breaches in ((LimitStatus.SHADOW, broken), (LimitStatus.DRAFT, [])):
        of_status = [row for row in found if row["status"] == status]
        rows += limits.used_of(source, of_status, breaches, account_id)
    return rows


def would_refuse(
    source: Source,
    account_id: str | None = None,
    strategy_id: str | None = None,
    instrument_id: str | None = None,
    *,
    position_side: str | None = None,
    limit: int | None = None,
    after: int | None = None,
) -> list[RefusalRow]:
    """Return the orders and replacements that shadow limits of an account would have refused, the newest first.

    Strategy, instrument and leg are the order's. `after` is the `refused_seq` of the last row before.
    """
    where = {"account_id": account_id, "order_strategy_id": strategy_id, "order_instrument_id": instrument_id}
    where |= {"position_side": position_side}
    found = fetch(
        source, refusals, where=where, by=("refused_seq",), limit=limit, after=None if after is None else (after,),
        is_descending=True,
    )  # fmt: skip
    return cast(list[RefusalRow], [limits.shown(row) for row in found])


def would_refuse_counts(source: Source, account_id: str | None = None) -> list[RefusalCount]:
    """Return how many orders each version of each shadow limit would have refused, from when to when."""
    found = fetch(source, counts, where={"account_id": account_id})
    return cast(list[RefusalCount], [limits.shown(row) for row in found])

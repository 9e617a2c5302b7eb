"""Amendments: fills that a venue busts or corrects after the fact.

A correction names the fill or an earlier correction of it (ExecRefID), so the fills that stand follow from the set of
all amendments, not from the order they arrive in: a bust is final; of several corrections the latest holds, by transact
time, then by how many corrections it stands behind, then by exec id. A fill keeps its first exec id and its place in
time. An amendment of something not on record yet waits for it.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.immutable import AppendMap
from domain.order.events import Amendment, OrderFillBusted, OrderFillCorrected, OrderFilled


class Origin(NamedTuple):
    """The fill an exec id refers to, and over how many corrections."""

    exec_id: str
    depth: int


class Amended(Struct, frozen=True, gc=False):
    """One fill that was amended: as first reported, whether it is void, and the correction that holds."""

    reported: OrderFilled
    is_busted: bool = False
    held_by: tuple[datetime, int, str, Decimal, Decimal] | None = None
    correction: OrderFillCorrected | None = None

    @property
    def standing(self) -> OrderFilled | None:
        """The fill as it stands; None if it is void."""
        if self.is_busted:
            return None
        if (correction := self.correction) is None:
            return self.reported
        corrected = replace(self.reported, last_qty=correction.last_qty, last_px=correction.last_px)
        if correction.commission is None:
            return corrected
        return replace(corrected, commission=correction.commission, further_commissions=correction.further_commissions)


class Amendments(Struct, frozen=True, gc=False):
    """Amended fills by their first exec id; each amendment's origin; waiting ones, by the exec id they refer to."""

    fills: dict[str, Amended] = {}
    origins: dict[str, Origin] = {}
    waiting: dict[str, tuple[Amendment, ...]] = {}


def origin_of(
    amendments: Amendments, fills: AppendMap[str, OrderFilled], exec_id: str, at: datetime | None = None
) -> Origin | None:
    """The fill on record that `exec_id` refers to."""
    found = amendments.origins.get(exec_id)
    if found is not None:
        return found
    known = [fill for fill in _reported(amendments, fills, exec_id) if at is None or fill.transact_time <= at]
    if not known:
        known = _reported(amendments, fills, exec_id)
    return Origin(max(known, key=lambda fill: fill.transact_time).id_on_record, 0) if known else None


def _reported(amendments: Amendments, fills: AppendMap[str, OrderFilled], exec_id: str) -> list[OrderFilled]:
    """The fills of an order under one exec id of the venue, amended ones as they were reported."""
    amended = amendments.fills.get(exec_id)
    first = amended.reported if amended is not None else fills.get(exec_id)
    if first is not None and not any(fill.entry_id for fill in fills.values()):
        return [first]
    every = {fill.id_on_record: fill for fill in fills.values()}
    every |= {entry_id: amended.reported for entry_id, amended in amendments.fills.items()}
    return [fill for fill in every.values() if fill.exec_id == exec_id]


def kept_waiting(amendments: Amendments, report: Amendment) -> Amendments:
    """The amendments with one more that waits for a fill not on record yet."""
    waiting = amendments.waiting.get(report.exec_ref_id, ())
    if report in waiting:
        return amendments
    return replace(amendments, waiting=amendments.waiting | {report.exec_ref_id: (*waiting, report)})


def amended(
    amendments: Amendments, fills: AppendMap[str, OrderFilled], report: Amendment
) -> tuple[Amendments, OrderFilled | None, OrderFilled | None]:
    """The amendments with one of a fill on record; the fill as it stood and as it stands."""
    origin = origin_of(amendments, fills, report.exec_ref_id, report.transact_time)
    if origin is None:
        return kept_waiting(amendments, report), None, None
    known = amendments.fills.get(origin.exec_id) or Amended(fills[origin.exec_id])
    match report:
        case OrderFillBusted():
            after = replace(known, is_busted=True)
        case OrderFillCorrected():
            held_by = (report.transact_time, origin.depth, report.exec_id, report.last_qty, report.last_px)
            is_latest = known.held_by is None or held_by >= known.held_by
            after = replace(known, held_by=held_by, correction=report) if is_latest else known
        case _:
            assert_never(report)
    origins = amendments.origins
    if report.exec_id:
        origins = origins | {report.exec_id: Origin(origin.exec_id, origin.depth + 1)}
    waiting = amendments.waiting
    if report in waiting.get(report.exec_ref_id, ()):
        left = tuple(other for other in waiting[report.exec_ref_id] if other != report)
        waiting = {ref: others for ref, others in waiting.items() if ref != report.exec_ref_id}
        waiting |= {report.exec_ref_id: left} if left else {}
    fills_amended = amendments.fills | {origin.exec_id: after}
    return Amendments(fills_amended, origins, waiting), known.standing, after.standing

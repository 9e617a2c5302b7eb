"""Positions and PnL of a bundle, computed from its proved bytes.

A proof shows that the bytes are those that were signed, not that an honest Daybook wrote them. So an event that cannot
be folded is a finding about the bundle.
"""

from adapters.verify.bundles import Bundle
from adapters.verify.record_check import record_of
from api.encoding import plain
from domain.errors import HistoryBroken
from domain.ledger import Logged
from domain.position import TradeBooked
from projections.analytics.pnl import PnlRow, pnl
from projections.models.positions import PROJECTION, PositionRow, positions
from projections.storage.rows import MemoryRows

FEE_CURRENCIES_MAX = 5000  # of all positions; each fill copies the fees of its position

Figures = tuple[list[PositionRow], list[PnlRow]]


def figures_of(bundle: Bundle) -> Figures:
    """Return the positions, and their PnL without marks. Raises HistoryBroken for events that make no sense."""
    rows, currencies, seq = MemoryRows(), set[str](), 0
    for seq, state in bundle.lines():
        record = record_of(seq, state)
        if isinstance(record.event, TradeBooked):
            currencies.add(record.event.commission.currency)
        if len(currencies) > FEE_CURRENCIES_MAX:
            raise HistoryBroken(f"the trades up to seq {seq} pay fees in over {FEE_CURRENCIES_MAX} currencies")
        _fold(rows, Logged(seq, record))
    return _valued(rows, seq)


def _fold(rows: MemoryRows, logged: Logged) -> None:
    try:
        PROJECTION.fold(rows, [logged])
    except Exception as error:
        raise _senseless(logged.seq, error) from error


def _valued(rows: MemoryRows, seq: int) -> Figures:
    try:
        found = positions(rows), pnl(rows, marks={})
        plain(found)  # every number can be written out
    except Exception as error:
        raise _senseless(seq, error) from error
    return found


def _senseless(seq: int, error: Exception) -> HistoryBroken:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return HistoryBroken(
        f"the events up to seq {seq} are proved, and no Daybook wrote them: no figures can be computed ({reason})"
    )

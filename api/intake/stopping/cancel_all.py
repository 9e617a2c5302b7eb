"""Cancel all: a request to cancel every working order of a selection, in batches, and what happened to each order.

The orders are those that hold quantity in the account's limits when the call begins: every order that was on record by
then. One that is recorded later is not canceled; a kill switch that is engaged before keeps later ones out. Each batch
is one unit of work, so that other requests are carried out in between. A call that breaks off leaves some orders as
they were: the next call takes them up, and changes nothing for those that are to be canceled already.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from api.clock import now
from api.daybook import Daybook
from domain import account, order, risk
from domain.access import Actor
from domain.errors import RequestRefused
from domain.ledger import Command
from domain.order import CancelOrders, Order, OrderCancelRequested, OrderKey
from domain.risk import Hold
from domain.values import Side, venue_of

BATCH_MAX = 250  # orders in one unit of work: others wait for some milliseconds
REQUESTED, PENDING, CLOSED = "REQUESTED", "PENDING", "CLOSED"


class Selection(NamedTuple):
    """Which of an account's working orders; None is any. `symbol` is an instrument's id without its venue."""

    account_id: str
    strategy_id: str | None = None
    instrument_id: str | None = None
    symbol: str | None = None
    venue: str | None = None
    side: Side | None = None

    def includes(self, hold: Hold) -> bool:
        """Whether an order that holds this is one of them."""
        symbol = hold.instrument_id.rpartition(".")[0]
        found = (hold.strategy_id, hold.instrument_id, symbol, venue_of(hold.instrument_id), hold.side)
        return all(want is None or want == each for want, each in zip(self[1:], found, strict=True))


class CancelAll(NamedTuple):
    """A cancel-all under way: its working orders, why and in whose name."""

    selection: Selection
    found: tuple[tuple[OrderKey, Hold], ...]
    reason: str
    actor: Actor
    request_id: str = ""

    def commands(self) -> Iterator[Command]:
        """The commands that cancel them, each of a batch."""
        ids = [key.cl_ord_id for key, _ in self.found]
        for at in range(0, len(ids), BATCH_MAX):
            yield self.command(ids[at : at + BATCH_MAX])

    def command(self, cl_ord_ids: Sequence[str] = ()) -> Command:
        """The command that cancels these."""
        request = CancelOrders(self.selection.account_id, tuple(cl_ord_ids), self.reason, now())
        return Command(request, self.actor, self.request_id, cause=f"cancel-all:{self.request_id}")


def begun(daybook: Daybook, selection: Selection, reason: str, actor: Actor, request_id: str = "") -> CancelAll:
    """Select the working orders as of now. Raises RequestRefused for an account that is not on record."""
    if daybook.state(account.stream(selection.account_id)) is None:
        raise RequestRefused("the account is open; open it first", account_id=selection.account_id)
    known = daybook.state(risk.stream(selection.account_id))
    holds = known.holds.items() if known is not None else ()
    found = sorted(((key, hold) for key, hold in holds if selection.includes(hold)), key=lambda each: each[0].cl_ord_id)
    return CancelAll(selection, tuple(found), reason, actor=actor, request_id=request_id)


def carried_out(daybook: Daybook, request: CancelAll) -> list[dict[str, Any]]:
    """Carry out a cancel-all; return what happened to each order.

    REQUESTED: it is to be canceled now. PENDING: it was to be canceled before. CLOSED: it was closed meanwhile.
    """
    requested: dict[str, Any] = {}
    for command in request.commands():
        (answer,) = daybook.writer.carry_out(command)
        if answer.error is not None:
            raise answer.error
        events = (record.event for record in answer.records)
        requested |= {each.key.cl_ord_id: each for each in events if isinstance(each, OrderCancelRequested)}
    rest = [key for key, _ in request.found if key.cl_ord_id not in requested]
    states: dict[str, Order | None] = {}
    for at in range(0, len(rest), BATCH_MAX):
        keys = rest[at : at + BATCH_MAX]
        known = daybook.states([order.stream(key) for key in keys])
        states |= {key.cl_ord_id: each for key, each in zip(keys, known, strict=True)}
    rows = []
    for key, hold in request.found:
        state = states.get(key.cl_ord_id)
        result = PENDING if state is not None and state.is_open else CLOSED
        rows.append(
            {
                "cl_ord_id": key.cl_ord_id,
                "strategy_id": hold.strategy_id,
                "instrument_id": hold.instrument_id,
                "side": hold.side.value,
                "leaves_qty": hold.quantity,
                "result": REQUESTED if key.cl_ord_id in requested else result,
                "status": str(state.status) if state is not None else order.OrdStatus.PENDING_CANCEL.value,
            }
        )
    return rows


def record(request: CancelAll, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer to a cancel-all: what was selected, each order, and how many there are of each result."""
    selected = request.selection._asdict() | {"side": request.selection.side and request.selection.side.value}
    numbers = {name.lower(): sum(row["result"] == name for row in rows) for name in (REQUESTED, PENDING, CLOSED)}
    return selected | {"reason": request.reason} | numbers | {"orders": rows}

"""Routing of requests and reports to accounts: transfers between two of them, and the holdings they are checked with.

The balance changes of an account's positions are summed from their states, one each, when a transfer or the closing of
the account is requested, or a venue reports that cash has moved: rare next to fills, which only need to know whether
the account is closed.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from domain import account, position, risk
from domain.account import (
    NOTHING_HELD,
    Account,
    AccountReport,
    BreakResolved,
    CashReport,
    CloseAccount,
    Held,
    Indicator,
    RequestTransfer,
    ResolveBreak,
    ReturnTransfer,
    SettleTransfer,
    TransferReturned,
    TransferSettled,
    cash,
)
from domain.errors import InvalidInput, ReportUnreadable, RequestRefused
from domain.holdings import balances
from domain.instrument import AmendInstrument, Instrument, RedenominateInstrument
from domain.ledger.log import Recorded
from domain.ledger.unit_of_work import UnitOfWork
from domain.position import PositionKey, Transfer


class States(Protocol):
    """What an account's holdings are read from."""

    def state(self, stream: str) -> Any:
        """The present state of a stream; None if it is empty."""


class Admitted(NamedTuple):
    """The result of a report of an account: the records it added, or why it is not valid."""

    records: tuple[Recorded, ...]
    error: InvalidInput | None = None


def carry_out(work: UnitOfWork, request: RequestTransfer | ResolveBreak | CloseAccount) -> None:
    """Carry out a request. A transfer between two of our accounts is pending in both, or refused."""
    for part in _legs(request) if isinstance(request, RequestTransfer) else (request,):
        stream = account.stream(part.account_id)
        held = NOTHING_HELD if isinstance(part, ResolveBreak) else held_by(work, part.account_id)
        work.record(stream, account.decide(work.state(stream), part, held))


def _legs(request: RequestTransfer) -> Iterator[RequestTransfer]:
    leg = request.leg
    if leg.counter_account_id and leg.indicator is Indicator.CREDIT:
        raise RequestRefused(
            "a transfer of two accounts is requested for the debited one",
            counter_account_id=leg.counter_account_id,
        )
    yield request
    if leg.counter_account_id:
        other = cash.mirrored(request.account_id, leg)
        yield RequestTransfer(leg.counter_account_id, other, request.transact_time)


def held_by(work: States, account_id: str) -> Held:
    """The balance changes and open positions of an account, and its working orders."""
    known: Account | None = work.state(account.stream(account_id))
    working = work.state(risk.stream(account_id))
    keys = sorted(known.positions) if known else []
    held = [work.state(position.stream(PositionKey(account_id, *key))) for key in keys]
    return Held(
        balances.total(*(balances.moved_by(each) for each in held)),
        tuple(sorted(each.key.instrument_id for each in held if each.quantity)),
        tuple(sorted(key.cl_ord_id for key in working.holds)) if working else (),
    )


def check(work: UnitOfWork, account_id: str) -> None:
    """Check that a report's account is on record. Raises ReportUnreadable."""
    if work.state(account.stream(account_id)) is None:
        raise ReportUnreadable("account_id", account_id, "an open account; open it first, then report again")


def admit(work: UnitOfWork, reports: Sequence[AccountReport], *, has_failed: bool) -> list[Admitted]:
    """Record reports of accounts, after all trades of the unit of work are booked.

    A break is not resolved where a report beside it `has_failed`.
    """
    held: dict[str, Held] = {}
    admitted: list[Admitted] = []
    for report in reports:
        has_failed = has_failed or any(each.error is not None for each in admitted[-1:])
        if has_failed and isinstance(report, BreakResolved):
            rule = "corrected by reports that can be recorded"
            admitted.append(Admitted((), InvalidInput("break_id", report.break_id, rule)))
            continue
        try:
            admitted.append(Admitted(_admit(work, report, held)))
        except InvalidInput as error:
            admitted.append(Admitted((), error))
    return admitted


def _admit(work: UnitOfWork, report: AccountReport, held: dict[str, Held]) -> tuple[Recorded, ...]:
    """Record a report; one of a transfer between two of our accounts in both."""
    check(work, report.account_id)
    records = _record(work, report, held)
    for recorded in records:
        event = recorded.event
        if not isinstance(event, TransferSettled | TransferReturned) or not event.leg.counter_account_id:
            continue
        assert isinstance(report, SettleTransfer | ReturnTransfer), "only these are recorded as such events"
        other = event.leg.counter_account_id
        if work.state(account.stream(other)) is not None:
            leg = cash.mirrored(report.account_id, event.leg)
            _record(work, replace(report, account_id=other, leg=leg), held)
    return records


def _record(work: UnitOfWork, report: AccountReport, held: dict[str, Held]) -> tuple[Recorded, ...]:
    stream = account.stream(report.account_id)
    known: Account = work.state(stream)
    if isinstance(report, CashReport) and not known.is_margin and report.account_id not in held:
        held[report.account_id] = held_by(work, report.account_id)
    return work.record(stream, account.admit(known, report, held.get(report.account_id, NOTHING_HELD)))


def resized(work: UnitOfWork, listed: Instrument, request: AmendInstrument) -> list[Transfer]:
    """The transfers that turn what all accounts hold into contracts of another size. Raises RequestRefused.

    The accounts are those that the firm has on record. A size changes ahead only while nothing is held, and while no
    order works: an order and its fills have one unit.
    """
    size = listed.facts_at(request.effective_at).contract.contract_size
    if size == request.contract.contract_size:
        return []
    firm = work.state(risk.stream(risk.FIRM))
    transfers: list[Transfer] = []
    for account_id in sorted(firm.accounts) if firm is not None else ():
        known: Account = work.state(account.stream(account_id))
        _check_no_order_works(work, account_id, request.instrument_id)
        for of in sorted(known.positions):
            key = PositionKey(account_id, *of)
            if key.instrument_id == request.instrument_id:
                held = work.state(position.stream(key))
                transfers += position.resized(held, size, request)
    if transfers and request.effective_at > work.now:
        raise RequestRefused(
            "a contract size changes ahead while nothing is held; amend it when it changes",
            effective_at=request.effective_at, account_id=transfers[0].key.account_id,
            strategy_id=transfers[0].key.strategy_id,
        )  # fmt: skip
    return transfers


def redenominated(work: UnitOfWork, request: RedenominateInstrument) -> list[Transfer]:
    """The transfers that turn what accounts hold of an instrument into another one. Raises RequestRefused."""
    firm = work.state(risk.stream(risk.FIRM))
    named = sorted(firm.accounts) if firm is not None else []
    if request.account_id:
        account.opened(work.state(account.stream(request.account_id)), request.account_id)
        named = [request.account_id]
    transfers: list[Transfer] = []
    for account_id in named:
        known: Account = work.state(account.stream(account_id))
        _check_no_order_works(work, account_id, request.instrument_id)
        for of in sorted(known.positions):
            key = PositionKey(account_id, *of)
            if key.instrument_id == request.instrument_id:
                there = work.state(position.stream(replace(key, instrument_id=request.to_instrument_id)))
                transfers += position.redenominated(work.state(position.stream(key)), there, request)
    return transfers


def _check_no_order_works(work: UnitOfWork, account_id: str, instrument_id: str) -> None:
    """Check that no order works in an instrument. Raises RequestRefused."""
    limits = work.state(risk.stream(account_id))
    holds = limits.holds.items() if limits is not None else ()
    working = sorted(key.cl_ord_id for key, hold in holds if hold.instrument_id == instrument_id)
    if working:
        raise RequestRefused(
            "a contract changes while no order works; cancel them first", account_id=account_id, cl_ord_id=working[0],
            working=len(working),
        )  # fmt: skip


def record_if_closed(work: UnitOfWork, recorded: Recorded, at: datetime) -> None:
    """Record a break if the account is closed to which a venue report has added an event of an order or position."""
    stream = account.stream(recorded.event.key.account_id)
    known: Account | None = work.state(stream)
    if known is not None and known.is_closed:
        work.record(stream, account.after_closing(known, recorded.stream, at))

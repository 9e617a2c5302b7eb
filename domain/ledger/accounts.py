"""Accounts on the way of a command: transfers over two of them, and what of the whole book they are judged with.

What an account's positions moved is added up from their states, one each, when somebody asks for a transfer or for
closing, or a venue reports that cash has moved: rare next to fills, which only look whether the account is closed.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from domain import account, balances, position, risk
from domain.account import (
    NOTHING_HELD,
    Account,
    AccountReport,
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
from domain.ledger.log import Recorded
from domain.ledger.unit_of_work import Work
from domain.position import PositionKey


class Taken(NamedTuple):
    """What became of a report of an account."""

    records: tuple[Recorded, ...]
    error: InvalidInput | None = None


def ask(work: Work, request: RequestTransfer | ResolveBreak | CloseAccount) -> None:
    """Carry out a request. Between two of our accounts a transfer is one unit: pending in both, or refused."""
    for part in _legs(request) if isinstance(request, RequestTransfer) else (request,):
        stream = account.stream(part.account_id)
        held = NOTHING_HELD if isinstance(part, ResolveBreak) else held_by(work, part.account_id)
        work.record(stream, account.decide(work.state(stream), part, held))


def _legs(request: RequestTransfer) -> Iterator[RequestTransfer]:
    leg = request.leg
    if leg.counter_account_id and leg.indicator is Indicator.CREDIT:
        raise RequestRefused(
            "a transfer between two accounts is asked of the debited one", counter_account_id=leg.counter_account_id
        )
    yield request
    if leg.counter_account_id:
        other = cash.mirrored(request.account_id, leg)
        yield RequestTransfer(leg.counter_account_id, other, request.transact_time)


def held_by(work: Work, account_id: str) -> Held:
    """What the account's positions moved and hold, and its working orders."""
    known: Account | None = work.state(account.stream(account_id))
    working = work.state(risk.stream(account_id))
    keys = sorted(known.positions) if known else []
    held = [work.state(position.stream(PositionKey(account_id, *key))) for key in keys]
    return Held(
        balances.total(*(balances.moved_by(each) for each in held)),
        tuple(sorted(each.key.instrument_id for each in held if each.quantity)),
        tuple(sorted(key.cl_ord_id for key in working.holds)) if working else (),
    )


def check(work: Work, account_id: str) -> None:
    """Stops a report of an account that nobody has opened. Raises ReportUnreadable."""
    if work.state(account.stream(account_id)) is None:
        raise ReportUnreadable("account_id", account_id, "an open account; open it first, then report again")


def admit(work: Work, reports: Sequence[AccountReport]) -> list[Taken]:
    """Take down what is reported of accounts, after all trades of the unit are booked."""
    held: dict[str, Held] = {}
    taken = []
    for report in reports:
        try:
            taken.append(Taken(_admit(work, report, held)))
        except InvalidInput as error:
            taken.append(Taken((), error))
    return taken


def _admit(work: Work, report: AccountReport, held: dict[str, Held]) -> tuple[Recorded, ...]:
    """Of a transfer between two of our accounts, in both."""
    check(work, report.account_id)
    records = _record(work, report, held)
    for recorded in records:
        told = recorded.event
        if not isinstance(told, TransferSettled | TransferReturned) or not told.leg.counter_account_id:
            continue
        assert isinstance(report, SettleTransfer | ReturnTransfer), "only these become what they became"
        other = told.leg.counter_account_id
        if work.state(account.stream(other)) is not None:
            leg = cash.mirrored(report.account_id, told.leg)
            _record(work, replace(report, account_id=other, leg=leg), held)
    return records


def _record(work: Work, report: AccountReport, held: dict[str, Held]) -> tuple[Recorded, ...]:
    stream = account.stream(report.account_id)
    known: Account = work.state(stream)
    if isinstance(report, CashReport) and not known.is_margin and report.account_id not in held:
        held[report.account_id] = held_by(work, report.account_id)
    return work.record(stream, account.admit(known, report, held.get(report.account_id, NOTHING_HELD)))


def note_closed(work: Work, recorded: Recorded, at: datetime) -> None:
    """A break beside what a venue's report has added to an order or position of an account that is closed."""
    stream = account.stream(recorded.event.key.account_id)
    known: Account | None = work.state(stream)
    if known is not None and known.is_closed:
        work.record(stream, account.after_closing(known, recorded.stream, at))

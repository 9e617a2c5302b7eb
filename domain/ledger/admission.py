"""Admission of reports: routed to orders, positions and accounts, then posted to limits.

A report whose numbers are too long to be exact is unreadable, alone: arithmetic never rounds (`domain.values.EXACT`),
and a product of more digits than it computes with is an error instead.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import DecimalException
from functools import partial
from typing import TypeVar, get_args

from msgspec.structs import replace

from domain import account, instrument, names, order, position
from domain.account import (
    Account,
    AccountReport,
    BookEntry,
    BreakAged,
    BreakChanged,
    BreakOpened,
    BreakResolved,
    ChargeFee,
    ConvertMoney,
    EntryKind,
    Indicator,
    RawReportKept,
    ReturnTransfer,
    SettleTransfer,
    Statement,
    evidence,
    venue_statement,
)
from domain.errors import InvalidInput, ReportUnreadable
from domain.instrument import Contract, Instrument, Kind
from domain.ledger import accounts, limits, orders
from domain.ledger.commands import Outcome, Report, is_of
from domain.ledger.log import Recorded
from domain.ledger.orders import Due, Facts
from domain.ledger.unit_of_work import UnitOfWork
from domain.order import OrderAccepted, OrderFilled, OrderReport
from domain.position import AssignLots, Position, PositionKey, PositionReport, SettleFunding, Transfer
from domain.values import PRECISION, ZERO, Money

MAIN = "main"  # the strategy of what names none
TOO_LONG = f"with numbers whose products have at most {PRECISION} digits"

Sent = TypeVar("Sent")
Made = TypeVar("Made")


def too_long(report: object) -> ReportUnreadable:
    """Return the error of a report whose numbers are too long."""
    return ReportUnreadable("report", type(report).__name__, TOO_LONG)


def each_exact(
    work: UnitOfWork,
    reports: Sequence[Sent],
    admit: Callable[[UnitOfWork, Sequence[Sent]], list[Made]],
    failed: Callable[[Sent], Made],
) -> list[Made]:
    """Return what `admit` returns for the reports, and `failed` for those that cannot be computed with."""
    try:
        return admit(work, reports)
    except DecimalException:
        work.drop()
    outcomes = {index: failed(report) for index, report in enumerate(reports)}
    for index, report in enumerate(reports):
        with suppress(DecimalException):
            admit(work, [report])
            del outcomes[index]
        work.drop()
    exact = [index for index in range(len(reports)) if index not in outcomes]
    try:
        outcomes |= dict(zip(exact, admit(work, [reports[index] for index in exact]), strict=True))
    except DecimalException:  # only together
        work.drop()
        outcomes |= {index: failed(reports[index]) for index in exact}
    return [outcomes[index] for index in range(len(reports))]


_OF_POSITIONS = (Transfer, SettleFunding)
_OF_ACCOUNTS = get_args(AccountReport)
_OF_NO_ACCOUNT = (RawReportKept, Statement)


def admit(work: UnitOfWork, reports: Sequence[Report], booked_first: Sequence[PositionKey] = ()) -> list[Outcome]:
    """Route reports: those of orders first, one by one; then the bookings of all of them, by position, and limits."""
    reports = [_paid_otherwise(work, report) if isinstance(report, SettleFunding) else report for report in reports]
    outcomes: list[Outcome] = []
    due = Due(booked_first)
    facts = partial(_facts, work)
    of_accounts: list[AccountReport] = []
    stated: list[tuple[int, Statement]] = []
    for index, report in enumerate(reports):
        outcome = Outcome()
        try:
            match report:
                case OrderFilled():  # first: nearly all reports are fills
                    outcome = _admit_order(work, report, facts, due)
                case RawReportKept():
                    outcome = Outcome(keep(work, report))
                case Transfer() | SettleFunding():
                    listed = _check_known(work, report.key.account_id, report.key.instrument_id)
                    if isinstance(report, SettleFunding):
                        _check_funding(report, listed)
                    else:
                        position.check_transfer(work.state(position.stream(report.key)), report)
                    due.bookings.setdefault(report.key, []).append(report)
                case Statement():
                    accounts.check(work, report.account_id)
                    stated.append((index, report))
                case (
                    SettleTransfer() | ReturnTransfer() | ChargeFee() | BookEntry() | ConvertMoney()
                    | BreakOpened() | BreakChanged() | BreakAged() | BreakResolved()
                ):  # fmt: skip
                    of_accounts.append(report)
                case _:
                    outcome = _admit_order(work, report, facts, due)
        except InvalidInput as error:
            outcome = Outcome(error=error)
        outcomes.append(outcome)
    _book_due(work, reports, outcomes, due)
    admitted = iter(accounts.admit(work, of_accounts, has_failed=any(outcome.error for outcome in outcomes)))
    for index, report in enumerate(reports):
        records = outcomes[index].records
        if isinstance(report, _OF_ACCOUNTS):
            outcomes[index] = Outcome(*next(admitted))
        elif records and not isinstance(report, _OF_NO_ACCOUNT):
            accounts.record_if_closed(work, records[0], report.transact_time)
    for order_key, at in due.touched.items():
        limits.restate(work, order_key, at)
    for index, statement in stated:
        outcomes[index] = _state(work, statement)
    return outcomes


def _state(work: UnitOfWork, statement: Statement) -> Outcome:
    stream = venue_statement.stream(statement)
    try:
        return Outcome(work.record(stream, venue_statement.admit(work.state(stream), statement)))
    except InvalidInput as error:
        return Outcome(error=error)


def _book_due(work: UnitOfWork, reports: Sequence[Report], outcomes: list[Outcome], due: Due) -> None:
    """Book what is due for each position and its limits; set the outcomes of transfers and funding payments."""
    of_positions = [index for index, report in enumerate(reports) if isinstance(report, _OF_POSITIONS)]
    added: list[Recorded] = []
    for key, reported in due.reversals.items():
        book(work, key, reported)
    for key, reported in due.bookings.items():
        booked = book(work, key, reported) if reported else ()
        if of_positions:
            added += booked
    for index in of_positions:
        report = reports[index]
        assert isinstance(report, _OF_POSITIONS)
        if outcomes[index].error is None:
            own = next((each for each in added if is_of(each.event, report)), None)
            if own is not None:
                added.remove(own)
            outcomes[index] = Outcome((own,) if own is not None else ())


def keep(work: UnitOfWork, raw: RawReportKept) -> tuple[Recorded, ...]:
    stream = evidence.stream(raw)
    return work.record(stream, evidence.admit(work.state(stream), raw))


def _admit_order(work: UnitOfWork, report: OrderReport, facts: Facts, due: Due) -> Outcome:
    order.check_report(report)
    _check_prices(work, report)
    if isinstance(report, OrderFilled):
        listed = _check_known(work, report.key.account_id, report.instrument_id)
        if not report.commission.currency:  # none was reported
            report = replace(report, commission=Money(ZERO, listed.contract.settle))
        report = _attributed(work, report, due)
        for paid in report.fees:
            _check_spelling(paid.currency, listed.contract)
    elif isinstance(report, OrderAccepted) and report.terms is not None:
        _check_known(work, report.key.account_id, report.terms.instrument_id)
    else:
        accounts.check(work, report.key.account_id)
    records = orders.admit(work, report, facts, due)
    return Outcome(records, None, orders.on_record(work, report, records))


def _attributed(work: UnitOfWork, report: OrderFilled, due: Due) -> OrderFilled:
    """The fill under the strategy it is of: the only one that holds what it closes, where the report states none.

    A liquidation is of what the account holds at the venue, which knows nothing of strategies.
    """
    if report.strategy_id:
        return report
    held: Account = work.state(account.stream(report.key.account_id))
    place = (report.instrument_id, report.position_side)
    holding = {key.strategy_id for key in due.bookings if (key.instrument_id, key.position_side) == place}
    for strategy_id, *rest in held.positions:
        if tuple(rest) == place and strategy_id not in holding:
            known = work.state(position.stream(PositionKey(report.key.account_id, strategy_id, *place)))
            if known is not None and known.quantity * report.side.sign < 0:
                holding.add(strategy_id)
    return replace(report, strategy_id=holding.pop() if len(holding) == 1 else MAIN)


def _check_prices(work: UnitOfWork, report: OrderReport) -> None:
    """Check that the instrument of a report may have its prices. Raises ReportUnreadable naming field and value."""
    stated = {field: getattr(report, field, None) for field in ("last_px", "price")}
    terms = getattr(report, "terms", None)
    if terms is not None:
        stated |= {"price": terms.price, "stop_px": terms.stop_px}
    if not any(price is not None and price <= 0 for price in stated.values()):
        return
    instrument_id = terms.instrument_id if terms is not None else getattr(report, "instrument_id", "")
    if not instrument_id:
        known = work.state(order.stream(report.key))
        instrument_id = known.instrument_id if known is not None else ""
    listed: Instrument | None = work.state(instrument.stream(instrument_id)) if instrument_id else None
    for field, price in stated.items():
        if price is not None and listed is not None and not listed.contract.has_price(price):
            raise ReportUnreadable(field, str(price), f"{listed.contract.price_rule}, of {instrument_id}")


def _check_known(work: UnitOfWork, account_id: str, instrument_id: str) -> Instrument:
    accounts.check(work, account_id)
    listed: Instrument | None = work.state(instrument.stream(instrument_id))
    if listed is None:
        raise ReportUnreadable("instrument_id", instrument_id, "a listed instrument; list it first, then report again")
    return listed


def _check_spelling(currency: str, contract: Contract) -> None:
    """Check that a fee's currency is no other spelling of the instrument's: `usdt` beside `USDT` is a mistake."""
    for known in (contract.base, contract.quote, contract.settle):
        if currency != known and currency.casefold() == known.casefold():
            raise ReportUnreadable("commission.currency", currency, f"written as the instrument has it, {known}")


def _check_funding(report: SettleFunding, listed: Instrument) -> None:
    """Check that what is paid in a third currency is funding at all: spot has none."""
    settle = listed.contract.settle
    if listed.contract.kind is Kind.SPOT and report.amount.currency != settle:
        rule = f"{settle}: {report.key.instrument_id} is spot, which has no funding; report a fee or an entry"
        raise ReportUnreadable("amount.currency", report.amount.currency, rule)


def _paid_otherwise(work: UnitOfWork, report: SettleFunding) -> SettleFunding | BookEntry:
    """Funding that is paid in another currency than its position settles in, as an entry of the account."""
    listed: Instrument | None = work.state(instrument.stream(report.key.instrument_id))
    if listed is None or report.amount.currency == listed.contract.settle or not report.amount.amount:
        return report
    if listed.contract.kind is Kind.SPOT:
        return report
    amount = report.amount
    return BookEntry(
        report.key.account_id, names.joined("funding", report.key.instrument_id, report.funding_id), EntryKind.FUNDING,
        indicator=Indicator.CREDIT if amount.amount > 0 else Indicator.DEBIT,
        amount=Money(abs(amount.amount), amount.currency), reason=f"funding of {report.key.instrument_id}",
        transact_time=report.transact_time,
    )  # fmt: skip


def book(work: UnitOfWork, key: PositionKey, reported: Sequence[PositionReport]) -> tuple[Recorded, ...]:
    """Book the reports of one position, and post them to the account's limits."""
    stream = position.stream(key)
    held = held_at(work, key, reported)
    conventions: Account = work.state(account.stream(key.account_id))
    with_contracts = [
        replace(report, contract=_facts(work, key.instrument_id, report.transact_time))
        if isinstance(report, Transfer)
        else report
        for report in reported
    ]
    records = work.record(stream, position.admit(held, with_contracts, conventions.costing))
    if records and held is None:
        owner = account.stream(key.account_id)
        place = (key.strategy_id, key.instrument_id, key.position_side)
        first = account.with_position(conventions, place, records[0].event.transact_time)
        work.record(owner, first)
    booked: Position | None = work.state(stream)
    contract = booked.contract if booked is not None else None
    for recorded in records:
        limits.post(work, key, recorded.event, contract)
    return records


def held_at(work: UnitOfWork, key: PositionKey, about: Sequence[PositionReport | AssignLots]) -> Position | None:
    """The position, with its history where a report or request is about an entry older than its tail."""
    stream = position.stream(key)
    held: Position | None = work.state(stream)
    if position.needs_history(held, about):
        held = position.unfold(work.events(stream))
        work.put_state(stream, held)
    return held


def _facts(work: UnitOfWork, instrument_id: str, at: datetime) -> Contract:
    """The instrument's contract at a moment."""
    listed: Instrument = work.state(instrument.stream(instrument_id))
    return listed.facts_at(at).contract

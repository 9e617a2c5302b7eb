"""Account: whose book it is, and by which conventions it is kept.

The conventions are settings of the account, written into every booked trade, so that a figure always says how it came
about. `cost_basis` chooses which cost a disposal releases; `fee_policy` where commissions go; `money_places` the
precision at which realized PnL is booked (the remainder is recorded beside it, never lost).
"""

from datetime import datetime
from enum import StrEnum
from typing import assert_never

from msgspec import Struct

from domain.errors import RequestRefused
from domain.values import PLACES_MAX


class CostBasis(StrEnum):
    """Which acquisitions a disposal uses up.

    AVERAGE: all alike. FIFO: the oldest first. LIFO: the newest first. HIFO: the highest unit cost first, LOFO: the
    lowest, of equals the oldest. SPECIFIC: the lots assigned to the disposal, then the oldest. Old and new are by order
    of occurrence: transact time, then the venue's trade sequence, then exec id; a lot carried over by a transfer keeps
    the age it had.
    """

    AVERAGE = "AVERAGE"
    FIFO = "FIFO"
    LIFO = "LIFO"
    HIFO = "HIFO"
    LOFO = "LOFO"
    SPECIFIC = "SPECIFIC"


class FeePolicy(StrEnum):
    """Where a commission goes.

    EXPENSED: kept apart from cost and proceeds. A fee in the settlement currency is an expense; a spot fee in the base
    currency leaves the position at its cost, right after the fill, and that cost is the expense.
    CAPITALISED: part of cost and proceeds. A settlement fee raises the cost of what is acquired or lowers the proceeds
    of what is disposed of; a base fee lowers what is acquired or raises what is disposed of.
    Under both, a fee in a third currency is an expense in that currency and touches no cost.
    """

    EXPENSED = "EXPENSED"
    CAPITALISED = "CAPITALISED"


class Costing(Struct, frozen=True):
    """The conventions by which trades become cost and PnL."""

    cost_basis: CostBasis = CostBasis.AVERAGE
    fee_policy: FeePolicy = FeePolicy.EXPENSED
    money_places: int = 8


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class AccountOpened(Struct, frozen=True, tag="AccountOpened"):
    account_id: str
    base_currency: str
    costing: Costing
    transact_time: datetime


AccountEvent = AccountOpened


class OpenAccount(Struct, frozen=True):
    """Open an account with its conventions."""

    account_id: str
    base_currency: str
    costing: Costing
    transact_time: datetime


AccountRequest = OpenAccount


class Account(Struct, frozen=True):
    account_id: str
    base_currency: str
    costing: Costing


def stream(account_id: str) -> str:
    """The stream of one account."""
    return f"account:{account_id}"


def decide(account: Account | None, request: AccountRequest) -> tuple[AccountEvent, ...]:
    """The events that carry out a request; () if already in effect. Raises RequestRefused."""
    if not 0 <= request.costing.money_places <= PLACES_MAX:
        raise RequestRefused(f"money_places from 0 to {PLACES_MAX}", money_places=request.costing.money_places)
    opened = AccountOpened(request.account_id, request.base_currency, request.costing, request.transact_time)
    match account:
        case None:
            return (opened,)
        case _ if evolve(None, opened) == account:
            return ()
        case _:
            raise RequestRefused(
                "an account is opened once, by one set of conventions",
                account_id=request.account_id,
                base_currency=account.base_currency,
                cost_basis=account.costing.cost_basis,
                fee_policy=account.costing.fee_policy,
                money_places=account.costing.money_places,
            )


def evolve(account: Account | None, event: AccountEvent) -> Account:
    """The account after an event. Total and unconditional."""
    match event:
        case AccountOpened():
            return Account(event.account_id, event.base_currency, event.costing)
        case _:
            assert_never(event)

"""Buying power of an account as of now: of each currency the balance, what is committed, and what is available."""

from typing import Any

from api.clock import now
from api.daybook import Daybook
from api.problems import not_found
from domain import account, risk
from domain.ledger import cash_of
from domain.marks import MARK_AGE_MAX, Prices
from domain.risk import BuyingPower, LimitStatus, Measure, Risk


def buying_power(daybook: Daybook, account_id: str) -> dict[str, Any]:
    """Return the buying power of an account, by the leverages that are active; without any, by a leverage of 1.

    Raises Problem (404) for an unknown account, RequestRefused where an order that works has no price.
    """
    if daybook.state(account.stream(account_id)) is None:
        raise not_found(f"account {account_id}", account_id=account_id)
    known: Risk = daybook.state(risk.stream(account_id)) or Risk()
    marks = [mark for name in sorted(known.unpriced()) if (mark := daybook.marks.latest(name)) is not None]
    prices = Prices(marks, now(), MARK_AGE_MAX, known.conversions)
    power = BuyingPower(known.exposure, prices, known.active, cash_of(daybook, account_id))
    leverages = [
        {"instrument_id": limit.scope.instrument_id, "leverage": limit.limit, "status": LimitStatus.ACTIVE.value}
        for limit in known.active
        if limit.measure is Measure.BUYING_POWER
    ]
    left = [
        {
            "currency": each.currency,
            "balance": each.balance,
            "committed": each.committed,
            "available": each.available,
        }
        for each in power.left()
    ]
    return {"account_id": account_id, "is_limited": bool(leverages), "leverages": leverages, "items": left}

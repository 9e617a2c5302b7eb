"""Answers about stopping, for OpenAPI."""

from typing import Literal

from pydantic import Field

from api.read_models.schemas import Answer, DecimalText


class CanceledOrder(Answer):
    """One order of a cancel-all."""

    cl_ord_id: str
    strategy_id: str
    instrument_id: str
    side: str
    leaves_qty: DecimalText
    result: Literal["REQUESTED", "PENDING", "CLOSED"] = Field(
        description="REQUESTED: it is to be canceled now; PENDING: it was to be before; CLOSED: it was closed meanwhile"
    )
    status: str = Field(description="FIX OrdStatus")


class CancelAllAnswer(Answer):
    """What was selected, what happened to each order, and how many there are of each result."""

    account_id: str
    strategy_id: str | None
    instrument_id: str | None
    symbol: str | None
    venue: str | None
    side: str | None
    reason: str
    requested: int
    pending: int
    closed: int
    orders: list[CanceledOrder]

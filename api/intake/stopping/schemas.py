"""Answers about stopping, for OpenAPI."""

from typing import Literal

from pydantic import Field

from api.read_models.schemas import Answer, DecimalText, TimeText


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


class DeadManAnswer(Answer):
    """A dead man's switch. Extension, deadline and time left are of one that is armed."""

    account_id: str
    strategy_id: str | None = Field(description="null: the switch of the account as a whole")
    status: Literal["ARMED", "FIRED", "DISARMED"]
    countdown_ms: int | None
    halts: bool | None = Field(description="whether a kill switch refuses orders once it has fired")
    version: int | None = Field(description="how often it was armed")
    armed_at: TimeText | None
    extended_at: TimeText | None
    deadline: TimeText | None
    time_left_ms: int | None
    fired_at: TimeText | None = Field(description="when it fired last")


class DeadMenAnswer(Answer):
    switches: list[DeadManAnswer]

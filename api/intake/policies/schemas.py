"""Schemas of answers about policies, for OpenAPI."""

from typing import Literal

from pydantic import Field

from api.read_models.schemas import Answer, DecimalText, TimeText


class PolicyAnswer(Answer):
    """A setting of a policy. `mode` is of LOSS, `interval_seconds` of MARKS, `ages_seconds` of BREAKS, the
    others of HEDGE."""

    account_id: str
    policy: str
    is_on: bool
    mode: Literal["HALT", "REDUCE_ONLY"] | None
    interval_seconds: int | None
    ages_seconds: list[int] | None
    asset: str | None
    instrument_id: str | None
    strategy_id: str | None
    band: DecimalText | None
    target: DecimalText | None
    set_for: str | None = Field(description="whose setting it is: the account's, or the firm's; null: the default")
    version: int = Field(description="counts the settings made; 0: the default")
    reason: str | None
    transact_time: TimeText | None


class ReactionAnswer(Answer):
    """How far a policy has read the log, and what it has sent."""

    reaction: str
    version: int
    since: int = Field(description="the seq up to which it reacts to nothing")
    seq: int
    lag: int
    lag_ms: int
    carried_out: int
    refused: int
    last_request_id: str | None
    last_cause: str | None
    last_refusal: str | None
    last_at: TimeText | None
    error: str | None = Field(description="the event that stopped it, and why")


class PoliciesAnswer(Answer):
    policies: list[PolicyAnswer]
    reactions: list[ReactionAnswer]

"""Schemas of answers about keys and approvals, for OpenAPI."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.read_models.schemas import Answer, TimeText


class KeyAnswer(Answer):
    key_id: str
    name: str
    scopes: list[str]
    accounts: list[str] = Field(description="the only accounts that it shows and changes; empty: all")
    strategies: list[str] = Field(description="the only strategies that it shows and changes; empty: all")
    created_at: TimeText
    expires_at: TimeText | None = Field(description="the time up to which it is valid")
    previous_until: TimeText | None = Field(description="up to when the secret before the last rotation is valid")
    revoked_at: TimeText | None
    last_used_at: TimeText | None = Field(description="the minute in which it was used last")
    difference: str = Field(description="how its row differs from the log, which refuses it; else empty")


class KeysAnswer(Answer):
    keys: list[KeyAnswer]


class IssuedKeyAnswer(Answer):
    key: str = Field(description="shown once")
    key_id: str
    name: str
    scopes: list[str]
    accounts: list[str]
    strategies: list[str]
    expires_at: TimeText | None
    previous_until: TimeText | None = Field(None, description="up to when the secret before is valid")


class ApprovalPolicyAnswer(Answer):
    actions: list[str] = Field(description="the actions that need a second person")
    valid_hours: int = Field(description="how long a proposal may be approved")
    counts_issuer: bool = Field(description="whether who issued a key counts as its holder")


class IdentityAnswer(BaseModel):
    """Who it was: `kind` os, key or system, with the fields of that kind, and all of it as text for people."""

    model_config = ConfigDict(extra="allow")

    text: str
    kind: str


class ProposalAnswer(BaseModel):
    """A request that needs a second person, and where it stands."""

    model_config = ConfigDict(extra="allow")

    proposal_id: str
    status: str
    action: str
    request: dict[str, Any] = Field(description="the request: its `type`, and its fields")
    proposed_by: IdentityAnswer
    proposed_at: TimeText
    expires_at: TimeText
    decided_by: IdentityAnswer | None
    reason: str


class ProposalsAnswer(Answer):
    proposals: list[ProposalAnswer]


class SwitchAnswer(Answer):
    account_id: str
    strategy_id: str | None
    instrument_id: str | None
    venue: str | None
    asset: str | None
    mode: str | None = Field(description="null: not engaged")
    reason: str | None
    engaged_by: str | None


class SwitchesAnswer(Answer):
    switches: list[SwitchAnswer]


class DismissedAnswer(Answer):
    account_id: str
    break_id: str
    reason: str


class ForgottenAnswer(Answer):
    subject_id: str
    is_forgotten: bool


class CorrectedAnswer(Answer):
    account_id: str
    break_id: str
    recorded: list[str] = Field(description="the reports that were recorded to resolve it")

"""Schemas of health and readiness: of read models, policies, background tasks, sealing and writing."""

from typing import Literal

from pydantic import Field

from api.read_models.schemas import Answer, TimeText


class HealthAnswer(Answer):
    status: Literal["ok"]


class ProgressAnswer(Answer):
    projection: str
    version: int
    seq: int
    lag: int = Field(description="events behind the log")
    lag_ms: int = Field(description="how long ago the first event that it lacks was recorded")
    error: str | None


class TaskAnswer(Answer):
    """The health of one background task."""

    task: str
    state: str = Field(description="running, restarting, silent, dead; of the clock: running, in doubt")
    since: TimeText
    failures: int
    last_success_at: TimeText | None
    last_error_at: TimeText | None
    last_error: str | None = Field(default=None, description="the newest error")
    is_needed: bool = Field(description="whether the service is not ready without it")
    is_trouble: bool


class ReactingAnswer(Answer):
    """How far a policy has read the log; what it has sent, for callers with an API key."""

    reaction: str
    seq: int
    lag: int
    lag_ms: int
    carried_out: int | None = None
    refused: int | None = None
    last_cause: str | None = None
    last_at: TimeText | None = None
    last_refusal: str | None = None
    error: str | None


class SealingAnswer(Answer):
    """How far the log is sealed."""

    seq: int
    sealed: int = Field(description="the size of the newest checkpoint")
    behind_since: TimeText | None
    is_stalled: bool


class LeaderAnswer(Answer):
    url: str | None
    term: int
    since: TimeText
    process: str | None = None


class WritesAnswer(Answer):
    is_leading: bool
    leader: LeaderAnswer | None


class ReadyAnswer(Answer):
    """Ready. A caller without a valid API key gets `status` alone."""

    status: Literal["ready"]
    seq: int | None = None
    recorded_at: TimeText | None = None
    projections: list[ProgressAnswer] | None = None
    reactions: list[ReactingAnswer] | None = None
    tasks: list[TaskAnswer] | None = None
    sealing: SealingAnswer | None = None
    writes: WritesAnswer | None = None
    release: str | None = None

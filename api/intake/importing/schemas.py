"""Schemas of imports over HTTP."""

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field


class ImportFinding(BaseModel):
    """What is wrong with one row: its line (the header is line 1), in an archive its file, and the code."""

    line: int
    error: str
    code: str
    file: str = ""


class LayoutRead(BaseModel):
    """A text of the file and the layout that recognised it."""

    file: str
    layout: str
    venue: str
    columns: list[str]
    columns_not_used: list[str]
    offset_minutes: int = Field(description="of times without a zone, from UTC")
    decimal_sign: str


class BalanceParted(BaseModel):
    """The first row whose balance in the file is another than the rows up to it give."""

    line: int
    asset: str
    file: Decimal
    book: Decimal


class BalancesRead(BaseModel):
    """How many balances of the file were compared, and the first that is another."""

    compared: int
    parted: BalanceParted | None = None


class ImportAnswer(BaseModel):
    """An import and the outcome of its rows: read = recorded + completed + already_known + conflicting + unreadable +
    skipped."""

    model_config = ConfigDict(title="ImportAnswer")

    import_id: str
    status: str = Field(description="RUNNING, DONE or FAILED")
    account_id: str
    source: str
    error: str | None = None
    read: int = 0
    recorded: int = 0
    completed: int = 0
    already_known: int = 0
    conflicting: int = 0
    unreadable: int = 0
    broken: int = 0
    skipped: int = 0
    is_dry_run: bool = False
    bytes_read: int = Field(0, description="of a file that is being read")
    bytes_total: int = 0
    kinds: dict[str, dict[str, int]] = {}
    layouts: list[LayoutRead] = []
    first_at: datetime | None = None
    last_at: datetime | None = None
    changes: dict[str, Decimal] = {}
    balances: list[BalancesRead] = []
    breaks: list[ImportFinding] = []
    conflicts: list[ImportFinding] = []
    errors: list[ImportFinding] = []
    seq: int = 0


class Retried(BaseModel):
    """One piece of evidence that was read again."""

    break_id: str
    source: str = Field(description="the file and line, or the channel, that it came from")
    outcome: str = Field(description="recorded, completed, already_known, skipped, conflicting or unreadable")
    reason: str = Field(description="why it is still unreadable")
    is_ended: bool = Field(description="whether it is settled, and no break any more")


class RetryAnswer(BaseModel):
    """What became of evidence that was read again."""

    model_config = ConfigDict(extra="forbid")

    seq: int
    items: list[Retried]
    unreadable: int = Field(description="how many are left")

"""Schemas of a statement's parts."""

from pydantic import Field

from api.read_models.schemas import Answer, DecimalText, TimeText


class StatementBalance(Answer):
    """An asset at a venue: opening + in - out = closing."""

    venue: str
    asset: str
    opening: DecimalText
    in_: DecimalText = Field(alias="in")
    out: DecimalText
    closing: DecimalText


class StatementResult(Answer):
    """The result of the period in one asset: the parts add up to `net`."""

    asset: str
    realized: DecimalText
    rounding: DecimalText
    funding: DecimalText
    fees: DecimalText
    fees_in_kind: DecimalText
    other_income: DecimalText
    net: DecimalText


class StatementInstrument(Answer):
    """The net result of an instrument in one asset; "" for entries of no position."""

    instrument_id: str
    asset: str
    net: DecimalText


class StatementPosition(Answer):
    """A position at the end of the period, at the newest mark seen by then."""

    strategy_id: str
    instrument_id: str
    position_side: str
    quantity: DecimalText
    avg_px: DecimalText | None
    cost: DecimalText
    settle: str
    mark: DecimalText | None
    mark_source: str | None
    mark_at: TimeText | None
    mark_age_ms: int | None
    is_mark_stale: bool | None
    value: DecimalText | None
    unrealized: DecimalText | None


class StatementEntry(Answer):
    """An entry of the period: what it moved, and its result, by asset."""

    transact_time: TimeText
    value_date: str
    kind: str
    reference: str
    instrument_id: str | None
    narrative: str
    entry_seq: int
    moved: dict[str, DecimalText]
    gained: dict[str, DecimalText]

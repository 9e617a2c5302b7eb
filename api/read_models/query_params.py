"""Query parameters that read models share: which rows, as of when, a page of them, in which form; and their answers."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from api.encoding import csv_text
from api.http.cursors import cursor_of
from api.http.dependencies import SEQ_HEADER, OpenDaybook, answer, documented
from api.http.fields import CURRENCY, INSTRUMENT, InstrumentId, Name, Place, RequestBody, text_by
from api.parameters import NOW_WORD, Moment, Where, moment_of, parsed_asset, parsed_day
from api.read_models import schemas
from api.read_models.snapshot import Reading
from domain.errors import InvalidInput
from projections.storage.tables import AnyRow

PAGE_ROWS_MAX = 1000
SEQ_MAX = 2**63 - 1
NEXT_HEADER = "Daybook-Next"
CSV = "text/csv"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


AssetId = Annotated[
    str,
    text_by(parsed_asset),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": CURRENCY}, {"type": "string", "pattern": INSTRUMENT}]}),
]
ValueDate = Annotated[
    str, text_by(parsed_day), WithJsonSchema({"type": "string", "pattern": DATE, "examples": ["2026-01-02"]})
]


class Present(RequestBody):
    """Nothing to choose: what is told is of now, and who asks for another moment is refused."""


class Dated(RequestBody):
    """As of when."""

    min_seq: int = Field(0, ge=0, le=SEQ_MAX, description="wait until the answer covers this place in the log")
    as_of: Place | None = Field(
        None,
        description="the book as recorded up to this time, or up to exactly this place in the log; what one append"
        " recorded, such as the events that a fill is, has one recorded_at and one request_id, and is there whole as of"
        " the last of its events",
    )  # fmt: skip
    known_at: Place | None = Field(
        None,
        description="beside `as_of`: what had happened by then, as far as it was on record at this time or place, or is"
        " `now`; by itself as `as_of` by itself",
    )  # fmt: skip
    as_of_seq: int | None = Field(
        None, ge=0, le=SEQ_MAX, description="older word for `as_of`, a place", json_schema_extra={"deprecated": True}
    )

    def moment(self) -> Moment | None:
        """The past moment asked for, if any. Raises InvalidInput."""
        if self.as_of is not None and self.as_of_seq is not None:
            raise InvalidInput("as_of", self.as_of_seq, "asked for once: leave as_of_seq out")
        as_of = self.as_of if self.as_of_seq is None else Moment(seq=self.as_of_seq)
        return moment_of(as_of, self.known_at)

    def moment_recorded(self) -> Moment | None:
        """The same, of rows that are told as recorded only. Raises InvalidInput."""
        moment = self.moment()
        if moment is not None and moment.occurred_by is not None:
            raise InvalidInput(
                "known_at", moment.at or moment.seq or NOW_WORD, "asked for here beside as_of: these are told as"
                " recorded, by as_of alone",
            )  # fmt: skip
        return moment


class Selected(Dated):
    """Which rows, as of when, in which form."""

    account_id: Name | None = None
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    format: Literal["json", "csv"] | None = None

    def where(self) -> Where:
        """The positions selected."""
        return Where(self.account_id, self.strategy_id, self.instrument_id)


class Paged(Selected):
    """A page of them."""

    limit: int = Field(100, ge=1, le=PAGE_ROWS_MAX)
    cursor: str | None = Field(None, max_length=1000, description="`next` of the page before")


class ExposureAsked(Selected):
    """Valued at marks, and summed."""

    mark: list[str] = Field([], description="INSTRUMENT=PRICE, instead of the newest known mark")
    by: list[Literal["account_id", "strategy_id", "instrument_id", "venue", "base"]] = Field([], max_length=5)


class Asking:
    """What every query needs beside its own parameters."""

    def __init__(self, request: Request, book: OpenDaybook) -> None:
        self.request = request
        self.book = book

    def rows(
        self,
        asked: Selected,
        at: Reading,
        rows: Sequence[AnyRow],
        shape: type[schemas.Answer],
        *,
        next_: str | None = None,
        **more: Any,
    ) -> Response:
        """Rows as JSON or CSV."""
        columns = tuple(shape.model_fields)
        accepted = self.request.headers.get("accept", "")
        if asked.format == "csv" or (asked.format is None and CSV in accepted):
            headers = {SEQ_HEADER: str(at.seq)} | ({NEXT_HEADER: next_} if next_ else {})
            return Response(csv_text(rows, columns), media_type=f"{CSV}; charset=utf-8", headers=headers)
        items = [{name: row[name] for name in columns} for row in rows]
        body = {"seq": at.seq, "recorded_at": at.recorded_at, "occurred_by": at.occurred_by, "items": items, **more}
        return answer(body | ({} if isinstance(asked, ExposureAsked) else {"next": next_}), seq=at.seq)

    def page(
        self, asked: Paged, at: Reading, rows: Sequence[AnyRow], by: tuple[str, ...], shape: type[schemas.Answer]
    ) -> Response:
        """A page of rows, of which one more than `limit` was looked up."""
        shown = rows[: asked.limit]
        next_ = cursor_of(shown[-1], by) if len(rows) > asked.limit else None
        return self.rows(asked, at, shown, shape, next_=next_)


Ask = Annotated[Asking, Depends()]


def listed(shape: type[schemas.Answer], **more: Any) -> dict[str, Any]:
    """How a list answers, for OpenAPI."""
    model = schemas.listing(shape, **more)
    told = documented(200, "rows, and the seq they stand at")
    told[200]["content"] = {CSV: {"schema": {"type": "string"}}}
    return {"response_model": model, "responses": told}

"""Query parameters that read models share: which rows, as of when, which page, in which form; and their answers."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from api.encoding import csv_text
from api.http.cursors import cursor_of
from api.http.dependencies import SEQ_HEADER, OfDaybook, OpenDaybook, answer, documented
from api.http.fields import CURRENCY, INSTRUMENT, InstrumentId, Name, Place, RequestBody, text_by
from api.http.methods import JSON, negotiated
from api.parameters import NOW_WORD, Moment, Where, moment_of, parsed_asset, parsed_day
from api.read_models import schemas
from api.read_models.snapshot import Reading
from domain.errors import InvalidInput
from domain.values import PositionSide
from projections.storage.tables import AnyRow

PAGE_ROWS_MAX = 1000
CURSOR_MAX = 8000  # a cursor has up to five names
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


class CurrentQuery(RequestBody):
    """No parameters: the answer is as of now, and a request for another moment is refused."""


class DatedQuery(RequestBody):
    """As of when."""

    min_seq: int = Field(0, ge=0, le=SEQ_MAX, description="wait until the answer covers this place in the log")
    as_of: Place | None = Field(
        None,
        description="what was recorded up to this time, or up to exactly this place in the log; events of one append,"
        " such as those of a fill, share one recorded_at and one request_id, and are complete as of the last of them",
    )  # fmt: skip
    known_at: Place | None = Field(
        None,
        description="beside `as_of`: what had happened by then, as far as it was on record at this time or place, or is"
        " `now`; alone it means the same as `as_of` alone",
    )  # fmt: skip
    as_of_seq: int | None = Field(
        None,
        ge=0,
        le=SEQ_MAX,
        description="deprecated alias of `as_of`, a place",
        json_schema_extra={"deprecated": True},
    )  # fmt: skip

    def moment(self) -> Moment | None:
        """Return the past moment requested, if any. Raises InvalidInput."""
        if self.as_of is not None and self.as_of_seq is not None:
            raise InvalidInput("as_of", self.as_of_seq, "given once: leave as_of_seq out")
        as_of = self.as_of if self.as_of_seq is None else Moment(seq=self.as_of_seq)
        return moment_of(as_of, self.known_at)

    def moment_recorded(self) -> Moment | None:
        """Return the moment of rows that are available as recorded only. Raises InvalidInput."""
        moment = self.moment()
        if moment is not None and moment.occurred_by is not None:
            raise InvalidInput(
                "known_at", moment.at or moment.seq or NOW_WORD, "allowed here beside as_of: these rows are available"
                " as recorded, by as_of alone",
            )  # fmt: skip
        return moment


class SelectionQuery(DatedQuery):
    """Which rows, as of when, in which form."""

    account_id: Name | None = None
    strategy_id: Name | None = None
    instrument_id: InstrumentId | None = None
    position_side: PositionSide | None = Field(None, description="the leg of hedge mode: LONG, SHORT; else BOTH")
    format: Literal["json", "csv"] | None = None

    def where(self) -> Where:
        """Return the selection of positions."""
        return Where(self.account_id, self.strategy_id, self.instrument_id, self.position_side)


class PageQuery(SelectionQuery):
    """Which page of the rows."""

    limit: int = Field(100, ge=1, le=PAGE_ROWS_MAX)
    cursor: str | None = Field(None, max_length=CURSOR_MAX, description="`next` of the previous page")


class ExposureQuery(SelectionQuery):
    """How rows are valued at marks, and summed."""

    mark: list[str] = Field([], description="INSTRUMENT=PRICE, instead of the newest known mark")
    by: list[Literal["account_id", "strategy_id", "instrument_id", "position_side", "venue", "base"]] = Field(
        [], max_length=6
    )


class QueryContext(OfDaybook):
    """What every query needs beside its own parameters: the media types accepted, and the running Daybook."""

    def __init__(self, request: Request, daybook: OpenDaybook) -> None:
        self.accepted = request.headers.get("accept", "")
        self.daybook = daybook

    def is_csv(self, query: SelectionQuery) -> bool:
        """Whether CSV is requested."""
        return (query.format or negotiated(self.accepted, (JSON, CSV))) in ("csv", CSV)

    def rows(
        self,
        query: SelectionQuery,
        at: Reading,
        rows: Sequence[AnyRow],
        shape: type[schemas.Answer],
        *,
        next_: str | None = None,
        **more: Any,
    ) -> Response:
        """Return rows as JSON or CSV."""
        columns = tuple(shape.model_fields)
        if self.is_csv(query):
            headers = {SEQ_HEADER: str(at.seq)} | ({NEXT_HEADER: next_} if next_ else {})
            return Response(csv_text(rows, columns), media_type=f"{CSV}; charset=utf-8", headers=headers)
        items = [{name: row[name] for name in columns} for row in rows]
        body = {"seq": at.seq, "recorded_at": at.recorded_at, "occurred_by": at.occurred_by, "items": items, **more}
        return answer(body | ({} if isinstance(query, ExposureQuery) else {"next": next_}), seq=at.seq)

    def page(
        self,
        query: PageQuery,
        at: Reading,
        rows: Sequence[AnyRow],
        *,
        by: tuple[str, ...],
        shape: type[schemas.Answer],
        **more: Any,
    ) -> Response:
        """Return a page of rows, of which one more than `limit` was looked up."""
        shown = rows[: query.limit]
        next_ = cursor_of(shown[-1], by) if len(rows) > query.limit else None
        return self.rows(query, at, shown, shape, next_=next_, **more)


Context = Annotated[QueryContext, Depends()]


def listed(shape: type[schemas.Answer], *, is_paged: bool = False, **more: Any) -> dict[str, Any]:
    """Return the OpenAPI description of a list."""
    model = schemas.listing(shape, is_paged=is_paged, **more)
    described = documented(200, "rows, and the seq they are of")
    described[200]["content"] = {CSV: {"schema": {"type": "string"}}}
    return {"response_model": model, "responses": described}

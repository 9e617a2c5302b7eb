"""Queries: the read models, filtered, paged, valued, as of now or of a past moment.

Every answer says the `seq` it stands at. `min_seq` waits (a few seconds at most) until the read model is there, so who
writes can read what was written. `as_of`, a time or a place in the log, answers as recorded: what the book knew then.
With `known_at` beside it the answer is as occurred: what had happened by `as_of`, as far as it was known at `known_at`.
CSV comes for `Accept: text/csv` or `format=csv`; where its next page begins is in the header `Daybook-Next`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from adapters.log.queries import streams
from adapters.postgres.scopes import Scope
from api.http.auth import needs
from api.http.cursors import cursor_after
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import InstrumentId, Name
from api.http.problem_responses import responses
from api.parameters import given_marks
from api.problems import not_found
from api.read_models import schemas, views
from api.read_models.query_params import Ask, Asking, Dated, ExposureAsked, Paged, Present, Selected, listed
from api.read_models.records import account_record, instrument_record, owner_record
from api.read_models.recosting import Conventions
from api.read_models.snapshot import reading
from domain import account, instrument
from domain.account import CostBasis, FeePolicy
from domain.order import OrdStatus
from projections.analytics import exposure, pnl
from projections.models import breaks, executions, limits, lots, orders
from projections.storage.tables import AnyRow, Row

POSITION_KEY = ("account_id", "strategy_id", "instrument_id")

router = APIRouter(prefix="/v1", tags=["queries"], dependencies=[needs()], responses=responses(401, 422, 503))


class OrdersAsked(Paged):
    """Orders, also by status."""

    status: list[OrdStatus] = Field([], max_length=8)


class ExecutionsAsked(Paged):
    """Executions, also of one order."""

    cl_ord_id: Name | None = None


class Costed(Paged):
    """Costed by other conventions than the account's own."""

    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None

    def conventions(self) -> Conventions:
        """What is to be other than the account's own."""
        return Conventions(self.method, self.fee_policy)


class PnlAsked(ExposureAsked):
    """The same, costed by other conventions."""

    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None


@router.get("/orders", **listed(schemas.OrderRow))
def list_orders(asked: Annotated[OrdersAsked, Query()], ask: Ask) -> Response:
    """Orders, the newest first."""
    after = cursor_after(asked.cursor, int)
    with reading(ask.book, "orders", min_seq=asked.min_seq, moment=asked.moment_recorded()) as at:
        rows = orders.blotter(
            at.source, **asked.where()._asdict(), status=tuple(map(str, asked.status)) or None,
            limit=asked.limit + 1, after=after[0] if after else None,
        )  # fmt: skip
    return ask.page(asked, at, rows, ("opened_seq",), schemas.OrderRow)


@router.get(
    "/orders/{account_id}/{cl_ord_id}",
    response_model=schemas.OrderRow,
    responses=documented(200, "the order") | responses(404),
)
def read_order(
    account_id: Annotated[Name, Path()],
    cl_ord_id: Annotated[Name, Path()],
    asked: Annotated[Dated, Query()],
    ask: Ask,
) -> Response:
    """One order as it stands, or stood."""
    with reading(ask.book, "orders", min_seq=asked.min_seq, moment=asked.moment_recorded()) as at:
        row: AnyRow | None = orders.order(at.source, account_id, cl_ord_id)
    if row is None:
        raise not_found(f"order {cl_ord_id} of account {account_id}", account_id=account_id, cl_ord_id=cl_ord_id)
    return answer({name: row[name] for name in schemas.OrderRow.model_fields}, seq=at.seq)


@router.get("/executions", **listed(schemas.ExecutionRow))
def list_executions(asked: Annotated[ExecutionsAsked, Query()], ask: Ask) -> Response:
    """Trades and transfers, the newest booking first."""
    after = cursor_after(asked.cursor, int)
    with reading(ask.book, "executions", min_seq=asked.min_seq, moment=asked.moment()) as at:
        rows = executions.trades(
            at.source, **asked.where()._asdict(), cl_ord_id=asked.cl_ord_id, occurred_by=at.occurred_by,
            limit=asked.limit + 1, after=after[0] if after else None,
        )  # fmt: skip
    return ask.page(asked, at, rows, ("booked_seq",), schemas.ExecutionRow)


@router.get("/positions", **listed(schemas.PositionRow))
def list_positions(asked: Annotated[Costed, Query()], ask: Ask) -> Response:
    """What is held and what it cost, by account, strategy and instrument."""
    after = cursor_after(asked.cursor, str, str, str)
    moment = asked.moment()
    with reading(ask.book, *views.models(moment, asked.conventions()), min_seq=asked.min_seq, moment=moment) as at:
        rows = views.positions_of(at, asked.where(), asked.conventions(), limit=asked.limit + 1, after=after)
    return ask.page(asked, at, rows, POSITION_KEY, schemas.PositionRow)


@router.get("/lots", **listed(schemas.LotRow))
def list_lots(asked: Annotated[Costed, Query()], ask: Ask) -> Response:
    """Open lots, the oldest first (none under AVERAGE, unless `method` asks for another)."""
    return _lots(asked, ask, lots.OPENED, schemas.LotRow)


@router.get("/matches", **listed(schemas.MatchRow))
def list_matches(asked: Annotated[Costed, Query()], ask: Ask) -> Response:
    """Which disposal used up how much of which lot, in order of disposal."""
    return _lots(asked, ask, lots.DISPOSED, schemas.MatchRow)


def _lots(asked: Costed, ask: Asking, by: tuple[str, ...], shape: type[schemas.Answer]) -> Response:
    is_open = shape is schemas.LotRow
    types: dict[str, Callable[[Any], Any]] = {"opened_at": schemas.moment, "disposed_at": schemas.moment, "line": int}
    types |= {"opened_trade_seq": int, "disposed_trade_seq": int}
    after = cursor_after(asked.cursor, *(types.get(name, str) for name in by))
    moment = asked.moment()
    names = ("lots", *views.models(moment, asked.conventions()))
    with reading(ask.book, *names, min_seq=asked.min_seq, moment=moment) as at:
        if asked.conventions() != views.OWN or (is_open and at.occurred_by is not None):
            found = views.lots_of(at, asked.where(), asked.conventions())
            chosen: Sequence[AnyRow] = found.opened if is_open else found.matched
            ordered = sorted(chosen, key=lambda row: tuple(row[c] for c in by))
            rows = [row for row in ordered if after is None or tuple(row[name] for name in by) > after]
        else:
            matches = partial(lots.matches, occurred_by=at.occurred_by)
            select: Any = lots.open_lots if is_open else matches
            rows = select(at.source, **asked.where()._asdict(), limit=asked.limit + 1, after=after)
    return ask.page(asked, at, rows, by, shape)


@router.get("/pnl", **listed(schemas.PnlRow, totals=schemas.PnlTotal))
def read_pnl(asked: Annotated[PnlAsked, Query()], ask: Ask) -> Response:
    """Realized and unrealized PnL, fees and funding of every position; `totals` sum them for each of `by` and currency.

    What needs a mark that is not known is null, and so is every sum it is part of.
    """
    given, conventions = given_marks(asked.mark), Conventions(asked.method, asked.fee_policy)
    moment = asked.moment()
    with reading(ask.book, *views.models(moment, conventions), min_seq=asked.min_seq, moment=moment) as at:
        rows = views.pnl_of(ask.book, at, asked.where(), given, conventions)
    return ask.rows(asked, at, rows, schemas.PnlRow, totals=_totals(pnl.totals(rows, asked.by), asked))


@router.get("/exposure", **listed(schemas.ExposureRow, totals=schemas.ExposureTotal))
def read_exposure(asked: Annotated[ExposureAsked, Query()], ask: Ask) -> Response:
    """How large open positions are at the marks; `totals` are gross and net for each of `by` and quote currency."""
    given = given_marks(asked.mark)
    moment = asked.moment()
    with reading(ask.book, *views.models(moment), min_seq=asked.min_seq, moment=moment) as at:
        rows = views.exposure_of(ask.book, at, asked.where(), given)
    return ask.rows(asked, at, rows, schemas.ExposureRow, totals=_totals(exposure.totals(rows, asked.by), asked))


def _totals(rows: Iterable[AnyRow], asked: ExposureAsked) -> list[Row]:
    unasked = {name: None for name in exposure.GROUPS if name not in asked.by}
    return [unasked | dict(row) for row in rows]


@router.get("/limits", **listed(schemas.LimitRow))
def list_limits(asked: Annotated[Selected, Query()], ask: Ask) -> Response:
    """Every limit in force, and what is used of it."""
    with reading(ask.book, "limits", min_seq=asked.min_seq, moment=asked.moment_recorded()) as at:
        rows: Sequence[AnyRow] = limits.utilisation(at.source, asked.account_id)
    wanted = {"strategy_id": asked.strategy_id, "instrument_id": asked.instrument_id}
    rows = [row for row in rows if all(value is None or row[name] in (None, value) for name, value in wanted.items())]
    return ask.rows(asked, at, rows, schemas.LimitRow)


@router.get("/breaks", **listed(schemas.BreakRow))
def list_breaks(asked: Annotated[Paged, Query()], ask: Ask) -> Response:
    """What venues reported that the book's rules call impossible, and what could not be read; the newest first."""
    after = cursor_after(asked.cursor, int)
    with reading(ask.book, "breaks", min_seq=asked.min_seq, moment=asked.moment_recorded()) as at:
        rows = breaks.breaks(at.source, asked.account_id, limit=asked.limit + 1, after=after[0] if after else None)
    return ask.page(asked, at, rows, ("break_seq",), schemas.BreakRow)


@router.get("/accounts", response_model=schemas.Accounts, responses=documented(200, "every account"))
def list_accounts(asked: Annotated[Present, Query()], book: OpenDaybook) -> Response:  # noqa: ARG001 (its being empty)
    """Accounts and their conventions, in the order in which they were opened."""
    seq = book.log.head().seq
    items = [account_record(book.writer.state(stream)) for stream in streams(book.url, "account:")]
    return answer({"seq": seq, "items": items}, seq=seq)


@router.get("/instruments", response_model=schemas.Instruments, responses=documented(200, "every instrument"))
def list_instruments(asked: Annotated[Present, Query()], book: OpenDaybook) -> Response:  # noqa: ARG001 (its being empty)
    """Instruments and their facts, in the order in which they were listed."""
    seq = book.log.head().seq
    items = [instrument_record(book.writer.state(stream)) for stream in streams(book.url, "instrument:")]
    return answer({"seq": seq, "items": items}, seq=seq)


@router.get(
    "/accounts/{account_id}",
    response_model=schemas.AccountAnswer,
    responses=documented(200, "the account") | responses(404),
)
def read_account(
    account_id: Annotated[Name, Path()],
    asked: Annotated[Present, Query()],  # noqa: ARG001 (its being empty)
    book: OpenDaybook,
) -> Response:
    """An account and its conventions."""
    known = book.writer.state(account.stream(account_id))
    if known is None:
        raise not_found(f"account {account_id}", account_id=account_id)
    return answer(account_record(known), seq=book.log.head().seq)


@router.get(
    "/accounts/{account_id}/owner",
    response_model=schemas.OwnerAnswer,
    responses=documented(200, "the owner; `name` is null once forgotten") | responses(403, 404),
    dependencies=[needs(Scope.PERSONAL)],
)
def read_owner(
    account_id: Annotated[Name, Path()],
    asked: Annotated[Present, Query()],  # noqa: ARG001 (its being empty)
    book: OpenDaybook,
) -> Response:
    """The person an account is kept for, as far as that may still be read."""
    known = book.writer.state(account.stream(account_id))
    if known is None or known.owner is None:
        raise not_found(f"an owner of account {account_id}", account_id=account_id)
    told = owner_record(book.subjects.open(known.owner, account.owner_place(account_id)))
    return answer({"account_id": account_id, **told}, seq=book.log.head().seq)


@router.get(
    "/instruments/{instrument_id:path}",
    response_model=schemas.InstrumentAnswer,
    responses=documented(200, "the instrument") | responses(404),
)
def read_instrument(
    instrument_id: Annotated[InstrumentId, Path()],
    asked: Annotated[Present, Query()],  # noqa: ARG001 (its being empty)
    book: OpenDaybook,
) -> Response:
    """An instrument and its facts."""
    known = book.writer.state(instrument.stream(instrument_id))
    if known is None:
        raise not_found(f"instrument {instrument_id}", instrument_id=instrument_id)
    return answer(instrument_record(known), seq=book.log.head().seq)

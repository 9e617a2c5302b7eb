"""Queries of the read models, filtered, paged, valued, as of now or of a past moment.

Every answer has the `seq` it is of. `min_seq` waits (a few seconds at most) until the read model has reached that
place, so that a client reads its own writes. `as_of`, a time or a place in the log, answers as recorded: what was known
then. With `known_at` beside it the answer is as occurred: what had happened by `as_of`, as far as it was known at
`known_at`. `Accept: text/csv` or `format=csv` selects CSV; the cursor of its next page is in the header `Daybook-Next`.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from adapters.log.queries import streams
from adapters.postgres.scopes import Scope
from api.http.auth import Reader, needs
from api.http.cursors import cursor_after
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import AnyTime, BreakId, InstrumentId, Name
from api.http.problem_responses import responses
from api.http.reads import ReadRoute, expensive
from api.parameters import given_marks
from api.problems import not_found
from api.read_models import limit_usage, schemas, views
from api.read_models.query_params import (
    Context,
    CurrentQuery,
    DatedQuery,
    ExposureQuery,
    PageQuery,
    QueryContext,
    SelectionQuery,
    listed,
)
from api.read_models.records import account_record, coded, instrument_record, owner_record
from api.read_models.recosting import Conventions
from api.read_models.snapshot import marks_at, reading
from domain import account, instrument
from domain.account import Account, CostBasis, FeePolicy
from domain.order import OrderKey, OrdStatus
from domain.order import stream as order_stream
from domain.risk import LimitStatus
from projections.analytics import disposals, exposure
from projections.controls import shadow_limits
from projections.models import breaks, executions, lots, orders
from projections.storage.rows import Source
from projections.storage.tables import POSITION, AnyRow, Row

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["queries"],
    dependencies=[needs(Scope.READ)],
    responses=responses(401, 422, 503),
)


class OrdersQuery(PageQuery):
    """Which orders, also by status."""

    status: list[OrdStatus] = Field([], max_length=8)


class BreaksQuery(PageQuery):
    """Which breaks, also by kind, status and id."""

    kind: Literal["ORDER", "POSITION", "ACCOUNT", "UNREADABLE", "RECONCILIATION"] | None = None
    status: Literal["OPEN", "RESOLVED"] | None = None
    break_id: BreakId | None = None


class LimitsQuery(SelectionQuery):
    """Which limits, also by status."""

    status: list[LimitStatus] = Field([], max_length=len(LimitStatus))


class ExecutionsQuery(PageQuery):
    """Which executions, also those of one order."""

    cl_ord_id: Name | None = None


class CostedQuery(PageQuery):
    """Which rows, costed by other conventions than the account's own."""

    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None

    def conventions(self) -> Conventions:
        """Return the conventions that replace the account's own."""
        return Conventions(self.method, self.fee_policy)


class MatchQuery(CostedQuery):
    """Which disposals, by their time too, and how long a lot is held for long."""

    since: AnyTime | None = Field(None, description="only disposals from this time on")
    until: AnyTime | None = Field(None, description="only disposals before this time")
    long_term_days: int = Field(disposals.LONG_TERM_DAYS, ge=0, le=100_000, description="whole days of 24 hours")


def _is_replayed(given: dict[str, Any]) -> bool:
    """Whether rows are costed again, from a position's trades: as occurred, or by other conventions."""
    query: DatedQuery = given["query"]
    moment = query.moment()
    is_own = getattr(query, "method", None) is None and getattr(query, "fee_policy", None) is None
    return not is_own or (moment is not None and moment.occurred_by is not None)


class PnlQuery(ExposureQuery):
    """The parameters of exposure, and other costing conventions."""

    method: CostBasis | None = Field(None, description="cost basis")
    fee_policy: FeePolicy | None = None


@router.get("/orders", **listed(schemas.OrderRow))
def list_orders(query: Annotated[OrdersQuery, Query()], context: Context) -> Response:
    """Orders, the newest first."""
    after = cursor_after(query.cursor, int)
    with reading(context.daybook, "orders", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        rows = orders.blotter(
            at.source, **query.where()._asdict(), status=tuple(map(str, query.status)) or None,
            limit=query.limit + 1, after=after[0] if after else None,
        )  # fmt: skip
    return context.page(query, at, coded(rows), by=("opened_seq",), shape=schemas.OrderRow)


@router.get(
    "/orders/{account_id}/{cl_ord_id}",
    response_model=schemas.OrderRow,
    responses=documented(200, "the order") | responses(404),
)
def read_order(
    account_id: Annotated[Name, Path()],
    cl_ord_id: Annotated[Name, Path()],
    query: Annotated[DatedQuery, Query()],
    context: Context,
) -> Response:
    """One order, as of now or of a past moment; also by the ClOrdID of a request that replaced it."""
    with reading(context.daybook, "orders", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        row: AnyRow | None = orders.order(at.source, account_id, cl_ord_id)
        if row is None and (known := context.daybook.state(order_stream(OrderKey(account_id, cl_ord_id)))) is not None:
            row = orders.order(at.source, account_id, known.alias_of or cl_ord_id)
    if row is None:
        raise not_found(f"order {cl_ord_id} of account {account_id}", account_id=account_id, cl_ord_id=cl_ord_id)
    (shown,) = coded([row])
    return answer({name: shown[name] for name in schemas.OrderRow.model_fields}, seq=at.seq)


@router.get("/executions", **listed(schemas.ExecutionRow))
@expensive(_is_replayed)
def list_executions(query: Annotated[ExecutionsQuery, Query()], context: Context) -> Response:
    """Trades and transfers, the newest booking first."""
    after = cursor_after(query.cursor, int)
    with reading(context.daybook, "executions", min_seq=query.min_seq, moment=query.moment()) as at:
        rows = executions.trades(
            at.source, **query.where()._asdict(), cl_ord_id=query.cl_ord_id, occurred_by=at.occurred_by,
            limit=query.limit + 1, after=after[0] if after else None,
        )  # fmt: skip
    return context.page(query, at, rows, by=("booked_seq",), shape=schemas.ExecutionRow)


@router.get("/positions", **listed(schemas.PositionRow))
@expensive(_is_replayed)
def list_positions(query: Annotated[CostedQuery, Query()], context: Context) -> Response:
    """Quantity and cost of every position, by account, strategy, instrument and leg."""
    after = cursor_after(query.cursor, str, str, str, str)
    moment = query.moment()
    with reading(
        context.daybook, *views.models(moment, query.conventions()), min_seq=query.min_seq, moment=moment
    ) as at:
        rows = views.positions_of(at, query.where(), query.conventions(), limit=query.limit + 1, after=after)
    return context.page(query, at, rows, by=POSITION, shape=schemas.PositionRow)


@router.get("/lots", **listed(schemas.LotRow))
@expensive(_is_replayed)
def list_lots(query: Annotated[CostedQuery, Query()], context: Context) -> Response:
    """Open lots, the oldest first (none under AVERAGE, unless `method` selects another)."""
    return _lots(query, context, lots.OPENED, schemas.LotRow)


def _is_searched(given: dict[str, Any]) -> bool:
    """Whether matches are costed again, or searched for by time."""
    query: MatchQuery = given["query"]
    return query.since is not None or query.until is not None or _is_replayed(given)


@router.get("/matches", **listed(schemas.MatchRow))
@expensive(_is_searched)
def list_matches(query: Annotated[MatchQuery, Query()], context: Context) -> Response:
    """Which disposal consumed how much of which lot, in order of disposal; when it was acquired, and how long held.

    `proceeds` is cost + gain. `is_long_term`: held for `long_term_days` or longer.
    """
    return _lots(query, context, lots.DISPOSED, schemas.MatchRow)


def _lots(query: CostedQuery, context: QueryContext, by: tuple[str, ...], shape: type[schemas.Answer]) -> Response:
    is_open = shape is schemas.LotRow
    has = disposals.Filter(query.since, query.until).has if isinstance(query, MatchQuery) else lambda _: True
    types: dict[str, Callable[[Any], Any]] = {"opened_at": schemas.moment, "disposed_at": schemas.moment, "line": int}
    types |= {"opened_trade_seq": int, "disposed_trade_seq": int}
    after = cursor_after(query.cursor, *(types.get(name, str) for name in by))
    moment = query.moment()
    names = dict.fromkeys(("lots", "executions", *views.models(moment, query.conventions())))
    with reading(context.daybook, *names, min_seq=query.min_seq, moment=moment) as at:
        if query.conventions() != views.OWN or (is_open and at.occurred_by is not None):
            found = views.lots_of(at, query.where(), query.conventions())
            chosen: Iterable[AnyRow] = found.opened if is_open else found.matched
            ordered = sorted(chosen, key=lambda row: tuple(row[c] for c in by))
            rows = [row for row in ordered if has(row) and (after is None or tuple(row[name] for name in by) > after)]
        else:
            matches = partial(lots.matches, occurred_by=at.occurred_by)
            select: Any = lots.open_lots if is_open else matches
            chosen = _selected(select, at.source, query, by=by, after=after)
            rows = list(islice((row for row in chosen if has(row)), query.limit + 1))
        if isinstance(query, MatchQuery):
            more = rows[query.limit : query.limit + 1]
            acquisitions = disposals.Acquisitions(at.source)
            rows = [*acquisitions.described(rows[: query.limit], query.long_term_days), *more]
    return context.page(query, at, rows, by=by, shape=shape)


def _selected(
    select: Any, source: Source, query: CostedQuery, *, by: tuple[str, ...], after: tuple[Any, ...] | None
) -> Iterator[AnyRow]:
    """Yield the rows after a place, read in pages."""
    while page := select(source, **query.where()._asdict(), limit=query.limit + 1, after=after):
        yield from page
        if len(page) <= query.limit:
            return
        after = tuple(page[-1][name] for name in by)


@router.get("/pnl", **listed(schemas.PnlRow, totals=schemas.PnlTotal))
@expensive(_is_replayed)
def read_pnl(query: Annotated[PnlQuery, Query()], context: Context) -> Response:
    """Realized and unrealized PnL, fees and funding of every position; `totals` sum them for each of `by` and currency.

    What cash earned (interest, rebates, rewards) and was charged apart from trades is in rows of kind CASH, one for
    each account and currency, and in `totals`; not where a strategy, instrument or leg is selected.
    A figure that needs an unknown mark is null, and so is every sum it is part of. In totals, `net` counts fees in
    other currencies at the marks; those without a rate are `left_out`.
    """
    given, conventions = given_marks(query.mark), Conventions(query.method, query.fee_policy)
    moment = query.moment()
    names = views.models(moment, conventions, views.PRICED)
    with reading(context.daybook, *names, min_seq=query.min_seq, moment=moment) as at:
        marks = marks_at(context.daybook, at, given)
        rows = views.pnl_of(at, query.where(), marks, conventions)
        totals = views.pnl_totals(rows, query.by, at, marks)
    return context.rows(query, at, rows, schemas.PnlRow, totals=_totals(totals, query))


@router.get(
    "/exposure", **listed(schemas.ExposureRow, totals=schemas.ExposureTotal, uncounted=schemas.UncountedRow)
)  # fmt: skip
@expensive(_is_replayed)
def read_exposure(query: Annotated[ExposureQuery, Query()], context: Context) -> Response:
    """Size of what is held at the marks; `totals` are gross and net for each of `by` and quote currency.

    A coin counts as it is held: what was paid with it and left as a fee is less. `uncounted` are the balances in the
    accounts' base currencies, and those without a price.
    """
    given = given_marks(query.mark)
    moment = query.moment()
    names = views.models(moment, names=views.HELD)
    with reading(context.daybook, *names, min_seq=query.min_seq, moment=moment) as at:
        found = views.exposure_of(at, query.where(), marks_at(context.daybook, at, given))
    totals = _totals(exposure.totals(found.items, query.by), query)
    return context.rows(query, at, found.items, schemas.ExposureRow, totals=totals, uncounted=found.uncounted)


def _totals(rows: Iterable[AnyRow], query: ExposureQuery) -> list[Row]:
    absent = {name: None for name in exposure.GROUPS if name not in query.by}
    return [absent | dict(row) for row in rows]


@router.get("/limits", **listed(schemas.LimitRow))
def list_limits(query: Annotated[LimitsQuery, Query()], context: Context) -> Response:
    """Every limit of accounts and of the firm: status, used, headroom and whether it is breached, at present marks."""
    moment = query.moment_recorded()
    with reading(context.daybook, *limit_usage.MODELS, min_seq=query.min_seq, moment=moment) as at:
        rows = limit_usage.usage(
            context.daybook, at, query.account_id, strategy_id=query.strategy_id, instrument_id=query.instrument_id
        )
    rows = [row for row in rows if not query.status or row["status"] in query.status]
    return context.rows(query, at, rows, schemas.LimitRow)


@router.get("/limits/would-refuse", **listed(schemas.RefusalRow, is_paged=True, totals=schemas.RefusalCount))
def list_would_refuse(query: Annotated[PageQuery, Query()], context: Context) -> Response:
    """Orders and replacements that passed and that shadow limits would have refused, the newest first.

    `account_id` is the limit's (`firm`: over all accounts together); `strategy_id`, `instrument_id` and `position_side`
    are the order's.
    `totals` has the number for each version of each shadow limit, for any order.
    """
    after = cursor_after(query.cursor, int)
    moment = query.moment_recorded()
    with reading(context.daybook, shadow_limits.NAME, min_seq=query.min_seq, moment=moment) as at:
        rows = shadow_limits.would_refuse(
            at.source, query.account_id, query.strategy_id, query.instrument_id,
            position_side=query.position_side, limit=query.limit + 1, after=after[0] if after else None,
        )  # fmt: skip
        totals = shadow_limits.would_refuse_counts(at.source, query.account_id)
    return context.page(query, at, rows, by=("refused_seq",), shape=schemas.RefusalRow, totals=totals)


@router.get("/breaks", **listed(schemas.BreakRow))
def list_breaks(query: Annotated[BreaksQuery, Query()], context: Context) -> Response:
    """Venue reports that broke a rule or could not be read; the newest first."""
    after = cursor_after(query.cursor, int)
    with reading(context.daybook, "breaks", min_seq=query.min_seq, moment=query.moment_recorded()) as at:
        rows = breaks.breaks(
            at.source, query.account_id, kind=query.kind, status=query.status, break_id=query.break_id,
            limit=query.limit + 1, after=after[0] if after else None,
        )  # fmt: skip
    return context.page(query, at, coded(rows), by=("break_seq",), shape=schemas.BreakRow)


@router.get("/accounts", response_model=schemas.Accounts, responses=documented(200, "every account"))
def list_accounts(
    query: Annotated[CurrentQuery, Query()],  # noqa: ARG001 (refuses parameters)
    daybook: OpenDaybook,
    caller: Reader,
) -> Response:
    """Accounts and their conventions, the oldest first; with a key that is bounded to accounts those only."""
    seq = daybook.history.head().seq
    known: list[Account] = [daybook.state(stream) for stream in streams(daybook.url, "account:")]
    items = [account_record(each) for each in known if caller.bounds.has_account(each.account_id)]
    return answer({"seq": seq, "items": items}, seq=seq)


@router.get("/instruments", response_model=schemas.Instruments, responses=documented(200, "every instrument"))
def list_instruments(query: Annotated[CurrentQuery, Query()], daybook: OpenDaybook) -> Response:  # noqa: ARG001 (refuses parameters)
    """Instruments and their terms, the oldest first."""
    seq = daybook.history.head().seq
    items = [instrument_record(daybook.state(stream)) for stream in streams(daybook.url, "instrument:")]
    return answer({"seq": seq, "items": items}, seq=seq)


@router.get(
    "/accounts/{account_id}",
    response_model=schemas.AccountAnswer,
    responses=documented(200, "the account") | responses(404),
)
def read_account(
    account_id: Annotated[Name, Path()],
    query: Annotated[CurrentQuery, Query()],  # noqa: ARG001 (refuses parameters)
    daybook: OpenDaybook,
) -> Response:
    """An account and its conventions."""
    known = daybook.state(account.stream(account_id))
    if known is None:
        raise not_found(f"account {account_id}", account_id=account_id)
    return answer(account_record(known), seq=daybook.history.head().seq)


@router.get(
    "/accounts/{account_id}/owner",
    response_model=schemas.OwnerAnswer,
    responses=documented(200, "the owner; `name` is null once forgotten") | responses(403, 404),
    dependencies=[needs(Scope.PERSONAL)],
)
def read_owner(
    account_id: Annotated[Name, Path()],
    query: Annotated[CurrentQuery, Query()],  # noqa: ARG001 (refuses parameters)
    daybook: OpenDaybook,
) -> Response:
    """The person an account is kept for, as far as the name can still be read."""
    known = daybook.state(account.stream(account_id))
    if known is None or known.owner is None:
        raise not_found(f"an owner of account {account_id}", account_id=account_id)
    owner = owner_record(daybook.subjects.open(known.owner, account.owner_place(account_id)))
    return answer({"account_id": account_id, **owner}, seq=daybook.history.head().seq)


@router.get(
    "/instruments/{instrument_id:path}",
    response_model=schemas.InstrumentAnswer,
    responses=documented(200, "the instrument") | responses(404),
)
def read_instrument(
    instrument_id: Annotated[InstrumentId, Path()],
    query: Annotated[CurrentQuery, Query()],  # noqa: ARG001 (refuses parameters)
    daybook: OpenDaybook,
) -> Response:
    """An instrument and its terms."""
    known = daybook.state(instrument.stream(instrument_id))
    if known is None:
        raise not_found(f"instrument {instrument_id}", instrument_id=instrument_id)
    return answer(instrument_record(known), seq=daybook.history.head().seq)

"""A desk for writers: an account, an instrument, orders and fills."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from adapters.log.postgres import PostgresLog
from adapters.writer.group_commit import GroupCommit
from domain.account import Costing, OpenAccount
from domain.errors import LedgerError
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Answer, Command, Ledger
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import Measure, Scope, SetLimit
from domain.values import ZERO, Liquidity, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
POSITION = "position:main:trend:BTCUSDT.SIM"


def open_desk(log: PostgresLog) -> None:
    """One account, one instrument."""
    ledger = Ledger(log, lambda: T0)
    ledger.request(OpenAccount("main", "USDT", Costing(), T0), actor="alice")
    ledger.request(ListInstrument(BTC, SPOT, D("0.01"), D("0.001")), actor="alice")


def submitted(name: str, qty: str = "1", price: str = "100", side: str = "BUY") -> SubmitOrder:
    """An order."""
    return SubmitOrder(
        OrderKey("main", name), OrderTerms("trend", BTC, Side(side), OrdType.LIMIT, D(qty), D(price)), T0
    )


def filled(name: str, exec_id: str, qty: str = "1", at: int = 0, side: str = "BUY") -> OrderFilled:
    """A fill of an order."""
    return OrderFilled(
        OrderKey("main", name), "trend", BTC, "", Side(side), exec_id, at, D(qty), D(100), Money(ZERO, "USDT"),
        Liquidity.TAKER, T0 + timedelta(seconds=at),
    )  # fmt: skip


def at_most(limit: str) -> SetLimit:
    """A limit of the position."""
    return SetLimit("main", Scope(None, BTC), Measure.MAX_POSITION, D(limit), None, T0)


@contextmanager
def leading(
    url: str, log: PostgresLog, now: Callable[[], datetime] = lambda: T0, **more: int | str
) -> Iterator[GroupCommit]:
    """A group commit that runs."""
    group = GroupCommit(url, log, now, **more)  # type: ignore[arg-type]
    group.start()
    try:
        yield group
    finally:
        group.close()


def ask(group: GroupCommit, request: object, actor: str = "bot") -> Answer:
    """One request, waited for."""
    (answer,) = group.submit(Command(request, actor)).result(30)  # type: ignore[arg-type]
    if answer.error is not None:
        raise answer.error
    assert isinstance(answer, Answer)
    return answer


def tell(group: GroupCommit, *reports: OrderFilled, actor: str = "venue") -> list[Answer]:
    """A batch of reports, waited for."""
    answers: list[Answer] = group.submit(Command(tuple(reports), actor)).result(30)
    return answers


def in_threads(*works: Callable[[], object]) -> list[BaseException | None]:
    """Everything at once; the error of each, if it had one."""
    errors: list[BaseException | None] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(index: int) -> None:
        start.wait()
        try:
            works[index]()
        except (LedgerError, AssertionError) as error:
            errors[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors

"""A group commit that runs, and what is sent to it and waited for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal as D

from adapters.log.postgres import PostgresLog
from adapters.writer.group_commit import GroupCommit
from domain.errors import LedgerError
from domain.ledger import Answer, Command, Ledger, scan
from domain.order import OrderFilled
from domain.risk import Measure, Scope, SetLimit
from tests.desk import BTC, POSITION, T0


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


def request(group: GroupCommit, wanted: object, actor: str = "bot") -> Answer:
    """One request, waited for."""
    (answer,) = group.submit(Command(wanted, actor)).result(60)  # type: ignore[arg-type]
    if answer.error is not None:
        raise answer.error
    assert isinstance(answer, Answer)
    return answer


def report(group: GroupCommit, *reports: OrderFilled, actor: str = "venue") -> list[Answer]:
    """A batch of reports, waited for."""
    answers: list[Answer] = group.submit(Command(tuple(reports), actor)).result(60)
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


def check_log(log: PostgresLog) -> None:
    """The log is whole, and what was decided in batches is what is decided one by one."""
    logged = list(scan(log))
    assert [seq for seq, _ in logged] == list(range(1, len(logged) + 1))
    times = [recorded.recorded_at for _, recorded in logged]
    assert times == sorted(times)
    fills = [recorded.event for _, recorded in logged if isinstance(recorded.event, OrderFilled)]
    assert len({fill.exec_id for fill in fills}) == len(fills)
    position = Ledger(log, lambda: T0).state(POSITION)
    assert (position.quantity if position else 0) == sum(fill.side.sign * fill.last_qty for fill in fills)

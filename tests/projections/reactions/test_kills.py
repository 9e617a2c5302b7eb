"""Policies killed at every point of their work: each reaction happens once, and none is forgotten."""

import multiprocessing
import signal

import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from adapters.writer.reactions import sender
from adapters.writer.writer import Writer
from domain.ledger import Ledger, scan
from projections.reactions.runner import ReactionRunner
from tests.derived import derived
from tests.projections.reactions import reactor
from tests.projections.reactions.book import T0, check_all_once, opened, summary, traded
from tests.projections.reactions.reactor import POINTS

pytestmark = pytest.mark.slow

ORDERS = 2
KILLS_MAX = 40
SECONDS_MAX = 60


@pytest.mark.parametrize(("point", "passes"), POINTS.items())
def test_a_process_that_is_killed_again_and_again_reacts_to_everything_once(
    point: str, passes: int, database_url: str, log: PostgresLog
) -> None:
    ledger = Ledger(log, lambda: T0)
    opened(ledger)
    switched_on(database_url, log)
    after = log.head().seq
    traded(ledger, ORDERS)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([reactor.__name__])
    kills = 0
    for number in range(1, KILLS_MAX):
        child = context.Process(target=reactor.run, args=(database_url, point, passes * number))
        child.start()
        child.join(SECONDS_MAX)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
    assert child.exitcode == 0
    assert kills
    check_all_once(log, after=after)
    assert summary(log) == {
        "SwitchEngaged": 1,
        "OrderCancelRequested": 2 * ORDERS,
        "OrderRefused": 1,
        "HoldRefused": 1,
        "BreakAged": 1,
        "AssessmentMissed": 1,
    }
    assert derived([each.recorded for each in scan(log)]).faults == ()


def switched_on(url: str, log: PostgresLog) -> None:
    """Policies that have read the log so far."""
    projector = engine(url, Role.PROJECTOR)
    ReactionRunner(log, projector, sender(Writer(log, lambda: T0), lambda: None), now=lambda: T0).catch_up()
    projector.dispose()

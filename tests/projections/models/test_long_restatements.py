"""What the read models show where restatements name no entries: the same, from the entries themselves.

The properties of the other tests, with every restatement of more than one entry stated by half hour.
"""
# ruff: noqa: F401

from collections.abc import Iterator

import pytest
from hypothesis import given

from domain.account import Costing
from domain.ledger import scan
from domain.position import PositionRestated
from projections.models import daily_sums
from projections.runner.runner import as_of
from tests.desk import Desk, costings, days
from tests.projections.analytics.test_restatement import test_the_items_of_any_day_sum_to_the_difference
from tests.projections.models.test_daily_sums import PROJECTIONS, test_sums_over_days_are_the_positions_own
from tests.projections.models.test_folds import (
    test_executions_and_matches_are_those_of_a_history_in_order,
    test_positions_and_lots_are_those_of_the_domain,
)
from tests.projections.models.test_journal import (
    test_balances_are_the_asset_accounts_and_those_of_the_domain,
    test_debits_equal_credits_in_each_asset_after_every_event,
    test_ledger_accounts_are_the_positions,
)
from tests.projections.models.test_positions_occurred import (
    test_a_late_fill_and_a_bust_are_true_of_the_moment_they_occurred,
    test_positions_as_occurred_are_those_that_the_domain_folds,
)
from tests.projections.storage.test_history import (
    test_as_of_every_place_the_rows_are_those_of_a_replay_that_stops_there,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("domain.position.rebooking.ITEMS_MAX", 0)
        patch.setattr("domain.position.rebooking.WINDOW_MAX", 1)
        yield


@given(days, costings)
def test_restatements_show_what_each_event_changed_on_every_page(day: list[tuple[int, ...]], costing: Costing) -> None:
    desk = Desk(costing=costing)
    desk.live(day)
    rows = as_of(desk.log, projections=PROJECTIONS)
    shown = daily_sums.restatements(rows, limit=10_000)
    for seq, recorded in scan(desk.log):
        if isinstance(recorded.event, PositionRestated) and recorded.event.since is not None:
            found = {row["slot"]: row for row in shown if row["restated_seq"] == seq}
            assert {slot: tuple(row[name] for name in daily_sums.RESTATED_SUMS) for slot, row in found.items()} == {
                moved.half_hour: (moved.cost, moved.realized, moved.rounding, moved.fee_cost)
                for moved in recorded.event.moved
            }
    paged, after = [], None
    while page := daily_sums.restatements(rows, limit=3, after=after):
        paged += page
        after = tuple(page[-1][name] for name in daily_sums.RESTATED)
    assert paged == shown

"""Reports of what has changed since a place in the log: applied to the old report they make the new one."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal as D
from random import Random
from typing import Any

import pytest

from adapters.market.recording import MarkRecorder
from api.daybook import Daybook
from api.parameters import Format
from api.read_models.snapshot import reading
from api.reports.catalog import CHANGE, REMOVED, REPORTS, SET, Parameters, Part
from api.reports.make import Made, make, needs
from domain.account import CostBasis, Costing, FeePolicy
from domain.errors import InvalidInput
from domain.values import Mark
from projections.models.executions import restatements
from projections.storage.tables import AnyRow
from tests.desk import BTC, PERP, T0, Desk

pytestmark = pytest.mark.slow

ROUNDS = 4
PAIRS = (BTC, PERP, "ETHUSDT.SIM")
DAYS = Parameters(first="2026-02-27", last="2026-03-03", mark_age_max=10**8)
WORTH = Parameters(first="2026-02-27", last="2026-03-03", currency="USDT", equal=("USD=USDT",), mark_age_max=10**8)
REQUESTED = {
    "daily": DAYS,
    "equity": WORTH,
    "reconciliation": WORTH,
    "nav": WORTH,
    "statistics": WORTH,
    "quality": DAYS,
    "leverage": Parameters(currency="USDT", equal=("USD=USDT",), mark_age_max=10**8),
    "restatement": Parameters(day="2026-03-01"),
    "statement": Parameters(account_id="main", day="2026-03"),
}  # fmt: skip


def made(daybook: Daybook, name: str, parameters: Parameters) -> tuple[Made, dict[str, list[AnyRow]]]:
    """A report, and the rows of its parts."""
    with reading(daybook, *needs(name, parameters)) as at:
        report = make(daybook, name, parameters, form=Format.JSON, at=at, is_past=False)
        return report, {part.name: [*report.content.parts[part.name]] for part in report.report.parts}


def applied(old: Iterable[AnyRow], changes: Iterable[AnyRow], part: Part) -> list[AnyRow]:
    """What a client does: a row that is set replaces the one with its key, a part without a key is replaced whole."""
    if not part.key:
        return [_plain(row) for row in changes]
    rows = {_key(part, row): row for row in old}
    for row in changes:
        if row[CHANGE] == REMOVED:
            assert all(value is None for name, value in row.items() if name not in (CHANGE, *part.key))
            del rows[_key(part, row)]
        else:
            assert row[CHANGE] == SET
            rows[_key(part, row)] = _plain(row)
    return [*rows.values()]


def _key(part: Part, row: AnyRow) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in part.key)


def _plain(row: AnyRow) -> AnyRow:
    return {name: value for name, value in row.items() if name != CHANGE}


def _sorted(rows: Iterable[AnyRow]) -> list[str]:
    return sorted(map(repr, ({name: row[name] for name in sorted(row)} for row in rows)))


def since(parameters: Parameters, seq: int) -> Parameters:
    return Parameters(**{name: getattr(parameters, name) for name in parameters.__struct_fields__} | {"since_seq": seq})


@pytest.mark.parametrize(
    ("seed", "basis"),
    [(1, CostBasis.FIFO), *(pytest.param(seed, CostBasis.HIFO, marks=pytest.mark.slow) for seed in (2, 3))],
)
def test_the_changes_of_any_report_applied_to_the_old_one_make_the_new_one(
    daybook: Daybook, seed: int, basis: CostBasis
) -> None:
    chance, desk = Random(seed), Desk(daybook.log, Costing(basis, FeePolicy.EXPENSED, 8))
    before: dict[str, tuple[int, dict[str, list[AnyRow]]]] = {}
    saved = removed = 0
    for number in range(ROUNDS):
        chosen = [chance.choice((0, 1, 2, 3, 4, 5, 20)) for _ in range(30)]
        desk.live([(kind, *(chance.randrange(12) for _ in range(3)), chance.randrange(31)) for kind in chosen])
        if number % 2 == 0:
            MarkRecorder(daybook.marks, desk.ledger.carry_out).record(
                [Mark(name, D(chance.randrange(90, 120)), "SIM", T0 + timedelta(hours=number)) for name in PAIRS[:2]],
                actor="test",
            )
        daybook.runner.catch_up()
        for name in REPORTS:
            parameters = REQUESTED.get(name, Parameters())
            now, parts = made(daybook, name, parameters)
            if name in before:
                seq, old = before[name]
                _, changes = made(daybook, name, since(parameters, seq))
                for part in now.report.parts:
                    found = applied(old[part.name], changes[part.name], part)
                    ours, all_of = set(_sorted(found)), set(_sorted(parts[part.name]))
                    assert (name, part.name, ours - all_of, all_of - ours) == (name, part.name, set(), set())
                    assert len(found) == len(parts[part.name])
                    saved += len(changes[part.name]) < len(parts[part.name])
                    removed += sum(row[CHANGE] == REMOVED for row in changes[part.name])
            before[name] = (now.digest.seq, parts)
    assert saved > 10, "some reports are shorter"
    assert removed > 0, "rows have vanished"


def test_long_reports_look_up_only_what_was_touched(daybook: Daybook, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(daybook.log, Costing(CostBasis.FIFO, FeePolicy.EXPENSED, 8))
    desk.live([(0, 1, 1, 1, n) for n in range(20)])
    daybook.runner.catch_up()
    seq = daybook.log.head().seq
    desk.live([(0, 1, 2, 1, n) for n in range(5)])
    daybook.runner.catch_up()
    with reading(daybook, "executions") as at:
        assert not restatements(at.source)
    monkeypatch.setattr("api.reports.changes.content_of", None)
    for name in ("blotter", "journal", "executions", "lots", "matches"):
        _, parts = made(daybook, name, Parameters(since_seq=seq))
        assert all(row["seq"] > seq for row in parts["items"] if row[CHANGE] == SET)
    _, nothing = made(daybook, "executions", Parameters(since_seq=daybook.log.head().seq))
    assert nothing["items"] == []


def test_changes_are_since_a_place_in_the_log_and_of_no_limited_report(daybook: Daybook) -> None:
    desk = Desk(daybook.log)
    daybook.runner.catch_up()
    for parameters, field in [(Parameters(since_seq=10_000), "since_seq"), (Parameters(since_seq=1, limit=2), "limit")]:
        with pytest.raises(InvalidInput) as refused:
            made(daybook, "blotter", parameters)
        assert refused.value.field == field
    assert desk.events("account")

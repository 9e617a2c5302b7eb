"""Derivation of databases and bundles: what follows, in parts and in processes, and what a forger with all keys did."""

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import psycopg
import pytest
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role, connect
from adapters.proof.sealer import Sealer
from adapters.verify import bundles, derivation
from adapters.verify.bundles import Selection
from adapters.verify.derivation import derive, derive_bundle, derive_part
from adapters.verify.verification import verify
from domain.ledger import Derivation, Derived, Recorded, merged, scan, schema, unit_of_work
from domain.order import OrderFilled, OrderKey
from domain.position import TradeBooked
from domain.risk import ANYWHERE, Measure, SetLimit
from domain.values import Side
from tests.days import STEPS
from tests.desk import POSITION, T0, Desk, fill

INSERT = """
INSERT INTO ledger.events (originator_id, originator_version, topic, state, notification_id, recorded_at, execution_key)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


@pytest.fixture
def desk(log: PostgresLog) -> Desk:
    """A desk of two accounts after a day of everything."""
    desk, draw = Desk(log), Random(3)
    for number in range(90):
        desk.live([(number % len(STEPS), *(draw.randrange(12) for _ in range(3)), draw.randrange(31))])
    desk.report(fill("last", Side.BUY, "1", "100", 30))
    return desk


def forge(database_url: str, record: Recorded, *, more: str = "") -> int:
    """Add a record to the log as a superuser; its seq."""
    topic, state, key = schema.stored(record)
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        if more:
            connection.execute(more)  # type: ignore[arg-type]
        (seq,) = connection.execute("SELECT max(notification_id) + 1 FROM ledger.events").fetchone() or (0,)
        values = [record.stream, record.version, topic, state, seq, record.recorded_at, key]
        connection.execute(INSERT, values)
        connection.execute("ALTER TABLE ledger.events ENABLE TRIGGER ALL")
        return int(seq)


def booked_out_of_nothing(log: PostgresLog) -> Recorded:
    """A booking of 1,000 without a fill."""
    last = log.read(POSITION)[-1]
    genuine = next(record.event for record in reversed(log.read(POSITION)) if isinstance(record.event, TradeBooked))
    event = replace(genuine, exec_id="forged", effect=replace(genuine.effect, quantity=genuine.effect.quantity + 999))
    (head,) = log.select(after=log.head().seq - 1)
    return Recorded(POSITION, last.version + 1, head.recorded.recorded_at, "venue", "forged", event)


def test_a_log_follows_alike_in_one_part_in_many_and_in_processes(desk: Desk, database_url: str) -> None:
    head = desk.log.head().seq
    whole = derive(database_url, workers=1)
    assert not whole.faults and whole.events + sum(whole.given.values()) == head
    shown: list[tuple[int, int]] = []
    assert derive(database_url, workers=2, part_events=20, on_progress=lambda *done: shown.append(done)) == whole
    with connect(database_url, Role.AUDITOR) as connection:
        for cuts in ([0, 1, 2, 3, head], [0, *range(7, head, 61), head], [0, head // 2, head]):
            parts = [derive_part(connection, *cut, lambda _: None) for cut in pairwise(cuts)]
            assert merged(parts) == whole


def test_a_log_follows_alike_with_short_pages_and_small_caches(
    desk: Desk, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams are read again as they were before the append in question, and not as they are."""
    whole = derive(database_url, workers=1)
    monkeypatch.setattr(derivation, "PAGE", 13)
    monkeypatch.setattr(unit_of_work, "PAGE_EVENTS", 3)
    monkeypatch.setattr(unit_of_work, "CACHED_ENTRIES_MAX", 0)
    monkeypatch.setattr(derivation, "Derivation", partial(Derivation, cached_streams_max=4))
    assert derive(database_url, workers=1) == whole


def test_a_booking_without_a_fill_is_sealed_and_proved_and_named(
    desk: Desk, log: PostgresLog, database_url: str, tmp_path: Path
) -> None:
    seq = forge(database_url, booked_out_of_nothing(log))
    Sealer(database_url, tmp_path).seal()
    assert verify(database_url).finding is None, "its bytes are what was signed"
    (fault,) = derive(database_url).faults
    assert (fault.seq, fault.stream, fault.topic) == (seq, POSITION, "TradeBooked.v3")
    path = tmp_path / "forged.zip"
    bundles.export(database_url, path)
    assert of_bundle(path).derived.faults == (fault,)


def test_an_execution_recorded_under_two_orders_is_named(desk: Desk, log: PostgresLog, database_url: str) -> None:
    first = next(each.recorded for each in scan(log) if isinstance(each.recorded.event, OrderFilled))
    again = replace(first.event, key=OrderKey(first.event.key.account_id, "forged"))
    record = replace(first, stream="order:main:forged", version=1, recorded_at=log.head().recorded_at, event=again)
    seq = forge(database_url, record, more="DROP INDEX ledger.events_execution_key_idx")
    found = derive(database_url)
    assert found.faults[0].seq == seq and "its execution is on record before" in found.faults[0].reason


def of_bundle(path: Path) -> derivation.OfBundle:
    with bundles.opened(path) as bundle:
        bundle.prove()
        return derive_bundle(bundle, size=path.stat().st_size)


@pytest.fixture
def exported(database_url: str, tmp_path: Path) -> Callable[..., derivation.OfBundle]:
    def exported(**selected: object) -> derivation.OfBundle:
        Sealer(database_url, tmp_path).seal()
        bundles.export(database_url, tmp_path / "bundle.zip", Selection(**selected))  # type: ignore[arg-type]
        return of_bundle(tmp_path / "bundle.zip")

    return exported


def test_a_whole_bundle_follows(desk: Desk, database_url: str, exported: Callable[..., derivation.OfBundle]) -> None:
    found = exported()
    assert not found.ended and found.upto == desk.log.head().seq
    assert found.derived == derive(database_url)


def test_the_bundle_of_an_account_follows_by_itself(
    log: PostgresLog, exported: Callable[..., derivation.OfBundle]
) -> None:
    desk = Desk(log)
    desk.report(fill("E1", Side.BUY, "1", "100"), fill("H1", Side.BUY, "1", "100", account_id="hedge"))
    desk.report(fill("E2", Side.SELL, "1", "110", 1))
    found = exported(account="main")
    assert not found.ended and not found.derived.faults and found.upto == log.head().seq
    assert found.derived.events < log.head().seq


def test_a_part_goes_as_far_as_it_has_what_decisions_depend_on(
    log: PostgresLog, exported: Callable[..., derivation.OfBundle]
) -> None:
    desk = Desk(log)
    desk.report(fill("E1", Side.BUY, "1", "100"))
    before = log.head().seq
    ours = max(logged.seq for logged in scan(log) if logged.recorded.stream == "limit:main")
    desk.request(SetLimit("firm", ANYWHERE, Measure.MAX_POSITION, fill("E", Side.BUY, "9", "1").last_qty, None, T0))
    desk.report(fill("E2", Side.BUY, "1", "100", 1))
    watched = exported(account="main")
    assert watched.upto == ours and "the firm's limits" in watched.ended
    later = exported(first=before)
    assert later.derived == Derived() and f"begins at seq {before}" in later.ended
    earlier = exported(upto=before - 1)
    assert earlier.upto < before - 1 and not earlier.derived.faults and "middle of an append" in earlier.ended


def test_a_bundle_that_takes_too_long_is_left_off(
    desk: Desk, exported: Callable[..., derivation.OfBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derivation, "SECONDS_MIN", 0.001)
    monkeypatch.setattr(derivation, "SECONDS_A_MEGABYTE", 0)
    found = exported()
    assert "should take less time" in found.ended and found.upto < desk.log.head().seq


def test_results_are_written_as_json(desk: Desk, log: PostgresLog, database_url: str) -> None:
    from api.encoding import plain
    from api.verify.derivation import derived_json, what_does_not_follow

    assert what_does_not_follow(derive(database_url)) == ""
    seq = forge(database_url, booked_out_of_nothing(log))
    found = derive(database_url)
    shown = json.loads(json.dumps(plain(derived_json(found))))
    assert not shown["is_derived"] and shown["faults"][0]["seq"] == seq and shown["faults"][0]["expected"] is None
    assert what_does_not_follow(found).startswith(f"not derived at seq {seq}: TradeBooked.v3 of {POSITION}: no request")

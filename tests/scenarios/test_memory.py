"""What a service keeps in memory does not grow with what it has recorded."""

import threading
from decimal import Decimal as D
from pathlib import Path
from statistics import median

import pytest

from adapters.postgres.connections import Connection, Role, connect
from adapters.proof.sealer import Sealer, _Sealing
from adapters.writer import group_commit
from api.clock import now
from api.daybook import Daybook
from api.settings import Settings
from benchmarks import query
from domain.ledger import unit_of_work
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.values import Side
from projections.runner import batches
from projections.storage import rows
from projections.storage.bloom import Bloom
from tests.waiting import until

FILLS = 600
INSTRUMENT = query.INSTRUMENTS[0]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a short test reaches."""
    monkeypatch.setattr(rows, "FOLLOWED_ROWS_MAX", 200)
    monkeypatch.setattr(unit_of_work, "IDLE_ENTRIES_MAX", 200)
    monkeypatch.setitem(group_commit.GroupCommit.__init__.__kwdefaults__, "cached_streams_max", 200)


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> list[batches.GroupFollower]:
    """Those that are made."""
    made: list[batches.GroupFollower] = []

    class Kept(batches.GroupFollower):
        def __init__(self, *args: object, **more: object) -> None:
            super().__init__(*args, **more)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr("projections.runner.runner.GroupFollower", Kept)
    return made


def cached_rows(followers: list[batches.GroupFollower]) -> dict[str, int]:
    return {
        one.projection.name: sum(len(cached.known) + len(cached.hashes) for cached in one._rows._cached.values())
        for group in followers
        for one in group._followers
    }


@pytest.mark.usefixtures("small")
def test_caches_are_as_large_after_a_thousand_fills_as_after_six_hundred(
    database_url: str, followers: list[batches.GroupFollower]
) -> None:
    settings = Settings(database_url=database_url)  # type: ignore[arg-type]
    with Daybook.open(settings) as book, query.opened(book), book.following():
        sizes = []
        for fills in (FILLS, 2 * FILLS):
            query.grow(book, FILLS * len(sizes), fills)
            until(lambda: not any(one.lag for one in book.runner.status()))
            group = book.writer._group
            assert group is not None
            known = group._known
            assert len(known._kept) <= 200 and known._growing._entries <= 200
            sizes.append(cached_rows(followers))
        assert all(size <= 2 * 200 + 2 * 60 for size in sizes[1].values()), sizes[1]
        assert sizes[1]["executions"] <= sizes[0]["executions"] + 20, "it was full"


def test_a_sealer_that_never_rests_keeps_no_notices(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each append notifies, and a connection of psycopg's keeps what comes until it is read."""
    settings, stop, passes = Settings(database_url=database_url), threading.Event(), list[int]()  # type: ignore[arg-type]
    opened = list[Connection]()

    def connected(url: str, role: Role) -> Connection:
        opened.append(connect(url, role))
        return opened[-1]

    advance = _Sealing.advance
    monkeypatch.setattr("adapters.proof.sealer.connect", connected)
    monkeypatch.setattr(_Sealing, "advance", lambda *args: advance(*args) or True)  # there is always more
    sealer = Sealer(database_url, tmp_path, interval_s=0.1)
    with Daybook.open(settings) as book, query.opened(book):
        sealing = threading.Thread(target=sealer.follow, args=(stop, lambda: passes.append(len(waiting()))))
        waiting = lambda: opened[0]._notifies_backlog or ()  # noqa: E731
        sealing.start()
        try:
            number = 0
            while len(passes) < 40:
                terms = OrderTerms("trend", INSTRUMENT, Side.BUY, OrdType.LIMIT, order_qty=D(1), price=D(50))
                request = SubmitOrder(OrderKey(query.ACCOUNTS[0], f"N{number}"), terms, now())
                book.writer.request(request, actor="desk")
                number += 1
        finally:
            stop.set()
            sealing.join()
    assert median(passes[20:]) < number / 10, passes


def test_the_filter_of_keys_grows_with_them_and_forgets_none() -> None:
    few, many = Bloom(), Bloom()
    few.add(("a", 1))
    for number in range(20_000):
        many.add(("a", number))
    assert few.size < 32_000 and few.size < many.size < 20_000 * 16
    assert all(many.may_have(("a", number)) for number in range(20_000))
    assert sum(many.may_have(("b", number)) for number in range(20_000)) < 100, "false positives"

"""What a command begins is supposed to be new and not read first; where it is not, the append finds out."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from adapters.log.postgres import PostgresLog
from adapters.writer import group_commit
from adapters.writer.group_commit import GroupCommit
from domain.account import RawReportKept
from domain.errors import RequestRefused
from domain.ledger import Aggregates, Answer, Command, Ledger
from domain.order import OrderAccepted, OrderKey
from domain.risk import EngageSwitch, Mode, Scope
from tests.desk import T0, new_order, open_desk
from tests.group_commit import check_log, in_threads, leading, request


@pytest.fixture(name="group")
def group_that_has_forgotten_its_orders(database_url: str, log: PostgresLog) -> Iterator[GroupCommit]:
    """Orders A0 to A4 are on record, and in no process's memory."""
    open_desk(log)
    outside = Ledger(log, lambda: T0)
    for n in range(5):
        outside.request(new_order(f"A{n}"), actor="cli")
    with leading(database_url, log) as group:
        yield group


@pytest.fixture(name="reads")
def reads_listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams that were read one by one or together."""
    found: list[str] = []
    read, read_all = PostgresLog.read, PostgresLog.read_all

    def one(self: PostgresLog, stream: str, **how: Any) -> Any:
        found.append(stream)
        return read(self, stream, **how)

    def several(self: PostgresLog, streams: Any, **how: Any) -> Any:
        found.extend(streams)
        return read_all(self, streams, **how)

    monkeypatch.setattr(PostgresLog, "read", one)
    monkeypatch.setattr(PostgresLog, "read_all", several)
    return found


def raw(text: str) -> RawReportKept:
    return RawReportKept("main", "SIM", "file.csv:1", text, "price: 'b' is not a number")


def keep(group: GroupCommit, *reports: RawReportKept) -> list[Answer]:
    answers: list[Answer] = group.submit(Command(reports, "venue")).result(60)
    return answers


def test_what_is_new_is_not_read(group: GroupCommit, log: PostgresLog, reads: list[str]) -> None:
    for n in range(3):
        assert request(group, new_order(f"B{n}")).records
        assert keep(group, raw(f"b{n}"))[0].records
    assert [stream for stream in reads if stream.startswith(("order:", "evidence:"))] == []
    check_log(log)


def test_what_is_on_record_is_found_out_and_answered_as_ever(
    group: GroupCommit, log: PostgresLog, reads: list[str]
) -> None:
    head = log.head().seq
    assert request(group, new_order("A0")).records == ()
    assert log.head().seq == head
    assert "order:main:A0" in reads
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order"):
        request(group, new_order("A1", qty="2"))
    assert log.head().seq == head
    check_log(log)


@pytest.mark.parametrize("wrong", ["0.0001", "-1"])
def test_a_refusal_is_never_decided_on_what_was_supposed(group: GroupCommit, wrong: str) -> None:
    with pytest.raises(RequestRefused, match="one cl_ord_id names one order"):
        request(group, new_order("A0", qty=wrong))
    with pytest.raises(RequestRefused, match="order_qty"):
        request(group, new_order("B0", qty=wrong))


def test_an_order_in_effect_stays_so_under_any_later_limit(group: GroupCommit, log: PostgresLog) -> None:
    request(group, EngageSwitch("main", Scope(), Mode.HALT, "stop", T0))
    assert request(group, new_order("A0")).records == ()
    with pytest.raises(RequestRefused, match="switch"):
        request(group, new_order("B0"))
    check_log(log)


def test_raw_material_is_kept_once(group: GroupCommit, log: PostgresLog) -> None:
    outside = Ledger(log, lambda: T0)
    outside.report([raw("x"), raw("y")], actor="import")
    taken = keep(group, raw("w"), raw("x"), raw("z"), raw("w"))
    assert [len(answer.records) for answer in taken] == [1, 0, 1, 0]
    assert [len(answer.records) for answer in keep(group, raw("y"), raw("z"))] == [0, 0]
    check_log(log)


def test_neighbours_of_a_wrong_supposition_each_get_their_own_answer(group: GroupCommit, log: PostgresLog) -> None:
    def twice(name: str, is_new: bool) -> None:
        assert bool(request(group, new_order(name)).records) is is_new
        assert request(group, new_order(name)).records == ()

    old = [partial(twice, f"A{n}", False) for n in range(5)]
    new = [partial(twice, f"C{n}", True) for n in range(5)]
    assert in_threads(*old, *new) == [None] * 10
    check_log(log)


def test_after_a_wrong_supposition_what_comes_next_is_read_together(
    group: GroupCommit, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "WARY_MAX", 3)
    fetched: list[list[str]] = []
    fetch = Aggregates.fetch

    def listed(self: Aggregates, streams: Iterable[str]) -> None:
        fetched.append(list(streams))
        fetch(self, fetched[-1])

    monkeypatch.setattr(Aggregates, "fetch", listed)
    assert request(group, new_order("A0")).records == ()
    for n in range(4):
        request(group, new_order(f"D{n}"))
    named = [names for names in fetched if any(name.startswith("order:main:D") for name in names)]
    assert named == [["order:main:D0"], ["order:main:D1"], ["order:main:D2"]]


def accepted(order: str, order_id: str) -> OrderAccepted:
    return OrderAccepted(key=OrderKey("main", order), order_id=order_id, transact_time=T0)


def test_a_venues_id_is_supposed_to_be_new_and_leads_to_one_order_all_the_same(
    group: GroupCommit, log: PostgresLog, reads: list[str]
) -> None:
    group.submit(Command((accepted("A0", "V0"),), "venue")).result(60)
    (first, second) = group.submit(Command((accepted("A1", "V1"), accepted("A2", "V2")), "venue")).result(60)
    assert first.error is None and second.error is None
    assert [stream for stream in reads if stream.startswith("venueorder:")] == []
    group._known.forget(["venueorder:SIM:main:V0"])
    (answer,) = group.submit(Command((accepted("A3", "V0"),), "venue")).result(60)
    assert [type(record.event).__name__ for record in log.read("order:main:A3")][-1] == "OrderBroken"
    assert answer.records
    assert [len(log.read(f"venueorder:SIM:main:V{n}")) for n in range(3)] == [1, 1, 1]
    check_log(log)

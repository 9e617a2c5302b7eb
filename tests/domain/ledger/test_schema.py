"""The stored format: every topic has a golden file, loads for ever, and writes back the same bytes."""

import json

import pytest
from msgspec.structs import replace

from domain.account import Personal
from domain.errors import HistoryBroken
from domain.ledger import schema
from tests import GOLDEN, samples
from tests.samples import later

LATER = later.records(samples.RECORDS)
OLD_TOPICS = [schema.topic_of_class(event_class) for event_class in schema.OLDER]


@pytest.mark.parametrize("topic", sorted(schema.EVENTS))
def test_every_topic_has_a_golden_file_that_still_loads(topic):
    stored = (GOLDEN / f"{topic}.json").read_bytes().strip()
    recorded = schema.decode(topic, stored)
    assert type(recorded.event) in schema.NEWEST
    if topic not in OLD_TOPICS:
        assert schema.encode(recorded) == stored


@pytest.mark.parametrize("topic", OLD_TOPICS)
def test_an_old_shape_is_read_as_the_newest_and_written_as_it(topic):
    stored = (GOLDEN / f"{topic}.json").read_bytes().strip()
    recorded = schema.decode(topic, stored)
    newest = schema.topic_of(recorded.event)
    assert newest > topic and newest.partition(".")[0] == topic.partition(".")[0]
    again = schema.encode(recorded)
    assert schema.decode(newest, again) == recorded
    old, new = json.loads(stored), json.loads(again)
    assert {name: old[name] for name in old if name != "event"} == {name: new[name] for name in new if name != "event"}


def test_the_upcast_of_a_booking_keeps_every_figure_and_its_lot():
    old = json.loads((GOLDEN / "TradeBooked.json").read_bytes())["event"]
    new = schema.decode("TradeBooked", (GOLDEN / "TradeBooked.json").read_bytes()).event
    assert [lot.lot_id for lot in new.effect.opened] == [old["effect"]["opened"]["lot_id"]]
    assert str(new.effect.realized) == old["effect"]["realized"]
    assert new.kind == "TRADE"


@pytest.mark.parametrize("recorded", samples.RECORDS, ids=lambda recorded: schema.topic_of(recorded.event))
def test_events_written_today_are_those_of_the_golden_files(recorded):
    stored = (GOLDEN / f"{schema.topic_of(recorded.event)}.json").read_bytes().strip()
    assert schema.encode(recorded) == stored
    assert schema.decode(schema.topic_of(recorded.event), stored) == recorded


@pytest.mark.parametrize("name", LATER)
def test_an_event_with_a_field_added_later_is_that_of_its_golden_file(name):
    recorded, topic = LATER[name], name.partition("+")[0]
    stored = (GOLDEN / "later" / f"{name}.json").read_bytes().strip()
    assert schema.encode(recorded) == stored
    assert schema.decode(topic, stored) == recorded


def test_no_golden_file_of_a_field_added_later_is_without_a_sample():
    assert {path.stem for path in (GOLDEN / "later").iterdir()} == set(LATER)


def test_every_newest_event_has_a_sample():
    assert {type(recorded.event) for recorded in samples.RECORDS} == set(schema.NEWEST)


def test_an_owner_is_one_more_field_and_an_account_without_one_is_written_as_ever():
    opened = samples.EVENTS[0]
    stored = (GOLDEN / "AccountOpened.json").read_bytes().strip()
    owned = replace(samples.RECORDS[0], event=replace(opened, owner=Personal("client-17", "c2VhbGVk")))
    expected = stored.removesuffix(b"}}") + b',"owner":{"subject_id":"client-17","sealed":"c2VhbGVk"}}}'
    assert schema.encode(owned) == expected
    assert schema.decode("AccountOpened", expected) == owned


def test_the_bytes_name_their_format():
    recorded = samples.RECORDS[0]
    assert json.loads(schema.encode(recorded))["event"]["type"] == schema.topic_of(recorded.event)


def test_an_unknown_topic_is_a_clear_stop():
    with pytest.raises(HistoryBroken, match="unknown topic 'OrderTeleported'"):
        schema.decode("OrderTeleported", b"{}")


@pytest.mark.parametrize("state", [b"", b"{}", b"null", b'{"stream":1}'])
def test_bytes_that_are_no_record_are_a_clear_stop(state):
    with pytest.raises(HistoryBroken, match="does not decode"):
        schema.decode("OrderAccepted", state)


def test_an_event_stored_under_another_topic_is_a_clear_stop():
    recorded = samples.RECORDS[0]
    with pytest.raises(HistoryBroken, match="has the type"):
        schema.decode("OrderAccepted", schema.encode(recorded))

"""Signing keys: on record in the log, pinned in a home, and never changed by who has only the database."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.proof import checkpoints, key_record, tiles
from adapters.proof.checkpoints import Note, Pin, PublicKey, Tenure
from adapters.proof.key_record import KeyRecorder
from adapters.proof.pins import Pins
from adapters.proof.sealer import Sealer
from adapters.proof.signing_keys import KeyAbsent
from adapters.verify import bundles
from adapters.verify.bundles import Selection
from adapters.verify.diagnosis import Fault
from adapters.verify.verification import VerifyRequest, verify
from domain.errors import ClockInDoubt, HistoryBroken, RequestRefused
from domain.ledger import SIGNING_STREAM, SigningKeyHandedOver, SigningKeyLost, SigningKeyStarted
from tests.adapters.verify.rewriting import WAYS, new_key, rewritten, signed_again
from tests.desk import T0
from tests.records import record

pytestmark = pytest.mark.slow


class Ledger:
    """A ledger whose keys are on record, in a home."""

    def __init__(self, log: PostgresLog, url: str, home: Path) -> None:
        self.log, self.url, self.home = log, url, home
        recorder = KeyRecorder(log, lambda: T0 + timedelta(hours=1), "desk")
        self.sealer = Sealer(url, home, recorder=recorder)

    def append(self, count: int) -> None:
        head = self.log.head()
        at_s = 0.0 if head.recorded_at is None else (head.recorded_at - T0).total_seconds()
        self.log.append([record(f"s{head.seq + n}", 1, at_s) for n in range(count)])

    def seal(self) -> Note:
        note = self.sealer.seal()
        assert note is not None
        return note

    def chain(self) -> list[Tenure]:
        with connections.connect(self.url, Role.AUDITOR) as connection:
            return tiles.tenures(connection)

    def events(self) -> list[object]:
        return [each.event for each in self.log.read(SIGNING_STREAM)]

    def as_superuser(self, *statements: str) -> None:
        with psycopg.connect(self.url) as connection:
            for table in ("events", "tiles", "checkpoints", "keys", "identity"):
                connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]


@pytest.fixture
def ledger(log: PostgresLog, database_url: str, tmp_path: Path) -> Ledger:
    """A sealed ledger of 8 events: the first is its key's."""
    made = Ledger(log, database_url, tmp_path / "home")
    made.sealer.begin()
    made.append(4)
    made.seal()
    made.append(3)
    made.seal()
    return made


def broken(verified: Callable[[], object]) -> str:
    """What a verification says; empty if it finds nothing."""
    try:
        found = verified()
    except HistoryBroken as error:
        return str(error)
    return str(getattr(found, "finding", None) or "")


def test_the_first_key_is_on_record_before_it_signs(ledger: Ledger) -> None:
    (tenure,) = ledger.chain()
    (one,) = ledger.log.read(SIGNING_STREAM)
    assert (one.event, one.actor) == (SigningKeyStarted(tenure.key.vkey, 0), "desk")
    assert verify(ledger.url).keys_on_record == (1,)
    ledger.sealer.begin()  # once only
    assert len(ledger.events()) == 1


def test_a_new_key_is_on_record_with_the_statement_of_the_old(ledger: Ledger) -> None:
    second, third = ledger.sealer.rotate(), ledger.sealer.rotate(is_lost=True)
    first = ledger.chain()[0].key.vkey
    assert second.handover is not None and checkpoints.parse(second.handover).is_signed_by(ledger.chain()[0].key)
    assert ledger.events()[1:] == [
        SigningKeyHandedOver(second.key.vkey, 8, first, second.handover),
        SigningKeyLost(third.key.vkey, 8, second.key.vkey),
    ]
    assert ledger.seal().is_signed_by(third.key)


def test_a_break_in_the_chain_is_believed_only_by_who_pins_the_new_key(ledger: Ledger, tmp_path: Path) -> None:
    old, new = ledger.chain()[0].key, ledger.sealer.rotate(is_lost=True).key
    ledger.seal()
    bundle = tmp_path / "bundle"
    bundles.export(ledger.url, bundle)

    def said(*keys: PublicKey) -> list[str]:
        pins = [Pin(key, "pinned") for key in keys]
        with bundles.opened(bundle) as opened:
            return [
                broken(lambda: verify(ledger.url, VerifyRequest(pins=pins))), broken(lambda: opened.prove(pins=pins)),
            ]  # fmt: skip

    for text in (*said(old), *said()):
        assert "does not vouch" in text and old.vkey in text and new.vkey in text and "--key" in text
    assert said(new) == said(old, new) == ["", ""]


def test_keys_of_an_earlier_daybook_are_recorded_at_the_first_start(
    log: PostgresLog, database_url: str, tmp_path: Path
) -> None:
    ledger = Ledger(log, database_url, tmp_path / "home")
    earlier = Sealer(database_url, tmp_path / "home")  # records nothing
    ledger.append(4)
    earlier.seal()
    earlier.rotate()
    earlier.rotate(is_lost=True)
    ledger.append(1)
    earlier.seal()
    pins = [Pin(ledger.chain()[-1].key, "pinned")]
    assert verify(database_url, VerifyRequest(pins=pins)).finding is None
    ledger.sealer.begin()
    ledger.seal()
    kinds = [type(event) for event in ledger.events()]
    assert kinds == [SigningKeyStarted, SigningKeyHandedOver, SigningKeyLost]
    assert verify(database_url, VerifyRequest(pins=pins)).finding is None


@pytest.mark.parametrize(
    ("statement", "said", "said_to_seal"),
    [
        ("DELETE FROM ledger.keys WHERE place = 2", "published keys end before it", "published keys end before it"),
        ("UPDATE ledger.keys SET since_size = 7 WHERE place = 2", "does not vouch", "differ in how"),
        ("UPDATE ledger.keys SET handover = NULL WHERE place = 2", "does not vouch", "differ in how"),
        ("UPDATE ledger.keys SET place = 3 WHERE place = 2", "was removed", "was removed"),
    ],
)
def test_a_table_of_keys_that_is_not_what_the_log_has_is_named(
    ledger: Ledger, statement: str, said: str, said_to_seal: str
) -> None:
    ledger.sealer.rotate()
    ledger.as_superuser(statement)
    assert said in broken(lambda: verify(ledger.url))
    assert said_to_seal in broken(ledger.sealer.begin)


def test_a_key_that_is_published_and_not_on_record_is_named(ledger: Ledger) -> None:
    """Also by who holds the old key: a statement of it alone does not put a key on record."""
    pem = next((ledger.home / "keys").rglob("*.pem"))
    Sealer(ledger.url, ledger.home).rotate()  # publishes, and records nothing
    found = verify(ledger.url).finding
    assert found is not None and found.fault is Fault.KEYS
    assert ledger.chain()[1].key.vkey in found.detail and "not on record" in found.detail and pem.exists()
    ledger.sealer.begin()  # the old key has vouched for it, so that Daybook records it
    ledger.seal()
    assert verify(ledger.url).finding is None


def test_a_key_that_daybook_did_not_publish_is_not_recorded_and_not_used(ledger: Ledger) -> None:
    forged = new_key(ledger.chain()[0].key.name).public.vkey
    ledger.as_superuser(f"INSERT INTO ledger.keys (place, vkey, since_size) VALUES (2, '{forged}', 8)")
    ledger.append(1)
    for go_on in (ledger.sealer.begin, ledger.sealer.seal, ledger.sealer.rotate):
        with pytest.raises(HistoryBroken, match="does not vouch"):
            go_on()
    assert len(ledger.events()) == 1


def test_a_forged_event_of_a_key_is_named(ledger: Ledger) -> None:
    event = SigningKeyStarted(new_key(ledger.chain()[0].key.name).public.vkey, 0)
    (one, *_) = ledger.log.read(SIGNING_STREAM)
    ledger.log.append([replace(one, version=2, event=event)])
    ledger.append(1)
    with pytest.raises(HistoryBroken, match="keys disagree at seq 9"):
        ledger.sealer.begin()
    Sealer(ledger.url, ledger.home).seal()
    found = verify(ledger.url).finding
    assert found is not None and (found.fault, found.seq) == (Fault.KEYS, 9)


def test_history_before_a_handover_is_bound_by_the_statement(ledger: Ledger) -> None:
    """Who has only the new key cannot rewrite what the old one signed, and drop its checkpoints."""
    ledger.sealer.rotate()
    ledger.append(1)
    ledger.seal()
    new = ledger.chain()[1].key
    path = next(path for path in (ledger.home / "keys").rglob("*.pem") if path.stem == new.key_id.hex())
    ledger.as_superuser("DELETE FROM ledger.checkpoints WHERE size <= 8")
    signed_again(ledger.url, path.read_bytes())
    found = verify(ledger.url, VerifyRequest(pins=[Pin(new, "pinned")])).finding
    assert found is not None and found.fault is Fault.REWRITTEN and found.upto == 8


def test_a_home_without_keys_stands_by_and_does_not_sign(ledger: Ledger, tmp_path: Path) -> None:
    ledger.sealer.rotate(is_lost=True)
    standby = Ledger(ledger.log, ledger.url, tmp_path / "standby")
    standby.sealer.begin()
    ledger.append(1)
    with pytest.raises(KeyAbsent):
        standby.sealer.seal()
    assert not Pins(standby.home).of(ledger.chain()[0].key.name)


@pytest.mark.parametrize("way", WAYS)
def test_a_history_signed_again_with_a_new_key_is_not_believed(ledger: Ledger, tmp_path: Path, way: str) -> None:
    kept, old = ledger.seal(), ledger.chain()[0].key
    pins = Pins(ledger.home).of(old.name)
    new = rewritten(ledger.url, way).public
    bundle = tmp_path / "bundle"
    bundles.export(ledger.url, bundle)
    bundles.export(ledger.url, part := tmp_path / "part", Selection(first=2))
    for request in (VerifyRequest(pins=pins), VerifyRequest(trusted=old), VerifyRequest(against=[kept])):
        said = broken(lambda request=request: verify(ledger.url, request))  # type: ignore[misc]
        assert said and (new.vkey in said or way == "renamed"), said
        for path in (bundle, part):
            with bundles.opened(path) as opened:
                said = broken(
                    lambda opened=opened, request=request: opened.prove(  # type: ignore[misc]
                        request.trusted, against=request.against, pins=request.pins
                    )
                )
            assert said and (new.vkey in said or way == "renamed"), said
    ledger.append(1)
    for go_on in (ledger.sealer.begin, ledger.sealer.seal, Sealer(ledger.url, ledger.home).seal):
        with pytest.raises(HistoryBroken):
            go_on()


@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_log_whose_keys_were_removed_is_not_signed_as_a_new_one(ledger: Ledger, *, is_hidden: bool) -> None:
    """Not even if the event of the first key is overwritten as well: the home remembers the ledger."""
    proof = [f"DELETE FROM ledger.{table}" for table in ("tiles", "checkpoints", "group_runs", "keys", "identity")]
    hidden = ["UPDATE ledger.events SET originator_id = 'x' WHERE notification_id = 1"] if is_hidden else []
    ledger.as_superuser(*proof, *hidden)
    for go_on in (ledger.sealer.begin, ledger.sealer.seal, Sealer(ledger.url, ledger.home).seal):
        with pytest.raises(HistoryBroken, match=r"ledger\.keys was emptied|remove the line"):
            go_on()
    assert not ledger.chain() and "no checkpoint was ever signed" in broken(lambda: verify(ledger.url))


def test_a_database_that_names_itself_another_ledger_is_not_believed(ledger: Ledger) -> None:
    place, pins = connections.name(ledger.url), Pins(ledger.home)
    pins.check_place(place, ledger.chain()[0].key.name)
    other = new_key("daybook/other").public
    with pytest.raises(HistoryBroken, match="names itself daybook/other"):
        pins.check_place(place, other.name)
    pins.add(other)  # by hand: it was replaced on purpose
    pins.check_place(place, other.name)


def test_a_file_of_pins_that_is_damaged_is_not_skipped(ledger: Ledger) -> None:
    pins = Pins(ledger.home)
    for line in ("pin nothing\n", "pin\n", "other daybook\n", f"pin {ledger.chain()[0].key.vkey} many\n"):
        whole = pins.path.read_text()
        pins.path.write_text(whole + line)
        with pytest.raises(HistoryBroken, match="line"):
            pins.of("daybook/x")
        pins.path.write_text(whole)


def test_a_key_is_not_recorded_while_the_clock_is_behind_the_log(
    log: PostgresLog, database_url: str, tmp_path: Path
) -> None:
    log.append([record("s", 1, 60)])
    sealer = Sealer(database_url, tmp_path, recorder=KeyRecorder(log, lambda: T0, "desk"))
    with pytest.raises(ClockInDoubt):
        sealer.begin()
    with connections.connect(database_url, Role.AUDITOR) as connection:
        assert not tiles.tenures(connection) and not key_record.on_record(connection)
    with pytest.raises(RequestRefused):
        sealer.rotate()
    assert not list(tmp_path.rglob("*.pem")) and not Pins(tmp_path).path.exists()
    ledger = Ledger(log, database_url, tmp_path)  # and when the clock is right, it goes on
    ledger.sealer.begin()
    ledger.seal()
    assert verify(database_url, VerifyRequest(pins=Pins(tmp_path).of(ledger.chain()[0].key.name))).finding is None

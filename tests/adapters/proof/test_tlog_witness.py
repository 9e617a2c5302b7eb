"""Witnesses of the C2SP protocol cosign checkpoints; a history that does not continue what they saw is an alarm."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections
from adapters.postgres.connections import Role
from adapters.proof import checkpoints, cosigned, tiles
from adapters.proof.cosignatures import cosigned_by, witness_key
from adapters.proof.policies import parse
from adapters.proof.sealer import Sealer
from adapters.proof.tlog_witness import SCHEME, TlogWitness, ViewsDiffer
from adapters.proof.witnesses import Witnesses, places, places_of
from adapters.upkeep.supervisor import State, Supervisor
from domain.errors import InvalidInput, Unavailable
from tests.adapters.proof.witness import TestWitness, serving
from tests.adapters.verify.rewriting import signed_again
from tests.records import record
from tests.waiting import until


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Ledger:
    """A ledger whose checkpoints are handed to witnesses."""

    def __init__(self, log: PostgresLog, url: str, home: Path) -> None:
        self.log, self.url, self.home = log, url, home

    def append(self, count: int) -> None:
        head = self.log.head().seq
        self.log.append([record(f"s{head + n}", 1, head + n) for n in range(count)])

    def seal(self, witnesses: Witnesses | None = None) -> str:
        """The newest checkpoint, handed to the witnesses."""
        Sealer(self.url, self.home, witnesses.hand if witnesses else lambda _: None).seal()
        with connections.connect(self.url, Role.AUDITOR) as connection:
            row = connection.execute(tiles.LATEST).fetchone()
        assert row is not None
        return str(row[1])

    def vkey(self) -> str:
        with connections.connect(self.url, Role.AUDITOR) as connection:
            return tiles.tenures(connection)[-1].key.vkey

    def cosigned(self) -> list[int]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT size FROM ledger.cosignatures ORDER BY size").fetchall()
        return [size for (size,) in rows]

    def note(self, size: int) -> checkpoints.Note:
        with connections.connect(self.url, Role.AUDITOR) as connection:
            row = connection.execute("SELECT note FROM ledger.checkpoints WHERE size = %s", [size]).fetchone()
            assert row is not None
            return checkpoints.parse(cosigned.with_cosignatures(connection, size, row[0]))


@pytest.fixture
def ledger(log: PostgresLog, database_url: str, tmp_path: Path) -> Ledger:
    made = Ledger(log, database_url, tmp_path)
    made.append(5)
    made.seal()
    return made


def known(ledger: Ledger, name: str = "witness.example/w1", kind: int = 4) -> TestWitness:
    witness = TestWitness(name, kind=kind)
    witness.trust(ledger.vkey())
    return witness


def place_of(witness: TestWitness, stack: ExitStack) -> str:
    return f"{SCHEME}{stack.enter_context(serving(witness))}#{witness.vkey}"


@pytest.mark.parametrize("kind", [4, 6])
def test_a_witness_cosigns_every_checkpoint_that_it_is_sent(ledger: Ledger, stack: ExitStack, kind: int) -> None:
    witness = known(ledger, kind=kind)
    client = TlogWitness(place_of(witness, stack), ledger.url)
    stack.callback(client.close)
    sizes = []
    for count in (0, 1, 300, 7):
        ledger.append(count)
        client(ledger.seal())
        sizes.append(ledger.log.head().seq)
    assert ledger.cosigned() == sizes and witness.answered == [200] * 4
    for size in sizes:
        (found,) = cosigned_by(ledger.note(size), [witness_key(witness.vkey)])
        assert found.time > 1_700_000_000


def test_a_witness_that_remembers_another_size_is_brought_up_to_date(ledger: Ledger, stack: ExitStack) -> None:
    witness = known(ledger)
    place = place_of(witness, stack)
    first, second = TlogWitness(place, ledger.url), TlogWitness(place, ledger.url)
    stack.callback(first.close), stack.callback(second.close)  # type: ignore[func-returns-value]
    first(ledger.seal())
    ledger.append(300)
    second(ledger.seal())  # knows from the database what was cosigned
    old = ledger.seal()
    ledger.append(3)
    first(ledger.seal())  # assumes 5 events, and gets the answer 305
    assert witness.answered == [200, 200, 409, 200]
    second(old)  # the witness has a newer one: the newest is sent instead
    assert witness.answered[4:] == [409, 200]
    assert set(ledger.cosigned()) == {5, 305, 308}


def test_a_new_key_and_an_unknown_log_are_named(ledger: Ledger, stack: ExitStack) -> None:
    witness = TestWitness("w")
    client = TlogWitness(place_of(witness, stack), ledger.url)
    stack.callback(client.close)
    with pytest.raises(Unavailable, match="register it"):
        client(ledger.seal())
    witness.trust(ledger.vkey())
    client(ledger.seal())
    Sealer(ledger.url, ledger.home).rotate()
    ledger.append(1)
    with pytest.raises(Unavailable, match="keys seal show"):
        client(ledger.seal())
    witness.trust(ledger.vkey())
    client(ledger.seal())
    assert ledger.cosigned() == [5, 6]


def test_a_cosignature_of_another_key_is_not_stored(ledger: Ledger, stack: ExitStack) -> None:
    witness, other = known(ledger), TestWitness("witness.example/w1")
    prefix = stack.enter_context(serving(witness))
    client = TlogWitness(f"{SCHEME}{prefix}#{other.vkey}", ledger.url)
    stack.callback(client.close)
    with pytest.raises(Unavailable, match="another key"):
        client(ledger.seal())
    assert ledger.cosigned() == []


def test_a_rewritten_history_is_an_alarm_until_it_is_resolved(ledger: Ledger, stack: ExitStack) -> None:
    witness, upkeep = known(ledger), Supervisor()
    place = place_of(witness, stack)
    witnesses = Witnesses([place], upkeep=upkeep, url=ledger.url)
    stack.callback(witnesses.close)
    witnesses.catch_up(ledger.seal())
    until(lambda: ledger.cosigned() == [5])
    (key_file,) = (ledger.home / "keys").rglob("*.pem")
    kept = rewritten_by_owner(ledger, key_file)  # who has the private key as well
    ledger.append(1)
    ledger.seal(witnesses)
    until(lambda: upkeep.health()[0].state == State.ALARM)
    (health,) = upkeep.health()
    assert health.is_needed and health.is_trouble
    assert "does not continue" in str(health.last_error) and "witness.example/w1" in str(health.last_error)
    assert health.public_name == "witness 1"
    witness.seen = dict.fromkeys(witness.seen, (0, b""))  # it has given in: the alarm is over
    until(lambda: upkeep.health()[0].state == State.RUNNING)
    assert not upkeep.health()[0].is_needed and kept != ledger.note(5).text


def rewritten_by_owner(ledger: Ledger, key_file: Path) -> str:
    """Alter an event, and sign everything again with the same key; return the text of the checkpoint before."""
    before = ledger.note(5).text
    signed_again(ledger.url, key_file.read_bytes())
    return before


def test_a_log_that_is_shorter_than_what_was_cosigned_is_an_alarm(ledger: Ledger, stack: ExitStack) -> None:
    witness = known(ledger)
    client = TlogWitness(place_of(witness, stack), ledger.url)
    stack.callback(client.close)
    text = ledger.seal()
    witness.seen[ledger.note(5).checkpoint.origin] = (8, b"\0" * 32)
    with pytest.raises(ViewsDiffer, match="has cosigned 8 events, and our newest checkpoint is of 5"):
        client(text)


def test_a_witness_that_is_away_delays_nothing_and_is_sent_only_the_newest(ledger: Ledger, stack: ExitStack) -> None:
    witness, other = known(ledger), known(ledger, "witness.example/w2")
    witness.is_away = True
    witnesses = Witnesses([place_of(each, stack) for each in (witness, other)], url=ledger.url)
    stack.callback(witnesses.close)
    for size in (6, 7, 8):
        ledger.append(1)
        ledger.seal(witnesses)
        until(lambda size=size: size in ledger.cosigned())  # type: ignore[misc]
    until(lambda: 503 in witness.answered)
    assert not witness.seen
    witness.is_away = False
    until(lambda: [size for size, _ in witness.seen.values()] == [8])
    until(lambda: ledger.cosigned() == [6, 7, 8, 8])


def test_places_of_witnesses_are_read_from_the_setting_and_from_a_policy() -> None:
    vkey, other = TestWitness("w.example/1").vkey, TestWitness("w.example/2").vkey
    place = f"witness+https://w.example/api#{vkey}"
    assert places(f"file:/a {place}") == ["file:/a", place]
    for wrong in ("witness+https://w.example/api", "witness+https://w.example/api#w+1+A", "witness+https:#" + vkey):
        with pytest.raises(InvalidInput):
            places(wrong)
    policy = parse(f"witness A {vkey} https://w.example/api\nwitness B {other}\nquorum A\n".encode())
    assert places_of(policy) == [place]

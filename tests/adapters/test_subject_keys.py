"""The custodian: what is sealed opens where it was sealed, for as long as its subject is not forgotten."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role, connect
from adapters.subject_keys import PADDED_BYTES, Read, Subjects
from domain.account import ForgetSubject, Personal, subject
from domain.errors import HistoryBroken, RequestRefused
from domain.ledger import Ledger
from tests.desk import T0

PLACE = "account main owner"


@pytest.fixture(name="custodian")
def keys_of_subjects(database_url: str) -> Iterator[Subjects]:
    custodian = Subjects(database_url)
    yield custodian
    custodian.close()


@pytest.mark.parametrize("text", ["Ada", "Ада Лавлейс", "x" * 256, "a b", "ﷺ" * 200])
def test_a_text_opens_as_it_was_sealed_and_seals_alike_again(custodian: Subjects, text: str) -> None:
    sealed = custodian.seal("c-1", PLACE, text)
    assert custodian.open(sealed, PLACE) == Read("c-1", text, is_forgotten=False)
    assert custodian.seal("c-1", PLACE, text) == sealed
    assert text not in sealed.sealed


def test_sealed_data_reveals_nothing_but_a_rounded_length(custodian: Subjects) -> None:
    sealed = [custodian.seal("c-1", PLACE, "x" * n) for n in (1, 7, PADDED_BYTES)]
    assert len({len(each.sealed) for each in sealed}) == 1
    elsewhere = [custodian.seal(*where, "x") for where in (("c-1", "other"), ("c-2", PLACE))]
    assert len({each.sealed for each in [sealed[0], *elsewhere]}) == 3


def test_what_is_moved_or_changed_does_not_open(custodian: Subjects) -> None:
    sealed = custodian.seal("c-1", PLACE, "Ada")
    custodian.seal("c-2", PLACE, "Bob")
    for moved, place in [
        (sealed, "account other owner"),
        (replace(sealed, subject_id="c-2"), PLACE),
        (replace(sealed, sealed=("C" if sealed.sealed[0] == "B" else "B") + sealed.sealed[1:]), PLACE),
        (replace(sealed, sealed=sealed.sealed[:-8]), PLACE),
        (replace(sealed, sealed="no base64"), PLACE),
        (replace(sealed, sealed=""), PLACE),
    ]:
        with pytest.raises(HistoryBroken, match="was not sealed for"):
            custodian.open(moved, place)


@pytest.mark.parametrize("text", ["", " ", "two\nlines", "nul\0", "x" * 257])
def test_what_is_no_line_of_text_is_refused(custodian: Subjects, text: str) -> None:
    with pytest.raises(RequestRefused, match="one line of 1 to 256"):
        custodian.seal("c-1", PLACE, text)


def test_many_who_are_first_at_once_make_one_key(custodian: Subjects) -> None:
    with ThreadPoolExecutor(6) as pool:
        sealed = set(pool.map(lambda _: custodian.seal("c-1", PLACE, "Ada").sealed, range(12)))
    assert len(sealed) == 1


def test_a_forgotten_subject_is_forgotten_for_good(custodian: Subjects) -> None:
    ada, bob = custodian.seal("c-1", PLACE, "Ada"), custodian.seal("c-2", PLACE, "Bob")
    assert custodian.forget("c-1") == ["c-1"]
    assert custodian.open(ada, PLACE) == Read("c-1", None, is_forgotten=True)
    assert custodian.open(bob, PLACE).text == "Bob"
    assert custodian.forget("c-1", "c-2") == ["c-2"]
    with pytest.raises(RequestRefused, match="was forgotten"):
        custodian.seal("c-1", PLACE, "Ada")
    assert custodian.is_known("c-1") and not custodian.is_known("c-3")


def test_a_key_that_is_not_here_is_not_called_forgotten(custodian: Subjects) -> None:
    assert custodian.open(Personal("c-9", "c2VhbGVk"), PLACE) == Read("c-9", None, is_forgotten=False)
    assert custodian.forget("c-9") == ["c-9"]  # what a restored log says is forgotten stays so
    assert custodian.open(Personal("c-9", "c2VhbGVk"), PLACE).is_forgotten


def test_a_deleted_key_is_not_in_the_file_of_its_table_any_more(custodian: Subjects, database_url: str) -> None:
    custodian.seal("c-1", PLACE, "Ada")
    custodian.seal("c-2", PLACE, "Bob")
    with psycopg.connect(database_url, autocommit=True) as owner:
        ((key,), (other,)) = owner.execute("SELECT key FROM personal.subjects ORDER BY subject").fetchall()

        def stored() -> bytes:
            owner.execute("CHECKPOINT")
            row = owner.execute("SELECT pg_read_binary_file(pg_relation_filepath('personal.subjects'))").fetchone()
            assert row is not None
            return bytes(row[0])

        assert key in stored() and other in stored()
        custodian.forget("c-1")
        assert key not in stored() and other in stored()


def test_the_log_names_once_who_is_forgotten_and_why(log: PostgresLog, custodian: Subjects) -> None:
    ledger = Ledger(log, lambda: T0)
    requested = ForgetSubject("c-1", "request 7", T0)
    assert ledger.request(requested, actor="alice").records
    assert not ledger.request(requested, actor="bob").records
    assert custodian.forgotten() == ["c-1"]
    (recorded,) = log.read(subject.stream("c-1"))
    assert (recorded.actor, recorded.event.reason) == ("alice", "request 7")
    with pytest.raises(RequestRefused, match="for a reason"):
        ledger.request(ForgetSubject("c-2", " ", T0), actor="alice")
    with pytest.raises(RequestRefused, match="subject_id is"):
        ledger.request(ForgetSubject("Ada Lovelace", "x", T0), actor="alice")


@pytest.mark.parametrize("role", [Role.WRITER, Role.PROJECTOR, Role.SEALER, Role.ADMIN])
def test_no_other_role_learns_of_subjects(custodian: Subjects, database_url: str, role: Role) -> None:
    custodian.seal("c-1", PLACE, "Ada")
    with connect(database_url, role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT subject FROM personal.subjects")

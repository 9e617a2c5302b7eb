"""Daybook as a witness: the answers of the C2SP tlog-witness protocol, over the trees of RFC 6962's own definitions."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.proof.checkpoints import Checkpoint, PrivateKey, parse
from adapters.proof.cosignatures import cosigned_by, parse_lines
from adapters.proof.witnessing import SIZE, Witnessing
from domain.errors import InvalidInput, RequestRefused
from tests import rfc6962

pytestmark = pytest.mark.slow

LOG = PrivateKey("example.com/log", Ed25519PrivateKey.generate())
OTHER = PrivateKey("example.com/log", Ed25519PrivateKey.generate())
DATA = [bytes([n]) for n in range(40)]


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witnessing]:
    made = Witnessing(tmp_path / "witness", "witness.example/w1", now=lambda: 1_700_000_000.5)
    made.trust([LOG.public])
    yield made
    made.close()


def note(size: int, key: PrivateKey = LOG, data: list[bytes] = DATA, origin: str = LOG.public.name) -> str:
    return key.sign(Checkpoint(origin, size, rfc6962.mth(data[:size]), ("an extension",)))


def body(old: int, size: int, text: str | None = None, data: list[bytes] = DATA) -> bytes:
    proof = rfc6962.proof(old, data[:size]) if 0 < old < size else []
    lines = "".join(f"{base64.b64encode(each).decode()}\n" for each in proof)
    return f"old {old}\n{lines}\n{text or note(size, data=data)}".encode()


def test_a_checkpoint_that_continues_the_last_one_is_cosigned(witness: Witnessing) -> None:
    for old, size in ((0, 1), (1, 1), (1, 6), (6, 33), (33, 40)):
        reply = witness.add_checkpoint(body(old, size))
        assert reply.status == 200, reply
        found = parse(note(size))._replace(signatures=tuple(parse_lines(reply.text)))
        assert [each.time for each in cosigned_by(found, [witness.key])] == [1_700_000_000]
        kept = witness.latest(hashlib.sha256(b"example.com/log").hexdigest())
        assert kept == note(size) + reply.text


@pytest.mark.parametrize(
    ("request_body", "status"),
    [
        (body(0, 9), 409),
        (body(6, 5), 400),
        (body(6, 9, note(9, OTHER)), 403),
        (body(6, 9, note(9, origin="example.com/other")), 404),
        (body(6, 9, data=[b"x", *DATA[1:]]), 422),
        (body(6, 6, note(6, data=[b"x", *DATA[1:]])), 422),
        (body(6, 9).replace(b"old 6\n", b"old 6\n\n"), 400),
        (body(6, 9).replace(b"old 6", b"old 06"), 400),
        (body(6, 9).replace(b"old 6", b"new 6"), 400),
        (b"", 400),
        (b"\xff", 400),
        (b"old 6\n" + b"AA==\n" * 70 + b"\n" + note(9).encode(), 400),
        (body(6, 9, note(9).replace("\n\n", "\nforged\n\n")), 403),
    ],
)
def test_what_is_not_cosigned_changes_nothing(witness: Witnessing, request_body: bytes, status: int) -> None:
    assert witness.add_checkpoint(body(0, 6)).status == 200
    reply = witness.add_checkpoint(request_body)
    assert reply.status == status, reply
    if status == 409:
        assert (reply.text, reply.kind) == ("6\n", SIZE)
    assert witness.add_checkpoint(body(6, 9)).status == 200


def test_an_empty_tree_has_the_root_of_nothing(witness: Witnessing) -> None:
    wrong = LOG.sign(Checkpoint(LOG.public.name, 0, rfc6962.mth(DATA)))
    assert witness.add_checkpoint(f"old 0\n\n{wrong}".encode()).status == 422
    assert witness.add_checkpoint(body(0, 0)).status == 200
    assert witness.add_checkpoint(body(0, 5)).status == 200
    assert witness.add_checkpoint(b"old 0\nAAAA\n\n" + note(5).encode()).status == 400


def test_a_witness_remembers_over_a_restart_and_knows_a_new_key_at_once(tmp_path: Path, witness: Witnessing) -> None:
    assert witness.add_checkpoint(body(0, 6)).status == 200
    with pytest.raises(RequestRefused, match="no other process"):
        Witnessing(tmp_path / "witness", "witness.example/w1")
    witness.close()
    again = Witnessing(tmp_path / "witness", "witness.example/w1")
    assert again.key == witness.key and (tmp_path / "witness" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert again.add_checkpoint(body(0, 9)).status == 409
    assert again.add_checkpoint(body(6, 9, note(9, OTHER))).status == 403
    assert again.trust([LOG.public, OTHER.public]) == 1
    assert again.add_checkpoint(body(6, 9, note(9, OTHER))).status == 200
    again.close()
    for name in ("", "a b", "a+b"):
        with pytest.raises(InvalidInput):
            Witnessing(tmp_path / "other", name).close()
    (tmp_path / "witness" / "key.pem").write_text("no key")
    with pytest.raises(RequestRefused, match="key that can be used"):
        Witnessing(tmp_path / "witness", "w")


def test_only_what_was_cosigned_is_served(witness: Witnessing) -> None:
    for name in ("key.pem", "../witness/key.pem", "logs", "0" * 64, "A" * 64):
        assert witness.latest(name) is None

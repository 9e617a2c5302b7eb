"""Policies in the C2SP tlog-policy format, cosignatures, and proofs in one file: the texts of c2sp.org as examples."""

import base64
import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from adapters.proof import tlog_proofs
from adapters.proof.checkpoints import Checkpoint, Note, PrivateKey, parse, public_key
from adapters.proof.cosignatures import cosigned_by, line_of, parse_lines, signed_message, witness_key
from adapters.proof.policies import Policy
from adapters.proof.policies import parse as parsed
from domain.errors import HistoryBroken, InvalidInput
from domain.sealed import merkle
from tests import rfc6962
from tests.adapters.proof.witness import TestWitness

NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
WITNESSES = {name: TestWitness(f"witness.example/{name}") for name in NAMES}
LOG = PrivateKey("example.com/log", Ed25519PrivateKey.generate())
LINES = "".join(f"witness {name} {witness.vkey}\n" for name, witness in WITNESSES.items())
EXAMPLE = f"""# the example of the text, with keys
log {LOG.public.vkey} https://log.example/

{LINES}
group X-witnesses 2 X1 X2 X3
\tgroup Y-witnesses any Y1  Y2\tY3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def cosigned(*names: str, data: list[bytes] | None = None) -> Note:
    """A checkpoint that these witnesses have cosigned."""
    root = rfc6962.mth(data or [b"a"])
    text = LOG.sign(Checkpoint(LOG.public.name, len(data or [b"a"]), root, ("an extension line",)))
    for name in names:
        witness = WITNESSES[name]
        key, note = witness_key(witness.vkey), parse(text)
        text += line_of(key, 1_679_315_147, witness.secret.sign(signed_message(key, note.checkpoint, 1_679_315_147)))
    return parse(text)


def test_the_message_of_a_cosignature_is_that_of_the_text() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    checkpoint = Checkpoint("example.com/behind-the-sofa", 20852163, root)
    key = witness_key(WITNESSES["X1"].vkey)
    assert signed_message(key, checkpoint, 1679315147).decode() == f"cosignature/v1\ntime 1679315147\n{text}"
    other = witness_key(TestWitness("w1", kind=6).vkey)
    assert signed_message(other, checkpoint, 7) == (
        b"subtree/v1\n\0\x02w1" + struct.pack(">Q", 7) + b"\x1bexample.com/behind-the-sofa"
        + struct.pack(">QQ", 0, 20852163) + root
    )  # fmt: skip


def test_the_key_and_the_note_of_the_text_verify() -> None:
    key = public_key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    signature = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    assert key.verifies("This is an example message.\n", base64.b64decode(signature)[4:])


def test_a_key_of_a_witness_has_its_type_in_its_id() -> None:
    witness = WITNESSES["X1"]
    name, key_id, _ = witness.vkey.split("+", 2)
    assert hashlib.sha256(f"{name}\n".encode() + b"\x04" + witness.raw).digest()[:4].hex() == key_id
    with pytest.raises(InvalidInput, match="type 4"):
        witness_key(LOG.public.vkey)
    with pytest.raises(InvalidInput):
        public_key(witness.vkey)
    with pytest.raises(InvalidInput, match="whole"):
        witness_key(witness.vkey.replace(key_id, "00000000"))


@pytest.mark.parametrize(
    ("names", "is_met"),
    [
        ((), False),
        (("X1", "X2"), False),
        (("X1", "Y1"), False),
        (("Y1", "Y2", "Y3"), False),
        (("X1", "X3", "Y2"), True),
        (NAMES, True),
    ],
)
def test_a_quorum_over_groups_is_that_of_the_text(names: tuple[str, ...], is_met: bool) -> None:
    found = parsed(EXAMPLE.encode()).check(cosigned(*names))
    assert (found.is_met, tuple(found.cosigned)) == (is_met, names)
    assert set(found.missing) == set(NAMES) - set(names)


def test_a_quorum_of_none_wants_no_witness_and_a_quorum_may_be_one_witness() -> None:
    assert parsed(b"quorum none").check(cosigned()).is_met
    assert not parsed(f"{LINES}quorum X1\n".encode()).check(cosigned("X2")).is_met
    assert parsed(f"{LINES}quorum X1\n".encode()).check(cosigned("X2", "X1")).is_met


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "quorum"),
        ("quorum none\nquorum none", "line 2"),
        ("quorum A", "line 1"),
        ("witness none {X1}\nquorum none", "line 1"),
        ("witness A {X1}\nwitness A {X2}\nquorum A", "line 2"),
        ("witness A {X1}\nwitness B {X1}\nquorum A", "line 2"),
        ("witness A {X1}\ngroup A any A\nquorum A", "line 2"),
        ("group G any A\nwitness A {X1}\nquorum G", "line 1"),
        ("witness A {X1}\ngroup G all\nquorum G", "line 2"),
        ("witness A {X1}\ngroup G 2 A\nquorum G", "line 2"),
        ("witness A {X1}\ngroup G 0 A\nquorum G", "line 2"),
        ("witness A {X1}\ngroup G any A A\nquorum G", "line 2"),
        ("witness A {X1}\ngroup G any A\ngroup H any A\nquorum H", "line 3"),
        ("witness A {X1}\ngroup G any none\nquorum G", "line 2"),
        ("log {X1}\nquorum none", "line 1"),
        ("log {LOG}\nlog {LOG}\nquorum none", "line 2"),
        ("witness A {X1} https://a b\nquorum A", "line 1"),
        ("witness A {X1}\rquorum A", "line 1"),
        ("wittness A {X1}\nquorum none", "line 1"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_its_line(text: str, line: str) -> None:
    keys = {"LOG": LOG.public.vkey} | {name: each.vkey for name, each in WITNESSES.items()}
    with pytest.raises(InvalidInput) as refused:
        parsed(text.format(**keys).encode())
    assert line in str(refused.value)


def test_a_log_may_have_a_key_of_another_type_than_a_ledger() -> None:
    other = TestWitness("example.com/other", kind=6).vkey
    found = parsed(f"log {other}\nlog {LOG.public.vkey}\nquorum none\n".encode())
    assert found.origins == {"example.com/other", LOG.public.name}
    assert found.keys_of(LOG.public.name) == [LOG.public] and not found.keys_of("example.com/other")


def test_names_are_opaque_octets() -> None:
    vkey = WITNESSES["X1"].vkey.encode()
    found = parsed(b"witness \xffK " + vkey + b"\nquorum \xffK\n")
    assert found.check(cosigned("X1")).is_met
    with pytest.raises(InvalidInput):
        parsed(b"witness \xffK " + vkey + b"\nquorum \xfeK\n")


def test_a_cosignature_that_is_not_valid_is_no_cosignature() -> None:
    note = cosigned("X1")
    key, signatures = witness_key(WITNESSES["X1"].vkey), note.signatures
    late = signatures[1]._replace(signature=struct.pack(">Q", 1_679_315_148) + signatures[1].signature[8:])
    assert cosigned_by(note, [key])[0].time == 1_679_315_147
    with pytest.raises(HistoryBroken, match="not valid"):
        cosigned_by(note._replace(signatures=(signatures[0], late)), [key])
    assert not cosigned_by(note, [witness_key(WITNESSES["X2"].vkey)])
    unknown = signatures[1]._replace(key_id=b"\0\0\0\0")
    assert not cosigned_by(note._replace(signatures=(signatures[0], unknown)), [key])
    for text in ("", "no line\n", "— w AAAA", "— w AAAA\n\n"):
        with pytest.raises(InvalidInput):
            parse_lines(text)


@given(st.integers(1, 40), st.data())
def test_a_proof_in_a_file_proves_its_event_and_no_other(size: int, draw: st.DataObject) -> None:
    data = [bytes([n]) for n in range(size)]
    index = draw.draw(st.integers(0, size - 1))
    note = cosigned("X1", data=data)
    text = LOG.sign(note.checkpoint)
    proof = tlog_proofs.TlogProof(index + 1, data[index], tuple(rfc6962.path(index, data)), parse(text), text)
    again = tlog_proofs.parse(proof.text())
    assert again == proof and again.check() == data[index]
    longer = again._replace(hashes=(*again.hashes, b"\0" * 32))
    for wrong in (again._replace(seq=index + 2), again._replace(state=b"other"), longer):
        with pytest.raises(HistoryBroken, match="altered at seq"):
            wrong.check()
    bare = tlog_proofs.parse(again._replace(state=None).text())
    assert bare.check(data[index]) == data[index]
    with pytest.raises(InvalidInput, match="extra"):
        bare.check()
    assert merkle.leaf_hash(data[index]) == hashlib.sha256(b"\0" + data[index]).digest()


def test_a_policy_of_many_items_is_bounded() -> None:
    many = "".join(f"witness W{n} {TestWitness(f'w{n}').vkey}\n" for n in range(300))
    with pytest.raises(InvalidInput, match="at most"):
        parsed(f"{many}quorum none\n".encode())
    found: Policy = parsed(f"{many[: many.index('witness W32 ')]}quorum none\n".encode())
    assert len(found.witnesses) == 32

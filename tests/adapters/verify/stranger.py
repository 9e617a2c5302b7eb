"""Bundles as a stranger makes them: signed with a key of their own, over events of their choice, in any zip."""

import base64
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.proof.checkpoints import NEXT_KEY, PREVIOUS, Checkpoint, PrivateKey
from adapters.proof.groups import Stated
from adapters.verify import completeness
from adapters.verify.completeness import Listed, PlacedHead, Shown
from domain.ledger import schema
from domain.sealed import merkle
from domain.sealed.groups import RULE, GroupMap, Head, entry, group_of, seq_of, subtrees_between
from domain.sealed.merkle import Frontier, leaf_hash
from tests.desk import Desk

LEDGER = "8a3c6a3e-0000-4000-8000-000000000001"
ORIGIN = f"daybook/{LEDGER}"

Parts = dict[str, bytes]


def key_of(seed: int = 1) -> PrivateKey:
    """A private key of the stranger's, always the same."""
    return PrivateKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def desk_states(steps: int = 40) -> list[bytes]:
    """The stored bytes of a short and honest history."""
    desk = Desk()
    desk.live([(number % 22, number % 7, number % 5, number % 3, number) for number in range(steps)])
    return [schema.encode(logged.recorded) for logged in desk.log.select(limit=100_000)]


def signed(
    states: Sequence[bytes],
    *,
    seqs: Sequence[int] | None = None,
    size: int | None = None,
    lines: tuple[str, ...] = (),
) -> Parts:
    """The parts of a bundle of all these events, or of those of `seqs`; `size` is what its checkpoint claims."""
    key, leaves = key_of(), [leaf_hash(state) for state in states]
    root, claimed = merkle.root(leaves), len(states) if size is None else size
    chosen = range(1, len(states) + 1) if seqs is None else seqs
    manifest = {
        "format": "daybook-bundle/1", "made_at": "2026-03-01T09:00:00+00:00", "ledger_id": LEDGER, "origin": ORIGIN,
        "is_whole": seqs is None, "account": None, "first": 1, "upto": claimed,
        "events": claimed if seqs is None else len(seqs),
        "tree_size": claimed, "root": base64.b64encode(root).decode(), "vkey": key.public.vkey,
    }  # fmt: skip
    parts = {
        "events.jsonl": b"".join(states[seq - 1] + b"\n" for seq in chosen),
        "checkpoint": key.sign(Checkpoint(ORIGIN, claimed, root, (f"{PREVIOUS}0", *lines))).encode(),
        "keys.json": json.dumps([{"vkey": key.public.vkey, "since_size": 0, "handover": None}]).encode(),
        "instruments.json": b"[]",
        "manifest.json": json.dumps(manifest).encode(),
    }
    if seqs is None:
        return parts | {"leaves.bin": b"".join(leaves)}
    return parts | {"proofs.jsonl": b"".join(_proof(seq, leaves) for seq in chosen)}


def of_account(states: Sequence[bytes], account: str, first: int, upto: int) -> Parts:
    """The parts of an honest bundle of an account's period, with what shows that it is complete."""
    groups: dict[str, list[bytes]] = {}
    for seq, state in enumerate(states, 1):
        groups.setdefault(group_of(json.loads(state)["stream"]), []).append(entry(seq, leaf_hash(state)))
    heads = GroupMap(Head(name, len(made), merkle.root(_leaves(made))) for name, made in groups.items())
    chosen = completeness.groups_of(account)
    seqs = sorted(seq_of(each) for name in chosen for each in groups.get(name, ()) if first <= seq_of(each) <= upto)
    line = Stated(RULE, len(heads), heads.root()).line()
    parts = signed(states, seqs=seqs, lines=(line,))
    manifest = json.loads(parts["manifest.json"]) | {"account": account, "first": first, "upto": upto}
    listed = []
    for number, name in enumerate(chosen, 1):
        place, is_there = heads.place(name)
        if not is_there:
            before = _placed(heads, place - 1) if place else None
            listed.append(Listed(name, before=before, after=_placed(heads, place) if place < len(heads) else None))
            continue
        every, file = groups[name], f"entries-{number}.bin"
        start = max(sum(seq_of(each) < first for each in every) - 1, 0)
        end = min(sum(seq_of(each) <= upto for each in every) + 1, len(every))
        left = Frontier()
        for leaf in _leaves(every[:start]):
            left.add(leaf)
        spans = ((index << level, 1 << level) for level, index in subtrees_between(end, len(every)))
        right = [merkle.root(_leaves(every[at : at + width])) for at, width in spans]
        listed.append(Listed(name, _placed(heads, place), file, start, left=left.nodes, right=right))
        parts[file] = b"".join(every[start:end])
    parts["completeness.json"] = msgspec.json.encode(Shown(RULE, listed))
    return parts | {"manifest.json": json.dumps(manifest | {"format": "daybook-bundle/2"}).encode()}


def _leaves(entries: Sequence[bytes]) -> list[bytes]:
    return [leaf_hash(each) for each in entries]


def _placed(heads: GroupMap, index: int) -> PlacedHead:
    head = heads.at(index)
    return PlacedHead(group=head.group, count=head.count, root=head.root, index=index, proof=heads.proof(index))


def _proof(seq: int, leaves: Sequence[bytes]) -> bytes:
    node_at = lambda level, index: merkle.root(leaves[index << level : (index + 1) << level])  # noqa: E731
    proof = merkle.inclusion_proof(seq - 1, len(leaves), node_at)
    return json.dumps({"seq": seq, "proof": [base64.b64encode(each).decode() for each in proof]}).encode() + b"\n"


def many_keys(count: int) -> bytes:
    """A keys.json of a chain of keys, each vouched for by the one before."""
    vkey = key_of().public.vkey
    root = leaf_hash(desk_states()[0])  # of the tree of one event
    handover = key_of().sign(Checkpoint(ORIGIN, 1, root, (NEXT_KEY + vkey,)))
    later = {"vkey": vkey, "since_size": 1, "handover": handover}
    return json.dumps([{"vkey": vkey, "since_size": 0, "handover": None}, *[later] * count]).encode()


def zipped(path: Path, parts: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """The parts as a zip, as small as it gets."""
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return path


def with_sizes(path: Path, name: str, *, unpacked: int) -> Path:
    """The zip with another unpacked size of a part, in its directory and before the part."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        part = file.getinfo(name)
        start = file.start_dir
    struct.pack_into("<I", data, part.header_offset + 22, unpacked)
    at = data.index(name.encode(), start) - 46
    struct.pack_into("<I", data, at + 24, unpacked)
    path.write_bytes(data)
    return path

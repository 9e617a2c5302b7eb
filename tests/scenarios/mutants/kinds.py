"""What is mutated: one reader of material from outside a kind, with honest examples and what must hold of any result.

`read` returns a result or raises one of Daybook's own errors; it asserts that what was accepted means what it says.
"""

import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapters.market.files import read_market
from adapters.proof import checkpoints, cosigned, policies
from adapters.proof.checkpoints import NEXT_KEY, PREVIOUS, Checkpoint
from adapters.proof.cosignatures import WitnessKey
from adapters.proof.tlog_proofs import TlogProof
from adapters.verify import bundles
from adapters.verify.completeness import Outcome
from adapters.verify.record_check import record_of
from api.encoding import encoded, plain
from api.http.cursors import cursor_after, cursor_of
from api.terminal.output import printable
from api.verify.figures import figures_of
from api.verify.shared import checkpoints_in
from api.verify.witnessed import proof_in
from domain.errors import HistoryBroken, InvalidInput, LedgerError
from domain.order import OrderFilled
from domain.sealed.groups import entries_of, group_of, seq_of
from domain.sealed.merkle import leaf_hash, node_hash
from tests import GOLDEN
from tests.adapters.exchanges.files.reads import read_file
from tests.adapters.exchanges.files.test_layouts import DROP_COPY, ROWS, summed
from tests.adapters.verify.stranger import ORIGIN, desk_states, key_of, of_account, signed, zipped
from tests.scenarios.mutants.mutation import mutated, mutated_json, mutated_zip

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BUNDLE_STEPS = 6

Reader = Callable[[Path, bytes], object]
Drawn = Callable[[random.Random], bytes]


class Kind(NamedTuple):
    """One reader, a mutant of its material, and its share of all mutants."""

    name: str
    drawn: Drawn
    read: Reader
    share: int


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# Bundles


@cache
def states() -> list[bytes]:
    return desk_states(BUNDLE_STEPS)


@cache
def parts(*, is_whole: bool) -> dict[str, bytes]:
    return signed(states(), seqs=None if is_whole else range(2, len(states()) + 1, 2))


@cache
def bundle(*, is_whole: bool, is_packed: bool) -> bytes:
    path = Path("/tmp") / f"mutants-{os.getpid()}.zip"
    try:
        method = 8 if is_packed else 0
        return zipped(path, parts(is_whole=is_whole), method).read_bytes()
    finally:
        path.unlink(missing_ok=True)


def drawn_bundle(draw: random.Random) -> bytes:
    data = bundle(is_whole=draw.random() < 0.5, is_packed=draw.random() < 0.5)
    return mutated_zip(data, draw) if draw.random() < 0.4 else mutated(data, draw)


def read_bundle(path: Path, data: bytes) -> None:
    """All that is proved are the events that were signed."""
    with bundles.opened(_written(path, data)) as opened:
        opened.prove(key_of().public)
        lines = list(opened.lines())
        figures_of(opened)
    assert [line.state for line in lines] == [states()[line.seq - 1] for line in lines]
    assert not opened.manifest.is_whole or len(lines) == len(states())


def drawn_parts(draw: random.Random) -> bytes:
    """One part changed, and zipped again as if it had never been otherwise."""
    changed = dict(parts(is_whole=draw.random() < 0.5))
    name = draw.choice(tuple(changed))
    is_json = name.endswith(".json") and draw.random() < 0.7
    changed[name] = mutated_json(changed[name], draw) if is_json else mutated(changed[name], draw)
    return _zip(changed, draw)


def _zip(changed: dict[str, bytes], draw: random.Random) -> bytes:
    path = Path("/tmp") / f"mutants-{os.getpid()}.zip"
    try:
        return zipped(path, changed, draw.choice((0, 8))).read_bytes()
    finally:
        path.unlink(missing_ok=True)


# Bundles of an account


PERIODS = ((1, None), (1, 30), (8, 35), (20, None))  # from the first or a later event, to the last or an earlier one


@cache
def account_parts(number: int) -> dict[str, bytes]:
    first, upto = PERIODS[number]
    return of_account(states(), "main", first, upto or len(states()))


def drawn_account(draw: random.Random) -> bytes:
    """Events of an account left out, or what shows that there are no more of them changed, or the claim itself."""
    changed = dict(account_parts(draw.randrange(len(PERIODS))))
    if draw.random() < 0.6:
        _leave_out(changed, draw)
    if draw.random() < 0.6:
        name = draw.choice(tuple(changed))
        is_json = name.endswith(".json") and draw.random() < 0.7
        changed[name] = mutated_json(changed[name], draw) if is_json else mutated(changed[name], draw)
    if draw.random() < 0.3:
        claim = draw.choice(({"account": "other"}, {"account": None}, {"first": 1}, {"first": 21}, {"upto": 29}))
        changed["manifest.json"] = json.dumps(_manifest(changed) | claim).encode()
    return _zip(changed, draw)


def _manifest(parts: dict[str, bytes]) -> dict[str, object]:
    try:
        found = json.loads(parts["manifest.json"])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _leave_out(parts: dict[str, bytes], draw: random.Random) -> None:
    """Leave out some events with their proofs, and half the time their entries too, wherever these are found."""
    events, proofs = (parts[name].splitlines(keepends=True) for name in ("events.jsonl", "proofs.jsonl"))
    gone = set(draw.sample(range(len(events)), draw.randint(1, min(5, len(events)))))
    parts["events.jsonl"] = b"".join(line for at, line in enumerate(events) if at not in gone)
    parts["proofs.jsonl"] = b"".join(line for at, line in enumerate(proofs) if at not in gone)
    parts["manifest.json"] = json.dumps(_manifest(parts) | {"events": len(events) - len(gone)}).encode()
    if draw.random() < 0.5:
        seqs = {json.loads(proofs[at])["seq"] for at in gone}
        for name in [name for name in parts if name.startswith("entries-")]:
            parts[name] = b"".join(each for each in entries_of(parts[name]) if seq_of(each) not in seqs)


def read_account(path: Path, data: bytes) -> None:
    """What is called complete has every event of what it claims to have, and none but those that were signed."""
    with bundles.opened(_written(path, data)) as opened:
        proved = opened.prove(key_of().public)
        lines = list(opened.lines())
    assert [line.state for line in lines] == [states()[line.seq - 1] for line in lines]
    if proved.completeness.outcome is not Outcome.COMPLETE:
        raise HistoryBroken(str(proved.completeness.outcome))
    claim = proved.manifest
    of_claim = {"instruments", f"account:{claim.account}"}
    assert [line.seq for line in lines] == [
        seq
        for seq in range(claim.first, claim.upto + 1)
        if claim.account is None or group_of(json.loads(states()[seq - 1])["stream"]) in of_claim
    ]


@cache
def golden() -> list[bytes]:
    """One event of every kind, each the first of its stream."""
    found = [path.read_bytes().rstrip(b"\n") for path in sorted(GOLDEN.glob("*.json"))]
    return [state.replace(b'"version":7,', b'"version":1,', 1) for state in found]


def drawn_signed(draw: random.Random, *, is_whole: bool | None = None) -> bytes:
    """Events that a stranger changed, and signed."""
    changed = draw.sample(golden(), 2) + states()
    at = draw.randrange(len(changed))
    state = mutated_json(changed[at], draw) if draw.random() < 0.8 else mutated(changed[at], draw)
    changed[at] = state.replace(b"\n", b" ")
    if is_whole is None:
        is_whole = draw.random() < 0.5
    seqs = None if is_whole else sorted(draw.sample(range(1, len(changed) + 1), 3))
    return _zip(signed(changed, seqs=seqs), draw)


def read_signed(path: Path, data: bytes) -> None:
    """Figures that can be written out, for all that was signed."""
    with bundles.opened(_written(path, data)) as opened:
        opened.prove()
        json.dumps(plain(figures_of(opened)))


# Checkpoints and keys


@cache
def note() -> str:
    lines = (f"{PREVIOUS}5", NEXT_KEY + key_of(2).public.vkey)
    return key_of().sign(Checkpoint(ORIGIN, 7, bytes(range(32)), lines))


def drawn_note(draw: random.Random) -> bytes:
    text = note().encode()
    if draw.random() < 0.3:  # a witness has signed it too
        text += note().splitlines()[-1].replace(ORIGIN, "witness.example/w").encode() + b"\n"
    return mutated(text, draw)


def read_note(_: Path, data: bytes) -> None:
    """What a key has signed is what it signed, byte by byte."""
    text = data.decode(errors="surrogateescape")
    found = checkpoints.parse(text)
    assert found.text in text
    assert not found.is_signed_by(key_of().public) or found.text == note().partition("\n\n")[0] + "\n"
    checkpoints.handed_over_to(found)
    checkpoints.previous_of(found)


def drawn_notes(draw: random.Random) -> bytes:
    return mutated(b"\n".join([note().encode()] * draw.randint(1, 4)), draw)


def read_notes(path: Path, data: bytes) -> None:
    """A file of checkpoints, as `--against` reads it."""
    for found in checkpoints_in(_written(path, data)):
        found.is_signed_by(key_of().public)


def drawn_vkey(draw: random.Random) -> bytes:
    return mutated(key_of().public.vkey.encode(), draw)


def read_vkey(_: Path, data: bytes) -> None:
    """A key is read as it is written, and verifies nothing that another signed."""
    text = data.decode(errors="surrogateescape")
    found = checkpoints.public_key(text)
    assert found.vkey == text.strip()
    signed_note = checkpoints.parse(note())
    assert not signed_note.is_signed_by(found) or found == key_of().public
    assert not found.verifies(signed_note.text, signed_note.signatures[0].signature) or found.raw == key_of().public.raw


# Cursors, market data, trade histories

CURSORS = ((int,), (str, str, str), (int, int), (str, int), (str,))


def drawn_cursor(draw: random.Random) -> bytes:
    import base64

    types = draw.choice(CURSORS)
    row = {str(at): draw.choice((7, 2**62) if type_ is int else ("main", "BTC.SIM")) for at, type_ in enumerate(types)}
    if draw.random() < 0.5:
        return mutated(cursor_of(row, tuple(row)).encode(), draw)
    return base64.urlsafe_b64encode(mutated(encoded(list(row.values())), draw)).rstrip(b"=")


def read_cursor(_: Path, data: bytes) -> None:
    """Values of the column's types, or none."""
    text, refused = data.decode(errors="surrogateescape"), 0
    for types in CURSORS:
        try:
            found = cursor_after(text, *types)
        except InvalidInput:
            refused += 1
            continue
        assert found is not None and tuple(map(type, found)) == types
    if refused == len(CURSORS):
        raise InvalidInput("cursor", text, "any")


def drawn_policy(draw: random.Random) -> bytes:
    key = witness_of()
    lines = f"log {key_of().public.vkey} https://log.example/\nwitness W {key} https://w.example/\n"
    return mutated(f"# mutants\n{lines}group G any W\nquorum G\n".encode(), draw)


@cache
def witness_of() -> str:
    raw = key_of(3).public.raw
    key = WitnessKey("witness.example/w", 4, raw)
    return key.vkey


def read_policy(path: Path, data: bytes) -> None:
    """A policy that finds a checkpoint without cosignatures short, unless it wants none."""
    policy = policies.read(_written(path, data))
    found = policy.check(checkpoints.parse(note()))
    assert found.is_met == (policy.quorum == policies.NONE)
    str(cosigned.shortfall(found, 5))


def drawn_proof(draw: random.Random) -> bytes:
    return mutated(proof_file().encode(), draw)


@cache
def proof_file() -> str:
    """A proof of the second event of three."""
    leaves = [leaf_hash(state) for state in states()[:3]]
    root = node_hash(node_hash(leaves[0], leaves[1]), leaves[2])
    text = key_of().sign(Checkpoint(key_of().public.name, 3, root))
    return TlogProof(2, states()[1], (leaves[0], leaves[2]), note=checkpoints.parse(text), note_text=text).text()


def read_proof(path: Path, data: bytes) -> None:
    """Only the event that was signed is proved."""
    proof = proof_in(_written(path, data))
    if proof is None:
        raise InvalidInput("proof", str(path), "a proof")
    state = proof.check()
    if proof.note.is_signed_by(key_of().public):
        assert (proof.seq, state) == (2, states()[1])
    record_of(proof.seq, state)


MARKETS = (
    b"ts,open,high,low,close,volume\n2026-01-02T10:00:00Z,1,2,0.5,1.5,10\n2026-01-02T10:01:00Z,1.5,2,1,1.25,3\n",
    b"timestamp,price\n1767348000000,97000.5\n1767348060,97001\n1767348120123,9.123456789012345678901\n",
    b"time,funding_rate\n2026-01-02T08:00:00Z,0.0001\n2026-01-02T16:00:00Z,-0.00025\n",
    b'[{"ts": 1767348000000, "close": "1.5"}, {"ts": 1767348060000, "close": 1.25}]',
    b"[[1767348000000, 1, 2, 0.5, 1.5, 10], [1767348060000, 1.5, 2, 1, 1.25, 3]]",
)


def drawn_market(draw: random.Random) -> bytes:
    data = draw.choice(MARKETS)
    return mutated_json(data, draw) if data.startswith(b"[") and draw.random() < 0.5 else mutated(data, draw)


def read_marks(path: Path, data: bytes) -> None:
    """Marks that can be stored, and a sentence for every other line."""
    found = read_market(_written(path, data), "BTCUSDT.SIM", "file", now=NOW, every=timedelta(minutes=1))
    assert all(mark.price > 0 and mark.mark_at <= NOW for mark in found.marks)
    assert all(str(one.error) for one in found.unreadable)
    read_market(path, "BTCUSDT.SIM", "file", now=NOW)


HISTORY = b"""seq,trade_id,ts,symbol,side,price,qty,quote_qty,liquidity,fee,fee_currency
1,5001,2026-01-02T10:00:00.000Z,BTCUSDT,BUY,97000,0.5,48500,maker,0.0005,BTC
2,5002,2026-01-02T11:30:00.250Z,BTCUSDT,SELL,98500,0.2,19700,taker,19.7,USDT
"""


JSON_TRADES = b"""[{"id": "1", "timestamp": 1767322975707, "symbol": "BTC/USDT:USDT", "side": "sell", "price": 80000.1,
"amount": 0.1, "fees": [{"cost": 4.0000050000000002, "currency": "USDT"}], "info": {"execFee": "4.000005"}}]"""
DROPPED = "\n".join(summed(message, "|") for message in DROP_COPY).encode()
HISTORIES = (HISTORY, JSON_TRADES, DROPPED, *(content.encode() for content, *_ in ROWS.values()))


def drawn_history(draw: random.Random) -> bytes:
    return mutated(draw.choice(HISTORIES), draw)


def read_history(path: Path, data: bytes) -> None:
    """Reports that can be recorded, and a sentence for every other line, in a file of any layout."""
    found = read_file(_written(path, data))
    for one in found.unreadable:
        assert str(one.error)
        one.raw.encode()
    for report in found.reports:
        msgspec.json.encode(report)
        if isinstance(report, OrderFilled):
            assert report.last_qty > 0 and report.transact_time <= NOW + timedelta(days=1)


KINDS = (
    Kind("bundles", drawn_bundle, read_bundle, 14),
    Kind("parts of bundles", drawn_parts, read_bundle, 4),
    Kind("bundles of an account", drawn_account, read_account, 4),
    Kind("signed bundles", drawn_signed, read_signed, 8),
    Kind("checkpoints", drawn_note, read_note, 10),
    Kind("policies", drawn_policy, read_policy, 5),
    Kind("proofs of events", drawn_proof, read_proof, 5),
    Kind("files of checkpoints", drawn_notes, read_notes, 10),
    Kind("keys", drawn_vkey, read_vkey, 10),
    Kind("cursors", drawn_cursor, read_cursor, 10),
    Kind("marks files", drawn_market, read_marks, 10),
    Kind("trade histories", drawn_history, read_history, 10),
)


def outcome(kind: Kind, path: Path, data: bytes) -> bool:
    """Whether a mutant was accepted; False if it was refused with a sentence."""
    try:
        kind.read(path, data)
    except LedgerError as error:
        return not is_sentence(error)
    return True


def is_sentence(error: LedgerError) -> bool:
    """Whether an error says something, in text that can be written. Fails the test otherwise."""
    said = printable(str(error))
    assert said.strip() and said.encode()
    return True

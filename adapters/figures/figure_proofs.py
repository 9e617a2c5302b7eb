"""Proofs of figures: one balance, position or closed day's PnL, or that there was never one, in one small file.

The file is JSON, hashes in base64, and leads from the figure to a signed checkpoint: the figure (or the two it would be
between) with its proof in the tree of a closing; the closing's event as it is stored, with its proof in the log; the
checkpoint as a signed note (C2SP); and the public keys with their handovers.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Struct

from adapters.figures import closings
from adapters.figures.closings import Closing
from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note, Pin, PublicKey, Tenure
from adapters.proof.proofs import Inclusion
from domain.errors import HistoryBroken, InvalidInput, RequestRefused
from domain.sealed.figures import FORMAT as FIGURES_FORMAT
from domain.sealed.figures import Figure, FiguresClosed, FiguresTree
from domain.sealed.merkle import HASH_BYTES, is_included, leaf_hash
from domain.sealed.sorted_tree import Placed, is_absent

FORMAT = "daybook-figure-proof/1"
FILE_BYTES_MAX = 8 * 1024 * 1024
HASHES_MAX = 64
UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)

Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Hashes = Annotated[list[Hash], msgspec.Meta(max_length=HASHES_MAX)]
Place = Annotated[int, msgspec.Meta(ge=0, le=checkpoints.SIZE_MAX)]
Key = Annotated[str, msgspec.Meta(max_length=1000)]


class ProvedFigure(Struct, frozen=True):
    """A figure, its place among all figures of the closing, and its inclusion proof."""

    key: Key
    value: str
    index: Place
    proof: Hashes

    def placed(self) -> Placed:
        """Return it as a leaf of the tree."""
        return Placed(self.key, Figure(self.key, self.value).leaf(), self.index, self.proof)


class ClosingEvent(Struct, frozen=True):
    """The stored text of a closing's event, its seq, and its inclusion proof in the log of the checkpoint's size."""

    seq: Place
    state: str
    proof: Hashes


class KeyRecord(Struct, frozen=True):
    """A key that signs checkpoints, as in a bundle's `keys.json`."""

    vkey: str
    since_size: Place
    handover: str | None


class FigureProof(Struct, frozen=True):
    """The file. `figure` is the one of `key`; if there is none, `before` and `after` are those it would be between,
    None beyond the first or last.
    """

    format: str
    origin: str
    key: Key
    figure: ProvedFigure | None
    before: ProvedFigure | None
    after: ProvedFigure | None
    closing: ClosingEvent
    checkpoint: str
    keys: list[KeyRecord]


class Answer(StrEnum):
    """What a proof shows of a figure."""

    STATED = "stated"
    ZERO = "zero"
    NEVER = "never existed"


class Shown(NamedTuple):
    """What a valid proof shows: the answer, the value if there is one, and the closing, checkpoint and signer."""

    answer: Answer
    key: str
    value: dict[str, object] | None
    closing: FiguresClosed
    closing_seq: int
    note: Note
    signer: PublicKey


def made(
    key: str, tree: FiguresTree, closing: Closing, *, inclusion: Inclusion, note: str, keys: Sequence[Tenure]
) -> FigureProof:
    """Return the proof of the figure of a key, or of its absence. Raises RequestRefused for an open day."""
    check_day(key, closing.event)
    place = next((at for at, figure in enumerate(tree.figures) if figure.key.encode() >= key.encode()), None)
    at = len(tree.figures) if place is None else place
    is_there = place is not None and tree.figures[place].key == key
    return FigureProof(
        format=FORMAT,
        origin=checkpoints.parse(note).checkpoint.origin,
        key=key,
        figure=_proved(tree, at) if is_there else None,
        before=None if is_there or at == 0 else _proved(tree, at - 1),
        after=None if is_there or at == len(tree.figures) else _proved(tree, at),
        closing=ClosingEvent(closing.seq, closing.state.decode(), inclusion.proof),
        checkpoint=note,
        keys=[KeyRecord(each.key.vkey, each.since, each.handover) for each in keys],
    )


def _proved(tree: FiguresTree, index: int) -> ProvedFigure:
    figure = tree.figures[index]
    return ProvedFigure(figure.key, figure.value, index, tree.proof(index))


def check_day(key: str, closing: FiguresClosed) -> None:
    """Check that a key of a day's PnL is of a day that the closing covers. Raises RequestRefused."""
    kind, _, rest = key.partition(":")
    day = rest.partition(":")[0]
    if kind == "pnl" and day >= closing.closed_before.isoformat():
        raise RequestRefused(
            f"the day is closed: the closing as of seq {closing.as_of_seq} is of the days before "
            f"{closing.closed_before}; make a newer one with `daybook close`",
            day=day,
        )


def encoded(proof: FigureProof) -> bytes:
    """Return the file of a proof."""
    return msgspec.json.format(msgspec.json.encode(proof)) + b"\n"


def is_proof(path: Path) -> bool:
    """Return whether a file begins like a proof, or like any JSON object."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False


def load(path: Path) -> FigureProof:
    """Read a proof. Raises HistoryBroken if it is none, RequestRefused for another format."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise HistoryBroken(f"{path} is no proof of a figure: it is longer than {FILE_BYTES_MAX} bytes")
        found = msgspec.json.decode(content)
        if isinstance(found, dict) and found.get("format") != FORMAT:
            raise RequestRefused(
                f"a proof of a figure is {FORMAT}; this one needs another Daybook", format=str(found.get("format"))[:80]
            )
        return msgspec.json.decode(content, type=FigureProof)
    except OSError as error:
        raise HistoryBroken(f"{path} cannot be read ({error.strerror}); name a file that you may read") from error
    except UNDECODABLE as error:
        raise HistoryBroken(f"{path} is no proof of a figure, or is damaged: {error}") from error


def check(proof: FigureProof, pins: Sequence[Pin] = (), against: Sequence[Note] = ()) -> Shown:
    """Check a proof by the trusted keys and the checkpoints that were kept. Raises HistoryBroken, RequestRefused."""
    try:
        note = checkpoints.parse(proof.checkpoint)
        tenures = [Tenure(checkpoints.public_key(each.vkey), each.since_size, each.handover) for each in proof.keys]
    except InvalidInput as error:
        raise HistoryBroken(f"the proof is damaged: {error}") from error
    size, root = note.checkpoint.size, note.checkpoint.root
    if note.checkpoint.origin != proof.origin:
        raise HistoryBroken(f"the proof is of {proof.origin}, and its checkpoint of {note.checkpoint.origin}")
    chain = checkpoints.check_succession(
        tenures, note.checkpoint.origin, pins=[*pins, *checkpoints.pins_of(against, tenures)], size=size
    )
    signer = checkpoints.signer_of(chain, size)
    if not note.is_signed_by(signer):
        raise HistoryBroken(f"checkpoint forged: it is not signed by {signer.vkey}")
    same = [kept for kept in against if kept.checkpoint.size == size]
    for kept in same or against:
        _check_kept(kept, note, chain)
    state, seq = proof.closing.state.encode(errors="surrogatepass"), proof.closing.seq
    if not is_included(leaf_hash(state), seq - 1, size, proof.closing.proof, root=root):
        raise HistoryBroken(f"altered: the closing at seq {seq} is not proved by the checkpoint of {size} events")
    event = closings.closing_of(seq, state).event
    if event.figures_format != FIGURES_FORMAT:
        raise RequestRefused(
            f"its figures are of format {FIGURES_FORMAT}; this needs a newer Daybook", found=event.figures_format
        )
    return _shown(proof, Closing(seq, state, event), note, signer)


def _shown(proof: FigureProof, closing: Closing, note: Note, signer: PublicKey) -> Shown:
    event, root = closing.event, closings.root_of(closing.event)
    if root is None:
        raise HistoryBroken(f"altered at seq {closing.seq}: the root of the closing is no hash")
    check_day(proof.key, event)
    if (figure := proof.figure) is not None:
        if figure.key != proof.key or not figure.placed().is_in(event.figures, root):
            raise HistoryBroken(f"altered: {proof.key} with this value is not a figure of the closing at {closing.seq}")
        value = closings.members(figure.value)
        answer = Answer.ZERO if _is_zero(proof.key, value) else Answer.STATED
        return Shown(answer, proof.key, value, closing=event, closing_seq=closing.seq, note=note, signer=signer)
    before = proof.before.placed() if proof.before is not None else None
    after = proof.after.placed() if proof.after is not None else None
    if not is_absent(proof.key, before, after, event.figures, root=root):
        raise HistoryBroken(f"altered: the two figures do not show that the closing at {closing.seq} lacks {proof.key}")
    return Shown(Answer.NEVER, proof.key, None, closing=event, closing_seq=closing.seq, note=note, signer=signer)


OF_ZERO = {"balance": ("total", "held"), "position": ("quantity",), "pnl": ("net",)}  # members that are zero then


def _is_zero(key: str, value: dict[str, object]) -> bool:
    members = OF_ZERO.get(key.partition(":")[0], ())
    return bool(members) and all(value.get(name) == "0" for name in members)


def _check_kept(kept: Note, note: Note, chain: Sequence[Tenure]) -> None:
    ours, theirs = note.checkpoint, kept.checkpoint
    if ours.origin != theirs.origin:
        raise HistoryBroken(f"the proof is of another ledger: {ours.origin}; the checkpoint is of {theirs.origin}")
    if not any(kept.is_signed_by(tenure.key) for tenure in chain):
        raise HistoryBroken("wrong key: the checkpoint that was kept is signed by none of the proof's keys")
    if ours.size != theirs.size:
        raise RequestRefused(
            f"a proof is compared with the checkpoint it is made by, of {ours.size} events: have it made with "
            f"--checkpoint {theirs.size}",
            kept=theirs.size,
        )
    if ours.root != theirs.root:
        raise HistoryBroken(f"rewritten: the checkpoint of {ours.size} events is not the one that was kept")

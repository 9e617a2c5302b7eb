"""Bundles: a ledger, or a part of it, in one file that can be verified without a database, a network or trust in us.

A bundle is a plain zip: `events.jsonl` (the stored bytes of each event, one per line), `checkpoint` (the signed tree
head that everything is proved by), `keys.json` (public keys and their handovers), `manifest.json`, `instruments.json`
(its instrument events, for reading), and the proof: for a whole ledger `leaves.bin` (the leaf hashes), for a part
`proofs.jsonl` (each event's seq and its inclusion proof, in base64). A whole one has the marks and funding rates too
(`bundle_marks`).
"""

import base64
import json
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.proof import checkpoints, tiles
from adapters.proof.checkpoints import Note, PublicKey, Tenure
from adapters.proof.tiles import Tiles
from adapters.verify import archive, bundle_marks
from adapters.verify.archive import Archive
from adapters.verify.bundle_marks import MarkProof
from adapters.verify.range_check import CLOCK_TOPIC, UNDECODABLE, Envelope, topic_of
from domain import merkle
from domain.errors import HistoryBroken, InvalidInput, RequestRefused
from domain.merkle import HASH_BYTES, Frontier, leaf_hash

FORMAT = "daybook-bundle/1"
FETCH_ROWS = 2000
MANIFEST_BYTES_MAX = 64 * 1024
CHECKPOINT_BYTES_MAX = 64 * 1024
KEYS_BYTES_MAX = 4 * 1024 * 1024
PROOF_HASHES_MAX = 64  # one a bit of the largest seq

ROWS = """
SELECT notification_id, originator_id, state FROM ledger.events
WHERE notification_id >= %(first)s AND notification_id <= %(upto)s AND (
    %(account)s::text IS NULL OR CASE split_part(originator_id, ':', 1)
        WHEN 'instrument' THEN true
        WHEN 'subject' THEN false
        WHEN 'marks' THEN false
        WHEN 'rates' THEN false
        WHEN 'venueorder' THEN split_part(originator_id, ':', 3) = %(account)s
        ELSE split_part(originator_id, ':', 2) = %(account)s
    END
) ORDER BY notification_id
"""
STATEMENT_SECONDS_MAX = 6 * 3600

OnProgress = Callable[[int, int], None]


class Selection(NamedTuple):
    """The part of a ledger to export: an account's streams and every instrument's, or all; events `first` to `upto`."""

    account: str | None = None
    first: int = 1
    upto: int | None = None


WHOLE = Selection()


Size = Annotated[int, msgspec.Meta(ge=0, le=checkpoints.SIZE_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class Manifest(Struct, frozen=True):
    """A bundle's description of itself. All fields are checked against the checkpoint, or are for reading only."""

    format: Text
    made_at: Text
    ledger_id: Text
    origin: Text
    is_whole: bool
    account: Text | None
    first: Size
    upto: Size
    events: Size
    tree_size: Size
    root: Text
    vkey: Text
    marks: Size | None = None  # how many marks and funding rates are in it; none of a part, or by an older release


class KeyRecord(Struct, frozen=True):
    """A key in `keys.json`."""

    vkey: str
    since_size: Size
    handover: str | None


class Proof(Struct, frozen=True):
    """An event's line in `proofs.jsonl`: its seq, and its inclusion proof from the leaf upwards."""

    seq: Size
    proof: Annotated[list[bytes], msgspec.Meta(max_length=PROOF_HASHES_MAX)]


class Proved(NamedTuple):
    """A bundle all of whose events are proved."""

    manifest: Manifest
    note: Note
    keys: list[Tenure]


class Line(NamedTuple):
    """An event in a bundle: its seq and its stored bytes."""

    seq: int
    state: bytes


# Export


def export(
    url: str, path: Path, selection: Selection = WHOLE, *, on_progress: OnProgress = lambda *_: None
) -> Manifest:
    """Write a bundle of the sealed log. Raises Unavailable, RequestRefused for a part that has no events."""
    unfinished = path.with_name(path.name + ".part")
    try:
        with (
            reaching(url),
            connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection,
        ):
            manifest, content = _write(connection, unfinished, zipfile.ZIP_DEFLATED, selection, on_progress=on_progress)
            if content > archive.content_bytes_max(unfinished.stat().st_size):
                # Its events repeat themselves so much that, compressed, the bundle would be refused as a bomb.
                manifest, _ = _write(connection, unfinished, zipfile.ZIP_STORED, selection, on_progress=on_progress)
        unfinished.replace(path)
    except OSError as error:
        raise RequestRefused(f"{path} can be written ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def _write(
    connection: Connection, path: Path, method: int, selection: Selection, *, on_progress: OnProgress
) -> tuple[Manifest, int]:
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as bundle:
        manifest = _Export(connection, bundle, selection, on_progress).run()
        return manifest, sum(part.file_size for part in bundle.infolist())


class _Export:
    def __init__(
        self, connection: Connection, bundle: zipfile.ZipFile, selection: Selection, on_progress: OnProgress
    ) -> None:
        ledger_id, note = tiles.identity(connection), tiles.latest(connection)
        if note is None or ledger_id is None:
            raise RequestRefused("something of the ledger is sealed: record an event first")
        self._connection = connection
        self._bundle = bundle
        self._on_progress = on_progress
        self._ledger_id = ledger_id
        self._note = note
        size = note.checkpoint.size
        self._first = max(selection.first, 1)
        self._upto = min(selection.upto or size, size)
        self._account = selection.account
        self._is_whole = self._account is None and (self._first, self._upto) == (1, size)

    def run(self) -> Manifest:
        size, root = self._note.checkpoint.size, self._note.checkpoint.root
        chain = tiles.tenures(self._connection)
        instruments: list[dict[str, Any]] = []
        with tempfile.TemporaryFile() as proofs:
            events = self._events(proofs, instruments)
            proofs.seek(0)
            with self._bundle.open("leaves.bin" if self._is_whole else "proofs.jsonl", "w", force_zip64=True) as entry:
                while block := proofs.read(1 << 20):
                    entry.write(block)
        if not events:
            raise RequestRefused("the selection has events", account=self._account, first=self._first, upto=self._upto)
        query = "SELECT note FROM ledger.checkpoints WHERE size = %s"
        row = self._connection.execute(query, [size]).fetchone()
        assert row is not None, "checkpoints stay"
        marks = bundle_marks.write(self._connection, self._bundle, size) if self._is_whole else None
        manifest = Manifest(
            format=FORMAT,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            ledger_id=str(self._ledger_id),
            origin=self._note.checkpoint.origin,
            is_whole=self._is_whole,
            account=self._account,
            first=self._first,
            upto=self._upto,
            events=events,
            tree_size=size,
            root=base64.b64encode(root).decode(),
            vkey=checkpoints.signer_of(chain, size).vkey,
            marks=marks,
        )
        self._bundle.writestr("checkpoint", row[0])
        keys = [KeyRecord(tenure.key.vkey, tenure.since, tenure.handover) for tenure in chain]
        self._bundle.writestr("keys.json", msgspec.json.format(msgspec.json.encode(keys)))
        self._bundle.writestr("instruments.json", json.dumps(instruments, indent=1, ensure_ascii=False))
        self._bundle.writestr("manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))
        return manifest

    def _events(self, proofs: IO[bytes], instruments: list[dict[str, Any]]) -> int:
        """Write the events to the bundle, their proofs to `proofs`. Return the number of events."""
        size = self._note.checkpoint.size
        node_at = Tiles(self._connection).node_at(size)
        events, first = 0, self._first
        wanted = {"first": first, "upto": self._upto, "account": self._account}
        with (
            self._connection.transaction(),
            self._connection.cursor("exported", binary=True) as cursor,
            self._bundle.open("events.jsonl", "w", force_zip64=True) as lines,
        ):
            cursor.itersize = FETCH_ROWS
            for seq, stream, state in cursor.execute(ROWS, wanted):
                assert b"\n" not in state, "a record is one line"
                lines.write(state + b"\n")
                events += 1
                if self._is_whole:
                    if seq != events:
                        raise HistoryBroken(f"missing at seq {events}: the log goes on with seq {seq}; run verify")
                    proofs.write(leaf_hash(state))
                else:
                    proof = merkle.inclusion_proof(seq - 1, size, node_at)
                    line = {"seq": seq, "proof": [base64.b64encode(each).decode() for each in proof]}
                    proofs.write(msgspec.json.encode(line) + b"\n")
                if stream.startswith("instrument:"):
                    instruments.append({"seq": seq, "record": json.loads(state)})
                if events % FETCH_ROWS == 0:
                    self._on_progress(seq - first + 1, self._upto - first + 1)
        return events


# Reading


class Bundle:
    """An open bundle; nothing in it is trusted before `prove`."""

    def __init__(self, archive: Archive) -> None:
        self._path = archive.path
        self._archive = archive
        self.manifest = self._manifest()
        self.note_text = archive.text("checkpoint", CHECKPOINT_BYTES_MAX)
        self.note = checkpoints.parse(self.note_text)

    def prove(
        self,
        trusted: PublicKey | None = None,
        *,
        against: Sequence[Note] = (),
        on_progress: OnProgress = lambda *_: None,
    ) -> Proved:
        """Check everything: keys, signature, every event's proof, and checkpoints kept elsewhere.

        Raises HistoryBroken, which names the first wrong seq.
        """
        manifest, checkpoint = self.manifest, self.note.checkpoint
        try:
            keys = msgspec.json.decode(self._archive.text("keys.json", KEYS_BYTES_MAX), type=list[KeyRecord])
            tenures = [Tenure(checkpoints.public_key(each.vkey), each.since_size, each.handover) for each in keys]
        except (*UNDECODABLE, InvalidInput) as error:
            raise HistoryBroken(f"keys.json of {self._path} is damaged: {error}") from error
        if checkpoint.origin != manifest.origin or manifest.origin != f"daybook/{manifest.ledger_id}":
            raise HistoryBroken(
                f"{self._path} is of {manifest.origin} by its manifest, and of {checkpoint.origin} by its checkpoint"
            )
        chain = checkpoints.check_succession(tenures, checkpoint.origin, trusted)
        signer = checkpoints.signer_of(chain, checkpoint.size)
        if not self.note.is_signed_by(signer):
            raise HistoryBroken(f"checkpoint forged: it is not signed by {signer.vkey}")
        claimed = (checkpoint.size, base64.b64encode(checkpoint.root).decode(), signer.vkey)
        if claimed != (manifest.tree_size, manifest.root, manifest.vkey):
            raise HistoryBroken(f"the manifest of {self._path} does not match its checkpoint")
        for kept in against:
            self._check_kept(kept, chain)
        if manifest.events > (most := archive.events_max(self._archive.size)):
            raise HistoryBroken(
                f"{self._path} claims {manifest.events} events, and a file of its size proves at most {most}; "
                "export it again"
            )
        if manifest.is_whole:
            self._prove_whole({kept.checkpoint.size: kept.checkpoint.root for kept in against}, on_progress)
        else:
            self._prove_part(on_progress)
        return Proved(manifest, self.note, chain)

    def _check_kept(self, kept: Note, chain: list[Tenure]) -> None:
        ours, theirs = self.note.checkpoint, kept.checkpoint
        if theirs.origin != ours.origin:
            raise HistoryBroken(
                f"{self._path} is a bundle of another ledger: {ours.origin}, and the checkpoint is of {theirs.origin}; "
                "compare those of one ledger"
            )
        if not any(kept.is_signed_by(tenure.key) for tenure in chain):
            raise HistoryBroken(
                f"wrong key: the checkpoint of {theirs.size} events is signed by none of the bundle's keys; one of the "
                "two is forged, get both again from their owner"
            )
        if theirs.size > ours.size:
            raise HistoryBroken(
                f"the checkpoint is of {theirs.size} events, and {self._path} is of {ours.size}: take a newer one"
            )
        if theirs.size == ours.size and theirs.root != ours.root:
            raise HistoryBroken(f"rewritten: the checkpoint of {theirs.size} events is not the one of {self._path}")
        if theirs.size < ours.size and not self.manifest.is_whole:
            raise RequestRefused(
                "a part is compared with the checkpoint it is proved by, or a whole bundle with any", size=ours.size
            )

    def lines(self) -> Generator[Line, None, None]:
        """Yield the events by seq."""
        if self.manifest.is_whole:
            for seq, state in enumerate(self._archive.lines("events.jsonl"), 1):
                yield Line(seq, state)
            return
        for state, proof in self._with_proofs():
            yield Line(proof.seq, state)

    def _prove_whole(self, kept: Mapping[int, bytes], on_progress: OnProgress) -> None:
        manifest, tree, wrong, is_longer = self.manifest, Frontier(), 0, False
        sequence, marks = _SequenceCheck(is_whole=True), MarkProof(self._archive)
        with self._archive.opened("leaves.bin") as leaves, closing(self.lines()) as lines:
            for seq, state in lines:
                if is_longer := seq > manifest.events:
                    break
                leaf = leaf_hash(state)
                if not wrong and leaves.read(HASH_BYTES) != leaf:
                    wrong = seq
                if not wrong:
                    sequence.check(seq, state)
                    marks.see(seq, state)
                tree.add(leaf)
                if seq in kept and tree.root() != kept[seq]:
                    raise HistoryBroken(f"rewritten at or before seq {seq}: a checkpoint kept elsewhere differs")
                if seq % FETCH_ROWS == 0:
                    on_progress(seq, manifest.events)
        if tree.root() == self.note.checkpoint.root and tree.size == self.note.checkpoint.size:
            if is_longer:
                raise self._longer()
            if wrong:
                raise HistoryBroken(
                    f"tile wrong: leaves.bin of {self._path} is wrong at seq {wrong}; its events are not"
                )
        elif wrong:
            raise HistoryBroken(f"altered at seq {wrong}: the event in {self._path} is not the one that was sealed")
        elif tree.size != self.note.checkpoint.size:
            raise HistoryBroken(
                f"truncated: {self._path} has {tree.size} events, and its checkpoint is of "
                f"{self.note.checkpoint.size}; export it again"
            )
        else:
            raise HistoryBroken(f"altered: the events of {self._path} do not lead to its checkpoint")
        self._check_count(tree.size)
        if manifest.marks is not None:
            marks.check(manifest.marks)

    def marks(self) -> MarkProof:
        """Return the proof of its marks, for a bundle that was proved."""
        proof = MarkProof(self._archive)
        with closing(self.lines()) as lines:
            for seq, state in lines:
                proof.see(seq, state)
        return proof

    def _prove_part(self, on_progress: OnProgress) -> None:
        size, root = self.note.checkpoint.size, self.note.checkpoint.root
        sequence, count = _SequenceCheck(is_whole=False), 0
        for state, proof in self._with_proofs():
            seq = proof.seq
            if count == self.manifest.events:
                raise self._longer()
            if not merkle.is_included(leaf_hash(state), seq - 1, size, proof.proof, root=root):
                raise HistoryBroken(f"altered at seq {seq}: the event in {self._path} is not proved by its checkpoint")
            sequence.check(seq, state)
            count += 1
            if count % FETCH_ROWS == 0:
                on_progress(count, self.manifest.events)
        self._check_count(count)

    def _longer(self) -> HistoryBroken:
        return HistoryBroken(
            f"inserted: {self._path} has more events than the {self.manifest.events} that its manifest states; "
            "export it again"
        )

    def _check_count(self, count: int) -> None:
        if count != self.manifest.events:
            raise HistoryBroken(
                f"truncated: {self._path} has {count} events, and its manifest states {self.manifest.events}; "
                "export it again"
            )

    def _with_proofs(self) -> Iterator[tuple[bytes, Proof]]:
        decoder = msgspec.json.Decoder(Proof)
        with (
            closing(self._archive.lines("events.jsonl")) as events,
            closing(self._archive.lines("proofs.jsonl")) as proofs,
        ):
            for state in events:
                try:
                    proof = decoder.decode(next(proofs, b"null"))
                except UNDECODABLE as error:
                    raise HistoryBroken(f"proofs.jsonl of {self._path} is damaged or too short") from error
                yield state, proof

    def _manifest(self) -> Manifest:
        text = self._archive.text("manifest.json", MANIFEST_BYTES_MAX)
        try:
            found = msgspec.json.decode(text)
            if isinstance(found, dict) and found.get("format") != FORMAT:
                raise RequestRefused(
                    f"a bundle is {FORMAT}; this one needs another Daybook", format=str(found.get("format"))[:80]
                )
            manifest = msgspec.convert(found, Manifest)
            is_named = str(UUID(manifest.ledger_id)) == manifest.ledger_id
        except UNDECODABLE as error:
            raise HistoryBroken(f"the manifest of {self._path} is damaged: {error}") from error
        if not is_named:
            raise HistoryBroken(f"the manifest of {self._path} is damaged: its ledger_id is no UUID")
        return manifest


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Open a bundle for reading. Raises HistoryBroken if the file is none, or was cut short."""
    with archive.opened(path) as found:
        yield Bundle(found)


def is_bundle(path: Path) -> bool:
    """Return whether a file begins like a bundle, whole or not."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


class _SequenceCheck:
    """Checks seqs, times and stream versions from event to event, which proofs alone do not show."""

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._last_seq = 0
        self._last_at: datetime | None = None
        self._versions: dict[str, int] = {}
        self._decoder = msgspec.json.Decoder(Envelope)

    def check(self, seq: int, state: bytes) -> None:
        """Raise HistoryBroken if this event cannot follow the ones before."""
        try:
            envelope = self._decoder.decode(state)
        except UNDECODABLE as error:
            raise HistoryBroken(f"altered at seq {seq}: its bytes are no record") from error
        if seq <= self._last_seq:
            raise HistoryBroken(f"reordered at seq {seq}: it comes after seq {self._last_seq}")
        is_before = self._is_whole and self._last_at is not None and envelope.recorded_at < self._last_at
        if is_before and topic_of(state).encode() != CLOCK_TOPIC:
            raise HistoryBroken(f"altered at seq {seq}: it was recorded before its predecessor")
        before = self._versions.get(envelope.stream, 0 if self._is_whole else envelope.version - 1)
        if envelope.version != before + 1:
            raise HistoryBroken(
                f"missing before seq {seq}: {envelope.stream} goes from version {before} to {envelope.version}"
            )
        self._last_seq, self._last_at, self._versions[envelope.stream] = seq, envelope.recorded_at, envelope.version

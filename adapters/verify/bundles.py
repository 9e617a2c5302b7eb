"""Bundles: a ledger, or a part of it, in one file that can be verified without a database, a network or trust in us.

A bundle is a plain zip: `events.jsonl` (the stored bytes of each event, one per line), `checkpoint` (the signed tree
head that everything is proved by), `keys.json` (public keys and their handovers), `manifest.json`, `instruments.json`
(its instrument events, for reading), and the proof: for a whole ledger `leaves.bin` (the leaf hashes) and, if figures
were closed, `closings.jsonl` (those figures); for a part `proofs.jsonl` (each event's seq and its inclusion proof, in
base64), and for an account what shows that it is complete (`adapters.verify.completeness`). A whole one
has the marks and funding rates too (`bundle_marks`).
"""

import base64
import json
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from adapters.figures import closings
from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.proof import checkpoints, cosigned, key_record, tiles
from adapters.proof.checkpoints import Note, Pin, PublicKey, Tenure
from adapters.proof.groups import stated_by
from adapters.proof.key_record import KeyOnRecord
from adapters.proof.tiles import Tiles
from adapters.verify import archive, bundle_marks, completeness
from adapters.verify.archive import Archive
from adapters.verify.bundle_marks import MarkProof
from adapters.verify.completeness import Claim, Completeness, CompletenessCheck, Outcome
from adapters.verify.event_sequence import SequenceCheck
from adapters.verify.range_check import UNDECODABLE, Envelope
from adapters.verify.record_check import record_of
from domain import names
from domain.errors import HistoryBroken, InvalidInput, RequestRefused
from domain.ledger import SIGNING_STREAM
from domain.sealed import merkle
from domain.sealed.groups import group_of
from domain.sealed.merkle import HASH_BYTES, Frontier, leaf_hash

FORMAT = "daybook-bundle/2"
FORMATS = (FORMAT, "daybook-bundle/1")  # 1 had nothing that shows whether an account's bundle is complete
FETCH_ROWS = 2000
CLOSINGS = "closings.jsonl"
MANIFEST_BYTES_MAX = 64 * 1024
CHECKPOINT_BYTES_MAX = 256 * 1024  # with cosignatures
KEYS_BYTES_MAX = 4 * 1024 * 1024
PROOF_HASHES_MAX = 64  # one a bit of the largest seq

ROWS = """
SELECT notification_id, originator_id, state FROM ledger.events
WHERE notification_id >= %(first)s AND notification_id <= %(upto)s AND (
    %(account)s::text IS NULL OR strpos(originator_id, %(account)s) > 0 OR originator_id LIKE 'instrument:%%'
    OR originator_id LIKE 'signing:%%'
) ORDER BY notification_id
"""  # of an account's streams a few too many: `group_of` decides
CHECKPOINT = "SELECT note FROM ledger.checkpoints WHERE size = %s"
STATEMENT_SECONDS_MAX = 6 * 3600

OnProgress = Callable[[int, int], None]


class Selection(NamedTuple):
    """The part of a ledger to export: events `first` to `upto`, of all streams, or of an account's, every instrument's
    and the signing keys'. `size` names the checkpoint to prove it by, the newest if it is None."""

    account: str | None = None
    first: int = 1
    upto: int | None = None
    size: int | None = None


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


class ClosedFigures(Struct, frozen=True):
    """A line of `closings.jsonl`: the figures of a closing, their values by key."""

    as_of_seq: Size
    figures: dict[str, str]


class Proved(NamedTuple):
    """A bundle all of whose events are proved, and what is shown about the events that it should have."""

    manifest: Manifest
    note: Note
    keys: list[Tenure]
    completeness: Completeness


class Line(NamedTuple):
    """An event in a bundle: its seq and its stored bytes."""

    seq: int
    state: bytes


# Export


def export(
    url: str,
    path: Path,
    selection: Selection = WHOLE,
    *,
    on_progress: OnProgress = lambda *_: None,
) -> Manifest:
    """Write a bundle of the sealed log.

    Raises Unavailable, RequestRefused for a part that has no events.
    """
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
        ledger_id = tiles.identity(connection)
        newest = tiles.latest(connection)
        if newest is None or ledger_id is None:
            raise RequestRefused("something of the ledger is sealed: record an event first")
        text = _note_text(connection, selection.size or newest.checkpoint.size)
        note = tiles.stored_note(selection.size or newest.checkpoint.size, text)
        self._connection = connection
        self._bundle = bundle
        self._on_progress = on_progress
        self._ledger_id = ledger_id
        self._note = note
        self._note_text = text
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
        completeness.write(self._connection, self._bundle, self._note, self._claim())
        if self._is_whole:
            self._write_closings()
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
        self._bundle.writestr("checkpoint", cosigned.with_cosignatures(self._connection, size, self._note_text))
        keys = [KeyRecord(tenure.key.vkey, tenure.since, tenure.handover) for tenure in chain]
        self._bundle.writestr("keys.json", msgspec.json.format(msgspec.json.encode(keys)))
        self._bundle.writestr("instruments.json", json.dumps(instruments, indent=1, ensure_ascii=False))
        self._bundle.writestr("manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))
        return manifest

    def _write_closings(self) -> None:
        """Add the kept figures of closings, so that one that does not follow from the events can be named."""
        found = [one for one in closings.all_closings(self._connection) if one.seq <= self._note.checkpoint.size]
        if not found:
            return
        with self._bundle.open(CLOSINGS, "w", force_zip64=True) as file:
            for each in found:
                if (values := closings.kept_values(self._connection, each.event.as_of_seq)) is not None:
                    file.write(msgspec.json.encode(ClosedFigures(each.event.as_of_seq, dict(values))) + b"\n")

    def _claim(self) -> Claim:
        return Claim(self._account, self._first, self._upto, self._note.checkpoint.size)

    def _events(self, proofs: IO[bytes], instruments: list[dict[str, Any]]) -> int:
        """Write the events to the bundle, their proofs to `proofs`. Return the number of events."""
        size = self._note.checkpoint.size
        node_at = merkle.nodes_of(lru_cache(tiles.TILES_CACHED_MAX)(Tiles(self._connection).tile_at), size)
        events, first = 0, self._first
        chosen = None if self._account is None else completeness.groups_of(self._account)
        account = None if self._account is None else names.part(self._account)
        wanted = {"first": first, "upto": self._upto, "account": account}
        with (
            self._connection.transaction(),
            self._connection.cursor("exported", binary=True) as cursor,
            self._bundle.open("events.jsonl", "w", force_zip64=True) as lines,
        ):
            cursor.itersize = FETCH_ROWS
            for seq, stream, state in cursor.execute(ROWS, wanted):
                if chosen is not None and group_of(stream) not in chosen:
                    continue
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


def _note_text(connection: Connection, size: int) -> str:
    row = connection.execute(CHECKPOINT, [size]).fetchone()
    if row is None:
        raise RequestRefused("a checkpoint of this size was signed: GET /v1/checkpoints lists all", size=size)
    return str(row[0])


# Reading


class Bundle:
    """An open bundle; nothing in it is trusted before `prove`."""

    def __init__(self, archive: Archive) -> None:
        self._path = archive.path
        self._archive = archive
        self.manifest = self._manifest()
        self._check_claim()
        self.note_text = archive.text("checkpoint", CHECKPOINT_BYTES_MAX)
        self.note = checkpoints.parse(self.note_text)
        self._keys_on_record: dict[int, KeyOnRecord] = {}
        self._keys_max = 0

    @property
    def size(self) -> int:
        """The size of the file, in bytes."""
        return self._archive.size

    def prove(
        self,
        trusted: PublicKey | None = None,
        *,
        against: Sequence[Note] = (),
        pins: Sequence[Pin] = (),
        on_progress: OnProgress = lambda *_: None,
    ) -> Proved:
        """Check everything: keys, signature, every event's proof, and checkpoints kept elsewhere. `pins` are keys
        trusted besides.

        Raises HistoryBroken, which names the first wrong seq.
        """
        manifest, checkpoint, tenures = self.manifest, self.note.checkpoint, self.tenures()
        if checkpoint.origin != manifest.origin or manifest.origin != f"daybook/{manifest.ledger_id}":
            raise HistoryBroken(
                f"{self._path} is of {manifest.origin} by its manifest, and of {checkpoint.origin} by its checkpoint"
            )
        believed = [*pins, *checkpoints.pins_of(against, tenures)]
        chain = checkpoints.check_succession(tenures, checkpoint.origin, trusted, pins=believed, size=checkpoint.size)
        signer = checkpoints.signer_of(chain, checkpoint.size)
        if not self.note.is_signed_by(signer):
            raise HistoryBroken(f"checkpoint forged: it is not signed by {signer.vkey}")
        claimed = (checkpoint.size, base64.b64encode(checkpoint.root).decode(), signer.vkey)
        if claimed != (manifest.tree_size, manifest.root, manifest.vkey):
            raise HistoryBroken(f"the manifest of {self._path} does not match its checkpoint")
        same = [kept for kept in against if kept.checkpoint.size == checkpoint.size and not manifest.is_whole]
        for kept in same or against:  # a part is compared with the checkpoint it is proved by, not with others
            self._check_kept(kept, chain)
        if manifest.events > (most := archive.events_max(self._archive.size)):
            raise HistoryBroken(
                f"{self._path} claims {manifest.events} events, and a file of its size proves at most {most}; "
                "export it again"
            )
        self._keys_max = len(chain) + 1  # one more is the fault
        binding = [*against, *checkpoints.handovers(chain, checkpoint.origin)]
        if manifest.is_whole:
            self._prove_whole({kept.checkpoint.size: kept.checkpoint.root for kept in binding}, on_progress)
            shown = Completeness(Outcome.COMPLETE)
        else:
            shown = self._prove_part(on_progress)
        self._check_keys(chain)
        return Proved(manifest, self.note, chain, shown)

    def tenures(self) -> list[Tenure]:
        """Return the bundle's keys, unchecked. Raises HistoryBroken if they cannot be read."""
        try:
            keys = msgspec.json.decode(self._archive.text("keys.json", KEYS_BYTES_MAX), type=list[KeyRecord])
            return [Tenure(checkpoints.public_key(each.vkey), each.since_size, each.handover) for each in keys]
        except (*UNDECODABLE, InvalidInput) as error:
            raise HistoryBroken(f"keys.json of {self._path} is damaged: {error}") from error

    def _keep_key(self, seq: int, envelope: Envelope, state: bytes) -> None:
        """Keep the event of a signing key, to compare it with the bundle's keys."""
        if envelope.stream == SIGNING_STREAM and len(self._keys_on_record) < self._keys_max:
            self._keys_on_record[envelope.version] = KeyOnRecord(seq, key_record.event_of(record_of(seq, state), seq))

    def _check_keys(self, chain: list[Tenure]) -> None:
        """Compare the bundle's keys with those on record in its events. Raises HistoryBroken."""
        size, origin, records = self.note.checkpoint.size, self.note.checkpoint.origin, self._keys_on_record
        signing = [place for place, tenure in enumerate(chain) if tenure.since < size]
        # a key that was handed over to may sign a checkpoint a moment before its event is in one
        is_newest_vouched = len(signing) > 1 and checkpoints.is_vouched(
            chain[signing[-1] - 1], chain[signing[-1]], origin
        )
        is_short = len(records) < len(signing) - is_newest_vouched
        found = key_record.disagreement(
            chain, records, origin, is_complete=self.manifest.is_whole and is_short
        )  # fmt: skip
        if found:
            raise HistoryBroken(f"keys disagree at seq {found[0]}: {found[1]}")

    def _check_kept(self, kept: Note, chain: list[Tenure]) -> None:
        ours, theirs = self.note.checkpoint, kept.checkpoint
        if theirs.origin != ours.origin:
            raise HistoryBroken(
                f"{self._path} is a bundle of another ledger: {ours.origin}, and the checkpoint is of {theirs.origin}; "
                "compare those of one ledger"
            )
        if not any(kept.is_signed_by(tenure.key) for tenure in chain):
            raise HistoryBroken(
                f"wrong key: the checkpoint of {theirs.size} events is signed by none of the bundle's keys, of which "
                f"the newest is {chain[-1].key.vkey}; one of the two is forged, get both again from their owner"
            )
        if theirs.size > ours.size:
            raise HistoryBroken(
                f"the checkpoint is of {theirs.size} events, and {self._path} is of {ours.size}: take a newer one"
            )
        if theirs.size == ours.size and theirs.root != ours.root:
            raise HistoryBroken(f"rewritten: the checkpoint of {theirs.size} events is not the one of {self._path}")
        if theirs.size == ours.size and stated_by(kept) != stated_by(self.note):
            raise HistoryBroken(
                f"rewritten: the checkpoint of {theirs.size} events states another map of accounts than that of "
                f"{self._path}"
            )
        if theirs.size < ours.size and not self.manifest.is_whole:
            raise RequestRefused(
                "a part is compared with the checkpoint it is proved by, or a whole bundle with any: have it exported "
                f"with --checkpoint {theirs.size}",
                size=ours.size,
            )

    def lines(self) -> Generator[Line, None, None]:
        """Yield the events by seq."""
        if self.manifest.is_whole:
            for seq, state in enumerate(self._archive.lines("events.jsonl"), 1):
                yield Line(seq, state)
            return
        for state, proof in self._with_proofs():
            yield Line(proof.seq, state)

    def closings(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the figures of closings that the bundle brings, by the place in the log they are as of; none is proved.

        Raises HistoryBroken.
        """
        if not self._archive.has(CLOSINGS):
            return
        decoder = msgspec.json.Decoder(ClosedFigures)
        for line in self._archive.lines(CLOSINGS):
            try:
                found = decoder.decode(line)
            except UNDECODABLE as error:
                raise HistoryBroken(f"{CLOSINGS} of {self._path} is damaged: {error}") from error
            yield found.as_of_seq, found.figures

    def _prove_whole(self, kept: Mapping[int, bytes], on_progress: OnProgress) -> None:
        manifest, tree, wrong, rewritten, is_longer = self.manifest, Frontier(), 0, 0, False
        sequence, marks = SequenceCheck(), MarkProof(self._archive)
        with self._archive.opened("leaves.bin") as leaves, closing(self.lines()) as lines:
            for seq, state in lines:
                if is_longer := seq > manifest.events:
                    break
                leaf = leaf_hash(state)
                if not wrong and leaves.read(HASH_BYTES) != leaf:
                    wrong = seq
                if not wrong:
                    self._keep_key(seq, sequence.check(seq, state), state)
                    marks.see(seq, state)
                tree.add(leaf)
                if seq in kept and tree.root() != kept[seq] and not rewritten:
                    rewritten = seq
                if seq % FETCH_ROWS == 0:
                    on_progress(seq, manifest.events)
        if tree.root() == self.note.checkpoint.root and tree.size == self.note.checkpoint.size:
            if is_longer:
                raise self._longer()
            if rewritten:
                raise HistoryBroken(f"rewritten at or before seq {rewritten}: a checkpoint signed earlier differs")
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

    def _prove_part(self, on_progress: OnProgress) -> Completeness:
        size, root = self.note.checkpoint.size, self.note.checkpoint.root
        manifest, count = self.manifest, 0
        claim = Claim(manifest.account, manifest.first, manifest.upto, size)
        chosen = None if claim.account is None else completeness.groups_of(claim.account)
        with closing(CompletenessCheck(self._archive, claim, stated_by(self.note))) as complete:
            sequence = SequenceCheck(complete.gap, is_from_start=manifest.first == 1)
            for state, proof in self._with_proofs():
                seq, leaf = proof.seq, leaf_hash(state)
                if count == manifest.events:
                    raise self._longer()
                if not merkle.is_included(leaf, seq - 1, size, proof.proof, root=root):
                    raise HistoryBroken(
                        f"altered at seq {seq}: the event in {self._path} is not proved by its checkpoint"
                    )
                envelope = sequence.check(seq, state)
                self._keep_key(seq, envelope, state)
                group = group_of(envelope.stream)
                if not claim.first <= seq <= claim.upto or (chosen is not None and group not in chosen):
                    raise self._foreign(seq, envelope.stream)
                complete.add(seq, leaf, group)
                count += 1
                if count % FETCH_ROWS == 0:
                    on_progress(count, manifest.events)
            self._check_count(count)
            return complete.result()

    def _foreign(self, seq: int, stream: str) -> HistoryBroken:
        manifest = self.manifest
        whose = "" if manifest.account is None else f"account {manifest.account}, "
        return HistoryBroken(
            f"inserted at seq {seq}: an event of {stream} is not of what the manifest states: {whose}seq "
            f"{manifest.first} to {manifest.upto}; export it again"
        )

    def _check_claim(self) -> None:
        """Check that the manifest is one an export writes. Raises HistoryBroken."""
        manifest = self.manifest
        is_all = manifest.account is None and (manifest.first, manifest.upto) == (1, manifest.tree_size)
        if not 1 <= manifest.first <= manifest.upto <= manifest.tree_size or (manifest.is_whole and not is_all):
            raise HistoryBroken(
                f"the manifest of {self._path} contradicts itself: it has seq {manifest.first} to {manifest.upto} of "
                f"{manifest.tree_size}" + (", and is the whole ledger" if manifest.is_whole else "")
            )

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
            if isinstance(found, dict) and found.get("format") not in FORMATS:
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

"""The sealer: follows the log, extends its Merkle tree, and signs checkpoints of it.

It reads committed events over a connection of its own, as a role that cannot write to the log, and takes no lock that
an append waits for. One sealer works at a time, elected by an advisory lock. Its tiles and checkpoints, written in one
transaction, can be recreated from the log, so its commits need not be durable and never delay an append.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from psycopg import sql

from adapters.log.listener import CHANNEL
from adapters.postgres import connections
from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.proof import checkpoints, groups, key_record, tiles
from adapters.proof.checkpoints import Checkpoint, Note, PrivateKey, Tenure
from adapters.proof.key_record import KeyRecorder
from adapters.proof.pins import Pins
from adapters.proof.signing_keys import KeyRing
from adapters.proof.tiles import Growth, Tiles
from domain.errors import HistoryBroken, RequestRefused
from domain.sealed.merkle import HASH_BYTES, TILE_WIDTH

SEAL_LOCK = 0x0DA7_B010  # held by the active sealer, on its connection
KEYS_LOCK = 0x0DA7_B011  # held while signing with or changing the key
INTERVAL_SECONDS = 0.4  # between checkpoints while the log grows; at once when it was idle
STANDBY_SECONDS = 0.5
NOTIFY_SECONDS_MAX = 0.5
OTHER_SEALER_SECONDS_MAX = 3.0  # how long `seal` waits for another sealer's checkpoint
CHECKPOINT_EVENTS_MAX = 65_536  # per transaction while catching up
READ_EVENTS_MAX = 4096

HEAD = "SELECT coalesce(max(notification_id), 0) FROM ledger.events"
NAME = "INSERT INTO ledger.identity (ledger_id) VALUES (%s) ON CONFLICT DO NOTHING"
PUBLISH = """
INSERT INTO ledger.keys (place, vkey, since_size, handover)
SELECT coalesce(max(place), 0) + 1, %s, %s, %s FROM ledger.keys
"""
STORE_TILES = "COPY ledger.tiles (level, tile_index, hashes, root) FROM STDIN (FORMAT BINARY)"
STORE_CHECKPOINT = "INSERT INTO ledger.checkpoints (size, note, leaves) VALUES (%s, %s, %s)"

OnCheckpoint = Callable[[str], None]  # receives each signed note (C2SP)


class Sealer:
    """Seals one database's log with keys kept under `home`, while the home trusts the key that signs it.

    Calls `hand` with every stored checkpoint. With a `recorder`, published keys are recorded in the log.
    """

    def __init__(
        self,
        url: str,
        home: Path,
        hand: OnCheckpoint = lambda _: None,
        *,
        interval_s: float = INTERVAL_SECONDS,
        recorder: KeyRecorder | None = None,
    ) -> None:
        self._url = url
        self._home = home
        self._hand = hand
        self._interval_s = interval_s
        self._recorder = recorder
        self._pins = Pins(home)

    def begin(self) -> None:
        """Make the first key if there is none, record in the log the keys that are not yet, and check that they agree.

        Raises what `seal` raises, and ClockInDoubt. Does nothing without a recorder.
        """
        if self._recorder is None:
            return
        with reaching(self._url), connect(self._url, Role.SEALER) as connection:
            chain, ledger_id = tiles.tenures(connection), tiles.identity(connection)
            if chain and ledger_id is not None:
                origin = tiles.origin_of(ledger_id)
                trusted_chain(self._pins, chain, connections.name(self._url), origin)
                if len(key_record.on_record(connection)) == len(chain):
                    check_record(connection, chain, origin)
                    return
        with self._changing_keys() as connection:
            chain = tiles.tenures(connection)
            if chain:
                self._record_missing(connection, chain)
            else:
                chain = self._make_first(connection)
        trusted_chain(self._pins, chain, connections.name(self._url), chain[0].key.name)

    @contextmanager
    def _changing_keys(self) -> Iterator[Connection]:
        """Open a transaction, as the account that logs in, in which no other process signs or changes keys."""
        with reaching(self._url), connect(self._url) as connection, connection.transaction():
            _act_as(connection, Role.SEALER)
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [KEYS_LOCK])
            yield connection

    def _make_first(self, connection: Connection) -> list[Tenure]:
        """Publish and record the first key. Return the chain. Raises HistoryBroken if there were keys before."""
        check_new(connection, self._pins, connections.name(self._url))
        ledger_id = _named(connection)
        ring = KeyRing(self._home, ledger_id, tiles.origin_of(ledger_id))
        key = ring.generate()
        try:
            connection.execute(PUBLISH, [key.public.vkey, 0, None])
            chain = tiles.tenures(connection)
            self._record_missing(connection, chain)
        except BaseException:
            ring.discard(key)
            raise
        return chain

    def _record_missing(self, connection: Connection, chain: list[Tenure]) -> None:
        """Record keys that are published and not in the log.

        Raises HistoryBroken for a key that was published, and not by Daybook.
        """
        assert self._recorder is not None, "the caller has checked it"
        origin = chain[0].key.name
        known = len(key_record.on_record(connection))
        for before, tenure in itertools.pairwise(chain[known - 1 :] if known else ()):
            if not checkpoints.is_vouched(before, tenure, origin):
                raise HistoryBroken(
                    f"keys disagree: the key {tenure.key.vkey} is published, is not on record in the log, and the key "
                    f"before, {before.key.vkey}, does not vouch for it: it was not begun by Daybook; do not trust it"
                )
        missing = [key_record.event_for(chain, place, origin) for place in range(known, len(chain))]
        if missing:
            _act_as(connection, Role.WRITER)
            self._recorder.record(connection, missing)
            _act_as(connection, Role.SEALER)
        check_record(connection, chain, origin)

    def seal(self) -> Note | None:
        """Seal the log as of now, or wait for the active sealer. Return the newest checkpoint, None for an empty log.

        Raises Unavailable; KeyAbsent without a key to sign with; HistoryBroken if the log differs from what was sealed.
        """
        with reaching(self._url), connect(self._url, Role.SEALER) as connection:
            row = connection.execute(HEAD).fetchone()
            head = row[0] if row else 0
            deadline = time.monotonic() + OTHER_SEALER_SECONDS_MAX
            while not _is_elected(connection):  # a sealer that ended just now may hold its lock a moment longer
                note = tiles.latest(connection)
                if (note and note.checkpoint.size >= head) or time.monotonic() > deadline:
                    return note
                time.sleep(0.02)
            _Sealing(connection, self._home, self._hand, connections.name(self._url)).advance()
            return tiles.latest(connection)

    def follow(self, stop: threading.Event, on_pass: Callable[[], None] = lambda: None) -> None:
        """Seal new events until stopped, or stand by while another process does. `on_pass` is called now and then.

        Raises what `seal` raises, and psycopg.Error; to be called again then.
        """
        while not stop.is_set():
            with reaching(self._url), connect(self._url, Role.SEALER) as connection:
                if _is_elected(connection):
                    self.begin()
                    self._follow(connection, stop, on_pass)
            on_pass()
            stop.wait(STANDBY_SECONDS)

    def _follow(self, connection: Connection, stop: threading.Event, on_pass: Callable[[], None]) -> None:
        connection.execute(f"LISTEN {CHANNEL}")
        sealing = _Sealing(connection, self._home, self._hand, connections.name(self._url))

        def passed() -> None:
            on_pass()
            list(connection.notifies(timeout=0))  # they came meanwhile, and would be kept as long as there is more

        while not stop.is_set():
            began = time.monotonic()
            on_pass()
            if sealing.advance(passed):
                stop.wait(max(0.0, self._interval_s - (time.monotonic() - began)))
            else:
                list(connection.notifies(timeout=NOTIFY_SECONDS_MAX, stop_after=1))

    def rotate(self, *, is_lost: bool = False) -> Tenure:
        """Rotate to a new key, certified by the old one unless that `is_lost`. Return the new key's tenure.

        The new key is recorded in the log in the same transaction, if there is a recorder. Raises what `seal` raises,
        and RequestRefused if there is no key yet.
        """
        with self._changing_keys() as connection:
            ledger_id, note = tiles.identity(connection), tiles.latest(connection)
            known = tiles.tenures(connection)
            if ledger_id is None or not known or note is None:
                raise RequestRefused("there is a checkpoint to hand over by; the first key is made with the first one")
            origin = tiles.origin_of(ledger_id)
            if not is_lost:
                trusted_chain(self._pins, known, connections.name(self._url), origin)
            if self._recorder is not None:
                self._record_missing(connection, known)
            ring = KeyRing(self._home, ledger_id, origin)
            old = None if is_lost else ring.private(known[-1].key)
            new = ring.generate()
            try:
                size, root = note.checkpoint.size, note.checkpoint.root
                last = Checkpoint(origin, size, root, (checkpoints.NEXT_KEY + new.public.vkey,))
                handover = old.sign(last) if old is not None else None
                connection.execute(PUBLISH, [new.public.vkey, size, handover])
                if self._recorder is not None:
                    self._record_newest(connection, tiles.tenures(connection), origin)
            except BaseException:
                ring.discard(new)
                raise
        return Tenure(new.public, size, handover)

    def _record_newest(self, connection: Connection, chain: list[Tenure], origin: str) -> None:
        """Record the last key of the chain, which was published in this transaction."""
        assert self._recorder is not None, "the caller has checked it"
        _act_as(connection, Role.WRITER)
        self._recorder.record(connection, [key_record.event_for(chain, len(chain) - 1, origin)])
        _act_as(connection, Role.SEALER)


class _Sealing:
    """An active sealer, on the connection that holds its lock."""

    def __init__(self, connection: Connection, home: Path, hand: OnCheckpoint, place: str) -> None:
        self._connection = connection
        self._home = home
        self._hand = hand
        self._place = place
        self._pins = Pins(home)
        self._trusted: list[Tenure] = []
        connection.execute("SET synchronous_commit = off")
        note = tiles.latest(connection)
        self._growth = Growth(note.checkpoint.size if note else 0, Tiles(connection))
        self._groups = groups.load(connection)
        self._key: PrivateKey | None = None
        if self._groups.size > self._growth.size:
            raise HistoryBroken(
                f"checkpoint forged: groups are stored up to seq {self._groups.size}, and the newest checkpoint is of "
                f"{self._growth.size} events: newer ones were removed. Run verify with a checkpoint that was kept; to "
                "go on without them, delete all rows of ledger.group_runs"
            )
        if note is not None:
            self._check(note)

    def _check(self, note: Note) -> None:
        """Check that the tree is the signed one: continuing from any other would sign a forgery."""
        size, root = note.checkpoint.size, note.checkpoint.root
        signer = checkpoints.signer_of(self._chain(), size)
        if not note.is_signed_by(signer):
            raise HistoryBroken(f"checkpoint forged: that of {size} events is not signed by {signer.vkey}")
        if self._growth.root() != root:
            raise HistoryBroken(f"tile wrong: the tiles do not lead to the checkpoint of {size} events; run verify")
        if self._groups.size == size:
            groups.check(self._groups, note)

    def _chain(self) -> list[Tenure]:
        """Return the published keys, after checking that this home trusts them. Raises HistoryBroken."""
        chain = tiles.tenures(self._connection)
        if chain and chain != self._trusted:
            trusted_chain(self._pins, chain, self._place, chain[-1].key.name)
            self._trusted = chain
        return chain

    def advance(self, on_pass: Callable[[], None] = lambda: None) -> bool:
        """Seal all new events, calling `on_pass` after each checkpoint. Return whether there were any."""
        begun = self._growth.size
        while self._seal():
            on_pass()
        return self._growth.size > begun

    def _seal(self) -> bool:
        sealed = self._growth.size
        if self._groups.size < sealed:  # a log from before, or restored: its groups are built once
            self._catch_up(sealed)
            return True
        row = self._connection.execute(HEAD, prepare=True).fetchone()
        head = row[0] if row else 0
        if head < sealed:
            raise HistoryBroken(
                f"truncated: the log ends at seq {head}, and a checkpoint of {sealed} events was signed; an older "
                "backup was restored, or events were removed"
            )
        if head == sealed:
            return False
        self._read(min(head, sealed + CHECKPOINT_EVENTS_MAX))
        self._hand(self._store(sealed))
        return True

    def _catch_up(self, sealed: int) -> None:
        groups.catch_up(self._connection, self._groups, sealed)
        note = tiles.latest(self._connection)
        if self._groups.size == sealed and note is not None:
            groups.check(self._groups, note)

    def _read(self, upto: int) -> None:
        """Add the log's events up to `upto` to the tree and to the groups."""
        while (after := self._growth.size) < upto:
            found = groups.read(self._connection, after, min(upto, after + READ_EVENTS_MAX))
            self._growth.extend(found.leaves)
            self._groups.extend(found.entries, len(found.leaves) // HASH_BYTES)

    def _store(self, sealed: int) -> str:
        """Store tiles and the signed checkpoint in one transaction; return its signed note (C2SP). After an error this
        object must be discarded: a new one starts again from the database."""
        growth, connection = self._growth, self._connection
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [KEYS_LOCK])
            key = self._signing_key(sealed)
            groups.store(connection, self._groups)
            lines = f"{checkpoints.PREVIOUS}{sealed}", self._groups.stated().line()
            note = key.sign(Checkpoint(key.public.name, growth.size, growth.root(), lines))
            with connection.cursor() as cursor, cursor.copy(STORE_TILES) as copy:
                copy.set_types(("int2", "int8", "bytea", "bytea"))
                for tile in growth.pop_full():
                    copy.write_row(tile)
            connection.execute(
                STORE_CHECKPOINT,
                [growth.size, note, growth.leaves(min(growth.size - sealed, growth.size % TILE_WIDTH))],
            )
        return note

    def _signing_key(self, sealed: int) -> PrivateKey:
        known = self._chain()
        if not known:
            return self._first_key(sealed)
        if self._key is None or self._key.public != known[-1].key:
            ledger_id = tiles.identity(self._connection)
            assert ledger_id is not None, "keys are published under a ledger's id"
            self._key = KeyRing(self._home, ledger_id, tiles.origin_of(ledger_id)).private(known[-1].key)
        return self._key

    def _first_key(self, sealed: int) -> PrivateKey:
        check_new(self._connection, self._pins, self._place)
        ledger_id = _named(self._connection)
        self._key = KeyRing(self._home, ledger_id, tiles.origin_of(ledger_id)).generate()
        self._connection.execute(PUBLISH, [self._key.public.vkey, sealed, None])
        return self._key


def trusted_chain(pins: Pins, chain: list[Tenure], place: str, origin: str) -> None:
    """Check that a home trusts the keys of a ledger, and pin the one whose private half is here, if none is pinned yet.

    A key begun here with --lost is trusted for sealing; to verify with, it must be pinned. Raises HistoryBroken.
    """
    pins.check_place(place, origin)
    found = pins.of_chain(origin, chain)
    if believed := [*found, *pins.made_here(origin, chain)]:  # a home that trusts none has no key to sign with either
        checkpoints.check_succession(chain, origin, pins=believed)
    for pin in found:
        pins.add(pin.key, pin.since)
    if found:
        pins.remember(place, origin)


def check_new(connection: Connection, pins: Pins, place: str) -> None:
    """Check that a log without published keys never had any: a first key would sign it as if it were new.

    Raises HistoryBroken if keys are on record in it, or if this home has seen another ledger in this database and there
    are events in it.
    """
    if records := key_record.on_record(connection):
        seq, event = records[-1]
        raise HistoryBroken(
            f"keys disagree at seq {seq}: the log has the key {event.vkey} on record, and no key is published: "
            "ledger.keys was emptied; restore it from a backup"
        )
    row = connection.execute(HEAD).fetchone()
    before = pins.ledger_at(place)
    if row and row[0] and before is not None:
        raise HistoryBroken(
            f"the database {place} had the ledger {before} when this home saw it last, and now has events, but no "
            "keys: they were removed, or another log was put in its place; compare it with a backup. If that was you, "
            f"remove the line of the database from {pins.path}"
        )


def check_record(connection: Connection, chain: list[Tenure], origin: str) -> None:
    """Check that the published keys and those on record in the log agree. Raises HistoryBroken."""
    records = dict(enumerate(key_record.on_record(connection), 1))
    if found := key_record.disagreement(chain, records, origin, is_complete=True):
        seq, detail = found
        raise HistoryBroken(f"keys disagree at seq {seq}: {detail}")


def _named(connection: Connection) -> UUID:
    """Return the ledger's id; give it one if it has none."""
    connection.execute(NAME, [uuid4()])
    ledger_id = tiles.identity(connection)
    assert ledger_id is not None, "it was named just now"
    return ledger_id


def _act_as(connection: Connection, role: Role) -> None:
    """Go on as a role of the database until the end of the transaction."""
    prefix = connections.prefix_on_record(connection)
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(f"{prefix}_{role}")))


def _is_elected(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [SEAL_LOCK]).fetchone()
    return bool(row and row[0])

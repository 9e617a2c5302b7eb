"""Ways to tamper with a log as its database's superuser, each with what `verify` must say of it.

A mutation is drawn from a seed, done inside a transaction of the connection given (which verification then looks
through, and which is rolled back), and names the faults that would be right and the seqs that the first wrong one may
lie in.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from adapters.postgres.connections import Connection
from adapters.verify.diagnosis import Fault


class Expected(NamedTuple):
    """What verification must find: one of these faults, at a place that covers `seq` and begins no earlier than
    `since`."""

    faults: set[Fault]
    seq: int
    since: int
    done: str


class Log(NamedTuple):
    """The log to be mutated: events and sizes of its checkpoints."""

    connection: Connection
    events: int
    sizes: list[int]

    @property
    def sealed(self) -> int:
        return self.sizes[-1]

    def run(self, statement: str, *params: object) -> None:
        self.connection.execute(statement, params)  # type: ignore[arg-type]

    def one(self, query: str, *params: object) -> object:
        row = self.connection.execute(query, params).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]


Mutation = Callable[[Log, random.Random], Expected]


def unguard(log: Log) -> None:
    """Switch off what stands in a superuser's way."""
    for table in ("events", "tiles", "checkpoints", "group_runs", "keys", "identity"):
        log.run(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")
    log.run("DROP INDEX ledger.events_notification_id_idx")
    log.run("CREATE INDEX ON ledger.events (notification_id)")


def exactly(fault: Fault, seq: int, done: str) -> Expected:
    return Expected({fault}, seq, seq, done)


def flip_bit(log: Log, draw: random.Random) -> Expected:
    """One bit of an event's bytes."""
    seq = draw.randint(1, log.sealed)
    bits = 8 * int(str(log.one("SELECT length(state) FROM ledger.events WHERE notification_id = %s", seq)))
    bit = draw.randrange(bits)
    log.run(
        "UPDATE ledger.events SET state = set_bit(state, %s, 1 - get_bit(state, %s)) WHERE notification_id = %s",
        bit, bit, seq,
    )  # fmt: skip
    return exactly(Fault.ALTERED, seq, f"bit {bit} of seq {seq}")


def change_column(log: Log, draw: random.Random) -> Expected:
    """A column, while the bytes stay."""
    seq = draw.randint(1, log.events)
    change = draw.choice([
        "recorded_at = recorded_at + interval '1 microsecond'",
        "recorded_at = recorded_at - interval '1 day'",
        "topic = topic || 'x'",
        "topic = 'OrderCanceled'",
        "originator_version = originator_version + 1000000",
        "originator_id = originator_id || 'x'",
        "execution_key = CASE WHEN execution_key IS NULL THEN 'main:X:E' END",
        "execution_key = coalesce(execution_key, '') || 'x'",
    ])  # fmt: skip
    log.run(f"UPDATE ledger.events SET {change} WHERE notification_id = %s", seq)
    return exactly(Fault.ALTERED, seq, f"{change} of seq {seq}")


def delete(log: Log, draw: random.Random) -> Expected:
    """One event or a few, leaving a gap."""
    seq, count = draw.randint(1, log.sealed - 10), draw.choice([1, 1, 2, 7])
    log.run("DELETE FROM ledger.events WHERE notification_id >= %s AND notification_id < %s", seq, seq + count)
    return exactly(Fault.MISSING, seq, f"{count} from seq {seq}")


def delete_and_close(log: Log, draw: random.Random) -> Expected:
    """One event, the later ones moved up."""
    seq = draw.randint(1, log.sealed - 1)
    log.run("DELETE FROM ledger.events WHERE notification_id = %s", seq)
    log.run("UPDATE ledger.events SET notification_id = notification_id - 1 WHERE notification_id > %s", seq)
    return exactly(Fault.MISSING, seq, f"seq {seq}, closed")


def insert(log: Log, draw: random.Random) -> Expected:
    """An event of ours, or a copy of another, the later ones moved down."""
    seq = draw.randint(1, log.sealed)
    log.run("UPDATE ledger.events SET notification_id = notification_id + 1 WHERE notification_id >= %s", seq)
    if draw.random() < 0.5:
        of = draw.choice([each for each in range(1, log.events + 2) if each != seq])
        how = f"a copy of what is now seq {of}"
        log.run(
            "INSERT INTO ledger.events SELECT 'copy', originator_version, topic, state, %s, recorded_at, NULL"
            " FROM ledger.events WHERE notification_id = %s",
            seq, of,
        )  # fmt: skip
    else:
        how = "an event of ours"
        log.run(
            "INSERT INTO ledger.events SELECT 'forged', 1, topic,"
            " convert_to(replace(convert_from(state, 'UTF8'), '\"actor\":\"', '\"actor\":\"x'), 'UTF8'),"
            " %s, recorded_at, NULL FROM ledger.events WHERE notification_id = %s",
            seq, seq + 1 if seq <= log.events else seq - 1,
        )  # fmt: skip
    return exactly(Fault.INSERTED, seq, f"{how} at seq {seq}")


def insert_beside(log: Log, draw: random.Random) -> Expected:
    """A second event under the same seq."""
    seq = draw.randint(1, log.sealed)
    log.run(
        "INSERT INTO ledger.events SELECT 'twin', 1, topic, state, notification_id, recorded_at, NULL"
        " FROM ledger.events WHERE notification_id = %s",
        seq,
    )
    return Expected({Fault.INSERTED, Fault.ALTERED}, seq, seq, f"a second seq {seq}")


def swap(log: Log, draw: random.Random) -> Expected:
    """Two events change places."""
    first, second = sorted(draw.sample(range(1, log.sealed + 1), 2)) if draw.random() < 0.6 else (0, 0)
    if not first:
        first = draw.randint(1, log.sealed - 1)
        second = first + 1
    log.run(
        "UPDATE ledger.events SET notification_id = %s - notification_id WHERE notification_id IN (%s, %s)",
        first + second, first, second,
    )  # fmt: skip
    return exactly(Fault.REORDERED, first, f"seq {first} and {second}")


def truncate_tail(log: Log, draw: random.Random) -> Expected:
    """The end of the log."""
    seq = draw.randint(1, log.sealed)
    log.run("DELETE FROM ledger.events WHERE notification_id >= %s", seq)
    return exactly(Fault.TRUNCATED, seq, f"from seq {seq}")


def change_row_and_leaf(log: Log, draw: random.Random) -> Expected:
    """An event, and its stored hash wherever it is; all that the signatures do not cover, if drawn so."""
    seq = draw.randint(1, log.sealed)
    log.run(
        "UPDATE ledger.events SET state = set_byte(state, 0, (get_byte(state, 0) + 1) %% 256)"
        " WHERE notification_id = %s",
        seq,
    )
    return _cover(log, draw, seq, f"seq {seq} with its leaf")


def change_amount_and_leaf(log: Log, draw: random.Random) -> Expected:
    """A record that still reads well, and its stored hash."""
    seq = draw.randint(1, log.sealed)
    log.run(
        "UPDATE ledger.events SET state ="
        " convert_to(replace(convert_from(state, 'UTF8'), '\"actor\":\"', '\"actor\":\"x'), 'UTF8')"
        " WHERE notification_id = %s",
        seq,
    )
    return _cover(log, draw, seq, f"the actor of seq {seq} with its leaf")


def _cover(log: Log, draw: random.Random, seq: int, done: str) -> Expected:
    tile, place = divmod(seq - 1, 256)
    leaf = "(SELECT sha256('\\x00'::bytea || state) FROM ledger.events WHERE notification_id = %s)"
    log.run(
        f"UPDATE ledger.tiles SET hashes = overlay(hashes PLACING {leaf} FROM %s)"
        " WHERE level = 0 AND tile_index = %s",
        seq, place * 32 + 1, tile,
    )  # fmt: skip
    for size, since in [(size, size - kept // 32) for size, kept in _kept(log) if size - kept // 32 < seq <= size]:
        log.run(
            f"UPDATE ledger.checkpoints SET leaves = overlay(leaves PLACING {leaf} FROM %s) WHERE size = %s",
            seq, (seq - 1 - since) * 32 + 1, size,
        )  # fmt: skip
    before = max((size for size in log.sizes if size < seq), default=0)
    return Expected({Fault.ALTERED}, seq, before + 1, done)


def _kept(log: Log) -> list[tuple[int, int]]:
    rows = log.connection.execute("SELECT size, length(leaves) FROM ledger.checkpoints").fetchall()
    return [(row[0], row[1]) for row in rows]


def change_leaf(log: Log, draw: random.Random) -> Expected:
    """A stored hash of a full tile, while the event stays."""
    seq = draw.randint(1, log.sealed // 256 * 256)
    tile, place = divmod(seq - 1, 256)
    log.run(
        "UPDATE ledger.tiles SET hashes = set_bit(hashes, %s, 1 - get_bit(hashes, %s))"
        " WHERE level = 0 AND tile_index = %s",
        place * 256 + 5, place * 256 + 5, tile,
    )  # fmt: skip
    return exactly(Fault.TILE, seq, f"the leaf of seq {seq}")


def change_tile_root(log: Log, draw: random.Random) -> Expected:
    tile = draw.randrange(log.sealed // 256)
    log.run("UPDATE ledger.tiles SET root = sha256(root) WHERE level = 0 AND tile_index = %s", tile)
    return Expected({Fault.TILE}, tile * 256 + 1, tile * 256 + 1, f"the root of tile {tile}")


def remove_tile(log: Log, draw: random.Random) -> Expected:
    tile = draw.randrange(log.sealed // 256)
    log.run("DELETE FROM ledger.tiles WHERE level = 0 AND tile_index = %s", tile)
    return Expected({Fault.TILE}, tile * 256 + 1, tile * 256 + 1, f"tile {tile}")


def change_kept_leaves(log: Log, draw: random.Random) -> Expected:
    """The hashes that a checkpoint keeps."""
    size, kept = draw.choice([(size, kept) for size, kept in _kept(log) if kept])
    log.run("UPDATE ledger.checkpoints SET leaves = set_bit(leaves, 9, 1 - get_bit(leaves, 9)) WHERE size = %s", size)
    return Expected({Fault.TILE}, size - kept // 32 + 1, size - kept // 32 + 1, f"leaves of checkpoint {size}")


def forge_checkpoint(log: Log, draw: random.Random) -> Expected:
    """A checkpoint's text, root, signature or place."""
    size = draw.choice(log.sizes)
    change = draw.choice([
        "note = replace(note, E'\\n\\n', E'\\nmore\\n\\n')",
        "note = regexp_replace(note, E'\\n[0-9]+\\n', E'\\n7\\n')",
        "note = regexp_replace(note, '(.)=\\n\\n', E'A=\\n\\n')",
        "note = replace(note, 'daybook/', 'daybook/0')",
        "note = left(note, -10) || 'AAAAAAAA' || right(note, 2)",
        "note = left(note, -3)",
        "note = ''",
    ])  # fmt: skip
    before = log.one("SELECT note FROM ledger.checkpoints WHERE size = %s", size)
    log.run(f"UPDATE ledger.checkpoints SET {change.replace('%', '%%')} WHERE size = %s", size)
    if log.one("SELECT note FROM ledger.checkpoints WHERE size = %s", size) == before:
        log.run("UPDATE ledger.checkpoints SET note = note || 'x' WHERE size = %s", size)
    return Expected({Fault.FORGED}, size, size, f"{change} of {size}")


def remove_checkpoint(log: Log, draw: random.Random) -> Expected:
    """One checkpoint, or a few, which the next one proves wrong."""
    first = draw.randrange(len(log.sizes) - 1)
    last = draw.randint(first, len(log.sizes) - 2) if draw.random() < 0.3 else first
    size = log.sizes[last]
    log.run("DELETE FROM ledger.checkpoints WHERE size >= %s AND size <= %s", log.sizes[first], size)
    edge = log.sealed // 256 * 256 + 1  # from here on the leaf hashes are in checkpoints only
    return Expected({Fault.FORGED, Fault.TILE}, max(size, edge) if size >= edge else size, min(size, edge), f"{size}")


def copy_over(log: Log, draw: random.Random) -> Expected:
    """The bytes of another event instead of one's own."""
    seq, other = draw.sample(range(1, log.sealed + 1), 2)
    log.run(
        "UPDATE ledger.events SET state = (SELECT state FROM ledger.events WHERE notification_id = %s)"
        " WHERE notification_id = %s",
        other, seq,
    )  # fmt: skip
    return exactly(Fault.ALTERED, seq, f"the bytes of seq {other} at {seq}")


MUTATIONS: list[Mutation] = [
    flip_bit, flip_bit, change_column, delete, delete_and_close, insert, insert_beside, swap, swap, truncate_tail,
    change_row_and_leaf, change_amount_and_leaf, change_leaf, change_tile_root, remove_tile, change_kept_leaves,
    forge_checkpoint, remove_checkpoint, copy_over,
]  # fmt: skip

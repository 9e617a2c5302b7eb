"""What a database's superuser without the private key can do: rewrite events, publish a key of their own, and sign
everything again with it."""

from uuid import UUID, uuid4

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec.structs import replace

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Connection
from adapters.proof import checkpoints, tiles
from adapters.proof.checkpoints import Checkpoint, PrivateKey
from adapters.proof.sealer import STORE_CHECKPOINT, STORE_TILES
from adapters.proof.tiles import Growth
from domain.ledger import SIGNING_STREAM, SigningKeyLost, SigningKeyStarted, schema
from domain.sealed.merkle import TILE_WIDTH

WAYS = {
    "alone": "the new key in place of the old one",
    "beside": "the new key after the old one, without a statement",
    "self-vouched": "the new key after the old one, with a statement that it signed itself",
    "before": "the new key first, and the old one from a size that is never reached",
    "on record": "the new key alone, and the key's event in the log forged as well",
    "on record as lost": "the new key after the old one, with a forged event that the old one was lost",
    "renamed": "another ledger id, with a key of its own",
}
FAR = 10**9


def new_key(origin: str) -> PrivateKey:
    return PrivateKey(origin, Ed25519PrivateKey.generate())


def rewritten(url: str, way: str) -> PrivateKey:
    """Alter an event, publish a new key in one of the WAYS, and sign everything again with it."""
    with psycopg.connect(url) as connection:
        for table in ("events", "tiles", "checkpoints", "group_runs", "keys", "identity"):
            connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        ledger_id = tiles.identity(connection)
        assert ledger_id is not None
        (old, *_) = tiles.tenures(connection)
        sizes = [row[0] for row in connection.execute("SELECT size FROM ledger.checkpoints ORDER BY size").fetchall()]
        if way == "renamed":
            ledger_id = uuid4()
            connection.execute("UPDATE ledger.identity SET ledger_id = %s", [ledger_id])
        key = new_key(tiles.origin_of(ledger_id))
        connection.execute(
            "UPDATE ledger.events SET state = state || ' ' WHERE notification_id ="
            " (SELECT min(notification_id) FROM ledger.events WHERE originator_id <> %s)",
            [SIGNING_STREAM],
        )
        sizes[-1] = _published(connection, way, key, old.key.vkey, sizes[-1])
        _signed_again(connection, ledger_id, key, sizes)
        for table in ("events", "tiles", "checkpoints", "group_runs", "keys", "identity"):
            connection.execute(f"ALTER TABLE ledger.{table} ENABLE TRIGGER ALL")  # type: ignore[arg-type]
    return key


def signed_again(url: str, pem: bytes) -> None:
    """What even the owner of the private key cannot hide from a witness: alter an event, and sign all again with it."""
    secret = load_pem_private_key(pem, password=None)
    assert isinstance(secret, Ed25519PrivateKey)
    with psycopg.connect(url) as connection:
        for table in ("events", "tiles", "checkpoints", "group_runs", "cosignatures"):
            connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        ledger_id = tiles.identity(connection)
        assert ledger_id is not None
        sizes = [row[0] for row in connection.execute("SELECT size FROM ledger.checkpoints ORDER BY size").fetchall()]
        connection.execute("UPDATE ledger.events SET state = state || ' ' WHERE notification_id = 2")
        connection.execute("DELETE FROM ledger.cosignatures")
        _signed_again(connection, ledger_id, PrivateKey(tiles.origin_of(ledger_id), secret), sizes)
        for table in ("events", "tiles", "checkpoints", "group_runs", "cosignatures"):
            connection.execute(f"ALTER TABLE ledger.{table} ENABLE TRIGGER ALL")  # type: ignore[arg-type]


def _published(connection: Connection, way: str, key: PrivateKey, old: str, size: int) -> int:
    """Publish the key; return the size of the last checkpoint to sign."""
    rows: list[tuple[str, int, str | None]] = [(key.public.vkey, 0, None)]
    statement = None
    if way == "self-vouched":
        note = Checkpoint(key.public.name, 0, b"\0" * 32, (checkpoints.NEXT_KEY + key.public.vkey,))
        statement = key.sign(note)
    if way in ("beside", "self-vouched", "on record as lost"):
        rows = [(old, 0, None), (key.public.vkey, 0, statement)]
    elif way == "before":
        rows += [(old, FAR, None)]
    connection.execute("DELETE FROM ledger.keys")
    for place, row in enumerate(rows, 1):
        query = "INSERT INTO ledger.keys (place, vkey, since_size, handover) VALUES (%s, %s, %s, %s)"
        connection.execute(query, [place, *row])
    query = (
        "SELECT topic, state, notification_id FROM ledger.events WHERE originator_id = %s ORDER BY originator_version"
    )
    topic, state, seq = connection.execute(query, [SIGNING_STREAM]).fetchall()[0]
    record = schema.decode(topic, bytes(state))
    if way in ("on record", "renamed", "before"):
        record = replace(record, event=SigningKeyStarted(key.public.vkey, 0))
        connection.execute(
            "UPDATE ledger.events SET state = %s WHERE notification_id = %s", [schema.encode(record), seq]
        )
    if way == "on record as lost":
        lost = replace(record, version=2, event=SigningKeyLost(key.public.vkey, 0, old))
        ends = connection.execute("SELECT max(notification_id), max(recorded_at) FROM ledger.events").fetchone()
        assert ends is not None
        connection.commit()
        with PostgresLog(_url(connection)) as log:
            log.append([replace(lost, recorded_at=ends[1])])
        size = ends[0] + 1
    return size


def _url(connection: Connection) -> str:
    info = connection.info
    return f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


def _signed_again(connection: Connection, ledger_id: UUID, key: PrivateKey, sizes: list[int]) -> None:
    connection.execute("DELETE FROM ledger.tiles")
    connection.execute("DELETE FROM ledger.checkpoints")
    connection.execute("DELETE FROM ledger.group_runs")
    growth, before = Growth(), 0
    for size in sizes:
        tiles.grow(connection, growth, size)
        lines = (f"{checkpoints.PREVIOUS}{before}",)
        note = key.sign(Checkpoint(tiles.origin_of(ledger_id), size, growth.root(), lines))
        with connection.cursor() as cursor, cursor.copy(STORE_TILES) as copy:
            copy.set_types(("int2", "int8", "bytea", "bytea"))
            for tile in growth.pop_full():
                copy.write_row(tile)
        leaves = growth.leaves(min(size - before, size % TILE_WIDTH))
        connection.execute(STORE_CHECKPOINT, [size, note, leaves])
        before = size

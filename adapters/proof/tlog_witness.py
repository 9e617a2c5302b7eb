"""A client of witnesses that speak the C2SP tlog-witness protocol: submits a checkpoint, and stores the cosignature.

The request names the size of the last checkpoint that the witness has cosigned, and proves that this one continues it.
A witness that remembers another size answers 409 with it, and is sent the proof from there.
"""

from urllib.parse import urlsplit

import httpx

from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.proof import checkpoints, cosigned, tiles
from adapters.proof.cosignatures import WitnessKey, cosigned_by, parse_lines, witness_key
from adapters.proof.tiles import Tiles
from domain.errors import HistoryBroken, InvalidInput, Unavailable
from domain.sealed import merkle

SCHEME = "witness+"
REQUEST_SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 256 * 1024
SIZE_TYPE = "text/x.tlog.size"
ATTEMPTS_MAX = 4
RULE = "witness+https://HOST/PREFIX#VKEY, with the public key of the witness"


class ViewsDiffer(HistoryBroken):
    """A witness has cosigned a history that ours does not continue: one of the two was rewritten, or ours cut short."""


def is_place(place: str) -> bool:
    """Return whether a setting names a witness of this protocol."""
    return place.startswith((f"{SCHEME}https:", f"{SCHEME}http:"))


def parsed(place: str) -> tuple[str, WitnessKey]:
    """Return the submission prefix and the key of a place. Raises InvalidInput."""
    prefix, _, vkey = place.removeprefix(SCHEME).partition("#")
    if not urlsplit(prefix).hostname or not vkey:
        raise InvalidInput("witnesses", prefix, RULE)
    return prefix.rstrip("/"), witness_key(vkey)


class TlogWitness:
    """Submits checkpoints of the ledger in the database `url` to one witness. For one thread."""

    def __init__(self, place: str, url: str) -> None:
        self._prefix, self._key = parsed(place)
        self._url = url
        self._client: httpx.Client | None = None
        self._connection: Connection | None = None
        self._known: int | None = None

    def __call__(self, text: str) -> None:
        """Get a checkpoint cosigned: this one, or the newest if the witness has a newer one than this.

        Raises ViewsDiffer; Unavailable if it must be tried again; httpx.HTTPError and psycopg.Error.
        """
        with reaching(self._url):
            try:
                self._submit(self._open(), text)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the connections to the witness and to the database; the next call opens others."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self._url, Role.SEALER)
        return self._connection

    def _submit(self, connection: Connection, text: str) -> None:
        if self._known is None:
            self._known = cosigned.last_of(connection, self._key)
        for _ in range(ATTEMPTS_MAX):
            size = checkpoints.parse(text).checkpoint.size
            if self._known > size:
                text, size = self._newest(connection, self._known)
            answer, body = self._post(self._body(connection, self._known, size, text))
            match answer.status_code:
                case 200:
                    self._store(connection, text, body)
                    self._known = size
                    return
                case 409:
                    self._known = self._size_in(answer, body)
                case 422:
                    known, self._known = self._known, None
                    raise ViewsDiffer(
                        f"the witness {self._key.name} has cosigned {known} events that our checkpoint of {size} does "
                        "not continue: our history was rewritten, or it was signed twice; keep what you have, and "
                        "compare with the witness's checkpoint (docs/keys-and-witnesses.md)"
                    )
                case 403:
                    raise Unavailable(
                        f"the witness {self._key.name} knows no key that signed our checkpoint (403): give it the key "
                        "that `daybook keys seal show` lists last"
                    )
                case 404:
                    raise Unavailable(
                        f"the witness {self._key.name} does not know this ledger (404): register it there"
                    )
                case status:
                    raise Unavailable(f"the witness {self._key.name} answers {status}: {body[:200].strip()!r}")
        raise Unavailable(f"the witness {self._key.name} names another size each time; it is tried again")

    def _newest(self, connection: Connection, known: int) -> tuple[str, int]:
        """Return our newest checkpoint, now that the witness has one of `known` events."""
        row = connection.execute(tiles.LATEST).fetchone()
        size, text = row or (0, "")
        if size < known:
            self._known = None
            raise ViewsDiffer(
                f"the witness {self._key.name} has cosigned {known} events, and our newest checkpoint is of {size}: "
                "events were removed, or an older backup was restored; do not record anything before you know which"
            )
        return text, size

    def _body(self, connection: Connection, old: int, size: int, text: str) -> str:
        proof = merkle.consistency_proof(old, size, Tiles(connection).node_at(size)) if 0 < old < size else []
        hashes = "".join(f"{checkpoints.encoded(each)}\n" for each in proof)
        return f"old {old}\n{hashes}\n{text}"

    def _post(self, body: str) -> tuple[httpx.Response, str]:
        url = f"{self._prefix}/add-checkpoint"
        if self._client is None:
            self._client = httpx.Client(timeout=REQUEST_SECONDS_MAX)
        with self._client.stream("POST", url, content=body.encode()) as answer:
            found = b""
            for part in answer.iter_bytes():
                found += part
                if len(found) > ANSWER_BYTES_MAX:
                    raise Unavailable(f"the witness {self._key.name} answers more than {ANSWER_BYTES_MAX} bytes")
        return answer, found.decode(errors="replace")

    def _size_in(self, answer: httpx.Response, body: str) -> int:
        size = body.removesuffix("\n")
        is_size = size.isascii() and size.isdecimal() and len(size) <= checkpoints.SIZE_DIGITS_MAX
        if not is_size or answer.headers.get("Content-Type") != SIZE_TYPE or int(size) == self._known:
            raise Unavailable(f"the witness {self._key.name} answers 409 without the size that it has cosigned")
        return int(size)

    def _store(self, connection: Connection, text: str, body: str) -> None:
        note = checkpoints.parse(text)
        answered = note._replace(signatures=tuple(parse_lines(body)))
        valid = cosigned_by(answered, [self._key])
        if not valid:
            raise Unavailable(f"the witness {self._key.name} has cosigned with another key than the one it is known by")
        cosigned.store(connection, note.checkpoint.size, valid)

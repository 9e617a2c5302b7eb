"""Encryption of personal data with one key per subject; deleting the key erases the data (crypto-shredding).

AES-SIV (RFC 5297) with 512-bit keys: the same text of the same subject in the same place is sealed to the same bytes,
so that a repeated request is recognised; the bytes reveal nothing else but the length in steps of 64. A sealed text is
bound to its subject and its place: anywhere else it does not open. Only the role CUSTODIAN reads the keys, and they are
not cached in memory.
"""

import base64
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from adapters.log.queries import streams
from adapters.postgres.connections import Role, connect, reaching
from adapters.postgres.pool import Pool
from domain.account import Personal
from domain.account import subject as subjects
from domain.errors import HistoryBroken, RequestRefused

PADDED_BYTES = 64
KEY_BITS = 512
TEXT_CHARACTERS_MAX = 256
CONTEXT = b"daybook personal 1"

MAKE = "INSERT INTO personal.subjects (subject, key) VALUES (%s, %s) ON CONFLICT DO NOTHING"
FIND = "SELECT key FROM personal.subjects WHERE subject = %s"
FORGET = """
INSERT INTO personal.subjects AS s (subject, key, forgotten_at) VALUES (%s, NULL, now())
ON CONFLICT (subject) DO UPDATE SET key = NULL, forgotten_at = now() WHERE s.key IS NOT NULL
"""
WIPE = "VACUUM (FULL) personal.subjects"  # rewrites the table's file, so that the deleted key is not left in it


class Read(NamedTuple):
    """Decrypted personal data. `text` is None once the subject is forgotten, or if the key is not in this database
    (bundles do not contain keys)."""

    subject_id: str
    text: str | None
    is_forgotten: bool


class Subjects:
    """Seals and opens personal data, and forgets subjects. Safe between threads; close it. Raises Unavailable."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = Pool(lambda: connect(url, Role.CUSTODIAN), connections_max=2)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def seal(self, subject_id: str, place: str, text: str) -> Personal:
        """Encrypt a text about a subject, bound to a place (`account main owner`). Creates the subject's key if needed.

        Raises RequestRefused if the subject was forgotten, or the text is invalid.
        """
        if not text.strip() or len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
            raise RequestRefused(f"a personal text is one line of 1 to {TEXT_CHARACTERS_MAX} characters")
        with reaching(self._url), self._pool.connection() as connection:
            connection.execute(MAKE, [subject_id, AESSIV.generate_key(KEY_BITS)])
            row = connection.execute(FIND, [subject_id]).fetchone()
        if row is None or row[0] is None:
            raise RequestRefused(
                "a subject that is known or new; this one was forgotten, and a new one needs another id",
                subject_id=subject_id,
            )
        padded = text.encode() + bytes(-len(text.encode()) % PADDED_BYTES)
        sealed = AESSIV(bytes(row[0])).encrypt(padded, _bound(subject_id, place))
        return Personal(subject_id, base64.b64encode(sealed).decode())

    def open(self, personal: Personal, place: str) -> Read:
        """Decrypt a sealed text. Raises HistoryBroken if it was not sealed in that place with the subject's key."""
        with reaching(self._url), self._pool.connection() as connection:
            row = connection.execute(FIND, [personal.subject_id]).fetchone()
        if row is None or row[0] is None:
            return Read(personal.subject_id, None, is_forgotten=row is not None)
        try:
            sealed = base64.b64decode(personal.sealed, validate=True)
            padded = AESSIV(bytes(row[0])).decrypt(sealed, _bound(personal.subject_id, place))
        except (InvalidTag, ValueError) as error:
            raise HistoryBroken(
                f"the personal data of {personal.subject_id} was not sealed for {place} with the key in this database; "
                "the key's backup may be of another ledger"
            ) from error
        return Read(personal.subject_id, padded.rstrip(b"\0").decode(), is_forgotten=False)

    def is_known(self, subject_id: str) -> bool:
        """Return whether the subject has, or had, a key."""
        with reaching(self._url), self._pool.connection() as connection:
            return connection.execute(FIND, [subject_id]).fetchone() is not None

    def forget(self, *subject_ids: str) -> list[str]:
        """Delete the keys of these subjects. Return those that had one, or were unknown here.

        The table is rewritten in any case, so that repeating an interrupted call completes it.
        """
        with reaching(self._url), self._pool.connection() as connection:
            forgotten = [each for each in subject_ids if connection.execute(FORGET, [each]).rowcount]
        with reaching(self._url), connect(self._url) as connection:
            connection.execute(WIPE)
        return forgotten

    def forgotten(self) -> list[str]:
        """Return the subjects that are forgotten according to the log, regardless of the keys here."""
        prefix = subjects.stream("")
        return [stream.removeprefix(prefix) for stream in streams(self._url, prefix)]


def _bound(subject_id: str, place: str) -> list[bytes]:
    return [CONTEXT, subject_id.encode(), place.encode()]

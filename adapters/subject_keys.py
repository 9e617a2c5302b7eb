"""The custodian of personal data: a key a subject, which seals and opens it, and which is deleted to forget it.

AES-SIV (RFC 5297) with a key of 512 bits: the same text of the same subject in the same place seals to the same bytes,
so that a request that is sent twice is recognised, and nothing else can be told from them but a length in steps of 64.
What is sealed is bound to its subject and its place: moved elsewhere it does not open. Only the role CUSTODIAN reads
the keys; nothing keeps them in memory between two uses.
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
WIPE = "VACUUM (FULL) personal.subjects"  # the old key's bytes leave the table's file with the file


class Read(NamedTuple):
    """What is personal, as far as it can be read: `text` is None once forgotten, or if the key is not in this database
    (a bundle does not bring it along)."""

    subject_id: str
    text: str | None
    is_forgotten: bool


class Subjects:
    """Seals, opens and forgets. Safe between threads; close it. Raises Unavailable."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = Pool(lambda: connect(url, Role.CUSTODIAN), connections_max=2)

    def close(self) -> None:
        """Give back the connections."""
        self._pool.close()

    def seal(self, subject_id: str, place: str, text: str) -> Personal:
        """A text about a subject, to be kept in one place (`account main owner`); the key is made if it is the first.

        Raises RequestRefused if the subject was forgotten, or the text is none.
        """
        if not text.strip() or len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
            raise RequestRefused(f"what is personal is a line of 1 to {TEXT_CHARACTERS_MAX} characters")
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
        """What was sealed in that place. Raises HistoryBroken if it was not sealed there with the subject's key."""
        with reaching(self._url), self._pool.connection() as connection:
            row = connection.execute(FIND, [personal.subject_id]).fetchone()
        if row is None or row[0] is None:
            return Read(personal.subject_id, None, is_forgotten=row is not None)
        try:
            sealed = base64.b64decode(personal.sealed, validate=True)
            padded = AESSIV(bytes(row[0])).decrypt(sealed, _bound(personal.subject_id, place))
        except (InvalidTag, ValueError) as error:
            raise HistoryBroken(
                f"what is personal of {personal.subject_id} was not sealed for {place} with the key that is kept here; "
                "the key's backup may be of another ledger"
            ) from error
        return Read(personal.subject_id, padded.rstrip(b"\0").decode(), is_forgotten=False)

    def is_known(self, subject_id: str) -> bool:
        """Whether there is, or was, a key of the subject."""
        with reaching(self._url), self._pool.connection() as connection:
            return connection.execute(FIND, [subject_id]).fetchone() is not None

    def forget(self, *who: str) -> list[str]:
        """Delete the keys of these subjects; which of them had one, or were unknown here.

        The table is written anew, whether there was one or not: a call that was cut off is made good by another.
        """
        with reaching(self._url), self._pool.connection() as connection:
            forgotten = [each for each in who if connection.execute(FORGET, [each]).rowcount]
        with reaching(self._url), connect(self._url) as connection:
            connection.execute(WIPE)
        return forgotten

    def forgotten(self) -> list[str]:
        """The subjects that the log says are forgotten, whatever keys are here."""
        prefix = subjects.stream("")
        return [stream.removeprefix(prefix) for stream in streams(self._url, prefix)]


def _bound(subject_id: str, place: str) -> list[bytes]:
    return [CONTEXT, subject_id.encode(), place.encode()]

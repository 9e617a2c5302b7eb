"""Report digests: a text that identifies a report exactly, and from which the same bytes can be reproduced.

It holds the report's name and format, the place in the log, the Merkle root of the log there, the release that made it,
the marks it was valued at, and the parameters. The marks are those known at `marks_seq`, of which the Merkle root of
the log is here too (`root`, or `marks_root` where they were known later than the rows), so that each is covered by the
batch it was recorded in; `marks` is their hash. Nothing is stored for it: the
report can be reproduced from the digest and the log (the live one, a restored one, a bundle's), and a log that was
altered has another root. `dbr1.` + base64url of deflated JSON + `.` + the first 8 hexadecimal digits of its SHA-256.
"""

import base64
import binascii
import hashlib
import zlib
from datetime import datetime

import msgspec
from msgspec import Struct

from api.encoding import decimal_text, time_text
from api.parameters import Format
from api.reports.catalog import Parameters
from domain.errors import InvalidInput
from projections.analytics.valuation import Marks

VERSION = "dbr1"
CHARACTERS_MAX = 8000
JSON_BYTES_MAX = 64 * 1024


class Digest(Struct, frozen=True, forbid_unknown_fields=True):
    """A report, its parameters and its sources. `recorded_at` is set for a past reading only.

    `marks_at` is the moment by which marks were observed. A digest without `marks_seq` is of an older release: its
    marks are those recorded by `marks_at`.
    """

    report: str
    form: Format
    seq: int
    root: str
    code: str
    parameters: Parameters
    is_past: bool = False
    recorded_at: datetime | None = None
    marks: str = ""
    marks_at: datetime | None = None
    marks_seq: int | None = None
    marks_root: str = ""

    def text(self) -> str:
        """Return the digest as text."""
        content = _ENCODER.encode(self)
        packed = base64.urlsafe_b64encode(zlib.compress(content, 9)).decode().rstrip("=")
        return f"{VERSION}.{packed}.{_check(content)}"


_ENCODER = msgspec.json.Encoder(order="deterministic")


def _check(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def parse(text: str) -> Digest:
    """Parse a digest. Raises InvalidInput."""
    version, _, rest = text.strip().partition(".")
    packed, _, check = rest.partition(".")
    if version != VERSION or len(text) > CHARACTERS_MAX:
        raise InvalidInput("digest", text, f"a report's digest, which begins with {VERSION}.")
    try:
        unpacking = zlib.decompressobj()
        packed_bytes = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        content = unpacking.decompress(packed_bytes, JSON_BYTES_MAX)
        if _check(content) == check and unpacking.eof:
            return msgspec.json.decode(content, type=Digest)
    except (binascii.Error, zlib.error, msgspec.DecodeError, ValueError) as error:
        raise InvalidInput("digest", text, "a whole digest; a part of it is missing or altered") from error
    raise InvalidInput("digest", text, "a whole digest; a part of it is missing or altered")


def hash_of(marks: Marks) -> str:
    """Return the SHA-256 of a set of marks: instrument, price, source and time of each."""
    listed = [
        [name, decimal_text(mark.price), mark.source, time_text(mark.mark_at)] for name, mark in sorted(marks.items())
    ]
    return hashlib.sha256(msgspec.json.encode(listed)).hexdigest()

"""The bytes of a file as people save it, as UTF-8 text with one kind of line end.

A file may be compressed (gzip), an archive of several (zip), or in UTF-16, and have the line ends of Windows, Unix or
an old Mac. Everything is streamed: what is read of a file at once has a fixed size. Bytes that are no UTF-8 are left
as they are; the reader of lines decides about each line on its own.
"""

import codecs
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from domain.errors import ReportUnreadable

SAMPLE_BYTES = 8_192
CHUNK_BYTES = 65_536
NESTED_MAX = 3  # a gzip in a zip in a gzip
MEMBERS_MAX = 1_000
GZIP, ZIP, SQLITE = b"\x1f\x8b", b"PK\x03\x04", b"SQLite format 3\0"
BROKEN = (EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Member(NamedTuple):
    """One text of a file: its name (of the archive's entry where it is in one) and its bytes."""

    name: str
    stream: BinaryIO


class Encoding(NamedTuple):
    """How a text is written: its codec, the length of its byte order mark, and whether lines end with CR alone."""

    codec: str
    bom_bytes: int
    is_mac: bool


@contextmanager
def opened(path: Path) -> Iterator[tuple[Iterator[Member], Callable[[], int]]]:
    """Open a file. Yield its texts, one after the other, and a function that returns how many bytes were read.

    Raises ReportUnreadable if it cannot be opened.
    """
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ReportUnreadable("file", str(path), f"a file that can be read ({reason})") from error
    with file:
        yield _members(path.name, file, NESTED_MAX), lambda: 0 if file.closed else file.tell()


def is_workbook(path: Path) -> bool:
    """Whether a file is a workbook of a spreadsheet."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("xl/") for name in archive.namelist())
    except (*BROKEN, ValueError):
        return False


def starts_with(path: Path, magic: bytes) -> bool:
    """Whether a file begins with these bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except (OSError, ValueError):
        return False


def _members(name: str, stream: BinaryIO, nested_max: int) -> Iterator[Member]:
    start = stream.read(4)
    stream.seek(0)
    if nested_max and start.startswith(GZIP):
        inner = gzip.GzipFile(fileobj=stream, mode="rb")
        yield from _members(name.removesuffix(".gz"), io.BufferedReader(inner), nested_max - 1)
    elif nested_max and start.startswith(ZIP):
        with zipfile.ZipFile(stream) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and _is_text_of(entry.filename)]
            if len(entries) > MEMBERS_MAX:
                raise ReportUnreadable("file", name, f"an archive of at most {MEMBERS_MAX} files")
            for entry in entries:
                with archive.open(entry) as content:  # which can seek
                    yield from _members(entry.filename, io.BufferedReader(content), nested_max - 1)  # type: ignore[type-var]
    else:
        yield Member(name, stream)


def _is_text_of(name: str) -> bool:
    return not name.startswith("__MACOSX/") and not Path(name).name.startswith(".")


def as_utf8(stream: BinaryIO) -> BinaryIO:
    """Return a text as UTF-8 without byte order mark, its lines ended by LF; bytes that are not UTF-8 as they are."""
    sample = stream.read(SAMPLE_BYTES)
    found = encoding_of(sample)
    stream.seek(found.bom_bytes)
    if found.codec == "utf-8" and not found.is_mac:
        return stream
    return io.BufferedReader(_Recoded(stream, found), CHUNK_BYTES)


def start_of(stream: BinaryIO) -> bytes:
    """Return the first bytes of a text behind blanks, without reading them."""
    start: bytes = stream.peek(64)[:64]  # type: ignore[attr-defined]
    return start.lstrip()


def encoding_of(sample: bytes) -> Encoding:
    """Determine how a text is written from its first bytes."""
    for bom, codec in _BOMS:
        if sample.startswith(bom):
            return Encoding(codec, len(bom), _is_mac(sample[len(bom) :], codec))
    codec = _without_bom(sample)
    return Encoding(codec, 0, _is_mac(sample, codec))


def _without_bom(sample: bytes) -> str:
    """UTF-16 without a byte order mark has a zero in nearly every second byte."""
    pairs = len(sample) // 2
    if pairs < 4:
        return "utf-8"
    odd, even = sample[1::2].count(0), sample[0::2].count(0)
    if odd > pairs * 0.8 and not even:
        return "utf-16-le"
    if even > pairs * 0.8 and not odd:
        return "utf-16-be"
    return "utf-8"


def _is_mac(sample: bytes, codec: str) -> bool:
    text = sample.decode(codec, errors="ignore")
    return "\r" in text.rstrip("\r") and "\n" not in text


class _Recoded(io.RawIOBase):
    """A text in another encoding, or with the line ends of an old Mac, as UTF-8 with LF."""

    def __init__(self, source: BinaryIO, encoding: Encoding) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding.codec)("replace") if encoding.codec != "utf-8" else None
        self._is_mac = encoding.is_mac
        self._rest = b""
        self._is_done = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill a buffer; return how many bytes, 0 at the end."""
        while not self._rest and not self._is_done:
            chunk = self._source.read(CHUNK_BYTES)
            self._is_done = not chunk
            if self._decoder is not None:
                chunk = self._decoder.decode(chunk, final=self._is_done).encode()
            self._rest = chunk.replace(b"\r", b"\n") if self._is_mac else chunk
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

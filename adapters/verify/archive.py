"""A zip from a stranger, opened within limits that follow from its own size.

Every event of a bundle brings a hash of 32 bytes that no compression shrinks, and its text packs about ten to one. So a
file of n bytes proves at most n / 32 events, and its parts are accepted up to 4 MiB + 32·n bytes unpacked: what claims
or holds more is refused before it is unpacked. Only stored and deflated parts are read, each is read in pieces, and two
of one name, or two that share bytes, are refused.
"""

import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from domain.errors import HistoryBroken
from domain.sealed.merkle import HASH_BYTES

# What `zipfile` raises for a file that is no bundle: truncated, changed, encrypted, or compressed by another method.
UNZIPPABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MEMBERS_MAX = 64
READ_BYTES_MAX = 128 * 1024  # at once; a zip's own directory is read at once
PIECE_BYTES = 32 * 1024
LINE_BYTES_MAX = 64 * 1024 * 1024
CONTENT_BYTES_MIN = 4 * 1024 * 1024
CONTENT_RATIO = 32
LOCAL_HEADER_BYTES = 30
IS_ENCRYPTED = 0x1


def content_bytes_max(file_bytes: int) -> int:
    """Return how many bytes the parts of a file of this size may have unpacked, all together."""
    return CONTENT_BYTES_MIN + CONTENT_RATIO * file_bytes


def events_max(file_bytes: int) -> int:
    """Return how many events a file of this size can prove: each brings a hash."""
    return file_bytes // HASH_BYTES


class Archive:
    """An open zip whose directory was checked; its contents are checked as they are read."""

    def __init__(self, path: Path, file: IO[bytes], size: int) -> None:
        self.path = path
        self.size = size
        self._zip = zipfile.ZipFile(file)
        self._parts = self._checked()

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        parts = self._zip.infolist()
        if len(parts) > MEMBERS_MAX:
            raise self._refused(f"it has {len(parts)} parts, and a bundle has fewer")
        found: dict[str, zipfile.ZipInfo] = {}
        end = 0
        for part in sorted(parts, key=lambda part: part.header_offset):
            name = part.filename[:80]
            if part.filename in found:
                raise self._refused(f"it has {name} twice")
            if part.compress_type not in METHODS or part.flag_bits & IS_ENCRYPTED:
                raise self._refused(f"{name} is encrypted, or compressed by a method other than deflate")
            if part.header_offset < end:
                raise self._refused(f"{name} shares bytes with another part")
            end = part.header_offset + LOCAL_HEADER_BYTES + part.compress_size
            if end > self.size:
                raise self._refused(f"{name} goes on beyond the end of the file")
            found[part.filename] = part
        content, allowed = sum(part.file_size for part in parts), content_bytes_max(self.size)
        if content > allowed:
            raise self._refused(
                f"its parts are {content} bytes unpacked, and a file of {self.size} bytes may have {allowed}; if it "
                "comes from a person you trust, have it exported again"
            )
        return found

    def has(self, name: str) -> bool:
        """Return whether there is a part of this name."""
        return name in self._parts

    def text(self, name: str, bytes_max: int) -> str:
        """Return a small part as text. Raises HistoryBroken if it is missing, damaged, too long or no text."""
        with self.opened(name) as file:
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise self._refused(f"its {name} is longer than {bytes_max} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise HistoryBroken(f"{name} of {self.path} is damaged: it is no text") from error

    def lines(self, name: str) -> Generator[bytes, None, None]:
        """Yield the lines of a part without their ends. Raises HistoryBroken for one that is cut short or too long."""
        with self.opened(name) as file:
            while line := file.readline(LINE_BYTES_MAX):
                if not line.endswith(b"\n"):
                    raise HistoryBroken(f"{name} of {self.path} was cut short")
                yield line[:-1]

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a part for reading in pieces. Raises HistoryBroken, also while it is read."""
        part = self._parts.get(name)
        if part is None:
            raise HistoryBroken(f"{self.path} is no whole bundle: it has no {name}")
        try:
            with self._zip.open(part) as raw, io.BufferedReader(raw, PIECE_BYTES) as file:  # type: ignore[type-var]
                yield file
        except UNZIPPABLE as error:
            raise HistoryBroken(f"{name} of {self.path} is damaged: get the bundle again ({error})") from error

    def _refused(self, reason: str) -> HistoryBroken:
        return HistoryBroken(f"{self.path} is no bundle of Daybook: {reason}")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a zip. Raises HistoryBroken if the file is none, was cut short, or is beyond the limits."""
    with _file(path) as (file, size):
        try:
            archive = Archive(path, file, size)
        except UNZIPPABLE as error:
            raise HistoryBroken(
                f"{path} is no whole bundle: it was cut short, or is something else; export it again"
            ) from error
        yield archive


@contextmanager
def _file(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file: a pipe or a device has no end to go back from."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise HistoryBroken(f"{path} cannot be read ({error.strerror}); name a file that you may read") from error
    with _Pieces(os.fdopen(descriptor, "rb", buffering=0)) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise HistoryBroken(f"{path} is no file: copy the bundle to one")
        yield file, found.st_size


class _Pieces(io.BufferedReader):
    """A file that is never read whole, even if a zip's directory claims to be that long."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = READ_BYTES_MAX + 1 if size is None or size < 0 else size
        if wanted > READ_BYTES_MAX + 1:
            raise zipfile.BadZipFile(f"its directory is {wanted} bytes long")
        found = super().read(wanted)
        if len(found) > READ_BYTES_MAX:
            raise zipfile.BadZipFile("its end is nowhere")
        return found

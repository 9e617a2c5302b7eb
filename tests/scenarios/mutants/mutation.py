"""Random changes of bytes, of JSON, and of a zip's structure, each drawn from a seed."""

import json
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any

CHANGES_MAX = 4
COPIED_BYTES_MAX = 64
TOKENS = (
    *(bytes([each]) for each in b"\0\n\r\t \"'\\,;:+-=[]{}\x1b\xff\xc3"),
    b"", b"\r\n", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b"\xe2\x80\x94 ", b"\xd9\xa3",
    b"\xef\xbc\x92", b"0", b"-1", b"1e999999999", b"1E-999999999", b"NaN", b"sNaN", b"Infinity", b"9" * 30, b"9" * 5000,
    b"0." + b"0" * 40, b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"null", b"true", b"[]",
    b"{}", b"[" * 3000, b'{"a":' * 3000, b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:60.999999999+23:59", b"A" * 70_000,
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**40, 0.1, "", "\0", "x", "\u00e9", "\x1b[2J",
    "NaN", "1e999999999", "-0", "9" * 200, "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "A" * 5000, [], {},
)  # fmt: skip
EXTREMES = (0, 1, 7, 12, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 2**63, 2**64 - 1)
# The fields behind each signature of a zip: their offsets, by the code of their width.
ZIP_FIELDS: dict[bytes, dict[str, tuple[int, ...]]] = {
    b"PK\3\4": {"H": (4, 6, 8, 10, 26, 28), "I": (14, 18, 22)},
    b"PK\1\2": {"H": (4, 6, 8, 10, 12, 28, 30, 32, 34, 36), "I": (16, 20, 24, 38, 42)},
    b"PK\5\6": {"H": (4, 6, 8, 10, 20), "I": (12, 16)},
}


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Change a few places."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, CHANGES_MAX)):
        draw.choice(BYTES)(changed, draw)
    return bytes(changed)


def _flip(data: bytearray, draw: random.Random) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _replace(data: bytearray, draw: random.Random) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.randrange(256)


def _truncate(data: bytearray, draw: random.Random) -> None:
    if draw.random() < 0.5:
        del data[draw.randint(0, len(data)) :]
    else:
        del data[: draw.randint(0, len(data))]


def _delete(data: bytearray, draw: random.Random) -> None:
    at = draw.randint(0, len(data))
    del data[at : at + draw.randint(1, COPIED_BYTES_MAX)]


def _splice(data: bytearray, draw: random.Random) -> None:
    start, at = draw.randint(0, len(data)), draw.randint(0, len(data))
    piece = data[start : start + draw.randint(1, COPIED_BYTES_MAX)]
    if draw.random() < 0.5:
        data[at:at] = piece
    else:
        data[at : at + len(piece)] = piece


def _insert(data: bytearray, draw: random.Random) -> None:
    at = draw.randint(0, len(data))
    data[at : at + draw.choice((0, 0, 1, 5, 20))] = draw.choice(TOKENS)


def _repeat_line(data: bytearray, draw: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    lines.insert(draw.randint(0, len(lines)), draw.choice(lines))
    data[:] = b"\n".join(lines)


def _drop_line(data: bytearray, draw: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    del lines[draw.randrange(len(lines))]
    data[:] = b"\n".join(lines)


BYTES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _replace, _truncate, _delete, _splice, _insert, _insert, _repeat_line, _drop_line,
)  # fmt: skip


def mutated_json(text: bytes, draw: random.Random) -> bytes:
    """Change the structure of a JSON text: a value, a name, an element more or less, deeper or shallower."""
    value = json.loads(text)
    for _ in range(draw.randint(1, CHANGES_MAX)):
        holders = _holders(value)
        if not holders:
            return json.dumps(draw.choice(VALUES)).encode()
        holder, place = draw.choice(holders)
        match draw.randrange(6):
            case 0 | 1 | 2:
                holder[place] = deepcopy(draw.choice(VALUES))
            case 3:
                del holder[place]
            case 4:
                holder[place] = [holder[place]] * draw.choice((1, 2, 20))
            case _ if isinstance(holder, dict):
                holder[draw.choice(("", "seq", "type", "x" * 50, "version"))] = holder.pop(place)
            case _:
                holder.insert(place, holder[place])
    return json.dumps(value, ensure_ascii=draw.random() < 0.5).encode(errors="surrogatepass")


def _holders(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: what holds it, and its name or number there."""
    match value:
        case dict():
            places = [(value, name) for name in value]
        case list():
            places = [(value, at) for at in range(len(value))]
        case _:
            return []
    return places + [place for holder, at in places for place in _holders(holder[at])]


def mutated_zip(data: bytes, draw: random.Random) -> bytes:
    """Change numbers in a zip's headers."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, CHANGES_MAX)):
        signature = draw.choice(tuple(ZIP_FIELDS))
        places = _places(data, signature)
        if not places:
            continue
        code = draw.choice("HI")
        offset = draw.choice(ZIP_FIELDS[signature][code])
        at, width = draw.choice(places) + offset, struct.calcsize("<" + code)
        if at + width > len(changed):
            continue
        (old,) = struct.unpack_from("<" + code, changed, at)
        flipped = old ^ (1 << draw.randrange(8 * width))
        new = draw.choice((*EXTREMES, old + 1, old - 1, flipped, draw.randrange(len(data))))
        struct.pack_into("<" + code, changed, at, new % (1 << 8 * width))
    return bytes(changed)


def _places(data: bytes, signature: bytes) -> list[int]:
    found, at = [], data.find(signature)
    while at >= 0:
        found.append(at)
        at = data.find(signature, at + 1)
    return found

"""Names as venues write them: ids, asset codes and symbols, and how they become parts of the names of streams.

A name is kept as it is written, capitals and small letters apart (SPCXx is not SPCXX), in the normal form NFC of
Unicode: two spellings that only a computer can distinguish are one name. What cannot be seen, or could pass for
something else on the screen, is refused: control characters, direction marks, zero-width and blank characters other
than a plain space between two others. So are quotation marks, `<`, `>`, `;`, `\\` and the backtick, which end a value
in one of the formats that Daybook writes.

Streams are named `kind:part:part`. In a part `:` is written `%3A` and `%` is written `%25`, so that two different
names never share a stream; names that have neither are written as they are.
"""

import hashlib
import re
import unicodedata
from functools import lru_cache

from domain.errors import InvalidInput

NAME_MAX = 200  # characters
NAME_BYTES_MAX = 400  # in UTF-8: five names and an instrument fit the 2,704 bytes of a key in PostgreSQL's indexes
VENUE_MAX = 32
PLAIN_MAX = 64
DIGEST_CHARACTERS = 32  # of the hash that shortens a name made of others
CACHED_MAX = 1 << 14

NEVER = "\"'`;<>\\"  # in no name
UNSEEN = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFFC, 0xFFFD), (0x1D159, 0x1D159), (0xE0100, 0xE01EF),
)  # fmt: skip  # letters, marks and signs that show nothing
_REFUSED_KINDS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Pi", "Pf"}

_ORDINARY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}", re.ASCII)  # most names; all there were before
_PLAIN_ASCII = re.compile(r"[!#-&(-:=?-\[\]^_a-~]+", re.ASCII)
_VENUE = re.compile(rf"[A-Z0-9][A-Z0-9_\-]{{0,{VENUE_MAX - 1}}}", re.ASCII)


def name(text: object, field: str) -> str:
    """Parse an id as a venue, a client or the desk writes it, in NFC. Raises InvalidInput naming `field` and rule."""
    if isinstance(text, str) and _ORDINARY.fullmatch(text):
        return text
    return _checked(text, field, "an id")


def currency(text: object, field: str) -> str:
    """Parse the code of a currency or asset as its venue writes it (ISO 4217 for fiat), in NFC. Raises InvalidInput."""
    if isinstance(text, str) and _ORDINARY.fullmatch(text):
        return text
    return _checked(text, field, "a currency or asset code")


def execution_id(text: object, field: str) -> str:
    """Parse the id of an execution or transfer: one without `@`, which marks lots that were moved."""
    found = name(text, field)
    if "@" in found:
        raise InvalidInput(field, text, "an id without '@', which marks lots that were moved")
    return found


def plain_name(text: object, field: str) -> str:
    """Parse a name of our own: 1 to 64 of letters, digits, `.`, `_`, `-`. Raises InvalidInput naming `field`."""
    if not isinstance(text, str) or not _ORDINARY.fullmatch(text):
        raise InvalidInput(field, text, "an id of 1 to 64 letters, digits, '.', '_' or '-'")
    return text


def venue(text: object, field: str) -> str:
    """Parse our code of a venue: capitals, digits, `_`, `-` (ISO 10383 where there is one). Raises InvalidInput."""
    if not isinstance(text, str) or not _VENUE.fullmatch(text):
        raise InvalidInput(field, text, f"a venue's code of 1 to {VENUE_MAX} capitals, digits, '_' or '-'")
    return text


def instrument_id(text: object, field: str = "instrument_id") -> str:
    """Parse `SYMBOL.VENUE`, the venue's own symbol and our code of the venue: what follows the last dot, in NFC.

    Raises InvalidInput naming `field`.
    """
    symbol, dot, code = text.rpartition(".") if isinstance(text, str) else ("", "", "")
    if not dot or not symbol or not _VENUE.fullmatch(code):
        raise InvalidInput(
            field, text, "an instrument id such as BTCUSDT.BINANCE: the venue's symbol, a dot, the venue in capitals"
        )
    return f"{symbol if _ORDINARY.fullmatch(symbol) else _checked(symbol, field, 'an instrument id')}.{code}"


def venue_of(instrument: str) -> str:
    """The venue's code in `SYMBOL.VENUE`."""
    return instrument.rpartition(".")[2]


def symbol_of(instrument: str) -> str:
    """The venue's own symbol in `SYMBOL.VENUE`."""
    return instrument.rpartition(".")[0]


def _checked(text: object, field: str, what: str) -> str:
    if not isinstance(text, str):
        raise InvalidInput(field, text, f"{what} given as text, in quotation marks")
    written, fault = _normal(text) if len(text) <= NAME_MAX * 2 else (text, "")
    if not written or len(written) > NAME_MAX:
        raise InvalidInput(field, text, f"{what} of 1 to {NAME_MAX} characters")
    if fault:
        raise InvalidInput(field, text, f"{what} {fault}")
    return written


@lru_cache(maxsize=CACHED_MAX)
def _normal(text: str) -> tuple[str, str]:
    """Return a text in NFC, and what is wrong with it as a name; "" if nothing."""
    if _PLAIN_ASCII.fullmatch(text):
        return text, _fault_of_dots(text)
    written = unicodedata.normalize("NFC", text)
    for character in written:  # of the normal form: that of U+037E is a semicolon
        if (fault := _fault(character)) is not None:
            return written, fault
    if written != written.strip(" "):
        return written, "without blanks at its beginning or end"
    if len(written.encode()) > NAME_BYTES_MAX:
        return written, f"of at most {NAME_BYTES_MAX} bytes in UTF-8"
    if written and unicodedata.category(written[0]).startswith("M"):
        return written, f"that begins with a character of its own, not with the mark U+{ord(written[0]):04X}"
    return written, _fault_of_dots(written)


def _fault_of_dots(text: str) -> str:
    return "other than '.' and '..', which are no name in a URL" if text in (".", "..") else ""


def _fault(character: str) -> str | None:
    """Return why a character is in no name; None if it may be."""
    code, kind = ord(character), unicodedata.category(character)
    if character in NEVER:
        return f"without the character {character}"
    if character == " " or not (kind in _REFUSED_KINDS or any(first <= code <= last for first, last in UNSEEN)):
        return None
    what = {"Cc": "control character", "Cs": "lone surrogate", "Pi": "quotation mark", "Pf": "quotation mark"}
    return f"without the {what.get(kind, 'blank or invisible character')} U+{code:04X}"


# Names in names


def joined(*names: str, by: str = "-") -> str:
    """Return a name made of others; one that would be too long is cut, and ends in a hash of all of it."""
    text = by.join(names)
    if len(text) <= NAME_MAX and (text.isascii() or len(text.encode()) <= NAME_BYTES_MAX):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]
    kept = text.encode()[: NAME_BYTES_MAX - DIGEST_CHARACTERS - 1].decode(errors="ignore")
    return f"{kept[: NAME_MAX - DIGEST_CHARACTERS - 1]}-{digest}"


def stream(kind: str, *names: str) -> str:
    """Return the name of a stream: its kind and the names that identify it, each so that it is one part."""
    return f"{kind}:{':'.join(map(part, names))}"


def part(text: str) -> str:
    """Return a name as a part of a stream's name."""
    if ":" in text or "%" in text:
        return text.replace("%", "%25").replace(":", "%3A")
    return text


def parts_of(stream_name: str) -> list[str]:
    """Return the kind of a stream and the names in it, as they were before `stream` joined them."""
    return [whole(each) for each in stream_name.split(":")]


def whole(text: str) -> str:
    """Return the name that is written as `text` in the name of a stream."""
    return text.replace("%3A", ":").replace("%25", "%") if "%" in text else text

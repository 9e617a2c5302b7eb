"""Numbers as files have them: with thousands, decimal commas, currency signs, exponents, and units glued to them.

How a comma is meant is decided for a whole file (`Style`), by values that fit one meaning only.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

from domain import values
from domain.errors import InvalidInput

ABSENT = frozenset({"", "-", "--", "n/a", "na", "none", "null", "nan", "\N{EN DASH}", "\N{EM DASH}"})
_SIGNS = "$€£¥₿₩₹₽₺₴₫₦฿Ξ"
_DROPPED = str.maketrans(dict.fromkeys(f"{_SIGNS} \u00a0\u2007\u2009\u202f'\u2019_"))
_PLAIN = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_CANONICAL = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{0,17}[1-9])?", re.ASCII)  # as the domain writes it: nothing to check
_SIGNED = re.compile(r"(?P<open>\()?(?P<sign>[+-])?(?P<number>[0-9.,]+([eE][+-]?[0-9]{1,3})?)(?P<close>\))?", re.ASCII)
_THOUSANDS = {
    ".": re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", re.ASCII),
    ",": re.compile(r"[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?", re.ASCII),
}
_GLUED = re.compile(r"(?P<number>[+-]?[0-9][0-9.,]*?)[ \u00a0]*(?P<unit>[A-Za-z][A-Za-z0-9]*)", re.ASCII)


class Style(StrEnum):
    """The sign before the decimals: a point, as in 1,234.5, or a comma, as in 1.234,5."""

    POINT = "."
    COMMA = ","


def style_of(texts: Iterable[str], delimiter: str) -> Style:
    """Determine the style of a file from its numbers: by those that fit one style only, else by its delimiter.

    Where columns are separated by commas, a number with one comma before three digits has thousands; elsewhere the
    comma stands before the decimals unless a point does in another number.
    """
    has_comma = False
    for text in texts:
        number = text.translate(_DROPPED).strip("()+-")
        if "," not in number and "." not in number:
            continue
        if "," in number and "." in number:
            return Style.COMMA if number.rindex(",") > number.rindex(".") else Style.POINT
        sign = "," if "," in number else "."
        has_comma = has_comma or sign == ","
        whole, _, rest = number.partition(sign)
        is_certain = not (rest.isdigit() and len(rest) == 3 and 1 <= len(whole) <= 3 and whole != "0")
        if is_certain and number.count(sign) == 1 and (rest.isdigit() or not rest):
            return Style(sign)
        if number.count(sign) > 1 and _THOUSANDS["." if sign == "," else ","].fullmatch(number):
            return Style.POINT if sign == "," else Style.COMMA
    return Style.COMMA if has_comma and delimiter != "," else Style.POINT


def number(text: str, field: str, style: Style = Style.POINT) -> Decimal:
    """Parse a number as it is in a file. Raises InvalidInput naming `field`."""
    if style is Style.POINT:
        if _CANONICAL.fullmatch(text):
            return Decimal(text) or values.ZERO
        if _PLAIN.fullmatch(text):
            return values.number(text, field)
    written = text.replace("\N{MINUS SIGN}", "-").translate(_DROPPED)
    found = _SIGNED.fullmatch(written.strip())
    if found is None or (found["open"] is None) != (found["close"] is None):
        raise InvalidInput(field, text, "a finite decimal number")
    digits, sign = found["number"], found["sign"] or ""
    if found["open"] is not None:
        sign = "-"
    other = "," if style is Style.POINT else "."
    if other in digits:
        if _THOUSANDS[style].fullmatch(digits) is None:
            raise InvalidInput(field, text, f"a number whose decimals follow a {style}, as the others of the file")
        digits = digits.replace(other, "")
    return values.number(sign + digits.replace(",", "."), field)


def is_absent(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().casefold() in ABSENT


def with_unit(text: str, units: Iterable[str]) -> tuple[str, str]:
    """Split a number and the unit glued to it, one of `units` where they fit, such as 50.01INCH of 1INCH.

    The unit is empty where there is none.
    """
    written = text.strip()
    for unit in units:
        if unit and written.endswith(unit) and written[: -len(unit)].strip()[-1:].isdigit():
            return written[: -len(unit)].strip(), unit
    found = _GLUED.fullmatch(written)
    if found is not None:
        return found["number"], found["unit"]
    return written, ""


def repaired(text: str) -> str:
    """Return the shortest decimal that is the same floating-point number, of one written with all 17 digits.

    A program that had 4.000005 writes 4.0000050000000002; other texts are returned as they are.
    """
    digits = text.strip().lstrip("+-").partition("e")[0].replace(".", "").lstrip("0")
    if len(digits) < 16:
        return text
    try:
        return repr(float(text))
    except (ValueError, OverflowError):
        return text

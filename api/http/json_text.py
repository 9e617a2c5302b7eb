"""JSON as it may be sent: what parsers read differently, or cannot hold, is refused before any of them reads it.

Refused are objects with a key given twice (one parser keeps the first, another the last), nesting beyond `DEPTH_MAX`,
text that is not UTF-8, lone surrogates, NUL characters, NaN and Infinity. `elements` cuts an array into its elements
without parsing them, so that one that cannot be read spoils itself alone.
"""

import json
import re
from typing import Any

from domain.errors import InvalidInput

DEPTH_MAX = 32
BRACKETS_AN_ELEMENT_MAX = 128  # on average
READABLE = "readable JSON"

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?+\Z)', re.DOTALL)  # one without an end is text up to the end
_NEXT_MARK = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+([\[\]{},])", re.DOTALL)
_NEXT_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)
_OPENING = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_KEY = re.compile(rb'"\s*:')
_SUSPECT = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")  # an escaped surrogate or NUL


def checked(body: bytes, field: str = "body") -> Any:
    """Return the value of JSON. Raises InvalidInput."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(field, None, f"text in UTF-8: byte {error.start} is not") from error
    if _is_deep(body):
        raise InvalidInput(field, None, f"{READABLE}, nested at most {DEPTH_MAX} deep")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        at = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInput(field, None, READABLE + at) from error
    if _SUSPECT.search(text) and (place := _unstorable(value, ())) is not None:
        raise InvalidInput(".".join(place) or field, None, "text without NUL characters and lone surrogates")
    return value


def keys_at_most(body: bytes) -> int:
    """Return how many keys the objects of JSON have, or more if there is text with a quote and a colon in it."""
    return len(_KEY.findall(body))


def elements(body: bytes, name: str, *, count_max: int) -> list[bytes]:
    """Return the elements of the array in `{"name": […]}`, each as it was written. Raises InvalidInput.

    It reads no further than one element beyond `count_max`.
    """
    if body.count(b"[") + body.count(b"{") > BRACKETS_AN_ELEMENT_MAX * count_max:
        raise InvalidInput("body", None, f"of at most {BRACKETS_AN_ELEMENT_MAX * count_max} objects and arrays")
    opening = re.compile(rb'\s*\{\s*"' + name.encode() + rb'"\s*:\s*\[').match(body)
    if opening is None:
        raise _no_array(name)
    found: list[bytes] = []
    depth, begin, place = 1, opening.end(), opening.end()
    while depth and len(found) <= count_max:
        mark = (_NEXT_MARK if depth == 1 else _NEXT_BRACKET).match(body, place)
        if mark is None:
            raise _no_array(name)
        place = mark.end()
        match mark[1]:
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}":
                depth -= 1
            case _:
                found.append(body[begin : place - 1].strip())
                begin = place
    if depth:
        return found
    last = body[begin : place - 1].strip()
    if body[place - 1 : place] != b"]" or body[place:].strip() != b"}":
        raise _no_array(name)
    return [*found, last] if last or found else []


def _no_array(name: str) -> InvalidInput:
    return InvalidInput("body", None, f'an object {{"{name}": […]}} in JSON, and nothing else')


def _is_deep(body: bytes) -> bool:
    """Return whether it is nested too deep, or its brackets do not match."""
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return False
    brackets = _STRINGS.sub(b"", body).translate(_OPENING, _NO_BRACKET)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(twice, None, "a key given once: it is in the object twice")
    return value


def _finite(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _unstorable(value: Any, place: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the place of a text that cannot be stored: one with a NUL or half a surrogate pair in it."""
    match value:
        case str():
            return place if "\0" in value or any("\ud800" <= each <= "\udfff" for each in value) else None
        case dict():
            named = [(key, place) for key in value], [(item, (*place, str(key))) for key, item in value.items()]
            found = (_unstorable(each, where) for part in named for each, where in part)
        case list():
            found = (_unstorable(each, (*place, str(index))) for index, each in enumerate(value))
        case _:
            return None
    return next((each for each in found if each is not None), None)

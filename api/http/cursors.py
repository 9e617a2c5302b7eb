"""Paging cursors, which name the last row of a page by its sort key, so that pages never overlap or skip."""

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from api.encoding import encoded
from domain.errors import InvalidInput
from projections.storage.tables import AnyRow

BOUND = 2**63  # of PostgreSQL's bigint


def cursor_of(row: AnyRow, by: tuple[str, ...]) -> str:
    """Return the cursor of a row when sorted by these columns."""
    return base64.urlsafe_b64encode(encoded([row[name] for name in by])).decode().rstrip("=")


def cursor_after(cursor: str | None, *types: Callable[[Any], Any]) -> tuple[Any, ...] | None:
    """Return the sort key that a cursor names; None without a cursor. Raises InvalidInput."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        decoded = msgspec.json.decode(text, type=list[str | int])
        if any(isinstance(each, int) and not -BOUND <= each < BOUND for each in decoded) or "\0" in "".join(
            each for each in decoded if isinstance(each, str)
        ):
            raise ValueError("no value of a column")  # noqa: TRY301 (refused like any other)
        return tuple(type_(value) for type_, value in zip(types, decoded, strict=True))
    except (binascii.Error, msgspec.DecodeError, ValueError, TypeError, ArithmeticError) as error:
        raise InvalidInput("cursor", cursor, "a cursor from `next` of the page before") from error

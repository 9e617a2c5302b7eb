"""Values as JSON and CSV. Decimals are text in plain notation, times ISO 8601 in UTC; nothing is rounded."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from domain.access import Approvals, Proposal
from domain.access.identity import Identity, text
from domain.values import exact

_FORMULA = re.compile(r"['\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
MINUTE_MS = 60_000
SECRET = ("fingerprint",)  # of a proposed request: of no use to who approves
_ENCODER = msgspec.json.Encoder()


def decimal_text(value: Decimal) -> str:
    """Return the exact number in plain notation: no exponent, no trailing zeros."""
    return format(exact(value), "f")


def grouped(value: Decimal) -> str:
    """Return the exact number with its thousands grouped by commas."""
    return f"{exact(value):,f}"


def time_text(value: datetime) -> str:
    """Return the time as ISO 8601 in UTC, to the microsecond where there are any."""
    return value.isoformat().replace("+00:00", "Z")


def age_text(age_ms: int) -> str:
    """Return an age in its largest unit, and the next below it: `3 d 4 h`, `12 min`, `0.8 s`."""
    if age_ms < MINUTE_MS:
        return f"{exact(Decimal(age_ms // 100).scaleb(-1)):f} s"
    minutes = age_ms // MINUTE_MS
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


_PLAIN = frozenset((str, int, bool, type(None)))


def plain(value: Any) -> Any:
    """Return the value in the types of JSON: text, integers, booleans, null, lists, objects."""
    if type(value) in _PLAIN:  # most are
        return value
    match value:
        case None | bool() | int():
            return value
        case Enum():
            return value.value
        case str():
            return value
        case Decimal():
            return decimal_text(value)
        case datetime():
            return time_text(value)
        case date():
            return value.isoformat()
        case msgspec.Struct():
            fields = ((field, getattr(value, field)) for field in value.__struct_fields__)
            return {field: plain(item) for field, item in fields if item is not msgspec.UNSET}
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case frozenset():
            return sorted(plain(item) for item in value)
        case Iterable():
            return [plain(item) for item in value]
        case _:
            raise TypeError(f"no JSON for {type(value).__name__}")


def encoded(value: Any) -> bytes:
    """Return the value as JSON bytes."""
    return _ENCODER.encode(plain(value))


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, newline: str = "\r\n") -> str:
    """Return rows as RFC 4180, a header first; absent values are empty, lists and objects JSON."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=newline)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def _cell(value: Any) -> str:
    shown = plain(value)
    if shown is None:
        return ""
    return csv_cell(shown if isinstance(shown, str) else encoded(shown).decode())


def csv_cell(text: str) -> str:
    """Return text as a cell of CSV that no spreadsheet computes.

    Text that begins as a formula does (`=`, `+`, `-`, `@`, also after spaces or in full width, a tab or a line break),
    or with an apostrophe, has an apostrophe put before it. Plain numbers such as `-0.5` stay as they are. Remove one
    apostrophe from the beginning of every cell that has one, and all text is as it was.
    """
    return f"'{text}" if _FORMULA.match(text) and not _PLAIN_NUMBER.fullmatch(text) else text


# Proposals


def proposal_record(proposal: Proposal, now: datetime) -> dict[str, Any]:
    """Return a proposal as a record: the request with its kind, who made it and who decided it, both in full."""
    fields = {name: value for name, value in plain(proposal.request).items() if name not in SECRET}
    return {
        "proposal_id": proposal.proposal_id,
        "status": proposal.status_at(now),
        "action": proposal.action or "policy",
        "request": {"type": type(proposal.request).__name__, **fields},
        "proposed_by": identity_record(proposal.proposed_by),
        "proposed_at": proposal.proposed_at,
        "expires_at": proposal.expires_at,
        "decided_by": identity_record(proposal.decided_by) if proposal.decided_by is not None else None,
        "reason": proposal.reason,
    }


def identity_record(one: Identity) -> dict[str, Any]:
    """Return an identity as it is stored, with its text for people."""
    return {"text": text(one), **msgspec.to_builtins(one)}


def policy_record(known: Approvals) -> dict[str, Any]:
    """Return the policy in force."""
    return {
        "actions": list(known.actions), "valid_hours": known.valid_hours, "counts_issuer": known.counts_issuer,
    }  # fmt: skip

"""Every error as RFC 9457 problem details, with a `type` that stays the same and the facts as members.

type                              | status | when
urn:daybook:problem:unreadable    | 422    | a field does not parse; `errors` names field, value and rule
urn:daybook:problem:moment-unknown | 422   | the clock was wrong at that moment: what was on record then is not known
urn:daybook:problem:refused       | 409    | a rule of accounts, orders or risk refused it; `rule` and its numbers
urn:daybook:problem:conflict      | 503    | other writers were first, again and again; send it again
urn:daybook:problem:unavailable   | 503    | the database cannot be reached; nothing was recorded
urn:daybook:problem:clock         | 503    | our clock cannot be right; nothing was recorded, see `daybook clock`
urn:daybook:problem:not-leading   | 503    | another process writes, the answer names it; nothing was recorded
urn:daybook:problem:out-of-range  | 422    | an exact figure would have more digits than are computed with
urn:daybook:problem:busy          | 429    | too many requests wait already; nothing was recorded, send it again
urn:daybook:problem:too-many-reads| 429    | expensive reads of this API key run and wait already; send it again
urn:daybook:problem:reads-busy    | 503    | expensive reads run and wait already, none ended in time; send it again
urn:daybook:problem:read-over-budget | 503 | an expensive read used up its time budget and was stopped; request less
urn:daybook:problem:read-ended    | 503    | the process of an expensive read ended unexpectedly; send it again
urn:daybook:problem:key-reused    | 422    | the Idempotency-Key was used before with another body
urn:daybook:problem:behind        | 503    | the read model did not reach `min_seq` in time; try again
urn:daybook:problem:history-broken| 500    | stored history cannot be what was written
urn:daybook:problem:upgrade-needed| 503    | the database is of an older Daybook: run `daybook upgrade`
urn:daybook:problem:unauthenticated | 401  | no key, or none that is valid
urn:daybook:problem:forbidden     | 403    | the key lacks the scope
urn:daybook:problem:not-found     | 404    | no such page, order, event
urn:daybook:problem:internal      | 500    | our mistake; the log has the details under `request_id`

Other HTTP errors (405, 413, 415) are `urn:daybook:problem:http-<status>`.
"""

from collections.abc import Sequence
from decimal import Decimal, DecimalException
from typing import Any

from api.encoding import decimal_text, plain
from domain.errors import (
    Busy,
    ClockInDoubt,
    HistoryBroken,
    InvalidInput,
    KeyReused,
    MomentUnknown,
    NotLeading,
    ProjectionStopped,
    RequestRefused,
    StreamConflict,
    Unavailable,
    UpgradeNeeded,
)
from domain.values import PRECISION

RETRY_AFTER_SECONDS = 1
VALUE_CHARACTERS_MAX = 200


class Problem(Exception):
    """An error of the API itself, shown as problem details."""

    def __init__(
        self, status: int, kind: str, title: str, detail: str, /, *, headers: dict[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.facts = facts

    def body(self, instance: str | None = None) -> dict[str, Any]:
        """Return the problem's members; a fact never displaces a standard one."""
        body: dict[str, Any] = {
            "type": f"urn:daybook:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        facts = {name: plain(value) for name, value in self.facts.items() if value is not None and name not in body}
        return body | ({"instance": instance} if instance else {}) | facts


def not_found(what: str, **facts: Any) -> Problem:
    """Return the problem that the resource named is not on record."""
    return Problem(404, "not-found", "Not found", f"{what} is not on record", **facts)


def unreadable(*errors: InvalidInput) -> Problem:
    """Return the problem of fields that do not parse."""
    return _unreadable([{"field": e.field, "value": _shown(e.value), "rule": e.rule} for e in errors])


def problem_of(error: Exception) -> Problem:
    """Return the problem that describes an error."""
    match error:
        case Problem():
            return error
        case RequestRefused():
            facts: dict[str, Any] = {name: _fact(value) for name, value in error.facts.items() if value is not None}
            shown = "; ".join(f"{name} {value}" for name, value in facts.items())
            detail = f"refused, because the rule is: {error.rule}" + (f" ({shown})" if shown else "")
            if "status" in facts:
                facts["ord_status"] = facts.pop("status")
            return Problem(409, "refused", "Refused by a rule", detail, **{**facts, "rule": error.rule})
        case InvalidInput():
            return unreadable(error)
        case StreamConflict():
            return Problem(503, "conflict", "Overtaken by other writers", str(error), headers=_retry())
        case NotLeading():
            return Problem(
                503, "not-leading", "Another process writes", str(error), headers=_retry(), leader_url=error.url
            )
        case Unavailable():
            return Problem(503, "unavailable", "Database unavailable", str(error), headers=_retry())
        case UpgradeNeeded():
            return Problem(
                503, "upgrade-needed", "Upgrade needed", str(error), revision=error.found, needed=error.newest
            )
        case ClockInDoubt():
            return Problem(503, "clock", "Clock in doubt", str(error), headers=_retry())
        case MomentUnknown():
            return Problem(
                422, "moment-unknown", "Moment not known", str(error),
                first_seq=error.first_seq, last_seq=error.last_seq, since=error.since, until=error.until,
            )  # fmt: skip
        case Busy():
            return Problem(429, "busy", "Too many requests wait", str(error), headers=_retry())
        case KeyReused():
            return Problem(422, "key-reused", "Key used before", str(error))
        case ProjectionStopped():
            return Problem(500, "projection-stopped", "Read model stopped", str(error))
        case HistoryBroken():
            return Problem(500, "history-broken", "History broken", str(error))
        case DecimalException():
            detail = f"a figure of this would have more than {PRECISION} digits, and is never rounded: select less"
            return Problem(422, "out-of-range", "Numbers too long", detail)
        case _:
            detail = "Something went wrong here; it is logged, with this request's id"
            return Problem(500, "internal", "Internal error", detail)


def _fact(value: Any) -> str:
    """Return a fact of a refusal as text, the same whether it was refused now or is on record."""
    return decimal_text(value) if isinstance(value, Decimal) else str(value)


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}


def _shown(value: Any) -> Any:
    """Return a rejected value as it may be shown: no long ones, nothing that JSON cannot hold."""
    if value is None or (isinstance(value, bool | int) and abs(value) < 2**53):
        return value
    if isinstance(value, float):
        return f"{value!r} as a JSON float"
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[:VALUE_CHARACTERS_MAX] + "…"


def field_errors(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """Return pydantic's errors as field, value and rule."""
    found = []
    for error in errors:
        place = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
        rule = (error.get("ctx") or {}).get("rule") or error["msg"]
        is_absent = error["type"] == "missing" or not place
        found.append(
            {
                "field": ".".join(place) or "body",
                "value": None if is_absent else _shown(error["input"]),
                "rule": str(rule),
            }
        )
    return found


def _unreadable(errors: list[dict[str, Any]]) -> Problem:
    first = errors[0]
    reason = first["rule"] if first["value"] is None else f"{first['value']!r} is not {first['rule']}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"{first['field']}: {reason}{more}"
    return Problem(422, "unreadable", "Not readable", detail, errors=errors)


def unreadable_fields(errors: Sequence[Any]) -> Problem:
    """Return the problem that lists pydantic's errors."""
    return _unreadable(field_errors(errors))

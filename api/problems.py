"""Every error as RFC 9457 problem details: a `type` and a `code` that stay the same, and the facts as members.

The `type` is the kind of problem (`KINDS`), the `code` what exactly: of a refusal the rule, else that of the kind.
docs/errors.md has all of them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, DecimalException
from typing import Any, NamedTuple

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
from domain.errors.codes import Code
from domain.values import PRECISION

FIELD_CODES = {  # of a field that cannot be read
    Code.MISSING: "it is not given, and has to be",
    Code.UNKNOWN_FIELD: "there is no such field",
    Code.NOT_ONE_OF: "it is not one of the values that there are",
    Code.WRONG_TYPE: "it is not text, a number, true or false, a list or an object, as it should be",
    Code.WRONG_LENGTH: "it is too short or too long",
    Code.WRONG_FORM: "the text has another form",
    Code.OUT_OF_BOUNDS: "the number is too small or too large",
    Code.NOT_JSON: "the text is no JSON",
    Code.INVALID_VALUE: "it breaks another rule, which `rule` names",
}
AWAY = {  # what is unavailable if it is not the database: the title, and when
    Code.DATABASE_BUSY: ("Database busy", "all connections to the database are in use; nothing was recorded"),
    Code.STARTING: ("Starting or ending", "the process starts or ends, and takes no requests; nothing was recorded"),
    Code.WRITER_TOO_SLOW: ("Too slow", "the writer did not answer in time; whether it recorded is not known"),
    Code.OUTCOME_UNKNOWN: ("Outcome unknown", "the database was lost while it recorded; whether it did is not known"),
}
GIVEN = "given"
PLACES = ("body", "query", "path", "header", "cookie")
BOUNDS = {  # the bound's name in the error, and what the value is not
    "greater_than": ("gt", "above {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "below {}"),
    "less_than_equal": ("le", "at most {}"),
    "multiple_of": ("multiple_of", "a multiple of {}"),
    "int_parsing_size": ("", "a whole number of fewer digits"),
    "finite_number": ("", "a finite number"),
}
LENGTHS = {
    "string_too_short": ("min_length", "text of at least {} characters"),
    "string_too_long": ("max_length", "text of at most {} characters"),
    "bytes_too_short": ("min_length", "at least {} bytes"),
    "bytes_too_long": ("max_length", "at most {} bytes"),
    "too_short": ("min_length", "a list of at least {} items"),
    "too_long": ("max_length", "a list of at most {} items"),
}
TYPES = {  # by the beginning of the kind of error
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a decimal number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "an object",
    "model": "an object",
    "mapping": "an object",
    "datetime": "a time such as 2026-01-02T03:04:05.678Z",
    "date": "a date such as 2026-01-02",
    "time": "a time such as 03:04:05",
    "timezone": "a time with its offset from UTC",
    "none": "null",
    "bytes": "text",
    "uuid": "a UUID",
    "url": "a URL",
}
FORMS = {  # patterns of fields, in words
    r"^[^\x00-\x1f\x7f]*$": "text without control characters",
    r"^[!-~]+$": "text of printable ASCII characters without spaces",
}
_OFFERED = re.compile("'([^']*)'")
_MEMBER = re.compile(
    r"(function|literal|constrained|nullable|lax|chain|union)[-\[]"
)  # of a union, in pydantic's places
RETRY_AFTER_SECONDS = 1
VALUE_CHARACTERS_MAX = 200


class Kind(NamedTuple):
    """A kind of problem: its status over HTTP, its code, and when it is answered."""

    status: int
    code: Code
    when: str


KINDS: dict[str, Kind] = {
    "refused": Kind(409, Code.REFUSED, "a rule refused it; `code` names the rule, with its numbers"),
    "unreadable": Kind(422, Code.UNREADABLE, "a field does not parse; `errors` has field, value, rule, code, message"),
    "key-reused": Kind(422, Code.IDEMPOTENCY_KEY_REUSED, "the Idempotency-Key was used before, with another request"),
    "moment-unknown": Kind(422, Code.MOMENT_UNKNOWN, "the clock was wrong then: what was on record is not known"),
    "out-of-range": Kind(422, Code.OUT_OF_RANGE, "an exact figure would have more digits than are computed with"),
    "not-found": Kind(404, Code.NOT_FOUND, "no such page, order, event"),
    "unauthenticated": Kind(401, Code.UNAUTHENTICATED, "no key, or none that is valid"),
    "key-expired": Kind(401, Code.KEY_EXPIRED, "the key has ended: its time is over, or it was rotated"),
    "forbidden": Kind(403, Code.FORBIDDEN, "the key lacks the scope"),
    "cross-site": Kind(403, Code.CROSS_SITE, "a page of another site sent it from a browser"),
    "http-405": Kind(405, Code.METHOD_NOT_ALLOWED, "the path has other methods, which `Allow` names"),
    "http-406": Kind(406, Code.NOT_ACCEPTABLE, "`Accept` excludes every form of the answer; `available` has them"),
    "http-408": Kind(408, Code.TOO_SLOW, "the body did not arrive in time; nothing was recorded"),
    "http-413": Kind(413, Code.TOO_LARGE, "the body is too large; send less at once"),
    "http-415": Kind(415, Code.UNSUPPORTED_MEDIA_TYPE, "a body is sent as application/json, in UTF-8"),
    "http-421": Kind(421, Code.MISDIRECTED, "`Host` has a name that this server does not answer to"),
    "too-many-reads": Kind(429, Code.TOO_MANY_READS, "expensive reads of this key run and wait already; send it again"),
    "busy": Kind(429, Code.BUSY, "too many requests wait already; nothing was recorded, send it again"),
    "unavailable": Kind(503, Code.DATABASE_UNAVAILABLE, "the database cannot be reached; send it again"),
    "not-ready": Kind(503, Code.NOT_READY, "of `/ready`: not all that it reports on works"),
    "not-leading": Kind(503, Code.NOT_LEADING, "another process writes; nothing was recorded, send it there"),
    "conflict": Kind(503, Code.CONFLICT, "other writers were first, again and again; send it again"),
    "clock": Kind(503, Code.CLOCK_IN_DOUBT, "our clock cannot be right; nothing was recorded, see `daybook clock`"),
    "reads-busy": Kind(503, Code.READS_BUSY, "expensive reads run and wait, none ended in time; send it again"),
    "read-over-budget": Kind(503, Code.READ_OVER_BUDGET, "an expensive read was stopped; request less"),
    "read-ended": Kind(503, Code.READ_ENDED, "the process of an expensive read ended; send it again"),
    "behind": Kind(503, Code.BEHIND, "the read model did not reach `min_seq` in time; send it again"),
    "hung-up": Kind(503, Code.HUNG_UP, "the client closed the connection before the answer"),
    "upgrade-needed": Kind(503, Code.UPGRADE_NEEDED, "the database is of an older Daybook: run `daybook upgrade`"),
    "projection-stopped": Kind(500, Code.PROJECTION_STOPPED, "a read model cannot fold an event"),
    "history-broken": Kind(500, Code.HISTORY_BROKEN, "stored history cannot be what was written"),
    "internal": Kind(500, Code.INTERNAL, "our mistake; the log has the details under `request_id`"),
    "altered-marks": Kind(409, Code.ALTERED_MARKS, "marks are not as the log committed to them"),
    "other-marks": Kind(409, Code.OTHER_MARKS, "the marks known when a report was made are not on record as then"),
    "other-log": Kind(409, Code.OTHER_LOG, "the log is not the one that a report was made from"),
    "does-not-fit": Kind(409, Code.DOES_NOT_FIT, "a value does not fit the columns of the form of file"),
    "too-precise": Kind(409, Code.TOO_PRECISE, "a figure has more digits than the form of file can hold"),
    "font": Kind(409, Code.FONT, "the font of DAYBOOK_PDF_FONT cannot be embedded in a PDF"),
    "port": Kind(409, Code.PORT_TAKEN, "of commands: the port cannot be listened on"),
    "usage": Kind(400, Code.USAGE, "of commands: options that do not fit together"),
}


def code_of_kind(kind: str) -> Code:
    """Return the code of a kind of problem; HTTP for a status that has no kind of its own."""
    return KINDS[kind].code if kind in KINDS else Code.HTTP


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

    @property
    def code(self) -> Code:
        """The stable code: of the rule that refused, else that of the kind of problem."""
        return Code(self.facts["code"]) if "code" in self.facts else code_of_kind(self.kind)

    def body(self, instance: str | None = None) -> dict[str, Any]:
        """Return the problem's members; a fact never displaces a standard one."""
        body: dict[str, Any] = {
            "type": f"urn:daybook:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        facts = {name: plain(value) for name, value in self.facts.items() if value is not None and name not in body}
        return body | ({"instance": instance} if instance else {}) | facts


def not_found(what: str, **facts: Any) -> Problem:
    """Return the problem that the resource named is not on record."""
    return Problem(404, "not-found", "Not found", f"{what} is not on record", **facts)


def unreadable(*errors: InvalidInput) -> Problem:
    """Return the problem of fields that do not parse."""
    return _unreadable([unreadable_field(each) for each in errors])


def problem_of(error: Exception) -> Problem:
    """Return the problem that describes an error."""
    match error:
        case Problem():
            return error
        case RequestRefused():
            return _refused(error)
        case InvalidInput():
            return unreadable(error)
        case StreamConflict():
            return Problem(503, "conflict", "Overtaken by other writers", str(error), headers=retry_after())
        case NotLeading():
            return Problem(
                503, "not-leading", "Another process writes", str(error), headers=retry_after(), leader_url=error.url
            )
        case Unavailable():
            title, _ = AWAY.get(error.code, ("Database unavailable", ""))
            return Problem(503, "unavailable", title, str(error), headers=retry_after(), code=error.code)
        case UpgradeNeeded():
            return Problem(
                503, "upgrade-needed", "Upgrade needed", str(error), revision=error.found, needed=error.newest
            )
        case ClockInDoubt():
            return Problem(503, "clock", "Clock in doubt", str(error), headers=retry_after())
        case MomentUnknown():
            return Problem(
                422, "moment-unknown", "Moment not known", str(error),
                first_seq=error.first_seq, last_seq=error.last_seq, since=error.since, until=error.until,
            )  # fmt: skip
        case Busy():
            return Problem(429, "busy", "Too many requests wait", str(error), headers=retry_after())
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


def _refused(error: RequestRefused) -> Problem:
    """Return a refusal: its code, its sentence, its rule, its numbers in one form, and its facts as they are stored."""
    facts: dict[str, Any] = {name: _fact(value) for name, value in error.facts.items() if value is not None}
    if "status" in facts:
        facts["ord_status"] = facts.pop("status")
    numbers = {name: value if name == "scope" else _fact(value) for name, value in error.numbers.items()}
    facts |= numbers | {"code": error.code, "rule": error.rule}
    return Problem(409, "refused", "Refused by a rule", error.sentence, **facts)


def _container(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def _fact(value: Any) -> str:
    """Return a fact of a refusal as text, the same whether it was refused now or is on record."""
    return decimal_text(value) if isinstance(value, Decimal) else str(value)


def retry_after() -> dict[str, str]:
    """Return the header of a problem that is over in a moment."""
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}


def _shown(value: Any) -> Any:
    """Return a rejected value as it may be shown: no long ones, nothing that JSON cannot hold."""
    if value is None or (isinstance(value, bool | int) and abs(value) < 2**53):
        return value
    if isinstance(value, float):
        return f"{value!r} as a JSON float"
    text = value if isinstance(value, str) else _container(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[:VALUE_CHARACTERS_MAX] + "…"


# Fields that cannot be read


def unreadable_field(error: InvalidInput) -> dict[str, Any]:
    """Return an error of a field: field, value and rule, its code, and the sentence."""
    is_missing = error.value is None and error.rule == GIVEN
    code = Code.MISSING if is_missing else Code.INVALID_VALUE
    return _field_error(error.field, error.value, error.rule, code=code)


def field_errors(errors: Sequence[Any], whole: str = "body") -> list[dict[str, Any]]:
    """Return pydantic's errors as errors of fields, in our words; `whole` names what they are in."""
    found: dict[str, dict[str, Any]] = {}
    for error in errors:
        shown = _of_pydantic(error, whole)
        found.setdefault(shown["field"], shown)  # one for all members of a union
    return list(found.values())


def _of_pydantic(error: Mapping[str, Any], whole: str) -> dict[str, Any]:
    place = [str(part) for part in error["loc"] if part not in PLACES and not _MEMBER.match(str(part))]
    kind, context = error["type"], error.get("ctx") or {}
    field, value = ".".join(place) or whole, error["input"]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        place.append(context["discriminator"].strip("'"))
        field = ".".join(filter(None, place))
        value = context.get("tag")
        kind = "enum" if kind == "union_tag_invalid" else "missing"
    if kind == "missing":
        return _field_error(field, None, GIVEN, code=Code.MISSING)
    code, rule = _rule_of(kind, context, error["msg"])
    shown = value if place and kind != "json_invalid" else None  # the whole of a body may be personal
    return _field_error(field, shown, rule, code=code, is_null=value is None)


def _rule_of(kind: str, context: Mapping[str, Any], otherwise: str) -> tuple[Code, str]:
    """Return the code and the rule of a kind of pydantic's errors: what the value is not."""
    if "rule" in context:
        return Code.INVALID_VALUE, str(context["rule"])
    if kind in ("enum", "literal_error") or "expected_tags" in context:
        offered = str(context.get("expected") or context.get("expected_tags"))
        return Code.NOT_ONE_OF, f"one of {', '.join(_OFFERED.findall(offered)) or offered}"
    if kind == "extra_forbidden":
        return Code.UNKNOWN_FIELD, "a field that is known here; leave it out"
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        return Code.OUT_OF_BOUNDS, words.format(context.get(name))
    if kind in LENGTHS:
        name, words = LENGTHS[kind]
        return Code.WRONG_LENGTH, words.format(context.get(name))
    if kind == "string_pattern_mismatch":
        return Code.WRONG_FORM, FORMS.get(context["pattern"], f"text of the form {context['pattern']}")
    if kind == "json_invalid":
        return Code.NOT_JSON, f"readable JSON: {context.get('error', otherwise)}"
    if kind in ("value_error", "assertion_error"):
        return Code.INVALID_VALUE, str(context.get("error", otherwise))
    stem = next((stem for stem in TYPES if kind.startswith(stem)), "")
    return Code.WRONG_TYPE, TYPES.get(stem, "a value of the type documented")


def _field_error(field: str, value: Any, rule: str, *, code: Code, is_null: bool = False) -> dict[str, Any]:
    """Return an error of a field; `is_null` where JSON's null was given."""
    shown = _shown(value)
    if code is Code.MISSING:
        message = f"{field}: is missing, and has to be given"
    elif code is Code.UNKNOWN_FIELD:
        message = f"{field}: is not {rule}"
    elif shown is None:
        message = f"{field}: null is not {rule}" if is_null else f"{field}: has to be {rule}"
    else:
        message = f"{field}: {_quoted(shown)} is not {rule}"
    return {"field": field, "value": shown, "rule": rule, "code": code, "message": message}


def _quoted(value: Any) -> str:
    return repr(value) if isinstance(value, str) and value[:1] not in ("{", "[") else str(value)


def _unreadable(errors: list[dict[str, Any]]) -> Problem:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(422, "unreadable", "Not readable", f"{errors[0]['message']}{more}", errors=errors)


def unreadable_fields(errors: Sequence[Any]) -> Problem:
    """Return the problem that lists pydantic's errors."""
    return _unreadable(field_errors(errors))

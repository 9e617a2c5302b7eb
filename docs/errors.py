"""Writes docs/errors.md, every code with its rule and its sentence: `python docs/errors.py`."""

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "errors.md"
sys.path.insert(0, str(ROOT))

from api.problems import AWAY, FIELD_CODES, KINDS  # noqa: E402
from domain.reasons.codes import Code  # noqa: E402
from domain.reasons.rules import BREAKS, LIMIT_CODES, NOT_BOOKED, REFUSALS, Rule  # noqa: E402

HEAD = """# Errors

Every code by which Daybook says why it refused, what broke, or why it did not answer. This page is written from the
code by `python docs/errors.py`; a test fails when it is not current.

An error over HTTP is an RFC 9457 problem (`application/problem+json`), and the same object with `--json` on the
command line. `code` is for programs: it is never renamed or given another meaning. `detail` is a sentence for people,
and may change. `type` is the kind of problem.

```json
{
  "type": "urn:daybook:problem:refused", "title": "Refused by a rule", "status": 409, "code": "MAX_POSITION",
  "detail": "MAX_POSITION exceeded: 2.4 of 1.5 BTC", "rule": "MAX_POSITION is not exceeded",
  "used": "1.4", "would_be": "2.4", "limit": "1.5", "unit": "BTC",
  "scope": {"account_id": "main", "strategy_id": null, "instrument_id": null, "venue": null, "asset": null}
}
```

Numbers have one form, decimals as text: of a limit what is `used`, what it `would_be` with the order, and the `limit`;
of other rules what was `requested` and the `limit` it is held against. `unit` is a currency, `contracts`, `orders`, `s`
or `ms`; a fraction has none. `scope` is what a limit is of, null being any; its `instrument_id` is that of the order.
Further members are the facts of the rule.

## What is on record

An order that any rule refuses is on record with the rule: `GET /v1/orders` shows it as REJECTED with `code`, `rule` and
`facts`, `daybook why` explains it, and the same order again gets the same refusal. Use a new `cl_ord_id` to try again.
Three refusals of an order are not on record, because there is nothing to record them with, or another order has its
place: UNKNOWN_ACCOUNT, UNKNOWN_INSTRUMENT and CL_ORD_ID_USED. What cannot be read (422) is not on record either.

Of replacements, those refused by a limit or a kill switch are on record. Other requests (accounts, instruments, limits,
keys, transfers, ...) are answered, and leave nothing when they are refused. Venue reports are never refused: they are
recorded, kept as a break, or kept raw.

The code follows from the rule that an event has stored, so that refusals of older releases have theirs too. A rule that
only an older release knew has the code REFUSED.

## When to send it again

| answer | send it again |
|---|---|
| 409, 422 and other 4xx | not as it is: the answer is the same |
| 429, 503 with `Retry-After` | after so many seconds, with the same `Idempotency-Key` or ids: nothing is done twice |
| 503 NOT_LEADING | to `leader_url` |
| 503 OUTCOME_UNKNOWN, or no answer | with the same key or ids: the answer says what became of it |
| `Idempotency-Replayed: true` | it is the stored answer to an earlier request under the same `Idempotency-Key` |

An `Idempotency-Key` names one request: method, path and body as parsed. The sequence of the body's keys, spaces and
escapes do not matter, nor how a decimal is written (`1`, `"1.0"`, `"1.00"`); anything else does, and is 422
IDEMPOTENCY_KEY_REUSED. Without a key the ids of the request do the same: 201 the first time, 200 for a repetition.
"""


def page() -> str:
    """The page."""
    lines = [
        HEAD.rstrip(),
        "",
        "## Kinds of problems",
        "",
        "| `type` after `urn:daybook:problem:` | status | `code` | when |",
    ]
    lines += ["|---|---|---|---|"]
    lines += [f"| {name} | {kind.status} | {kind.code} | {kind.when} |" for name, kind in KINDS.items()]
    lines += [
        "",
        "Of the kind `unavailable`, other codes say that the database is not gone:",
        "",
        "| code | when |",
        "|---|---|",
    ]
    lines += [f"| {code} | {when} |" for code, (_, when) in AWAY.items()]
    lines += ["", "## Refusals", "", "The rule is as events store it; … stands for what differs.", ""]
    lines += ["| code | rule | sentence |", "|---|---|---|", *_rows(REFUSALS)]
    lines += ["", "## Breaks", "", *BREAKS_HEAD, "| code | in the book | rule | sentence |", "|---|---|---|---|"]
    lines += [
        f"| {rule.code} | {'no' if rule.code in NOT_BOOKED else 'yes'} | {_text(rule.text)} | {_text(rule.sentence)} |"
        for rule in BREAKS
    ]
    lines += ["", f"A break of a reconciliation has the code {Code.RECONCILIATION}, and its kind as `rule`."]
    lines += ["", "## Fields", "", *FIELDS_HEAD, "| code | when |", "|---|---|"]
    lines += [f"| {code} | {when} |" for code, when in FIELD_CODES.items()]
    return "\n".join(lines) + "\n"


BREAKS_HEAD = [
    "A venue report has happened, and is never refused. `POST /v1/venue-reports` answers for each report:",
    "",
    "| `status` | `booked` | meaning |",
    "|---|---|---|",
    "| `recorded` | true | new, and in the book |",
    "| `known` | true | reported before; nothing was added |",
    "| `broken` | true | new and in the book, and a break was opened beside it; `code` and `rule` name it |",
    "| `not_booked` | false | it contradicts what is on record, or amends a fill that is not: kept as a break |",
    "| `unreadable` | false | kept raw, as evidence; `errors` says why |",
    "",
]
FIELDS_HEAD = [
    "A problem of the kind `unreadable` has `errors`: the `field`, its `value`, the `rule` (what the value is not), a",
    "`code`, and a `message`, such as `side: 'buy' is not one of BUY, SELL`.",
    "",
]


def _rows(rules: Iterable[Rule]) -> list[str]:
    names = {rule: rule.code if rule.code in LIMIT_CODES else "{…}" for rule in rules}
    return [f"| {rule.code} | {_text(rule.text)} | {_text(rule.sentence, name)} |" for rule, name in names.items()]


def _text(text: str, code: str = "{…}") -> str:
    shown = text.replace("{}", "…").replace("|", "\\|")
    return shown.replace("[", "(").replace("]", ")").replace("{0}", code).replace("{1}", "{…}").replace("{2}", "{…}")


if __name__ == "__main__":
    PAGE.write_text(page())

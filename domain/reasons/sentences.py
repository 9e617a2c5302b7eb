"""Sentences: the rule of a text that was raised or stored, what it reads like in one case, and its numbers."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from domain.reasons.codes import Code
from domain.reasons.rules import EXCEEDED, LIMIT_CODES, RULES, Rule

FOUND_MAX = 4096  # cached
OF_A_FIELD = ("{} is ", "{} above ", "{} below ")  # texts that begin with the name of a field
_FIELD = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_FRACTIONS = {Code.PRICE_COLLAR, Code.MAX_CONCENTRATION, Code.MAX_DRAWDOWN, Code.MAX_LEVERAGE}
_UNITS = {Code.MAX_MARK_AGE: "s", Code.MARK_STALE: "ms"} | dict.fromkeys(
    (Code.MAX_OPEN_ORDERS, Code.MAX_ORDERS_PER_SECOND, Code.MAX_ORDERS_PER_MINUTE), "orders"
)
OF_QUANTITY = frozenset({Code.MAX_POSITION, Code.MAX_ORDER_QTY})  # their unit follows from the instrument
SCOPE = ("account_id", "strategy_id", "instrument_id", "venue", "asset")


class Found(NamedTuple):
    """A rule, and what its text has in the places that differ."""

    rule: Rule
    parts: tuple[str, ...]


def _pattern(text: str) -> re.Pattern[str]:
    first, *rest = ("(.+?)" + re.escape(part) for part in text.split("{}")[1:])
    if text.startswith(OF_A_FIELD):
        first = first.replace(".+?", r"\w[\w.]*")
    return re.compile(re.escape(text.partition("{}")[0]) + first + "".join(rest), re.DOTALL)


_PLAIN = {rule.text: Found(rule, ()) for rule in RULES if "{}" not in rule.text}
_LIMITS = {
    EXCEEDED.replace("{}", code): Found(_PLAIN[EXCEEDED.replace("{}", code)].rule, (code,)) for code in LIMIT_CODES
}
_OTHERS = [
    (_pattern(rule.text), rule)
    for rule in sorted(RULES, key=lambda rule: len(rule.text.replace("{}", "")), reverse=True)
    if "{}" in rule.text
]


@lru_cache(FOUND_MAX)
def find(text: str) -> Found | None:
    """Return the rule of a text; None for one that no release of ours has raised."""
    plain = _LIMITS.get(text) or _PLAIN.get(text)
    if plain is not None:
        return plain
    matches = ((rule, pattern.fullmatch(text)) for pattern, rule in _OTHERS)
    return next((Found(rule, match.groups()) for rule, match in matches if match is not None), None)


def code_of(text: str | None) -> Code | None:
    """Return the code of a rule's text; REFUSED for one that is not known, None for none."""
    if not text:
        return None
    found = find(text)
    return found.rule.code if found is not None else Code.REFUSED


def sentence(text: str, facts: Mapping[str, Any], unit: str | None = None) -> str:
    """Return what the refusal or break by a rule reads like; `unit` is that of its quantities, if it is known."""
    found = find(text)
    if found is None:
        return f"this rule is not kept: {text}"
    shown = {str(index): part for index, part in enumerate(found.parts)}
    shown |= {name: as_text(fact) for name, fact in facts.items() if fact is not None}
    if found.rule.code in LIMIT_CODES:
        shown["would_be"] = shown.get("asked", "?")
    if found.parts and found.parts[0] in shown:
        shown["value"] = shown[found.parts[0]]
    if (known_unit := _unit(found.rule.code, facts, unit)) is not None:
        shown["unit"] = known_unit
    kept = _OPTIONAL.sub(lambda part: part[1] if _is_known(part[1], shown) else "", found.rule.sentence)
    return _FIELD.sub(lambda field: shown.get(field[1], "none"), kept)


def numbers(text: str, facts: Mapping[str, Any], unit: str | None = None) -> dict[str, Any]:
    """Return the numbers of a rule in one form: what was `used`, `requested`, what it `would_be`, the `limit`, their
    `unit`, and the `scope` of a limit.
    """
    found = find(text)
    if found is None:
        return {}
    rule = found.rule
    requested, limit = (
        name.replace("{0}", found.parts[0] if found.parts else "") for name in (rule.requested, rule.limit)
    )
    given: dict[str, Any] = {"limit": facts.get(limit), "unit": _unit(rule.code, facts, unit)}
    if rule.code in LIMIT_CODES:
        given |= {"used": facts.get("used"), "would_be": facts.get("asked")}
        given["scope"] = {
            name: facts.get("whose" if name == "account_id" else name) for name in SCOPE
        }  # fmt: skip
    elif requested:
        given["requested"] = facts.get(requested)
    return {name: value for name, value in given.items() if value is not None}


def _unit(code: Code, facts: Mapping[str, Any], unit: str | None) -> str | None:
    if facts.get("currency"):
        return str(facts["currency"])
    if code in _UNITS:
        return _UNITS[code]
    return unit if code in OF_QUANTITY else None


def _is_known(part: str, shown: Mapping[str, str]) -> bool:
    return all(name in shown for name in _FIELD.findall(part))


def as_text(fact: Any) -> str:
    """Return a fact as it is shown in a sentence: a number in plain notation, a time in UTC."""
    match fact:
        case Decimal() if fact.is_finite():
            text = format(fact, "f")
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            return fact.isoformat().replace("+00:00", "Z")
        case list() | tuple() | set() | frozenset():
            return ", ".join(map(as_text, fact))
        case _:
            return str(fact)

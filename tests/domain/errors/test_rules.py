"""Codes: every rule that is raised or breaks has one, with a sentence, and no code is ever renamed."""

import ast
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from domain.errors import RequestRefused
from domain.errors.codes import Code
from domain.errors.rules import EXCEEDED, LIMIT_CODES, REFUSALS, RULES
from domain.errors.sentences import code_of, find, numbers, sentence
from domain.order import OrderRefused, breaks
from domain.risk import Measure
from tests import CHECKOUT

ROOMS = ("domain", "adapters", "projections", "api")
RAISED = {"RequestRefused": 0, "OrderBroken": 1, "AccountBroken": 1, "PositionBroken": 1, "Classified": 1}
ELSEWHERE = {"_unbooked": 1, "mark": 1}  # functions that are given a rule
D = Decimal


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted((CHECKOUT / room).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def texts(node: ast.expr | None, names: dict[str, list[ast.expr]]) -> Iterator[str]:
    """The texts that an expression can be, with `{}` for what is only known at run time."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts(body, names)
            yield from texts(orelse, names)
        case ast.Name(id=name):
            for value in names.get(name, []):
                yield from texts(value, names)


def raised() -> Iterator[tuple[str, str]]:
    """Every rule that is raised or broken in the code, with its place."""
    for path, tree in modules():
        names: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names.setdefault(node.targets[0].id, []).append(node.value)
            if isinstance(node, ast.For) and isinstance(node.target, ast.Tuple) and isinstance(node.iter, ast.Tuple):
                for row in node.iter.elts:
                    if isinstance(row, ast.Tuple):
                        for target, value in zip(node.target.elts, row.elts, strict=False):
                            if isinstance(target, ast.Name):
                                names.setdefault(target.id, []).append(value)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            place = RAISED.get(called, ELSEWHERE.get(called))
            if place is None:
                continue
            by_name = [each.value for each in node.keywords if each.arg == "rule"]
            given = by_name[0] if by_name else node.args[place] if len(node.args) > place else None
            for text in texts(given, names):
                if text:
                    yield text, f"{path.relative_to(CHECKOUT)}:{node.lineno}"


def test_every_rule_that_is_raised_or_broken_has_a_code():
    found = list(raised())
    assert len(found) > 140
    known = {rule.text for rule in RULES} | {EXCEEDED}
    unknown = {place for place in found if place[0] not in known and ("{}" in place[0] or find(place[0]) is None)}
    lacking = sorted(f"{place}: {text!r}" for text, place in unknown)
    assert not lacking, "enter these in domain/errors/rules.py, with a code and a sentence:\n" + "\n".join(lacking)


def test_every_rule_of_breaks_has_a_code():
    rules = [text for name, text in vars(breaks).items() if name.strip("_").isupper() and isinstance(text, str)]
    assert len(rules) > 8
    for text in (text for text in rules if " " in text):
        assert code_of(text.format("OrderCanceled", "FILLED")) not in (None, Code.REFUSED), text


def test_every_measure_is_the_code_of_its_limit():
    assert {measure.value for measure in Measure} == {code.value for code in LIMIT_CODES}
    for measure in Measure:
        assert code_of(f"{measure} is not exceeded") == measure.value


def test_a_text_leads_to_one_rule_and_every_code_of_a_rule_is_of_the_list():
    assert len({rule.text for rule in RULES}) == len(RULES)
    for rule in RULES:
        found = find(rule.text.replace("{}", "x.y"))
        assert found is not None
        assert found.rule.code is rule.code, rule.text


def test_no_sentence_repeats_that_something_is_not_something_that_is_not():
    for rule in REFUSALS:
        facts = {"value": "1"}
        shown = sentence(rule.text.replace("{}", "price"), facts)
        assert not [part for part in ("rule is", "{", "[", "is not is", "is not not") if part in shown], shown


@pytest.mark.parametrize(
    ("rule", "facts", "unit", "shown"),
    [
        ("MAX_POSITION is not exceeded", {"used": D("1"), "asked": D("2.40"), "limit": D("1.5")}, "BTC",
         "MAX_POSITION exceeded: 2.4 of 1.5 BTC"),
        ("MAX_ORDER_NOTIONAL is not exceeded", {"asked": "500", "limit": "200", "currency": "USDT"}, "BTC",
         "MAX_ORDER_NOTIONAL exceeded: 500 of 200 USDT"),
        ("MAX_OPEN_ORDERS is not exceeded", {"asked": D(3), "limit": D(2)}, "BTC",
         "MAX_OPEN_ORDERS exceeded: 3 of 2 orders"),
        ("MAX_LEVERAGE is not exceeded", {"asked": D(3), "limit": D(2)}, "BTC", "MAX_LEVERAGE exceeded: 3 of 2"),
        ("price in steps of the tick size", {"price": D("100.005"), "tick_size": D("0.010")}, None,
         "price 100.005 is no multiple of the tick size 0.01"),
        ("order_qty above zero", {"order_qty": D("-1")}, None, "order_qty -1 is not above zero"),
        ("strategy_id is an id of 1 to 64 letters", {"strategy_id": "a b"}, None,
         "strategy_id a b is not an id of 1 to 64 letters"),
        ("the account is frozen", {}, None, "this rule is not kept: the account is frozen"),
        ("an older release had another rule", {}, None, "this rule is not kept: an older release had another rule"),
    ],
)  # fmt: skip
def test_a_sentence_reads_right(rule: str, facts: dict[str, object], unit: str | None, shown: str):
    assert sentence(rule, facts, unit) == shown


def test_the_numbers_of_a_limit_have_one_form():
    facts = {
        "measure": Measure.MAX_POSITION, "limit": D(5), "used": D(3), "asked": D(6), "whose": "main",
        "strategy_id": None, "instrument_id": "BTC-USD.SIM",
    }  # fmt: skip
    assert numbers("MAX_POSITION is not exceeded", facts, "BTC") == {
        "limit": D(5), "unit": "BTC", "used": D(3), "would_be": D(6),
        "scope": {"account_id": "main", "strategy_id": None, "instrument_id": "BTC-USD.SIM", "venue": None,
                  "asset": None},
    }  # fmt: skip
    assert numbers("order_qty in steps of the lot size", {"order_qty": D("1.5"), "lot_size": D(1)}) == {
        "requested": D("1.5"), "limit": D(1),
    }  # fmt: skip


def test_codes_of_released_versions_are_never_renamed():
    released = (CHECKOUT / "tests/domain/errors/codes.txt").read_text().split()
    assert not set(released) - {code.value for code in Code}, "a code outlives its release"
    assert not {code.value for code in Code} - set(released), "add the new codes to tests/domain/errors/codes.txt"
    assert all(code.name == code.value for code in Code)


def test_a_refusal_of_an_older_release_has_its_code():
    assert "code" not in OrderRefused.__struct_fields__, "the stored form does not change: codes follow from the rule"
    refused = RequestRefused("price in steps of the tick size", price="100.005", tick_size="0.01")
    assert (refused.code, refused.numbers) == (Code.TICK_SIZE, {"requested": "100.005", "limit": "0.01"})

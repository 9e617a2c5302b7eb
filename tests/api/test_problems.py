"""Problems: every kind has a code, and every code is documented."""

import ast

import pytest

from api.problems import AWAY, FIELD_CODES, KINDS, Problem, problem_of
from domain import errors
from domain.errors import InvalidInput, LedgerError, NotLeading, RequestRefused, Unavailable
from domain.reasons.codes import Code
from domain.reasons.rules import RULES
from tests import CHECKOUT


def kinds_used() -> set[str]:
    """The kinds of problems that the API makes, by the second argument of each Problem."""
    found = set()
    for path in (CHECKOUT / "api").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_made = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem"
            if is_made and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                found.add(str(node.args[1].value))
    return found


def test_every_kind_of_problem_has_a_status_and_a_code():
    used = kinds_used()
    assert len(used) > 30
    assert not used - KINDS.keys(), "enter these in KINDS of api/problems.py"
    assert len({kind.code for kind in KINDS.values()}) == len(KINDS)


def test_every_code_is_documented_once_and_used():
    used = {rule.code for rule in RULES} | {kind.code for kind in KINDS.values()} | FIELD_CODES.keys() | AWAY.keys()
    assert used | {Code.HTTP, Code.RECONCILIATION} == set(Code)
    page = (CHECKOUT / "docs/errors.md").read_text()
    assert not [code for code in used if f" {code} " not in page and f" {code}\n" not in page]


def every_error() -> list[type[LedgerError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LedgerError)]


def test_every_error_of_the_ledger_has_a_code_of_its_own():
    own = {each: each.code for each in every_error() if each not in (LedgerError, RequestRefused)}
    for each, code in own.items():
        assert code is not Code.INTERNAL, each


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestRefused("the kill switch is not engaged", whose="firm", reason="drill"), 409, "KILL_SWITCH"),
        (InvalidInput("side", "buy", "one of BUY, SELL"), 422, "UNREADABLE"),
        (Unavailable("the database is away"), 503, "DATABASE_UNAVAILABLE"),
        (Unavailable("all connections are busy", code=Code.DATABASE_BUSY), 503, "DATABASE_BUSY"),
        (NotLeading("another process leads"), 503, "NOT_LEADING"),
        (ValueError("a mistake"), 500, "INTERNAL"),
        (Problem(405, "http-405", "Method Not Allowed", "no"), 405, "METHOD_NOT_ALLOWED"),
        (Problem(418, "http-418", "Teapot", "no"), 418, "HTTP"),
    ],
)
def test_a_problem_has_the_code_of_its_error(error: Exception, status: int, code: str):
    body = problem_of(error).body()
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"] and "rule is" not in body["detail"]

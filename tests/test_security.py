"""The threat model: each threat names an actor that is described, a measure, and tests that exist."""

import ast
import re
from functools import cache

from tests import CHECKOUT

PAGE = (CHECKOUT / "docs" / "security.md").read_text()


def _table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


@cache
def _tests_in(path: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse((CHECKOUT / path).read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_threat_has_an_actor_a_measure_and_tests_that_exist():
    actors = {row[0] for row in _table("Who may attack it")}
    threats = _table("Threats and measures")
    assert {row[0] for row in threats} == actors, "each actor has a threat, and each threat an actor of the page"
    for row in threats:
        assert len(row) == 4, row
        actor, threat, measure, named = row
        assert threat, row
        assert measure, row
        found = re.findall(r"`(tests/[\w./]+\.py)::(test_\w+)`", named)
        assert found, f"{actor}: {threat}: no test is named"
        assert re.sub(r"`[^`]*`", "", named).strip(", ") == "", f"{threat}: write each test as `path::name`"
        for path, name in found:
            assert (CHECKOUT / path).is_file(), f"{threat}: {path} is gone"
            assert name in _tests_in(path), f"{threat}: there is no {name} in {path}"


def test_the_policy_leads_to_the_threat_model_and_back():
    assert "(docs/security.md)" in (CHECKOUT / "SECURITY.md").read_text()
    assert "(../SECURITY.md)" in PAGE

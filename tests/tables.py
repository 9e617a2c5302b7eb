"""Tables of pages whose rows name the tests that show them."""

import ast
import re
from functools import cache

from tests import CHECKOUT


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def check_tests(about: str, named: str) -> None:
    """Check that a cell names tests, each as `path::name`, and that they exist."""
    found = re.findall(r"`(tests/[\w./]+\.py)::(test_\w+)`", named)
    assert found, f"{about}: no test is named"
    assert re.sub(r"`[^`]*`", "", named).strip(", ") == "", f"{about}: write each test as `path::name`"
    for path, name in found:
        assert (CHECKOUT / path).is_file(), f"{about}: {path} is gone"
        assert name in _tests_in(path), f"{about}: there is no {name} in {path}"


@cache
def _tests_in(path: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse((CHECKOUT / path).read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

"""Public bug reports as cases: each is an input, the calls, and the right values by hand arithmetic.

A case is a folder of the reference data with a `try.sh`, which prints what it observes, and an `expected.json`. They
run against a real service over HTTP and the real command.
"""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from tests import CHECKOUT, oracles

CASES = oracles.ROOT / "cases"
RIGHT = (  # the kinds that are mended, by the first part of a case's name
    "16-", "18-", "19-", "20-", "21-", "25-", "34-", "36-", "37-", "38-", "39-", "42-", "43-", "45-", "48-", "50-",
)  # fmt: skip
TOOLS = ("bash", "curl", "jq")
EXTRA = {"39-": ("bean-check", "hledger")}
TIMEOUT_S = 240


def cases() -> list[Path]:
    found = sorted(CASES.glob("*/try.sh")) if CASES.is_dir() else []
    return [path.parent for path in found if path.parent.name.startswith(RIGHT)]


@pytest.fixture
def environment(daybook: Daybook, server: str) -> dict[str, str]:
    """The environment of a case: where the service is, a key for it, and the command."""
    key = daybook.keys.issue("cases", [Scope.ADMIN, Scope.TRADE, Scope.REPORT, Scope.AUDIT])
    assert daybook.settings.database_url is not None
    return os.environ | {
        "DAYBOOK_URL": server,
        "KEY": key,
        "DAYBOOK": "python -m api.cli",  # the first of PATH: a case splits it at spaces
        "DAYBOOK_PYTHON": "python",
        "DAYBOOK_DATABASE_URL": daybook.settings.database_url.get_secret_value(),
        "PYTHONPATH": str(CHECKOUT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def is_right(found: str | None, wanted: object) -> bool:
    """Whether an observation is one of those that are right; numbers are compared as decimals."""
    if found is None:
        return False
    for each in wanted if isinstance(wanted, list) else [wanted]:
        try:
            if Decimal(found) == Decimal(str(each)):
                return True
        except InvalidOperation:
            pass
        if each == "*" or found == str(each):
            return True
    return False


@pytest.mark.oracle
@pytest.mark.skipif(not cases(), reason=f"no cases under {CASES}; set DAYBOOK_ORACLES")
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_case_ends_as_it_should(case: Path, environment: dict[str, str], tmp_path: Path) -> None:
    tools = TOOLS + next((extra for name, extra in EXTRA.items() if case.name.startswith(name)), ())
    missing = [tool for tool in tools if shutil.which(tool, path=environment["PATH"]) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    done = subprocess.run(
        ["bash", str(case / "try.sh")], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        timeout=TIMEOUT_S,
    )  # fmt: skip
    observed = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    expected = json.loads((case / "expected.json").read_text())["expected"]
    wrong = {
        name: (observed.get(name), wanted)
        for name, wanted in expected.items()
        if not is_right(observed.get(name), wanted)
    }
    assert not wrong, f"observed and expected: {wrong}\n{done.stderr}"

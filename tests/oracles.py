"""Recorded inputs with results that others computed, kept outside the project: DAYBOOK_ORACLES, or ../shared/oracles.

Files and cases are found by listing. Where there are none a test is skipped and says so; under CI that is an error.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import CHECKOUT

ROOT = Path(os.environ.get("DAYBOOK_ORACLES") or CHECKOUT.parent / "shared" / "oracles")


def each(folder: str, pattern: str) -> list[Any]:
    """A parameter for every file of that pattern."""
    return _or_skipped(folder, pattern, [pytest.param(path, id=path.name) for path in files(folder, pattern)])


def cases(folder: str, pattern: str, wanted: Callable[[dict[str, Any]], bool] = lambda case: True) -> list[Any]:
    """A parameter for every case of every file."""
    found = [
        pytest.param(case, id=case["case_id"])
        for path in files(folder, pattern)
        for case in json.loads(path.read_text()).get("cases", [])
        if wanted(case)
    ]
    return _or_skipped(folder, pattern, found)


def files(folder: str, pattern: str) -> list[Path]:
    """The files of that pattern."""
    return sorted((ROOT / folder).glob(pattern))


def _or_skipped(folder: str, pattern: str, found: list[Any]) -> list[Any]:
    if found:
        return found
    reason = f"no {pattern} in {ROOT / folder} (DAYBOOK_ORACLES names the folder of reference data)"
    if os.environ.get("CI"):
        raise FileNotFoundError(reason)
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]

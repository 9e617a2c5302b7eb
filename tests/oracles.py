"""Where the oracles are: recorded inputs with results that others computed. Cases are found by listing."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("DAYBOOK_ORACLES") or Path(__file__).parents[1] / "../shared/oracles").resolve()


def files(folder: str, pattern: str) -> list[Path]:
    """The files of an oracle folder; none where the oracles are absent."""
    return sorted((FOLDER / folder).glob(pattern))


def cases(folder: str, pattern: str, wanted: Callable[[dict[str, Any]], bool] = lambda case: True) -> list[Any]:
    """Every case of every file as a test parameter; one skipped parameter that says so where there is none."""
    found = [
        pytest.param(case, id=case["case_id"], marks=pytest.mark.oracle)
        for path in files(folder, pattern)
        for case in json.loads(path.read_text()).get("cases", [])
        if wanted(case)
    ]
    return found or [
        pytest.param(None, id="absent", marks=[pytest.mark.oracle, pytest.mark.skip(reason=absent(folder))])
    ]


def absent(folder: str) -> str:
    """What a skipped oracle test says."""
    return f"no oracles in {FOLDER / folder}: set DAYBOOK_ORACLES to the folder that holds them"

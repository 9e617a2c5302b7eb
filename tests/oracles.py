"""Published reference data to compare with, kept outside the project: DAYBOOK_ORACLES, or ../shared/oracles."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("DAYBOOK_ORACLES") or Path(__file__).parents[2] / "shared" / "oracles")


def each(folder: str, pattern: str) -> list[object]:
    """A parameter for every file of that pattern; one that skips, and says why, if there is none."""
    found = sorted((ROOT / folder).glob(pattern))
    if not found:
        reason = f"no {pattern} in {ROOT / folder} (DAYBOOK_ORACLES names the folder of reference data)"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(path, id=path.name) for path in found]

"""A stranger's file costs time and memory in proportion to its size."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from adapters.verify import archive
from adapters.verify.bundles import opened
from domain.errors import HistoryBroken
from tests import CHECKOUT
from tests.adapters.verify.bombs import bombs, honest
from tests.adapters.verify.stranger import desk_states, signed, zipped

pytestmark = pytest.mark.slow

# The bound of docs/verify.md: processor time and memory.
SECONDS, SECONDS_A_MEGABYTE = 3, 8
MEGABYTES, MEGABYTES_A_MEGABYTE = 150, 150

ACCEPTED = {"many keys", "smaller than declared"}
FORGED = {"one long line", "one longer line", "many positions", "slow to decide"}  # proved, and nothing leads to it


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    files = [str(path) for path in bombs(tmp_path_factory.mktemp("bombs"))]
    done = subprocess.run(
        [sys.executable, "-m", "tests.adapters.verify.bounded", *files],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(files) > 30
    return found


def test_every_bomb_is_verified_or_refused_within_the_bound(measured: list[dict[str, Any]]) -> None:
    for one in measured:
        size = one["bytes"] / 1e6
        assert one["seconds"] <= SECONDS + SECONDS_A_MEGABYTE * size, one
        assert one["megabytes"] <= MEGABYTES + MEGABYTES_A_MEGABYTE * size, one


def test_every_bomb_is_verified_or_refused_with_one_sentence(measured: list[dict[str, Any]]) -> None:
    for one in measured:
        assert one["code"] == (0 if one["name"] in ACCEPTED else 1), one
        if one["code"]:
            *warnings, sentence = one["err"].splitlines()
            assert sentence.startswith("error: ") and len(sentence) < 1000, one
            assert all(line.startswith("warning: No key is pinned") for line in warnings) and len(warnings) < 2, one
        assert ("not derived" in one["err"]) is (one["name"] in FORGED), one


def test_no_number_of_a_stranger_is_written_out(measured: list[dict[str, Any]]) -> None:
    said = {one["name"]: one["err"] for one in measured}
    assert "1E+999999999 is not a number" in said["exponent"]
    assert "no Daybook wrote" in said["hundred thousand digits"]


def test_a_file_can_prove_no_more_events_than_its_hashes_have_room_for(tmp_path: Path) -> None:
    states = desk_states()
    path = zipped(tmp_path / "whole.zip", signed(states))
    assert len(states) <= archive.events_max(path.stat().st_size)
    with opened(path) as bundle:
        assert bundle.prove().manifest.events == len(states)
    part = zipped(tmp_path / "part.zip", signed(states, seqs=range(1, len(states) + 1)))
    assert len(states) <= archive.events_max(part.stat().st_size)
    with opened(part) as bundle:
        assert bundle.prove().manifest.events == len(states)


def test_what_any_zip_program_made_of_a_bundle_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "stored.zip", honest() | {"notes/": b"", "notes/read.me": b"for the auditor"})
    with opened(path) as bundle:
        bundle.prove()
    stored = zipped(tmp_path / "plain.zip", honest(), zipfile.ZIP_STORED)
    with opened(stored) as bundle:
        bundle.prove()


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    import os

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(HistoryBroken, match="is no file"), opened(pipe):
        pass

"""The README: every command in it works, in its order, from a checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.postgres import embedded
from tests import CHECKOUT
from tests.ports import free_port

README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_command_of_the_readme_works(tmp_path):
    """The blocks as one script, in a folder that has only a `.venv`; the two make targets have tests of their own."""
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    script = "set -euo pipefail\n" + "\n".join(BLOCKS).replace("8787", str(free_port()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAYBOOK_")}
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment | {"NO_COLOR": "1"},
            capture_output=True,
            check=False,
            text=True,
            timeout=900,
        )
    finally:
        embedded.stop(tmp_path / ".daybook")
        shutil.rmtree((tmp_path / ".daybook" / "postgres").resolve(), ignore_errors=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout
    assert '"cl_ord_id":"A-1"' in said.replace(": ", ":")
    assert "MAX_POSITION" in said
    assert "3 recorded" in said
    assert "3 already known" in said
    assert '"realized": "280"' in said
    assert '"net": "361.72"' in said
    assert said.count("yes") >= 6  # every rebuilt read model is identical


def test_the_two_commands_of_the_readme_are_in_the_makefile():
    targets = (CHECKOUT / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", targets, re.MULTILINE)


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (CHECKOUT / target).exists(), target

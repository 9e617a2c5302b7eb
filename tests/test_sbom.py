"""What Daybook runs on: the SBOM, the licences allowed, and the page that lists them."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import CHECKOUT

pytestmark = pytest.mark.slow

_spec = importlib.util.spec_from_file_location("docs_sbom", CHECKOUT / "docs" / "sbom.py")
assert _spec is not None
assert _spec.loader is not None
sbom: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sbom)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if importlib.util.find_spec("uv") is None:
        pytest.skip("no uv: the runtime environment cannot be made")
    found: dict[str, Any] = sbom.sbom(tmp_path_factory.mktemp("runtime") / "venv")
    return found


def test_the_sbom_obeys_the_schema_of_cyclonedx(made: dict[str, Any]):
    from cyclonedx.schema import SchemaVersion  # here: it takes a second: for the one worker that needs it
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(made)) is None
    broken = made | {"components": [made["components"][0] | {"type": "no such type"}], "dependencies": []}
    assert validator.validate_str(json.dumps(broken)) is not None


def test_the_sbom_has_each_locked_runtime_dependency_with_version_digests_and_licence(made: dict[str, Any]):
    command = [sys.executable, "-m", "uv", "export", "--quiet", "--frozen", "--offline", "--no-default-groups",
               "--no-emit-project", "--no-annotate", "--no-header"]  # fmt: skip
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    entries = re.findall(r"^([\w.-]+)==([^\s;]+)([^\n]*)\n((?:    --hash.*\n?)*)", done.stdout, re.MULTILINE)
    locked = {
        (name, version): set(re.findall(r"sha256:(\w+)", hashes))
        for name, version, marker, hashes in entries
        if "sys_platform == 'win32'" not in marker
    }
    assert len(locked) > 40
    found = {(sbom.normal(one["name"]), one["version"]): one for one in made["components"]}
    assert found.keys() == locked.keys()
    for key, digests in locked.items():
        (files,) = [one["hashes"] for one in found[key]["externalReferences"] if "hashes" in one]
        assert {one["content"] for one in files} == digests
        assert len(found[key]["licenses"]) == 1


def test_the_sbom_names_what_requires_what_and_the_libraries_in_wheels(made: dict[str, Any]):
    requires = {one["ref"].partition("==")[0]: set(one.get("dependsOn", ())) for one in made["dependencies"]}
    assert any(one.startswith("fastapi==") for one in requires["root-component"])
    assert any(one.startswith("mako==") for one in map(str.lower, requires["alembic"]))
    (psycopg,) = [one for one in made["components"] if one["name"] == "psycopg-binary"]
    assert any(re.match(r"psycopg_binary\.libs/libpq-", library["name"]) for library in psycopg["components"])


def test_the_page_of_licences_is_current(made: dict[str, Any]):
    assert sbom.page(made) == (CHECKOUT / "docs" / "licences.md").read_text(), "run `make sbom`"


@pytest.mark.parametrize(
    ("stated", "licence"),
    [
        (["MIT"], "MIT"),
        (["MIT OR GPL-3.0-only"], "MIT OR GPL-3.0-only"),  # the choice is ours
        (["Apache-2.0 OR BSD-3-Clause", "MIT"], "(Apache-2.0 OR BSD-3-Clause) AND MIT"),
        (["BSD-3-Clause", "License :: OSI Approved :: BSD License"], "BSD-3-Clause"),
        (["MPL-2.0", "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)"], "MPL-2.0"),
    ],
)
def test_an_allowed_licence_is_read_from_all_that_a_package_states(stated: list[str], licence: str):
    assert sbom.license_of("some", stated) == licence


@pytest.mark.parametrize(
    "stated",
    [
        ["GPL-3.0-only"],
        ["AGPL-3.0-or-later"],
        ["MIT AND GPL-2.0-only"],
        ["MIT", "GPL-3.0-only"],
        ["MIT AND (GPL-2.0-only OR AGPL-3.0-only)"],
        ["GPL-2.0-only WITH Classpath-exception-2.0"],
        ["License :: OSI Approved :: BSD License"],
        ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"],
        ["free for all"],
        [],
    ],
)
def test_a_licence_that_is_not_allowed_or_not_understood_is_refused(stated: list[str]):
    with pytest.raises(sbom.Refused, match=r"^some: "):
        sbom.license_of("some", stated)


def test_make_sbom_fails_on_a_dependency_with_a_refused_licence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delitem(sbom.ALLOWED, "LGPL-3.0-only")
    with pytest.raises(sbom.Refused) as refused:
        sbom.sbom(tmp_path / "venv")
    assert {line.partition(":")[0] for line in str(refused.value).splitlines()} == {
        "fpdf2", "psycopg", "psycopg-binary", "psycopg-pool",
    }  # fmt: skip

"""Writes what Daybook runs on: a CycloneDX SBOM in dist/, and docs/licences.md: `python docs/sbom.py` (`make sbom`).

The locked runtime dependencies are installed into an environment of their own, which cyclonedx-py describes: versions,
licences, what requires what. Added are the digests of uv.lock, of every file that may be installed, and the shared
libraries that wheels bring along. A licence that is not in `ALLOWED` ends it with exit code 1.
"""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import LicenseExpression, get_spdx_licensing

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
VERSION = "1.6"  # of CycloneDX
SPDX = get_spdx_licensing()

# By SPDX id, what it requires of those who pass Daybook on.
ALLOWED = {
    "Apache-2.0": "keep the licence and the notices",
    "BSD-2-Clause": "keep the licence",
    "BSD-3-Clause": "keep the licence",
    "ISC": "keep the licence",
    "LGPL-3.0-only": "keep the licence; the package stays replaceable, as any package in an environment is",
    "MIT": "keep the licence",
    "MIT-0": "nothing",
    "MIT-CMU": "keep the licence",
    "MPL-2.0": "keep the licence; changes of its own files are published, and we make none",
    "PSF-2.0": "keep the licence",
    "Python-2.0": "keep the licence",
}
CLASSIFIERS = {  # the older way to state a licence
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
FAMILY = "License :: OSI Approved :: BSD License"  # does not say which
READ = {"jinja2": "BSD-3-Clause"}  # state a family only: read in their licence files


class Refused(Exception):
    """A dependency has no licence that is allowed, or none that is understood."""


def sbom(environment: Path) -> dict[str, Any]:
    """Install the runtime dependencies into `environment`; return the SBOM. Raises Refused with a line for each."""
    _install(environment)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sbom.json"
        _run(
            *(sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml", "--sv", VERSION),
            *("--mc-type", "application", "--output-reproducible", "--no-validate", "--output-file", str(file)),
            str(environment / "bin" / "python"),
        )
        made: dict[str, Any] = json.loads(file.read_text())
    locked = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    refused = []
    for component in made["components"]:
        try:
            _license(component)
        except Refused as error:
            refused.append(str(error))
        package = locked[normal(component["name"])]
        assert package["version"] == component["version"], f"{component['name']} is not the locked one"
        component.setdefault("externalReferences", []).append(_files(package))
        if libraries := list(_libraries(environment, component)):
            component["components"] = libraries
    if refused:
        raise Refused("\n".join(refused))
    return made


def license_of(name: str, stated: list[str]) -> str:
    """Return the SPDX expression of a package that states these ids, expressions or classifiers. Raises Refused."""
    known = [CLASSIFIERS.get(one, one) for one in stated if one != FAMILY] or [READ.get(normal(name), "")]
    expression = " AND ".join(sorted({f"({one})" if " " in one else one for one in known}))
    try:
        parsed = SPDX.parse(expression, validate=True)
    except Exception as error:  # the library has many
        raise Refused(f"{name}: its licence {stated} is no SPDX expression; read it, and add it to READ") from error
    if parsed is None or not _is_allowed(parsed):
        raise Refused(f"{name}: its licence {expression or stated} is not in ALLOWED of docs/sbom.py")
    return str(parsed)


def page(made: dict[str, Any]) -> str:
    """Return docs/licences.md."""
    (direct,) = [set(one.get("dependsOn", ())) for one in made["dependencies"] if one["ref"] == "root-component"]
    rows = sorted(
        (normal(one["name"]), *_stated(one), "Daybook" if one["bom-ref"] in direct else "a dependency")
        for one in made["components"]
    )
    return "\n".join(
        [
            "# Licences",
            "",
            "What Daybook runs on, and under which licences; Daybook itself is under the MIT licence. This page is",
            "written by `make sbom`, which refuses a licence that is not in the second table; a test does too.",
            "Versions, digests and what requires what are in the CycloneDX SBOM that it writes into `dist`. So are",
            "the shared libraries that wheels have in a folder of their own; their licences are in the licence files",
            "of the packages.",
            "",
            "| package | licence | required by |",
            "|---|---|---|",
            *(f"| {name} | {licence} | {by} |" for name, licence, by in rows),
            "",
            "| allowed | duty of those who pass Daybook on |",
            "|---|---|",
            *(f"| {licence} | {duty} |" for licence, duty in ALLOWED.items()),
            "",
        ]
    )


def normal(name: str) -> str:
    """Return a package's name as the lock has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _license(component: dict[str, Any]) -> None:
    """Replace what a package states in several ways by one expression."""
    stated = _stated(component)
    expression = license_of(component["name"], stated)
    if [expression] != stated:
        component["licenses"] = [{"expression": expression, "acknowledgement": "concluded"}]


def _stated(component: dict[str, Any]) -> list[str]:
    found = component.get("licenses", ())
    return [one["expression"] if "expression" in one else _named(one["license"]) for one in found]


def _named(licence: dict[str, Any]) -> str:
    return str(licence.get("id") or licence["name"])


def _is_allowed(expression: LicenseExpression) -> bool:
    parts = [_is_allowed(part) for part in expression.args]
    if isinstance(expression, SPDX.OR):
        return any(parts)
    return all(parts) if parts else str(expression) in ALLOWED


def _files(package: dict[str, Any]) -> dict[str, Any]:
    """The digests that uv holds a file to, of all that may be installed. One URL: checking many would take minutes."""
    files = [file["hash"].partition(":") for file in (package.get("sdist"), *package.get("wheels", ())) if file]
    assert all(algorithm == "sha256" for algorithm, _, _ in files), files
    return {
        "type": "distribution",
        "url": f"{package['source']['registry'].rstrip('/')}/{package['name']}/",
        "comment": "the digests of all its files, from uv.lock",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in sorted(digest for _, _, digest in files)],
    }


def _libraries(environment: Path, component: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The shared libraries in a wheel's folder `NAME.libs`."""
    about = f"{normal(component['name']).replace('-', '_')}-{component['version']}.dist-info"
    for record in environment.glob(f"lib/*/site-packages/{about}/RECORD"):
        for file, digest, _ in csv.reader(record.read_text().splitlines()):
            if Path(file).parent.suffix == ".libs":
                content = urlsafe_b64decode(digest.removeprefix("sha256=") + "=").hex()
                yield {"type": "file", "name": file, "hashes": [{"alg": "SHA-256", "content": content}]}


def _install(environment: Path) -> None:
    """From uv's cache if all is there, else from the registry; each file is held to its digest in the lock."""
    command = [sys.executable, "-m", "uv", "sync", "--quiet", "--frozen", "--no-default-groups", "--no-install-project"]
    settings = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    settings |= {"UV_PROJECT_ENVIRONMENT": str(environment), "UV_PYTHON": sys.executable}
    offline = subprocess.run([*command, "--offline"], cwd=ROOT, env=settings, capture_output=True, check=False)  # noqa: S603
    if offline.returncode != 0:
        _run(*command, env=settings)


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")


def main() -> None:
    """Write both files."""
    try:
        made = sbom(ROOT / "build" / "runtime")
    except Refused as error:
        raise SystemExit(str(error)) from error
    if found := JsonStrictValidator(SchemaVersion.from_version(VERSION)).validate_str(json.dumps(made)):
        raise SystemExit(f"the SBOM does not obey the schema of CycloneDX {VERSION}: {found}")
    root = made["metadata"]["component"]
    file = ROOT / "dist" / f"{root['name']}-{root['version']}.cdx.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(made))
    libraries = sum(len(one.get("components", ())) for one in made["components"])
    sys.stdout.write(f"{file.relative_to(ROOT)}: {len(made['components'])} packages, {libraries} libraries in them\n")


if __name__ == "__main__":
    main()

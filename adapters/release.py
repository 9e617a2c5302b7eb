"""Which Daybook runs: its version, the commit it was made from, and a hash of its code.

The hash is SHA-256 over the lines `<SHA-256 of a file>  <path>`, as sha256sum writes them, of all files below the rooms
sorted by path: the same in a checkout, a source distribution and a wheel, since it is of the files before the wheel's
imports are renamed. A checkout computes it; a build writes it, with version and commit, into `release.json`, which an
installed Daybook reads. So two that show one hash are the same code, whichever commit they name.

`is_changed`: the code is not that of the commit; None where that is not known. Only the standard library is imported,
for `hatch_build.py` uses this module too.
"""

import hashlib
import json
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOMS = ("adapters", "api", "domain", "projections")
FILE = "release.json"
COMMIT_CHARS = 12  # shown
CODE_CHARS = 16
GIT_SECONDS_MAX = 10
TEXT = re.compile(r"([^+]+)(?:\+([0-9a-f]{12}|unknown)(\.changed)?\.([0-9a-f]{16}))?")


class Release(NamedTuple):
    """The identity of a Daybook. `commit` is "" where it is not known; `code` is the whole hash, or its first part."""

    version: str
    commit: str
    code: str
    is_changed: bool | None

    @property
    def text(self) -> str:
        """The identity as digests carry it: `0.1.0+0123456789ab.0123456789abcdef`."""
        changed = ".changed" if self.is_changed else ""
        return f"{self.version}+{self.commit[:COMMIT_CHARS] or 'unknown'}{changed}.{self.code[:CODE_CHARS]}"

    @property
    def sentence(self) -> str:
        """The identity for people."""
        commit = f"commit {self.commit[:COMMIT_CHARS]}" if self.commit else "commit unknown"
        changed = ", changed since" if self.is_changed else ""
        return f"{self.version} ({commit}{changed}, code {self.code[:CODE_CHARS]})"

    def is_same_code(self, other: "Release") -> bool:
        """Return whether both are the same code, by as much as both know of its hash."""
        length = min(len(self.code), len(other.code))
        return length >= CODE_CHARS and self.code[:length] == other.code[:length]


def parse(text: str) -> Release:
    """Parse the identity in a digest. One of before there were hashes names a version alone."""
    found = TEXT.fullmatch(text)
    if found is None:
        return Release(text, "", "", None)
    version, commit, changed, code = found.groups()
    known = commit if commit not in (None, "unknown") else ""
    return Release(version, known, code or "", bool(changed) if code else None)


@cache
def current() -> Release:
    """Return the Daybook that runs; a checkout as it is when this is first called."""
    top = Path(__file__).parents[__name__.count(".")]
    if not __name__.startswith("adapters."):
        return _read(top / __name__.partition(".")[0] / FILE)
    return of_sources(top)


def of_sources(top: Path) -> Release:
    """Return the identity of a checkout, or of an unpacked source distribution, at `top`."""
    code = code_of(top)
    version = str(tomllib.loads((top / "pyproject.toml").read_text())["project"]["version"])
    if (top / FILE).exists():
        built = _read(top / FILE)
        return Release(version, built.commit, code, True if built.code != code else built.is_changed)
    commit = _git(top, "rev-parse", "--show-toplevel", "HEAD").splitlines()
    if len(commit) != 2 or Path(commit[0]).resolve() != top.resolve():
        return Release(version, "", code, None)
    return Release(version, commit[1], code, bool(_git(top, "status", "--porcelain", "--", *ROOMS).strip()))


def code_of(top: Path) -> str:
    """Return the hash of the rooms below `top`, as a hexadecimal number."""
    lines = []
    for room in ROOMS:
        for folder, folders, files in os.walk(top / room):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in files:
                if not name.endswith((".pyc", ".pyo")):
                    path = Path(folder, name)
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    lines.append((path.relative_to(top).as_posix(), digest))
    listed = "".join(f"{digest}  {path}\n" for path, digest in sorted(lines))
    return hashlib.sha256(listed.encode()).hexdigest()


def document(release: Release) -> str:
    """Return the content of `release.json`."""
    return json.dumps(release._asdict(), indent=2) + "\n"


def where_to_get(wanted: Release) -> str:
    """Return how to get the Daybook of a digest, in a sentence."""
    if not wanted.code:
        return f"its digest names a version alone: get the tag v{wanted.version}"
    check = f"`daybook --version` then shows code {wanted.code}"
    if wanted.is_changed or not wanted.commit:
        base = f"commit {wanted.commit}" if wanted.commit else f"version {wanted.version}"
        return f"it was {base} with changes that are in no commit: only who made it has that code ({check})"
    return (
        f"get it by `git checkout {wanted.commit}` and `make setup` in a clone, or install the release "
        f"v{wanted.version} if that is of this commit; {check}"
    )


def _read(file: Path) -> Release:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        return Release(**found)
    except (OSError, ValueError, TypeError):
        return Release("0", "", "", None)


def _git(top: Path, *args: str) -> str:
    """Return the output of git about the checkout alone; "" without git, or if it refuses."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(  # noqa: S603
            ["git", "-C", str(top), *args],  # noqa: S607
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=True, timeout=GIT_SECONDS_MAX,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""

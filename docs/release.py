"""Makes a release: `python docs/release.py check VERSION`, then `python docs/release.py make VERSION` (`make release`).

`check` demands a clean tree, a new version and a changelog for it. `make` sets the version, opens its section in
CHANGELOG.md and commits both; builds the files twice, in two clones at different places, and compares their bytes; then
tags the commit. The files are in dist/VERSION/: wheel, source distribution, SBOM, requirements with hashes, and
SHA256SUMS, which is in the tag's message too. What fails before the tag leaves the branch as it was.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parent.parent
UNRELEASED = "## Unreleased\n"
SUMS = "SHA256SUMS"


class Refused(Exception):
    """Something has to be done before there can be a release."""


def check(version: str) -> None:
    """Raise Refused, with what to do, unless this version can be released from here."""
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise Refused(f"{version!r} is no version (PEP 440): make release VERSION=0.2.0") from None
    if str(wanted) != version or wanted.local:
        raise Refused(f"write the version {version} as {wanted.public}")
    if changed := _git("status", "--porcelain").strip():
        raise Refused(f"the tree is not clean; commit or remove:\n{changed}")
    if not _git("branch", "--show-current").strip():
        raise Refused("HEAD is on no branch: a release is a commit of one")
    tagged = [tag.removeprefix("v") for tag in _git("tag", "--list", "v[0-9]*").split()]
    newest = max((Version(tag) for tag in tagged), default=None)
    if newest is not None and wanted <= newest:
        raise Refused(f"{version} is not newer than {newest}, which is tagged")
    if wanted < Version(_present()):
        raise Refused(f"{version} is older than {_present()} of pyproject.toml")
    _released((ROOT / "CHANGELOG.md").read_text(), version)


def make(version: str) -> Path:
    """Make the release. Return the folder of its files. Raises Refused."""
    check(version)
    before = _git("rev-parse", "HEAD").strip()
    try:
        _set(version)
        _git("commit", "--quiet", "--all", "--message", f"Release {version}")
        with _built() as first, _built() as second:
            sums = _compared(first, second)
            folder = ROOT / "dist" / version
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(first, folder)
        (folder / SUMS).write_text(sums)
        signed = ["--sign"] if os.environ.get("SIGN") else ["--annotate"]
        _git("tag", *signed, f"v{version}", "--message", f"Daybook {version}\n\n{sums}")
    except BaseException:
        _git("reset", "--quiet", "--hard", before)  # the tree was clean
        raise
    return folder


def _set(version: str) -> None:
    """Write the version, and its section of the changelog."""
    _replace("pyproject.toml", r'(?m)^(version = ")[^"]+', version)
    _replace("uv.lock", r'(?m)^(name = "daybook"\nversion = ")[^"]+', version)
    log = ROOT / "CHANGELOG.md"
    log.write_text(_released(log.read_text(), version))


def _replace(name: str, pattern: str, version: str) -> None:
    file = ROOT / name
    text, count = re.subn(pattern, rf"\g<1>{version}", file.read_text())
    if count != 1:
        raise Refused(f"{name} states the version of Daybook {count} times, not once")
    file.write_text(text)


def _released(text: str, version: str) -> str:
    """Return the changelog with what is unreleased below a heading of its own. Raises Refused."""
    before, found, rest = text.partition(UNRELEASED)
    entries = rest.partition("\n## ")[0]
    if not found or not re.search(r"(?m)^- ", entries):
        raise Refused("CHANGELOG.md has nothing under `## Unreleased`: write what has changed")
    if re.search(rf"(?m)^## {re.escape(version)}\b", text):
        raise Refused(f"CHANGELOG.md has a section {version} already")
    return f"{before}{UNRELEASED}\n## {version} - {datetime.now(UTC):%Y-%m-%d}\n{rest}"


@contextmanager
def _built() -> Iterator[Path]:
    """Yield a folder with the files of HEAD, built in a clone of its own."""
    with tempfile.TemporaryDirectory(prefix="daybook-release-") as folder:
        clone, files = Path(folder, "clone"), Path(folder, "files")
        _run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone))
        seconds = _git("log", "-1", "--format=%ct").strip()
        for target in ("sdist", "wheel"):
            _run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(files), at=clone, seconds=seconds)
        export = ("export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project", "--no-header")
        _run(sys.executable, "-m", "uv", *export, "--output-file", str(files / "requirements.txt"), at=clone)
        _run(sys.executable, "docs/sbom.py", at=clone, seconds=seconds)
        for made in (clone / "dist").glob("*.cdx.json"):
            shutil.copy2(made, files)
        if changed := _run("git", "status", "--porcelain", "docs", at=clone):
            raise Refused(f"run `make sbom` and commit what it writes:\n{changed}")
        yield files


def _compared(first: Path, second: Path) -> str:
    """Return the hashes of two builds. Raises Refused if they differ."""
    sums, again = _sums(first), _sums(second)
    if sums != again:
        raise Refused(f"two builds of one commit differ:\n{sums}\n{again}")
    return sums


def _sums(folder: Path) -> str:
    """Return the files' hashes, as sha256sum writes and checks them."""
    files = sorted(file for file in folder.iterdir() if file.name != SUMS)
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def _present() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _git(*args: str) -> str:
    return _run("git", *args)


def _run(*command: str, at: Path = ROOT, seconds: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"SOURCE_DATE_EPOCH": seconds} if seconds else {}
    done = subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise Refused(f"`{' '.join(command[:4])} …` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(args: list[str]) -> int:
    """Run a command line; return its exit code."""
    if len(args) != 2 or args[0] not in ("check", "make"):
        sys.stderr.write("usage: python docs/release.py check|make VERSION (make release VERSION=0.2.0)\n")
        return 2
    try:
        if args[0] == "check":
            check(args[1])
            return 0
        folder = make(args[1])
    except Refused as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    branch = _git("branch", "--show-current").strip()
    sys.stdout.write(f"{(folder / SUMS).read_text()}\nv{args[1]} is tagged, its files are in {folder}. Publish both:\n")
    sys.stdout.write(f"  git push origin {branch} v{args[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

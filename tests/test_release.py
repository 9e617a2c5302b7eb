"""A release is a tag whose files can be built again, byte for byte, and whose code a digest names."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from adapters import release
from adapters.release import Release, code_of, of_sources
from tests import CHECKOUT
from tests.api.command_line import command

if shutil.which("git") is None or not (CHECKOUT / ".git").exists():
    pytest.skip("no git, or no checkout: nothing can be released", allow_module_level=True)

VERSION = "99.1.0"


def git(at: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=at, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with the files of this checkout as they are, committed, and something unreleased."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Releaser")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "releaser@example.org")
    made = tmp_path / "a clone"
    git(tmp_path, "clone", "--quiet", str(CHECKOUT), str(made))
    git(made, "checkout", "--quiet", "-B", "main")
    for name in git(CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (CHECKOUT / name).exists():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, made / name)
    changelog = (made / "CHANGELOG.md").read_text()
    (made / "CHANGELOG.md").write_text(
        changelog.replace("## Unreleased\n", "## Unreleased\n\n### Added\n\n- A release.\n", 1)
    )
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "As it is")
    return made


def released(clone: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "docs/release.py", *args], cwd=clone, capture_output=True, text=True, check=False
    )


def test_what_is_not_ready_is_not_released(clone: Path) -> None:
    git(clone, "tag", "v99.0.0")
    for version, reason in [
        ("next", "is no version"), ("98.0.0", "not newer than 99.0.0"), ("99.0.0", "not newer"), ("99.1", None),
        ("99.01.0", "write the version 99.01.0 as 99.1.0"), ("99.1.0+local", "as 99.1.0"),
    ]:  # fmt: skip
        done = released(clone, "check", version)
        assert (version, done.returncode) == (version, 0 if reason is None else 1), done.stderr
        assert reason is None or reason in done.stderr
    (clone / "new.txt").write_text("")
    assert "the tree is not clean" in released(clone, "check", VERSION).stderr
    (clone / "new.txt").unlink()
    (clone / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.0.1\n\n- Old.\n")
    git(clone, "commit", "--quiet", "--all", "--message", "No changes")
    assert "nothing under `## Unreleased`" in released(clone, "make", VERSION).stderr
    assert git(clone, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_release_is_a_tag_its_files_and_their_hashes(clone: Path, tmp_path: Path) -> None:
    done = released(clone, "make", VERSION)
    assert done.returncode == 0, done.stderr
    folder = clone / "dist" / VERSION
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {
        f"daybook-{VERSION}-py3-none-any.whl", f"daybook-{VERSION}.tar.gz", f"daybook-{VERSION}.cdx.json",
        "requirements.txt",
    }  # fmt: skip
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums}
    assert (folder / "SHA256SUMS").read_text() in git(clone, "tag", "--list", "--format=%(contents)", f"v{VERSION}")
    head, changelog = git(clone, "rev-parse", f"v{VERSION}^{{commit}}").strip(), (clone / "CHANGELOG.md").read_text()
    assert (git(clone, "rev-parse", "HEAD").strip(), git(clone, "status", "--porcelain")) == (head, "")
    assert changelog.index("## Unreleased") < changelog.index(f"## {VERSION} - 20") < changelog.index("- A release.")

    made = Release(VERSION, head, code_of(clone), False)
    assert of_sources(clone) == made
    with zipfile.ZipFile(folder / f"daybook-{VERSION}-py3-none-any.whl") as files:
        assert Release(**json.loads(files.read("daybook/release.json"))) == made
    with tarfile.open(folder / f"daybook-{VERSION}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert of_sources(tmp_path / f"daybook-{VERSION}") == made


def test_the_code_is_known_by_its_files_alone(clone: Path) -> None:
    """By sha256sum too, as docs/releasing.md says."""
    before = of_sources(clone)
    listed = subprocess.run(
        "find adapters api domain projections -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z"
        " | xargs -0 sha256sum | sha256sum",
        shell=True, cwd=clone, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert listed.split()[0] == before.code == of_sources(CHECKOUT).code
    assert (before.is_changed, before.commit) == (False, git(clone, "rev-parse", "HEAD").strip())
    (clone / "domain" / "__pycache__").mkdir(exist_ok=True)
    (clone / "domain" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    assert of_sources(clone) == before, "compiled files are none of it"
    (clone / "README.md").write_text("")
    assert of_sources(clone) == before, "nor is what is not code"
    (clone / "domain" / "order" / "more.py").write_text("")
    after = of_sources(clone)
    assert after.is_changed and after.code != before.code and after.commit == before.commit
    shutil.rmtree(clone / ".git")
    assert of_sources(clone)._replace(code="") == Release(before.version, "", "", None)
    inside = clone.parent / "other"
    inside.mkdir()
    git(inside, "init", "--quiet")
    clone.rename(inside / "copy")
    assert of_sources(inside / "copy").commit == "", "the repository around it is another's"


def test_the_command_shows_the_code_that_runs() -> None:
    shown = json.loads(command("--version", "--json").stdout)
    assert Release(**shown) == of_sources(CHECKOUT)
    assert command("--version").stdout == f"daybook {of_sources(CHECKOUT).sentence}\n"


@pytest.mark.parametrize(
    "made",
    [
        Release("0.2.0", "0123456789ab" + 28 * "c", "f" * 64, False),
        Release("0.2.0", "0123456789ab" + 28 * "c", "f" * 64, True),
        Release("0.2.0.dev1", "", "f" * 64, None),
    ],
)
def test_a_digest_names_the_code_and_how_to_get_it(made: Release) -> None:
    read = release.parse(made.text)
    assert (read.version, read.commit, bool(read.is_changed)) == (made.version, made.commit[:12], bool(made.is_changed))
    assert read.is_same_code(made) and not read.is_same_code(made._replace(code="e" * 64))
    how = release.where_to_get(read)
    if made.commit and not made.is_changed:
        assert "git checkout 0123456789ab" in how and f"code {'f' * 16}" in how
    else:
        assert "changes that are in no commit" in how


def test_a_digest_of_before_there_were_hashes_names_its_version() -> None:
    old = release.parse("0.1.0")
    assert (old.version, old.code) == ("0.1.0", "") and not old.is_same_code(old)
    assert release.where_to_get(old).endswith("get the tag v0.1.0")

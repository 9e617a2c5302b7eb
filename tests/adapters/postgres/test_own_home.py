"""The home in the current directory is used only if this account made it."""

import shutil
import threading
from pathlib import Path

import pytest

from adapters.postgres import own_home
from api.settings import Settings
from domain.errors import Unavailable


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this account's homes are on record."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "daybook" / "homes"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with no home named."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DAYBOOK_HOME")
    return folder


def test_a_home_that_this_account_made_is_used_again_also_after_it_moved(folder: Path, state: Path) -> None:
    home = folder / ".daybook"
    for _ in range(2):
        assert Settings().server_home() == Path(".daybook")
    (home / "postgres").mkdir()
    moved = home.rename(folder / "moved")
    own_home.check(moved)
    assert state.stat().st_mode & 0o077 == 0 and len(state.read_text().split()) == 1


def test_a_home_that_a_stranger_brought_is_refused(folder: Path, tmp_path: Path) -> None:
    own_home.check(tmp_path / "mine")
    home = folder / ".daybook"
    (home / "postgres" / "data").mkdir(parents=True)
    for mark in (None, b"", b"0" * 32, b"\xff" * 32, b"0" * 10_000_000):
        if mark is not None:
            (home / own_home.MARK).write_bytes(mark)
        with pytest.raises(
            Unavailable, match=r"was not made here by this account.*set DAYBOOK_HOME=|cannot be checked"
        ):
            Settings().server_home()
    assert sorted(path.name for path in home.iterdir()) == ["origin", "postgres"]


def test_a_home_that_is_named_is_used_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".daybook" / "postgres").mkdir(parents=True)
    monkeypatch.setenv("DAYBOOK_HOME", ".daybook")
    assert Settings().server_home() == Path(".daybook")
    assert Settings(home=folder).server_home() == folder


def test_a_home_is_one_also_if_several_processes_make_it_at_once(folder: Path) -> None:
    failed: list[Exception] = []

    def make() -> None:
        try:
            own_home.check(folder / ".daybook")
        except Unavailable as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own_home.check(folder / ".daybook")
    assert not failed


def test_without_a_record_of_homes_a_home_must_be_named(folder: Path, state: Path) -> None:
    own_home.check(folder / ".daybook")
    shutil.rmtree(state.parent)
    with pytest.raises(Unavailable, match="set DAYBOOK_HOME="):
        own_home.check(folder / ".daybook")
    state.parent.parent.joinpath("daybook").write_text("no directory")
    with pytest.raises(Unavailable, match="cannot be checked or made"):
        own_home.check(folder / "other")

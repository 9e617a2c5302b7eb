"""Our own server: started, joined, killed, stopped; its data stays."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections, embedded
from adapters.postgres.connections import Role
from adapters.postgres.migrations import migrate
from domain.errors import Unavailable
from tests import CHECKOUT
from tests.records import record

pytestmark = pytest.mark.slow


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def fetched(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        assert row
        return row[0]


def runs_in_place(home: Path) -> bool:
    """Whether the server's account can execute the programs where they are installed."""
    cluster = embedded._settle(home)
    return embedded._major(next(embedded._installed()), cluster.account) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["plain", "with space, comma & é'", 'with a "quote"', "x" * 120],
    ids=["plain", "odd", "quote", "long"],
)
def test_a_server_starts_anywhere_and_keeps_its_data(home: Path, name: str) -> None:
    if '"' in name and not runs_in_place(home):
        pytest.skip("the programs must be copied beside the data: such a home is refused")
    place = home / name
    try:
        url = embedded.start(place)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        embedded.stop(place)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        assert fetched(embedded.start(place), "SELECT n FROM kept") == 42
    finally:
        embedded.stop(place)


def test_it_is_durable_checked_and_private(home: Path) -> None:
    url = embedded.start(home)
    expected = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on"}
    expected |= {"jit": "off", "listen_addresses": "", "TimeZone": "UTC", "server_encoding": "UTF8"}
    assert {name: fetched(url, f"SHOW {name}") for name in expected} == expected
    socket = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
    assert socket.stat().st_mode & 0o777 == 0o700
    assert (home / "postgres").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_a_server_that_recovers_from_a_backup_is_waited_for(home: Path) -> None:
    before = embedded.start(home)
    embedded.stop(home)
    (home / "postgres" / "data" / "standby.signal").touch()
    server = embedded.url(home / "postgres" / "run", "postgres")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(embedded.start, home)
        deadline = time.monotonic() + 60
        while True:
            try:
                assert fetched(server, "SELECT pg_is_in_recovery()") is True
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert not waiting.done()
        fetched(server, "SELECT pg_promote()")
        assert waiting.result(60) == before
    assert fetched(before, "SELECT pg_is_in_recovery()") is False


@pytest.mark.slow
def test_many_start_one_server_and_join_it(home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        urls = set(pool.map(embedded.start, [home] * 4))
    assert len(urls) == 1
    pid = postmaster(home)
    code = (
        f"from pathlib import Path; from adapters.postgres import embedded; print(embedded.start(Path({str(home)!r})))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert {shown.stdout.strip()} == urls
    assert postmaster(home) == pid
    assert fetched(urls.pop(), "SELECT 1") == 1  # it outlives the process that joined it


@pytest.mark.slow
def test_it_starts_again_after_kill_9_with_everything_acknowledged(home: Path) -> None:
    url = embedded.start(home)
    migrate(url)
    with PostgresLog(url) as log:
        log.append([record("a", 1)])
        os.kill(postmaster(home), signal.SIGKILL)
        assert embedded.start(home) == url
        assert log.head().seq == 1
        assert log.append([record("a", 2)]) == 2


@pytest.mark.slow
def test_a_stale_pid_file_of_a_living_stranger_does_not_stop_it(home: Path) -> None:
    embedded.start(home)
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    embedded.stop(home)
    pid_file.write_text(f"{os.getppid()}\n" + "".join(lines[1:]))
    assert fetched(embedded.start(home), "SELECT 1") == 1


def test_a_killed_initdb_is_begun_again(home: Path) -> None:
    (home / "postgres" / "data.new").mkdir(parents=True)
    (home / "postgres" / "data.new" / "PG_VERSION").write_text("18")
    assert fetched(embedded.start(home), "SELECT 1") == 1


def test_stopping_what_does_not_run_is_nothing(home: Path) -> None:
    embedded.stop(home)
    assert list(home.iterdir()) == []
    embedded.start(home)
    embedded.stop(home)
    embedded.stop(home)


def test_data_of_another_major_version_is_refused_and_left_alone(home: Path) -> None:
    embedded.start(home)
    embedded.stop(home)
    version = home / "postgres" / "data" / "PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(Unavailable, match=r"PostgreSQL 9, which wrote .* is not installed"):
        embedded.start(home)
    version.write_text("18\n")


def test_a_home_that_cannot_be_made_is_refused_with_the_remedy(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(Unavailable, match="set DAYBOOK_HOME elsewhere"):
        embedded.start(home / "file" / "below")


@pytest.mark.parametrize("name", ['a "quoted" home', "$HOME", "a`b", "a\nb", r"a\\b"])
def test_a_home_whose_copy_of_the_programs_could_not_run_is_refused(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's account cannot execute the programs where they are, and a copy would lie beside the data."""
    monkeypatch.setattr(embedded, "_major", lambda programs, account: None)
    with pytest.raises(Unavailable, match=r"its path holds .*, which they hand to a shell; set DAYBOOK_HOME elsewhere"):
        embedded.start(home / name)
    assert not (home / name / "postgres" / "wheel").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")
def test_root_finds_the_server_of_a_home_its_account_cannot_enter(home: Path) -> None:
    home.chmod(0o700)
    url = embedded.start(home)
    moved = (home / "postgres").readlink()
    try:
        assert moved.is_relative_to(embedded.CLOSED_HOME)
        assert fetched(url, "SELECT 1") == 1
        assert embedded.start(home) == url
        assert home.stat().st_mode & 0o777 == 0o700
    finally:
        embedded.stop(home)
        subprocess.run(["rm", "-rf", str(moved)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")
def test_a_home_made_again_begins_with_an_empty_database(home: Path) -> None:
    home.chmod(0o700)
    moved = []
    try:
        for _ in range(2):
            url = embedded.start(home)
            moved.append((home / "postgres").readlink())
            assert fetched(url, "SELECT to_regclass('desk') IS NULL")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE TABLE desk ()")
            embedded.stop(home)
            (home / "postgres").unlink()
        assert (moved[0] / "data").is_dir()  # what was there is left for its owner to remove
    finally:
        embedded.stop(home)
        for each in moved:
            subprocess.run(["rm", "-rf", str(each)], check=True)


def test_a_url_given_is_the_database(home: Path) -> None:
    assert connections.locate(home, "postgresql://desk@db.example/desk") == "postgresql://desk@db.example/desk"
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_a_database_that_is_down_is_unavailable_and_soon(home: Path) -> None:
    url = embedded.start(home)
    migrate(url)
    with PostgresLog(url) as log:
        log.append([record("a", 1)])
        embedded.stop(home)
        for attempt in (
            log.head,
            lambda: log.append([record("a", 2)]),
            lambda: log.read("a"),
            lambda: log.wait(1, timeout_s=0.1),
            lambda: connections.connect(url, Role.AUDITOR),
            lambda: migrate(url),
        ):
            began = time.monotonic()
            with pytest.raises(Unavailable, match=r"daybook at /.*cannot be reached.*it is Daybook's own"):
                attempt()
            assert time.monotonic() - began < 40
        embedded.start(home)
        assert log.append([record("a", 2)]) == 2
        assert log.wait(1, timeout_s=60) == 2


def test_a_message_never_holds_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (
        "postgresql://desk:s3cret@127.0.0.1:1/desk",
        "postgresql://desk:s3cret@127.0.0.1:1/desk?nonsense=1",
        "s3cret",
    ):
        monkeypatch.setenv("DAYBOOK_DATABASE_URL", url)
        with pytest.raises(Unavailable) as refused:
            connections.connect(url)
        assert "s3cret" not in str(refused.value)
        assert "DAYBOOK_DATABASE_URL" in str(refused.value)

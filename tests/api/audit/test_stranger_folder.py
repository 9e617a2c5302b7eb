"""Commands run in a stranger's folder take no code and no settings from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.log.postgres import PostgresLog
from adapters.proof.sealer import Sealer
from tests.adapters.verify.stranger import desk_states, signed, zipped
from tests.records import records

pytestmark = pytest.mark.slow

DAYBOOK = Path(sys.executable).with_name("daybook")
MODULES = (
    "_json", "abc", "adapters", "alembic", "api", "argparse", "base64", "codecs", "collections", "conftest",
    "contextlib", "cryptography", "ctypes", "daybook", "decimal", "domain", "encodings", "enum", "functools",
    "hashlib", "importlib", "io", "json", "linecache", "locale", "logging", "msgspec", "multiprocessing", "os",
    "pathlib", "pickle", "pkgutil", "posixpath", "projections", "psycopg", "pydantic", "random", "re",
    "readline", "rich", "runpy", "secrets", "select", "selectors", "shutil", "signal", "site", "sitecustomize",
    "socket", "sqlalchemy", "ssl", "struct", "subprocess", "tempfile", "threading", "token", "traceback",
    "typer", "types", "typing", "typing_extensions", "usercustomize", "uuid", "warnings", "weakref", "zipfile",
    "zlib",
)  # fmt: skip
HOSTILE = "open({path!r}, 'w').close()\nraise SystemExit('hostile')\n"
CONFIG = {
    ".env": "DAYBOOK_DATABASE_URL=postgresql://stranger@127.0.0.1:1/theirs\nDAYBOOK_LOG_LEVEL=debug\n",
    "alembic.ini": "[alembic]\nscript_location = hostile\n",
    "pg_service.conf": "[daybook]\nhost=127.0.0.1\nport=1\n",
    ".pg_service.conf": "[daybook]\nhost=127.0.0.1\nport=1\n",
    ".pgpass": "*:*:*:*:theirs\n",
    ".psqlrc": "\\! touch hostile-psqlrc\n",
    "pyvenv.cfg": "home = /nowhere\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--hostile'\n",
    "logging.conf": "[loggers]\n",
    "daybook.toml": "database_url = 'postgresql://stranger@127.0.0.1:1/theirs'\n",
    "openssl.cnf": ".include hostile\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of modules and packages that leave a file behind when they are imported, and of settings."""
    folder, place = tmp_path / "theirs", tmp_path / "imported"
    folder.mkdir()
    place.mkdir()
    for name in MODULES:
        text = HOSTILE.format(path=str(place / name))
        (folder / f"{name}.py").write_text(text)
        if name in ("api", "domain", "adapters", "projections", "rich", "alembic", "hostile"):
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(text)
            (folder / name / "cli.py").write_text(text)
    (folder / "hostile.pth").write_text(f"import os; open({str(place / 'pth')!r}, 'w').close()\n")
    for name, text in CONFIG.items():
        (folder / name).write_text(text)
    return folder


def imported(folder: Path) -> list[str]:
    """What was taken from the folder."""
    return sorted(path.name for path in (folder.parent / "imported").iterdir())


def daybook(folder: Path, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The installed command, run in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAYBOOK_", "PYTHON"))}
    environment = kept | {"DAYBOOK_HOME": str(folder.parent / "home")} | settings
    return subprocess.run([DAYBOOK, *args], cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_a_hostile_folder_is_one(folder: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([sys.executable, "-c", "import json"], cwd=folder, env=kept, check=False, capture_output=True)
    assert imported(folder)


def test_a_bundle_is_verified_in_a_strangers_folder_without_their_code(folder: Path) -> None:
    zipped(folder / "audit.zip", signed(desk_states()))
    done = daybook(folder, "verify", "audit.zip", "--json")
    assert done.returncode == 0, done.stderr
    assert '"is_proved": true' in done.stdout
    assert imported(folder) == []


def test_no_command_takes_code_or_settings_from_the_current_directory(folder: Path, database_url: str) -> None:
    trades = (
        "seq,trade_id,ts,symbol,side,price,qty,quote_qty,liquidity,fee,fee_currency\n"
        "1,5001,2026-01-02T10:00:00.000Z,BTCUSDT,BUY,97000,0.5,48500,maker,0.0005,BTC\n"
    )
    (folder / "trades.csv").write_text(trades)
    commands = (
        ("import", "trades.csv", "--account", "main"),
        ("status",),
        ("report", "positions"),
        ("export", "whole.zip"),
        ("verify", "whole.zip"),
    )
    for args in commands:
        done = daybook(folder, *args, DAYBOOK_DATABASE_URL=database_url)
        assert done.returncode == 0, (args, done.stderr)
        assert imported(folder) == [], args
    assert not (folder / "hostile-psqlrc").exists()


VERIFIES = """
import sys
from adapters.verify.verification import verify

found = verify(sys.argv[1], workers=2, range_events=256)
assert found.finding is None and found.last == 1100, found
"""
BUILDS = """
from domain.errors import Unavailable
from projections.runner import workers

def no_database():
    raise Unavailable("there is none")

if __name__ == "__main__":
    with workers._process(no_database, []) as pipe:
        assert pipe.poll(60) and pipe.recv()[0] == "failed"
"""


def run(folder: Path, script: str, *args: str) -> None:
    """Run a script as the installed command is run: it lies elsewhere, and is no module of the current directory."""
    path = folder.parent / "script.py"
    path.write_text(script)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, path, *args], cwd=folder, env=kept, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_processes_that_verify_take_no_code_from_the_current_directory(
    folder: Path, log: PostgresLog, database_url: str
) -> None:
    log.append(records("account:main", range(1, 1101)))
    assert Sealer(database_url, folder.parent / "home").seal() is not None
    run(folder, VERIFIES, database_url)
    assert imported(folder) == []


def test_processes_that_build_read_models_take_no_code_from_the_current_directory(folder: Path) -> None:
    run(folder, BUILDS)
    assert imported(folder) == []


def test_no_server_of_a_stranger_is_started(folder: Path) -> None:
    data = folder / ".daybook" / "postgres" / "data"
    data.mkdir(parents=True, mode=0o700)
    (data / "PG_VERSION").write_text("18\n")
    (data / "postgresql.conf").write_text(f"archive_mode = on\narchive_command = 'touch {folder.parent}/imported/x'\n")
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n5432\n{folder}\n")
    for args in (("status",), ("verify",), ("stop",)):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAYBOOK_", "PYTHON"))}
        done = subprocess.run([DAYBOOK, *args], cwd=folder, env=kept, text=True, capture_output=True, check=False)
        assert done.returncode == 4, (args, done.stderr)
        assert "was not made here by this account" in done.stderr and done.stderr.count("\n") == 1
    assert imported(folder) == []
    assert not (folder / ".daybook" / "postgres" / "server.log").exists()

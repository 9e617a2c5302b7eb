"""The wheel: all of Daybook below one name, and whole beside a stranger that ships packages named like our rooms."""

import base64
import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from functools import partial
from pathlib import Path

import pytest

from tests import CHECKOUT
from tests.api.own_writes import Client
from tests.ports import free_port

pytest.importorskip("hatchling", reason="no hatchling: the wheel cannot be built")
if importlib.util.find_spec("uv") is None:
    pytest.skip("no uv: the wheel cannot be installed", allow_module_level=True)

import hatch_build

pytestmark = pytest.mark.slow

ROOMS = ("domain", "projections", "adapters", "api")
BTC = "BTCUSDT.BINANCE"
TRADES = """seq,trade_id,ts,symbol,side,price,qty,quote_qty,liquidity,fee,fee_currency
1,5001,2026-01-02T10:00:00.000Z,BTCUSDT,BUY,97000,0.5,48500,maker,0,USDT
2,5002,2026-01-02T11:30:00.250Z,BTCUSDT,SELL,98500,0.2,19700,taker,19.7,USDT
"""

# As for a log of millions: rebuilding and verifying start processes, of which there shall be two.
AS_IF_LONG = """
import multiprocessing.process, os, runpy, subprocess, sys
from daybook.adapters.verify import verification
from daybook.projections.runner import workers

def shown(what, start):
    def started(*args, **named):
        print(what, *args[1:2], file=sys.stderr)
        return start(*args, **named)
    return started

os.cpu_count = lambda: 2
workers.EVENTS_MIN = 1
verification.SHARE_RANGES = 1e-9
multiprocessing.process.BaseProcess.start = shown("spawned", multiprocessing.process.BaseProcess.start)
subprocess.Popen.__init__ = shown("executed", subprocess.Popen.__init__)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", CHECKOUT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def stranger(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with a module at every path that ours has in the repository, each of which refuses to be imported."""
    with zipfile.ZipFile(wheel) as files:
        ours = [name.removeprefix("daybook/") for name in files.namelist() if name.endswith(".py")]
    modules = ["domain/order.py", *(name for name in ours if name.startswith(ROOMS))]
    text = 'raise SystemExit(f"a stranger\'s {__name__} was imported")\n'
    return made_wheel(tmp_path_factory.mktemp("stranger"), "stranger", dict.fromkeys(modules, text))


class Place:
    """A virtual environment with the locked runtime dependencies, and a folder to work in."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.venv = folder / "venv"
        self.python = self.venv / "bin" / "python"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAYBOOK_", "PYTHON"))}
        self._environment = kept | {"DAYBOOK_HOME": str(home), "DAYBOOK_LOG_LEVEL": "error", "NO_COLOR": "1"}
        uv("venv", "--quiet", "--python", sys.executable, str(self.venv))
        sync = partial(
            uv, "sync", "--quiet", "--frozen", "--no-default-groups", "--no-install-project", at=self.venv, check=False
        )
        if sync("--offline").returncode != 0:  # not all of it is in the cache
            done = sync()
            assert done.returncode == 0, done.stderr

    def install(self, wheel: Path) -> None:
        uv("pip", "install", "--quiet", "--no-deps", "--offline", "--python", str(self.python), str(wheel))

    def uninstall(self, name: str) -> None:
        uv("pip", "uninstall", "--quiet", "--python", str(self.python), name)

    def start(self, *args: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            args, cwd=self.work, env=self._environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *args: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*args)
        out, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(args, process.returncode, out, errors)

    @property
    def command(self) -> str:
        return str(self.venv / "bin" / "daybook")

    def daybook(self, *args: str) -> str:
        """What the installed command prints."""
        done = self.run(self.command, *args)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    def altered(self, name: str) -> list[str]:
        """The files of an installed distribution that are not as its RECORD has them."""
        (record,) = self.venv.glob(f"lib/*/site-packages/{name}-*.dist-info/RECORD")
        found = []
        for file, digest, _ in csv.reader(record.read_text().splitlines()):
            path = record.parents[1] / file
            if digest and (not path.exists() or hashed(path.read_bytes()) != digest):
                found.append(file)
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from tests.databases import directory_of_server

    with directory_of_server() as home:
        yield Place(tmp_path_factory.mktemp("place"), home)


def uv(*args: str, at: Path | None = None, check: bool = True) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"UV_SYSTEM_CERTS": "true"} | ({"UV_PROJECT_ENVIRONMENT": str(at)} if at else {})
    done = subprocess.run(
        [sys.executable, "-m", "uv", *args], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not check, done.stderr
    return done


def built(target: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file


def made_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A wheel with these files, written by hand: no build backend would be so rude."""
    about = f"{name}-1.0.dist-info"
    files = files | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = io.StringIO()
    csv.writer(record).writerows((path, hashed(text.encode()), len(text)) for path, text in files.items())
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in (files | {f"{about}/RECORD": f"{record.getvalue()}{about}/RECORD,,\n"}).items():
            archive.writestr(inside, text)
    return path


def hashed(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


# ---- What is in it


def test_the_wheel_has_one_package_with_all_modules_types_and_the_licence(wheel: Path):
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        (about,) = {name.partition("/")[0] for name in names} - {"daybook"}
        metadata = Parser().parsestr(files.read(f"{about}/METADATA").decode())
        assert files.read(f"{about}/entry_points.txt").decode().split() == [
            "[console_scripts]", "daybook", "=", "daybook.__main__:main",
        ]  # fmt: skip
        assert files.read(f"{about}/licenses/LICENSE") == (CHECKOUT / "LICENSE").read_bytes()
    assert about == f"daybook-{metadata['Version']}.dist-info"
    assert len(names) == len(set(names))
    ours = {f"daybook/{file}" for file in files_of(*ROOMS)}
    made = {"daybook/__init__.py", "daybook/__main__.py", "daybook/py.typed", "daybook/release.json"}
    assert {name for name in names if name.startswith("daybook/")} == ours | made
    assert (metadata["License-Expression"], metadata.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_the_files_in_the_wheel_are_those_of_the_repository_but_for_the_names_in_imports(wheel: Path):
    with zipfile.ZipFile(wheel) as files:
        for file in files_of(*ROOMS):
            original, found = (CHECKOUT / file).read_text(), files.read(f"daybook/{file}").decode()
            for line, moved in zip(original.split("\n"), found.split("\n"), strict=True):
                if re.match(rf"\s*(from|import) ({'|'.join(ROOMS)})\b", line):
                    assert moved in {
                        line.replace("from ", "from daybook.", 1),
                        re.sub(r"^import (\w+)$", r"from daybook import \1", line),
                    } - {line}, file
                else:
                    assert moved == line, file


@pytest.mark.parametrize(
    ("source", "moved"),
    [
        ("from domain.order import Order", "from daybook.domain.order import Order"),
        ("def f():\n    from api import cli", "def f():\n    from daybook.api import cli"),
        ("é = 1; from domain import values", "é = 1; from daybook.domain import values"),
        ("from api import a; from domain import b", "from daybook.api import a; from daybook.domain import b"),
        ("import domain", "from daybook import domain"),
        ("import domain.values as v", "import daybook.domain.values as v"),
        ("import domainslib.order, json", "import domainslib.order, json"),
        ("from .order import Order", "from .order import Order"),
        ("from apiece import x", "from apiece import x"),
        ('"""from domain.order import Order"""', '"""from domain.order import Order"""'),
        ('x = "domain.orders"', 'x = "domain.orders"'),  # an event's topic may look like that
        ('x = f"{top}domain.order"', 'x = f"{top}domain.order"'),
    ],
)
def test_an_import_of_a_room_is_moved_and_nothing_else(source: str, moved: str):
    assert hatch_build.moved(source.encode(), "m.py").decode() == moved


@pytest.mark.parametrize(
    "source", ["import domain.order", "import json, domain", 'Loader("api.web")', "from  domain import order"]
)
def test_what_cannot_be_moved_stops_the_build(source: str):
    with pytest.raises(hatch_build.Unmovable, match=r"^m\.py:1: "):
        hatch_build.moved(source.encode(), "m.py")


def test_the_wheel_of_the_source_distribution_is_the_same(wheel: Path, tmp_path: Path):
    source = built("sdist", CHECKOUT, tmp_path / "sdist")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    again = built("wheel", tmp_path / source.name.removesuffix(".tar.gz"), tmp_path / "wheel")
    assert again.read_bytes() == wheel.read_bytes()


def files_of(*folders: str) -> list[str]:
    """The files of the repository in these folders."""
    found = (path for folder in folders for path in (CHECKOUT / folder).rglob("*") if path.is_file())
    return [path.relative_to(CHECKOUT).as_posix() for path in found if "__pycache__" not in path.parts]


# ---- What it depends on


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    done = deptry(CHECKOUT / "pyproject.toml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ('"alembic>=1.18",', '"alembic>=1.18", "pyjwt>=2.10",', "'pyjwt' defined as a dependency but not used"),
        ('"starlette>=1.0",', "", "'starlette' imported but it is a transitive dependency"),
    ],
)
def test_a_dependency_that_nothing_imports_or_nothing_declares_is_refused(
    tmp_path: Path, old: str, new: str, refused: str
):
    settings = (CHECKOUT / "pyproject.toml").read_text()
    assert settings.count(old) == 1
    (tmp_path / "pyproject.toml").write_text(settings.replace(old, new))
    done = deptry(tmp_path / "pyproject.toml")
    assert (done.returncode, refused in done.stderr) == (1, True), done.stderr


def deptry(settings: Path) -> "subprocess.CompletedProcess[str]":
    """As `make check` runs it, with these settings."""
    command = [sys.executable, "-m", "deptry", ".", "--no-ansi", "--config", str(settings)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


# ---- Beside a stranger


def test_beside_a_stranger_with_our_rooms_names_everything_works(place: Place, wheel: Path, stranger: Path):
    """Installed before and after it, in a folder with such packages too; either leaves without harm to the other."""
    place.install(stranger)
    place.install(wheel)
    uv("pip", "check", "--python", str(place.python))
    with zipfile.ZipFile(stranger) as files:
        files.extractall(place.work)
    assert place.daybook("--help").startswith("Usage: daybook ")
    place.uninstall("stranger")
    assert place.altered("daybook") == []
    place.install(stranger)
    assert (place.altered("daybook"), place.altered("stranger")) == ([], [])

    (place.work / "trades.csv").write_text(TRADES)
    place.daybook("account", "open", "main", "--base", "USDT")
    assert "2 recorded" in place.daybook("import", "trades.csv")
    (pnl,) = json.loads(place.daybook("report", "pnl", "--mark", f"{BTC}=97800", "--json"))["items"]
    assert (pnl["realized"], pnl["unrealized"]) == ("300", "240")  # 1500 * 0.2, 800 * 0.3
    assert place.daybook(
        "report", "statement", "2026-01", "--account", "main", "--mark", f"{BTC}=97800", "--format", "html"
    ).count("<svg")

    long = [str(place.python), "-c", AS_IF_LONG, place.command]
    rebuilt = place.run(*long, "rebuild", "--json")
    assert (rebuilt.returncode, rebuilt.stderr.count("spawned")) == (0, 2), rebuilt.stderr
    assert {model["is_identical"] for model in json.loads(rebuilt.stdout)["rebuilt"]} == {True}
    verified = place.run(*long, "verify", "--json")
    assert (verified.returncode, verified.stderr.count("daybook.adapters.verify.check_workers")) == (0, 2), (
        verified.stderr
    )
    assert json.loads(verified.stdout)["is_proved"] is True

    served_from_the_wheel(place)
    place.uninstall("daybook")
    assert place.altered("stranger") == []
    assert not list(place.venv.glob("lib/*/site-packages/daybook*"))


def served_from_the_wheel(place: Place) -> None:
    key = json.loads(place.daybook("keys", "create", "reader", "--scope", "report", "--json"))["key"]
    url = f"http://127.0.0.1:{free_port()}"
    served = place.start(place.command, "serve", "--port", url.rpartition(":")[2])
    try:
        assert served.stderr is not None
        assert url in served.stderr.readline()
        with Client(base_url=url, timeout=30, headers={"Authorization": f"Bearer {key}"}) as client:
            assert client.get("/v1/accounts").headers["Daybook-Seq"]  # up to where the next reads wait
            assert client.get("/v1/positions").json()["items"][0]["quantity"] == "0.3"
            lots = client.get("/v1/lots", params={"method": "FIFO"}).json()["items"]  # costed again for this answer
            assert [(lot["quantity"], lot["cost"]) for lot in lots] == [("0.3", "29100")]
            for page in ("/", "/docs", "/console/console.js", "/docs/swagger-ui/swagger-ui.css", "/openapi.json"):
                assert client.get(page).status_code == 200, page
    finally:
        served.terminate()
        _, errors = served.communicate(timeout=60)
    assert (served.returncode, "Traceback" in errors) == (0, False), errors


def test_a_file_that_another_package_replaced_or_added_is_named_before_anything_runs(
    place: Place, wheel: Path, tmp_path: Path
):
    place.install(wheel)
    added = "daybook/adapters/postgres/migrations/versions/r9999_surprise.py"
    rude = made_wheel(tmp_path, "rude", {"daybook/domain/values.py": "raise SystemExit(77)\n", added: ""})
    place.install(rude)
    refused = place.run(place.command, "--help")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "daybook/domain/values.py" in refused.stderr
    assert added in refused.stderr
    problem = json.loads(place.run(place.command, "status", "--json").stderr)
    assert problem["type"] == "urn:daybook:problem:installation"
    place.uninstall("rude")
    refused = place.run(str(place.python), "-m", "daybook", "--help")
    assert (refused.returncode, "daybook/domain/values.py" in refused.stderr) == (1, True)  # uninstalling removed it
    uv("pip", "install", "--quiet", "--reinstall", "--no-deps", "--offline", "--python", str(place.python), str(wheel))
    assert place.daybook("--help").startswith("Usage: daybook ")
    place.uninstall("daybook")


def test_the_types_of_the_wheel_are_seen_by_those_who_import_it(place: Place, wheel: Path, tmp_path: Path):
    place.install(wheel)
    (tmp_path / "user.py").write_text("from daybook.domain.values import divide\nreveal_type(divide)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(place.python), "user.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    place.uninstall("daybook")
    assert (done.returncode, "decimal.Decimal" in done.stdout) == (0, True), done.stdout

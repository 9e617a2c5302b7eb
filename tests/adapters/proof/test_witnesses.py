"""Witnesses are handed every checkpoint; one that cannot be reached holds nothing up, and gets them later."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.proof import checkpoints
from adapters.proof.sealer import Sealer
from adapters.proof.witnesses import Witnesses, places
from adapters.verify.verification import VerifyRequest, verify
from domain.errors import InvalidInput
from tests.records import record

WAIT_SECONDS_MAX = 60


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


class Listening(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; refuses while `refusing` is set."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        is_refused = self.server.refusing.is_set()  # type: ignore[attr-defined]
        if not is_refused:
            self.server.kept.append(body)  # type: ignore[attr-defined]
        self.send_response(503 if is_refused else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def listening() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening)
    server.kept, server.refusing = [], threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def sealed(log: PostgresLog, url: str, home: Path, witnesses: Witnesses, times: int) -> list[str]:
    sealer, kept = Sealer(url, home, witnesses.hand), []
    for _ in range(times):
        head = log.head().seq
        log.append([record(f"s{head}", 1, head)])
        sealer.seal()
        with psycopg.connect(url) as connection:
            query = "SELECT note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1"
            row = connection.execute(query).fetchone()
        assert row is not None
        kept.append(row[0])
    return kept


def test_a_file_gets_every_note_and_verifies_against_them(log: PostgresLog, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.notes"
    witnesses = Witnesses([f"file:{file}"])
    made = sealed(log, database_url, tmp_path, witnesses, 4)
    witnesses.close()
    found = checkpoints.parse_many(file.read_text())
    assert found == [checkpoints.parse(note) for note in made]
    assert verify(database_url, VerifyRequest(against=found)).finding is None


def test_a_url_gets_every_note_in_order(
    log: PostgresLog, database_url: str, tmp_path: Path, listening: http.server.ThreadingHTTPServer
) -> None:
    witnesses = Witnesses([f"http://127.0.0.1:{listening.server_port}/keep"])
    made = sealed(log, database_url, tmp_path, witnesses, 3)
    until(lambda: listening.kept == made)  # type: ignore[attr-defined]
    witnesses.close()


def test_a_second_database_gets_every_note(
    log: PostgresLog, database_url: str, server_url: str, tmp_path: Path
) -> None:
    witnesses = Witnesses([database_url])
    made = sealed(log, database_url, tmp_path, witnesses, 3)
    witnesses.close()
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT note FROM public.daybook_checkpoints ORDER BY size").fetchall()
    assert [note for (note,) in rows] == made


def test_a_failing_witness_is_logged_once_and_gets_all_later(
    log: PostgresLog, database_url: str, tmp_path: Path, listening: http.server.ThreadingHTTPServer
) -> None:
    shown: list[tuple[str, str]] = []
    listening.refusing.set()  # type: ignore[attr-defined]
    place = f"http://user:secret@127.0.0.1:{listening.server_port}/keep"
    file = tmp_path / "kept.notes"
    witnesses = Witnesses([place, f"file:{file}"], lambda *trouble: shown.append(trouble))
    began = time.monotonic()
    made = sealed(log, database_url, tmp_path, witnesses, 3)
    assert time.monotonic() - began < WAIT_SECONDS_MAX
    until(lambda: file.exists() and len(checkpoints.parse_many(file.read_text())) == 3)
    until(lambda: shown)
    listening.refusing.clear()  # type: ignore[attr-defined]
    until(lambda: listening.kept == made)  # type: ignore[attr-defined]
    until(lambda: len(shown) == 2)
    witnesses.close()
    assert "503" in shown[0][1] and shown[1][1] == "" and not any("secret" in name for name, _ in shown)


def test_places_are_named_in_a_setting() -> None:
    assert places("file:/a, https://b.example/c  postgresql://d/e") == [
        "file:/a",
        "https://b.example/c",
        "postgresql://d/e",
    ]
    assert places("") == []
    for wrong in ("ftp://x", "/a/file", "file:"):
        with pytest.raises(InvalidInput):
            places(wrong)

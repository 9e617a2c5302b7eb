"""A connection cut in the middle of COPY leaves nothing behind; one cut after it, everything. Both are reported truly.

A proxy stands between the writer and the server and cuts at a known point: after the first of the rows, or when the
server has committed and says so. The server itself may end the session as well, at a known row.
"""

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.log.postgres import PostgresLog
from adapters.writer.batch import IdempotentAnswer, Keyed
from adapters.writer.group_commit import GroupCommit
from domain.errors import NotLeading, Unavailable
from domain.ledger import Answer, Command
from tests.desk import fill_of, new_order, open_desk
from tests.group_commit import check_log, leading, request

COPY = b"COPY ledger.events"
COMMITTED = b"Z\x00\x00\x00\x05I"  # ReadyForQuery, not in a transaction
FILLS = 300  # more bytes than a socket holds
PORT = 5432
ATTEMPTS = 200

END_AT_ROW = """
CREATE SEQUENCE public.rows_seen;
CREATE FUNCTION public.end_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('public.rows_seen') = 100 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER end_session BEFORE INSERT ON ledger.events FOR EACH ROW EXECUTE FUNCTION public.end_session();
"""


class Proxy:
    """Passes everything on, until a connection does a COPY: then it cuts that one, once, as `cut` says."""

    def __init__(self, url: str, directory: Path) -> None:
        self.cut = ""  # "rows": after the first of them; "answer": when it is committed
        self._server = conninfo_to_dict(url)
        self.url = make_conninfo(url, host=str(directory), port=PORT)
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(f"{directory}/.s.PGSQL.{PORT}")
        self._door.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._let_in, daemon=True).start()

    def close(self) -> None:
        """Cut everything."""
        self._end(self._door, *self._open)

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = self._reach()
                self._open += [client, server]
                is_muted = threading.Event()
                for pass_on in (self._up, self._down):
                    threading.Thread(target=pass_on, args=(client, server, is_muted), daemon=True).start()

    def _reach(self) -> socket.socket:
        host, port = str(self._server["host"]), int(self._server.get("port") or PORT)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _up(self, client: socket.socket, server: socket.socket, is_muted: threading.Event) -> None:
        is_copying = False
        with suppress(OSError):
            while shown := client.recv(65536):
                if is_copying and self.cut == "rows":
                    self.cut = ""
                    server.sendall(shown[: len(shown) // 2])
                    break
                if is_copying and self.cut == "answer":
                    self.cut = ""
                    is_muted.set()
                is_copying = is_copying or COPY in shown
                server.sendall(shown)
        self._end(client, server)

    def _down(self, client: socket.socket, server: socket.socket, is_muted: threading.Event) -> None:
        with suppress(OSError):
            while shown := server.recv(65536):
                if is_muted.is_set():
                    if shown.endswith(COMMITTED):
                        break
                else:
                    client.sendall(shown)
        self._end(client, server)

    @staticmethod
    def _end(*connections: socket.socket) -> None:
        for one in connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture(name="proxy")
def proxy_before_the_server(database_url: str) -> Iterator[Proxy]:
    with tempfile.TemporaryDirectory(prefix="dbk-") as directory:
        proxy = Proxy(database_url, Path(directory))
        yield proxy
        proxy.close()


@pytest.fixture(name="group")
def group_behind_the_proxy(log: PostgresLog, proxy: Proxy) -> Iterator[GroupCommit]:
    open_desk(log)
    with leading(proxy.url, log) as group:
        assert group.is_leading
        for n in range(3):
            request(group, new_order(f"A{n}", qty=str(FILLS)))
        yield group


def fills() -> Command:
    return Command(tuple(fill_of(f"A{n % 3}", f"E{n}", at=n) for n in range(FILLS)), "venue")


def once() -> Keyed:
    def reported(answers: list[Answer], _: object) -> bytes:
        return str(sum(len(answer.records) for answer in answers)).encode()

    return Keyed("K1", sha256(b"fills").digest(), reported)


def sent_until_taken(group: GroupCommit) -> IdempotentAnswer:
    """The same command under the same key, as a client would send it again."""
    for _ in range(ATTEMPTS):
        try:
            shown: IdempotentAnswer = group.submit(fills(), once()).result(60)
        except (Unavailable, NotLeading):
            group._stopping.wait(0.05)
        else:
            return shown
    raise AssertionError("no leader accepts it")


def check_taken_once(group: GroupCommit, log: PostgresLog, *, is_first: bool) -> None:
    shown = sent_until_taken(group)
    assert shown == IdempotentAnswer(str(FILLS).encode(), is_first)
    assert sum(len(log.read(f"order:main:A{n}")) for n in range(3)) == 3 + FILLS
    assert [kept.answer for kept in log.kept([("venue", "K1")])] == [shown.answer]
    check_log(log)


def test_a_connection_cut_among_the_rows_leaves_nothing_and_is_reported(
    group: GroupCommit, log: PostgresLog, proxy: Proxy
) -> None:
    head = log.head()
    proxy.cut = "rows"
    with pytest.raises(Unavailable):
        group.submit(fills(), once()).result(60)
    assert proxy.cut == "", "it was cut"
    assert log.head() == head
    assert log.kept([("venue", "K1")]) == []
    check_taken_once(group, log, is_first=True)


def test_a_session_that_the_server_ends_among_the_rows_leaves_nothing_and_is_reported(
    group: GroupCommit, log: PostgresLog, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(END_AT_ROW)
    head = log.head()
    with pytest.raises(Unavailable):
        group.submit(fills(), once()).result(60)
    assert log.head() == head
    assert log.kept([("venue", "K1")]) == []
    check_taken_once(group, log, is_first=True)
    with psycopg.connect(database_url, autocommit=True) as owner:
        assert owner.execute("SELECT last_value > 100 FROM public.rows_seen").fetchone() == (True,)


def test_a_connection_cut_after_the_commit_leaves_everything_and_is_reported(
    group: GroupCommit, log: PostgresLog, proxy: Proxy
) -> None:
    proxy.cut = "answer"
    shown = group.submit(fills(), once()).result(60)
    assert proxy.cut == "", "it was cut"
    assert shown == IdempotentAnswer(str(FILLS).encode(), True)
    assert len(log.kept([("venue", "K1")])) == 1
    check_taken_once(group, log, is_first=False)

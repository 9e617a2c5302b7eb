"""The door: keys before bodies, limits on bodies and connections, names and origins, what strangers learn."""

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.postgres.scopes import Scope
from api.daybook import Daybook
from api.http import server as http_server
from api.http.gate import BURST, WAIT_SECONDS_MAX, Pace
from api.http.server import configured
from api.main import create_app
from api.problems import Problem
from api.settings import Settings, release
from tests import CHECKOUT
from tests.api.client import ThreadedServer, fill, listing, order, serving
from tests.api.command_line import environment
from tests.api.own_writes import Client
from tests.waiting import until

pytestmark = pytest.mark.slow

ClientFor = Callable[..., httpx.Client]
JSON = {"Content-Type": "application/json"}


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    place = urlsplit(url)
    assert place.hostname
    with closing(socket.create_connection((place.hostname, place.port or 80), timeout=20)) as connection:
        yield connection


def answered(connection: socket.socket) -> bytes:
    """What the server sends until it closes, or the first answer."""
    received = b""
    while b"\r\n\r\n" not in received and (chunk := connection.recv(65_536)):
        received += chunk
    return received


def head(path: str, length: int, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def operations(client: httpx.Client) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(method, path) for path in paths for method in paths[path] if path.startswith("/v1/")]


def test_without_a_key_every_operation_answers_before_the_body_arrives(server: str, client: httpx.Client):
    posts = [path for method, path in operations(client) if method == "post"]
    assert len(posts) > 5
    for path in posts:
        with connected(server) as connection:
            connection.sendall(head(path.replace("{", "").replace("}", ""), 2**40))  # and nothing of the body
            assert answered(connection).startswith(b"HTTP/1.1 401 "), path


def test_without_its_scope_an_operation_answers_before_the_body_arrives(server: str, client_for: ClientFor):
    key = client_for("trade").headers["Authorization"]
    for path, is_allowed in [("/v1/venue-reports", False), ("/v1/accounts", False), ("/v1/orders", True)]:
        with connected(server) as connection:
            connection.sendall(head(path, 1000, f"Authorization: {key}") + b'{"a"')
            connection.settimeout(1)
            if is_allowed:
                with pytest.raises(TimeoutError):
                    answered(connection)
            else:
                assert answered(connection).startswith(b"HTTP/1.1 403 "), path


def test_strangers_cannot_find_out_which_paths_there_are(client_for: ClientFor):
    stranger = client_for()
    answers = [stranger.get(path) for path in ("/v1/orders", "/v1/nope", "/v1", "/v1/orders/main/A-1/../x")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert client_for("trade").get("/v1/nope").status_code == 404


def test_a_body_that_does_not_arrive_is_answered_408(
    server: str, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("api.http.bodies.FIRST_SECONDS_MAX", 0.3)
    with connected(server) as connection:
        connection.sendall(head("/v1/orders", 1000, f"Authorization: {client.headers['Authorization']}") + b"{" * 500)
        assert answered(connection).startswith(b"HTTP/1.1 408 ")
        assert connection.recv(1) == b"", "and the connection is closed"


def test_a_head_that_does_not_arrive_closes_the_connection(server: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_server, "HEAD_SECONDS_MAX", 0.3)
    for beginning in (b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"\r\n"):
        with connected(server) as connection:
            connection.sendall(beginning)
            assert connection.recv(1) == b""
    with connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 200_000)
        assert answered(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("limit", ["connections_per_address_max", "connections_max"])
def test_connections_are_bounded_by_address_and_altogether(daybook: Daybook, settings: Settings, limit: str):
    few = settings.model_copy(update={limit: 3})
    app = create_app(daybook)
    with ThreadedServer(configured(app, few, host="127.0.0.1", port=0)).running() as url:
        held = [socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=20) for _ in range(3)]
        with connected(url) as connection:
            assert answered(connection).startswith(b"HTTP/1.1 503 ")
        for connection in held:
            connection.close()
        with Client(base_url=url, timeout=20, transport=httpx.HTTPTransport(retries=3)) as client:
            assert client.get("/health").status_code in (200, 503)


def test_a_client_that_does_not_read_its_answer_is_dropped(
    daybook: Daybook, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http_server, "STALLED_SECONDS_MAX", 0.3)
    requests = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100  # more than the system buffers
    serving_it = ThreadedServer(configured(create_app(daybook), settings, host="127.0.0.1", port=0))
    with serving_it.running() as url, connected(url) as connection:
        connection.sendall(requests)
        deadline = time.monotonic() + 60
        while not serving_it.server_state.connections:
            assert time.monotonic() < deadline
        while serving_it.server_state.connections:
            assert time.monotonic() < deadline, "it is still connected"
            time.sleep(0.05)


def test_bodies_together_are_bounded(desk: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr("api.http.bodies.HELD_BYTES_MAX", 100)
        refused = desk.post("/v1/orders", json=order())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert desk.post("/v1/orders", json=order()).status_code == 201


def test_a_request_is_no_longer_than_it_can_be(desk: httpx.Client):
    long = b"[" + b" " * 70_000 + b"]"
    for path, status in [("/v1/orders", 413), ("/v1/what-if", 413), ("/v1/marks", 422), ("/v1/venue-reports", 422)]:
        assert desk.post(path, content=long, headers=JSON).status_code == status, path


PLACES = {"account_id": "main", "instrument_id": "X.Y", "proposal_id": "P1", "policy": "LOSS"}
DEEP = '{"a":' * 1000 + "1" + "}" * 1000
TWICE = json.dumps(order("A-2"))[:-1] + ', "order_qty": "1000"}'


@pytest.mark.parametrize("body", [DEEP, TWICE, '{"account_id": "\\ud800"}', '{"account_id": "a\\u0000"}'])
def test_what_parsers_read_differently_is_refused_on_every_path(desk: httpx.Client, body: str):
    before = desk.get("/v1/events").json()["seq"]
    for method, path in operations(desk):
        if method == "post":
            place = re.sub(r"\{(\w+)\}", lambda named: PLACES.get(named[1], "none"), path)
            answer = desk.post(place, content=body, headers=JSON)
            assert (path, answer.status_code) == (path, 422), answer.text
            assert answer.json()["type"] == "urn:daybook:problem:unreadable"
    assert desk.get("/v1/events").json()["seq"] == before


def test_an_order_whose_quantity_is_given_twice_names_the_key(desk: httpx.Client):
    answer = desk.post("/v1/orders", content=TWICE, headers=JSON)
    assert [error["field"] for error in answer.json()["errors"]] == ["order_qty"]


BAD_REPORTS = {
    "deep": b'{"account_id":"main","x":' + b"[" * 1000 + b"]" * 1000 + b"}",
    "surrogate": b'{"account_id":"main","type":"canceled","cl_ord_id":"\\ud800"}',
    "nul": b'{"account_id":"main","type":"canceled","cl_ord_id":"\\u0000"}',
    "raw nul": b'{"account_id":"main","type":"\x00"}',
    "no utf-8": b'{"account_id":"main","type":"\xff\xfe"}',
    "no json": b'{"account_id":"main", nothing}',
    "long": b'{"account_id":"main","x":"' + b"x" * 70_000 + b'"}',
    "twice": json.dumps(fill("E-9"))[:-1].encode() + b', "last_qty": "1000"}',
    "huge number": b'{"account_id":"main","last_qty":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("path", ["/v1/venue-reports", "/v1/reports"])
def test_a_bad_report_spoils_itself_alone_and_is_kept(desk: httpx.Client, path: str):
    good = [json.dumps(fill(f"E-{n}", cl_ord_id=f"A-{n}")).encode() for n in range(len(BAD_REPORTS))]
    mixed = [each for pair in zip(good, BAD_REPORTS.values(), strict=True) for each in pair]
    answer = desk.post(path, content=b'{"reports": [' + b",".join(mixed) + b"]}", headers=JSON)
    assert answer.status_code == 207, answer.text
    assert [each["status"] for each in answer.json()["answers"]] == ["recorded", "unreadable"] * len(BAD_REPORTS)
    seq = answer.headers["Daybook-Seq"]
    kept = desk.get("/v1/breaks", params={"min_seq": seq, "limit": 100}).json()["items"]
    raws = {each["raw"] for each in kept if each["kind"] == "UNREADABLE"}
    assert len(raws) == len(BAD_REPORTS)
    for name in ("deep", "surrogate", "nul", "no json", "twice", "huge number"):
        assert BAD_REPORTS[name].decode() in raws, name
    assert '{"account_id":"main","type":"\\xff\\xfe"}' in raws
    assert len(desk.get("/v1/executions", params={"min_seq": seq}).json()["items"]) == len(BAD_REPORTS)


def test_a_report_whose_numbers_are_too_long_spoils_itself_alone(desk: httpx.Client):
    largest = "999999999999999999.999999999999999999"
    huge = listing(instrument_id="HUGE.SIM", kind="LINEAR", contract_size=largest)
    assert desk.post("/v1/instruments", json=huge).status_code == 201
    reports = [fill("E-1"), fill("E-2", instrument_id="HUGE.SIM", last_qty=largest, last_px=largest, cl_ord_id="H")]
    answer = desk.post("/v1/venue-reports", json={"reports": reports})
    assert answer.json()["answers"][0]["status"] == "recorded"


# Pace, and what many need at once


def test_strangers_slow_down_and_are_never_refused():
    pace = Pace()
    waits = [pace.seconds("1.2.3.4", 0.0) for _ in range(10 * BURST)]
    assert max(waits[: BURST - 1]) == 0.0
    assert waits == sorted(waits)
    assert waits[-1] == WAIT_SECONDS_MAX
    assert pace.seconds("5.6.7.8", 0.0) == 0.0
    assert pace.seconds("1.2.3.4", 60.0) == 0.0


def test_metrics_are_computed_once_for_all_scrapers(client_for: ClientFor, daybook: Daybook, server: str):
    collected = []
    status_of = daybook.runner.status

    def status() -> object:
        collected.append(time.monotonic())
        return status_of()

    daybook.runner.status = status  # type: ignore[method-assign,assignment]
    try:
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool, Client(base_url=server, timeout=30) as scraper:
            answers = list(pool.map(lambda _: scraper.get("/metrics"), range(40)))
        seconds = time.monotonic() - began
    finally:
        del daybook.runner.status
    assert {answer.status_code for answer in answers} == {200}
    assert all("daybook_database_up 1.0" in answer.text for answer in answers)
    assert 1 <= len(collected) <= 2 + seconds


# Names and origins


def test_only_its_own_names_are_answered(server: str, client: httpx.Client):
    port = urlsplit(server).port
    for host in ("127.0.0.1", f"127.0.0.1:{port}", "localhost", "LOCALHOST:8000", "[::1]:80", "10.1.2.3", "a.localhost",
                 socket.gethostname()):  # fmt: skip
        assert client.get("/v1/orders", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "127.0.0.1@evil.example", ""):
        for path in ("/v1/orders", "/health", "/"):
            assert client.get(path, headers={"Host": host}).status_code == 421, host


def test_the_demo_cannot_be_reached_by_rebinding(daybook: Daybook):
    with serving(daybook, demo=True) as url, Client(base_url=url, timeout=30) as page:
        assert page.get("/v1/orders").status_code == 200
        assert page.get("/v1/orders", headers={"Host": "rebound.example"}).status_code == 421


def test_names_can_be_added(daybook: Daybook, settings: Settings):
    named = daybook.settings.model_copy(update={"allowed_hosts": "books.example, other.example"})
    object.__setattr__(daybook, "settings", named)
    with serving(daybook) as url, Client(base_url=url, timeout=30) as client:
        assert client.get("/health", headers={"Host": "Books.Example:8000"}).status_code == 200
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421


def test_no_other_site_can_send_from_a_browser(daybook: Daybook):
    simple = {"Content-Type": "text/plain"}
    with serving(daybook, demo=True) as url, Client(base_url=url, timeout=30) as page:
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "same-site"}, {"Origin": url.replace("http:", "https:") + "0"}):  # fmt: skip
            refused = page.post("/v1/orders", json=order(), headers=headers)
            assert (headers, refused.status_code) == (headers, 403)
            assert refused.json()["type"] == "urn:daybook:problem:cross-site"
            assert page.post("/v1/orders/main/A-1/cancel", headers=headers).status_code == 403
        assert page.post("/v1/orders", content=json.dumps(order()), headers=simple).status_code == 415
        assert page.post("/v1/orders", content=json.dumps(order()), headers={"Content-Type": ""}).status_code == 415
        same = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        assert page.post("/v1/orders", json=order(), headers=same).status_code != 403


def test_answers_of_the_api_are_not_stored_or_guessed_at(client: httpx.Client, client_for: ClientFor):
    for answer in (
        client.get("/v1/orders"),
        client.get("/v1/nope"),
        client_for().get("/v1/orders"),
        client.get("/v1/reports/pnl", params={"format": "csv"}),
        client.post("/v1/orders", content=b"{"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_strangers_learn_no_paths_hosts_or_versions(client_for: ClientFor, daybook: Daybook, tmp_path: Path):
    stranger = client_for()
    secrets = [release(), uvicorn.__version__, "uvicorn", "/home", "/tmp", "site-packages", urlsplit(daybook.url).path]
    for path in ("/health", "/ready", "/metrics", "/openapi.json", "/docs", "/", "/v1/orders", "/nope"):
        answer = stranger.get(path)
        text = str(dict(answer.headers)) + answer.text
        found = [secret for secret in secrets if len(secret) > 3 and secret in text]
        assert not found, (path, found)
        assert "server" not in answer.headers


def test_strangers_do_not_learn_why_it_is_not_ready(daybook: Daybook, server: str, client: httpx.Client):
    client.get("/v1/orders")
    import psycopg

    with (
        psycopg.connect(daybook.url, autocommit=True) as connection,
        Client(base_url=server, timeout=30) as stranger,
    ):

        def shown(caller: httpx.Client) -> httpx.Response:
            connection.execute("UPDATE read.progress SET error = 'in /srv/secret of db.internal'")
            return caller.get("/ready")

        until(lambda: shown(stranger).status_code == 503)  # what strangers see may be a second old
        assert "secret" not in shown(stranger).text
        until(lambda: "secret" in shown(client).text)


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, private


def test_it_serves_https(daybook: Daybook, settings: Settings, certificate: tuple[Path, Path]):
    cert, key = certificate
    tls = settings.model_copy(update={"tls_cert": cert, "tls_key": key})
    with ThreadedServer(configured(create_app(daybook), tls, host="127.0.0.1", port=0)).running() as url:
        secure = f"https://localhost:{urlsplit(url).port}"
        trusted = ssl.create_default_context(cafile=str(cert))
        with Client(base_url=secure, verify=trusted, timeout=20) as client:
            assert client.get("/health").status_code == 200
            assert client.get("/v1/orders").status_code == 401
        with pytest.raises(httpx.HTTPError), Client(base_url=url, timeout=20) as plain:
            plain.get("/health")


def test_files_that_are_no_certificate_are_named(settings: Settings, tmp_path: Path):
    (tmp_path / "no.pem").write_text("nothing")
    for cert in (tmp_path / "absent.pem", tmp_path / "no.pem"):
        with pytest.raises(Problem, match="certificate or key cannot be used"):
            configured(lambda *_: None, settings.model_copy(update={"tls_cert": cert}))  # type: ignore[arg-type]
    with pytest.raises(Problem, match="needs its certificate"):
        configured(lambda *_: None, settings.model_copy(update={"tls_key": tmp_path / "no.pem"}))  # type: ignore[arg-type]


# The leader's address


def test_a_standby_names_the_address_of_the_leader_to_holders_of_a_key(daybook: Daybook, settings: Settings):
    with Daybook.open(settings) as other, daybook.leading("https://books.example:8443"), serving(other) as standby:
        key = {"X-API-Key": daybook.keys.issue("bot", [Scope.TRADE])}
        with Client(base_url=standby, timeout=30) as client:
            shown = client.post("/v1/orders", json=order(), headers=key)
            assert (shown.status_code, "https://books.example:8443" in shown.json()["detail"]) == (503, True)
            assert "books.example" not in client.post("/v1/orders", json=order()).text


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_address_is_one_that_can_be_reached(settings: Settings, host: str):
    with socket.create_server((host, 0)) as listening:
        port = listening.getsockname()[1]
        url = http_server.url_of(settings, listening)
        name = socket.gethostname() if host == "0.0.0.0" else host
        assert url == f"http://{name}:{port}"
        assert http_server.is_public(host) is (host == "0.0.0.0")


@pytest.mark.parametrize("is_secure", [True, False])
def test_serve_speaks_tls_or_warns_on_a_public_address(
    database_url: str, certificate: tuple[Path, Path], is_secure: bool
):
    tls = ["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])] if is_secure else []
    command = [sys.executable, "-m", "api.cli", "serve", "--host", "0.0.0.0", "--port", "0", *tls]
    variables = environment(DAYBOOK_DATABASE_URL=database_url, DAYBOOK_LOG_LEVEL="error")
    with subprocess.Popen(command, cwd=CHECKOUT, text=True, stderr=subprocess.PIPE, env=variables) as served:
        try:
            assert served.stderr is not None
            url = served.stderr.readline().split()[2]
            assert "no API key" in served.stderr.readline()
            assert url.startswith(f"{'https' if is_secure else 'http'}://{socket.gethostname()}:")
            if not is_secure:
                assert "Warning: plain HTTP" in served.stderr.readline()
            else:
                trusted = ssl.create_default_context(cafile=str(certificate[0]))
                transport = httpx.HTTPTransport(verify=trusted, retries=10)
                with Client(transport=transport, timeout=30) as client:
                    assert client.get(f"https://localhost:{urlsplit(url).port}/health").status_code == 200
        finally:
            served.terminate()

"""A witness of its own: speaks the C2SP tlog-witness protocol over HTTP, verifies with nothing of ours, and cosigns.

Written from the texts of c2sp.org (tlog-witness, tlog-cosignature, signed-note) and RFC 6962, over `cryptography`.
"""

import base64
import hashlib
import http.server
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from tests import rfc6962

Answer = tuple[int, bytes, str]
TEXT = "text/plain; charset=utf-8"


def key_id(name: str, kind: int, raw: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + raw).digest()[:4]


class TestWitness:
    """A witness named `name`, that trusts the logs whose vkeys are in `logs`, by origin."""

    __test__ = False  # no test of pytest's

    def __init__(self, name: str, *, kind: int = 4) -> None:
        self.name, self.kind = name, kind
        self.secret = Ed25519PrivateKey.generate() if kind == 4 else MLDSA44PrivateKey.generate()
        self.raw = self.secret.public_key().public_bytes_raw()
        self.logs: dict[str, list[str]] = {}
        self.seen: dict[str, tuple[int, bytes]] = {}  # size and root, by origin
        self.answered: list[int] = []
        self.is_away = False
        self.lock = threading.Lock()

    @property
    def vkey(self) -> str:
        typed = base64.b64encode(bytes([self.kind]) + self.raw).decode()
        return f"{self.name}+{key_id(self.name, self.kind, self.raw).hex()}+{typed}"

    def trust(self, vkey: str) -> None:
        self.logs.setdefault(vkey.split("+", maxsplit=1)[0], []).append(vkey)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request to `add-checkpoint`, one at a time."""
        with self.lock:
            found = (503, b"away\n", TEXT) if self.is_away else self._add(body.decode())
            self.answered.append(found[0])
            return found

    def _add(self, body: str) -> Answer:
        head, _, note = body.partition("\n\n")
        old_line, *proof = head.split("\n")
        text, _, tail = note.rpartition("\n\n")
        text += "\n"
        origin, size_line, root_line, *_ = text.split("\n")
        old, size, root = int(old_line.removeprefix("old ")), int(size_line), base64.b64decode(root_line)
        if len(proof) > 63 or old > size:
            return 400, b"bad\n", TEXT
        if origin not in self.logs:
            return 404, b"unknown log\n", TEXT
        if not self._is_signed(text, tail, self.logs[origin]):
            return 403, b"no signature of a known key\n", TEXT
        seen, seen_root = self.seen.get(origin, (0, b""))
        if old != seen:
            return 409, f"{seen}\n".encode(), "text/x.tlog.size"
        hashes = [base64.b64decode(line) for line in proof]
        if not self._continues(seen, size, seen_root, root, hashes):
            return 422, b"not consistent\n", TEXT
        self.seen[origin] = size, root
        return 200, self._cosigned(text, origin, size, root).encode(), TEXT

    @staticmethod
    def _is_signed(text: str, tail: str, vkeys: list[str]) -> bool:
        for vkey in vkeys:
            name, hint, typed = vkey.split("+", 2)
            for line in tail.splitlines():
                _, signer, encoded = line.split(" ")
                raw = base64.b64decode(encoded)
                if (signer, raw[:4].hex()) != (name, hint):
                    continue
                try:
                    Ed25519PublicKey.from_public_bytes(base64.b64decode(typed)[1:]).verify(raw[4:], text.encode())
                except InvalidSignature:
                    return False
                return True
        return False

    @staticmethod
    def _continues(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
        if old == 0:
            return not proof
        if old == new:
            return not proof and old_root == new_root
        try:
            return rfc6962.roots_by_proof(old, new, old_root, proof) == (old_root, new_root)
        except (ValueError, IndexError):
            return False

    def _cosigned(self, text: str, origin: str, size: int, root: bytes) -> str:
        at = int(time.time())
        if self.kind == 4:
            message = f"cosignature/v1\ntime {at}\n{text}".encode()
        else:
            named = bytes([len(self.name)]) + self.name.encode()
            log = bytes([len(origin)]) + origin.encode()
            message = b"subtree/v1\n\0" + named + struct.pack(">Q", at) + log + struct.pack(">QQ", 0, size) + root
        raw = key_id(self.name, self.kind, self.raw) + struct.pack(">Q", at) + self.secret.sign(message)
        return f"— {self.name} {base64.b64encode(raw).decode()}\n"


@contextmanager
def serving(witness: TestWitness) -> Iterator[str]:
    """Serve a witness over HTTP; yields its submission prefix."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer, kind = (
                witness.add_checkpoint(body) if self.path == "/w/add-checkpoint" else (404, b"no such path\n", TEXT)
            )
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/w"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

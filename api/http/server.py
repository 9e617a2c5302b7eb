"""The HTTP server: uvicorn with limits on connections, on the time and size of a request's head, and TLS.

A connection that sends nothing useful is closed: a head has to be complete within seconds, and of a body that no
operation reads only a little is drained. One address has a share of the connections, so that it cannot use them all up.
"""

import asyncio
import ipaddress
import socket
from collections import Counter
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.problems import Problem
from api.settings import Settings

HEAD_SECONDS_MAX = 10.0
HEAD_BYTES_MAX = 2**16
DRAINED_BYTES_MAX = 2**16  # of a body that no operation reads
STALLED_SECONDS_MAX = 60.0  # of a client that does not read its answer
LINGER_SECONDS = 0.5  # time to read the answer before a connection is closed on what is still being sent
FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
LARGE_HEAD = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def configured(app: ASGIApp, settings: Settings, **more: Any) -> uvicorn.Config:
    """Return how to serve an app. Raises Problem if a TLS file cannot be used."""
    tls: dict[str, Any] = {}
    if settings.tls_cert is not None:
        tls = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key or settings.tls_cert}
    elif settings.tls_key is not None:
        raise Problem(400, "usage", "Usage", "a TLS key needs its certificate: set DAYBOOK_TLS_CERT or --tls-cert")
    protocol = limited(settings.connections_max, settings.connections_per_address_max)
    config = uvicorn.Config(
        app, http=protocol, log_config=None, access_log=False, server_header=False, ws="none", **tls, **more
    )
    try:
        config.load()
    except OSError as error:  # of files, and of what ssl finds in them
        detail = f"the TLS certificate or key cannot be used: {error.strerror or error}; give files in PEM format"
        raise Problem(400, "usage", "Usage", detail) from error
    return config


def url_of(settings: Settings, listening: socket.socket) -> str:
    """Return the URL of a listening socket; one on every address is reached by the name of this machine."""
    address, port = listening.getsockname()[:2]
    if ipaddress.ip_address(address).is_unspecified:
        address = socket.gethostname()
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}"


def is_public(host: str) -> bool:
    """Return whether an address can be reached from other machines."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def limited(connections_max: int, per_address_max: int) -> type[asyncio.Protocol]:
    """Return a protocol for one server, with limits on its connections (0 for none)."""
    open_by: Counter[str] = Counter()

    class Limited(_Patient):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._address = self.client[0] if self.client else ""
            open_by[self._address] += 1
            is_crowded = 0 < per_address_max < open_by[self._address]
            if is_crowded or 0 < connections_max < open_by.total():
                transport.write(FULL)
                transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            open_by[self._address] -= 1
            if not open_by[self._address]:
                del open_by[self._address]
            super().connection_lost(exc)

    return Limited


class _Patient(HttpToolsProtocol):
    """uvicorn's protocol, patient for a bounded time with a head, and with a body after the answer."""

    _address = ""
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _is_in_body = False
    _head_bytes = 0
    _drained_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_timer(HEAD_SECONDS_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._not_stalled()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        self._not_stalled()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        was_in_body = self._is_in_body
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_body:
            if self.cycle.response_complete:
                self._drain(len(data))
        elif self._is_between_requests():  # between requests, or in the head of one
            self._head_bytes += 0 if was_in_body else len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.write(LARGE_HEAD)
                self.transport.close()
            elif self._timer is None:
                self._set_timer(HEAD_SECONDS_MAX)

    def on_headers_complete(self) -> None:
        self._cancel_timer()
        self._head_bytes = self._drained_bytes = 0
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._cancel_timer()
        self._is_in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_in_body and not self.transport.is_closing():
            self._set_timer(LINGER_SECONDS)

    def _is_between_requests(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _drain(self, size: int) -> None:
        self._drained_bytes += size
        if self._drained_bytes > DRAINED_BYTES_MAX:
            self.flow.pause_reading()  # the timer closes the connection

    def _not_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _set_timer(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

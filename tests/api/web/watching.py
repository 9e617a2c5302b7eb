"""A console, and a page that is watched for complaints."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import uvicorn
from playwright.sync_api import Page

from api.daybook import Daybook
from api.main import create_app


class Console(NamedTuple):
    """A Daybook and where its console is."""

    daybook: Daybook
    url: str

    def told(self, path: str) -> dict:
        """What the API says."""
        answer = httpx.get(self.url + path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def serving(daybook: Daybook, *, demo: bool) -> Iterator[Console]:
    """The app on a free port, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(daybook, demo=demo),
            log_level="warning",
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=3,
        )
    )
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield Console(daybook, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


class Watched(NamedTuple):
    """A page, and everything it complained about or asked another server for."""

    page: Page
    complaints: list[str]

    def open(self, url: str) -> Page:
        """The page of `url`, its book drawn."""
        self.page.goto(url)
        self.page.wait_for_selector("#book:not([hidden])")
        return self.page

"""A console, and a page that is watched for complaints."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from playwright.sync_api import Page

from api.daybook import Daybook
from tests.api.client import serving as serving_app
from tests.api.own_writes import Client


class Console(NamedTuple):
    """A Daybook and where its console is."""

    daybook: Daybook
    url: str

    def get(self, path: str) -> dict:
        """What the API says."""
        with Client(base_url=self.url) as client:
            answer = client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def serving(daybook: Daybook, *, demo: bool) -> Iterator[Console]:
    """The app on a free port, in a thread."""
    with serving_app(daybook, demo=demo) as url:
        yield Console(daybook, url)


class Watched(NamedTuple):
    """A page, and everything it complained about or requested from another server."""

    page: Page
    complaints: list[str]

    def open(self, url: str) -> Page:
        """The page of `url`, its book drawn."""
        self.page.goto(url)
        self.page.wait_for_selector("#book:not([hidden])")
        return self.page

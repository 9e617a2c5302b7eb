"""A short trading day in a real database, served by a real uvicorn, and a real browser to look at it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Request, sync_playwright
from pydantic import SecretStr

from adapters.exchanges.simulated import Faults
from api.daybook import Daybook
from api.demo.trading_day import TradingDay
from api.settings import Settings
from tests.api.web.watching import Console, Watched, serving
from tests.databases import new_database

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
FAULTS = Faults(duplicate_per_mille=50, late_per_mille=30, late_steps_max=3, fill_after_cancel_per_mille=1000)
STEPS = 240


@pytest.fixture(scope="module")
def traded(server_url: str, template: str, database_names: Iterator[str]) -> Iterator[Daybook]:
    """A Daybook with part of a trading day in it."""
    with (
        new_database(server_url, next(database_names), template) as url,
        Daybook.open(Settings(database_url=SecretStr(url))) as daybook,
    ):
        TradingDay(11, steps=STEPS, faults=FAULTS).run(daybook.writer, daybook.recorder)
        daybook.runner.catch_up()
        yield daybook


@pytest.fixture(scope="module")
def demo(traded: Daybook) -> Iterator[Console]:
    """The console as the demo serves it: no key needed."""
    with serving(traded, demo=True) as console:
        yield console


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM} on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens a page; in the end nothing may have been complained of but what the test took from `complaints`."""
    with ExitStack() as stack:
        opened: list[Watched] = []

        def open_page(width: int = 1280, height: int = 900) -> Watched:
            page = stack.enter_context(browser.new_context(viewport={"width": width, "height": height})).new_page()
            page.set_default_timeout(15_000)
            new = Watched(page, [])

            def on_message(message: ConsoleMessage) -> None:
                if message.type in ("error", "warning"):
                    new.complaints.append(f"console: {message.text}")

            def on_request(request: Request) -> None:
                if not request.url.startswith("http://127.0.0.1:"):
                    new.complaints.append(f"requested elsewhere: {request.url}")

            page.on("console", on_message)
            page.on("pageerror", lambda error: new.complaints.append(f"error: {error}"))
            page.on("request", on_request)
            opened.append(new)
            return new

        yield open_page
        assert [complaint for new in opened for complaint in new.complaints] == []

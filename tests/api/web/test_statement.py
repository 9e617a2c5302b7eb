"""A statement in a real browser: nothing is wider than the window, on the screen and on paper."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from api.daybook import Daybook
from api.parameters import Format
from api.read_models.snapshot import reading
from api.reports.catalog import Parameters
from api.reports.make import make, needs
from projections.models.positions import positions

WIDEST = "[...document.querySelectorAll('.wide')].map(table => table.scrollWidth - table.clientWidth)"


@pytest.fixture
def page_file(traded: Daybook, tmp_path: Path) -> Path:
    """The statement of an account with trades, in a file."""
    with reading(traded, "positions") as at:
        held = positions(at.source)[0]
    wanted = Parameters(account_id=held["account_id"], day=f"{held['last_transact_time']:%Y-%m}")
    file = tmp_path / "statement.html"
    with reading(traded, *needs("statement", wanted)) as at, file.open("wb") as out:
        make(traded, "statement", wanted, form=Format.HTML, at=at, is_past=False).write(out)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 800])
def test_nothing_of_a_statement_is_wider_than_the_window(browser: Browser, page_file: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert set(page.evaluate(WIDEST)) == {0}
    assert page.locator("th", has_text="Mark age").count() == 1
    page.emulate_media(media="print")
    assert set(page.evaluate(WIDEST)) == {0}
    page.close()

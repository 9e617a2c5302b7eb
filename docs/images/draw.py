"""Draws the pictures of the documentation from a real run: `.venv/bin/python docs/images/draw.py` (needs chromium).

demo.svg is the terminal, console-*.png is the browser. One seed gives one day, so only speeds differ between two runs.
"""

import io
import os
import re
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from api.demo.demo import present
from api.demo.screen import Screen
from api.demo.trading_day import STEPS
from api.settings import Settings
from api.terminal.logs import log_to_stderr

HERE = Path(__file__).parent
COLUMNS = 104
SEED = 1
VIEWS = (
    ("console-dark", 1280, 1180, "dark"),
    ("console-light", 1280, 1180, "light"),
    ("console-narrow", 390, 1180, "dark"),
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
THEME = TerminalTheme(
    (15, 19, 24), (219, 226, 234),
    [(39, 48, 59), (255, 128, 135), (76, 195, 138), (227, 179, 65), (122, 167, 224), (190, 150, 220), (79, 179, 191),
     (219, 226, 234)],
    [(84, 96, 110), (255, 128, 135), (76, 195, 138), (227, 179, 65), (122, 167, 224), (190, 150, 220), (79, 179, 191),
     (255, 255, 255)],
)  # fmt: skip


class Pictures(Screen):
    """A screen that keeps what it says, and draws where the demo would wait."""

    def stay(self, url: str) -> None:
        svg = self.console.export_svg(title="daybook demo", theme=THEME)
        svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # rich names a font on somebody's server
        (HERE / "demo.svg").write_text(svg)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
            for name, width, height, scheme in VIEWS:
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.goto(url)
                page.wait_for_selector("#book:not([hidden])")
                page.wait_for_timeout(500)
                page.screenshot(path=HERE / f"{name}.png")
            browser.close()


def main() -> None:
    """Run the demo once, and draw it."""
    os.chdir(HERE.parents[1])
    log_to_stderr(Settings(log_level="warning"))
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, color_system="truecolor", highlight=False)
    present(Path(".daybook"), Pictures(console), SEED, 8000, STEPS, once=False, as_json=False)


if __name__ == "__main__":
    main()

"""The console shows what the API says, digit for digit, requests nothing from elsewhere, and shows when it cannot."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page

from adapters.exchanges.simulated import SPOT
from adapters.postgres.scopes import Scope
from api import web
from api.demo.trading_day import ACCOUNT, MARKET_MAKER
from domain.order import OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.risk import Measure, SetLimit
from domain.risk import Scope as LimitScope
from domain.values import Side, exact, rounded
from tests.api.web.watching import Console, Watched, serving

pytestmark = pytest.mark.browser
Watch = Callable[..., Watched]
STATIC = Path(web.__file__).parent / "static"


def exact_of(page: Page, selector: str) -> list[str | None]:
    """The exact decimals behind what is shown."""
    return page.eval_on_selector_all(selector, "cells => cells.map(cell => cell.getAttribute('data-exact'))")


@pytest.mark.parametrize("width", [1280, 390])
def test_positions_and_pnl_are_the_ones_of_the_api(demo: Console, watched: Watch, width: int):
    page = watched(width).open(demo.url)
    rows = demo.get("/v1/pnl")["items"]
    assert rows
    for row in rows:
        line = f'#pnl-table tr[data-row="{row["account_id"]}/{row["strategy_id"]}/{row["instrument_id"]}"] [data-exact]'
        quantity, average, mark, realized, unrealized, fees, funding, income, net = exact_of(page, line)
        shown = (quantity, average, mark, realized, unrealized, funding, income, net)
        assert shown == tuple(
            row[name] for name in ("quantity", "avg_px", "mark", "realized", "unrealized", "funding", "income", "net")
        )
        assert Decimal(fees) == -Decimal(row["fee_cost"]) - Decimal(row["fees_settle"])
    for currency in {row["settle"] for row in rows}:
        (net,) = exact_of(page, f'.card[data-currency="{currency}"] .net')
        assert Decimal(net) == sum(Decimal(row["net"]) for row in rows if row["settle"] == currency)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


def test_every_panel_has_what_the_read_model_has(demo: Console, watched: Watch):
    page = watched().open(demo.url)
    orders = demo.get("/v1/orders?limit=200")["items"]
    assert page.locator("#orders-table tbody tr").count() == len(orders)
    assert page.locator("#breaks-table tbody .num").count() == len(demo.get("/v1/breaks?limit=200")["items"])
    assert page.locator("#limits-table tbody tr").count() == len(demo.get("/v1/limits")["items"])
    exposure = demo.get("/v1/exposure?by=instrument_id")["totals"]
    assert exact_of(page, "#exposure-table tbody td:nth-of-type(2)") == [row["net"] for row in exposure]
    seq = demo.get("/ready")["seq"]
    assert page.locator("#vital-seq").inner_text() == f"{seq:,}"
    assert page.locator("#log-table tbody td").first.inner_text() == f"{seq:,}"


def test_past_moment_is_shown_as_it_was_recorded(demo: Console, watched: Watch):
    page = watched().open(demo.url)
    page.fill("#time-slider", "900")
    page.wait_for_selector("#time-words:text('seq 900, as recorded')")
    for row in demo.get("/v1/pnl?as_of=900")["items"]:
        line = f'#pnl-table tr[data-row="{row["account_id"]}/{row["strategy_id"]}/{row["instrument_id"]}"] [data-exact]'
        assert exact_of(page, line)[0] == row["quantity"]
    assert page.locator("#log-table tbody td").first.inner_text() == "900"
    page.click("#time-now")
    page.wait_for_selector("#time-words:text('now')")
    assert page.locator("#log-table tbody td").first.inner_text() == page.locator("#vital-seq").inner_text()


def test_exposure_can_be_grouped_otherwise(demo: Console, watched: Watch):
    page = watched().open(demo.url)
    page.select_option("#exposure-by", "base")
    page.wait_for_selector('#exposure-table tr[data-row="BTC"]')
    expected = demo.get("/v1/exposure?by=base")["totals"]
    assert exact_of(page, "#exposure-table tbody td:nth-of-type(2)") == [row["net"] for row in expected]


def test_refused_order_shows_its_rule_and_numbers(demo: Console, watched: Watch):
    page = watched().open(demo.url)
    page.select_option("#orders-show", "refused")
    refused = [row for row in demo.get("/v1/orders?limit=200")["items"] if row["rule"]]
    lines = page.locator("#orders-table tbody tr")
    assert refused
    assert lines.count() == len(refused)
    title = lines.first.get_attribute("title") or ""
    assert refused[0]["rule"] in title
    assert refused[0]["facts"]["asked"] in title


def test_new_order_appears_by_itself(demo: Console, watched: Watch):
    page = watched().open(demo.url)
    key = OrderKey(ACCOUNT, f"typed-{datetime.now(UTC):%H%M%S%f}")
    terms = OrderTerms(MARKET_MAKER, SPOT, Side.BUY, OrdType.LIMIT, Decimal("0.0001"), Decimal(50000))
    demo.daybook.writer.request(SubmitOrder(key, terms, datetime.now(UTC)), actor="test")
    page.wait_for_selector(f"#orders-table tbody th:text-is('{key.cl_ord_id}')")


def test_outside_the_demo_a_key_opens_the_book(demo: Console, watched: Watch):
    with serving(demo.daybook, demo=False) as closed:
        view = watched()
        page = view.page
        page.goto(closed.url)
        page.wait_for_selector("#key-dialog[open]")
        assert page.locator("#book").is_hidden()
        page.fill("#key-input", "dbk_000000000000_wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-error:text('not valid')")
        page.fill("#key-input", demo.daybook.keys.issue("reader", [Scope.AUDIT]))
        page.keyboard.press("Enter")
        page.wait_for_selector("#book:not([hidden])")
        assert page.locator("#log-table tbody tr").count() > 1
        assert page.evaluate("Object.values(localStorage).join().includes('dbk_')") is False
        assert page.evaluate("Object.values(sessionStorage).join().includes('dbk_')") is True
        # the browser itself reports each refused answer: one without a key, one with a wrong one
        assert {complaint for complaint in view.complaints if "401" in complaint} == set(view.complaints)
        view.complaints.clear()


def test_key_without_audit_sees_the_book_but_not_the_log(demo: Console, watched: Watch):
    with serving(demo.daybook, demo=False) as closed:
        view = watched()
        page = view.page
        page.goto(closed.url)
        page.fill("#key-input", demo.daybook.keys.issue("trader", [Scope.TRADE]))
        page.click("#key-form button.main")
        page.wait_for_selector("#log-table td:text('needs a key with the scope audit')")
        assert page.locator("#pnl-table tbody tr").count() > 1
        assert all("401" in complaint or "403" in complaint for complaint in view.complaints)
        view.complaints.clear()


def test_loss_of_the_api_is_shown_and_the_figures_stay(demo: Console, watched: Watch):
    view = watched()
    with serving(demo.daybook, demo=True) as passing:
        page = view.open(passing.url)
    page.wait_for_selector("#notice:text('cannot be reached')")
    assert page.locator("#vital-health").get_attribute("data-state") == "down"
    assert page.locator("#pnl-table tbody tr").count() > 1
    assert all("ERR_" in complaint for complaint in view.complaints)
    view.complaints.clear()


def test_works_from_the_keyboard(demo: Console, watched: Watch):
    page = watched().open(demo.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "pnl"
    page.keyboard.press("p")
    assert page.locator("#tool-pause").get_attribute("aria-pressed") == "true"
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.scheme") == "dark"


DECIMALS = st.builds(
    lambda units, exponent: Decimal(units).scaleb(exponent), st.integers(-(10**24), 10**24), st.integers(-18, 3)
)


@pytest.fixture(scope="module")
def arithmetic(demo: Console, browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(demo.url)
    page.evaluate("async () => { window.decimal = await import('/console/decimal.js'); }")
    yield page
    page.close()


@given(values=st.lists(DECIMALS, min_size=1, max_size=8), places=st.integers(0, 8))
def test_sums_and_roundings_are_exact(arithmetic: Page, values: list[Decimal], places: int):
    texts = [str(value) for value in values]
    total = sum(values, Decimal(0))
    script = "([texts, places]) => [decimal.sum(texts), decimal.shown(texts[0], places)]"
    stated, shown = arithmetic.evaluate(script, [texts, places])
    assert stated == f"{exact(total):f}"
    assert shown.replace(",", "").replace("\u2212", "-") == f"{rounded(values[0], places):.{places}f}"


def test_docs_show_the_api_and_try_it_out_with_nothing_from_elsewhere(demo: Console, watched: Watch):
    page = watched().page
    page.goto(f"{demo.url}/docs")
    page.wait_for_selector(".opblock")
    described = httpx.get(f"{demo.url}/openapi.json").json()["paths"]
    assert page.locator(".opblock").count() == sum(map(len, described.values()))
    health = page.locator("#operations-operations-health")
    health.locator(".opblock-summary-control").click()
    health.locator(".try-out__btn").click()
    health.locator("button.execute").click()
    health.locator(".live-responses-table .response-col_status:text('200')").wait_for()
    assert "unsafe" not in httpx.get(f"{demo.url}/docs").headers["content-security-policy"]


def test_page_lets_nothing_in_or_out(demo: Console):
    answer = httpx.get(demo.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", answer.text), "inline script or style"
    for file in STATIC.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/)", file.read_text()), f"{file.name} points elsewhere"
        served = httpx.get(f"{demo.url}/console/{file.name}")
        assert served.status_code == 200
        assert served.headers["content-security-policy"] == policy


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_colour_of_text_can_be_read(scheme: str):
    css = (STATIC / "console.css").read_text()
    block = css.split('[data-scheme="light"] {')[1] if scheme == "light" else css.split(":root {")[1]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block.split("}")[0]))
    for text in ("text", "muted", "accent", "gain", "loss", "warn", "calm"):
        for ground in ("panel", "raised", "ground"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def _contrast(one: str, other: str) -> float:
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_measure_and_scope_is_shown_with_headroom_and_breach(demo: Console, watched: Watch):
    """Last, as these limits need marks that are fresh."""
    scopes = ({}, {"strategy_id": MARKET_MAKER}, {"instrument_id": SPOT}, {"venue": "SIM"}, {"asset": "BTC"})
    for owner, scope in [("firm", {}), *((ACCOUNT, scope) for scope in scopes)]:
        for measure in Measure:
            if measure is Measure.BUYING_POWER and (owner == "firm" or scope.keys() - {"instrument_id"}):
                continue  # of an account, or of one instrument of it
            limit = Decimal("0.5") if measure is Measure.MAX_DRAWDOWN else Decimal(1)
            currency = "USDT" if measure.is_money else None
            request = SetLimit(owner, LimitScope(**scope), measure, limit, currency, datetime.now(UTC))
            demo.daybook.writer.request(request, actor="test")
    demo.daybook.runner.catch_up()
    page = watched().open(demo.url)
    rows = demo.get("/v1/limits")["items"]
    assert {row["measure"] for row in rows} == set(Measure)
    assert {row["scope"] for row in rows} >= {"firm", "account", "strategy", "instrument", "venue", "asset"}
    for row in rows:
        names = ("account_id", "measure", "strategy_id", "instrument_id", "venue", "asset", "subject")
        line = f'#limits-table tr[data-row="{"/".join(row[name] or "" for name in names)}"]'
        shown = exact_of(page, f"{line} .num")
        if row["measure"] == Measure.MAX_POSITION:  # of an instrument, whichever scope it was set for
            continue
        assert shown[1] == row["limit"]
        if row["measure"] != Measure.MAX_MARK_AGE:  # which grows
            assert (shown[0], shown[2]) == (row["used"], row["headroom"])
        assert (page.locator(f"{line} .status.bad").count() == 1) is bool(row["is_breached"])
        assert page.locator(line).inner_text().count(row["currency"] or "") > 0
    assert any(row["is_breached"] for row in rows)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280, "the page scrolls sideways"

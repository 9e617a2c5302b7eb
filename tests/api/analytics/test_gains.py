"""Gains over HTTP: paged, as CSV, with the rates of each moment, and the same as the report; docs/gains.md as it is."""

import csv
import io
import json
import re

import httpx
import pytest

from api.analytics.coin_answers import GainsAnswer
from tests import CHECKOUT
from tests.api.client import fill

EUR = "USDTEUR.KRAKEN"
EXAMPLE = CHECKOUT / "docs" / "gains.md"


def sent(desk, path, body):
    answer = desk.post(path, json=body)
    assert answer.is_success, answer.text
    return answer.headers["Daybook-Seq"]


@pytest.fixture
def seq(desk: httpx.Client) -> str:
    """The example of the page: each request of it, in order; the seq that covers them."""
    (steps,) = re.findall(r"```json\n(.*?)```", EXAMPLE.read_text(), re.DOTALL)
    return [sent(desk, path, body) for path, body in json.loads(steps)][-1]


def got(desk, **params):
    answer = desk.get("/v1/gains", params=params)
    assert answer.status_code == 200, answer.text
    GainsAnswer.model_validate(answer.json())
    return answer.json()


def test_the_worked_example_of_the_page_is_what_daybook_answers(desk: httpx.Client, seq: str):
    answer = desk.get(
        "/v1/reports/gains",
        params={"account_id": "fund", "zone": "Europe/Berlin", "min_seq": seq},
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    (table,) = list(re.findall(r"\n\n(\| disposed.*?)\n\n", EXAMPLE.read_text(), re.DOTALL))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    names, shown = [name.strip("`") for name in rows[0]], rows[2:]
    assert [
        [("" if row[name] is None else str(row[name]).removesuffix("T00:00:00Z")) for name in names]
        for row in ({**each, "disposed": each["disposed_at"][:10], "acquired": (each["acquired_at"] or "")[:10]}
                    for each in found["items"])
    ] == shown  # fmt: skip
    assert found["missing"] == []
    text = EXAMPLE.read_text()
    for year in found["years"]:
        assert f"{year['year']} has a gain of {year['gain']} EUR" in text


def test_the_pages_of_gains_are_those_of_one_state_of_the_book(desk: httpx.Client, seq: str):
    whole = got(desk, account_id="fund", min_seq=seq)
    first = got(desk, account_id="fund", min_seq=seq, limit=2)
    assert first["items"] == whole["items"][:2]
    assert first["years"] == whole["years"]
    late = fill("LATE", account_id="fund", instrument_id="BTCEUR.KRAKEN", cl_ord_id="L", last_px="1")
    sent(desk, "/v1/venue-reports", {"reports": [late | {"transact_time": "2023-01-01T00:00:00Z"}]})
    second = got(desk, account_id="fund", limit=1000, cursor=first["next"])
    assert first["items"] + second["items"] == whole["items"]
    assert second["next"] is None


def test_gains_as_csv_have_the_columns_of_the_rows(desk: httpx.Client, seq: str):
    answer = desk.get("/v1/gains", params={"min_seq": seq, "account_id": "fund", "format": "csv", "limit": 1})
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["coin"] == got(desk, account_id="fund")["items"][0]["coin"]
    assert answer.headers["Daybook-Next"]


def test_what_a_rate_needs_and_is_not_on_record_is_named(desk: httpx.Client, seq: str):
    found = got(desk, min_seq=seq, account_id="fund", mark_age_max=1)
    assert any("too old a mark" in text for text in found["missing"])
    assert sum(year["unvalued"] for year in found["years"]) == sum(row["gain"] is None for row in found["items"])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"method": "BEST"}, "method"),
        ({"scope": "SOME"}, "scope"),
        ({}, "currency"),
    ],
)
def test_a_request_that_has_no_one_answer_is_refused(desk: httpx.Client, seq: str, params: dict[str, str], field: str):
    answer = desk.get("/v1/gains", params=params)
    assert answer.status_code == 422
    assert field in answer.text


def test_accounts_of_several_methods_are_computed_over_all_only_by_a_named_one(desk: httpx.Client, seq: str):
    answer = desk.get("/v1/gains", params={"scope": "ALL", "currency": "EUR", "min_seq": seq})
    assert answer.status_code == 422
    assert "AVERAGE, FIFO" in answer.text or "FIFO, LIFO" in answer.text
    assert got(desk, scope="ALL", currency="EUR", method="HIFO")["items"]


def test_as_of_a_moment_gains_are_those_that_were_known(desk: httpx.Client, seq: str):
    before = got(desk, account_id="fund", min_seq=seq)
    late = fill("OLD", account_id="fund", instrument_id="BTCEUR.KRAKEN", cl_ord_id="L", last_px="9")
    newer = sent(desk, "/v1/venue-reports", {"reports": [late | {"transact_time": "2023-01-01T00:00:00Z"}]})
    assert got(desk, account_id="fund", min_seq=newer)["items"] != before["items"]
    assert got(desk, account_id="fund", as_of=seq)["items"] == before["items"]
    early = got(desk, account_id="fund", as_of="2024-12-31T00:00:00Z", known_at=seq)
    assert early["items"] == [row for row in before["items"] if row["disposed_at"] < "2024-12-31"]

"""Reports are valued at marks as the log has them: one that was altered is refused, never a different figure."""

import csv
import io
import json
from decimal import Decimal as D
from typing import Any

import httpx
import psycopg
import pytest
from msgspec.structs import replace

from api.parameters import Format
from api.reports.digest import parse
from tests.api.client import BTC, bought_and_sold

pytestmark = pytest.mark.slow

DIGEST = "Daybook-Report-Digest"


def mark(price: str, at: str) -> dict[str, str]:
    return {"instrument_id": BTC, "price": price, "source": "test", "mark_at": at}


def record(desk: httpx.Client, price: str, at: str = "2026-01-02T04:00:00Z") -> int:
    answer = desk.post("/v1/marks", json={"marks": [mark(price, at)]})
    assert answer.status_code == 201, answer.text
    return int(answer.headers["Daybook-Seq"])


@pytest.fixture
def book(desk: httpx.Client) -> httpx.Client:
    bought_and_sold(desk)
    return desk


def pnl(book: httpx.Client, **requested: Any) -> httpx.Response:
    return book.get("/v1/reports/pnl", params=requested)


def _made(book: httpx.Client, digest: str) -> httpx.Response:
    answer = book.get("/v1/reports", params={"digest": digest})
    assert answer.status_code == 200, answer.text
    return answer


def tamper(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as owner:
        for table in ("market.marks", "market.batches", "market.leaves"):
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        owner.execute(statement)  # type: ignore[arg-type]


def test_a_digest_pins_the_place_in_the_log_that_its_marks_are_of(book: httpx.Client) -> None:
    seq = record(book, "120")
    event = book.get("/v1/events", params={"after": seq - 1}).json()["items"][0]
    assert (event["seq"], event["stream"], event["topic"]) == (seq, "marks:test", "MarksRecorded")
    assert event["actor"] == "desk" and event["request_id"]
    proof = book.get("/v1/proofs/mark", params={"instrument_id": BTC}).json()
    assert json.loads(proof["leaf"])[1:6] == [BTC, "2026-01-02T04:00:00.000000Z", "120", "test", "UNSTATED"]
    assert (proof["seq"], proof["size"], proof["proof"]) == (seq, 1, [])
    first = pnl(book, min_seq=seq)
    digest = parse(first.headers[DIGEST])
    assert digest.marks_seq is not None and digest.marks_seq >= seq and not digest.marks_root
    older = replace(digest, marks_seq=None, form=Format.CSV).text()  # as releases before this one wrote it
    before = pnl(book, min_seq=seq, format="csv")
    record(book, "99")
    record(book, "98", "2026-01-02T05:00:00Z")
    assert book.get("/v1/reports", params={"digest": first.headers[DIGEST]}).content == first.content
    shown, again = (list(csv.DictReader(io.StringIO(each.text))) for each in (before, _made(book, older)))
    assert [row["mark"] for row in again] == [row["mark"] for row in shown] == ["120"]
    past = pnl(book, as_of_seq=seq)
    assert parse(past.headers[DIGEST]).marks_seq == seq
    assert past.json()["items"][0]["mark"] == "120"


TAMPERED = [
    ("SET price = 1", "SET price = 120", "its price, time, source, quality or instrument was changed"),
    ("SET quality = 'MID'", "SET quality = 'UNSTATED'", "is not what was recorded: its price"),
    (
        "SET mark_at = mark_at - interval '1 s'",
        "SET mark_at = mark_at + interval '1 s'",
        "of the batch recorded as seq",
    ),
]


def test_no_report_is_made_of_marks_that_were_altered(book: httpx.Client, database_url: str) -> None:
    seq = record(book, "120")
    report = pnl(book, min_seq=seq)
    batches = [
        ("SET last_id = last_id + 1", "SET last_id = last_id - 1", "with other ids than the log"),
        ("SET seq = 1", f"SET seq = {seq}", "the log has none there"),
    ]
    for table, cases in (("market.marks", TAMPERED), ("market.batches", batches)):
        for change, undo, what in cases:
            tamper(database_url, f"UPDATE {table} {change}")
            for refused in (book.get("/v1/reports", params={"digest": report.headers[DIGEST]}), pnl(book)):
                assert (refused.status_code, refused.json()["type"]) == (409, "urn:daybook:problem:altered-marks")
                assert what in refused.json()["detail"]
            tamper(database_url, f"UPDATE {table} {undo}")
    again = {"digest": report.headers[DIGEST]}
    assert book.get("/v1/reports", params=again).content == report.content
    tamper(database_url, "DELETE FROM market.marks")
    refused = book.get("/v1/reports", params=again)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:daybook:problem:other-marks")


def test_a_mark_that_is_inserted_is_not_used(book: httpx.Client, database_url: str) -> None:
    seq = record(book, "120")
    report = pnl(book, min_seq=seq)
    tamper(
        database_url, "INSERT INTO market.marks (mark_id, instrument_id, mark_at, price, source, recorded_at)"
        f" VALUES (7, '{BTC}', '2026-01-03Z', 1, 'test', '2026-01-03Z')",
    )  # fmt: skip
    refused = book.get("/v1/reports", params={"digest": report.headers[DIGEST]})
    assert refused.status_code == 409 and "is in no batch of the log" in refused.json()["detail"]


def test_a_batch_whose_event_was_altered_too_is_refused(book: httpx.Client, database_url: str) -> None:
    """The price, its hash and the root in the event are changed: the signed tree has another event there."""
    seq = record(book, "120")
    report = pnl(book, min_seq=seq)
    with psycopg.connect(database_url) as owner:
        for table in ("market.marks", "market.leaves", "ledger.events"):
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        owner.execute("UPDATE market.marks SET price = 1")
        (row,) = owner.execute("SELECT mark_id, instrument_id, source FROM market.marks").fetchall()
        leaf = f'[{row[0]},"{row[1]}","2026-01-02T04:00:00.000000Z","1","{row[2]}","UNSTATED",null]'
        hashed = owner.execute("SELECT sha256(decode('00', 'hex') || convert_to(%s, 'UTF8'))", [leaf]).fetchone()
        assert hashed is not None
        owner.execute("UPDATE market.leaves SET hashes = %s", [hashed[0]])
        owner.execute(
            r"""UPDATE ledger.events SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'),
            '"root":"[0-9a-f]*"', '"root":"' || %s || '"'), 'UTF8') WHERE notification_id = %s""",
            [hashed[0].hex(), seq],
        )
    refused = book.get("/v1/reports", params={"digest": report.headers[DIGEST]})
    assert refused.status_code == 409, refused.text
    detail = refused.json()["detail"]
    assert "is not the one that was sealed" in detail or "another Merkle root" in detail, "where its event is decides"


def test_given_marks_are_parameters_of_the_digest(book: httpx.Client, database_url: str) -> None:
    seq = record(book, "120")
    report = pnl(book, min_seq=seq, mark=f"{BTC}=77")
    assert D(report.json()["items"][0]["mark"]) == 77
    tamper(database_url, "UPDATE market.marks SET price = 1")
    again = book.get("/v1/reports", params={"digest": report.headers[DIGEST]})
    assert again.content == report.content, "a mark that is not used matters not"

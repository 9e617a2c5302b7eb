"""docs/redaction.md, run: a person is forgotten, and every hash, proof, replay and read model stays what it was."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from api.cli import run
from api.daybook import Daybook
from domain.ledger import Ledger
from tests import CHECKOUT
from tests.desk import T0
from tests.scenarios.importing.histories import history, written

PAGE = (CHECKOUT / "docs" / "redaction.md").read_text()
NAME = b"Lovelace"


def shell(home: Path, *blocks: str) -> str:
    """What commands say, run as one script with a home of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAYBOOK_")}
    environment |= {"DAYBOOK_HOME": str(home), "PATH": f"{Path(sys.prefix) / 'bin'}:{environment['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + "\n".join(blocks)], cwd=home, env=environment | {"NO_COLOR": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def stored_bytes(home: Path) -> dict[Path, bytes]:
    """Every file under a stopped server: tables, WAL, its log, Daybook's keys."""
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and "wheel" not in path.parts}


def _figures(said: str) -> list[str]:
    """All that was said but where the log ended: it is one event longer."""
    return [line for line in said.splitlines() if 'seq":' not in line]


@pytest.mark.slow
def test_a_person_is_forgotten_as_the_page_shows(home: Path) -> None:
    before, forget, after = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    trades = written(home / "trades.csv", history(12))
    figures = "daybook report positions --json && daybook replay --account main --as-of 20 --json"
    said = shell(home, f"daybook import {trades}", before)
    assert "Ada Lovelace" in said and '"sealed": "' in said
    read = shell(home, figures, "daybook export before.zip >&2")
    log = PostgresLog(embedded.start(home))
    states = [row.state for row in log.stored(limit=1000)]

    shell(home, forget)
    said = shell(home, after)
    assert "client-17 (forgotten)" in said and "Lovelace" not in said
    assert "Nothing up to seq" in said and "client-17 was forgotten already." in said
    assert "no" not in re.findall(r"\b(yes|no)\b", said)  # every rebuilt read model is identical
    (row,) = [each for each in json.loads(shell(home, "daybook account list --json"))["accounts"] if each["owner"]]
    assert row["owner"] == {"subject_id": "client-17", "name": None, "is_forgotten": True}
    assert _figures(shell(home, figures, "daybook export after.zip >&2")) == _figures(read)

    now = [row.state for row in log.stored(limit=1000)]
    assert now[: len(states)] == states
    assert [b"SubjectForgotten" in state for state in now[len(states) :]] == [True]
    owner = Ledger(log, lambda: T0).state("account:ada").owner
    assert owner.subject_id == "client-17" and owner.sealed
    log.close()
    for bundle in ("before.zip", "after.zip"):
        with zipfile.ZipFile(home / bundle) as file:
            assert not [each for each in file.namelist() if NAME in file.read(each)]

    embedded.stop(home)
    everything = stored_bytes(home)
    assert len(everything) > 100
    assert not [path for path, content in everything.items() if NAME in content]


def test_the_keys_of_all_who_are_forgotten_go_again_after_a_restore(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)
    monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path))
    assert run(["account", "open", "ada", "--owner", "c-1", "--owner-name", "Ada"]) == 0
    assert run(["account", "open", "bob", "--owner", "c-2", "--owner-name", "Bob"]) == 0
    with psycopg.connect(database_url, autocommit=True) as owner:
        (kept,) = owner.execute("SELECT key FROM personal.subjects WHERE subject = 'c-1'").fetchall()
        assert run(["redact", "c-1"]) == 0
        for statement in (  # what it is to restore an older copy of the keys
            "ALTER TABLE personal.subjects DISABLE TRIGGER ALL",
            "DELETE FROM personal.subjects WHERE subject = 'c-1'",
            "ALTER TABLE personal.subjects ENABLE ALWAYS TRIGGER refuse_row_change",
        ):
            owner.execute(statement)
        owner.execute("INSERT INTO personal.subjects (subject, key) VALUES ('c-1', %s)", kept)
    capsys.readouterr()
    assert run(["account", "list", "--json"]) == 0
    assert "Ada" in capsys.readouterr().out
    for gone in (["c-1"], []):
        assert run(["redact", "--again", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["forgotten"], shown["forgotten_now"]) == (["c-1"], gone)
    assert run(["account", "list", "--json"]) == 0
    out = capsys.readouterr().out
    assert "Ada" not in out and "Bob" in out
    with PostgresLog(database_url) as log:
        assert len(log.read("subject:c-1")) == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["redact"], 2, "name a SUBJECT"),
        (["redact", "c-1", "--again"], 2, "or use --again"),
        (["redact", "unknown"], 1, "subject unknown is not known"),
        (["redact", "Ada Lovelace"], 2, "SUBJECT"),
        (["redact", "c-1", "--reason", " "], 1, "needs a reason"),
        (["account", "open", "b", "--owner-name", "Bob"], 2, "--owner-name needs --owner"),
        (["account", "open", "ada", "--owner", "c-2", "--owner-name", "Bob"], 1, "named once"),
    ],
)
def test_a_mistake_forgets_no_person(
    args: list[str], code: int, said: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)
    monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path))
    opening = ["account", "open", "ada", "--owner", "c-1", "--owner-name", "Ada"]
    assert run(opening) == 0 and run(opening) == 0
    capsys.readouterr()
    assert run(args) == code
    assert said in capsys.readouterr().err
    assert run(["account", "list"]) == 0
    assert "Ada" in capsys.readouterr().out


OPENING = {"account_id": "ada", "base_currency": "USDT", "owner": {"subject_id": "c-1", "name": "Ada Lovelace"}}


def test_over_http_the_name_is_shown_only_to_keys_that_may_read_it(
    client_for: Callable[..., httpx.Client], daybook: Daybook, database_url: str
) -> None:
    admin, reader = client_for("admin", "audit"), client_for("personal")
    for key in ("k-1", "k-1", "k-2"):
        answer = admin.post("/v1/accounts", json=OPENING, headers={"Idempotency-Key": key})
        assert answer.status_code == (201 if key == "k-1" else 200) and answer.json()["owner"] == "c-1"
    other = OPENING | {"owner": {"subject_id": "c-1", "name": "Ada Byron"}}
    assert admin.post("/v1/accounts", json=other, headers={"Idempotency-Key": "k-1"}).status_code == 422
    assert admin.post("/v1/accounts", json=other).status_code == 409
    assert admin.post("/v1/accounts", json={"account_id": "main", "base_currency": "USDT"}).json()["owner"] is None
    assert admin.get("/v1/accounts/ada/owner").status_code == 403
    assert reader.get("/v1/accounts/main/owner").status_code == 404
    assert reader.get("/v1/accounts/ada/owner").json() == {
        "account_id": "ada", "subject_id": "c-1", "name": "Ada Lovelace", "is_forgotten": False,
    }  # fmt: skip
    shown = [admin.get(path).text for path in ("/v1/events", "/v1/accounts", "/v1/accounts/ada")]
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("SELECT answer FROM ledger.requests").fetchall()
    assert len(kept) == 2
    assert not [each for each in [*shown, *map(str, kept)] if "Lovelace" in each]

    daybook.subjects.forget("c-1")
    assert reader.get("/v1/accounts/ada/owner").json() == {
        "account_id": "ada", "subject_id": "c-1", "name": None, "is_forgotten": True,
    }  # fmt: skip
    assert [admin.get(path).text for path in ("/v1/events", "/v1/accounts", "/v1/accounts/ada")] == shown
    answer = admin.post("/v1/accounts", json=OPENING | {"account_id": "new"})
    assert answer.status_code == 409 and "was forgotten" in answer.json()["detail"]

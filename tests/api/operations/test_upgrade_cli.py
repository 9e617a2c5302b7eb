"""A database of an older Daybook is upgraded when that is requested, and by no other command."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from adapters.log.postgres import PostgresLog
from adapters.postgres.migrations import NEWEST, pending, revision_of
from adapters.postgres.migrations.upgrading import upgrade
from api.terminal.output import EXIT_UPGRADE
from domain.ledger import scan
from tests import CHECKOUT
from tests.api.command_line import Run, environment, parsed
from tests.databases import url_of_database
from tests.records import records

OLD = "0001"
COMMANDS = [
    ["status"], ["verify"], ["verify", "--projections"], ["report", "positions"], ["log"], ["keys", "list"],
    ["account", "open", "main"], ["import", "fills.csv", "--account", "main"], ["checkpoint"], ["export", "bundle"],
    ["rebuild"], ["rebuild", "--dry-run"], ["resume"], ["clock", "show"], ["snapshots"], ["follow"], ["redact", "S-1"],
    ["serve", "--port", "0"],
]  # fmt: skip


@pytest.fixture
def old(server_url: str) -> Iterator[str]:
    """A database as the first release made it, with an event."""
    name = f"daybook_old_{uuid4().hex[:8]}"
    url = url_of_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            upgrade(url, OLD)
            with PostgresLog(url) as log:
                log.append(records("account:main", range(1, 2)))
            yield url
        finally:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def test_no_command_upgrades_unless_it_is_requested(
    old: str, inside: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fills.csv").write_text("")
    for args in COMMANDS:
        done = inside(*args, url=old)
        assert (args, done.returncode) == (args, EXIT_UPGRADE), done.stderr
        assert f"is of an older Daybook (revision {OLD}, this one needs {NEWEST}): run `daybook upgrade`" in done.stderr
        assert revision_of(old) == OLD, args
    problem = json.loads(inside("status", "--json", url=old).stderr)
    assert (problem["type"], problem["revision"], problem["needed"]) == (
        "urn:daybook:problem:upgrade-needed", OLD, NEWEST,
    )  # fmt: skip


def test_an_upgrade_shows_what_it_would_do_and_does_it_once(old: str, inside: Run) -> None:
    shown = parsed(inside("upgrade", "--dry-run", "--json", url=old))
    assert (shown["from"], shown["to"], shown["is_upgraded"]) == (OLD, NEWEST, False)
    assert [one["revision"] for one in shown["revisions"]] == [one.revision for one in pending(OLD)]
    assert shown["revisions"][0] == {"revision": "0002", "change": pending(OLD)[0].change} and pending(OLD)[0].change
    assert revision_of(old) == OLD
    done = parsed(inside("upgrade", "--json", url=old))
    assert (done["revisions"], done["is_upgraded"], revision_of(old)) == (shown["revisions"], True, NEWEST)
    assert parsed(inside("upgrade", "--json", url=old))["revisions"] == []
    assert parsed(inside("status", "--json", url=old))["seq"] == 1
    with PostgresLog(old) as log:
        assert [recorded for _, recorded in scan(log)] == records("account:main", range(1, 2))


def test_a_new_database_is_prepared_by_the_first_command(server_url: str, inside: Run) -> None:
    name = f"daybook_new_{uuid4().hex[:8]}"
    url = url_of_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            assert len(parsed(inside("upgrade", "--dry-run", "--json", url=url))["revisions"]) == len(pending(None))
            assert parsed(inside("status", "--json", url=url))["seq"] == 0
            assert revision_of(url) == NEWEST
        finally:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_service_upgrades_when_that_is_requested(old: str) -> None:
    serve = [sys.executable, "-m", "api.cli", "serve", "--upgrade", "--port", "0", "--json"]
    with subprocess.Popen(
        serve, cwd=CHECKOUT, env=environment(DAYBOOK_DATABASE_URL=old), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "{\n", process.stderr
        process.terminate()
        assert "from revision 0001 to" in process.communicate()[1]
    assert revision_of(old) == NEWEST

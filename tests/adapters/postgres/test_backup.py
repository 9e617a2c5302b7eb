"""docs/backup.md, run: what is backed up comes back as it was, or `verify` says what is missing.

Each test runs blocks of the page as they stand, in their order, with servers of its own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.postgres import embedded
from tests import CHECKOUT
from tests.scenarios.importing.histories import history, written

PAGE = (CHECKOUT / "docs" / "backup.md").read_text()
SECTIONS = {
    title.strip(): re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
START, ALIVE = SECTIONS["What there is to keep"]
TABLES = (
    "ledger.events", "ledger.identity", "ledger.keys", "ledger.tiles", "ledger.checkpoints", "ledger.group_runs",
    "ledger.cosignatures", "ledger.requests", "market.marks", "market.batches", "access.api_keys", "read.progress",
    "personal.subjects", "daybook_revision",
)  # fmt: skip
SHAPE = """
SELECT n.nspname || '.' || c.relname AS name, c.relkind::text, c.relpersistence::text,
    pg_get_userbyid(c.relowner)::text, c.relacl::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('ledger', 'market', 'access', 'read', 'personal')
UNION ALL
SELECT t.tgrelid::regclass || ' ' || t.tgname, t.tgenabled::text, '', pg_get_triggerdef(t.oid), ''
FROM pg_trigger AS t WHERE NOT t.tgisinternal
UNION ALL
SELECT p.oid::regprocedure::text, '', '', md5(p.prosrc), p.proacl::text
FROM pg_proc AS p WHERE p.pronamespace IN ('ledger'::regnamespace, 'personal'::regnamespace)
UNION ALL
SELECT n.nspname::text, '', '', pg_get_userbyid(n.nspowner)::text, n.nspacl::text
FROM pg_namespace AS n WHERE n.nspname !~ '^pg_'
UNION ALL
SELECT defaclobjtype::text, '', '', pg_get_userbyid(defaclrole)::text, defaclacl::text FROM pg_default_acl
UNION ALL
SELECT rolname::text, rolsuper::text, rolcanlogin::text, '', '' FROM pg_roles WHERE rolname ~ '^daybook'
ORDER BY 1, 2, 3, 4, 5
"""
OURS = 18  # the major version of the wheel
ARCHIVED = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"


class Desk:
    """A home with its server and backups, and a shell in which the page's commands are run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.backups = directory / "backups"
        self.home = directory / "home"

    def sh(self, *blocks: str, code: int = 0, **variables: str) -> str:
        """Run blocks as one script that ends at the first failure; what it said."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAYBOOK_", "PG"))}
        environment |= {"DAYBOOK_HOME": str(self.home), "BACKUPS": str(self.backups), "NO_COLOR": "1"}
        environment["PATH"] = f"{Path(sys.prefix) / 'bin'}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", "set -euo pipefail\n" + "\n".join(blocks)], cwd=self.directory,
            env=environment | variables, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def fill(self, first: int, count: int) -> None:
        """Trades out of a made-up history, imported."""
        file = written(self.directory / "trades.csv", history(first + count)[first:])
        self.sh(f"daybook import {file}")

    def rows(self, query: str, *params: object, home: Path | None = None) -> list[Any]:
        """What a query over a home's database returns."""
        with psycopg.connect(embedded.start(home or self.home)) as connection:
            return connection.execute(query, params).fetchall()  # type: ignore[arg-type]

    def contents(self, home: Path) -> dict[str, Any]:
        """Every row of the tables that are kept, and who may do what with them."""
        kept = {table: self.rows(f"SELECT t::text FROM {table} AS t ORDER BY 1", home=home) for table in TABLES}
        return kept | {"shape": self.rows(SHAPE, home=home)}

    def head(self, home: Path) -> int:
        """The last seq."""
        return int(self.rows("SELECT max(notification_id) FROM ledger.events", home=home)[0][0])


@pytest.fixture
def desk(home: Path) -> Iterator[Desk]:
    desk = Desk(home)
    desk.backups.mkdir()
    try:
        yield desk
    finally:
        for place in (desk.home, *desk.backups.iterdir()):
            if (place / "postgres").exists():
                embedded.stop(place)


def majors() -> list[Path]:
    """The programs of other major versions than Daybook's own, which its own can follow."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return [path for path in found if path.parent.name.isdecimal() and int(path.parent.name) < OURS]


@pytest.mark.slow
def test_a_dump_restores_every_row_every_right_and_every_refusal(desk: Desk) -> None:
    desk.fill(0, 30)
    desk.sh("daybook keys create bot --scope trade && daybook account open ada --owner c-1 --owner-name Ada")
    mark = "INSERT INTO market.marks VALUES (1, 'X', now(), 1, 't') RETURNING 1"
    desk.rows(mark)
    desk.sh(START, ALIVE, *SECTIONS["Every day"])
    before = desk.contents(desk.home)
    desk.fill(30, 5)
    desk.sh("daybook checkpoint > later")
    said = desk.sh(START, *SECTIONS["Restore a dump"], "daybook verify --against later || true")
    restored = desk.backups / "restored"
    assert desk.contents(restored) == before
    assert len([row for row in before["shape"] if row[1] == "A"]) == 24  # triggers that no setting switches off
    lost = (desk.head(restored) + 1, desk.head(desk.home))
    assert f"truncated at seq {lost[0]} to {lost[1]}" in said
    assert "Ada" in desk.sh("daybook account list", DAYBOOK_HOME=str(restored))
    with pytest.raises(psycopg.errors.RestrictViolation):
        desk.rows("DELETE FROM ledger.events", home=restored)
    seam = SECTIONS["After a recovery that lost something"]
    said = desk.sh(*seam, "daybook import trades.csv && daybook verify", DAYBOOK_HOME=str(restored))
    assert "5 recorded" in said and "are what was signed" in said


@pytest.mark.slow
def test_a_point_in_time_is_recovered_and_verify_names_what_is_lost(desk: Desk) -> None:
    desk.fill(0, 10)
    archive, base, health = SECTIONS["Archive the WAL, to lose seconds instead of a day"]
    desk.sh(START, ALIVE, archive, base)
    desk.fill(10, 10)
    good = desk.head(desk.home)
    before = desk.rows("SELECT notification_id, state FROM ledger.events ORDER BY 1")
    ((until,),) = desk.rows("SELECT clock_timestamp()::text")
    desk.fill(20, 10)
    desk.sh("daybook checkpoint > backups/kept.notes")
    ((segment,),) = desk.rows("SELECT pg_walfile_name(pg_switch_wal())")
    while not desk.rows(ARCHIVED, segment)[0][0]:
        assert (desk.home / "postgres/data/postmaster.pid").exists()
    assert segment in desk.sh(ALIVE, health)
    head = desk.head(desk.home)
    embedded.stop(desk.home)
    recover, look = SECTIONS["Recover to a point in time"]

    said = desk.sh(START, recover, look, code=1, UNTIL=until)
    assert "are what was signed" in said
    assert f"error: truncated at seq {good + 1} to {head}" in said
    recovered = desk.backups / "recovered"
    assert desk.rows("SELECT notification_id, state FROM ledger.events ORDER BY 1", home=recovered) == before
    desk.sh(*SECTIONS["After a recovery that lost something"], DAYBOOK_HOME=str(recovered))
    desk.sh("daybook import trades.csv && daybook verify", DAYBOOK_HOME=str(recovered))
    said = desk.sh("daybook verify --against backups/kept.notes", code=1, DAYBOOK_HOME=str(recovered))
    assert "rewritten" in said or "truncated" in said

    embedded.stop(recovered)
    shutil.rmtree(recovered)
    said = desk.sh(START, recover, look)
    assert f"Nothing up to seq {head} was rewritten" in said


@pytest.mark.slow
def test_a_dump_leads_from_another_major_version_to_ours(desk: Desk) -> None:
    if not majors():
        pytest.skip("no other major version of PostgreSQL is installed (Debian: apt-get install postgresql)")
    older = majors()[0]
    desk.sh("daybook status", DAYBOOK_PG_BIN=str(older))
    desk.fill(0, 20)
    before = desk.contents(desk.home)
    assert desk.rows("SHOW server_version")[0][0].startswith(older.parent.name)
    said = desk.sh(START, ALIVE, *SECTIONS["Move to another major version"])
    assert "Nothing up to seq" in said
    newer = desk.backups / "newer"
    assert not desk.rows("SHOW server_version", home=newer)[0][0].startswith(older.parent.name)
    after = desk.contents(newer)
    assert {name: after[name] for name in TABLES} == {name: before[name] for name in TABLES}


@pytest.mark.slow
def test_a_bundle_leads_to_any_major_version(desk: Desk) -> None:
    desk.fill(0, 20)
    desk.sh(START, ALIVE, *SECTIONS["Every day"])
    older = majors()[:1]
    chosen = {"DAYBOOK_PG_BIN": str(older[0])} if older else {}
    said = desk.sh(START, *SECTIONS["Restore a bundle"], **chosen)
    assert "with the same seqs and the same root" in said
    imported = desk.backups / "imported"
    for each in older:
        assert desk.rows("SHOW server_version", home=imported)[0][0].startswith(each.parent.name)
    for query in ("SELECT state FROM ledger.events ORDER BY notification_id", "SELECT vkey FROM ledger.keys"):
        assert desk.rows(query, home=imported) == desk.rows(query)


def test_every_command_of_the_page_is_run() -> None:
    requested = {title for title, blocks in SECTIONS.items() if blocks}
    run = set(re.findall(r'SECTIONS\["(.*?)"\]', Path(__file__).read_text()))
    assert requested == run


def test_where_the_database_is_printed_without_its_password(desk: Desk) -> None:
    url = "postgresql://desk:secret@db.example:5433/book"
    said = desk.sh("daybook database; daybook database --json", DAYBOOK_DATABASE_URL=url)
    assert "export PGHOST=db.example" in said and "export PGPORT=5433" in said and "secret" not in said
    assert json.loads(said[said.index("{") : said.rindex("}") + 1])["PGDATABASE"] == "book"

"""Several Daybooks on one PostgreSQL server, each of another owner: none reaches into another by any road."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded, preparing, roles
from adapters.postgres.connections import Role, connect, prefix_on_record
from adapters.postgres.engine import engine
from adapters.postgres.migrations import migrate, rights
from adapters.postgres.scopes import Scope
from adapters.subject_keys import Subjects
from domain.errors import Unavailable
from projections.runner.runner import Runner
from tests.databases import directory_of_server, url_of_database
from tests.keys import issue
from tests.records import record

pytestmark = pytest.mark.slow

OLDER = Path("/usr/lib/postgresql/15/bin")
TABLES = (
    "ledger.events", "ledger.requests", "ledger.snapshots", "ledger.keys", "ledger.checkpoints", "ledger.tiles",
    "ledger.group_runs", "market.marks", "market.batches", "access.api_keys", "personal.subjects", "read.progress",
    "public.daybook_revision",
)  # fmt: skip

UNDO = """
DROP TABLE ledger.group_runs, ledger.closings, ledger.cosignatures;
DROP TRIGGER complete_batch ON ledger.events;
DROP FUNCTION market.complete_batch;
DROP TABLE market.batches, market.leaves;
DROP SEQUENCE market.price_ids;
DROP INDEX market.marks_id_idx, market.marks_earlier_idx, market.funding_rates_earlier_idx;
DROP INDEX ledger.events_streams_idx;
DROP SCHEMA v1 CASCADE;
DROP FUNCTION read.in_use;
DROP TABLE access.key_secrets;
ALTER TABLE access.api_keys DROP COLUMN used_at;
DROP TABLE read.reactions;
DROP TABLE ledger.countdowns;
DROP TABLE ledger.imports;
"""  # of the revisions after 0009, what they would make again
VIEWS = "SELECT schemaname, viewname FROM pg_views WHERE schemaname = 'v1' OR viewname LIKE 'v1\\_%'"
HELD = """
SELECT count(*) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace, aclexplode(relacl) AS rights
WHERE rights.grantee = %s::regrole
"""


class Server(NamedTuple):
    """A server, as its superuser, its major version, and where its programs are."""

    url: str
    major: int
    programs: Path

    def run(self, *statements: str | sql.Composable, database: str = "postgres") -> None:
        with psycopg.connect(url_of_database(self.url, database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def as_account(self, account: str, database: str) -> str:
        parts = urlsplit(url_of_database(self.url, database))
        return parts._replace(netloc=f"{account}@{parts.netloc.rpartition('@')[2]}").geturl()


class Neighbour(NamedTuple):
    """A Daybook: its owner and database have the same name."""

    name: str
    url: str
    prefix: str


@pytest.fixture(scope="module", params=["own", "15"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of our own version, and one of an older, where roles may be granted by who may create any."""
    with pytest.MonkeyPatch.context() as patched, directory_of_server() as home:
        if request.param == "15":
            if not (OLDER / "postgres").exists():
                pytest.skip("PostgreSQL 15 is not installed")
            patched.setenv("DAYBOOK_PG_BIN", str(OLDER))
        url = embedded.start(home, durable=False)
        with psycopg.connect(url) as connection:
            major = connection.info.server_version // 10_000
        yield Server(url, major, embedded.place(home, durable=False).programs)


def prepared(server: Server, name: str) -> str:
    """A database that an administrator prepared for an owner who may create no roles; its URL."""
    server.run(f"CREATE ROLE {name} LOGIN")
    preparing.run(server.url, name, name, creates=True)
    return server.as_account(name, name)


def self_made(server: Server, name: str) -> str:
    """A database whose owner may create roles."""
    server.run(f"CREATE ROLE {name} LOGIN CREATEROLE", f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
    return server.as_account(name, name)


@pytest.fixture(scope="module")
def neighbours(server: Server) -> list[Neighbour]:
    """Three Daybooks with an event, an API key and a key of personal data each."""
    names = [f"{name}_{uuid4().hex[:6]}" for name in ("alice", "bob", "carol")]
    # Up to PostgreSQL 15 who may create roles is an administrator of all of them, so no owner may there.
    makers = [prepared, prepared, self_made if server.major > 15 else prepared]
    found = []
    for name, make in zip(names, makers, strict=True):
        url = make(server, name)
        migrate(url)
        with PostgresLog(url) as log:
            log.append([record("account:main", 1)])
        issue(url, "bot", [Scope.TRADE])
        with connect(url, Role.CUSTODIAN) as custodian:
            custodian.execute(
                "INSERT INTO personal.subjects (subject, key) VALUES ('s', decode(repeat('01', 64), 'hex'))"
            )
        with connect(url) as owner:
            prefix = prefix_on_record(owner)
        assert prefix is not None
        found.append(Neighbour(name, url, prefix))
    return found


def pairs(neighbours: list[Neighbour]) -> list[tuple[Neighbour, Neighbour]]:
    return [(one, other) for one in neighbours for other in neighbours if one is not other]


def test_each_has_roles_of_its_own(neighbours: list[Neighbour]) -> None:
    assert len({neighbour.prefix for neighbour in neighbours}) == len(neighbours)
    for one, other in pairs(neighbours):
        with connect(one.url) as connection:
            for name in roles.names(other.prefix):
                assert connection.execute("SELECT pg_has_role(%s, 'MEMBER')", [name]).fetchone() == (False,)


def test_no_owner_connects_to_another_s_database(server: Server, neighbours: list[Neighbour]) -> None:
    for one, other in pairs(neighbours):
        with pytest.raises(Unavailable, match="permission denied for database"):
            connect(server.as_account(one.name, other.name))


def test_who_is_let_in_reads_nothing_and_acts_as_no_role(server: Server, neighbours: list[Neighbour]) -> None:
    for one, other in pairs(neighbours):
        server.run(f"GRANT CONNECT ON DATABASE {other.name} TO {one.name}")
        url = server.as_account(one.name, other.name)
        with psycopg.connect(url, autocommit=True) as guest:
            for name in roles.names(other.prefix):
                with pytest.raises(psycopg.Error, match="permission denied"):
                    guest.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(name)))
            for table in TABLES:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    guest.execute(f"TABLE {table}")  # type: ignore[arg-type]
            for statement in (
                "CREATE SCHEMA read_mine",
                "CREATE TABLE public.mine ()",
                "CREATE TEMPORARY TABLE mine ()",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    guest.execute(statement)  # type: ignore[arg-type]
        with pytest.raises((Unavailable, psycopg.errors.InsufficientPrivilege)):
            issue(url, "mallory", [Scope.ADMIN])
        with pytest.raises((Unavailable, psycopg.errors.InsufficientPrivilege)):
            Subjects(url).is_known("s")
        with pytest.raises((Unavailable, psycopg.errors.InsufficientPrivilege)):
            migrate(url)
        server.run(f"REVOKE CONNECT ON DATABASE {other.name} FROM {one.name}")


def test_from_one_s_own_database_nothing_of_another_s_roles_is_changed(neighbours: list[Neighbour]) -> None:
    for one, other in pairs(neighbours):
        with psycopg.connect(one.url, autocommit=True) as owner:
            for name in map(sql.Identifier, roles.names(other.prefix)):
                for statement in (
                    "GRANT {} TO CURRENT_USER", "ALTER ROLE {} SET search_path = evil", "ALTER ROLE {} LOGIN",
                    "DROP OWNED BY {}", "REASSIGN OWNED BY {} TO CURRENT_USER", "DROP ROLE {}",
                    "ALTER ROLE {} RENAME TO x", "SET SESSION AUTHORIZATION {}",
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT SELECT ON TABLES TO PUBLIC",
                ):  # fmt: skip
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        owner.execute(sql.SQL(statement).format(name))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                owner.execute(sql.SQL("ALTER DATABASE {} SET search_path = x").format(sql.Identifier(other.name)))


def test_roles_made_in_advance_by_a_stranger_are_not_taken(server: Server) -> None:
    if server.major <= 15:
        pytest.skip("up to PostgreSQL 15 who may create roles is an administrator of all of them")
    mallory, victim = (f"{name}_{uuid4().hex[:6]}" for name in ("mallory", "victim"))
    server.run(f"CREATE ROLE {mallory} LOGIN CREATEROLE")
    url = self_made(server, victim)
    with psycopg.connect(server.as_account(mallory, "postgres"), autocommit=True) as stranger:
        for name in map(sql.Identifier, roles.names(victim)):
            stranger.execute(sql.SQL("CREATE ROLE {}").format(name))
            stranger.execute(sql.SQL("GRANT {} TO {}").format(name, sql.Identifier(victim)))
    migrate(url)
    with connect(url) as connection:
        assert prefix_on_record(connection) == f"{victim}_2"


def test_a_group_of_readers_that_a_stranger_made_is_not_taken(server: Server) -> None:
    """Its members would read a database that is made later."""
    if server.major <= 15:
        pytest.skip("up to PostgreSQL 15 who may create roles is an administrator of all of them")
    mallory, victim = (f"{name}_{uuid4().hex[:6]}" for name in ("mallory", "victim"))
    server.run(f"CREATE ROLE {mallory} LOGIN CREATEROLE")
    url = self_made(server, victim)
    with psycopg.connect(server.as_account(mallory, "postgres"), autocommit=True) as stranger:
        stranger.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(roles.reader(victim))))
    migrate(url)
    with connect(url) as connection:
        assert prefix_on_record(connection) == f"{victim}_2"


def test_a_group_of_readers_with_members_is_not_let_into_a_database_that_is_brought_forward(server: Server) -> None:
    name = f"older_{uuid4().hex[:6]}"
    url = prepared(server, name)
    migrate(url)
    with psycopg.connect(url_of_database(server.url, name)) as former:
        former.execute(UNDO)
        former.execute("UPDATE public.daybook_revision SET version_num = '0009'")
    server.run(f"CREATE ROLE {name}_guest LOGIN", f"GRANT {name}_reader TO {name}_guest")
    with pytest.raises(Unavailable, match=rf"{name}_reader has members already \({name}_guest\)"):
        migrate(url)
    server.run(f"REVOKE {name}_reader FROM {name}_guest")
    migrate(url)


def test_views_restored_without_owners_follow_rebuilds_again(server: Server) -> None:
    """A dump that is restored under another name gives all of them to the account that restores it."""
    name = f"dumped_{uuid4().hex[:6]}"
    url = prepared(server, name)
    migrate(url)
    with PostgresLog(url) as log:
        projector = engine(url, Role.PROJECTOR)
        runner = Runner(log, projector)
        runner.catch_up()
        with psycopg.connect(url_of_database(server.url, name), autocommit=True) as restored:
            for schema, view in restored.execute(VIEWS).fetchall():
                change = sql.SQL("ALTER VIEW {} OWNER TO {}")
                restored.execute(change.format(sql.Identifier(schema, view), sql.Identifier(name)))
            restored.execute(sql.SQL("ALTER SCHEMA v1 OWNER TO {}").format(sql.Identifier(name)))
            restored.execute(sql.SQL("REVOKE ALL ON SCHEMA v1 FROM {}").format(sql.Identifier(roles.reader(name))))
        with psycopg.connect(url) as owner:
            rights.give(owner, name)
        runner.rebuild(["references"])
        projector.dispose()
    with psycopg.connect(url_of_database(server.url, name)) as reader:
        reader.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(roles.reader(name))))
        assert reader.execute("SELECT count(*) FROM v1.accounts").fetchone() == (0,)


def test_an_owner_without_prepared_roles_is_advised(server: Server) -> None:
    name = f"plain_{uuid4().hex[:6]}"
    server.run(f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
    with pytest.raises(Unavailable, match=r"may not create roles.*daybook database prepare"):
        migrate(server.as_account(name, name))


def test_who_does_not_own_the_database_is_refused_with_the_reason(server: Server) -> None:
    name = f"guest_{uuid4().hex[:6]}"
    server.run(f"CREATE ROLE {name} LOGIN CREATEROLE", f"CREATE DATABASE {name} TEMPLATE template0")
    with pytest.raises(Unavailable, match="has to own the database"):
        migrate(server.as_account(name, name))


def test_roles_that_databases_shared_become_their_own(server: Server) -> None:
    """Up to revision 0007 every database of a server granted its rights to the same roles."""
    owners = [f"{name}_{uuid4().hex[:6]}" for name in ("old", "older")]
    shared = f"shared_{uuid4().hex[:6]}"
    server.run(*(f"CREATE ROLE {name}" for name in roles.names(shared)))
    urls = [prepared(server, name) for name in owners]
    for name, url in zip(owners, urls, strict=True):
        migrate(url)
        with connect(url, Role.PROJECTOR) as projector:
            projector.execute(
                "CREATE SCHEMA read_pnl; CREATE TABLE read_pnl.rows (n bigint GENERATED ALWAYS AS IDENTITY)"
            )
        server.run(*(f"GRANT {role} TO {name}" for role in roles.names(shared)))
        with psycopg.connect(url_of_database(server.url, name)) as former:
            rights.give(former, shared)
            rights.take(former, name)
            former.execute(UNDO)
            former.execute("DROP TABLE ledger.tasks; UPDATE public.daybook_revision SET version_num = '0007'")
        server.run(f"GRANT CREATE ON DATABASE {name} TO {name}_projector")
    for name, url in zip(owners, urls, strict=True):
        migrate(url)
        with connect(url) as connection:
            assert prefix_on_record(connection) == name
            for role in roles.names(shared):
                assert connection.execute(HELD, [role]).fetchone() == (0,)
        with PostgresLog(url) as log:
            log.append([record("account:main", 1)])
        with connect(url, Role.AUDITOR) as auditor:
            assert auditor.execute("SELECT count(*) FROM read_pnl.rows").fetchone() == (0,)
        with connect(url, Role.PROJECTOR) as projector:
            projector.execute("DROP SCHEMA read_pnl CASCADE")


def test_a_database_restored_without_roles_and_rights_gets_them_again(server: Server, tmp_path: Path) -> None:
    lost, found = (f"{name}_{uuid4().hex[:6]}" for name in ("lost", "found"))
    urls = [prepared(server, name) for name in (lost, found)]
    migrate(urls[0])
    with PostgresLog(urls[0]) as log, connect(urls[0], Role.PROJECTOR) as projector:
        log.append([record("account:main", 1)])
        projector.execute("CREATE SCHEMA read_pnl; CREATE TABLE read_pnl.rows AS SELECT 7 AS n")
    dump = tmp_path / "dump"
    restore = ["pg_restore", "--exit-on-error", "--no-owner", "--no-acl", f"--dbname={urls[1]}", dump]
    for program, *arguments in (["pg_dump", "--format=custom", f"--file={dump}", urls[0]], restore):
        subprocess.run([server.programs / program, *arguments], check=True)
    migrate(urls[1])
    with PostgresLog(urls[1]) as log:
        log.append([record("account:main", 2)])
        assert log.head().seq == 2
    with connect(urls[1], Role.PROJECTOR) as projector, connect(urls[1], Role.AUDITOR) as auditor:
        projector.execute("INSERT INTO read.progress (projection, version) VALUES ('pnl', 1)")
        projector.execute("INSERT INTO read_pnl.rows VALUES (8)")
        assert auditor.execute("SELECT array_agg(n) FROM read_pnl.rows").fetchone() == ([7, 8],)
    with connect(urls[1]) as owner:
        assert prefix_on_record(owner) == found

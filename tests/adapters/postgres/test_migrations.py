"""Migrating: once, from many processes at once, and for the library that reads the tables."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections, migrations
from adapters.postgres.connections import Role
from adapters.postgres.migrations import is_current, migrate
from adapters.postgres.migrations.upgrading import upgrade
from domain.errors import HistoryBroken, Unavailable
from domain.ledger import Recorded, scan
from tests.databases import url_of_database
from tests.records import records


def test_several_may_migrate_at_once_and_again(server_url: str) -> None:
    names = [f"daybook_new_{uuid4().hex[:8]}" for _ in range(2)]
    urls = [url_of_database(server_url, name) for name in names]
    with psycopg.connect(server_url, autocommit=True) as owner:
        for name in names:
            owner.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            assert not any(map(is_current, urls))
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(migrate, urls * 3))
            assert all(map(is_current, urls))
            for url in urls:
                with connections.connect(url, Role.PROJECTOR) as projector:
                    projector.execute("CREATE SCHEMA read_x")
        finally:
            for name in names:
                owner.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def test_the_log_is_written_and_read_while_the_database_is_brought_forward(server_url: str) -> None:
    """Who appends at the first revision goes on through all the others: none fails, none waits long, none is lost."""
    name = f"daybook_old_{uuid4().hex[:8]}"
    url = url_of_database(server_url, name)
    is_done, slowest, stored = threading.Event(), 0.0, list[Recorded]()

    def append(log: PostgresLog) -> None:
        nonlocal slowest
        while not is_done.is_set() or len(stored) < 50:
            batch = records(f"account:a{len(stored)}", range(1, 6))
            began = time.monotonic()
            log.append(batch)
            stored.extend(batch)
            assert log.read(batch[0].stream) == batch
            slowest = max(slowest, time.monotonic() - began)

    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            upgrade(url, "0001")
            with PostgresLog(url) as log, ThreadPoolExecutor(1) as pool:
                writing = pool.submit(append, log)
                try:
                    while len(stored) < 25:
                        assert not writing.done(), writing.result()
                        time.sleep(0.005)
                    before = len(stored)
                    migrate(url)
                finally:
                    is_done.set()
                writing.result()
                assert is_current(url) and len(stored) > before
                assert slowest < 30, "no writer waits for a migration"
                assert [recorded for _, recorded in scan(log)] == stored
        finally:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def test_migrating_an_absent_database_is_refused(server_url: str) -> None:
    with pytest.raises(Unavailable, match=r"nowhere.*does not exist"):
        migrate(url_of_database(server_url, "nowhere"))


def test_the_newest_revision_is_the_one_that_alembic_goes_to(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.NEWEST]
    assert is_current(database_url)


def test_a_database_of_a_newer_daybook_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE daybook_revision SET version_num = '9999'")
    with pytest.raises(HistoryBroken, match=r"newer Daybook.*9999"):
        migrate(database_url)


def test_the_librarys_own_recorder_reads_the_log(database_url: str, log: PostgresLog) -> None:
    written = records("account:main", range(1, 4))
    log.append(written)
    at = psycopg.conninfo.conninfo_to_dict(database_url)
    with PostgresDatastore(
        str(at["dbname"]), str(at["host"]), str(at.get("port", 5432)), str(at["user"]), str(at.get("password", "")),
        schema="ledger", originator_id_type="text",
    ) as datastore:  # fmt: skip
        theirs = PostgresApplicationRecorder(datastore, events_table_name="events")
        assert theirs.max_notification_id() == 3
        assert theirs.select_events("account:main", gt=1) == log.recorder.select_events("account:main", gt=1)
        for start, limit, stop, topics in [(None, 9, None, ()), (2, 1, None, ()), (1, 9, 2, ()), (1, 9, None, ("No",))]:
            assert theirs.select_notifications(start, limit, stop, topics) == log.recorder.select_notifications(
                start, limit, stop, topics
            )


def test_the_librarys_subscription_reads_the_log(log: PostgresLog) -> None:
    log.append(records("a", range(1, 4)))
    with log.recorder.subscribe(gt=1) as subscription:
        assert [next(subscription).id for _ in range(2)] == [2, 3]

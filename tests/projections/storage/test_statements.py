"""What is read past SQLAlchemy, of tables in the schema of a build, is what SQLAlchemy reads of the views in use."""

import random

import psycopg
import pytest
import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from projections.catalog import PROJECTIONS
from projections.models import executions, positions
from projections.runner.runner import Runner
from projections.storage.history import AsOf
from projections.storage.rows import fetch
from projections.storage.schemas import as_placed
from tests.desk import Desk

BOUNDED = {"at_most": {"seq": 40}, "at_least": {"seq": 8}}
FORMS = (
    {},
    {"limit": 3, "is_descending": True},
    BOUNDED,
    {"where": {"account_id": "main", "strategy_id": ("trend", "maker")}},
    {"where": {"account_id": "main", "strategy_id": ()}},
    {"after": ("hedge", "", "", "", "", "", ""), "limit": 5},
)


@pytest.fixture
def followed(database_url: str, projector: sa.Engine) -> sa.Engine:
    with PostgresLog(database_url) as log:
        dice = random.Random(5)
        Desk(log).live([tuple(dice.randint(0, 11) for _ in range(5)) for _ in range(60)])
        Runner(log, projector).catch_up()
    return projector


def possible_for(table: sa.Table, form: dict[str, object]) -> dict[str, object] | None:
    """The form as it is possible for a table; None if it is not."""
    where = form.get("where")
    if isinstance(where, dict) and not where.keys() <= set(table.columns.keys()):
        return None
    after = form.get("after")
    if isinstance(after, tuple):
        keys = [column.type for column in table.primary_key.columns]
        if any(isinstance(kind, sa.BigInteger) for kind in keys):
            return None
        return form | {"after": after[: len(keys)]}
    return form


@pytest.mark.parametrize("form", FORMS, ids=lambda form: ", ".join(form) or "all")
def test_rows_of_placed_tables_are_those_of_the_views_in_use(followed: sa.Engine, form: dict[str, object]):
    found = 0
    with followed.connect() as views, followed.connect() as connection:
        placed = as_placed(connection)
        for table in (table for projection in PROJECTIONS for table in projection.tables):
            if (given := possible_for(table, form)) is None:
                continue
            rows = fetch(placed, table, **given)  # type: ignore[arg-type]
            assert rows == fetch(views, table, **given), table.name  # type: ignore[arg-type]
            found += len(rows)
            if "history" in table.info:
                there, here = (fetch(AsOf(each, 50), table, **given) for each in (placed, views))  # type: ignore[arg-type]
                assert there == here, table.name
    assert found or form["where"] == FORMS[4]["where"]


def test_rows_of_a_build_that_is_no_longer_in_use_are_those_of_the_new_one(followed: sa.Engine):
    with followed.connect() as connection:
        before = fetch(as_placed(connection), positions.positions_table)
    with followed.begin() as connection:
        moved = "read_positions_999"
        (schema,) = connection.scalars(sa.text("SELECT schema FROM read.progress WHERE projection = 'positions'"))
        connection.execute(sa.text(f'ALTER SCHEMA "{schema}" RENAME TO {moved}'))
        connection.execute(sa.text(f"UPDATE read.progress SET schema = '{moved}' WHERE projection = 'positions'"))
    with followed.connect() as connection:
        assert fetch(as_placed(connection), positions.positions_table) == before != []


def test_a_connection_that_is_lost_is_not_lent_again(followed: sa.Engine):
    with followed.connect() as connection:
        placed = as_placed(connection)
        lost = placed.connection.driver_connection
        assert isinstance(lost, psycopg.Connection)
        lost.close()
        with pytest.raises(psycopg.OperationalError):
            fetch(placed, executions.executions)
    with followed.connect() as connection:
        assert fetch(as_placed(connection), executions.executions)

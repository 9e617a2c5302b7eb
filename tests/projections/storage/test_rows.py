"""Rows in PostgreSQL behave like rows in memory, with any batches, cache size and characters."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal as D
from itertools import count, product
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.storage.copy_lines import MODULUS, Lines, Sum
from projections.storage.rows import MemoryRows, SqlRows, fetch
from projections.storage.tables import AT, FACTS, NUMBER, WHOLE, Amounts, Projection, Row, Rows, fact, key, maybe, table

things = table(
    "things",
    "things",
    key("owner"),
    key("number", WHOLE),
    maybe("amount", NUMBER),
    fact("note"),
    fact("at", AT),
    fact("is_odd", sa.Boolean()),
    maybe("facts", FACTS),
    fact("amounts", Amounts()),
    indexes=(("note",),),
)
singles = table("things", "singles", key("name"))
PROJECTION = Projection("things", 1, (things, singles), {})

OWNERS, NUMBERS = ("\\N", "Ω\t\n"), (0, 1)

numbers = st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**30), max_value=10**30)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
rows = st.builds(
    lambda owner, number, amount, note, at, amounts: {
        "owner": owner, "number": number, "amount": amount, "note": note, "at": at, "is_odd": number % 2 == 1,
        "facts": {"note": note, "rows": [1, None]} if amount else None, "amounts": amounts, "seq": number,
    },
    st.sampled_from(OWNERS),
    st.sampled_from(NUMBERS),
    st.none() | numbers,
    texts,
    st.datetimes(datetime(2009, 1, 3), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (hypothesis')
    st.dictionaries(st.sampled_from(["USDT", "BNB"]), numbers),
)  # fmt: skip
changes = st.one_of(
    st.tuples(st.just("put"), rows),
    st.tuples(st.sampled_from(["put", "delete"]), rows),
    st.tuples(st.just("get"), rows),
    st.tuples(st.just("find"), rows),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("load_keys"), st.none()),
)
transactions = st.tuples(st.lists(changes, min_size=2, max_size=6), st.booleans())


@pytest.fixture
def place(projector: sa.Engine) -> Iterator[Callable[[], str]]:
    """Makes the tables, empty, in a new schema."""
    names = count(1)

    def made() -> str:
        schema = f"read_things_{next(names)}"
        with projector.begin() as connection:
            PROJECTION.create(connection, schema)
        return schema

    return made


def query(rows: Rows, what: str, row: Row) -> Any:
    """What one operation answers."""
    match what:
        case "put":
            return rows.put(things, row)
        case "delete":
            return rows.delete(things, row["owner"], row["number"])
        case "get":
            return rows.get(things, row["owner"], row["number"])
        case "find":
            found = rows.find(things, owner=row["owner"], number=(row["number"], row["number"] + 1))
            return sorted(found, key=lambda found_row: found_row["number"])
        case _:
            raise AssertionError(what)


def holding(rows: list[Row]) -> MemoryRows:
    """Rows in memory: these."""
    memory = MemoryRows()
    for row in rows:
        memory.put(things, row)
    return memory


def summed(connection: sa.Connection, table: sa.Table, schema: str) -> Sum:
    """The digest of the rows that are stored."""
    columns = ", ".join(column.name for column in table.columns)
    stored = connection.connection.cursor().execute(f"SELECT {columns} FROM {schema}.{table.name}").fetchall()  # type: ignore[attr-defined]
    lines = Lines(table)
    hashes = [lines.hash(lines.of_stored(row)) for row in stored]
    return Sum(sum(hashes) % MODULUS, len(hashes))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(transactions, min_size=3, max_size=8), st.integers(0, 20) | st.just(1000))
def test_any_changes_give_the_same_rows(
    projector: sa.Engine,
    place: Callable[[], str],
    batches: list[tuple[list[tuple[str, Row]], bool]],
    cached_rows_max: int,
) -> None:
    """Also after transactions that were rolled back."""
    schema = place()
    memory, stored = MemoryRows(), SqlRows(PROJECTION.tables, schema, is_empty=True, cached_rows_max=cached_rows_max)
    with projector.connect() as connection:
        for steps, is_committed in batches:
            before = memory.rows(things), stored.sum
            transaction = connection.begin()
            stored.begin(connection)
            for what, row in steps:
                if what in ("flush", "forget", "load_keys"):
                    stored.flush()
                    if what != "flush":
                        getattr(stored, what)()
                else:
                    assert query(stored, what, row) == query(memory, what, row)
            stored.flush()
            if is_committed:
                transaction.commit()
            else:
                transaction.rollback()
                stored.roll_back()
                memory, stored.sum = holding(before[0]), before[1]
        connection.begin()
        stored.begin(connection)
        for key in product(OWNERS, NUMBERS):
            assert stored.get(things, *key) == memory.get(things, *key)
        placed = connection.execution_options(schema_translate_map={"read_things": schema})
        assert fetch(placed, things) == fetch(memory, things)
        assert stored.sum == summed(connection, things, schema)
        for by, is_descending in ((("number", "owner"), False), (("note", "number", "owner"), True)):
            everything = fetch(memory, things, by=by, is_descending=is_descending)
            assert fetch(placed, things, by=by, is_descending=is_descending) == everything
            for page in (0, 1, 2):
                after = [everything[page][name] for name in by] if page < len(everything) else None
                params = {"by": by, "after": after, "limit": 2, "is_descending": is_descending}
                assert fetch(placed, things, **params) == fetch(memory, things, **params)
        connection.rollback()


def test_a_cache_queries_no_more_than_it_must(projector: sa.Engine, place: Callable[[], str]) -> None:
    """While it holds everything, a row that is not there costs no question; afterwards one."""
    schema, params = place(), []
    sa.event.listen(projector, "before_cursor_execute", lambda *args: params.append(args[2]))
    stored = SqlRows(PROJECTION.tables, schema, is_empty=True)
    with projector.begin() as connection:
        stored.begin(connection)
        assert stored.get(singles, "x") is None
        assert params == []
        stored.forget()
        assert stored.get(singles, "x") is None
        assert stored.get(singles, "x") is None
        assert len(params) == 1


def test_rows_forgotten_before_they_are_flushed_never_were(projector: sa.Engine, place: Callable[[], str]) -> None:
    stored = SqlRows(PROJECTION.tables, place(), is_empty=True)
    with projector.begin() as connection:
        stored.begin(connection)
        stored.put(singles, {"name": "x", "seq": 1})
        stored.forget()
        stored.flush()
        assert stored.get(singles, "x") is None


def test_a_row_whose_deletion_was_rolled_back_is_found_again(projector: sa.Engine, place: Callable[[], str]) -> None:
    """While the cache holds the whole table, and after it has dropped rows."""
    for cached_rows_max in (1000, 0):
        stored, row = SqlRows(PROJECTION.tables, place(), is_empty=True, cached_rows_max=cached_rows_max), {"name": "x"}
        with projector.connect() as connection:
            with connection.begin():
                stored.begin(connection)
                stored.put(singles, row | {"seq": 1})
                stored.flush()
            with connection.begin() as transaction:
                stored.begin(connection)
                stored.delete(singles, "x")
                stored.flush()
                transaction.rollback()
            stored.roll_back()
            with connection.begin():
                stored.begin(connection)
                assert stored.get(singles, "x") == row | {"seq": 1}


def test_amounts_keep_every_digit(projector: sa.Engine, place: Callable[[], str]) -> None:
    schema = place()
    stored = SqlRows(PROJECTION.tables, schema, is_empty=True)
    row = {
        "owner": "a", "number": 1, "amount": D("1E+20"), "note": "", "at": datetime(2026, 1, 1, tzinfo=UTC),
        "is_odd": True, "facts": None, "amounts": {"BTC": D("0.000000000000000001")}, "seq": 1,
    }  # fmt: skip
    with projector.begin() as connection:
        stored.begin(connection)
        stored.put(things, row)
        stored.flush()
        stored.forget()
        assert stored.get(things, "a", 1) == row
        assert stored.sum == summed(connection, things, schema)
        text = sa.text(f"SELECT amounts::text, amount::text FROM {schema}.things")
        assert connection.execute(text).one() == ('{"BTC": "0.000000000000000001"}', "100000000000000000000")

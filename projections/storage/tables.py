"""The words that read models' tables are written in: column types, the columns of a contract, a projection.

Every table lives in the schema of its projection, `read_<name>`; all have a primary key and `seq`, the place in the log
of the last event that touched the row. Text sorts by code point, in the database as in Python. Numbers are
unconstrained and exact; times are UTC.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable, DropSchema

from domain.instrument import Contract, Kind
from domain.ledger import Logged
from projections.storage.history import history_table

Row = dict[str, Any]

TEXT = sa.Text(collation="C")
NUMBER = sa.Numeric()
WHOLE = sa.BigInteger()
AT = sa.DateTime(timezone=True)
FACTS = JSONB(none_as_null=True)
ITEMS = JSONB(none_as_null=True)


IDENTIFIER_CHARACTERS_MAX = 63  # PostgreSQL's


class Rows(Protocol):
    """What a fold sees of its tables. `seq` is the place in the log of the event that it folds."""

    seq: int

    def get(self, table: sa.Table, *key: Any) -> Row | None:
        """The row with this primary key, if there is one."""

    def put(self, table: sa.Table, row: Row) -> None:
        """Add a row, or replace the one with its primary key."""

    def delete(self, table: sa.Table, *key: Any) -> None:
        """Remove the row with this primary key, if there is one."""

    def find(self, table: sa.Table, **equals: Any) -> list[Row]:
        """The rows whose columns have these values, in no order; a tuple stands for any of its members."""


Fold = Callable[[Rows, Logged, Any], None]


class Amounts(sa.types.TypeDecorator[dict[str, Decimal]]):
    """Exact amounts by currency, kept as a JSON object of decimal texts."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: dict[str, Decimal] | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy's)
        return {currency: format(amount, "f") for currency, amount in value.items()} if value else {}

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dict[str, Decimal]:  # noqa: ARG002
        return {currency: Decimal(amount) for currency, amount in (value or {}).items()}


def key(name: str, type_: sa.types.TypeEngine[Any] = TEXT) -> sa.Column[Any]:
    """A column of the primary key."""
    return sa.Column(name, type_, primary_key=True, autoincrement=False)


def fact(name: str, type_: sa.types.TypeEngine[Any] = TEXT) -> sa.Column[Any]:
    """A column that always has a value."""
    return sa.Column(name, type_, nullable=False)


def maybe(name: str, type_: sa.types.TypeEngine[Any] = TEXT) -> sa.Column[Any]:
    """A column that may be unknown."""
    return sa.Column(name, type_, nullable=True)


def table(
    projection: str,
    name: str,
    *columns: sa.Column[Any],
    indexes: tuple[tuple[str, ...], ...] = (),
    born: str | None = None,
    has_history: bool = True,
    is_only_added: bool = False,
    versions_by: tuple[str, ...] = (),
) -> sa.Table:
    """A table of a projection, with `seq`, and an index for each tuple of column names.

    Unless it says otherwise it has a history, so that it can be read as of any place (`projections.storage.history`).
    `born` is the column, if there is one, with the place in the log at which a row came to be. `versions_by` are those
    that past versions are looked up by. Rows that folds put once, under a key that never was, `is_only_added`.
    """
    made = sa.Table(name, sa.MetaData(), *columns, fact("seq", WHOLE), schema=schema_of(projection))
    for number, names in enumerate(indexes):
        told = f"{name}_by_{'_'.join(names)}"
        told = told if len(told) <= IDENTIFIER_CHARACTERS_MAX else f"{told[:55]}_{number}"
        sa.Index(told, *(made.c[column] for column in names))
    made.info["born"], made.info["is_only_added"] = born, is_only_added
    if has_history:
        made.info["history"] = history_table(made, versions_by)
    return made


def schema_of(projection: str) -> str:
    """The database schema a projection's tables live in."""
    return f"read_{projection}"


def contract_columns() -> tuple[sa.Column[Any], ...]:
    """The facts of the instrument's contract; unknown while only funding was settled."""
    return maybe("kind"), maybe("base"), maybe("quote"), maybe("settle"), maybe("contract_size", NUMBER)


def contract_row(contract: Contract) -> Row:
    """A contract as columns."""
    return {
        "kind": contract.kind.value,
        "base": contract.base,
        "quote": contract.quote,
        "settle": contract.settle,
        "contract_size": contract.contract_size,
    }


def contract_of(row: Row) -> Contract | None:
    """The contract in a row's columns; None while unknown."""
    if row["kind"] is None:
        return None
    return Contract(Kind(row["kind"]), row["base"], row["quote"], row["settle"], row["contract_size"])


def printable(text: str) -> str:
    """The text with NUL as its symbol: PostgreSQL keeps every other character."""
    return text.replace("\0", "\u2400")


def json_of(value: Any) -> Any:
    """A value in what JSON has: decimals and times as text, tuples as lists, every text printable."""
    return _printable(msgspec.json.decode(_ENCODER.encode(value)))


def _printable(value: Any) -> Any:
    match value:
        case str():
            return printable(value)
        case dict():
            return {name: _printable(part) for name, part in value.items()}
        case list():
            return [_printable(part) for part in value]
        case _:
            return value


_ENCODER = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True)
class Projection:
    """Tables, and what each class of event does to them. A change of either is a new `version`."""

    name: str
    version: int
    tables: tuple[sa.Table, ...]
    folds: Mapping[type[Struct], Fold]

    @property
    def schema(self) -> str:
        """Where its tables live when they are in use."""
        return schema_of(self.name)

    @property
    def all_tables(self) -> tuple[sa.Table, ...]:
        """Its tables and their histories."""
        return (*self.tables, *(made.info["history"] for made in self.tables if "history" in made.info))

    def fold(self, rows: Rows, batch: Iterable[Logged]) -> None:
        """What events do to the rows, one after the other; most are of no concern to most projections."""
        folds = self.folds
        for logged in batch:
            event = logged.recorded.event
            if type(event) in folds:
                rows.seq = logged.seq
                folds[type(event)](rows, logged, event)

    def create(self, connection: sa.Connection, schema: str) -> None:
        """Make its tables and their histories, empty, in a new schema."""
        connection.execute(CreateSchema(schema))
        for made in self.all_tables:
            placed = made.to_metadata(sa.MetaData(), schema=schema)
            connection.execute(CreateTable(placed))
            for index in sorted(placed.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index))

    @staticmethod
    def drop(connection: sa.Connection, schema: str) -> None:
        """Remove a schema and all in it, if it is there."""
        connection.execute(DropSchema(schema, cascade=True, if_exists=True))

"""Building blocks of read models' tables: column types, the columns of a contract, a projection.

Every table is in the schema of its projection, `read_<name>`; all have a primary key and `seq`, the place in the log of
the last event that changed the row. Text sorts by code point, in the database as in Python. Numbers are unconstrained
and exact; times are UTC.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Protocol, TypedDict

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable, DropSchema

from domain.instrument import Contract, Kind
from domain.ledger import Logged
from domain.position import PositionKey
from domain.values import PositionSide
from projections.storage.history import history_table

Row = dict[str, Any]  # as folds and storage have it; queries return a TypedDict for each read model
AnyRow = Mapping[str, Any]  # any row, read only: also a TypedDict

TEXT = sa.Text(collation="C")
NUMBER = sa.Numeric()
WHOLE = sa.BigInteger()
AT = sa.DateTime(timezone=True)
FACTS = JSONB(none_as_null=True)
ITEMS = JSONB(none_as_null=True)


CONTRACTS_MAX = 4096
CONTRACT: Final = ("kind", "base", "quote", "settle", "contract_size")
IDENTIFIER_CHARACTERS_MAX = 63  # PostgreSQL's


class Rows(Protocol):
    """The tables as a fold sees them. `seq` is the place in the log of the event being folded."""

    seq: int

    def get(self, table: sa.Table, *key: Any) -> Row | None:
        """Return the row with this primary key, if there is one."""

    def put(self, table: sa.Table, row: Row) -> None:
        """Add a row, or replace the one with its primary key."""

    def delete(self, table: sa.Table, *key: Any) -> None:
        """Remove the row with this primary key, if there is one."""

    def find(self, table: sa.Table, **equals: Any) -> list[Row]:
        """Return the rows whose columns have these values, unsorted; a tuple stands for any of its members."""


Fold = Callable[[Rows, Logged, Any], None]


class Amounts(sa.types.TypeDecorator[dict[str, Decimal]]):
    """Exact amounts by currency, stored as a JSON object of decimal texts."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: dict[str, Decimal] | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy's)
        return {currency: format(amount, "f") for currency, amount in value.items()} if value else {}

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dict[str, Decimal]:  # noqa: ARG002
        return {currency: Decimal(amount) for currency, amount in (value or {}).items()}


def key(name: str, type_: sa.types.TypeEngine[Any] = TEXT) -> sa.Column[Any]:
    """Return a column of the primary key."""
    return sa.Column(name, type_, primary_key=True, autoincrement=False)


def fact(name: str, type_: sa.types.TypeEngine[Any] = TEXT) -> sa.Column[Any]:
    """Return a column that always has a value."""
    return sa.Column(name, type_, nullable=False)


def maybe(name: str, type_: sa.types.TypeEngine[Any] = TEXT) -> sa.Column[Any]:
    """Return a column that may be null."""
    return sa.Column(name, type_, nullable=True)


def table(
    projection: str,
    name: str,
    *columns: sa.Column[Any],
    indexes: tuple[tuple[str, ...], ...] = (),
    created_by: str | None = None,
    has_history: bool = True,
    is_only_added: bool = False,
    versions_by: tuple[str, ...] = (),
) -> sa.Table:
    """Return a table of a projection, with `seq`, and an index for each tuple of column names.

    By default it has a history, so that it can be read as of any place (`projections.storage.history`). `created_by` is
    the column, if there is one, with the seq that created a row. `versions_by` are the columns to look up past versions
    by. `is_only_added` is for tables whose rows are put once, under a new key, and never change.
    """
    made = sa.Table(name, sa.MetaData(), *columns, fact("seq", WHOLE), schema=schema_of(projection))
    for number, names in enumerate(indexes):
        index = f"{name}_by_{'_'.join(names)}"
        index = index if len(index) <= IDENTIFIER_CHARACTERS_MAX else f"{index[:55]}_{number}"
        sa.Index(index, *(made.c[column] for column in names))
    made.info["created_by"], made.info["is_only_added"] = created_by, is_only_added
    if has_history:
        made.info["history"] = history_table(made, versions_by)
    return made


def schema_of(projection: str) -> str:
    """Return the database schema of a projection's tables."""
    return f"read_{projection}"


def contract_columns() -> tuple[sa.Column[Any], ...]:
    """Return columns for the instrument's contract; null while only funding was settled."""
    return maybe("kind"), maybe("base"), maybe("quote"), maybe("settle"), maybe("contract_size", NUMBER)


POSITION: Final = ("account_id", "strategy_id", "instrument_id", "position_side")
PositionId = tuple[str, str, str, str]


class PositionColumns(TypedDict):
    """The key of a position; `position_side` is BOTH, in hedge mode LONG or SHORT."""

    account_id: str
    strategy_id: str
    instrument_id: str
    position_side: str


def position_row(position: PositionKey) -> Row:
    """Return the key of a position as columns."""
    return {
        "account_id": position.account_id,
        "strategy_id": position.strategy_id,
        "instrument_id": position.instrument_id,
        "position_side": position.position_side.value,
    }


def place_of(position: PositionKey) -> PositionId:
    """Return the key of a position as its columns' values."""
    return position.account_id, position.strategy_id, position.instrument_id, position.position_side.value


def position_key(position: PositionId) -> PositionKey:
    """Return the key of a position from its columns' values."""
    return PositionKey(*position[:3], PositionSide(position[3]))


def position_of(row: PositionColumns | AnyRow) -> PositionId:
    """Return the position that a row is of."""
    return row["account_id"], row["strategy_id"], row["instrument_id"], row["position_side"]


def position_filter(
    account_id: str | None, strategy_id: str | None, instrument_id: str | None, position_side: str | None
) -> dict[str, str | None]:
    """Return which positions are wanted; None stands for all."""
    return dict(zip(POSITION, (account_id, strategy_id, instrument_id, position_side), strict=True))


class ContractColumns(TypedDict):
    """The instrument's contract, as in `contract_columns`; `contract_size` is in base units (inverse: quote units)."""

    kind: str | None
    base: str | None
    quote: str | None
    settle: str | None
    contract_size: Decimal | None


def contract_row(contract: Contract) -> Row:
    """Return a contract as columns."""
    return {
        "kind": contract.kind.value,
        "base": contract.base,
        "quote": contract.quote,
        "settle": contract.settle,
        "contract_size": contract.contract_size,
    }


def contract_of(row: AnyRow) -> Contract | None:
    """Return the contract in a row's columns; None while unknown."""
    if row["kind"] is None:
        return None
    return _contract(tuple([row[name] for name in CONTRACT]))


@lru_cache(CONTRACTS_MAX)
def _contract(values: tuple[Any, ...]) -> Contract:  # many rows share few
    kind, base, quote, settle, contract_size = values
    return Contract(Kind(kind), base, quote, settle, contract_size=contract_size)


def printable(text: str) -> str:
    """Replace NUL by its symbol: PostgreSQL stores every other character."""
    return text.replace("\0", "\u2400")


def json_of(value: Any) -> Any:
    """Return a value in JSON types: decimals and times as text, tuples as lists, every text printable."""
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
    """Tables, and a fold for each class of event. A change of either is a new `version`."""

    name: str
    version: int
    tables: tuple[sa.Table, ...]
    folds: Mapping[type[Struct], Fold]

    @property
    def schema(self) -> str:
        """The schema of its tables in use."""
        return schema_of(self.name)

    @property
    def all_tables(self) -> tuple[sa.Table, ...]:
        """Its tables and their histories."""
        return (*self.tables, *(made.info["history"] for made in self.tables if "history" in made.info))

    def fold(self, rows: Rows, batch: Iterable[Logged]) -> None:
        """Apply events to the rows, in order; events of other classes are skipped."""
        folds = self.folds
        for logged in batch:
            event = logged.recorded.event
            if type(event) in folds:
                rows.seq = logged.seq
                folds[type(event)](rows, logged, event)

    def create(self, connection: sa.Connection, schema: str) -> None:
        """Create its tables and their histories, empty, in a new schema."""
        connection.execute(CreateSchema(schema))
        for made in self.all_tables:
            placed = made.to_metadata(sa.MetaData(), schema=schema)
            connection.execute(CreateTable(placed))
            for index in sorted(placed.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index))

    @staticmethod
    def drop(connection: sa.Connection, schema: str) -> None:
        """Drop a schema with its tables, if it exists."""
        connection.execute(DropSchema(schema, cascade=True, if_exists=True))

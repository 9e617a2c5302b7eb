"""Write docs/sql.md, the reference of the SQL views, from `projections.sql_views`: `python docs/sql.py`.

What a view or a column means is its comment in the database as well: both are from the same definitions.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from projections.catalog import PROJECTIONS
from projections.sql_views.definitions import Column, Composed, View
from projections.sql_views.versions import V1

PAGE = Path(__file__).parent / "sql.md"

HEAD = """\
# SQL: the views for other tools

For psql, BI tools, Grafana, pandas, DuckDB and all else that speaks SQL. This page is written by `python docs/sql.py`
from the definitions of the views, which are also their comments in the database (`\\d+ v1.positions`); a test fails
when it is not current, and runs every example on it.

## A login

The group `<database>_reader` may read the views of the schema `v1` and nothing else: no events, no keys, no personal
data, no tables. It has no members until you let somebody in:

```sh
daybook database reader grafana          # prints the SQL; set the password in psql by \\password grafana
daybook database reader grafana --run    # runs it; type the password, or give it on standard input
daybook database reader grafana --remove # ends its sessions and removes it
```

The password is hashed before it is sent, so it is in no log and no history. A login may hold 20 connections; its
transactions are read-only, statements end after 5 minutes, idle transactions after 60 s. PostgreSQL lets every login do
a few things that need no right, such as taking advisory locks: give logins to people and programs you trust with that.

## What stays as it is

* **Columns.** `v1` never loses or changes a view, a column, a type or a meaning. Views, functions, and columns at the
  end of a view may be added. What has to change otherwise becomes `v2`, a schema beside `v1`, made of the same rows;
  `v1` stays for at least a year after that, and CHANGELOG.md names the day.
* **Rebuilds.** `daybook rebuild` and upgrades put new rows beside those in use and swap them. A view shows those that
  are in use at your transaction's snapshot: all old rows or all new ones, never some of each and never none. A
  transaction that outlives two rebuilds is refused with SQLSTATE 40001; begin it again. Views of your own on top of
  these go on working. A rebuild waits for a moment without transactions that have read the views, so keep them short.
* **Types** are `numeric` (exact, unconstrained), `timestamptz`, `date`, `text`, `bigint` and `boolean`.
* **One moment.** The views of one statement are of one snapshot. `v1.progress` has the place in the log of each read
  model: nearly always the same, for they follow the log together.

## The past

`…_as_of(seq)` gives the rows of a view as they were recorded at a place in the log, by look-ups; `v1.seq_at(moment)` is
the place at a moment. `…_history` has every version of every row: those with `seq` <= S and `until_seq` above S or null
held at S.

```sql
SELECT instrument_id, quantity FROM v1.positions_as_of(v1.seq_at(now() - interval '1 minute')) WHERE quantity <> 0;
SELECT seq, until_seq, quantity FROM v1.positions_history WHERE account_id = 'main' ORDER BY seq DESC LIMIT 10;
```

## Examples

The sums of a day, and what its balances opened and closed with:

```sql
SELECT day, instrument_id, realized + rounding - fees_settle - fee_cost + funding AS gained, volume
FROM v1.position_days WHERE account_id = 'main' ORDER BY day, instrument_id;

SELECT day, asset, opening, inflow, outflow, closing
FROM v1.daily_balances WHERE account_id = 'main' ORDER BY day, asset;
```

Gains of a tax year by how long the lots were held (of accounts that keep lots):

```sql
SELECT settle, holding_days >= 365 AS is_long_term, sum(proceeds) AS proceeds, sum(cost) AS cost, sum(gain) AS gain
FROM v1.matches WHERE is_current AND disposed_at >= '2026-01-01Z' AND disposed_at < '2027-01-01Z'
GROUP BY 1, 2 ORDER BY 1, 2;
```

Turnover by the hour, as a Grafana panel queries it. Grafana writes `$__timeGroup(transact_time, '1h')` for the
`date_bin`, and `$__timeFilter(transact_time)` for the condition:

```sql
SELECT date_bin('1 hour', transact_time, '2000-01-01Z') AS time, instrument_id AS metric,
    sum(last_qty * last_px) AS value
FROM v1.executions
WHERE transact_time BETWEEN now() - interval '30 days' AND now() AND entry = 'TRADE' AND reversal IS NULL
GROUP BY 1, 2 ORDER BY 1, 2;
```

Unrealized PnL at the newest marks, and what an account is worth in each asset:

```sql
SELECT account_id, instrument_id, quantity, mark, unrealized, now() - mark_at AS age
FROM v1.position_values WHERE quantity <> 0;

SELECT asset, balance, open_value, net_assets FROM v1.net_assets WHERE account_id = 'main' ORDER BY asset;
```

psql, with the password in `~/.pgpass`:

```sh
psql "$READER_URL" --command "SELECT status, count(*) FROM v1.orders GROUP BY status"
```

pandas reads `numeric` as `Decimal`, exactly:

```python
import os

import pandas
import psycopg
import sqlalchemy

engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(os.environ["READER_URL"]))
with engine.connect() as connection:
    trades = pandas.read_sql(sqlalchemy.text("SELECT * FROM v1.executions WHERE entry = 'TRADE'"), connection)
print(trades.groupby("instrument_id")["last_qty"].sum())
engine.dispose()
```

DuckDB attaches the database, with its extension `postgres` (`INSTALL postgres`, once). It reads unconstrained `numeric`
as double; give a precision where that is not enough:

```python
import os

import duckdb

desk = duckdb.connect()
desk.execute("LOAD postgres")
desk.execute(f"ATTACH '{os.environ['READER_URL']}' AS daybook (TYPE postgres, READ_ONLY, SCHEMA 'v1')")
print(desk.sql("SELECT instrument_id, sum(last_qty) FROM daybook.v1.executions GROUP BY ALL"))
exact = "SELECT instrument_id, quantity::numeric(38, 18) AS quantity FROM v1.positions"
print(desk.execute("SELECT * FROM postgres_query('daybook', ?)", [exact]).fetchall())
```

## Not shown

Events and their raw bytes, API keys, signing keys, owners of accounts, free text (narratives of the journal, reasons of
operators), who did something, and what a venue sent that could not be read. For those there are
[the log](operations.md) and `daybook log`, with a key of their own.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD, "## Views\n", _index()]
    parts += map(_section, sorted((*V1.views, *V1.composed), key=lambda one: one.name))
    parts.append("## Functions\n")
    parts.append("| function | gives |\n|---|---|")
    parts += (f"| `v1.{one.name}({one.arguments})` | {_flat(one.comment)} |" for one in V1.functions)
    return "\n".join(parts) + "\n"


def _index() -> str:
    rows = ["| read model | views |", "|---|---|"]
    for projection in PROJECTIONS:
        names = [view.name for view in V1.views if view.projection == projection.name]
        if not names:
            continue
        rows.append(f"| {projection.name} | {_links(names)} |")
    rows.append(f"| several | {_links([one.name for one in V1.composed])} |\n")
    return "\n".join(rows)


def _links(names: Sequence[str]) -> str:
    return ", ".join(f"[{name}](#v1{name})" for name in names)


def _section(view: View | Composed) -> str:
    history = isinstance(view, View) and view.has_history
    past = f" Also `v1.{view.name}_history` and `v1.{view.name}_as_of(seq)`." if history else ""
    return "\n".join((f"### v1.{view.name}\n", f"{_wrapped(view.comment + past)}\n", *_table(view.columns), ""))


def _table(columns: Iterable[Column]) -> list[str]:
    rows = ["| column | type | meaning |", "|---|---|---|"]
    return [*rows, *(f"| `{one.name}` | {one.type} | {_flat(one.comment)} |" for one in columns)]


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) >= 120:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


if __name__ == "__main__":
    PAGE.write_text(page())

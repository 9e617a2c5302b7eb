"""What every session with the database needs, however the server, the database or an account is set.

A session *pins* what it can as it opens (start-up options outrank the settings of databases, accounts and servers, and
a reload of them) and *checks* what it got: that the role is the wanted one, that the pinned settings hold, that the
server keeps what it acknowledges, and that nothing stands between it and a server process of its own. What does not
hold is refused with a sentence and a way to mend it. `ledger.continue_after` tests at each append what may change
later.
"""

from typing import Any

import psycopg

from domain.errors import Unavailable

VERSION_MIN = 140_000
DURABILITY = "daybook.durability"  # `off` by the server's own settings: it is for tests, and may lose everything

# Values as `SHOW` writes them.
PINNED = {
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "bytea_output": "hex",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "search_path": "public",
    "row_security": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "idle_session_timeout": "0",
}
STRONG = ("on", "remote_apply")  # values of synchronous_commit under which a commit is on the disk of this server

# What only the server's own settings decide, and what a session therefore refuses: setting, wanted value, consequence.
OF_THE_SERVER = (
    ("fsync", "on", "what it acknowledges may be lost when the machine stops"),
    ("full_page_writes", "on", "a page half written when the machine stops cannot be restored"),
    ("zero_damaged_pages", "off", "damaged pages would be read as empty"),
    ("ignore_checksum_failure", "off", "damaged pages would be read as if they were sound"),
    ("session_replication_role", "origin", "ordinary triggers and foreign keys would not be run"),
)
DIRECTLY = "let its URL name the server itself"
_SETTINGS = tuple(dict.fromkeys((*PINNED, *(name for name, _, _ in OF_THE_SERVER), "client_encoding")))
_CHECK = f"""
SELECT pg_backend_pid(), current_user, pg_is_in_recovery(),
    set_config('synchronous_commit',
        CASE WHEN current_setting('synchronous_commit') = 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
    coalesce(current_setting('{DURABILITY}', true), ''), getdatabaseencoding(),
    ARRAY[{", ".join(f"current_setting('{name}')" for name in _SETTINGS)}]
"""


def options() -> dict[str, str]:
    """Return the settings to open a session with."""
    return dict(PINNED)


def check(
    connection: psycopg.Connection[Any],
    *,
    where: str,
    role: str | None,
    is_writing: bool = True,
    directly: str = DIRECTLY,
) -> None:
    """Raise Unavailable, with advice, unless the session has all that it needs. `where` names the database.

    A session that only reads may be one of a standby. `directly` is the way around a pooler.
    """
    info = connection.info
    if info.server_version < VERSION_MIN:
        raise Unavailable(f"the database {where} runs on PostgreSQL {_major(info)}; Daybook needs 14 or newer")
    row = connection.execute(_CHECK).fetchone()
    assert row is not None, "the query returns a row"
    if wrong := _wrong(row[-1]):  # PGDATESTYLE and PGTZ of the environment outrank start-up options
        connection.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)",
            [list(wrong), list(wrong.values())],
        )
        row = connection.execute(_CHECK).fetchone()
        assert row is not None, "the query returns a row"
    if info.server_version >= 170_000:
        connection.execute("SET transaction_timeout = 0")
    if not connection.autocommit:
        connection.commit()  # settings of a rolled back transaction would be lost
    pid, user, is_standby, _, durability, encoding, values = row
    found = dict(zip(_SETTINGS, values, strict=True))
    _refuse_intermediary(where, info.backend_pid, pid, directly)
    if role is not None and user != role:
        raise Unavailable(f"the database {where} let us act as {user}, not as {role}: {_DROPPED}; {directly}")
    for name, wanted in _wrong(values).items():
        raise Unavailable(
            f"{name} is {found[name]!r} in sessions of the database {where}, not {wanted!r}: {_DROPPED}; {directly}"
        )
    if encoding != "UTF8":
        raise Unavailable(
            f"the database {where} is encoded in {encoding}, which cannot keep every text; make one by "
            "`createdb --encoding=UTF8 --template=template0 NAME`, and move the events by `daybook export` and `import`"
        )
    if is_writing and is_standby:
        raise Unavailable(f"the database {where} is a standby, which takes no writes: name the primary")
    if durability != "off":
        _refuse_careless(where, found)


def _wrong(values: list[str]) -> dict[str, str]:
    """Return the settings that are not as pinned, with the values that they should have."""
    wanted = PINNED | {"client_encoding": "UTF8"}
    found = zip(_SETTINGS, values, strict=True)
    return {name: wanted[name] for name, value in found if name in wanted and value != wanted[name]}


_DROPPED = "something between Daybook and PostgreSQL, such as a pooler, drops what a session requests"


def _refuse_intermediary(where: str, announced: int, pid: int, directly: str) -> None:
    if announced != pid:
        raise Unavailable(
            f"the server process of the database {where} is {pid}, and {announced} was announced: a pooler shares it "
            f"with others, so that locks and settings would not be ours; {directly}"
        )


def _refuse_careless(where: str, found: dict[str, str]) -> None:
    for name, wanted, consequence in OF_THE_SERVER:
        if found[name] != wanted:
            raise Unavailable(
                f"{name} is {found[name]} on the server of the database {where}: {consequence}; set it to {wanted} "
                f"(ALTER SYSTEM RESET {name}; SELECT pg_reload_conf(); and for the database and its accounts "
                f"ALTER … RESET {name}). A server for tests says so by {DURABILITY} = off in its own settings"
            )


def _major(info: psycopg.ConnectionInfo) -> int:
    return info.server_version // 10_000

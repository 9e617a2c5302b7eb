"""The roles of a database: their names, who may act as them, and how they are made.

Roles belong to a whole PostgreSQL server, and an account that may act as one may do so in every database that grants it
something. So each database has roles of its own, `<prefix>_writer` and so on, whose only member is the account that
owns it, and no other account may connect (`close`). The prefix follows from the database's name where that is free, and
is on record as the owner of the schema `read`; it stays when the database is renamed, copied or restored.

Where the account may not create roles, an administrator prepares them (`adapters.postgres.preparing`).
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from adapters.postgres.connections import Role, prefix_on_record
from domain.errors import Unavailable

PREFIX_MAX = 40
NUMBERED_MAX = 20
_PREFIX = re.compile(r"[a-z][a-z0-9_]*")

ABOUT = """
SELECT roles.rolname,
    EXISTS (SELECT FROM pg_auth_members AS m JOIN pg_roles AS who ON who.oid = m.member
        WHERE m.roleid = roles.oid AND who.rolname <> current_user AND NOT who.rolsuper AND NOT m.admin_option),
    EXISTS (SELECT FROM pg_auth_members AS m JOIN pg_roles AS who ON who.oid = m.member
        WHERE m.roleid = roles.oid AND who.rolname <> current_user AND NOT who.rolsuper AND m.admin_option),
    pg_has_role(current_user, roles.oid, 'MEMBER'),
    has_database_privilege(roles.oid, current_database(), 'CREATE')
FROM pg_roles AS roles WHERE roles.rolname = ANY(%s)
"""
IS_PUBLIC = """
SELECT EXISTS (SELECT FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
    WHERE datname = current_database() AND grantee = 0)
"""


class Standing(NamedTuple):
    """What is known of the six roles of a prefix: which exist, and whether they are this account's alone."""

    existing: frozenset[str]
    is_ours: bool


def names(prefix: str) -> list[str]:
    """Return the names of the roles of a prefix."""
    return [f"{prefix}_{role}" for role in Role]


def prefixes(database: str) -> Iterator[str]:
    """Return the prefixes that a database may have, the first one first."""
    is_plain = _PREFIX.fullmatch(database) and len(database) <= PREFIX_MAX
    first = database if is_plain else f"daybook_{hashlib.sha256(database.encode()).hexdigest()[:12]}"
    yield first
    for number in range(2, NUMBERED_MAX):
        yield f"{first}_{number}"


def standing(connection: psycopg.Connection[Any], prefix: str) -> Standing:
    """Return what is known of the roles of a prefix.

    They are ours if all exist, this account may act as them, and no other account may. One that made them, and so could
    let itself act as them, is an administrator if it also gave them a right on this database, and a stranger if not.
    """
    rows = connection.execute(ABOUT, [names(prefix)]).fetchall()
    is_prepared = any(may_create for *_, may_create in rows)
    is_alone = not any(others or (makers and not is_prepared) for _, others, makers, _, _ in rows)
    is_ours = len(rows) == len(Role) and all(is_member for _, _, _, is_member, _ in rows) and is_alone
    return Standing(frozenset(row[0] for row in rows), is_ours)


def settle(connection: psycopg.Connection[Any], where: str) -> str:
    """Return the prefix of roles that are this database's own, which are made unless they exist.

    Raises Unavailable, with advice, where the account may not make them.
    """
    on_record = prefix_on_record(connection)
    if on_record and standing(connection, on_record).is_ours:
        return on_record
    row = connection.execute(
        "SELECT current_database(), rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert row is not None, "the account that logged in exists"
    database, may_create = row
    for prefix in prefixes(database):
        found = standing(connection, prefix)
        if found.is_ours:
            return prefix
        if may_create and not found.existing:
            _make(connection, prefix)
            return prefix
    raise Unavailable(
        f"the account that logs in to {where} may not create roles, and none were prepared for it; let an "
        "administrator of the server run what `daybook database prepare OWNER` prints"
    )


def _make(connection: psycopg.Connection[Any], prefix: str) -> None:
    for name in names(prefix):
        role = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        connection.execute(
            sql.SQL(
                "DO $$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN"
                " GRANT {} TO CURRENT_USER; END IF; END $$"
            ).format(role)
        )


def close(connection: psycopg.Connection[Any], prefix: str) -> None:
    """Let no account connect but the owner and those named, and let projections make schemas.

    These are rights on the database itself, which dumps and copies lack. Does nothing if it is so already.
    """
    database = sql.Identifier(connection.info.dbname)
    projector = sql.Identifier(f"{prefix}_{Role.PROJECTOR}")
    (is_public,) = connection.execute(IS_PUBLIC).fetchone() or (True,)
    if is_public:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    (may_create,) = connection.execute(
        "SELECT has_database_privilege(%s, current_database(), 'CREATE')", [f"{prefix}_{Role.PROJECTOR}"]
    ).fetchone() or (False,)
    if not may_create:
        connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, projector))

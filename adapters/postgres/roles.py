"""The roles of a database: their names, who may act as them, and how they are made.

Roles belong to a whole PostgreSQL server, and an account that may act as one may do so in every database that grants it
something. So each database has roles of its own, `<prefix>_writer` and so on, whose only member is the account that
owns it, and no other account may connect (`close`). The prefix follows from the database's name where that is free, and
is on record as the owner of the schema `read`; it stays when the database is renamed, copied or restored.

One more, `<prefix>_reader`, is a group that may read the SQL views and nothing else. No account of Daybook acts as it;
people and tools that read the views get a login that is a member (`adapters.postgres.readers`).

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
READER = "reader"
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
# Not the account itself, and not the administrator who made the other roles too.
MEMBERS = """
SELECT who.rolname FROM pg_auth_members AS m JOIN pg_roles AS who ON who.oid = m.member
    JOIN pg_roles AS groups ON groups.oid = m.roleid
WHERE groups.rolname = %s AND NOT who.rolsuper AND who.rolname <> current_user AND NOT EXISTS (
    SELECT FROM pg_auth_members AS other JOIN pg_roles AS own ON own.oid = other.roleid
    WHERE own.rolname = %s AND other.member = m.member AND other.admin_option)
ORDER BY who.rolname
"""
EXISTS = "SELECT 1 FROM pg_roles WHERE rolname = %s"
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


def reader(prefix: str) -> str:
    """Return the name of the group that may read the SQL views of a prefix's database."""
    return f"{prefix}_{READER}"


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
    prefix = _settled(connection, where)
    make_reader(connection, prefix)
    return prefix


def make_reader(connection: psycopg.Connection[Any], prefix: str) -> None:
    """Create the group of readers unless it exists, or the account may create none.

    Raises Unavailable if it has members before this database has views: those would be let in unseen.
    """
    name = reader(prefix)
    members = [member for (member,) in connection.execute(MEMBERS, [name, f"{prefix}_{Role.PROJECTOR}"])]
    has_views = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'v1'").fetchone() is not None
    if members and not has_views:
        raise Unavailable(
            f"the role {name} has members already ({', '.join(members)}), who could read this database; revoke it from "
            "them, or let the database have another name"
        )
    statement = sql.SQL(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) AND EXISTS (SELECT FROM pg_roles"
        " WHERE rolname = current_user AND (rolcreaterole OR rolsuper)) THEN CREATE ROLE {} NOLOGIN; END IF; END $$"
    )
    connection.execute(statement.format(sql.Literal(name), sql.Identifier(name)))


def _settled(connection: psycopg.Connection[Any], where: str) -> str:
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
        if may_create and not found.existing and not connection.execute(EXISTS, [reader(prefix)]).fetchone():
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
    (may_connect,) = connection.execute(
        "SELECT coalesce((SELECT has_database_privilege(oid, current_database(), 'CONNECT') FROM pg_roles"
        " WHERE rolname = %s), true)",
        [reader(prefix)],
    ).fetchone() or (False,)
    if not may_connect:
        group = sql.Identifier(reader(prefix))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, group))

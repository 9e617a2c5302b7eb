"""The rights of a database's roles, as the revisions grant them: given again after a restore, or to other roles."""

from typing import Any

import psycopg
from psycopg import sql

from adapters.postgres.connections import Role
from adapters.postgres.migrations.naming import named
from adapters.postgres.migrations.versions import (
    r0001_ledger,
    r0002_writer,
    r0003_proof,
    r0004_snapshots,
    r0005_subjects,
    r0006_marks,
    r0007_attestation,
    r0008_sessions,
    r0009_tasks,
    r0010_groups,
    r0011_cosignatures,
    r0012_mark_batches,
    r0013_keys_on_record,
    r0014_views,
    r0015_rotated_keys,
    r0016_countdowns,
    r0017_reactions,
    r0018_imports,
)
from adapters.postgres.roles import EXISTS, names, reader

_REVISIONS = (
    r0001_ledger, r0002_writer, r0003_proof, r0004_snapshots, r0005_subjects, r0006_marks, r0007_attestation,
    r0008_sessions, r0009_tasks, r0010_groups, r0011_cosignatures, r0012_mark_batches, r0013_keys_on_record,
    r0014_views, r0015_rotated_keys, r0016_countdowns, r0017_reactions, r0018_imports,
)  # fmt: skip
RIGHTS = "\n".join(revision.RIGHTS for revision in _REVISIONS)
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname IN ('ledger', 'market', 'access', 'personal', 'read', 'v1')"
READ_MODELS = r"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'read\_%'"
OWNED = r"""
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, nspname, relname
FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE (nspname IN ('read', 'v1') OR nspname LIKE 'read\_%%') AND relkind IN ('r', 'p', 'S', 'v')
    AND pg_get_userbyid(relowner) <> %s
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = pg_class.oid AND d.deptype IN ('a', 'i'))
"""
OWNED_FUNCTIONS = """
SELECT proname, pg_get_function_identity_arguments(oid) FROM pg_proc
WHERE pronamespace = to_regnamespace('v1') AND pg_get_userbyid(proowner) <> %s
"""


def give(connection: psycopg.Connection[Any], prefix: str) -> None:
    """Give the roles of a prefix all that they own and may do in this database."""
    projector, auditor = (f"{prefix}_{role}" for role in (Role.PROJECTOR, Role.AUDITOR))
    models = [row[0] for row in connection.execute(READ_MODELS)]
    for name in ("read", "v1", *models):
        change = sql.SQL("ALTER SCHEMA {} OWNER TO {}")
        connection.execute(change.format(sql.Identifier(name), sql.Identifier(projector)))
    for kind, schema, name in connection.execute(OWNED, [projector]).fetchall():
        change = sql.SQL("ALTER {} {} OWNER TO {}")
        connection.execute(change.format(sql.SQL(kind), sql.Identifier(schema, name), sql.Identifier(projector)))
    for name, arguments in connection.execute(OWNED_FUNCTIONS, [projector]).fetchall():
        change = sql.SQL("ALTER FUNCTION v1.{}({}) OWNER TO {}")
        connection.execute(change.format(sql.Identifier(name), sql.SQL(arguments), sql.Identifier(projector)))
    connection.execute(named(RIGHTS, prefix).encode())
    for name in models:
        at = sql.Identifier(name), sql.Identifier(auditor)
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(*at))
        connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(*at))


def take(connection: psycopg.Connection[Any], prefix: str) -> None:
    """Take from the roles of a prefix all that they may do in this database, and from this account to act as them."""
    readers = [reader(prefix)] if connection.execute(EXISTS, [reader(prefix)]).fetchone() else []
    former = sql.SQL(", ").join(map(sql.Identifier, [*names(prefix), *readers]))
    schemas = [row[0] for query in (SCHEMAS, READ_MODELS) for row in connection.execute(query)]
    for name in schemas:
        for kind in ("ALL TABLES IN", "ALL SEQUENCES IN", ""):
            revoke = sql.SQL("REVOKE ALL ON {} SCHEMA {} FROM {}")
            connection.execute(revoke.format(sql.SQL(kind), sql.Identifier(name), former))
    connection.execute(sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(former))
    connection.execute(sql.SQL("REVOKE ALL ON public.daybook_revision FROM {}").format(former))
    for kind in ("SCHEMAS", "TABLES"):
        projector, auditor = (sql.Identifier(f"{prefix}_{role}") for role in (Role.PROJECTOR, Role.AUDITOR))
        defaults = sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE ALL ON {} FROM {}")
        connection.execute(defaults.format(projector, sql.SQL(kind), auditor))
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(database, former))
    for name in names(prefix):
        try:
            with connection.transaction():
                connection.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(sql.Identifier(name)))
        except psycopg.Error:  # granted by somebody else: it gives no right here any more
            continue

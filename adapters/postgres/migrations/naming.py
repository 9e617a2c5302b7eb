"""The names of roles in the SQL of revisions, which is written for the prefix `daybook`."""

from alembic import context

from adapters.postgres.connections import Role
from adapters.postgres.roles import READER


def named(statements: str, prefix: str | None = None) -> str:
    """Return statements for the roles of a prefix: that of the database which is brought forward, or a given one."""
    chosen: str = prefix if prefix is not None else context.config.attributes["prefix"]
    for role in (*Role, READER):
        statements = statements.replace(f"daybook_{role}", f"{chosen}_{role}")
    return statements

"""Alembic's environment: run the revisions in the transaction and under the lock that `migrate` holds."""

from alembic import context

from adapters.postgres.migrations import REVISION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=REVISION_TABLE)
with context.begin_transaction():
    context.run_migrations()

"""Run by alembic: migrates over the connection that `migrate` opened."""

from __future__ import annotations

from alembic import context

from dashkeeper.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()

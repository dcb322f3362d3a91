"""Alembic runs this file to run revisions: over the connection that it is handed, in the transaction that is open
there.
"""

from alembic import context

from surveil.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()

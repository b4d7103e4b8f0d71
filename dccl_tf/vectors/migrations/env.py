"""How Alembic runs the migrations: on the connection, and in the transaction, of whoever opens the store."""

from alembic import context

from dccl_tf.vectors.tables import TABLES

context.configure(connection=context.config.attributes["connection"], target_metadata=TABLES)
context.run_migrations()

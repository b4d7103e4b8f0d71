"""Migrations of the vector store, run by Alembic."""

"""Registrations and their contents; the tiles of dashboards become bodies, as contents are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Rename what both kinds of resources use, and add the tables of registrations."""
    for statement in (
        "ALTER TABLE tile_states RENAME TO bodies",
        "ALTER TABLE bodies RENAME COLUMN dashboard_id TO resource_id",
        "ALTER TABLE bodies RENAME COLUMN tiles TO body",
        "ALTER TABLE dashboards RENAME COLUMN tiles_hash TO body_hash",
        "ALTER TABLE revisions RENAME COLUMN tiles_hash TO body_hash",
        "ALTER TABLE requests RENAME COLUMN dashboard_id TO resource_id",
        "ALTER TABLE requests RENAME COLUMN tiles_hash TO body_hash",
    ):
        op.execute(statement)
    op.drop_index("requests_by_dashboard", "requests")
    op.create_index("requests_by_resource", "requests", ["project_id", "resource_id"])
    op.create_table(
        "registrations",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("deleted", sa.SmallInteger, nullable=False),
        sa.Column("organisation_id", TEXT, nullable=False),
        sa.Column("archived", sa.SmallInteger, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("folded_title", TEXT, nullable=False),
        sa.Column("purge_at", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("content_number", sa.BigInteger, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
    )
    op.create_index(
        "registrations_by_title", "registrations", ["project_id", "organisation_id", "deleted", "title", "id"]
    )
    op.create_index("registrations_by_purge_at", "registrations", ["purge_at"])
    op.create_table(
        "registration_places",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("registration_id", TEXT, nullable=False),
        sa.Column("scope", sa.SmallInteger, nullable=False),
        sa.Column("place_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "registration_id", "scope", "place_id"),
        sa.ForeignKeyConstraint(
            ["project_id", "registration_id"],
            ["registrations.project_id", "registrations.id"],
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "contents",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("registration_id", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("body_hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "registration_id", "number"),
    )
    op.create_index("contents_by_id", "contents", ["project_id", "registration_id", "id"], unique=True)
    op.create_table(
        "organisations",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("organisation_id", TEXT, nullable=False),
        sa.Column("community_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "organisation_id"),
    )

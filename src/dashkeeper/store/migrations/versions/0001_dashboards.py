"""Dashboards, their labels, tiles and history, and the answers to request ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the first schema."""
    op.create_table(
        "dashboards",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("deleted", sa.SmallInteger, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("folded_name", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("purge_at", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("tiles_hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
    )
    for column in ("created_at", "updated_at", "name"):
        op.create_index(f"dashboards_by_{column}", "dashboards", ["project_id", "deleted", column, "id"])
    op.create_table(
        "dashboard_labels",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("dashboard_id", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "dashboard_id", "key"),
        sa.ForeignKeyConstraint(
            ["project_id", "dashboard_id"], ["dashboards.project_id", "dashboards.id"], ondelete="CASCADE"
        ),
    )
    op.create_index(
        "dashboard_labels_by_value", "dashboard_labels", ["project_id", "key", "value", "dashboard_id"]
    )
    op.create_table(
        "tile_states",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("dashboard_id", TEXT, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("tiles", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "dashboard_id", "hash"),
    )
    op.create_table(
        "revisions",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("dashboard_id", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("change_message", TEXT, nullable=False),
        sa.Column("tile_changes", sa.LargeBinary, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("tiles_hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "dashboard_id", "revision"),
    )
    op.create_table(
        "requests",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("method", TEXT, nullable=False),
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("reply", sa.LargeBinary, nullable=False),
        sa.Column("dashboard_id", TEXT, nullable=False),
        sa.Column("tiles_hash", sa.LargeBinary),
        sa.PrimaryKeyConstraint("project_id", "subject", "method", "request_id"),
    )
    op.create_index("requests_by_created_at", "requests", ["created_at"])

"""What is left of a purged dashboard, and the indexes by which is found what may go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the table and the indexes."""
    op.create_table(
        "purged_dashboards",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
    )
    op.create_index("dashboards_by_purge_at", "dashboards", ["purge_at"])
    op.create_index("requests_by_dashboard", "requests", ["project_id", "dashboard_id"])

"""The tables. A dashboard is one row; its tiles of each state are stored once; history points at them.

Messages are kept as serialised blobs beside the columns that are filtered, sorted or compared. Times
are integer microseconds since 1970, UTC. Every key leads with the project. Text sorts by its UTF-8
bytes on every database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
)

metadata = MetaData()

Text = String().with_variant(String(collation="C"), "postgresql")

dashboards = Table(
    "dashboards",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("deleted", SmallInteger, nullable=False),  # 0 live, 1 deleted
    Column("name", Text, nullable=False),
    Column("folded_name", Text, nullable=False),  # casefolded, for name_contains
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("purge_at", BigInteger),  # set on a deleted one
    Column("revision", BigInteger, nullable=False),
    Column("header", LargeBinary, nullable=False),  # dashboards.v1.Dashboard without tiles
    Column("tiles_hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("project_id", "id"),
    Index("dashboards_by_created_at", "project_id", "deleted", "created_at", "id"),
    Index("dashboards_by_updated_at", "project_id", "deleted", "updated_at", "id"),
    Index("dashboards_by_purge_at", "purge_at"),
    Index("dashboards_by_name", "project_id", "deleted", "name", "id"),
)

purged_dashboards = Table(
    "purged_dashboards",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),  # where a new dashboard of this id goes on
    PrimaryKeyConstraint("project_id", "id"),
)

dashboard_labels = Table(
    "dashboard_labels",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("dashboard_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("project_id", "dashboard_id", "key"),
    ForeignKeyConstraint(
        ["project_id", "dashboard_id"], ["dashboards.project_id", "dashboards.id"], ondelete="CASCADE"
    ),
    Index("dashboard_labels_by_value", "project_id", "key", "value", "dashboard_id"),
)

tile_states = Table(
    "tile_states",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("dashboard_id", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of tiles
    Column("tiles", LargeBinary, nullable=False),  # dashboards.v1.Dashboard with nothing but tiles
    PrimaryKeyConstraint("project_id", "dashboard_id", "hash"),
)

revisions = Table(
    "revisions",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("dashboard_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # a RevisionKind without its prefix
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("change_message", Text, nullable=False),
    Column("tile_changes", LargeBinary, nullable=False),  # dashboards.v1.TileChanges without unchanged
    Column("header", LargeBinary, nullable=False),
    Column("tiles_hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("project_id", "dashboard_id", "revision"),
)

requests = Table(
    "requests",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("reply", LargeBinary, nullable=False),  # the answer without its dashboard's tiles
    Column("dashboard_id", Text, nullable=False),
    Column("tiles_hash", LargeBinary),  # those tiles; none where the answer has no dashboard
    PrimaryKeyConstraint("project_id", "subject", "method", "request_id"),
    Index("requests_by_created_at", "created_at"),
    Index("requests_by_dashboard", "project_id", "dashboard_id"),
)
"""The first answers of writes that carried a request_id: kept for a day, then deleted."""

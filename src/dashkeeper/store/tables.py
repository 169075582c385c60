"""The tables. A dashboard or a registration is one row, and so is each entry of its history.

What may be large, the tiles of a dashboard and the content of a registration, is stored apart, once for
each different one; rows point at it by its hash.

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
    text,
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
    Column("folded_name", Text, nullable=False),  # without case and in NFC, for name_contains
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("purge_at", BigInteger),  # set on a deleted one
    Column("revision", BigInteger, nullable=False),
    Column("header", LargeBinary, nullable=False),  # dashboards.v1.Dashboard without tiles
    Column("body_hash", LargeBinary, nullable=False),  # of its tiles
    Column("composed_name", Text),  # the name in NFC, for name_prefix; set where the name isn't in NFC
    PrimaryKeyConstraint("project_id", "id"),
    Index("dashboards_by_created_at", "project_id", "deleted", "created_at", "id"),
    Index("dashboards_by_updated_at", "project_id", "deleted", "updated_at", "id"),
    Index("dashboards_by_purge_at", "purge_at"),
    Index("dashboards_by_name", "project_id", "deleted", "name", "id"),
    Index(
        "dashboards_by_composed_name",
        *("project_id", "deleted", "composed_name"),
        sqlite_where=text("composed_name IS NOT NULL"),
        postgresql_where=text("composed_name IS NOT NULL"),
    ),
)

bodies = Table(
    "bodies",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("resource_id", Text, nullable=False),  # of a dashboard or a registration
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of body
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("project_id", "resource_id", "hash"),
)
"""Serialised: a Dashboard with nothing but tiles, or a DashboardContentWrapper with nothing but content."""

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
    Column("body_hash", LargeBinary, nullable=False),  # of its tiles
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
    Column("reply", LargeBinary, nullable=False),  # the answer without its body
    Column("resource_id", Text, nullable=False),
    Column("body_hash", LargeBinary),  # none where the answer has no body
    PrimaryKeyConstraint("project_id", "subject", "method", "request_id"),
    Index("requests_by_created_at", "created_at"),
    Index("requests_by_resource", "project_id", "resource_id"),
)
"""The first answers of writes that carried a request_id: kept for a day, then deleted."""

registrations = Table(
    "registrations",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("deleted", SmallInteger, nullable=False),  # 0 live, 1 deleted
    Column("organisation_id", Text, nullable=False),
    Column("archived", SmallInteger, nullable=False),  # 0 or 1
    Column("title", Text, nullable=False),
    Column("folded_title", Text, nullable=False),  # without case and in NFC, for title_contains
    Column("purge_at", BigInteger),  # set on a deleted one
    Column("revision", BigInteger, nullable=False),  # counts its changes
    Column("content_number", BigInteger, nullable=False),  # of the current content; 0 before the first
    Column("header", LargeBinary, nullable=False),  # registrations.v1.DashboardRegistration
    PrimaryKeyConstraint("project_id", "id"),
    Index("registrations_by_title", "project_id", "organisation_id", "deleted", "title", "id"),
    Index("registrations_by_purge_at", "purge_at"),
)

registration_places = Table(
    "registration_places",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("registration_id", Text, nullable=False),
    Column("scope", SmallInteger, nullable=False),  # the number of a registrations.v1.Scope
    Column("place_id", Text, nullable=False),  # of a segment or a builder; empty: every one
    PrimaryKeyConstraint("project_id", "registration_id", "scope", "place_id"),
    ForeignKeyConstraint(
        ["project_id", "registration_id"],
        ["registrations.project_id", "registrations.id"],
        ondelete="CASCADE",
    ),
)

contents = Table(
    "contents",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("registration_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),  # 1, 2, 3 ... in the registration
    Column("id", Text, nullable=False),
    Column("header", LargeBinary, nullable=False),  # registrations.v1.DashboardContentWrapper without content
    Column("body_hash", LargeBinary, nullable=False),  # of its content
    PrimaryKeyConstraint("project_id", "registration_id", "number"),
    Index("contents_by_id", "project_id", "registration_id", "id", unique=True),
)

organisations = Table(
    "organisations",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("organisation_id", Text, nullable=False),
    Column("community_id", Text, nullable=False),
    PrimaryKeyConstraint("project_id", "organisation_id"),
)
"""The community of each organisation that has a registration."""

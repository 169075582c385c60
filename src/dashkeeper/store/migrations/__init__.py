"""The schema's versions, and how a database is brought to one.

alembic is imported only where something is to be migrated: a server that finds its database
current never loads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from dashkeeper.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCHEMA = "0003"
"""The version of the schema that this version of Dashkeeper needs: the newest in `versions/`."""


def schema_version(conn: Connection) -> str | None:
    """Return the version of the schema that the database has; None where it has none yet."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def migrate(conn: Connection, to: str = "head") -> None:
    """Bring the database to a version of the schema, within the connection's transaction.

    Raises:
        ConfigError: If there is no such version, or the database has one that is newer than ours.
    """
    if to == "head" and schema_version(conn) == SCHEMA:
        return
    if not to or to == "base":
        raise ConfigError('"--to" takes a version of the schema, such as 0001, or "head"')
    from alembic import command  # noqa: PLC0415 # see above
    from alembic.config import Config  # noqa: PLC0415 # see above
    from alembic.util import CommandError  # noqa: PLC0415 # see above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = conn
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise ConfigError(
            f"the database can't be migrated: {error}: is it of a newer version of Dashkeeper?"
        ) from error

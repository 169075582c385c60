"""The client of Dashkeeper for Python services: `connect` here, `aio.connect` for asyncio.

The messages are in `dashkeeper_client.gen`, laid out as the protos are: `dashboards.v1.Tile` is
`dashkeeper_client.gen.dashboards.v1.tile_pb2.Tile`.
"""

from __future__ import annotations

from dashkeeper_client.client import Client, connect
from dashkeeper_client.errors import ErrorDetails, Violation, error_details

__all__ = ["Client", "ErrorDetails", "Violation", "connect", "error_details"]

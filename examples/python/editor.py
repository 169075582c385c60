"""Change a tile's title, as an editor does: read, let somebody think, write only onto what they saw.

If others changed the dashboard meanwhile, it is read again and the change made to what is there now. Where
that can't be done, because the tile is gone or has another title, nothing is written.
"""

from __future__ import annotations

import argparse
import os
import sys

import grpc

from dashkeeper_client import Client, connect, error_details
from dashkeeper_client.gen.dashboards.v1.dashboard_pb2 import Dashboard
from dashkeeper_client.gen.dashboards.v1.dashboards_pb2 import GetRequest
from dashkeeper_client.gen.dashboards.v1.tile_pb2 import Tile
from dashkeeper_client.gen.dashboards.v1.upsert_pb2 import UpsertRequest


def find_tile(dashboard: Dashboard, tile_id: str) -> Tile:
    """Return one of a dashboard's tiles, or end the program."""
    for tile in dashboard.tiles:
        if tile.id == tile_id:
            return tile
    sys.exit(f"{dashboard.id} has no tile {tile_id} at revision {dashboard.revision}")


def edit(client: Client, dashboard_id: str, tile_id: str) -> None:
    """Ask for the new title, and write it."""
    dashboard = client.dashboards.Get(GetRequest(id=dashboard_id)).dashboard
    seen = find_tile(dashboard, tile_id).title
    print(f'The title is "{seen}". The new title:', flush=True)
    title = sys.stdin.readline().strip()
    if not title:
        sys.exit("no new title: nothing was written")
    while True:
        tile = find_tile(dashboard, tile_id)
        if tile.title != seen:
            sys.exit(f'{dashboard.updated_by} made the title "{tile.title}" meanwhile: nothing was written')
        tile.title = title
        request = UpsertRequest(dashboard_id=dashboard_id, tiles=dashboard.tiles, etag=dashboard.etag)
        try:
            dashboard = client.dashboards.Upsert(request).dashboard
        except grpc.RpcError as error:
            if error_details(error).reason != "ETAG_MISMATCH":
                raise
            dashboard = client.dashboards.Get(GetRequest(id=dashboard_id)).dashboard
            print(f"{dashboard.updated_by} changed the dashboard meanwhile: trying again")
        else:
            print(f'The title is "{title}" as of revision {dashboard.revision}.')
            return


def main() -> None:
    """Edit the dashboard and tile that the arguments name."""
    parser = argparse.ArgumentParser(description="Change a tile's title.")
    parser.add_argument("dashboard_id")
    parser.add_argument("tile_id")
    arguments = parser.parse_args()
    server, project = os.environ.get("SERVER", "127.0.0.1:50051"), os.environ.get("PROJECT", "demo")
    with connect(server, token=os.environ.get("TOKEN", ""), project_id=project) as client:
        try:
            edit(client, arguments.dashboard_id, arguments.tile_id)
        except grpc.RpcError as error:
            details = error_details(error)
            sys.exit(f"{details.code.name}: {details.message}")


if __name__ == "__main__":
    main()

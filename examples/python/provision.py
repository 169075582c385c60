"""Give a project its default dashboards, from files.

Run again, it changes only what differs from the files.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import Parse, ParseError

from dashkeeper_client import Client, connect, error_details
from dashkeeper_client.gen.dashboards.v1.changes_pb2 import UpdateRequest
from dashkeeper_client.gen.dashboards.v1.dashboard_pb2 import Dashboard
from dashkeeper_client.gen.dashboards.v1.upsert_pb2 import UpsertRequest


def read(path: Path) -> Dashboard:
    """Read a dashboard as ProtoJSON, and end the program if that isn't what it is."""
    try:
        return Parse(path.read_text(encoding="utf-8"), Dashboard())
    except ParseError as error:
        sys.exit(f"{path}: {error}")


def provision(client: Client, wanted: Dashboard) -> str:
    """Make the project's dashboard what is wanted, and return what that took."""
    answer = client.dashboards.Upsert(
        UpsertRequest(dashboard_id=wanted.id, name=wanted.name, tiles=wanted.tiles, allow_missing=True)
    )
    dashboard, changes = answer.dashboard, answer.changes
    changed = [
        f"tile {tile}" for tile in (*changes.created, *changes.updated, *changes.moved, *changes.deleted)
    ]
    # Upsert names a dashboard that it creates; all else that a dashboard says about itself is Update's.
    fields = [
        name
        for name in ("name", "description", "labels")
        if getattr(dashboard, name) != getattr(wanted, name)
    ]
    if fields:
        request = UpdateRequest(
            id=wanted.id,
            name=wanted.name,
            description=wanted.description,
            labels=wanted.labels,
            update_mask=FieldMask(paths=fields),
        )
        dashboard = client.dashboards.Update(request).dashboard
    return f"revision {dashboard.revision}, {', '.join(changed + fields) or 'as it was'}"


def main() -> None:
    """Provision what is in a folder."""
    parser = argparse.ArgumentParser(description="Give a project its default dashboards.")
    parser.add_argument("folder", type=Path, help="of dashboards as ProtoJSON, *.json")
    folder: Path = parser.parse_args().folder
    # All are read before the first is written.
    dashboards = {path: read(path) for path in sorted(folder.glob("*.json"))}
    if not dashboards:
        sys.exit(f"{folder} holds no *.json")
    server, project = os.environ.get("SERVER", "127.0.0.1:50051"), os.environ.get("PROJECT", "demo")
    with connect(server, token=os.environ.get("TOKEN", ""), project_id=project) as client:
        for path, wanted in dashboards.items():
            try:
                print(f"{wanted.id}: {provision(client, wanted)}")
            except grpc.RpcError as error:
                details = error_details(error)
                sys.exit(f"{path}: {details.code.name}: {details.message}")


if __name__ == "__main__":
    main()

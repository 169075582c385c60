"""Copy a dashboard from one environment to another, from staging to production say.

It shows what would change there. With --write it does just that, unless it would delete more tiles than
--max-deletions allows.
"""

from __future__ import annotations

import argparse
import os
import sys

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from dashkeeper_client import Client, connect, error_details
from dashkeeper_client.gen.dashboards.v1.changes_pb2 import UpdateRequest
from dashkeeper_client.gen.dashboards.v1.dashboards_pb2 import GetRequest
from dashkeeper_client.gen.dashboards.v1.upsert_pb2 import UpsertRequest


def copy(source: Client, target: Client, dashboard_id: str, *, write: bool, max_deletions: int) -> None:
    """Show what would change, and do it where told."""
    wanted = source.dashboards.Get(GetRequest(id=dashboard_id)).dashboard
    message = f"copied from revision {wanted.revision} in {os.environ['FROM_SERVER']}"
    request = UpsertRequest(
        dashboard_id=wanted.id,
        tiles=wanted.tiles,
        name=wanted.name,
        allow_missing=True,
        change_message=message,
        validate_only=True,
    )
    answer = target.dashboards.Upsert(request)
    present = answer.dashboard
    for kind, tiles in answer.changes.ListFields():
        print(f"{kind.name}: {', '.join(tiles)}")
    fields = [
        name for name in ("name", "description", "labels") if getattr(present, name) != getattr(wanted, name)
    ]
    if fields:
        print(f"set: {', '.join(fields)}")
    if not write:
        return

    request.validate_only = False
    request.max_deletions = max_deletions
    # What was shown, or nothing. It is empty where there is no such dashboard yet.
    request.etag = present.etag
    present = target.dashboards.Upsert(request).dashboard
    if fields:
        update = UpdateRequest(
            id=wanted.id,
            name=wanted.name,
            description=wanted.description,
            labels=wanted.labels,
            update_mask=FieldMask(paths=fields),
            change_message=message,
            etag=present.etag,
        )
        present = target.dashboards.Update(update).dashboard
    print(f"written: {present.id} is at revision {present.revision}")


def environment(prefix: str) -> Client:
    """Make a client of the server that variables with this prefix name."""
    try:
        server, token, project = (os.environ[f"{prefix}_{name}"] for name in ("SERVER", "TOKEN", "PROJECT"))
    except KeyError as error:
        sys.exit(f"the variable {error.args[0]} is not set")
    return connect(server, token=token, project_id=project)


def main() -> None:
    """Copy what the arguments say."""
    parser = argparse.ArgumentParser(description="Copy a dashboard from one environment to another.")
    parser.add_argument("id")
    parser.add_argument("--write", action="store_true", help="do what otherwise is only shown")
    parser.add_argument(
        "--max-deletions", type=int, default=0, help="how many tiles may be deleted (default: 0)"
    )
    arguments = parser.parse_args()
    with environment("FROM") as source, environment("TO") as target:
        try:
            copy(source, target, arguments.id, write=arguments.write, max_deletions=arguments.max_deletions)
        except grpc.RpcError as error:
            details = error_details(error)
            sys.exit(f"{details.code.name}: {details.message}")


if __name__ == "__main__":
    main()

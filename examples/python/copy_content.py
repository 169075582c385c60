"""Copy what a registered dashboard shows from one environment to another: FROM_ID's content becomes TO_ID's.

Without --write it is only checked. Where the target shows it already, nothing is written.
"""

from __future__ import annotations

import argparse
import os
import sys

import grpc

from dashkeeper_client import Client, connect, error_details
from dashkeeper_client.gen.registrations.v1.content_pb2 import DashboardContentWrapper
from dashkeeper_client.gen.registrations.v1.contents_pb2 import GetContentRequest, UpdateContentRequest


def current(client: Client, registration_id: str) -> DashboardContentWrapper | None:
    """Return a registration's content; None before its first one."""
    try:
        return client.registrations.GetContent(GetContentRequest(id=registration_id)).content_wrapper
    except grpc.RpcError as error:
        if error_details(error).reason != "NO_CONTENT":
            raise
        return None


def copy(source: Client, target: Client, from_id: str, to_id: str, *, write: bool) -> str:
    """Copy the content, and return what came of it."""
    wanted, present = current(source, from_id), current(target, to_id)
    if wanted is None:
        sys.exit(f"{from_id} has no content yet")
    if present is not None and present.content == wanted.content:
        return f"{to_id} shows it already"
    request = UpdateContentRequest(
        id=to_id,
        content=wanted.content,
        change_message=f"copied from {wanted.id}",
        validate_only=not write,
        # Only onto what was read: a content that somebody else made meanwhile stays.
        etag=present.id if present else "",
        must_be_first=present is None,
    )
    written = target.registrations.UpdateContent(request).content_wrapper
    return f"{to_id} shows it now, as {written.id}" if write else f"{to_id} would be given it"


def environment(prefix: str) -> Client:
    """Make a client of the server that variables with this prefix name."""
    try:
        server, token, project = (os.environ[f"{prefix}_{name}"] for name in ("SERVER", "TOKEN", "PROJECT"))
    except KeyError as error:
        sys.exit(f"the variable {error.args[0]} is not set")
    return connect(server, token=token, project_id=project)


def main() -> None:
    """Copy what the arguments say."""
    parser = argparse.ArgumentParser(description="Copy a registration's content between environments.")
    parser.add_argument("from_id")
    parser.add_argument("to_id")
    parser.add_argument("--write", action="store_true", help="do what otherwise is only checked")
    arguments = parser.parse_args()
    with environment("FROM") as source, environment("TO") as target:
        try:
            print(copy(source, target, arguments.from_id, arguments.to_id, write=arguments.write))
        except grpc.RpcError as error:
            details = error_details(error)
            sys.exit(f"{details.code.name}: {details.message}")


if __name__ == "__main__":
    main()

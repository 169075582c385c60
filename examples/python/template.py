"""Write dashboards from templates in a CI job; the variables are the job's environment.

A template is an UpsertRequest as ProtoJSON, with ${NAME} in its texts. All are checked before one is
written: where a single one is wrong, nothing is written and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

import grpc
from google.protobuf.json_format import Parse, ParseError

from dashkeeper_client import Client, connect, error_details
from dashkeeper_client.gen.dashboards.v1.upsert_pb2 import UpsertRequest


def fill_in(template: str) -> UpsertRequest:
    """Put the variables in.

    Raises:
        KeyError: If one is not set.
        ParseError: If it isn't an UpsertRequest then.
    """

    def value(match: re.Match[str]) -> str:
        return json.dumps(os.environ[match[1]])[1:-1]  # as it stands within a text of JSON

    return Parse(re.sub(r"\$\{(\w+)\}", value, template), UpsertRequest())


def problems(client: Client, request: UpsertRequest) -> list[str]:
    """Ask the server what is wrong with a request, without writing anything."""
    dry_run = UpsertRequest()
    dry_run.CopyFrom(request)
    dry_run.validate_only = True
    try:
        client.dashboards.Upsert(dry_run)
    except grpc.RpcError as error:
        details = error_details(error)
        fields = [f"{violation.field}: {violation.description}" for violation in details.violations]
        return fields or [f"{details.code.name}: {details.message}"]
    return []


def main() -> None:
    """Check the templates, and write them."""
    parser = argparse.ArgumentParser(description="Write dashboards from templates.")
    parser.add_argument("templates", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()

    server, project = os.environ.get("SERVER", "127.0.0.1:50051"), os.environ.get("PROJECT", "demo")
    with connect(server, token=os.environ.get("TOKEN", ""), project_id=project) as client:
        requests: list[UpsertRequest] = []
        wrong: list[str] = []
        for path in arguments.templates:
            try:
                request = fill_in(path.read_text(encoding="utf-8"))
            except KeyError as error:
                wrong.append(f"{path}: the variable {error.args[0]} is not set")
            except (OSError, ParseError) as error:
                wrong.append(f"{path}: {error}")
            else:
                requests.append(request)
                wrong += [f"{path}: {problem}" for problem in problems(client, request)]
        if wrong:
            sys.exit("\n".join([*wrong, "nothing was written"]))
        if arguments.check:
            return
        for request in requests:
            try:
                dashboard = client.dashboards.Upsert(request).dashboard
            except grpc.RpcError as error:
                details = error_details(error)
                sys.exit(f"{request.dashboard_id}: {details.code.name}: {details.message}")
            print(f"{dashboard.id}: revision {dashboard.revision}")


if __name__ == "__main__":
    main()

"""The TypeScript client as its users have it: built, packed, and run by Node against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients import PROTO, executable
from tests.server import AUDIENCE, ISSUER, SECRET, make_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.server import RunningServer

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "clients/typescript"
TESTS = CLIENT / "test"
SCREENSHOTS = ROOT / "build/screenshots"
ENVIRONMENT = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def packed_client() -> Path:
    """Return the package as it would be published; skip where it isn't built."""
    found = next((CLIENT / "dist").glob("*.tgz"), None)
    if found is None:
        pytest.skip("clients/typescript is not built: run `make client-typescript`")
    return found


def surroundings(server: RunningServer, project_id: str, **more: object) -> dict[str, str]:
    """Return the environment in which programs find the server: see test/surroundings.ts."""
    values = {
        "HTTP": server.http,
        "GRPC": f"http://{server.grpc}",
        "PROJECT": project_id,
        "SECRET": SECRET,
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "PROTO": PROTO,
        **more,
    }
    named = {f"DASHKEEPER_{name}": str(value) for name, value in values.items()}
    return {**ENVIRONMENT, "TOKEN": make_token(project_id), **named}


def run(
    *command: str | Path, folder: Path = CLIENT, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment in a folder; what it wrote to either output is in stdout."""
    name, *arguments = map(str, command)
    return subprocess.run(
        [executable(name), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


def run_tests(file: str, environment: Mapping[str, str]) -> None:
    """Run a file of Node tests; what failed is in the error."""
    done = run("node", "--test", TESTS / file, environment=environment)
    assert done.returncode == 0, done.stdout


def check_types(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the TypeScript compiler on a folder with a tsconfig.json."""
    return run("node", CLIENT / "node_modules/typescript/bin/tsc", "--pretty", "false", folder=folder)

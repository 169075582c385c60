"""The Python client as its users have it: the wheel, in an environment without the server."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / "clients/python/.venv/bin/python"
PROGRAMS = ROOT / "tests/python_client_programs.py"
KINDS = ("blocking", "asyncio")


@contextlib.contextmanager
def started(program: str, kind: str, **arguments: Any) -> Generator[subprocess.Popen[str]]:
    """Start one of the programs; its output is lines of JSON, its errors are on this process's own stderr."""
    command = [PYTHON, "-P", "-W", "error", PROGRAMS, program, kind, json.dumps(arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str], line: str = "") -> Any:
    """Send a program its last line, wait for its end, and return what it returned."""
    output, _ = process.communicate(line, timeout=120)
    assert process.returncode == 0, f"the program failed: {output}"
    return json.loads(output.splitlines()[-1])


def run(program: str, kind: str, **arguments: Any) -> Any:
    """Run one of the programs, and return what it returned."""
    with started(program, kind, **arguments) as process:
        return answer(process)


def run_both(program: str, **arguments: Any) -> list[Any]:
    """Run one of the programs with the clients of both kinds, at the same time."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started(program, kind, **arguments)) for kind in KINDS]
        return [answer(process) for process in processes]

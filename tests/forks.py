"""Processes of `dashkeeper`, forked from one that has done the imports: they take most of a second.

From there on they are what a person starts: a process, environment, folder and streams of its own.
How the command itself begins is the part of test_start and test_commands, which run it from nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["__main__", "dashkeeper.cli", "alembic.command", "tests.forks"])


class Fork:
    """A running `dashkeeper`, with the methods of subprocess.Popen that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        stderr: Path,
        stdout: Path | None = None,
        first: Callable[[], None] | None = None,
    ) -> None:
        """Start it: its streams go into these files, which are made anew; `first` is called in it before."""
        self._process = _FORKS.Process(
            target=_run, args=(arguments, folder, dict(environment), stderr, stdout, first), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, less than zero for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: If it still runs after so many seconds.
        """
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("dashkeeper", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def run(arguments: Sequence[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this folder to its end; settings by their names without the prefix."""
    with tempfile.TemporaryDirectory() as streams:
        output, errors = Path(streams) / "output", Path(streams) / "errors"
        code = Fork(arguments, folder, environment(**settings), stderr=errors, stdout=output).wait(60)
        texts = [file.read_text(encoding="utf-8") for file in (output, errors)]
    return subprocess.CompletedProcess(["dashkeeper", *arguments], code, *texts)


def environment(**settings: str) -> dict[str, str]:
    """Return the environment with these settings of Dashkeeper, and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("DASHKEEPER_")}
    return others | {f"DASHKEEPER_{name}": value for name, value in settings.items()}


def _run(
    arguments: Sequence[str],
    folder: Path,
    variables: dict[str, str],
    stderr: Path,
    stdout: Path | None,
    first: Callable[[], None] | None,
) -> None:
    from dashkeeper.__main__ import main  # noqa: PLC0415 # imported by the process that is forked

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    for number, file in ((1, stdout), (2, stderr)):
        if file is not None:
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(opened, number)
            os.close(opened)
    if clock.VARIABLE in os.environ:
        clock.follow_file()
    if first is not None:
        first()
    sys.argv = ["dashkeeper", *arguments]
    main()

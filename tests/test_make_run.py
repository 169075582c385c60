"""`make run` as in a fresh clone, in a path with spaces and quotes: from nothing to calls that work."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.test_dev_mode import DevServer, clean_environment

ROOT = Path(__file__).parent.parent


def test_make_run_in_a_path_with_a_space_prints_calls_that_work(tmp_path: Path) -> None:
    clone = tmp_path / "a b's (clone)"
    clone.mkdir()
    for name in ("Makefile", "README.md", "LICENSE", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__"))
    ports = {"DASHKEEPER_HTTP_ADDRESS": "127.0.0.1:0", "DASHKEEPER_GRPC_ADDRESS": "127.0.0.1:0"}
    python = Path(sys.executable).resolve()  # not the one of this environment
    printed, log = tmp_path / "printed", tmp_path / "log"
    with printed.open("wb") as output, log.open("wb") as errors:
        make = subprocess.Popen(
            ["make", f"PYTHON={python}", "run"],
            cwd=clone,
            env=clean_environment() | ports,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    try:
        give_up = time.monotonic() + 180  # it installs everything
        while not printed.read_text().endswith("/Create\n"):
            assert make.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.1)  # between two looks
        server = DevServer(clone, printed.read_text())
        answers = [server.paste(command) for command in server.commands]
    finally:
        if make.poll() is None:
            make.send_signal(signal.SIGTERM)  # which make hands on
        make.wait(timeout=60)
    assert len(answers) == 7
    assert answers[-1]["dashboard"]["name"] == "My first"
    assert "stopping: calls in flight may finish" in log.read_text()

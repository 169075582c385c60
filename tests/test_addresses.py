"""One address means the same on both listeners, and is bound whole or not at all.

Names are those of a hosts file of the test's own, which the server alone sees (a mount namespace).
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import time
from functools import cache, partial
from typing import TYPE_CHECKING

import pytest

from tests import forks
from tests.namespaces import enter
from tests.server import AUDIENCE, ISSUER, SECRET

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

HOSTS = """
127.0.0.1 localhost
127.0.0.1 both.test
::1 both.test
127.0.0.1 partly.test
192.0.2.7 partly.test
192.0.2.7 elsewhere.test
192.0.2.7 also.test
127.0.0.1 also.test
"""
LISTENERS = ["http", "grpc"]


@cache
def _may_unshare() -> bool:
    return (
        subprocess.run(["unshare", "--mount", "--net", "true"], check=False, capture_output=True).returncode
        == 0
    )


@pytest.fixture(autouse=True)
def needs_namespaces() -> None:
    if not _may_unshare():
        pytest.skip("namespaces can't be made here: run as root, with util-linux's unshare")


class Serving:
    """A `dashkeeper serve` with HOSTS for its names."""

    def __init__(self, folder: Path, arguments: Sequence[str], *, without_ipv6: bool) -> None:
        hosts = folder / "hosts"
        hosts.write_text(HOSTS, encoding="utf-8")
        self._log = folder / "log"
        variables = forks.environment(JWT_SECRET=SECRET, JWT_ISSUER=ISSUER, JWT_AUDIENCE=AUDIENCE)
        self._log.touch()
        self.process = forks.Fork(
            ["serve", *arguments],
            folder,
            variables | {"DASHKEEPER_LOG_FORMAT": "text"},
            stderr=self._log,
            first=partial(enter, hosts, without_ipv6=without_ipv6),
        )

    def logged(self) -> str:
        """Return what it has logged so far."""
        return self._log.read_text(encoding="utf-8")

    def started(self) -> tuple[int, str]:
        """Wait until it serves; return the port, and what was logged."""
        deadline = time.monotonic() + 60
        while not (found := re.search(r"is served on .*:(\d+)\n", self.logged())):
            assert self.process.poll() is None, f"it did not start: {self.logged()}"
            assert time.monotonic() < deadline
            time.sleep(0.02)  # between two looks at the log
        return int(found[1]), self.logged()

    def refused(self) -> str:
        """Wait for its end, which must be with exit code 2; return its last line."""
        assert self.process.wait(60) == 2
        return self.logged().strip().splitlines()[-1]


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, without_ipv6: bool = False) -> Generator[Serving]:
    """Run `serve`; afterwards end it, if it hasn't ended."""
    run = Serving(folder, arguments, without_ipv6=without_ipv6)
    try:
        yield run
    finally:
        run.process.send_signal(signal.SIGTERM)
        run.process.wait(40)


def only(listener: str, address: str) -> Sequence[str]:
    """The arguments that serve on this address, by this listener alone."""
    other = "grpc" if listener == "http" else "http"
    return [f"--{listener}-address", address, f"--{other}-address", "off"]


def takes(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port), timeout=5):
        return True
    return False


@pytest.mark.parametrize("listener", LISTENERS)
def test_name_with_two_addresses_is_served_on_both_on_one_port(tmp_path: Path, listener: str) -> None:
    with serving(tmp_path, *only(listener, "both.test:0")) as run:
        port, _ = run.started()
        assert (takes("127.0.0.1", port), takes("::1", port)) == (True, True)


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("listener", LISTENERS)
def test_name_of_which_one_address_is_taken_ends_the_start(tmp_path: Path, listener: str, taken: str) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as owner:
        port = owner.getsockname()[1]
        with serving(tmp_path, *only(listener, f"both.test:{port}")) as run:
            line = run.refused()
    assert f"{listener.upper()}_ADDRESS both.test:{port}: {taken}: Address already in use" in line


@pytest.mark.parametrize("name", ["partly.test", "also.test"])
@pytest.mark.parametrize("listener", LISTENERS)
def test_address_that_the_machine_lacks_is_left_out_and_logged(
    tmp_path: Path, listener: str, name: str
) -> None:
    with serving(tmp_path, *only(listener, f"{name}:0")) as run:
        port, logged = run.started()
        assert takes("127.0.0.1", port)
    assert f"{name}:{port}: 192.0.2.7 is left out" in logged


@pytest.mark.parametrize("listener", LISTENERS)
def test_name_without_an_address_here_ends_the_start(tmp_path: Path, listener: str) -> None:
    with serving(tmp_path, *only(listener, "elsewhere.test:0")) as run:
        assert "Cannot assign requested address" in run.refused()


@pytest.mark.parametrize("listener", LISTENERS)
def test_machine_without_ipv6_serves_what_it_has(tmp_path: Path, listener: str) -> None:
    with serving(tmp_path, *only(listener, "both.test:0"), without_ipv6=True) as run:
        _, logged = run.started()
    assert "::1 is left out" in logged


@pytest.mark.parametrize(
    ("address", "by_ipv6"), [("0.0.0.0:0", False), ("[::]:0", True), ("127.0.0.1:0", False)]
)
@pytest.mark.parametrize("listener", LISTENERS)
def test_any_address_means_the_same_on_both_listeners(
    tmp_path: Path, listener: str, address: str, by_ipv6: bool
) -> None:
    with serving(tmp_path, *only(listener, address)) as run:
        port, _ = run.started()
        assert (takes("127.0.0.1", port), takes("::1", port)) == (True, by_ipv6)


@pytest.mark.parametrize("listener", LISTENERS)
def test_any_address_of_which_a_part_is_taken_ends_the_start(tmp_path: Path, listener: str) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as owner:
        port = owner.getsockname()[1]
        with serving(tmp_path, *only(listener, f"[::]:{port}")) as run:
            assert "Address already in use" in run.refused()


def test_development_mode_on_a_name_of_another_machine_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, "--dev", *only("http", "also.test:0")) as run:
        assert "also.test" in run.refused()


def test_unused_port_is_free_again_after_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, *only("grpc", "0.0.0.0:0")) as run:
        port, _ = run.started()
        with socket.create_server(("::", port), family=socket.AF_INET6):
            pass  # what kept IPv6 out while it started is gone

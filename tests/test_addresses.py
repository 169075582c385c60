"""One address means the same on both listeners, and is bound whole or not at all.

Names are those of a hosts file of the test's own, which the server alone sees (a mount namespace).
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

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


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, without_ipv6: bool = False) -> Generator[subprocess.Popen[str]]:
    """Run `serve` with HOSTS for its names; the other listener is off unless it is named too."""
    hosts = folder / "hosts"
    hosts.write_text(HOSTS, encoding="utf-8")
    command = [sys.executable, "-m", "dashkeeper", "serve", *arguments]
    script = f"mount --bind {shlex.quote(str(hosts))} /etc/hosts && exec {shlex.join(command)}"
    unshare = ["unshare", "--mount"]
    if without_ipv6:
        unshare.append("--net")
        script = f"ip link set lo up && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && {script}"
    environment = {
        "DASHKEEPER_JWT_SECRET": SECRET,
        "DASHKEEPER_JWT_ISSUER": ISSUER,
        "DASHKEEPER_JWT_AUDIENCE": AUDIENCE,
        "DASHKEEPER_LOG_FORMAT": "text",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    process = subprocess.Popen(
        [*unshare, "sh", "-c", script], cwd=folder, env=environment, text=True, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=40)


def only(listener: str, address: str) -> Sequence[str]:
    """The arguments that serve on this address, by this listener alone."""
    other = "grpc" if listener == "http" else "http"
    return [f"--{listener}-address", address, f"--{other}-address", "off"]


def started(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait until it serves; return the port, and what was logged."""
    assert process.stderr is not None
    logged = ""
    for line in process.stderr:
        logged += line
        if found := re.search(r"is served on .*:(\d+)", line):
            return int(found[1]), logged
    raise AssertionError(f"it did not start: {logged}")


def refused(process: subprocess.Popen[str]) -> str:
    """Wait for its end, which must be with exit code 2; return its last line."""
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    return errors.strip().splitlines()[-1]


def takes(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port), timeout=5):
        return True
    return False


@pytest.mark.parametrize("listener", LISTENERS)
def test_name_with_two_addresses_is_served_on_both_on_one_port(tmp_path: Path, listener: str) -> None:
    with serving(tmp_path, *only(listener, "both.test:0")) as process:
        port, _ = started(process)
        assert (takes("127.0.0.1", port), takes("::1", port)) == (True, True)


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("listener", LISTENERS)
def test_name_of_which_one_address_is_taken_ends_the_start(tmp_path: Path, listener: str, taken: str) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as owner:
        port = owner.getsockname()[1]
        with serving(tmp_path, *only(listener, f"both.test:{port}")) as process:
            line = refused(process)
    assert f"{listener.upper()}_ADDRESS both.test:{port}: {taken}: Address already in use" in line


@pytest.mark.parametrize("name", ["partly.test", "also.test"])
@pytest.mark.parametrize("listener", LISTENERS)
def test_address_that_the_machine_lacks_is_left_out_and_logged(
    tmp_path: Path, listener: str, name: str
) -> None:
    with serving(tmp_path, *only(listener, f"{name}:0")) as process:
        port, logged = started(process)
        assert takes("127.0.0.1", port)
    assert f"{name}:{port}: 192.0.2.7 is left out" in logged


@pytest.mark.parametrize("listener", LISTENERS)
def test_name_without_an_address_here_ends_the_start(tmp_path: Path, listener: str) -> None:
    with serving(tmp_path, *only(listener, "elsewhere.test:0")) as process:
        assert "Cannot assign requested address" in refused(process)


@pytest.mark.parametrize("listener", LISTENERS)
def test_machine_without_ipv6_serves_what_it_has(tmp_path: Path, listener: str) -> None:
    with serving(tmp_path, *only(listener, "both.test:0"), without_ipv6=True) as process:
        _, logged = started(process)
    assert "::1 is left out" in logged


@pytest.mark.parametrize(
    ("address", "by_ipv6"), [("0.0.0.0:0", False), ("[::]:0", True), ("127.0.0.1:0", False)]
)
@pytest.mark.parametrize("listener", LISTENERS)
def test_any_address_means_the_same_on_both_listeners(
    tmp_path: Path, listener: str, address: str, by_ipv6: bool
) -> None:
    with serving(tmp_path, *only(listener, address)) as process:
        port, _ = started(process)
        assert (takes("127.0.0.1", port), takes("::1", port)) == (True, by_ipv6)


@pytest.mark.parametrize("listener", LISTENERS)
def test_any_address_of_which_a_part_is_taken_ends_the_start(tmp_path: Path, listener: str) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as owner:
        port = owner.getsockname()[1]
        with serving(tmp_path, *only(listener, f"[::]:{port}")) as process:
            assert "Address already in use" in refused(process)


def test_development_mode_on_a_name_of_another_machine_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, "--dev", *only("http", "also.test:0")) as process:
        assert "also.test" in refused(process)


def test_unused_port_is_free_again_after_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, *only("grpc", "0.0.0.0:0")) as process:
        port, _ = started(process)
        with socket.create_server(("::", port), family=socket.AF_INET6):
            pass  # what kept IPv6 out while it started is gone

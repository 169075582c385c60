"""A process's own view of the machine (Linux namespaces): its names of hosts, its network."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


def enter(hosts: Path, *, without_ipv6: bool) -> None:
    """Let this process find names in this file instead of /etc/hosts, and have 127.0.0.1 alone if told.

    Raises:
        OSError: If it may not.
    """
    _unshare(_NEW_MOUNTS | (_NEW_NETWORK if without_ipv6 else 0))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    if without_ipv6:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"], check=True)


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.unshare came with Python 3.12
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

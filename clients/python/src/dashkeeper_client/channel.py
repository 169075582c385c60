"""How a channel is set up: encryption, retries, load balancing, keepalive."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],  # every method: a write can be repeated because each has a request id
            # While nobody answers, a call waits for a connection, up to its deadline: a restart of the
            # server takes longer than the five attempts that gRPC makes at most.
            "waitForReady": True,
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "backoffMultiplier": 3,
                "maxBackoff": "2s",
                # A server that stops while a call arrives may end it as cancelled.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
}

_OPTIONS: Sequence[tuple[str, int | str]] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.per_rpc_retry_buffer_size", 64 * 1024 * 1024),  # what is larger isn't retried: by default 256 KiB
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 30_000),  # the server takes one every 10 s, with or without calls
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),  # a dashboard is read however large the server let it grow
)


def channel_options(
    options: Sequence[tuple[str, int | str]], *, is_local: bool
) -> list[tuple[str, int | str]]:
    """Return the options of a channel; the caller's own come last and count."""
    # A proxy from the environment has no part in what stays on this machine.
    proxy = [("grpc.enable_http_proxy", 0)] if is_local else []
    return [*_OPTIONS, *proxy, *options]


def channel_credentials(
    target: str, credentials: grpc.ChannelCredentials | None, *, insecure: bool
) -> grpc.ChannelCredentials | None:
    """Return what encrypts the channel; None: plaintext, only on this machine or where told.

    Raises:
        ValueError: If both are asked for.
    """
    if insecure and credentials is not None:
        raise ValueError("a channel with credentials is not insecure: give one or the other")
    if insecure or (credentials is None and is_local(target)):
        return None
    return credentials or grpc.ssl_channel_credentials()


def is_local(target: str) -> bool:
    """Whether every address of a target is on this machine, whatever a name server says."""
    scheme, _, rest = target.partition(":")
    match scheme:
        case "unix" | "unix-abstract":
            return True
        case "dns":
            addresses = [rest.rpartition("/")[2]]
        case "ipv4" | "ipv6":
            addresses = rest.split(",")
        case _:
            addresses = [target]
    return all(_is_loopback(_host(unquote(address))) for address in addresses)


def _host(address: str) -> str:
    match = re.fullmatch(r"\[([^\]]*)\](?::\d+)?|([^:]*)(?::\d+)?", address)
    return (match[1] or match[2] or "") if match else address


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

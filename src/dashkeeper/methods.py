"""What the pipeline and the listeners need to know of an RPC, from its descriptor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext

if TYPE_CHECKING:
    from protobuf import DescMethod

Context: TypeAlias = RequestContext[Any, Any]
"""A call's headers, method and deadline, whatever its messages."""

_STREAM_TYPES = {
    "unary": StreamType.UNARY,
    "client_streaming": StreamType.CLIENT_STREAM,
    "server_streaming": StreamType.SERVER_STREAM,
    "bidi_streaming": StreamType.BIDI_STREAM,
}


def procedure(method: DescMethod) -> str:
    """Return the path of a method, on every protocol: `/package.Service/Method`."""
    return f"/{method.parent.type_name}/{method.name}"


def function_name(method: DescMethod) -> str:
    """Return the name that protoc-gen-connectrpc gives the method's function: snake_case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()


def method_info(method: DescMethod) -> MethodInfo[Any, Any]:
    """Return what connectrpc wants to know of a method."""
    level = method.idempotency
    return MethodInfo(
        name=method.name,
        service_name=method.parent.type_name,
        input=method.input.type,
        output=method.output.type,
        idempotency_level=IdempotencyLevel[level.name] if level else IdempotencyLevel.UNKNOWN,
        stream_type=_STREAM_TYPES[method.method_kind],
    )

"""What the .proto files say of messages and fields: the generated code has it in docstrings alone."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING

from protobuf.plugin import get_comments
from protobuf.wkt import FileDescriptorSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protobuf import DescMessage, Registry


def comment(message: DescMessage) -> str:
    """Return the comment above a message."""
    return get_comments(_source(message)).leading or ""


def field_comments(message: DescMessage) -> Mapping[str, str]:
    """Return the comment above each field of a message."""
    return {field.name: get_comments(field).leading or "" for field in _source(message).fields}


def _source(message: DescMessage) -> DescMessage:
    found = _sources().message(message.type_name)
    if found is None:
        raise ValueError(f"{message.type_name} is not below proto/: run `make generate`")
    return found


@cache
def _sources() -> Registry:
    """Return the descriptors of all files below proto/, with their comments."""
    built = subprocess.run(["buf", "build", "-o", "-"], stdout=subprocess.PIPE, check=True)
    return FileDescriptorSet.from_binary(built.stdout).to_registry()

"""Where in a body, a query or a header the fields of a message stand: for errors in REST's own terms."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from dashkeeper.descriptors import message_of
from dashkeeper.errors import InvalidRequestError
from dashkeeper.gen.registrations.v1.filter_pb import DimensionFilterList
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.gen.registrations.v1.source_pb import OtqlSource
from dashkeeper.transport.rest import dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protobuf import DescFile, DescMessage

    from dashkeeper.paths import Path

PARAMETERS: Mapping[str, str] = {
    "title_contains": "keywords",
    "skip": "first_result",
    "page_size": "max_results",
    "request_id": "Idempotency-Key",
    "change_message": "X-Change-Message",
    "must_be_first": "If-None-Match",
    "etag": "If-Match",
    "content": "",
}
"""What stands for a field of a request, where it isn't the parameter or key of the same name."""

_KEYS: Mapping[tuple[str, str], str] = {
    **{(dialect.DATASET, node): "" for node in (*dialect.NODE_TYPES, "other")},
    **{(dialect.CHART, options): "options" for options in dialect.OPTIONS.values()},
    (dialect.DATASET, "node"): "type",
    (dialect.OTHER_SOURCE, "json"): "",
    (dialect.QUERY_FRAGMENT, "text"): "fragment",
    (dialect.QUERY_FRAGMENT, "filters"): "fragment",
    (DimensionFilterList.desc().type_name, "filters"): "",
    (OtqlSource.desc().type_name, "query"): "query_id",
}
"""The key of a field, or "" for one whose members stand in its parent; oneofs too."""

_REQUESTS = {method.input.type_name for method in RegistrationsService.desc().methods}

_NAME_IN_TEXT = re.compile(rf"\b(?:{'|'.join(name for name in PARAMETERS if '_' in name)})\b")
_BETWEEN = re.compile(r"must be greater than or equal to (\S+) and less than or equal to (\S+)")
_CONSTANT = re.compile(r"\b[A-Z][A-Z]*(?:_[A-Z]+)+\b")


class InOwnTermsError(InvalidRequestError):
    """A request that isn't what a route takes: its paths and words are those of REST already."""


def translated(path: Path, message: DescMessage) -> Path:
    """Return where a field stands in REST: `sources[1].uri` for `join.sources[1].data_file.uri`."""
    result: list[str | int] = []
    at: DescMessage | None = message
    for step in path:
        if isinstance(step, int) or at is None:
            result.append(step)
            continue
        key, at = _step(at, step)
        if key:
            result.append(key)
    return tuple(result)


def in_words(text: str) -> str:
    """Return the text of an error with the words of the REST form in it."""
    text = _BETWEEN.sub(r"must be between \1 and \2", text.replace("value is required", "must not be empty"))
    text = _NAME_IN_TEXT.sub(lambda found: PARAMETERS[found[0]], text)
    return _CONSTANT.sub(lambda found: _constants().get(found[0], found[0]), text)


@cache
def _step(at: DescMessage, name: str) -> tuple[str, DescMessage | None]:
    """Return the key of a field, or of a oneof, and the message that it holds."""
    field = next((field for field in at.fields if field.name == name), None)
    inner = message_of(field) if field is not None else None
    if at.type_name in _REQUESTS:
        return PARAMETERS.get(name, name), inner
    return _KEYS.get((at.type_name, name), name if field is None else dialect.key(field)), inner


@cache
def _constants() -> Mapping[str, str]:
    """Return the words of every enum, quoted, by the names that they have in the .proto."""
    files: dict[str, DescFile] = {}

    def add(file: DescFile) -> None:
        if file.name.startswith("registrations/") and file.name not in files:
            files[file.name] = file
            for dependency in file.dependencies:
                add(dependency)

    add(RegistrationsService.desc().file)
    return {
        value.name: f'"{dialect.words(enum)[value.number]}"'
        for file in files.values()
        for enum in file.enums
        for value in enum.values
        if value.number
    }

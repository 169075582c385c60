"""What a REST call says in its query: each parameter once, none that the route doesn't have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from protobuf import DescFieldValueEnum, DescFieldValueScalar, ScalarType

from dashkeeper.errors import Violation
from dashkeeper.transport.rest import dialect
from dashkeeper.transport.rest.paths import InOwnTermsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protobuf import DescField

_INTEGER = re.compile(r"-?[0-9]{1,9}")
_MAX_PARAMETERS = 100


def parameters(query_string: bytes, fields: Mapping[str, DescField]) -> dict[str, Any]:
    """Return the parameters that were sent, each as its field has it.

    Args:
        query_string: As in the URL.
        fields: The parameters that the route has, and the field that says what each may hold.

    Raises:
        InOwnTermsError: Naming all that is wrong.
    """
    try:
        sent = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError as error:
        raise InOwnTermsError(
            f"the query must be percent-encoded UTF-8, and hold {_MAX_PARAMETERS} parameters at most",
            reason="MALFORMED_REQUEST",
        ) from error
    problems: list[Violation] = []
    result: dict[str, Any] = {}
    for name, text in sent:
        if (field := fields.get(name)) is None:
            known = f"only {', '.join(fields)} can" if fields else "nothing can"
            problems.append(Violation((name,), f"is not a parameter here: {known} be given"))
        elif name in result:
            problems.append(Violation((name,), "must be given once"))
        else:
            value, problem = _value(text, field)
            if problem:
                problems.append(Violation((name,), problem))
            result[name] = value
    if problems:
        raise InOwnTermsError.of(problems)
    return result


def _value(text: str, field: DescField) -> tuple[Any, str]:
    """Return a parameter's value, and what is wrong with it, if anything is."""
    if not text:
        return None, "must not be empty: leave it out"
    match field.value:
        case DescFieldValueEnum():
            allowed = dialect.allowed_words(field)
            found = [number for number, word in allowed.items() if word.lower() == text.lower()]
            return (found[0], "") if found else (None, f"must be one of {', '.join(allowed.values())}")
        case DescFieldValueScalar(scalar=ScalarType.BOOL):
            word = text.lower()
            return word == "true", "" if word in {"true", "false"} else "must be true or false"
        case DescFieldValueScalar(scalar=ScalarType.INT32):
            return (int(text), "") if _INTEGER.fullmatch(text) else (None, "must be an integer")
        case _:
            return text, ""

"""From the seed's JSON to messages: strict, and naming all that is wrong at once."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Any, TypeVar, cast

from protobuf import (
    DescEnum,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    Message,
    ScalarType,
)

from dashkeeper.bounds import MAX_DEPTH, check_items, check_json
from dashkeeper.descriptors import folded
from dashkeeper.errors import MAX_VIOLATIONS, Violation
from dashkeeper.gen.registrations.v1.chart_options_pb import XKey
from dashkeeper.gen.registrations.v1.chart_pb import Chart
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset
from dashkeeper.gen.registrations.v1.filter_pb import DimensionFilterList, QueryFragment
from dashkeeper.gen.registrations.v1.source_pb import OtherSource
from dashkeeper.strict_json import MAX_INTEGER, StrictJSONError, Verbatim, dump, parse
from dashkeeper.transport.rest import dialect
from dashkeeper.transport.rest.paths import InOwnTermsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from protobuf import DescField

    from dashkeeper.paths import Path

M = TypeVar("M", bound=Message)

_MAX_SHOWN = 100
_CHART_FIELDS = dialect.fields(Chart.desc())
_FRAGMENT_FIELDS = dialect.fields(QueryFragment.desc())
_DATASET_FIELDS = dialect.fields(Dataset.desc())
_SERIES_TITLE = _DATASET_FIELDS["series_title"]
_FILTERS = dialect.fields(DimensionFilterList.desc())["filters"]


def read(
    body: bytes,
    message: type[M],
    *,
    mandatory: Collection[str] | None = None,
    ignored: Collection[str] = (),
) -> M:
    """Read a body.

    Args:
        body: The JSON text.
        message: What it is to be read as.
        mandatory: The keys that it must have, where those don't follow from the message.
        ignored: The keys that it may have whatever they hold, and that aren't read.

    Raises:
        InOwnTermsError: Naming all that is wrong with it (a hundred problems at most).
        InvalidRequestError: If it nests deeper than 90.
        ResourceExhaustedError: If it holds too many items.
    """
    values = check_json(body)
    try:
        value = parse(body, max_depth=MAX_DEPTH)
    except StrictJSONError as error:
        raise InOwnTermsError.of(error.problems) from error
    check_items(value, values)
    reader = _Reader()
    desc = message.desc()
    if mandatory is None and not ignored:
        result = reader.message(value, desc, ())
    else:
        result = message()
        fields = {key: field for key, field in dialect.fields(desc).items() if key not in ignored}
        if reader.is_object(value, ()):
            reader.fill(result, fields, value, mandatory or (), (), ignored)
    if reader.problems:
        raise InOwnTermsError.of(reader.problems[:MAX_VIOLATIONS])
    return cast("M", result)


class _Reader:
    """Reads one body, and remembers what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Violation] = []

    def message(self, value: Any, desc: DescMessage, path: Path) -> Message:
        if desc.type_name == dialect.X_KEY and isinstance(value, str):
            return XKey(key=value)
        result = desc.type()
        if not self.is_object(value, path):
            return result
        match desc.type_name:
            case dialect.DATASET:
                return self._dataset(value, path)
            case dialect.CHART:
                return self._chart(value, path)
            case dialect.QUERY_FRAGMENT:
                return self._query_fragment(value, path)
            case _:
                self.fill(result, dialect.fields(desc), value, dialect.mandatory(desc), path)
                return result

    def fill(
        self,
        message: Message,
        fields: Mapping[str, DescField],
        value: dict[str, Any],
        mandatory: Collection[str],
        path: Path,
        ignored: Collection[str] = (),
    ) -> None:
        """Set a message's fields to an object's members, but for those ignored."""
        first_of: dict[str, str] = {}
        spellings = dialect.second_spellings(message.desc())
        for key, inner in value.items():
            if key in ignored:
                continue
            field = fields.get(spellings.get(key, key))
            if field is None:
                self._problem((*path, key), "is not a key here: leave it out")
            elif inner is None:
                self._problem((*path, key), "must not be null: leave it out")
            elif (first := first_of.setdefault(field.name, key)) != key:
                self._problem((*path, key), f"says the same as {first}: leave one of them out")
            else:
                oneof = getattr(field.value, "oneof", None)
                choice = field.name if oneof is None else oneof.name
                if (first := first_of.setdefault(choice, key)) != key:
                    self._problem((*path, key), f"must not stand beside {first}: leave one of them out")
                    continue
                read = self._field(inner, field, (*path, key))
                if read is not None:
                    message[field] = read
        self._check_mandatory(value, mandatory, path)

    def is_object(self, value: Any, path: Path) -> bool:
        """Tell whether a value is an object, and remember if it isn't."""
        if not isinstance(value, dict):
            self._problem(path, "must be an object")
        return isinstance(value, dict)

    def _check_mandatory(self, value: dict[str, Any], mandatory: Collection[str], path: Path) -> None:
        for key in sorted(mandatory):
            if key not in value:
                self._problem((*path, key), "is missing")

    def _chart(self, value: dict[str, Any], path: Path) -> Message:
        chart = Chart()
        self.fill(chart, _BASE_OF_CHART, value, dialect.mandatory(Chart.desc()), path, ignored=("options",))
        if (options := value.get("options", _ABSENT)) is _ABSENT:
            return chart
        path = (*path, "options")
        if options is None:
            self._problem(path, "must not be null: leave it out")
        elif chart.type in dialect.OPTIONS:  # else the type is at fault, and that is said
            field = _CHART_FIELDS[dialect.OPTIONS[chart.type]]
            chart[field] = self._field(options, field, path)
        return chart

    def _dataset(self, value: dict[str, Any], path: Path) -> Message:
        dataset = Dataset()
        name = value.get("type", _ABSENT)
        if name is _ABSENT:
            self._problem((*path, "type"), "is missing")
            return dataset
        if not isinstance(name, str) or not folded(name):
            self._problem((*path, "type"), "must be the name of a data source or of a transformation")
            return dataset
        if (known := dialect.NODES.get(folded(name))) is None:
            return self._other_source(dataset, name, value, path)
        node = _DATASET_FIELDS[known]
        assert isinstance(node.value, DescFieldValueMessage)
        desc = node.value.message
        if "series_title" in value:
            self.fill(
                dataset, {"series_title": _SERIES_TITLE}, {"series_title": value["series_title"]}, (), path
            )
        inner = desc.type()
        self.fill(
            inner,
            dialect.fields(desc),
            value,
            dialect.mandatory(desc),
            path,
            ignored=("type", "series_title"),
        )
        dataset[node] = inner
        return dataset

    def _other_source(self, dataset: Dataset, name: str, value: dict[str, Any], path: Path) -> Dataset:
        """Keep a data source that this API doesn't know as it is, keys in their order, numbers as written."""
        if "sources" in value:
            known = ", ".join(dialect.TRANSFORMATIONS.values())
            self._problem(
                (*path, "type"),
                f'"{_shown(name)}" is not a transformation, and has sources: use {known}',
            )
        title = {"series_title": value["series_title"]} if "series_title" in value else {}
        self.fill(dataset, {"series_title": _SERIES_TITLE}, title, (), path)
        rest = {key: inner for key, inner in value.items() if key not in {"type", "series_title"}}
        dataset[_DATASET_FIELDS["other"]] = OtherSource(type=name, json=dump(rest) if rest else "")
        return dataset

    def _query_fragment(self, value: dict[str, Any], path: Path) -> Message:
        fragment = QueryFragment()
        mandatory = (*dialect.mandatory(QueryFragment.desc()), "fragment")
        self.fill(fragment, _BASE_OF_FRAGMENT, value, mandatory, path, ignored=("fragment",))
        fragment.type = dialect.FRAGMENT_TYPES.get(folded(fragment.type), fragment.type)
        what, path = value.get("fragment", _ABSENT), (*path, "fragment")
        if isinstance(what, str):
            fragment[_FRAGMENT_FIELDS["text"]] = what
        elif isinstance(what, list):
            filters = DimensionFilterList()
            filters[_FILTERS] = self._field(what, _FILTERS, path)
            fragment[_FRAGMENT_FIELDS["filters"]] = filters
        elif what is not _ABSENT:
            self._problem(path, "must be a string or a list of dimension filters")
        return fragment

    def _field(self, value: Any, field: DescField, path: Path) -> Any:
        """Return a member's value as its field has it, or None where it can't have it."""
        match field.value:
            case DescFieldValueMessage(message=desc):
                return self.message(value, desc, path)
            case DescFieldValueEnum():
                return self._word(value, field, path)
            case DescFieldValueList(element=element):
                if not isinstance(value, list):
                    self._problem(path, "must be a list")
                    return None
                items = [
                    self._item(item, element, field, (*path, index))
                    for index, item in enumerate(cast("list[Any]", value))
                ]
                return [item for item in items if item is not None]
            case DescFieldValueScalar(scalar=scalar):
                if (field.parent.type_name, field.name) in dialect.NUMBER_OR_TEXT and _is_integer(value):
                    number = self._number(value, path)
                    return None if number is None else str(int(number))
                return self._scalar(value, scalar, path)
            case _:
                raise TypeError(f"{field.name} is of a kind that no message of the REST form has")

    def _item(self, value: Any, element: Any, field: DescField, path: Path) -> Any:
        if isinstance(element, DescMessage):
            return self.message(value, element, path)
        if isinstance(element, DescEnum):
            return self._word(value, field, path)
        return self._scalar(value, element, path)

    def _word(self, value: Any, field: DescField, path: Path) -> Any:
        allowed = dialect.allowed_words(field)
        if isinstance(value, str):
            for number, word in allowed.items():
                if word.lower() == value.lower():  # not upper(): other letters become these
                    return number
        known = ", ".join(f'"{word}"' for word in allowed.values())
        self._problem(path, f"must be {'one of ' if len(allowed) > 1 else ''}{known}")
        return None

    def _scalar(self, value: Any, scalar: ScalarType, path: Path) -> Any:
        match scalar:
            case ScalarType.STRING if isinstance(value, str):
                return value
            case ScalarType.STRING:
                self._problem(path, "must be a string")
            case ScalarType.BOOL if isinstance(value, bool):
                return value
            case ScalarType.BOOL:
                self._problem(path, "must be true or false")
            case ScalarType.DOUBLE if isinstance(value, Verbatim):
                return self._number(value, path)
            case ScalarType.DOUBLE:
                self._problem(path, "must be a number")
            case _ if isinstance(value, Verbatim):
                if (number := self._number(value, path)) is None:
                    return None
                if not number.is_integer():  # 4.0 is 4
                    self._problem(path, "must be an integer")
                elif -(2**31) <= number < 2**31:
                    return int(number)
                else:
                    self._problem(path, f"must be an integer from {-(2**31)} to {2**31 - 1}")
            case _:
                self._problem(path, "must be an integer")
        return None

    def _number(self, value: Verbatim, path: Path) -> float | None:
        """Return a number where a double is exactly what was written, or as near as may be to a fraction."""
        number = float(value.text)
        if _is_integer(value) and abs(number) > MAX_INTEGER:
            self._problem(path, f"must be an integer from -{MAX_INTEGER} to {MAX_INTEGER}")
        elif isinf(number):
            self._problem(path, "is a number beyond a double")
        else:
            return number
        return None

    def _problem(self, path: Path, description: str) -> None:
        self.problems.append(Violation(path, description))


_ABSENT: Any = object()
_BASE_OF_CHART = {key: field for key, field in _CHART_FIELDS.items() if key not in dialect.OPTIONS.values()}
_BASE_OF_FRAGMENT = {key: _FRAGMENT_FIELDS[key] for key in ("type", "starting_object_type")}


def _is_integer(value: Any) -> bool:
    return isinstance(value, Verbatim) and value.text.lstrip("-").isdigit()


def _shown(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"

"""Requests that break the rules of registrations.v1, each rule by itself, as plain data.

Each is a request of `registration_requests` with one value changed, as in `broken_rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.cases import ABSENT, Case, name_of
from tests.registration_requests import (
    ANALYTICS,
    AREA,
    AT_CARD,
    AT_METRIC,
    AT_PIE,
    AT_RADAR,
    DATA_FILE,
    DATES,
    DECORATORS,
    DIMENSION_FILTER,
    FILTER,
    FIRST_FILTER,
    FRAGMENTS,
    INDEX,
    METRIC,
    METRIC_FILTER,
    OPTIONS,
    OTHER,
    OTQL,
    OTQL_TEXT,
    QUERY_TEXT,
    RATIO,
    REDUCE,
    REPORT,
    REQUESTS,
    TO_LIST,
    TO_PERCENTAGES,
    changed,
)
from tests.texts import CONTROL_CHARACTERS, CONTROL_CHARACTERS_BUT_BREAKS, INVISIBLE, LINES, VISIBLE

if TYPE_CHECKING:
    from collections.abc import Iterable

IDS = {method: "id" for method in REQUESTS if "id" in REQUESTS[method]}
WRITES = [method for method in REQUESTS if "requestId" in REQUESTS[method]]

# The texts: where they are, how many characters they may have, and whether they may be empty and absent.
REQUIRED_TEXTS: list[tuple[str, str, int]] = [
    *((method, path, 64) for method, path in IDS.items()),
    ("RestoreContent", "content_id", 128),
    ("Create", "title", 200),
    ("Create", "organisation_id", 128),
    ("Create", "community_id", 128),
    ("List", "organisation_id", 128),
    *(
        ("UpdateContent", path, limit)
        for path, limit in {
            f"{FIRST_FILTER}.technical_name": 200,
            f"{FRAGMENTS}[1].type": 128,
            f"{FRAGMENTS}[1].filters.filters[0].dimension_name": 200,
            f"{REPORT}.dimensions[0].name": 200,
            f"{REPORT}.metrics[0].expression": 1000,
            f"{DIMENSION_FILTER}.dimension_name": 200,
            f"{METRIC_FILTER}.metric_name": 1000,
            f"{REPORT}.order_by.field_name": 1000,
            f"{DATA_FILE}.uri": 2000,
            f"{OTHER}.type": 128,
            f"{OPTIONS['pie']}.data_labels.filter.property": 100,
        }.items()
    ),
]
# Those that are absent or not empty.
OPTIONAL_IDS: dict[str, int] = {
    f"{FRAGMENTS}[0].starting_object_type": 200,
    f"{ANALYTICS}.datamart_id": 128,
    f"{OTQL}.query_id": 128,
    f"{OTQL}.datamart_id": 128,
    f"{DATES}.date_options.format": 100,
    f"{DATES}.date_options.buckets.format": 100,
    f"{OPTIONS['bars']}.x_key.key": 200,
}
OPTIONAL_TEXTS: list[tuple[str, str, int]] = [
    *((method, "etag", 128) for method in WRITES if method != "Create"),
    ("Update", "title", 200),
    ("Update", "dashboard_content_id", 128),
    ("GetContent", "content_id", 128),
    *(("List", path, 128) for path in ["community_id", "segment_id"]),
    ("List", "title_contains", 200),
    *((method, "page_token", 2048) for method in ["List", "ListContents"]),
    *(
        ("UpdateContent", path, limit)
        for path, limit in {
            "content.sections[0].title": 200,
            f"{FIRST_FILTER}.title": 200,
            f"{AT_PIE}.title": 200,
            f"{INDEX}.sources[0].series_title": 200,
            f"{REPORT}.metrics[0].alias": 200,
            f"{DIMENSION_FILTER}.expressions[1]": 1000,
            f"{METRIC_FILTER}.expressions[0]": 1000,
            f"{DATA_FILE}.json_path": 2000,
        }.items()
    ),
]
# Queries: counted in bytes, with tabs and line breaks.
LONG_TEXTS = [f"{FIRST_FILTER}.values_query", f"{FRAGMENTS}[0].text", QUERY_TEXT]
ID_LISTS = [(method, name) for method in ["Create", "Update"] for name in ["segment_ids", "builder_ids"]]
ID_ITEMS = [(method, f"{name}[1]") for method, name in ID_LISTS]

UUID = "550e8400-e29b-41d4-a716-446655440000"
BAD_UUIDS = ["again", UUID.replace("-", ""), f"{{{UUID}}}", f"{UUID}\n"]
BAD_DATES = [ABSENT, "", "yesterday", "2026-1-31", "2026-01-31 10:00", "now-7", "now-7d/", "now/d\n", "NOW"]
NOT_FINITE = ["NaN", "Infinity", "-Infinity"]

# Enums that may be absent, with the first word, which stands for nothing.
ENUMS: dict[str, str] = {
    f"{FIRST_FILTER}.values_retrieve_method": "VALUES_RETRIEVE_METHOD_UNSPECIFIED",
    f"{AT_CARD}.layout": "LAYOUT_UNSPECIFIED",
    f"{REPORT}.dimension_filter_clauses.operator": "BOOLEAN_OPERATOR_UNSPECIFIED",
    f"{REPORT}.metric_filter_clauses.operator": "BOOLEAN_OPERATOR_UNSPECIFIED",
    f"{DIMENSION_FILTER}.operator": "DIMENSION_FILTER_OPERATOR_UNSPECIFIED",
    f"{METRIC_FILTER}.operator": "METRIC_FILTER_OPERATOR_UNSPECIFIED",
    f"{REPORT}.order_by.sort_order": "SORT_ORDER_UNSPECIFIED",
    f"{OTQL}.precision": "PRECISION_UNSPECIFIED",
    f"{INDEX}.options.sort": "INDEX_SORT_UNSPECIFIED",
    f"{DECORATORS}.decorators_options.model_type": "MODEL_TYPE_UNSPECIFIED",
    f"{DECORATORS}.decorators_options.buckets.model_type": "MODEL_TYPE_UNSPECIFIED",
    **{f"{options}.legend.position": "LEGEND_POSITION_UNSPECIFIED" for options in OPTIONS.values()},
    f"{OPTIONS['pie']}.legend.layout": "LAYOUT_UNSPECIFIED",
    f"{OPTIONS['bars']}.type": "BARS_TYPE_UNSPECIFIED",
    f"{OPTIONS['area']}.type": "AREA_TYPE_UNSPECIFIED",
    f"{OPTIONS['bars']}.x_key.mode": "X_KEY_MODE_UNSPECIFIED",
}
# What a format can't be, by its place.
CHART_FORMATS = {
    name: f"CHART_FORMAT_{name}" for name in ["UNSPECIFIED", "PERCENTAGE", "COUNT", "INDEX", "FLOAT"]
}
FORMATS: dict[str, set[str]] = {
    f"{OPTIONS['pie']}.format": {"PERCENTAGE", "COUNT"},
    f"{OPTIONS['bars']}.format": {"PERCENTAGE", "INDEX", "COUNT"},
    f"{OPTIONS['radar']}.format": {"PERCENTAGE", "COUNT"},
    f"{OPTIONS['area']}.format": {"PERCENTAGE", "INDEX", "COUNT"},
    f"{AT_METRIC}.metric_options.format": {"PERCENTAGE", "COUNT", "FLOAT"},
    f"{OPTIONS['area']}.tooltip.format": {"PERCENTAGE", "INDEX", "COUNT"},
    f"{OPTIONS['radar']}.data_labels.format": {"PERCENTAGE", "INDEX", "COUNT"},
}
# The most items of each list, with one of them.
LISTS: dict[str, tuple[int, Any]] = {
    "content.sections": (200, {}),
    "content.sections[0].cards": (1000, {"w": 1, "h": 1}),
    f"{FRAGMENTS}": (100, FILTER["queryFragments"][0]),
    f"{FRAGMENTS}[1].filters.filters": (100, {"dimensionName": "a"}),
    f"{AT_PIE}.colors": (100, "#000000"),
    f"{REPORT}.dimensions": (100, {"name": "a"}),
    f"{REPORT}.metrics": (100, {"expression": "a"}),
    f"{REPORT}.date_ranges": (100, {"startDate": "now", "endDate": "now"}),
    f"{REPORT}.dimension_filter_clauses.filters": (100, {"dimensionName": "a"}),
    f"{REPORT}.metric_filter_clauses.filters": (100, {"metricName": "a"}),
    f"{DIMENSION_FILTER}.expressions": (1000, "a"),
    f"{METRIC_FILTER}.expressions": (1000, "a"),
    f"{TO_LIST}.sources": (100, OTQL_TEXT),
    f"{AT_RADAR}.dataset.join.sources": (100, OTQL_TEXT),
}
FILTERS = [{"technicalName": str(number), "valuesQuery": "SELECT"} for number in range(101)]
# Lists whose length is for the code to say, within what any list may hold.
SOURCES = [f"{node}.sources" for node in [TO_PERCENTAGES, INDEX, RATIO, REDUCE, DATES, DECORATORS]]
# Lists that must hold something.
NOT_EMPTY = [
    f"{FRAGMENTS}[1].filters.filters",
    f"{REPORT}.metrics",
    f"{REPORT}.dimension_filter_clauses.filters",
    f"{REPORT}.metric_filter_clauses.filters",
]
# The least and the most of each number.
INT32 = 2**31 - 1
NUMBERS: dict[tuple[str, str], tuple[float, float]] = {
    ("List", "page_size"): (0, INT32),
    ("List", "skip"): (0, 10_000),
    ("ListContents", "page_size"): (0, INT32),
    **{
        ("UpdateContent", path): bounds
        for path, bounds in {
            f"{AT_CARD}.y": (0, 10_000),
            f"{AT_CARD}.h": (1, 1_000),
            **{f"{options}.height": (1, 10_000) for options in OPTIONS.values()},
            f"{INDEX}.options.minimum_percentage": (0, 100),
            f"{INDEX}.options.limit": (1, INT32),
            f"{REPORT}.first_result": (0, INT32),
            f"{REPORT}.max_result": (0, INT32),
        }.items()
    },
}
DOUBLES = [
    f"{INDEX}.options.minimum_percentage",
    f"{REPORT}.sample_factor",
    f"{OPTIONS['pie']}.size",
    f"{OPTIONS['pie']}.data_labels.distance",
    f"{OPTIONS['pie']}.data_labels.filter.value",
    f"{OPTIONS['bars']}.plot_line_value",
    f"{OPTIONS['area']}.plot_line_value",
]

# The rules of single values: each value at this place is reported at this place.
BROKEN_VALUES: list[tuple[str, str, Iterable[Any]]] = [
    *(
        (method, path, [ABSENT, "", "x" * (limit + 1), *CONTROL_CHARACTERS])
        for method, path, limit in REQUIRED_TEXTS
    ),
    *((method, path, ["x" * (limit + 1), *CONTROL_CHARACTERS]) for method, path, limit in OPTIONAL_TEXTS),
    *(
        ("UpdateContent", path, ["", "x" * (limit + 1), *CONTROL_CHARACTERS])
        for path, limit in OPTIONAL_IDS.items()
    ),
    *(("UpdateContent", path, ["", "é" * 50_001, *CONTROL_CHARACTERS_BUT_BREAKS]) for path in LONG_TEXTS),
    *((method, "change_message", ["x" * 501, *CONTROL_CHARACTERS_BUT_BREAKS]) for method in WRITES),
    *((method, path, ["", "x" * 129, *CONTROL_CHARACTERS]) for method, path in ID_ITEMS),
    *((method, "title", INVISIBLE) for method in ["Create", "Update"]),
    *((method, "request_id", BAD_UUIDS) for method in WRITES),
    ("UpdateContent", f"{FIRST_FILTER}.values_query", ["701", " 7 ", "\n", "0\r\n"]),
    *((method, "scopes[0]", [0, 4, -1]) for method in ["Create", "Update"]),
    *((method, name, [[str(number) for number in range(1_001)]]) for method, name in ID_LISTS),
    (
        "Update",
        "update_mask",
        ["id", "name", "etag", "organisationId", "title,communityId", "title.a", ",".join(["title"] * 33)],
    ),
    *(("UpdateContent", path, [word, 99, -1]) for path, word in ENUMS.items()),
    ("UpdateContent", f"{AT_PIE}.type", [ABSENT, "CHART_TYPE_UNSPECIFIED", 6]),
    ("UpdateContent", f"{REDUCE}.reduce_options.type", [ABSENT, "REDUCE_TYPE_UNSPECIFIED", 8]),
    *(
        ("UpdateContent", path, [5, *(word for name, word in CHART_FORMATS.items() if name not in allowed)])
        for path, allowed in FORMATS.items()
    ),
    *(("UpdateContent", path, [[item] * (most + 1)]) for path, (most, item) in LISTS.items()),
    ("UpdateContent", "content.available_filters", [FILTERS]),
    *(("UpdateContent", path, [[]]) for path in NOT_EMPTY),
    *(("UpdateContent", path, [[], [OTQL_TEXT] * 3, [OTQL_TEXT] * 101]) for path in SOURCES),
    *(
        (method, path, [value for value in (least - 1, most + 1) if value <= INT32])
        for (method, path), (least, most) in NUMBERS.items()
    ),
    *(("UpdateContent", path, NOT_FINITE) for path in DOUBLES),
    ("UpdateContent", f"{AT_CARD}.x", [-1, 12]),
    ("UpdateContent", f"{AT_CARD}.w", [ABSENT, 0, -1, 13]),
    ("UpdateContent", f"{REPORT}.sample_factor", [0, -0.5, 1.0000001]),
    ("UpdateContent", f"{OPTIONS['pie']}.size", [0, -1]),
    ("UpdateContent", f"{OPTIONS['pie']}.data_labels.filter.operator", [ABSENT, "", "=", "<>", "> "]),
    (
        "UpdateContent",
        f"{AT_PIE}.colors[1]",
        ["", "red", "#00A1D", "#00A1DFF", "00A1DF", "#00A1DG", "#00A1DF\n"],
    ),
    *(("UpdateContent", f"{REPORT}.date_ranges[0].{end}", BAD_DATES) for end in ["start_date", "end_date"]),
    *(
        ("UpdateContent", path, [ABSENT])
        for path in [
            "content",
            f"{AT_PIE}.dataset",
            REPORT,
            f"{DATES}.date_options",
            f"{DECORATORS}.decorators_options",
            f"{REDUCE}.reduce_options",
        ]
    ),
    *(
        ("UpdateContent", path, [{}])
        for path in [
            f"{DATES}.date_options",
            f"{DATES}.date_options.buckets",
            f"{DECORATORS}.decorators_options",
            f"{DECORATORS}.decorators_options.buckets",
        ]
    ),
]

# Rules between fields: what is changed, and where it is reported.
BROKEN_RELATIONS: list[tuple[str, dict[str, Any], str]] = [
    *(("List", {"scope": scope, "segment_id": ABSENT}, "scope") for scope in [4, -1, INT32]),
    ("Update", {"title": ABSENT}, "title"),
    ("Update", {"title": "", "update_mask": "*"}, "title"),
    ("List", {"scope": ABSENT}, "segment_id"),
    ("Create", {"dashboard_content_id": "content_1"}, "dashboard_content_id"),
    ("List", {"scope": "SCOPE_BUILDERS"}, "segment_id"),
    ("List", {"scope": "SCOPE_HOME", "segment_id": ABSENT, "builder_id": "1"}, "builder_id"),
    ("UpdateContent", {f"{AT_CARD}.x": 5}, AT_CARD),
    ("UpdateContent", {f"{AT_CARD}.x": 11, f"{AT_CARD}.w": 2}, AT_CARD),
    ("UpdateContent", {f"{AT_PIE}.type": "CHART_TYPE_BARS"}, AT_PIE),
    ("UpdateContent", {f"{AT_METRIC}.metric_options": ABSENT, f"{AT_METRIC}.area_options": {}}, AT_METRIC),
    ("UpdateContent", {f"{FRAGMENTS}[0].type": "activities_analytics"}, f"{FRAGMENTS}[0]"),
    ("UpdateContent", {f"{FRAGMENTS}[1].type": "OTQL"}, f"{FRAGMENTS}[1]"),
    ("UpdateContent", {f"{FRAGMENTS}[1].type": "data_file"}, f"{FRAGMENTS}[1]"),
    ("UpdateContent", {f"{FRAGMENTS}[1].filters": ABSENT}, f"{FRAGMENTS}[1].fragment"),
    ("UpdateContent", {f"{OTQL}.query_id": ABSENT}, f"{OTQL}.query"),
    ("UpdateContent", {f"{RATIO}.sources[0]": {"seriesTitle": "a"}}, f"{RATIO}.sources[0].node"),
]

# Rules that the server checks in code: the changes, and all that is reported.
CODE_VALUES: list[tuple[str, dict[str, Any], set[str]]] = [
    *(
        (method, {"segment_ids": [], "scopes": ["SCOPE_HOME", "SCOPE_BUILDERS", "SCOPE_HOME"]}, {"scopes[2]"})
        for method in ["Create", "Update"]
    ),
    *((method, {name: ["1", "2", "1", "2"]}, {f"{name}[2]", f"{name}[3]"}) for method, name in ID_LISTS),
    ("Create", {"scopes": ["SCOPE_HOME", "SCOPE_SEGMENTS"]}, {"builder_ids"}),
    ("Create", {"scopes": ["SCOPE_BUILDERS"]}, {"segment_ids"}),
    ("Create", {"scopes": []}, {"segment_ids", "builder_ids"}),
    (
        "UpdateContent",
        {"content.available_filters[1].technical_name": "channels"},
        {"content.available_filters[1].technical_name"},
    ),
    ("UpdateContent", {f"{FRAGMENTS}[1].type": "activities-analytics"}, {f"{FRAGMENTS}[1].type"}),
    ("UpdateContent", {f"{OTHER}.type": "Data-Ingestion"}, {f"{OTHER}.type"}),
    ("UpdateContent", {f"{OTHER}.json": "[]"}, {f"{OTHER}.json"}),
    (
        "UpdateContent",
        {f"{AT_PIE}.type": "CHART_TYPE_AREA", f"{AT_PIE}.pie_options": ABSENT},
        {f"{AT_PIE}.dataset"},
    ),
    ("UpdateContent", {f"{RATIO}.sources[1]": AREA["dataset"]}, {f"{RATIO}.sources[1]"}),
    ("UpdateContent", {f"{DATES}.sources[0]": METRIC["dataset"]}, {f"{DATES}.sources[0]"}),
]

BROKEN_TOGETHER: list[tuple[str, dict[str, Any], set[str]]] = [
    (
        "Create",
        {
            "title": "",
            "scopes": ["SCOPE_HOME", 9, "SCOPE_HOME"],
            "community_id": ABSENT,
            "dashboard_content_id": "a",
        },
        {
            "title",
            "scopes[1]",
            "scopes[2]",
            "community_id",
            "dashboard_content_id",
            "segment_ids",
            "builder_ids",
        },
    ),
    (
        "UpdateContent",
        {
            "id": "",
            "etag": "a\n",
            "content.sections[0].title": "x" * 201,
            f"{AT_CARD}.x": 12,
            f"{AT_CARD}.h": 0,
            f"{AT_CARD}.charts[2].type": "CHART_TYPE_PIE",
            f"{OTHER}.type": "OTQL",
            f"{OTHER}.json": "{",
            f"{RATIO}.sources[1]": AREA["dataset"],
            f"{AT_PIE}.colors[0]": "red",
        },
        {
            "id",
            "etag",
            "content.sections[0].title",
            f"{AT_CARD}.x",
            f"{AT_CARD}.h",
            AT_RADAR,
            f"{AT_RADAR}.dataset",
            f"{OTHER}.type",
            f"{OTHER}.json",
            f"{RATIO}.sources[1]",
            f"{AT_PIE}.colors[0]",
        },
    ),
]

BROKEN_RULES: list[Case] = [
    *(
        Case(f"{method}-{path}-{name_of(value)}", method, changed(method, {path: value}), frozenset({path}))
        for method, path, values in BROKEN_VALUES
        for value in values
    ),
    *(
        Case(f"{method}-{name_of(changes)}", method, changed(method, changes), frozenset({path}))
        for method, changes, path in BROKEN_RELATIONS
    ),
    *(
        Case(f"{method}-{name_of(changes)}", method, changed(method, changes), frozenset(paths))
        for method, changes, paths in CODE_VALUES + BROKEN_TOGETHER
    ),
]

# Values at the edge of their rules.
VALID_VALUES: list[tuple[str, str, Iterable[Any]]] = [
    *(
        (method, path, ["x", "é" * limit])
        for method, path, limit in REQUIRED_TEXTS
        if path != f"{FRAGMENTS}[1].type"
    ),
    *(
        (method, path, [ABSENT, "", "é" * (limit if path != "page_token" else 1_024)])
        for method, path, limit in OPTIONAL_TEXTS
        if path != "title" and "[" not in path.rpartition(".")[2]
    ),
    *(("UpdateContent", path, ["0", "é" * limit]) for path, limit in OPTIONAL_IDS.items()),
    *(("UpdateContent", path, ["é" * 50_000, "\t\r\na 1"]) for path in LONG_TEXTS),
    *((method, "change_message", [ABSENT, "", "😀" * 500, *LINES]) for method in WRITES),
    *((method, "title", VISIBLE) for method in ["Create", "Update"]),
    ("UpdateContent", f"{FIRST_FILTER}.values_query", ["701a", "7 0", "٣"]),
    *((method, name, [[], [str(number) for number in range(1_000)]]) for method, name in ID_LISTS),
    *(("UpdateContent", path, [ABSENT]) for path in ENUMS if not path.endswith(".buckets.model_type")),
    *(
        ("UpdateContent", path, [ABSENT, *(CHART_FORMATS[name] for name in sorted(allowed))])
        for path, allowed in FORMATS.items()
    ),
    *(("UpdateContent", path, [[item] * most]) for path, (most, item) in LISTS.items()),
    *((method, path, [least, most]) for (method, path), (least, most) in NUMBERS.items()),
    *(("UpdateContent", path, [5e-324, 0.1, 1]) for path in DOUBLES),
    ("UpdateContent", f"{OPTIONS['bars']}.plot_line_value", [-1.7976931348623157e308, -0.0]),
    (
        "UpdateContent",
        f"{REPORT}.date_ranges[0].start_date",
        ["now", "now-1M+2d/M", "2026-01-31", "2026-01-31T10:00:00.123+02:00"],
    ),
    ("UpdateContent", "content", [{}]),
    ("UpdateContent", "content.available_filters", [[], FILTERS[:100]]),
    ("UpdateContent", AT_CARD, [{"x": 11, "w": 1, "h": 1}, {"w": 12, "h": 1_000, "y": 10_000}]),
    ("UpdateContent", OTHER, [{"type": "a"}, {"type": "a", "json": "{}"}]),
    ("Update", "update_mask", [ABSENT, "*", "title"]),
]
VALID_REQUESTS: list[Case] = [
    *(Case(f"{method}-full", method, changed(method, {})) for method in REQUESTS),
    Case("Create-least", "Create", {"title": "a", "organisationId": "1", "communityId": "1"}),
    Case("Update-least", "Update", {"id": "reg_1"}),
    Case("List-least", "List", {"organisationId": "1"}),
    Case("UpdateContent-least", "UpdateContent", {"id": "reg_1", "content": {}}),
    *(
        Case(f"{method}-{path}-{name_of(value)}", method, changed(method, {path: value}))
        for method, path, values in VALID_VALUES
        for value in values
    ),
]

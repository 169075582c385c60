"""Requests that break the rules of dashboards.v1, each rule by itself, as plain data.

Each request is a complete and valid one with one value changed. It is written in ProtoJSON; places
are written as the violations name them, such as `tiles[0].position.w` or `labels["Env"]`. Some rules
between fields are reported at the message that holds them; an empty path is the request itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.cases import ABSENT, Case, altered, name_of
from tests.texts import CONTROL_CHARACTERS, CONTROL_CHARACTERS_BUT_BREAKS, INVISIBLE, LINES, VISIBLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.cases import Request

WRITE: Request = {
    "requestId": "550e8400-e29b-41d4-a716-446655440000",
    "changeMessage": "growth review",
    "validateOnly": True,
}
EQUALS: Request = {"property": "plan", "operator": "OPERATOR_EQUALS", "value": "pro"}
IN: Request = {"property": "plan", "operator": "OPERATOR_IN", "values": ["pro", "team"]}
INSIGHT: Request = {
    "query": {
        "events": [{"name": "signup_started", "filters": [EQUALS, IN]}, {"name": "signup_completed"}],
        "timeRange": {"start": "2026-05-01T00:00:00Z", "end": "2026-06-01T00:00:00Z"},
        "granularity": "GRANULARITY_DAY",
        "aggregation": "AGGREGATION_SUM",
        "aggregationProperty": "revenue",
        "breakdown": {"property": "$geo.country"},
        "filters": [EQUALS, IN],
        "conversionWindow": "604800s",
    },
    "visualization": "VISUALIZATION_LINE",
}
MARKDOWN: Request = {"content": "# Weekly goals\n\n\t- Hit 10k DAU\r\n"}
INSIGHT_TILE: Request = {
    "id": "tile_001",
    "type": "TILE_TYPE_INSIGHT",
    "title": "Signups",
    "position": {"x": 1, "y": 0, "w": 6, "h": 4},
    "insight": INSIGHT,
}
MARKDOWN_TILE: Request = {
    "id": "tile_002",
    "type": "TILE_TYPE_MARKDOWN",
    "title": "Goals",
    "position": {"x": 7, "y": 0, "w": 5, "h": 2},
    "markdown": MARKDOWN,
}
NEW_TILE: Request = {key: value for key, value in MARKDOWN_TILE.items() if key != "id"}

# A valid request to each RPC with every field set.
REQUESTS: dict[str, Request] = {
    "List": {
        "pageSize": 50,
        "pageToken": "AbC-_0=",
        "orderBy": "name desc",
        "labels": {"env": "prod", "team": ""},
        "labelKeys": ["env", "owner"],
        "namePrefix": "Gro",
        "nameContains": "kpi",
        "showDeleted": True,
    },
    "Get": {"id": "dash_abc123"},
    "Create": WRITE
    | {
        "name": "Growth KPIs",
        "dashboardId": "dash_abc123",
        "description": "what growth looks at",
        "labels": {"env": "prod", "team": ""},
        "tiles": [INSIGHT_TILE, MARKDOWN_TILE],
    },
    "Update": WRITE
    | {
        "id": "dash_abc123",
        "name": "Growth KPIs",
        "description": "what growth looks at",
        "labels": {"env": "prod", "team": ""},
        "updateMask": "name,description,labels",
        "etag": "1-abc",
    },
    "Upsert": WRITE
    | {
        "dashboardId": "dash_abc123",
        "tiles": [INSIGHT_TILE, MARKDOWN_TILE],
        "allowMissing": True,
        "name": "Growth KPIs",
        "maxDeletions": 3,
        "etag": "1-abc",
    },
    "Delete": WRITE | {"id": "dash_abc123", "etag": "1-abc"},
    "Undelete": WRITE | {"id": "dash_abc123", "etag": "1-abc"},
}


def changed(method: str, changes: dict[str, Any]) -> Request:
    """Return the full request of an RPC with other values at some places."""
    return altered(REQUESTS[method], changes)


def at_key(key: str) -> str:
    return f"labels[{json.dumps(key, ensure_ascii=False)}]"


# The texts: where they are, and how many characters they may have.
QUERY = "tiles[0].insight.query"
FILTER = f"{QUERY}.filters[0]"
RANGE = f"{QUERY}.time_range"
START, END = {"start": "2026-05-01T00:00:00Z"}, {"end": "2026-06-01T00:00:00Z"}
TEXTS: dict[str, dict[str, int]] = {
    "List": {"page_token": 2048, "name_prefix": 200, "name_contains": 200, at_key("env"): 128},
    "Create": {
        "name": 200,
        "description": 2000,
        at_key("env"): 128,
        "tiles[1].title": 200,
        "change_message": 500,
    },
    "Update": {"name": 200, "description": 2000, at_key("env"): 128, "change_message": 500, "etag": 128},
    "Upsert": {
        "name": 200,
        "change_message": 500,
        "etag": 128,
        "tiles[0].title": 200,
        f"{QUERY}.events[1].name": 200,
        f"{QUERY}.events[0].filters[0].property": 200,
        f"{QUERY}.events[0].filters[0].value": 1000,
        f"{QUERY}.aggregation_property": 200,
        f"{QUERY}.breakdown.property": 200,
        f"{FILTER}.property": 200,
        f"{FILTER}.value": 1000,
        f"{QUERY}.filters[1].values[1]": 1000,
    },
    "Delete": {"change_message": 500, "etag": 128},
    "Undelete": {"change_message": 500, "etag": 128},
}
CONTENT = "tiles[1].markdown.content"

OF_SEVERAL_LINES = {"description", "change_message"}

# The ids, names, labels and UUIDs.
BAD_IDS = ["-a", "_a", "a b", "a/b", "dashé", "dash\n", "a\x00", "a" * 65]
REQUIRED_IDS = [
    ("Upsert", "dashboard_id"),
    *((method, "id") for method in ["Get", "Update", "Delete", "Undelete"]),
]
OPTIONAL_IDS = [("Create", "dashboard_id"), ("Create", "tiles[1].id"), ("Upsert", "tiles[1].id")]
BAD_LABEL_KEYS = ["", "Env", "1st", ".env", "cost centre", "env\n", "umgebungß", "a" * 64]
UUID = "550e8400-e29b-41d4-a716-446655440000"
BAD_UUIDS = ["again", UUID.replace("-", ""), f"{{{UUID}}}", f"{UUID}\n", f"urn:uuid:{UUID}"]
WRITES = ["Create", "Update", "Upsert", "Delete", "Undelete"]
WITH_LABELS = ["List", "Create", "Update"]

# The operators of filters.
ONE_VALUE = [
    "OPERATOR_EQUALS",
    "OPERATOR_NOT_EQUALS",
    "OPERATOR_CONTAINS",
    "OPERATOR_NOT_CONTAINS",
    "OPERATOR_GREATER_THAN",
    "OPERATOR_GREATER_THAN_OR_EQUAL",
    "OPERATOR_LESS_THAN",
    "OPERATOR_LESS_THAN_OR_EQUAL",
]
MANY_VALUES = ["OPERATOR_IN", "OPERATOR_NOT_IN"]
NO_VALUE = ["OPERATOR_IS_SET", "OPERATOR_IS_NOT_SET"]

# The rules of single values: each value at this place is reported at this place.
BROKEN_VALUES: list[tuple[str, str, Iterable[Any]]] = [
    *((method, path, ["x" * (limit + 1)]) for method in TEXTS for path, limit in TEXTS[method].items()),
    *(
        (method, path, CONTROL_CHARACTERS_BUT_BREAKS if path in OF_SEVERAL_LINES else CONTROL_CHARACTERS)
        for method in TEXTS
        for path in TEXTS[method]
    ),
    ("Upsert", CONTENT, ["x" * 100_001, "é" * 50_001, *CONTROL_CHARACTERS_BUT_BREAKS]),
    *((method, path, BAD_IDS) for method, path in REQUIRED_IDS + OPTIONAL_IDS),
    *((method, path, [ABSENT, ""]) for method, path in REQUIRED_IDS),
    *((method, "name", INVISIBLE) for method in ["Create", "Update", "Upsert"]),
    ("Create", "name", [ABSENT, ""]),
    *((method, at_key(key), ["prod"]) for method in WITH_LABELS for key in BAD_LABEL_KEYS),
    *((method, "labels", [{f"key{number}": "" for number in range(33)}]) for method in WITH_LABELS),
    ("List", "label_keys", [[f"key{number}" for number in range(33)]]),
    ("List", "label_keys[1]", BAD_LABEL_KEYS),
    *((method, "request_id", BAD_UUIDS) for method in WRITES),
    ("List", "page_size", [-1, -2147483648]),
    ("List", "order_by", ["size", "name asc", "Name", "name DESC", "name  desc", " name", "createdAt"]),
    (
        "Update",
        "update_mask",
        ["id", "tiles", "labels.env", "name.x", "etag", "NAME", "name,tiles", ",".join(["name"] * 33)],
    ),
    ("Upsert", "max_deletions", [-1]),
    ("Create", "tiles", [[NEW_TILE] * 501]),
    ("Upsert", "tiles", [[NEW_TILE] * 501]),
    ("Upsert", "tiles[0].type", [ABSENT, "TILE_TYPE_UNSPECIFIED", 99, -1]),
    ("Upsert", "tiles[0].position", [ABSENT]),
    ("Upsert", "tiles[0].position.x", [-1, 12, 2147483647]),
    ("Upsert", "tiles[0].position.y", [-1, 10_001]),
    ("Upsert", "tiles[0].position.w", [ABSENT, 0, 13, -2147483648]),
    ("Upsert", "tiles[0].position.h", [ABSENT, 0, 1_001]),
    ("Upsert", "tiles[0].insight.visualization", [ABSENT, "VISUALIZATION_UNSPECIFIED", 99, -1]),
    ("Upsert", QUERY, [ABSENT]),
    ("Upsert", f"{QUERY}.events[1].name", [ABSENT, ""]),
    ("Upsert", f"{QUERY}.events", [[{"name": "page_view"}] * 21]),
    ("Upsert", f"{QUERY}.events[0].filters", [[EQUALS] * 51]),
    ("Upsert", f"{QUERY}.granularity", [ABSENT, "GRANULARITY_UNSPECIFIED", 99, -1]),
    ("Upsert", f"{QUERY}.aggregation", [ABSENT, "AGGREGATION_UNSPECIFIED", 99, -1]),
    ("Upsert", f"{QUERY}.breakdown.property", [ABSENT, ""]),
    ("Upsert", f"{QUERY}.filters", [[EQUALS] * 51]),
    (
        "Upsert",
        f"{QUERY}.conversion_window",
        ["0s", "-1s", "0.5s", "31622401s", "31622400.000000001s", "315576000000s"],
    ),
    ("Upsert", f"{FILTER}.property", [ABSENT, ""]),
    ("Upsert", f"{FILTER}.operator", [ABSENT, "OPERATOR_UNSPECIFIED", 99, -1]),
    ("Upsert", f"{QUERY}.filters[1].values", [["pro"] * 101]),
]

# The rules between fields: what is changed, and where it is reported.
BROKEN_RELATIONS: list[tuple[str, dict[str, Any], str]] = [
    *(
        ("Upsert", {RANGE: {"last": last}}, f"{RANGE}.last")
        for last in ["0s", "59s", "59.999999999s", "-60s", "315576001s", "315576000000s"]
    ),
    *(("Upsert", {RANGE: {**value}}, RANGE) for value in [{}, START, END]),
    *(("Upsert", {RANGE: {"last": "60s", **value}}, RANGE) for value in [START, END, START | END]),
    ("Upsert", {"name": ABSENT}, "name"),
    ("Upsert", {"allow_missing": ABSENT}, "name"),
    ("Update", {"name": ABSENT}, "name"),
    ("Update", {"name": "", "update_mask": "*"}, "name"),
    ("Upsert", {"tiles[0].position.x": 7}, "tiles[0].position"),
    ("Create", {"tiles[0].position": {"x": 11, "w": 2, "h": 1}}, "tiles[0].position"),
    ("Upsert", {"tiles[0].insight": ABSENT}, "tiles[0]"),
    ("Upsert", {"tiles[0].markdown": MARKDOWN}, "tiles[0]"),
    ("Upsert", {"tiles[0].type": "TILE_TYPE_MARKDOWN"}, "tiles[0]"),
    ("Create", {"tiles[1].markdown": ABSENT}, "tiles[1]"),
    ("Upsert", {"tiles[1].markdown": ABSENT}, "tiles[1]"),
    ("Upsert", {"tiles[1].insight": INSIGHT}, "tiles[1]"),
    ("Upsert", {"tiles[1].type": "TILE_TYPE_INSIGHT"}, "tiles[1]"),
    ("Upsert", {f"{QUERY}.events": [], f"{QUERY}.conversion_window": ABSENT}, f"{QUERY}.events"),
    ("Upsert", {f"{QUERY}.events": [{"name": "page_view"}]}, QUERY),
    ("Upsert", {f"{QUERY}.aggregation_property": ABSENT}, QUERY),
    ("Upsert", {f"{QUERY}.aggregation": "AGGREGATION_AVERAGE", f"{QUERY}.aggregation_property": ""}, QUERY),
    ("Upsert", {f"{QUERY}.aggregation": "AGGREGATION_COUNT"}, QUERY),
    ("Upsert", {f"{QUERY}.aggregation": "AGGREGATION_UNIQUE_USERS"}, QUERY),
    ("Upsert", {f"{QUERY}.time_range.end": "2026-05-01T00:00:00Z"}, f"{QUERY}.time_range"),
    ("Upsert", {f"{QUERY}.time_range.end": "2026-04-30T23:59:59.999999Z"}, f"{QUERY}.time_range"),
    ("Upsert", {f"{QUERY}.events[0].filters[1].values": ABSENT}, f"{QUERY}.events[0].filters[1]"),
    *(
        ("Upsert", {FILTER: {"property": "plan", "operator": operator} | values}, FILTER)
        for operators, bad_values in [
            (ONE_VALUE, [{}, {"value": "pro", "values": ["pro"]}]),
            (MANY_VALUES, [{}, {"value": "", "values": ["pro"]}, {"value": "a", "values": ["pro"]}]),
            (NO_VALUE, [{"value": ""}, {"value": "pro"}, {"values": ["pro"]}]),
        ]
        for operator in operators
        for values in bad_values
    ),
]

# Many broken rules at once: what is changed, and all that is reported.
BROKEN_TOGETHER: list[tuple[str, dict[str, Any], set[str]]] = [
    (
        "List",
        {"page_size": -1, "page_token": "\n", "order_by": "size", at_key("env"): "\t", at_key("Env"): ""},
        {"page_size", "page_token", "order_by", at_key("env"), at_key("Env")},
    ),
    (
        "Create",
        {
            "name": ABSENT,
            "dashboard_id": "-",
            "tiles": [{}, {"id": "a b", "type": "TILE_TYPE_MARKDOWN", "position": {}}],
            "request_id": "again",
            "change_message": "\x7f",
        },
        {
            "name",
            "dashboard_id",
            "tiles[0].type",
            "tiles[0].position",
            "tiles[1]",
            "tiles[1].id",
            "tiles[1].position.w",
            "tiles[1].position.h",
            "request_id",
            "change_message",
        },
    ),
    (
        "Upsert",
        {
            "dashboard_id": ABSENT,
            "allow_missing": False,
            "max_deletions": -1,
            "tiles[0].title": "\x00",
            "tiles[0].position": {"x": 11, "y": -1, "w": 12, "h": 1},
            "tiles[0].insight": {"query": {"events": [{}], "filters": [{"values": ["a\nb"]}]}},
            "tiles[1].id": "-",
        },
        {
            "name",
            "dashboard_id",
            "max_deletions",
            "tiles[0].title",
            "tiles[0].position",
            "tiles[0].position.y",
            "tiles[0].insight.visualization",
            f"{QUERY}.granularity",
            f"{QUERY}.aggregation",
            f"{QUERY}.events[0].name",
            f"{FILTER}.property",
            f"{FILTER}.operator",
            f"{FILTER}.values[0]",
            "tiles[1].id",
        },
    ),
]

# Values at the edge of what is allowed.
_LABELS = {f"key{number}": "" for number in range(30)} | {"a" * 63: "b", "a_./-9": "c"}
VALID_VALUES: list[tuple[str, str, Iterable[Any]]] = [
    # No-break space, soft hyphen and byte order mark are no control characters.
    *((method, path, [" ~\u00a0\u00ad\ufeff"]) for method in TEXTS for path in TEXTS[method]),
    *((method, path, LINES) for method in TEXTS for path in TEXTS[method] if path in OF_SEVERAL_LINES),
    *((method, "name", VISIBLE) for method in ["Create", "Update", "Upsert"]),
    *((method, path, ["x" * limit]) for method in TEXTS for path, limit in TEXTS[method].items()),
    # Limits are characters, but for the page token's, which are bytes.
    *(
        (method, path, ["😀" * limit])
        for method in TEXTS
        for path, limit in TEXTS[method].items()
        if path != "page_token"
    ),
    ("Upsert", CONTENT, [ABSENT, "x" * 100_000, "é" * 50_000]),
    *((method, path, ["a", "Z", "0", "A-b_C", "a" * 64]) for method, path in REQUIRED_IDS + OPTIONAL_IDS),
    *((method, path, [ABSENT, ""]) for method, path in OPTIONAL_IDS),
    *((method, "labels", [ABSENT, {}, _LABELS]) for method in WITH_LABELS),
    *((method, "request_id", [ABSENT, UUID.upper()]) for method in WRITES),
    ("List", "label_keys", [ABSENT, [], ["env"], ["env", "env"], [f"key{number}" for number in range(32)]]),
    ("List", "page_size", [ABSENT, 0, 2147483647]),
    ("List", "order_by", [ABSENT, "created_at", "created_at desc", "updated_at", "updated_at desc", "name"]),
    ("Update", "update_mask", [ABSENT, "", "name", "description", "labels", "*", ",".join(["name"] * 32)]),
    ("Upsert", "max_deletions", [ABSENT, 0, 2147483647]),
    ("Create", "tiles", [ABSENT, [], [NEW_TILE] * 500]),
    ("Upsert", "tiles", [ABSENT, [], [NEW_TILE] * 500]),
    (
        "Upsert",
        "tiles[0].position",
        [{"w": 1, "h": 1}, {"x": 11, "y": 10_000, "w": 1, "h": 1_000}, {"w": 12, "h": 1}],
    ),
    ("Upsert", f"{QUERY}.events", [[{"name": "page_view"}] * 20]),
    ("Upsert", f"{QUERY}.events[0].filters", [ABSENT, [EQUALS] * 50]),
    ("Upsert", f"{QUERY}.filters", [ABSENT, [EQUALS] * 50]),
    ("Upsert", RANGE, [ABSENT, {"last": "60s"}, {"last": "604800s"}, {"last": "315576000s"}]),
    ("Upsert", f"{QUERY}.time_range.start", ["0001-01-01T00:00:00Z", "2026-05-31T23:59:59.999999999Z"]),
    ("Upsert", f"{QUERY}.time_range.end", ["9999-12-31T23:59:59.999999999Z"]),
    ("Upsert", f"{QUERY}.aggregation", ["AGGREGATION_AVERAGE"]),
    ("Upsert", f"{QUERY}.breakdown", [ABSENT]),
    ("Upsert", f"{QUERY}.conversion_window", [ABSENT, "1s", "31622400s"]),
    ("Upsert", FILTER, [EQUALS | {"operator": operator, "value": ""} for operator in ONE_VALUE]),
    ("Upsert", FILTER, [IN | {"operator": operator, "values": [""] * 100} for operator in MANY_VALUES]),
    ("Upsert", FILTER, [{"property": "plan", "operator": operator} for operator in NO_VALUE]),
]


# Rules that stand in the .proto files.
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
        Case(f"{method}-together", method, changed(method, changes), frozenset(paths))
        for method, changes, paths in BROKEN_TOGETHER
    ),
]

# Rules that the server checks in code: between the items of a list, and what protovalidate can't see.
CODE_RULES: list[Case] = [
    Case(f"{method}-{name}", method, changed(method, changes), frozenset(paths))
    for method in ["Create", "Upsert"]
    for name, changes, paths in [
        ("id-twice", {"tiles[1].id": "tile_001"}, {"tiles[1].id"}),
        ("ids-again", {"tiles": [INSIGHT_TILE, MARKDOWN_TILE] * 2}, {"tiles[2].id", "tiles[3].id"}),
        ("id-three-times", {"tiles": [NEW_TILE, *[MARKDOWN_TILE] * 3]}, {"tiles[2].id", "tiles[3].id"}),
        ("window-1.5s", {f"{QUERY}.conversion_window": "1.5s"}, {f"{QUERY}.conversion_window"}),
        ("window-1ns", {f"{QUERY}.conversion_window": "1.000000001s"}, {f"{QUERY}.conversion_window"}),
        ("last-60.5s", {RANGE: {"last": "60.5s"}}, {f"{RANGE}.last"}),
        ("last-1ns", {RANGE: {"last": "60.000000001s"}}, {f"{RANGE}.last"}),
    ]
]

# Requests that break no rule.
VALID_REQUESTS: list[Case] = [
    *(Case(f"{method}-full", method, changed(method, {})) for method in REQUESTS),
    Case("List-empty", "List", {}),
    Case("Create-least", "Create", {"name": "a"}),
    Case("Update-least", "Update", {"id": "a"}),
    Case("Update-to-empty", "Update", {"id": "a", "updateMask": "description,labels"}),
    Case("Upsert-least", "Upsert", {"dashboardId": "a"}),
    *(
        Case(f"{method}-{path}-{name_of(value)}", method, changed(method, {path: value}))
        for method, path, values in VALID_VALUES
        for value in values
    ),
]

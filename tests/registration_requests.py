"""A valid request to each RPC of registrations.v1 with every field set, as ProtoJSON, and what is where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.cases import altered

if TYPE_CHECKING:
    from tests.cases import Request

WRITE: Request = {
    "requestId": "550e8400-e29b-41d4-a716-446655440000",
    "changeMessage": "growth review",
    "validateOnly": True,
}
DIMENSION_FILTERS: list[Request] = [
    {
        "dimensionName": "channel_id",
        "operator": "DIMENSION_FILTER_OPERATOR_IN_LIST",
        "expressions": ["1", ""],
        "not": True,
        "caseSensitive": False,
    }
]
REQUEST: Request = {
    "dimensions": [{"name": "channel_id"}, {"name": "date_yyyy_mm_dd"}],
    "metrics": [{"expression": "users", "alias": "people"}],
    "dateRanges": [{"startDate": "now-7d/d", "endDate": "2026-01-31T10:00:00Z"}],
    "dimensionFilterClauses": {
        "operator": "BOOLEAN_OPERATOR_AND",
        "filters": DIMENSION_FILTERS,
    },
    "metricFilterClauses": {
        "operator": "BOOLEAN_OPERATOR_OR",
        "filters": [
            {
                "metricName": "users",
                "operator": "METRIC_FILTER_OPERATOR_EQUAL",
                "expressions": ["1"],
                "not": False,
            }
        ],
    },
    "orderBy": {"fieldName": "users", "sortOrder": "SORT_ORDER_ASCENDING"},
    "sampleFactor": 0.5,
    "firstResult": 0,
    "maxResult": 10,
}
NUMBER: Request = {"metrics": [{"expression": "users"}]}
KEY_VALUE: Request = NUMBER | {"dimensions": [{"name": "date_yyyy_mm_dd"}]}
OTQL_TEXT: Request = {"otql": {"queryText": "SELECT @count{}\n\tFROM UserPoint"}}
DRAWN: Request = {
    "height": 300,
    "legend": {"enabled": True, "position": "LEGEND_POSITION_RIGHT", "layout": "LAYOUT_VERTICAL"},
    "format": "CHART_FORMAT_COUNT",
    "tooltip": {"format": "CHART_FORMAT_INDEX"},
}
DATA_LABELS: Request = {
    "enabled": True,
    "format": "CHART_FORMAT_INDEX",
    "distance": -30.5,
    "filter": {"property": "percentage", "operator": ">", "value": 4},
}
X_KEY: Request = {"key": "key", "mode": "X_KEY_MODE_DAY"}
LINES: Request = {
    "stacking": True,
    "plotLineValue": 100.5,
    "hideXAxis": True,
    "hideYAxis": False,
    "xKey": X_KEY,
}
PIE: Request = {
    "title": "Channels",
    "type": "CHART_TYPE_PIE",
    "colors": ["#00A1DF", "#fd7c12"],
    "dataset": {
        "getDecorators": {
            "decoratorsOptions": {
                "modelType": "MODEL_TYPE_CHANNELS",
                "buckets": {"modelType": "MODEL_TYPE_SEGMENTS"},
            },
            "sources": [
                {
                    "formatDates": {
                        "dateOptions": {"format": "YYYY-MM", "buckets": {"format": "YYYY"}},
                        "sources": [
                            {
                                "activitiesAnalytics": {
                                    "queryJson": REQUEST,
                                    "adaptToScope": False,
                                    "datamartId": "1414",
                                }
                            }
                        ],
                    }
                }
            ],
        }
    },
    "pieOptions": DRAWN
    | {"dataLabels": DATA_LABELS, "innerRadius": True, "isHalf": False, "size": 120.5, "drilldown": True},
}
BARS: Request = {
    "type": "CHART_TYPE_BARS",
    "dataset": {
        "index": {
            "options": {"minimumPercentage": 2, "sort": "INDEX_SORT_DESCENDING", "limit": 10},
            "sources": [
                {
                    "seriesTitle": "Segment",
                    "otql": {
                        "queryId": "801",
                        "precision": "PRECISION_MEDIUM",
                        "adaptToScope": False,
                        "datamartId": "1414",
                    },
                },
                {"toPercentages": {"sources": [{"toList": {"sources": [OTQL_TEXT]}}]}},
            ],
        }
    },
    "barsOptions": DRAWN | LINES | {"type": "BARS_TYPE_BAR", "bigBars": False, "drilldown": True},
}
RADAR: Request = {
    "type": "CHART_TYPE_RADAR",
    "dataset": {
        "join": {
            "sources": [
                {"dataFile": {"uri": "mics://data/a.json", "jsonPath": "$.a"}},
                {"other": {"type": "my_source", "json": '{"a": 1}'}},
            ]
        }
    },
    "radarOptions": DRAWN | {"dataLabels": DATA_LABELS, "xKey": X_KEY},
}
METRIC: Request = {
    "type": "CHART_TYPE_METRIC",
    "dataset": {
        "ratio": {
            "sources": [
                {"resourcesUsage": {"queryJson": NUMBER}},
                {
                    "reduce": {
                        "reduceOptions": {"type": "REDUCE_TYPE_SUM"},
                        "sources": [{"dataIngestion": {"queryJson": KEY_VALUE}}],
                    }
                },
            ]
        }
    },
    "metricOptions": {"format": "CHART_FORMAT_FLOAT"},
}
AREA: Request = {
    "type": "CHART_TYPE_AREA",
    "dataset": {"collectionVolumes": {"queryJson": KEY_VALUE}},
    "areaOptions": DRAWN | LINES | {"type": "AREA_TYPE_LINE", "doubleYAxis": True},
}
CARD: Request = {
    "x": 4,
    "y": 0,
    "w": 8,
    "h": 4,
    "layout": "LAYOUT_VERTICAL",
    "charts": [PIE, BARS, RADAR, METRIC, AREA],
}
FILTER: Request = {
    "technicalName": "channels",
    "title": "Channel",
    "valuesRetrieveMethod": "VALUES_RETRIEVE_METHOD_QUERY",
    "valuesQuery": "SELECT {channel_id @map}\n\tFROM UserActivity",
    "queryFragments": [
        {"type": "OTQL", "startingObjectType": "UserActivity", "text": "channel_id IN $values"},
        {"type": "activities_analytics", "filters": {"filters": DIMENSION_FILTERS}},
    ],
    "multiSelect": True,
}
CONTENT: Request = {
    "availableFilters": [FILTER, FILTER | {"technicalName": "segments"}],
    "sections": [{"title": "Key figures", "cards": [{"w": 1, "h": 1}, CARD]}],
}

PLACES: Request = {
    "title": "Audience overview",
    "scopes": ["SCOPE_HOME", "SCOPE_SEGMENTS", "SCOPE_BUILDERS"],
    "segmentIds": ["4021", "4022"],
    "builderIds": ["11", "12"],
    "archived": True,
}
# A valid request to each RPC with every field set.
REQUESTS: dict[str, Request] = {
    "List": {
        "organisationId": "1185",
        "communityId": "1186",
        "includeCommunity": True,
        "scope": "SCOPE_SEGMENTS",
        "segmentId": "4021",
        "archived": False,
        "titleContains": "over",
        "showDeleted": True,
        "includeContent": True,
        "pageSize": 50,
        "pageToken": "AbC-_0=",
        "skip": 10,
        "includeTotal": True,
    },
    "Get": {"id": "reg_1"},
    "Create": WRITE | PLACES | {"organisationId": "1185", "communityId": "1186"},
    "Update": WRITE
    | PLACES
    | {
        "id": "reg_1",
        "dashboardContentId": "content_1",
        "updateMask": "title,scopes,segmentIds,builderIds,archived,dashboardContentId",
        "etag": "1-abc",
    },
    "Delete": WRITE | {"id": "reg_1", "etag": "1-abc"},
    "Undelete": WRITE | {"id": "reg_1", "etag": "1-abc"},
    "GetContent": {"id": "reg_1", "contentId": "content_1"},
    "UpdateContent": WRITE | {"id": "reg_1", "content": CONTENT, "mustBeFirst": True, "etag": "content_1"},
    "ListContents": {"id": "reg_1", "pageSize": 50, "pageToken": "AbC-_0="},
    "RestoreContent": WRITE | {"id": "reg_1", "contentId": "content_1", "etag": "content_2"},
}


def changed(method: str, changes: dict[str, Any]) -> Request:
    """Return the full request of an RPC with other values at some places."""
    return altered(REQUESTS[method], changes)


# Where things are in the content.
FIRST_FILTER = "content.available_filters[0]"
FRAGMENTS = f"{FIRST_FILTER}.query_fragments"
AT_CARD = "content.sections[0].cards[1]"
AT_PIE, AT_BARS, AT_RADAR, AT_METRIC, AT_AREA = (f"{AT_CARD}.charts[{index}]" for index in range(5))
DECORATORS = f"{AT_PIE}.dataset.get_decorators"
DATES = f"{DECORATORS}.sources[0].format_dates"
ANALYTICS = f"{DATES}.sources[0].activities_analytics"
REPORT = f"{ANALYTICS}.query_json"
DIMENSION_FILTER = f"{REPORT}.dimension_filter_clauses.filters[0]"
METRIC_FILTER = f"{REPORT}.metric_filter_clauses.filters[0]"
INDEX = f"{AT_BARS}.dataset.index"
OTQL = f"{INDEX}.sources[0].otql"
TO_PERCENTAGES = f"{INDEX}.sources[1].to_percentages"
TO_LIST = f"{TO_PERCENTAGES}.sources[0].to_list"
QUERY_TEXT = f"{TO_LIST}.sources[0].otql.query_text"
DATA_FILE = f"{AT_RADAR}.dataset.join.sources[0].data_file"
OTHER = f"{AT_RADAR}.dataset.join.sources[1].other"
RATIO = f"{AT_METRIC}.dataset.ratio"
REDUCE = f"{RATIO}.sources[1].reduce"
OPTIONS = {
    "pie": f"{AT_PIE}.pie_options",
    "bars": f"{AT_BARS}.bars_options",
    "radar": f"{AT_RADAR}.radar_options",
    "area": f"{AT_AREA}.area_options",
}

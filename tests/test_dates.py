"""The dates of report requests: those that the calendar and the clock have, relative ones as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from tests.registrations import client, register
from tests.violations import violations_of_content

if TYPE_CHECKING:
    from tests.server import RunningServer
    from tests.tiles import Json

GOOD = [
    "2026-01-31",
    "2024-02-29",
    "2000-02-29",
    "0001-01-01",
    "9999-12-31T23:59:59.999999999Z",
    "2026-01-31T10:00",
    "2026-01-31T00:00:00",
    "2026-01-31T10:00:00.1",
    "2026-01-31T10:00+14:00",
    "2026-01-31T10:00:00-1130",
    "2026-01-31T10:00:00+23:59",
    "now",
    "now-7d/d",
    "now+13M-45d/w",
]
BAD = [
    "2020-13-45",
    "2026-00-10",
    "2026-01-00",
    "2026-04-31",
    "2025-02-29",
    "1900-02-29",
    "0000-01-01",
    "2026-01-31T24:00",
    "2026-01-31T25:61",
    "2026-01-31T10:60:00",
    "2026-01-31T23:59:60Z",
    "2026-02-30T10:00:00Z",
    "2026-01-31T10:00+24:00",
    "2026-01-31T10:00:00-02:60",
    "2026-01-31T10:00:00+0299",
]
SOURCES = ["activitiesAnalytics", "collectionVolumes", "resourcesUsage", "dataIngestion"]
DATASET = "content.sections[0].cards[0].charts[0].dataset"
QUERY = f"{DATASET}.to_percentages.sources[0].activities_analytics.query_json"


def content(start: str, end: str = "now", source: str = SOURCES[0]) -> Json:
    """Return a content whose query has these dates in its second range, below a transformation."""
    ranges = [{"startDate": "now-1d", "endDate": "now"}, {"startDate": start, "endDate": end}]
    query = {
        "dimensions": [{"name": "channel"}],
        "metrics": [{"expression": "users"}],
        "dateRanges": ranges,
    }
    dataset = {"toPercentages": {"sources": [{source: {"queryJson": query}}]}}
    chart = {"title": "Users", "type": "CHART_TYPE_PIE", "dataset": dataset}
    return {"sections": [{"cards": [{"w": 4, "h": 2, "charts": [chart]}]}]}


def found(start: str, end: str = "now", source: str = SOURCES[0]) -> dict[str, str]:
    message = DashboardContent.from_json(json.dumps(content(start, end, source)))
    return {f"content.{path}": text for path, text in violations_of_content(message)}


@pytest.mark.parametrize("date", GOOD)
def test_date_that_there_is_is_taken(date: str) -> None:
    assert found(date, date) == {}


@pytest.mark.parametrize("date", BAD)
def test_date_that_there_is_not_is_refused_with_its_path(date: str) -> None:
    paths = [f"{QUERY}.date_ranges[1].{end}" for end in ("start_date", "end_date")]
    problems = found(date, date)
    assert [*problems] == paths
    assert all(text.startswith("there is no ") for text in problems.values()), problems


@pytest.mark.parametrize("source", SOURCES)
def test_date_is_checked_in_every_source_that_has_a_query(source: str) -> None:
    (path,) = found("now", "2020-13-45", source)
    assert path.endswith(".date_ranges[1].end_date")


def test_date_of_no_form_is_refused_once() -> None:
    (text,) = found("2026-1-31").values()
    assert text.startswith("must be a date such as")


def test_date_that_there_is_not_is_refused_by_rpc_and_by_rest(
    sqlite_server: RunningServer, project_id: str
) -> None:
    api = client(sqlite_server, project_id, "connect-json")
    made = register(api)
    reply = api.call("UpdateContent", {"id": made["id"], "content": content("2025-02-29T10:00:00Z")})
    assert reply.code == "invalid_argument"
    assert [*reply.violations] == [f"{QUERY}.date_ranges[1].start_date"]
    query = {
        "metrics": [{"expression": "users"}],
        "date_ranges": [{"start_date": "now", "end_date": "2020-13-45"}],
    }
    chart = {"title": "A", "type": "Metric", "dataset": {"type": "activities_analytics", "query_json": query}}
    body = {"sections": [{"title": "", "cards": [{"x": 0, "y": 0, "w": 4, "h": 2, "charts": [chart]}]}]}
    url = f"{sqlite_server.http}/v1/dashboards/{made['id']}/content"
    answer = httpx.put(url, json=body, headers=api.headers)
    api.close()
    (violation,) = answer.json()["violations"]
    assert answer.status_code == 400
    assert violation["field"].endswith("query_json.date_ranges[0].end_date")

"""Chart options as the known front end writes them: camelCase keys, `x_key` as a text."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper.gen.registrations.v1.chart_options_pb import (
    AreaOptions,
    BarsOptions,
    PieOptions,
    RadarOptions,
)
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from dashkeeper.transport.rest.reader import read
from dashkeeper.transport.rest.writer import write
from tests.rest import Rest, payload
from tests.test_rest_mapping import FIRST_CHART, as_the_spec_compares, content_of, problems, read_content
from tests.test_rest_openapi import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer

OPTIONS = {"Pie": PieOptions, "Bars": BarsOptions, "Radar": RadarOptions, "Area": AreaOptions}
KEYS = {
    "Pie": "data_labels inner_radius is_half",
    "Bars": "big_bars plot_line_value hide_x_axis hide_y_axis x_key",
    "Radar": "data_labels x_key",
    "Area": "plot_line_value hide_x_axis hide_y_axis double_y_axis x_key",
}
EVERY_KEY = [(chart_type, key) for chart_type, keys in KEYS.items() for key in keys.split()]
"""The options of several words: those that have two spellings."""

VALUES: dict[str, Any] = {
    "data_labels": {"enabled": True},
    "plot_line_value": 1.5,
    "x_key": {"key": "day", "mode": "DAY"},
}


@pytest.fixture
def rest(sqlite_server: RunningServer, project_id: str) -> Iterator[Rest]:
    client = Rest(sqlite_server, project_id)
    yield client
    client.close()


def camel(key: str) -> str:
    return re.sub("_(.)", lambda found: found[1].upper(), key)


def options_of(chart_type: str, options: Any) -> dict[str, Any]:
    return content_of(chart={"type": chart_type, "dataset": {"type": "x"}, "options": options})


def written_options(content: Any) -> Any:
    return write(read_content(content))["sections"][0]["cards"][0]["charts"][0]["options"]


def in_snake_case(content: Any) -> Any:
    """Return a content as the server writes it."""
    content = deepcopy(content)
    for section in content["sections"]:
        for card in section["cards"]:
            for chart in card["charts"]:
                options = {
                    re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value
                    for key, value in chart["options"].items()
                }
                if isinstance(options.get("x_key"), str):
                    options["x_key"] = {"key": options["x_key"]}
                chart["options"] = options
    return content


@pytest.mark.parametrize("chart_type", OPTIONS)
def test_these_are_all_keys_of_several_words(chart_type: str) -> None:
    names = [field.name for field in OPTIONS[chart_type].desc().fields]
    assert [name for name in names if "_" in name] == KEYS[chart_type].split()


@pytest.mark.parametrize(("chart_type", "key"), EVERY_KEY)
def test_a_key_is_read_in_both_spellings_and_written_in_snake_case(chart_type: str, key: str) -> None:
    value = VALUES.get(key, True)
    for spelling in (key, camel(key)):
        content = options_of(chart_type, {spelling: value})
        assert written_options(content) == {key: value}
        schema("DashboardContent").validate(content)


@pytest.mark.parametrize(("chart_type", "key"), EVERY_KEY)
def test_both_spellings_of_a_key_say_one_thing_twice(chart_type: str, key: str) -> None:
    value = VALUES.get(key, True)
    for first, second in ((key, camel(key)), (camel(key), key)):
        content = options_of(chart_type, {first: value, second: value})
        assert problems(content) == {
            f"{FIRST_CHART}.options.{second}": f"says the same as {first}: leave one of them out"
        }
        assert not schema("DashboardContent").is_valid(content)


@pytest.mark.parametrize(
    "key", ["BigBars", "bigbars", "big-bars", "big_Bars", "bigBars_", "hideXaxis", "hidexAxis"]
)
def test_no_third_spelling_is_read(key: str) -> None:
    content = options_of("Bars", {key: True})
    assert "is not a key here" in problems(content)[f"{FIRST_CHART}.options.{key}"]
    assert not schema("DashboardContent").is_valid(content)


@pytest.mark.parametrize(
    "content",
    [
        {"availableFilters": []},
        content_of(dataset={"type": "OTQL", "queryId": "1"}),
        content_of(dataset={"type": "index", "options": {"minimumPercentage": 1}, "sources": []}),
    ],
)
def test_only_the_keys_of_chart_options_have_two_spellings(content: Any) -> None:
    assert "is not a key here" in "".join(problems(content).values())


def test_an_x_key_that_is_a_text_is_its_key() -> None:
    for chart_type in ("Bars", "Radar", "Area"):
        for key in ("x_key", "xKey"):
            content = options_of(chart_type, {key: "day"})
            assert written_options(content) == {"x_key": {"key": "day"}}
            schema("DashboardContent").validate(content)
    for wrong in (1, True, ["day"], None):
        assert list(problems(options_of("Bars", {"xKey": wrong}))) == [f"{FIRST_CHART}.options.xKey"]
    assert list(problems(options_of("Bars", {"legend": "right"}))) == [f"{FIRST_CHART}.options.legend"]


def test_a_content_of_the_front_end_is_stored_and_comes_out_in_snake_case(rest: Rest) -> None:
    sent = payload("content-front-end")
    schema("DashboardContent").validate(sent)
    expected = in_snake_case(sent)
    message = read(json.dumps(sent).encode(), DashboardContent)
    assert as_the_spec_compares(write(message)) == as_the_spec_compares(expected)
    path = f"/dashboards/{rest.create()['id']}/content"
    for content in (sent, expected):
        answer = rest.call("PUT", path, content)
        assert answer.status_code == 200, answer.text
        assert as_the_spec_compares(answer.json()["data"]["content"]) == as_the_spec_compares(expected)


def test_a_broken_rule_of_an_option_is_named_in_snake_case(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}/content"
    answer = rest.call("PUT", path, options_of("Bars", {"xKey": "", "bigBars": True, "height": 0}))
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["violations"]] == [
        f"{FIRST_CHART}.options.height",
        f"{FIRST_CHART}.options.x_key.key",
    ]

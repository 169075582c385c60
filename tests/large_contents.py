"""Contents as large and as deep as a request can hold, and what contents in tests are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protobuf import Oneof

from dashkeeper.gen.registrations.v1.chart_pb import Chart, ChartType
from dashkeeper.gen.registrations.v1.content_pb import Card, DashboardContent, Section
from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset, Join
from dashkeeper.gen.registrations.v1.source_pb import OtherSource, OtqlSource
from tests.attack import field

if TYPE_CHECKING:
    from collections.abc import Callable

OTQL = Dataset(node=Oneof("otql", OtqlSource(query=Oneof("query_id", "701"))))


def charts(*datasets: Dataset) -> DashboardContent:
    shown = [Chart(type=ChartType.BARS, dataset=dataset) for dataset in datasets]
    return DashboardContent(sections=[Section(cards=[Card(w=1, h=1, charts=shown)])])


def other(text: str = "", name: str = "mine") -> Dataset:
    return Dataset(node=Oneof("other", OtherSource(type=name, json=text)))


def nested(numbers: tuple[int, ...], times: int) -> bytes:
    body = b""
    for _ in range(times):
        for number in reversed(numbers):
            body = field(number, body)
    return body


DEEP: dict[str, Callable[[int], bytes]] = {
    "sources": lambda times: nested((19, 1), times),
    "buckets": lambda times: field(22, field(2, nested((2,), times))),
    "unknown": lambda times: nested((99,), times),
}


def deep_request(name: str, times: int) -> bytes:
    """Return an UpdateContentRequest in binary form with a dataset this deep."""
    dataset = DEEP[name](times)
    return field(1, b"reg_1") + field(2, field(2, field(2, field(6, field(4, dataset)))))


def large(dataset: Dataset, count: int) -> DashboardContent:
    joined = Dataset(node=Oneof("join", Join(sources=[dataset] * count)))
    cards = [Card(w=1, h=1, charts=[Chart(type=ChartType.BARS, dataset=joined)]) for _ in range(950)]
    return DashboardContent(sections=[Section(cards=cards)])


LARGE: dict[str, tuple[DashboardContent, bool]] = {
    "sources": (large(OTQL, 18), True),
    "json": (large(other('{"a": 1}'), 18), True),
    "nothing": (large(Dataset(), 18), False),
    "cards": (DashboardContent(sections=[Section(cards=[Card()] * 950)] * 20), False),
    "charts": (DashboardContent(sections=[Section(cards=[Card(charts=[Chart()] * 19_000)])]), False),
    "colours": (
        DashboardContent(sections=[Section(cards=[Card(charts=[Chart(colors=["red"] * 19_000)])])]),
        False,
    ),
    "json-of-4-mib": (charts(*[other('{"a":[' + "{}," * 33_000 + "1]}")] * 40), False),
    "spaces": (charts(*[other("{" + " " * 99_900 + "}")] * 40), True),
    "quotes": (charts(*[other('"' * 99_900)] * 40), False),
}


def large_request(name: str) -> bytes:
    """Return an UpdateContentRequest in binary form with this content."""
    return UpdateContentRequest(id="reg_1", content=LARGE[name][0]).to_binary()

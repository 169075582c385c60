"""A project of 100,000 dashboards: the last page costs what the first one does.

Costs are counted, not timed: statements, the plan SQLite makes of them, and the steps of its virtual
machine.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dashkeeper.store.databases.sqlite import SQLiteDatabase
from dashkeeper.store.queries import DashboardQuery
from dashkeeper.store.sql.store import SQLStore
from tests.api import Api
from tests.database import migrate_sqlite
from tests.scale import (
    BIG,
    CHANGING,
    COUNT,
    EQUAL,
    SMALL,
    SMALL_COUNT,
    Statement,
    captured_statements,
    key_of,
    load,
    make_dashboard,
)
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
    from dashkeeper.store.queries import OrderColumn
    from tests.server import RunningServer

PAGE = 50
MARGIN = 3
"""How much more the last page may cost than the first, which has no place to start from to compare
each row with. Walking there would cost some hundred times as much."""


@pytest.fixture(scope="session")
def database_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a big project, a small one, and one whose dashboards the tests change."""
    path = tmp_path_factory.mktemp("scale") / "dashkeeper.db"
    migrate_sqlite(str(path))
    load(path, BIG, COUNT)
    load(path, SMALL, SMALL_COUNT)
    load(path, EQUAL, SMALL_COUNT)
    load(path, CHANGING, SMALL_COUNT)
    return path


COLUMNS = ("created_at", "updated_at", "name")
FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "deleted too": {"show_deleted": True},
    "name prefix": {"name_prefix": "Ops 0"},
    "a label": {"labels": {"team": "t4"}},
    "two labels": {"labels": {"team": "t4", "env": "dev"}},
    "a label's key": {"label_keys": ["owner"]},
    "keys of labels": {"label_keys": ["owner", "env"], "labels": {"team": "t4"}},
    "everything": {
        "labels": {"env": "prod"},
        "label_keys": ["owner"],
        "name_prefix": "Ops ",
        "show_deleted": True,
    },
}


async def statements_of_page(
    path: Path, query: DashboardQuery, project_id: str = BIG
) -> tuple[Sequence[Dashboard], list[Statement]]:
    database = SQLiteDatabase(str(path))
    store = SQLStore(database, max_dashboards=COUNT, revisions_kept=100)
    try:
        with captured_statements() as statements:
            page = await store.list_dashboards(project_id, query)
    finally:
        await store.close()
    return page.dashboards, statements


def matches(query: DashboardQuery) -> Callable[[Dashboard], bool]:
    return lambda dashboard: (
        (query.show_deleted or dashboard.deleted_at is None)
        and dashboard.name.startswith(query.name_prefix)
        and query.labels.items() <= dashboard.labels.items()
        and dashboard.labels.keys() >= {*query.label_keys}
    )


@pytest.fixture(scope="session")
def big_project() -> list[Dashboard]:
    return [make_dashboard(BIG, number) for number in range(COUNT)]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("column", COLUMNS)
async def test_list_last_page_costs_what_the_first_does(
    database_path: Path, big_project: list[Dashboard], column: str, descending: bool, name: str
) -> None:
    query = DashboardQuery(
        order_by=cast("OrderColumn", column),
        descending=descending,
        limit=PAGE,
        max_bytes=3_000_000,
        **FILTERS[name],
    )
    key = key_of(column)
    expected = sorted(filter(matches(query), big_project), key=key, reverse=descending)
    first, first_statements = await statements_of_page(database_path, query)
    assert [dashboard.id for dashboard in first] == [dashboard.id for dashboard in expected[:PAGE]]
    late = replace(query, after=key(expected[-PAGE - 2]))  # a full page, and one more
    last, last_statements = await statements_of_page(database_path, late)
    assert [dashboard.id for dashboard in last] == [dashboard.id for dashboard in expected[-PAGE - 1 : -1]]

    # A prefix's matches are found by name, and sorted where another order is asked for: on each page.
    # Those whose names aren't in NFC, which are few, are found by another index, and always sorted.
    sorts_matches = bool(query.name_prefix) and column != "name"
    count = (2 if query.show_deleted else 1) * (2 if query.name_prefix else 1)
    assert len(first_statements) == len(last_statements) == count
    with contextlib.closing(sqlite3.connect(database_path)) as conn:
        for statement in (*first_statements, *last_statements):
            is_of_composed = "composed_name >=" in statement.sql
            for line in statement.plan(conn):
                assert sorts_matches or is_of_composed or "TEMP B-TREE" not in line, line
                assert not line.startswith("SCAN"), line
            index = "composed_name" if is_of_composed else "name" if sorts_matches else column
            assert any(f"dashboards_by_{index} " in line for line in statement.plan(conn))
        first_steps = sum(statement.steps(conn) for statement in first_statements)
        last_steps = sum(statement.steps(conn) for statement in last_statements)
    assert last_steps <= MARGIN * first_steps, (first_steps, last_steps)


@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("column", COLUMNS)
async def test_list_late_page_among_equals_costs_what_the_first_does(
    database_path: Path, column: str, descending: bool
) -> None:
    """Where all names and times are equal, the ids alone tell where a page begins."""
    key = key_of(column)
    made = [make_dashboard(EQUAL, number) for number in range(SMALL_COUNT)]
    expected = sorted((each for each in made if each.deleted_at is None), key=key, reverse=descending)
    query = DashboardQuery(
        order_by=cast("OrderColumn", column), descending=descending, limit=PAGE, max_bytes=3_000_000
    )
    _, (first,) = await statements_of_page(database_path, query, EQUAL)
    late = replace(query, after=key(expected[-PAGE - 2]))
    last, (statement,) = await statements_of_page(database_path, late, EQUAL)
    assert [each.id for each in last] == [each.id for each in expected[-PAGE - 1 : -1]]
    with contextlib.closing(sqlite3.connect(database_path)) as conn:
        assert statement.steps(conn) <= MARGIN * first.steps(conn)


@pytest.fixture(scope="module")
def big_server(database_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server on the loaded file."""
    url = f"sqlite:///{database_path}"
    with running_server(tmp_path_factory.mktemp("big"), DATABASE_URL=url) as running:
        yield running


def client(server: RunningServer, project_id: str) -> Api:
    return Api(server, "connect-json", make_token(project_id), project_id)


def walk(api: Api, **request: Any) -> Iterator[list[dict[str, Any]]]:
    """Give the pages of a list, one after another."""
    token = ""
    while True:
        reply = api.call("List", {**request, "pageToken": token})
        assert reply.code == "ok", reply
        yield reply.body.get("dashboards", [])
        if not (token := reply.body.get("nextPageToken", "")):
            return


def ids_of(pages: Iterator[list[dict[str, Any]]]) -> list[str]:
    return [dashboard["id"] for page in pages for dashboard in page]


@pytest.mark.parametrize("order", ["created_at", "name desc"])
def test_list_all_pages_of_the_big_project_hold_each_once(
    big_server: RunningServer, big_project: list[Dashboard], order: str
) -> None:
    column, _, direction = order.partition(" ")
    with contextlib.closing(client(big_server, BIG)) as api:
        ids = ids_of(walk(api, orderBy=order, showDeleted=True))
    expected = sorted(big_project, key=key_of(column), reverse=direction == "desc")
    assert ids == [dashboard.id for dashboard in expected]


@pytest.mark.parametrize("page_size", [7, 1_000])
@pytest.mark.parametrize(
    "order", [f"{column}{direction}" for column in COLUMNS for direction in ("", " desc")]
)
def test_list_all_pages_of_any_size_hold_each_once_in_order(
    big_server: RunningServer, order: str, page_size: int
) -> None:
    column, _, direction = order.partition(" ")
    made = (make_dashboard(SMALL, number) for number in range(SMALL_COUNT))
    live = (dashboard for dashboard in made if dashboard.deleted_at is None)
    expected = sorted(live, key=key_of(column), reverse=direction == "desc")
    with contextlib.closing(client(big_server, SMALL)) as api:
        assert ids_of(walk(api, orderBy=order, pageSize=page_size)) == [each.id for each in expected]


@pytest.mark.parametrize("order", ["created_at", "created_at desc", "updated_at", "name", "name desc"])
def test_list_while_others_change_holds_each_unchanged_one_exactly_once(
    big_server: RunningServer, order: str
) -> None:
    column = order.partition(" ")[0]
    with contextlib.closing(client(big_server, CHANGING)) as api:
        before = ids_of(walk(api, pageSize=1_000))
        changes: Counter[str] = Counter()
        pending = sorted(before[::5], key=lambda dashboard_id: dashboard_id[::-1])
        all_described: set[str] = set()
        seen: Counter[str] = Counter()
        for page in walk(api, orderBy=order, pageSize=100):
            seen.update(dashboard["id"] for dashboard in page)
            for _ in range(3):
                created = api.call("Create", {"name": f"Ops {len(changes) * 97 % 5_000:05}"})
                changes[created.dashboard["id"]] += 1
                deleted, renamed, described = pending.pop(), pending.pop(), pending.pop()
                requests = [
                    ("Delete", {"id": deleted}),
                    ("Update", {"id": renamed, "name": f"Öps {len(changes):05} anew"}),
                    ("Update", {"id": described, "description": f"{order} {len(changes)}"}),
                ]
                for method, request in requests:
                    assert api.call(method, request).code == "ok"
                    changes[request["id"]] += 1
                all_described.add(described)
        assert all(seen[each] == 1 for each in before if each not in changes)
        assert all(seen[each] <= changes[each] + (each in before) for each in changes)
        # Whose sort column stayed as it was is seen once, whatever else of it changed.
        assert column == "updated_at" or all(seen[each] == 1 for each in all_described)

"""Clocks that step back, or differ between servers: what comes later is later and sorts later."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest
from connectrpc.request import Headers

from dashkeeper.auth import Authenticator, StaticKey, TokenRules
from dashkeeper.errors import UnauthenticatedError
from tests.api import Api
from tests.clock import VARIABLE as CLOCK_FILE
from tests.database import server_on
from tests.registrations import client, done, get, register, show, wrappers
from tests.server import AUDIENCE, ISSUER, SECRET, make_token, running_server
from tests.tiles import Json, ids, markdown, time

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.server import RunningServer

HOUR = 3_600
DAY = 24 * HOUR


class Stepping(NamedTuple):
    """A server, and the file that says how many seconds its clock is off."""

    server: RunningServer
    clock: Path

    def step_to(self, seconds: int) -> None:
        self.clock.write_text(str(seconds), encoding="utf-8")


@contextlib.contextmanager
def stepping_clock(file: Path, seconds: int = 0) -> Generator[Path]:
    """Let servers started meanwhile have a clock that is off by what the file says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(seconds), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CLOCK_FILE, str(file))
        yield file


@pytest.fixture
def stepping(database: str, tmp_path: Path) -> Iterator[Stepping]:
    """A server on each database whose clock the test sets."""
    with stepping_clock(tmp_path / "clock") as clock, server_on(database, tmp_path) as server:
        yield Stepping(server, clock)


@pytest.fixture
def slow_twin(stepping: Stepping, tmp_path: Path) -> Iterator[RunningServer]:
    """Another server on the same database, whose clock is two hours behind."""
    url = stepping.server.database_url
    with (
        stepping_clock(tmp_path / "other clock", -2 * HOUR),
        running_server(tmp_path / "twin", DATABASE_URL=url) as server,
    ):
        yield server


def dashboards_of(server: RunningServer, project_id: str) -> Api:
    return Api(server, "connect-json", make_token(project_id), project_id)


def in_order(texts: list[str]) -> bool:
    """Whether each sorts after the one before it."""
    return all(one < other for one, other in itertools.pairwise(texts))


def check_contents(made: list[Json], registration: Json, api: Api) -> None:
    """Check that wrappers were made one after the other, by their times, their ids and their list."""
    times = [time(it["createdTs"]) for it in made]
    assert all(one < other for one, other in itertools.pairwise(times)), times
    assert times[0] > time(registration["createdTs"])
    assert in_order(ids(made)), ids(made)
    assert ids(wrappers(api, registration["id"])) == ids(made)[::-1]
    current = done(api, "GetContent", id=registration["id"]).wrapper
    assert (current["id"], current["createdTs"]) == (made[-1]["id"], made[-1]["createdTs"])


def test_contents_made_while_the_clock_steps_back_sort_as_they_were_made(
    stepping: Stepping, project_id: str
) -> None:
    with contextlib.closing(client(stepping.server, project_id)) as api:
        registration = register(api)
        made = [show(api, registration["id"], "first")]
        for hours in (-2, -4, 1, -3):
            stepping.step_to(hours * HOUR)
            made.append(show(api, registration["id"], f"at {hours}"))
        restored = done(api, "RestoreContent", id=registration["id"], contentId=made[0]["id"])
        check_contents([*made, restored.wrapper], registration, api)


def test_content_restored_by_update_after_the_clock_stepped_back_is_the_newest(
    stepping: Stepping, project_id: str
) -> None:
    with contextlib.closing(client(stepping.server, project_id)) as api:
        registration = register(api)
        made = [show(api, registration["id"], title) for title in ("first", "second")]
        stepping.step_to(-2 * HOUR)
        etag = get(api, registration["id"])["etag"]
        done(api, "Update", id=registration["id"], dashboardContentId=made[0]["id"], etag=etag)
        newest = done(api, "GetContent", id=registration["id"]).wrapper
        check_contents([*made, newest], registration, api)


def test_contents_made_on_servers_whose_clocks_differ_sort_as_they_were_made(
    stepping: Stepping, slow_twin: RunningServer, project_id: str
) -> None:
    with (
        contextlib.closing(client(stepping.server, project_id)) as api,
        contextlib.closing(client(slow_twin, project_id)) as slow,
    ):
        registration = register(api)
        made = [show(one, registration["id"], f"{n}") for n, one in enumerate((slow, api, slow, slow, api))]
        check_contents(made, registration, slow)


def test_contents_that_are_kept_are_the_last_ones_though_the_clock_steps_back(
    database: str, tmp_path: Path, project_id: str
) -> None:
    with (
        stepping_clock(tmp_path / "clock") as clock,
        server_on(database, tmp_path, REVISIONS_KEPT="3") as server,
        contextlib.closing(client(server, project_id)) as api,
    ):
        registration = register(api)
        made: list[Json] = []
        for number in range(6):
            Stepping(server, clock).step_to(-number * HOUR)
            made.append(show(api, registration["id"], f"{number}"))
        assert ids(wrappers(api, registration["id"])) == ids(made)[:2:-1]


def test_registration_changed_after_the_clock_stepped_back_is_later(
    stepping: Stepping, slow_twin: RunningServer, project_id: str
) -> None:
    with (
        contextlib.closing(client(stepping.server, project_id)) as api,
        contextlib.closing(client(slow_twin, project_id)) as slow,
    ):
        registration_id = register(api)["id"]
        show(api, registration_id)
        shown = time(done(api, "GetContent", id=registration_id).wrapper["createdTs"])
        stepping.step_to(-3 * HOUR)
        states = [done(one, "Update", id=registration_id, title=f"{n}") for n, one in enumerate((api, slow))]
        done(slow, "Delete", id=registration_id)
        (deleted,) = done(api, "List", organisationId="org", showDeleted=True).body["registrations"]
    modified = [time(it["lastModifiedTs"]) for it in [*(it.registration for it in states), deleted]]
    assert shown < modified[0] < modified[1] < modified[2]
    assert deleted["deletedAt"] == deleted["lastModifiedTs"]
    assert (time(deleted["purgeAt"]) - modified[2]).days == 30


def test_dashboard_changed_after_the_clock_stepped_back_is_later(
    stepping: Stepping, slow_twin: RunningServer, project_id: str
) -> None:
    with (
        contextlib.closing(dashboards_of(stepping.server, project_id)) as api,
        contextlib.closing(dashboards_of(slow_twin, project_id)) as slow,
    ):
        done(api, "Create", dashboardId="d", name="A")
        stepping.step_to(-3 * HOUR)
        done(api, "Update", id="d", name="B")
        done(slow, "Upsert", dashboardId="d", tiles=[markdown("t")])
        done(slow, "Delete", id="d")
        done(slow, "Create", dashboardId="d", name="C")  # begins anew, and its history goes on
        revisions = done(api, "ListRevisions", id="d").body["revisions"]
        created = done(api, "Get", id="d").dashboard
    times = [time(it["createdAt"]) for it in reversed(revisions)]
    assert len(times) == 5
    assert all(one < other for one, other in itertools.pairwise(times)), times
    assert created["createdAt"] == created["updatedAt"] == revisions[0]["createdAt"]


def test_resources_made_after_the_clock_stepped_back_sort_last(stepping: Stepping, project_id: str) -> None:
    with (
        contextlib.closing(dashboards_of(stepping.server, project_id)) as api,
        contextlib.closing(client(stepping.server, project_id)) as registrations,
    ):
        dashboards: list[Json] = []
        registered: list[Json] = []
        for hours in (0, -2, 1, -1, -3):
            stepping.step_to(hours * HOUR)
            dashboards.append(done(api, "Create", name="A").dashboard)
            registered.append(register(registrations))
        assert in_order(ids(dashboards))
        assert in_order(ids(registered))
        assert ids(done(api, "List").body["dashboards"]) == ids(dashboards)
        done(api, "Update", id=dashboards[0]["id"], name="B")
        newest = done(api, "List", orderBy="updated_at desc").body["dashboards"][0]
        assert newest["id"] == dashboards[0]["id"]
        created = [time(it["createdTs"]) for it in registered]
        assert all(one < other for one, other in itertools.pairwise(created))


def test_server_whose_clock_was_far_ahead_does_not_stay_there(stepping: Stepping, project_id: str) -> None:
    """What was written meanwhile stays in the future; what is written from then on need not."""
    with contextlib.closing(dashboards_of(stepping.server, project_id)) as api:
        before = done(api, "Create", dashboardId="before", name="A").dashboard
        stepping.step_to(366 * DAY)
        ahead = done(api, "Create", dashboardId="ahead", name="A").dashboard
        stepping.step_to(0)
        after = done(api, "Create", dashboardId="after", name="A").dashboard
        changed = done(api, "Update", id="ahead", name="B").dashboard
        again = done(api, "Update", id="after", name="B").dashboard
    assert (time(after["updatedAt"]) - time(before["updatedAt"])).days == 0
    assert (time(again["updatedAt"]) - time(after["updatedAt"])).days == 0
    assert time(changed["updatedAt"]) > time(ahead["updatedAt"])


class Clocks:
    """The clocks that `dashkeeper.auth` reads."""

    wall = 1_800_000_000.0
    measured = 1_000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.measured


def test_verified_token_is_remembered_for_five_minutes_whatever_the_clock_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key that is withdrawn must not be believed for hours because the clock was set back."""
    clocks = Clocks()
    monkeypatch.setattr("dashkeeper.auth.time", clocks)
    rules = TokenRules(algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE)
    authenticator = Authenticator(StaticKey(SECRET), rules)
    headers = Headers({"authorization": f"Bearer {make_token('p', exp=int(clocks.wall) + DAY)}"})
    authenticator.authenticate(headers)
    monkeypatch.setattr(authenticator, "_keys", StaticKey(SECRET[::-1]))
    clocks.wall -= 2 * HOUR
    clocks.measured += 299
    authenticator.authenticate(headers)
    clocks.measured += 2
    with pytest.raises(UnauthenticatedError):
        authenticator.authenticate(headers)

"""A client of the REST form, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.server import make_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.server import RunningServer

PAYLOADS = Path(__file__).parent / "payloads"
CHART = {"type": "Metric", "dataset": {"type": "OTQL", "query_id": "1"}}
CONTENT: dict[str, Any] = {
    "available_filters": [],
    "sections": [
        {"title": "A", "cards": [{"x": 0, "y": 0, "w": 4, "h": 2, "charts": [{**CHART, "colors": []}]}]}
    ],
}


def payload(name: str) -> Any:
    """Return an example."""
    return json.loads((PAYLOADS / f"registrations-{name}.json").read_text(encoding="utf-8"))


class Rest:
    """Calls the REST routes as one caller in one project."""

    def __init__(self, server: RunningServer, project_id: str, **claims: Any) -> None:
        self.project_id = project_id
        self.authorization = f"Bearer {make_token(project_id, **claims)}"
        self._http = httpx.Client(
            base_url=server.http,
            timeout=60,
            verify=False,  # noqa: S501 # plain HTTP: loading certificates would cost 37 ms a test
            headers={
                "authorization": f"Bearer {make_token(project_id, **claims)}",
                "x-project-id": project_id,
            },
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(
        self, method: str, path: str, body: Any = None, *, content: bytes | None = None, **headers: str | None
    ) -> httpx.Response:
        """Call a path below /v1; a header given as None is left out."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            content = json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        request = self._http.build_request(method, f"/v1{path}", content=content)
        for name, value in sent.items():
            if value is None:
                request.headers.pop(name, None)
            else:
                request.headers[name] = value
        return self._http.send(request)

    def create(self, **keys: Any) -> dict[str, Any]:
        """Make a registration; return it."""
        answer = self.call("POST", "/dashboards", registration(**keys))
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    def rpc(self, method: str, request: dict[str, Any]) -> Any:
        """Call a method of RegistrationsService by Connect, as JSON."""
        answer = self._http.post(f"/registrations.v1.RegistrationsService/{method}", json=request)
        assert answer.status_code == 200, answer.text
        return answer.json()


def registration(**keys: Any) -> dict[str, Any]:
    """Return a registration as it is created."""
    return {**payload("create"), **keys}


def violated(answer: httpx.Response) -> list[str]:
    """Return the paths at fault of an error that names some."""
    assert answer.json()["status"] == "error"
    fields: Iterable[dict[str, str]] = answer.json()["violations"]
    return [violation["field"] for violation in fields]

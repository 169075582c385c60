"""The check of histories can fail: it finds what is wrong with each of these, and nothing where it isn't."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dashboard_model import WRITES, DashboardModel, without_unforeseeable
from tests.history_checker import Answer, Call, Json, UnexplainedError, explain
from tests.request_ids import WithRequestIds

REQUEST_ID = "0b9f5a0e-6a3e-4f43-9c7e-1d7c5f1c2b3a"
GONE = Answer("not_found", reason="DASHBOARD_NOT_FOUND")


def state(revision: int, name: str, **fields: Any) -> Json:
    """Return the dashboard as of a revision; each is made a second after the one before."""
    return {
        "id": "d",
        "name": name,
        "createdAt": "2026-01-01T00:00:01Z",
        "createdBy": "tester",
        "updatedAt": f"2026-01-01T00:00:{revision:02}Z",
        "updatedBy": "tester",
        "etag": f"etag {revision}",
        "revision": str(revision),
        **fields,
    }


def shows(dashboard: Json) -> Answer:
    return Answer(body={"dashboard": dashboard})


def call(method: str, start: float, end: float, answer: Answer | None, **request: Any) -> Call:
    return Call(
        method,
        {"dashboardId" if method in {"Create", "Upsert"} else "id": "d", **request},
        start,
        end,
        answer,
    )


def created() -> Call:
    return call("Create", 0, 1, shows(state(1, "A")), name="A")


def renamed(start: float, end: float, revision: int, name: str, **request: Any) -> Call:
    return call("Update", start, end, shows(state(revision, name)), name=name, **request)


def got(start: float, end: float, revision: int, name: str) -> Call:
    return call("Get", start, end, shows(state(revision, name)))


def deleted(revision: int, name: str) -> Json:
    moment = f"2026-01-01T00:00:{revision:02}Z"
    return state(revision, name, deletedAt=moment, purgeAt=moment.replace("-01T", "-31T"))


def check(*calls: Call) -> list[str]:
    """Return the methods and revisions of the order that explains the calls."""
    order = explain(calls, WithRequestIds(DashboardModel("d", calls), WRITES)).order
    return [f"{it.method} {it.request.get('name', '')}".strip() for it in order]


def test_calls_one_after_another_are_explained() -> None:
    assert check(created(), got(2, 3, 1, "A"), renamed(4, 5, 2, "B"), got(6, 7, 2, "B")) == [
        "Create A",
        "Get",
        "Update B",
        "Get",
    ]


def test_writes_at_once_are_explained_by_their_revisions() -> None:
    calls = [created(), renamed(2, 9, 3, "C"), renamed(3, 8, 2, "B"), got(10, 11, 3, "C")]
    assert check(*calls) == ["Create A", "Update B", "Update C", "Get"]


def test_read_at_once_with_a_write_may_see_either_state() -> None:
    for revision, name in ((1, "A"), (2, "B")):
        check(created(), renamed(2, 5, 2, "B"), got(3, 4, revision, name))


def test_lost_update_is_found() -> None:
    lost = renamed(2, 5, 2, "B")
    with pytest.raises(UnexplainedError, match="revision 2 was seen as"):
        check(created(), lost, renamed(3, 6, 2, "C"), got(7, 8, 2, "C"))


def test_update_that_no_revision_holds_is_found() -> None:
    """Both were answered, and in the history there is but one."""
    kept = call("GetRevision", 7, 8, Answer("not_found", reason="REVISION_NOT_FOUND"), revision="3")
    with pytest.raises(UnexplainedError):
        check(created(), renamed(2, 5, 2, "B"), renamed(3, 6, 3, "C"), kept)


def test_stale_read_is_found() -> None:
    with pytest.raises(UnexplainedError, match="Get"):
        check(created(), renamed(2, 3, 2, "B"), got(4, 5, 1, "A"))


def test_reads_that_go_back_are_found() -> None:
    with pytest.raises(UnexplainedError):
        check(created(), renamed(2, 9, 2, "B"), got(3, 4, 2, "B"), got(5, 6, 1, "A"))


def test_read_of_what_is_written_later_is_found() -> None:
    with pytest.raises(UnexplainedError):
        check(created(), got(2, 3, 2, "B"), renamed(4, 5, 2, "B"))


def test_gap_in_the_revisions_is_found() -> None:
    with pytest.raises(UnexplainedError):
        check(created(), renamed(2, 3, 3, "B"))


def test_stale_etag_that_was_taken_is_found() -> None:
    with pytest.raises(UnexplainedError):
        check(created(), renamed(2, 3, 2, "B"), renamed(4, 5, 3, "C", etag="etag 1"))


def test_present_etag_that_was_refused_is_found() -> None:
    refused = Answer("aborted", reason="ETAG_MISMATCH", metadata={"current_etag": "etag 1"})
    with pytest.raises(UnexplainedError):
        check(created(), call("Update", 2, 3, refused, name="B", etag="etag 1"))


def test_refusal_that_names_another_etag_is_found() -> None:
    refused = Answer("aborted", reason="ETAG_MISMATCH", metadata={"current_etag": "etag 1"})
    with pytest.raises(UnexplainedError):
        check(created(), renamed(2, 3, 2, "B"), call("Update", 4, 5, refused, name="C", etag="etag 0"))


def test_one_request_id_with_one_effect_is_explained() -> None:
    first = renamed(2, 5, 2, "B", requestId=REQUEST_ID)
    again = renamed(3, 9, 2, "B", requestId=REQUEST_ID)
    check(created(), first, again, renamed(6, 7, 3, "C"))


def test_one_request_id_with_two_effects_is_found() -> None:
    first = renamed(2, 5, 2, "B", requestId=REQUEST_ID)
    between = renamed(6, 7, 3, "C")
    with pytest.raises(UnexplainedError):
        check(created(), first, between, renamed(8, 9, 4, "B", requestId=REQUEST_ID))


def test_other_answer_to_the_same_call_is_found() -> None:
    first = renamed(2, 5, 2, "B", requestId=REQUEST_ID)
    again = renamed(8, 9, 3, "C", requestId=REQUEST_ID)
    with pytest.raises(UnexplainedError):
        check(created(), first, renamed(6, 7, 3, "C"), Call(again.method, first.request, 8, 9, again.answer))


def test_other_call_under_a_used_request_id_that_was_taken_is_found() -> None:
    first = renamed(2, 5, 2, "B", requestId=REQUEST_ID)
    with pytest.raises(UnexplainedError):
        check(created(), first, renamed(6, 7, 3, "C", requestId=REQUEST_ID))


def test_answer_other_than_the_stored_revision_is_found() -> None:
    stored = call("GetRevision", 4, 5, shows(state(2, "B", description="not sent")), revision="2")
    with pytest.raises(UnexplainedError, match="revision 2 was seen as"):
        check(created(), renamed(2, 3, 2, "B"), stored)


def test_history_that_names_another_call_is_found() -> None:
    check(created(), call("ListRevisions", 2, 3, Answer(body={"revisions": [entry(1)]})))
    wrong = {**entry(1), "kind": "REVISION_KIND_UPSERT"}
    with pytest.raises(UnexplainedError):
        check(created(), call("ListRevisions", 2, 3, Answer(body={"revisions": [wrong]})))


def test_one_etag_for_two_revisions_is_found() -> None:
    twice = call("Update", 2, 3, shows(state(2, "B", etag="etag 1")), name="B")
    with pytest.raises(UnexplainedError, match="one etag"):
        check(created(), twice)


def test_dry_run_that_was_written_is_found() -> None:
    shown = without_unforeseeable(shows(state(1, "B")))
    run = call("Update", 2, 3, shown, name="B", validateOnly=True)
    check(created(), run, got(4, 5, 1, "A"))
    with pytest.raises(UnexplainedError):
        check(created(), run, got(4, 5, 2, "B"))


def test_call_that_changed_nothing_but_the_revision_is_found() -> None:
    with pytest.raises(UnexplainedError):
        check(created(), renamed(2, 3, 2, "A"))


@pytest.mark.parametrize(
    "dashboard", [state(2, "A"), deleted(3, "A"), {**deleted(2, "A"), "purgeAt": "2026-01-30T00:00:02Z"}]
)
def test_deleted_dashboard_that_is_listed_otherwise_is_found(dashboard: Json) -> None:
    gone = call("Delete", 2, 3, Answer())
    listed = call("List", 4, 5, Answer(body={"dashboards": [deleted(2, "A")]}), showDeleted=True)
    check(created(), gone, listed, call("Get", 6, 7, GONE))
    wrong = call("List", 4, 5, Answer(body={"dashboards": [dashboard]}), showDeleted=True)
    with pytest.raises(UnexplainedError):
        check(created(), gone, wrong)


def test_call_of_unknown_outcome_may_take_effect_late_or_never() -> None:
    unknown = Call("Update", {"id": "d", "name": "B"}, 2)
    never = [created(), unknown, got(5, 6, 1, "A")]
    assert check(*never) == ["Create A", "Get"]
    late = [*never, got(7, 8, 2, "B")]
    assert check(*late) == ["Create A", "Get", "Update B", "Get"]


def test_call_of_unknown_outcome_that_takes_effect_twice_or_early_is_found() -> None:
    unknown = Call("Update", {"id": "d", "name": "B"}, 2)
    twice = [created(), unknown, got(3, 4, 2, "B"), renamed(5, 6, 3, "C"), got(7, 8, 4, "B")]
    with pytest.raises(UnexplainedError):
        check(*twice)
    with pytest.raises(UnexplainedError):
        check(created(), got(1, 1.5, 2, "B"), unknown)


def test_repeat_of_a_call_of_unknown_outcome_answers_what_it_did() -> None:
    unknown = Call("Update", {"id": "d", "name": "B", "requestId": REQUEST_ID}, 2)
    again = renamed(6, 7, 2, "B", requestId=REQUEST_ID)
    check(created(), unknown, again)
    check(created(), unknown, got(3, 4, 2, "B"), renamed(5, 5.5, 3, "C"), again)
    with pytest.raises(UnexplainedError):
        check(
            created(),
            unknown,
            got(3, 4, 2, "B"),
            renamed(5, 5.5, 3, "C"),
            renamed(6, 7, 4, "B", requestId=REQUEST_ID),
        )


def test_error_that_the_specification_does_not_know_is_found() -> None:
    with pytest.raises(UnexplainedError, match="INTERNAL"):
        check(created(), call("Update", 2, 3, Answer("internal", reason="INTERNAL"), name="B"))


def test_writes_at_once_whose_answers_say_no_revision_are_tried_in_each_order() -> None:
    """Of two deletes, each answered alike, the one before the undelete has to be found."""
    calls = [
        created(),
        call("Delete", 2, 20, Answer()),
        call("Delete", 3, 21, Answer()),
        call("Undelete", 4, 22, shows(state(3, "A"))),
        call("Get", 23, 24, GONE),
        call("ListRevisions", 25, 26, Answer(body={"revisions": [entry(number) for number in (4, 3, 2, 1)]})),
    ]
    assert check(*calls)[1:4] == ["Delete", "Undelete", "Delete"]


def entry(revision: int) -> Json:
    """Return a line of the history: created, deleted, brought back, deleted again."""
    return {
        "revision": str(revision),
        "etag": f"etag {revision}",
        "createdAt": f"2026-01-01T00:00:{revision:02}Z",
        "createdBy": "tester",
        "kind": f"REVISION_KIND_{('CREATE', 'DELETE', 'UNDELETE', 'DELETE')[revision - 1]}",
        "name": "A",
        "changes": {},
    }

"""The dates of report requests: what the pattern in the .proto can't say of them."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from dashkeeper.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashkeeper.gen.registrations.v1.report_request_pb import ReportRequest
    from dashkeeper.paths import Path

# Of the forms that the .proto takes, those that aren't relative to now.
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?:Z|[+-](\d\d:?\d\d))?)?", re.ASCII)


def problems(report: ReportRequest, path: Path) -> Iterator[Violation]:
    """Find the dates and times that no calendar and no clock has (RFC 3339 §5.6, without leap seconds)."""
    for i, span in enumerate(report.date_ranges):
        for name, text in (("start_date", span.start_date), ("end_date", span.end_date)):
            if problem := _problem(text):
                yield Violation((*path, "date_ranges", i, name), problem)


def _problem(text: str) -> str:
    """Return what is wrong with a date of a form that is taken; empty for nothing."""
    if not (parts := _ISO.fullmatch(text)):
        return ""
    day, time, offset = parts.groups()
    try:
        date.fromisoformat(day)
    except ValueError:
        return f"there is no day {day}: write one of the calendar"
    for what, digits in (("time", time), ("offset", offset)):
        hours, *smaller = re.findall(r"\d\d", digits or "00")
        if hours > "23" or any(each > "59" for each in smaller):
            return f"there is no {what} {digits}: write 00:00 to 23:59"
    return ""

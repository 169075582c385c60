"""What is logged, and how: text for people, JSON lines for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def configure_logging(level: str, style: Literal["text", "json"] | None) -> None:
    """Log to standard error; the style is by default text on a terminal, else JSON."""
    if style is None:
        style = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONFormatter() if style == "json" else _TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)  # asyncpg's, of a passfile: lines of the log, as all else
    # grpcio logs headers that aren't text as they are, a token among them.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_about_a_header)
    logging.getLogger("alembic").setLevel(max(logging.WARNING, logging.getLogger().level))


def _is_not_about_a_header(record: logging.LogRecord) -> bool:
    return "Invalid encoding" not in str(record.msg)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD_FIELDS}


class _JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what the record carries."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        line = json.dumps(fields, default=str)  # in ASCII: valid whatever encoding standard error has
        if "\\ud" in line:  # half a character, perhaps, which many readers refuse in JSON
            whole = json.dumps(fields, ensure_ascii=False, default=str).encode(errors="replace")
            line = json.dumps(json.loads(whole))
        return line


class _TextFormatter(logging.Formatter):
    """A line for people: time, level, message, then name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # logging's own name
        fields = " ".join(
            f"{name}={_on_a_line(str(value))}" for name, value in _extra(record).items() if value != ""
        )
        return f"{super().formatMessage(record)} {fields}".rstrip()


def _on_a_line(text: str) -> str:
    """Return a text as it is, or as a JSON string where it would end the line or move the cursor."""
    return text if text.isprintable() else json.dumps(text)

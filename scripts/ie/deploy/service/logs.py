"""Logs as lines of JSON on stderr, without any content of requests."""

import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from ie.core.files import json_text

LOGGER = logging.getLogger("serve")


class Lines(logging.Formatter):
    """Formats a record as a line of JSON; an exception without its message, which may quote a text."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name == LOGGER.name else record.name,
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            fault = record.exc_info[1]
            frames = traceback.extract_tb(fault.__traceback__)
            line["error"] = type(fault).__name__
            if frames:
                line["where"] = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        elif record.name != LOGGER.name and record.levelno >= logging.WARNING:
            line["message"] = str(record.msg)  # without its arguments
        return json_text(line, ensure_ascii=True)


def start() -> None:
    """Send all logs to stderr, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)


def log(event: str, **fields: Any) -> None:
    """Log an event."""
    LOGGER.info(event, extra={"fields": fields})

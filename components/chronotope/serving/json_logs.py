"""Structured logs: one JSON object a line, with the ids of the trace that it belongs to."""

import json
import logging
import sys
from datetime import UTC, datetime

from opentelemetry import trace

REQUEST_FIELDS = "request_fields"
"""Attribute of a log record with further members of its object."""


class JsonFormatter(logging.Formatter):
    """Formatter of a record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, and the trace's ids within a recorded span.

        Of an exception only the type is written: its message may name a user.
        """
        log_entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        log_entry |= getattr(record, REQUEST_FIELDS, {})
        if record.exc_info and record.exc_info[0] is not None:
            log_entry["exception"] = record.exc_info[0].__name__
        span_context = trace.get_current_span().get_span_context()
        if span_context.is_valid:
            log_entry["trace_id"] = trace.format_trace_id(span_context.trace_id)
            log_entry["span_id"] = trace.format_span_id(span_context.span_id)
        return json.dumps(log_entry)


def log_as_json() -> None:
    """Write the logs of this process to standard error as JSON: requests, swaps, warnings.

    Logs of requests name the route alone, no ids and no query.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root_logger = logging.getLogger()
    root_logger.handlers = [handler]
    root_logger.setLevel(logging.WARNING)
    logging.getLogger("chronotope").setLevel(logging.INFO)

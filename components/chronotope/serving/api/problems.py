"""Error responses of the HTTP endpoints."""

from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from chronotope.contracts.errors import ChronotopeError, ConfigError, DataError
from chronotope.serving.api.responses import FieldProblem, Problem

_STATUS_DESCRIPTIONS: Final = {
    400: "The request is not JSON.",
    401: "The API key is missing or wrong.",
    408: "The request body arrived too slowly.",
    413: "The request is too large.",
    421: "Without an API key, only the hosts 127.0.0.1 and localhost are served.",
    422: "A field is invalid, or an id or category is unknown.",
    429: "Too many requests.",
    431: "The headers are too many or too large.",
    503: "There is no champion yet, a store is unavailable, or the request timed out.",
}

_UNION_TAGS: Final = frozenset({"one", "many", "event", "impression"})
_MAX_RECEIVED_CHARS: Final = 300

PROBLEM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status_code: {"model": Problem, "description": description}
    for status_code, description in _STATUS_DESCRIPTIONS.items()
}
"""Error responses of every endpoint, for the OpenAPI document."""


def handle_problems(app: FastAPI) -> None:
    """Turn every deliberate error into a ``Problem`` response."""
    app.add_exception_handler(ChronotopeError, _handle_chronotope_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_error)


def problem_response(error: ChronotopeError) -> JSONResponse:
    """Response of a deliberate error: 422 for the caller's fault, 503 for the service's."""
    status_code = 422 if isinstance(error, ConfigError | DataError) else 503
    received = None if error.received is None else str(error.received)[:_MAX_RECEIVED_CHARS]
    problem_text = Problem(detail=error.problem, received=received, hint=error.way_out)
    return _json_problem(status_code, problem_text)


async def _handle_chronotope_error(_: Request, error: Exception) -> JSONResponse:
    return problem_response(cast("ChronotopeError", error))


async def _handle_validation_error(request: Request, error: Exception) -> JSONResponse:
    error = cast("RequestValidationError", error)
    media_type = request.headers.get("content-type")
    is_body = any(detail["loc"][0] == "body" for detail in error.errors())
    if is_body and not _is_json_type(media_type):
        return _json_problem(422, _media_type_problem(media_type))
    fields = tuple(_field_problem(detail) for detail in error.errors())
    hint_text = "See /openapi.json for the request schema"
    return _json_problem(
        422, Problem(detail="The request is invalid", fields=fields, hint=hint_text)
    )


async def _handle_http_error(_: Request, error: Exception) -> JSONResponse:
    error = cast("HTTPException", error)
    problem_text = Problem(detail=error.detail, hint="See /openapi.json for the endpoints")
    return _json_problem(error.status_code, problem_text, error.headers)


def _is_json_type(media_type: str | None) -> bool:
    """Whether a Content-Type is JSON, such as ``application/json; charset=utf-8``."""
    type_name = (media_type or "").partition(";")[0].strip().lower()
    return type_name == "application/json" or (
        type_name.startswith("application/") and type_name.endswith("+json")
    )


def _media_type_problem(media_type: str | None) -> Problem:
    return Problem(
        detail="The request body is read as JSON only if its Content-Type is application/json",
        received="no Content-Type header"
        if media_type is None
        else media_type[:_MAX_RECEIVED_CHARS],
        hint="Send the header Content-Type: application/json, as in: "
        "curl -H 'Content-Type: application/json' -d '{...}'",
    )


def _field_problem(detail: Mapping[str, Any]) -> FieldProblem:
    """Problem of one field; a union without a valid discriminator is a problem of that field."""
    location, message, error_context = detail["loc"], detail["msg"], detail.get("ctx", {})
    match detail["type"]:
        case "json_invalid":
            reason = error_context.get("error", "invalid")
            message = f"This is no JSON: {reason}, at character {location[-1]}"
            location = location[:1]
        case "union_tag_not_found" | "union_tag_invalid":
            location = (*location, error_context["discriminator"].strip("'"))
            message = "Field required"
            if "tag" in error_context:
                message = f"{error_context['tag']!r} is none of {error_context['expected_tags']}"
        case "extra_forbidden":
            message = "There is no such field"
    return FieldProblem(field=_field_path(location), message=message.removeprefix("Value error, "))


def _field_path(location: tuple[int | str, ...]) -> str:
    """``history.0.item_id``: without ``body``, and without the tags of unions."""
    path_parts = (str(part) for part in location[1:] if part not in _UNION_TAGS)
    return ".".join(path_parts) or str(location[0])


def _json_problem(status_code: int, problem: Problem, headers: Any = None) -> JSONResponse:
    return JSONResponse(problem.model_dump(mode="json"), status_code, headers)

"""Errors as answers: what is wrong, what was received, the way out."""

from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from chronotope.contracts.errors import ChronotopeError, ConfigError, DataError
from chronotope.serving.api.responses import FieldProblem, Problem

_MEANINGS: Final = {
    400: "The request is no JSON.",
    401: "The API key is missing or wrong.",
    408: "The request came too slowly.",
    413: "The request is too large.",
    421: "Without a key, only 127.0.0.1 and localhost are answered.",
    422: "A field is wrong, or there is no such thing.",
    429: "Too many requests.",
    431: "The headers are too many or too large.",
    503: "There is no champion yet, a store cannot be used, or the answer took too long.",
}

_TAGS: Final = frozenset({"one", "many", "event", "impression"})

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": meaning} for status, meaning in _MEANINGS.items()
}
"""Answers of every endpoint when something is wrong, for its documentation."""


def handle_problems(app: FastAPI) -> None:
    """Answer every deliberate error with a ``Problem``."""
    app.add_exception_handler(ChronotopeError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def problem_response(error: ChronotopeError) -> JSONResponse:
    """What a deliberate error answers."""
    status = 422 if isinstance(error, ConfigError | DataError) else 503
    received = None if error.received is None else str(error.received)[:300]
    return _reply(status, Problem(what=error.what, received=received, way_out=error.way_out))


async def _ours(_: Request, error: Exception) -> JSONResponse:
    return problem_response(cast("ChronotopeError", error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    error = cast("RequestValidationError", error)
    fields = tuple(
        FieldProblem(field=_path(found["loc"]), problem=found["msg"]) for found in error.errors()
    )
    way_out = "See /openapi.json for what can be sent"
    return _reply(422, Problem(what="The request is wrong", fields=fields, way_out=way_out))


async def _http(_: Request, error: Exception) -> JSONResponse:
    error = cast("HTTPException", error)
    problem = Problem(what=error.detail, way_out="See /openapi.json for what there is")
    return _reply(error.status_code, problem, error.headers)


def _path(place: tuple[int | str, ...]) -> str:
    """``history.0.item_id``: without ``body``, and without the names of alternatives."""
    return ".".join(str(part) for part in place[1:] if part not in _TAGS) or str(place[0])


def _reply(status: int, problem: Problem, headers: Any = None) -> JSONResponse:
    return JSONResponse(problem.model_dump(mode="json"), status, headers)

"""Encode every error in one place, as RFC 9457 application/problem+json."""

import logging
from http import HTTPStatus

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import photo
from ..json_log import JsonMessage, format_traceback
from ..workers.task import BUSY, DecoderBusy

logger = logging.getLogger("fieldmark")
PHOTO_PROBLEMS = {
    photo.EmptyPhoto: (400, "empty-photo"),
    photo.NotAPhoto: (415, "not-a-photo"),
    photo.DamagedPhoto: (422, "damaged-photo"),
    photo.PhotoTooLarge: (413, "photo-too-large"),
    photo.PhotoNeedsMemory: (413, "photo-too-large"),
    photo.PhotoTooSlow: (422, "photo-too-slow"),
    photo.CropOutsidePhoto: (422, "invalid-query"),
}


class Problem(Exception):
    """An HTTP error with a status, a stable type and a sentence for the person who caused it."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str):
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def not_ready(reason: str) -> Problem:
    """Return the problem of a function that cannot classify, because of its model or settings."""
    return Problem(503, "model-not-loaded", reason, Retry_After="60")


def bad_form(reason: str) -> Problem:
    """Return the problem of a multipart form that cannot be parsed."""
    reason = reason.rstrip(".")
    detail = f"This form cannot be read: {reason}. Send each photo as a file named photo."
    return Problem(400, "bad-form", detail)


def busy(seconds: int, detail: str = BUSY) -> Problem:
    """Return the problem of a function that has no free slot, to be tried again in `seconds`."""
    return Problem(503, "busy", detail, Retry_After=str(seconds))


def not_http() -> Problem:
    """Return the problem of bytes that are not a request of HTTP/1.1."""
    detail = "This is not a valid HTTP/1.1 request. Check the program that sent it."
    return Problem(400, "bad-http", detail)


def wasteful_chunks() -> Problem:
    """Return the problem of a chunked body with too many bytes that are not the photo's."""
    detail = (
        "The body's chunks are too small, or have long extensions or trailers. Send 1 KiB each."
    )
    return Problem(400, "bad-http", detail)


def head_too_large(limit: int) -> Problem:
    """Return the problem of a request whose line and headers have more than `limit` bytes."""
    size = f"{limit // 1024} KiB"
    detail = f"Address and headers together exceed {size}. Send the photo as the body."
    return Problem(431, "head-too-large", detail)


def slow_body(seconds: int, rate: int) -> Problem:
    """Return the problem of a body that arrives too slowly."""
    limits = f"within {seconds} seconds, at {rate // 1024} KiB a second or more"
    return Problem(408, "too-slow", f"The photo must arrive {limits}. Send a smaller copy.")


def slow_head(seconds: int) -> Problem:
    """Return the problem of a request whose headers did not arrive in time."""
    detail = f"The headers did not arrive within {seconds} seconds. Please try again."
    return Problem(408, "too-slow", detail)


def problem_document(problem: Problem) -> dict:
    """Return the members of an RFC 9457 problem document."""
    return {
        "type": f"urn:fieldmark:{problem.kind}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        # a file name from the environment may have bytes that are no UTF-8
        "detail": problem.detail.encode(errors="backslashreplace").decode(),
    }


async def problem_response(request: Request, error: Exception) -> JSONResponse:
    """Return the response to any error, and note its type for the request's log line.

    A disconnected client gets none: ClientDisconnect is raised again.
    """
    if isinstance(error, ClientDisconnect):
        raise error
    problem = find_problem(error)
    if problem.status == 500:
        traceback = format_traceback(error)
        logger.error(JsonMessage(message="A request failed", traceback=traceback))
    request.scope.setdefault("log", {})["problem"] = problem.kind
    return encode_problem(problem)


def encode_problem(problem: Problem) -> JSONResponse:
    """Return the response to a problem."""
    content, media_type = problem_document(problem), "application/problem+json"
    return JSONResponse(content, problem.status, problem.headers, media_type)


def find_problem(error: Exception) -> Problem:
    """Return the problem for an error; an unexpected one gets status 500 without its text."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, DecoderBusy):
        return busy(1)
    if isinstance(error, photo.PhotoError):
        return Problem(*PHOTO_PROBLEMS[type(error)], str(error))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return Problem(422, "invalid-query", f"{first['loc'][-1]}: {first['msg']}.")
    if isinstance(error, HTTPException):
        detail = f"{error.detail}: /api/docs lists the routes."
        return Problem(error.status_code, "http-error", detail, **(error.headers or {}))
    return Problem(500, "internal-error", "Something went wrong in the function. Please try again.")

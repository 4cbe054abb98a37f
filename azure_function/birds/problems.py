"""Answer every error in one place, as RFC 9457 application/problem+json."""

import logging
from http import HTTPStatus

from fastapi import Request
from fastapi.exceptions import RequestValidationError as Invalid
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from . import photo

PHOTO_PROBLEMS = {
    photo.EmptyPhoto: (400, "empty-photo"),
    photo.NotAPhoto: (415, "not-a-photo"),
    photo.DamagedPhoto: (422, "damaged-photo"),
    photo.PhotoTooLarge: (413, "photo-too-large"),
}


class Problem(Exception):
    """An error with a stable type, a status and a sentence that its reader can act on."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str):
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def not_ready(why: str) -> Problem:
    """Say why no photo gets an answer now."""
    return Problem(503, "model-not-loaded", why, Retry_After="60")


def no_key() -> Problem:
    """Say that a key is wanted."""
    return Problem(401, "key-missing", "Send the function's key in the x-functions-key header.")


def no_parameter(name: str, known: tuple[str, ...]) -> Problem:
    """Say which parameters there are."""
    listed = " and ".join(known)
    return Problem(422, "invalid-query", f"There is no parameter {name!r}; there are {listed}.")


def wrong_kind(kind: str) -> Problem:
    """Say which types of body are read."""
    return Problem(
        415, "not-a-photo", f"Send the bytes of a photo with a type like image/jpeg, not {kind}."
    )


def bad_form(why: str) -> Problem:
    """Say why a multipart form can't be read."""
    return Problem(
        400,
        "bad-form",
        f"This form can't be read: {why.rstrip('.')}. Send each photo as a file named photo.",
    )


def too_slow(seconds: int) -> Problem:
    """Say that a body took too long to arrive."""
    return Problem(
        408, "too-slow", f"The photo didn't arrive within {seconds} seconds. Send a smaller copy."
    )


def busy() -> Problem:
    """Say that as many photos are in hand as this place can take."""
    return Problem(
        503, "busy", "Too many photos at once just now. Please try again.", Retry_After="1"
    )


def document(problem: Problem) -> dict:
    """Write a problem as RFC 9457 has it."""
    return {
        "type": f"urn:fieldmark:{problem.kind}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }


def answer(request: Request, error: Exception) -> JSONResponse:
    """Encode any error as a problem document."""
    problem = encode(error)
    request.scope.setdefault("log", {})["problem"] = problem.kind
    return JSONResponse(
        document(problem), problem.status, problem.headers, "application/problem+json"
    )


class Faults:
    """ASGI middleware that answers what nobody foresaw; Azure would answer without a body."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer if that fails."""
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("A request failed")
            await answer(Request(scope), error)(scope, receive, send)


def encode(error: Exception) -> Problem:
    """Find the status, type and sentence of an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, photo.PhotoError):
        return Problem(*PHOTO_PROBLEMS[type(error)], str(error))
    if isinstance(error, Invalid):
        first = error.errors()[0]
        return Problem(422, "invalid-query", f"{first['loc'][-1]}: {first['msg']}.")
    if isinstance(error, HTTPException):
        sentence = f"{error.detail}: /api/docs lists what can be asked, and how."
        return Problem(error.status_code, "http-error", sentence, **(error.headers or {}))
    return Problem(500, "internal-error", "Something went wrong here, not with you. Try again.")

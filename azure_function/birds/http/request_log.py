"""Log one line of JSON for each request, with nothing of the photo, its EXIF or the key."""

import logging
import time
from http import HTTPMethod

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..json_log import JsonMessage

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left before the response
METHODS = {method.value for method in HTTPMethod}
HEALTH_ROUTES = {"/api/health", "/api/health/alive"}
logger = logging.getLogger("fieldmark.requests")


class RequestLogMiddleware:
    """ASGI middleware: log each request when it is finished.

    The app adds its own facts to `scope["log"]`: bytes, kinds of answers, the problem's type,
    milliseconds by stage. The route is logged as declared, so it contains nothing from the client.
    """

    def __init__(self, app: ASGIApp, version: dict | None, enabled: bool = True):
        self.app, self.version, self.enabled = app, version, enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, then log it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, facts = time.perf_counter(), scope.setdefault("log", {})
        status = CLIENT_CLOSED_REQUEST

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note_status)
        except ClientDisconnect:
            pass  # there is nobody to respond to
        finally:
            stages = facts.pop("milliseconds", {})
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", None)
            line = {
                "message": f"{method} {route or 'another path'}: {status}",
                "method": method,
                "route": route,
                "status": status,
                "model": self.version,
                "milliseconds": stages | {"total": milliseconds_since(started)},
            } | facts
            is_healthy = line["route"] in HEALTH_ROUTES and status == 200
            if self.enabled:
                logger.log(logging.DEBUG if is_healthy else logging.INFO, JsonMessage(line))


def log_refused_connection(problem: str, status: int) -> None:
    """Log a connection that ended before its request reached the app."""
    message = f"A connection without a request: {status}"
    logger.info(JsonMessage(message=message, status=status, problem=problem))


def milliseconds_since(started: float) -> float:
    """Return the milliseconds since a reading of time.perf_counter."""
    return round(1000 * (time.perf_counter() - started), 3)


def add_photo(facts: dict, kind: str, stages: dict[str, float], total: float) -> None:
    """Add the kind of result of one photo to a request's facts, and its milliseconds by stage.

    `total` beyond the total of its stages is time in the queue. A photo without an answer has no
    stages.
    """
    sums = facts.setdefault("milliseconds", {})
    stages = {"wait": total - stages.get("total", total)} | stages
    for stage in ("wait", "prepare", "find", "model"):
        sums[stage] = round(sums.get(stage, 0) + stages.get(stage, 0), 3)
    facts.setdefault("kinds", []).append(kind)

"""Write one line of JSON a request: how it went, and nothing of the photo, its EXIF or the key."""

import json
import logging
import sys
import time
import warnings

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GONE = 499  # what nginx writes for a client that left before its answer
CHECKS = {"/api/health", "/api/health/alive"}
logger = logging.getLogger("fieldmark.requests")


class Lines:
    """ASGI middleware that logs each request when it is done.

    What the app knows better it leaves in `scope["log"]`: bytes, photos, kinds of answer, the
    problem's type, milliseconds by stage. The route is logged as declared, never as asked for.
    """

    def __init__(self, app: ASGIApp, version: str | None, told: bool = True):
        self.app, self.version, self.told = app, version, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log how it went."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, known = time.perf_counter(), scope.setdefault("log", {})
        status = GONE

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        finally:
            stages = known.pop("milliseconds", {})
            total = round(1000 * (time.perf_counter() - started), 3)
            line = {
                "method": scope["method"],
                "route": getattr(scope.get("route"), "path", None),
                "status": status,
                "model": self.version,
                "milliseconds": stages | {"total": total},
            }
            if self.told:
                logger.log(level(line), json.dumps(line | known))


def level(line: dict) -> int:
    """Return DEBUG, which isn't shown, for a health check that found all well, else INFO."""
    well = line["route"] in CHECKS and line["status"] == 200
    return logging.DEBUG if well else logging.INFO


def add_photo(line: dict, kind: str, stages: dict[str, float], spent: float) -> None:
    """Add what became of a photo to a request's line, its milliseconds by stage summed up.

    What it spent beyond the stages' total, it waited; a photo without an answer has no stages.
    """
    sums = line.setdefault("milliseconds", {})
    stages = {"wait": spent - stages.get("total", spent)} | stages
    for stage in ("wait", "prepare", "model"):
        sums[stage] = round(sums.get(stage, 0) + stages.get(stage, 0), 3)
    line.setdefault("kinds", []).append(kind)


def begin() -> None:
    """Show the lines where nobody has set up logging (Azure's worker has), and hush Pillow.

    Pillow tells at length, in warnings and at debug level, what it finds in a photo's EXIF.
    """
    logging.getLogger("PIL").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="PIL")
    logger.setLevel(logging.INFO)
    if not logging.getLogger().handlers and not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)

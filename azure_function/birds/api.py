"""Create the FastAPI app that serves a model file; `app` is configured by the environment."""

import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware

from .errors import UserError
from .finder import default_finder
from .http import pages, routes
from .http.body_buffer import BodyBuffer
from .http.load_shedding import LoadShedder, Slots
from .http.pieces import PiecesMiddleware
from .http.problems import problem_response
from .http.request_log import RequestLogMiddleware
from .http.security_headers import SecurityHeadersMiddleware
from .http.settings import Settings, SettingsError, load_settings
from .identifier import Identifier
from .json_log import JsonMessage, configure_logging
from .workers.decoder import Decoder, Limits, shared_decoder

if TYPE_CHECKING:
    from .http.fetch import Fetcher

SHIPPED_MODEL = Path(__file__).parents[1] / "model" / "birds.onnx"
DEFAULTS = Settings()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Configure logging again, after the server has; at the end stop the decoder."""
    configure_logging()
    gc.freeze()  # what was imported stays, so later collections are short
    yield
    app.state.decoder.close()  # starts again with the next photo


def create_app(
    model: Path | str,
    settings: Settings = DEFAULTS,
    fault: str | None = None,
    decoder: Decoder | None = None,
    finder: Path | str | None = None,
) -> FastAPI:
    """Create the app around a model file, and a finder's, if any.

    `decoder` is one of this process's by default. If a file cannot be loaded, or `fault` describes
    another error, the app responds with 503 and /api/health says why.
    """
    identifier = None
    decoder = decoder or create_decoder(settings)
    try:
        if not fault:
            decoder.start()  # while the model is loaded
            identifier = Identifier.load(model, finder, settings.workers)
    except UserError as error:
        fault = str(error)
    return create_identifier_app(identifier, settings, fault, decoder)


def create_identifier_app(
    identifier: Identifier | None,
    settings: Settings = DEFAULTS,
    fault: str | None = None,
    decoder: Decoder | None = None,
) -> FastAPI:
    """Create the app around a loaded model; around none, `fault` says why there is none.

    `decoder` and `fault` are as for `create_app`.
    """
    if fault:
        message = f"Photos cannot be classified: {fault}"
        logging.getLogger("fieldmark").error(JsonMessage(message=message))
    elif identifier and (message := identifier.mismatch):
        logging.getLogger("fieldmark").warning(JsonMessage(message=message))
    app = FastAPI(
        title="Fieldmark",
        description="Classify the bird in a photo.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        redirect_slashes=False,  # such a redirect repeats the client's Host header
    )
    app.state.identifier, app.state.fault, app.state.key = identifier, fault, settings.key
    app.state.decoder = decoder or create_decoder(settings)
    app.state.slots = Slots(settings.workers, settings.max_in_flight)
    app.state.bodies = BodyBuffer()
    app.state.fetcher = create_fetcher(settings)
    app.include_router(routes.routes)
    app.include_router(pages.docs_routes)
    if settings.page:
        app.include_router(pages.page_routes)
    app.add_middleware(LoadShedder, "/api/classify", app.state.slots)
    app.add_middleware(ExceptionMiddleware, {Exception: problem_response})
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["x-functions-key"],
            expose_headers=["retry-after"],
        )
    version = identifier.classifier.version if identifier else None
    app.add_middleware(RequestLogMiddleware, version, settings.log)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(PiecesMiddleware)  # the outermost
    for error in (HTTPException, RequestValidationError):  # FastAPI has handlers of its own
        app.add_exception_handler(error, problem_response)
    return app


def create_decoder(settings: Settings) -> Decoder:
    """Return the decoder that the apps of this process share."""
    return shared_decoder(settings.decoders, Limits(memory=settings.large_memory))


def create_fetcher(settings: Settings) -> "Fetcher | None":
    """Return what fetches photos from addresses; None unless the owner turned that on."""
    if not settings.fetch:
        return None
    from .http.fetch import Fetcher  # an HTTP client, which no other function starts with

    return Fetcher(settings.max_in_flight)


configure_logging()
try:
    settings, fault = load_settings(), None
except SettingsError as error:  # raised here, it would leave Azure without a single route
    settings, fault = DEFAULTS, str(error)
model = Path(os.environ.get("FIELDMARK_MODEL") or SHIPPED_MODEL)
finder = os.environ.get("FIELDMARK_FINDER") or default_finder(model)
app = create_app(model, settings, fault, finder=finder)

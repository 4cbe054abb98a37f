"""Serve the model over HTTP: a bridge from requests to the classifier, and nothing else."""

import hmac
import logging
import os
import time
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from . import answer, body, docs, health, log, memory, photo, problems, schema, settings
from .classifier import Classifier, ModelError
from .places import Door, Places
from .problems import Problem
from .settings import Settings

SHIPPED = Path(__file__).parents[1] / "model" / "birds.onnx"
DEFAULTS = Settings()
ASKED = ("top", "heatmap")
AZURES = ("code", "clientId")  # a key and its name, which Azure has looked at before us


def create_app(model: Path | str, chosen: Settings = DEFAULTS, fault: str | None = None) -> FastAPI:
    """Make the app around a model file; if that can't be loaded, every route says why with 503.

    So they do where `fault` says what else is wrong.
    """
    app = FastAPI(
        title="Fieldmark",
        description="Name the bird in a photo.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.key, app.state.places = chosen.key, Places(chosen.at_once, chosen.in_flight)
    app.state.classifier, app.state.fault = None, fault
    try:
        if not fault:
            app.state.classifier = Classifier(model, chosen.at_once)
    except ModelError as error:
        app.state.fault = str(error)
    if app.state.fault:
        logging.getLogger(__name__).error("No bird can be named: %s", app.state.fault)
    app.include_router(routes)
    app.include_router(docs.routes)
    if chosen.page:
        app.include_router(docs.page_route)
    app.add_middleware(problems.Faults)
    app.add_middleware(Door, "/api/classify", app.state.places)
    if chosen.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=chosen.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["x-functions-key"],
            expose_headers=["retry-after"],
        )
    app.add_middleware(log.Lines, getattr(app.state.classifier, "version", None), chosen.log)
    for error in (photo.PhotoError, Problem, HTTPException, problems.Invalid):
        app.add_exception_handler(error, problems.answer)
    return app


KEY = APIKeyHeader(name="x-functions-key", description="If one is set.", auto_error=False)
routes = APIRouter(prefix="/api")


async def ready(request: Request) -> Classifier:
    """Return the classifier, or raise a Problem; its owner reads at /api/health what is wrong."""
    if request.app.state.fault:
        raise problems.not_ready("No bird can be named just now. Please try again later.")
    return request.app.state.classifier


async def allowed(request: Request, sent: Annotated[str | None, Depends(KEY)]) -> None:
    """Raise a Problem unless the caller has the key, where one is set."""
    key = request.app.state.key
    if key and not hmac.compare_digest(key.encode(), (sent or "").encode()):
        raise problems.no_key()


async def known(request: Request) -> None:
    """Raise a Problem for a parameter that isn't there: a slip would pass for an answer."""
    for name in request.query_params:
        if name not in ASKED + AZURES:
            raise problems.no_parameter(name, ASKED)


Ready = Annotated[Classifier, Depends(ready)]


@routes.post(
    "/classify",
    dependencies=[Depends(allowed), Depends(known)],
    response_model=schema.Answer | schema.Results,
    responses=schema.refusals(400, 401, 408, 413, 415, 422, 500, 503),
    openapi_extra=schema.PHOTO,
)
async def classify(
    request: Request,
    classifier: Ready,
    top: Annotated[int, Query(description="How many predictions to return.")] = 5,
    heatmap: Annotated[bool, Query(description="Also return what the model looked at.")] = False,
) -> JSONResponse:
    """Name the bird in a photo: the body is its bytes, with a type image/* or none.

    Or a form with one or more files named photo: then `results` has an answer, or a problem, for
    each of them in their order.
    """
    places = request.app.state.places
    started = time.perf_counter()
    upload = await body.read(request, places)
    request.scope["log"]["milliseconds"] = {"read": since(started)}
    found = []
    with places.one():
        for data in upload.photos:
            if found and await request.is_disconnected():
                raise ClientDisconnect
            turn = time.perf_counter()
            outcome = await places.work(
                request, answer.attempt, classifier, data, top, heatmap, places.crowded
            )
            stages = outcome["milliseconds"] if isinstance(outcome, dict) else {}
            log.add_photo(request.scope["log"], kind(outcome), stages, since(turn))
            found.append(outcome)
    if upload.form:
        return JSONResponse({"results": [encode(each) for each in found]})
    if isinstance(found[0], Exception):
        raise found[0]
    return JSONResponse(found[0])


def encode(outcome: dict | photo.PhotoError) -> dict:
    """Put an answer, or a photo's error, into a list of results."""
    if isinstance(outcome, dict):
        return outcome
    return problems.document(problems.encode(outcome))


def kind(outcome: dict | photo.PhotoError) -> str:
    """Return the kind of an answer, or of the problem in its place."""
    if isinstance(outcome, dict):
        return outcome["answer"]["kind"]
    return problems.encode(outcome).kind


def since(started: float) -> float:
    """Return the milliseconds since a moment."""
    return round(1000 * (time.perf_counter() - started), 3)


@routes.get("/model", responses=schema.refusals(500, 503))
async def model(classifier: Ready) -> dict:
    """Return the model card, without the outputs that only the loader checks."""
    return {key: value for key, value in classifier.card.items() if key != "drawn_photo"}


@routes.get("/health", response_model=schema.Health, responses=schema.refusals(500, 503))
async def is_ready(request: Request) -> JSONResponse:
    """Say that photos get answers now, or with 503 why they don't."""
    if request.app.state.fault:
        raise problems.not_ready(request.app.state.fault)
    return JSONResponse(
        {
            "status": "ready",
            "model": request.app.state.classifier.version,
            "uptime_seconds": health.uptime(),
            "resident_bytes": memory.resident(),
            "in_flight": request.app.state.places.taken,
        }
    )


@routes.get("/health/alive", response_model=schema.Alive, responses=schema.refusals(500))
async def is_alive() -> JSONResponse:
    """Say that the process answers, even where it has no model."""
    return JSONResponse({"status": "alive", "uptime_seconds": health.uptime()})


log.begin()
try:
    chosen, wrong = settings.read(), None
except ValueError as error:  # raised here, it would leave Azure without a single route
    chosen, wrong = DEFAULTS, str(error)
app = create_app(os.environ.get("FIELDMARK_MODEL") or SHIPPED, chosen, wrong)

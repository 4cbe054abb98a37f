"""Serve the model over HTTP: a bridge from requests to the classifier, and nothing else."""

import hmac
import logging
import os
import time
from pathlib import Path
from typing import Annotated

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from starlette.exceptions import HTTPException

from . import answer, photo, problems
from .classifier import Classifier, ModelError
from .problems import Problem

SHIPPED = Path(__file__).parents[1] / "model" / "birds.onnx"
LINGER = 5 * photo.MAX_BYTES

at_once = CapacityLimiter(os.cpu_count() or 1)  # a photo of 50 megapixels takes 400 MB to decode


def create_app(model: Path | str) -> FastAPI:
    """Make the app around a model file; if that can't be loaded, every route says why with 503."""
    app = FastAPI(
        title="Fieldmark",
        description="Name the bird in a photo.",
        docs_url="/api/docs",
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    try:
        app.state.classifier, app.state.fault = Classifier(model), None
    except ModelError as error:
        app.state.classifier, app.state.fault = None, str(error)
        logging.getLogger(__name__).error("No model: %s", error)
    app.include_router(routes)
    app.add_middleware(problems.Faults)
    for error in (photo.PhotoError, Problem, HTTPException, problems.Invalid):
        app.add_exception_handler(error, problems.answer)
    return app


routes = APIRouter(prefix="/api")


async def ready(request: Request) -> Classifier:
    """Return the classifier, or raise a Problem; its owner reads at /api/health what is wrong."""
    if request.app.state.fault:
        raise problems.not_ready("No bird can be named just now. Please try again later.")
    return request.app.state.classifier


async def allowed(request: Request) -> None:
    """Raise a Problem unless the caller has the key, where FIELDMARK_FUNCTION_KEY sets one."""
    key = os.environ.get("FIELDMARK_FUNCTION_KEY", "").strip()
    sent = request.headers.get("x-functions-key", "")
    if key and not hmac.compare_digest(key.encode(), sent.encode()):
        raise problems.no_key()


async def one_photo(request: Request) -> bytes:
    """Read the body, the raw bytes of one photo.

    What is over the limit is counted and dropped, up to LINGER: a caller who is cut off in the
    middle of sending never gets to read why.
    """
    kind = request.headers.get("content-type", "image/*").split(";")[0].strip().lower()
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise problems.wrong_kind(kind)
    body, count = bytearray(), 0
    async for chunk in request.stream():
        count += len(chunk)
        if count <= photo.MAX_BYTES:
            body += chunk
        elif count > LINGER:
            break
    photo.check_bytes(count)
    return bytes(body)


Ready = Annotated[Classifier, Depends(ready)]


@routes.post("/classify", dependencies=[Depends(allowed)])
async def classify(
    classifier: Ready,
    data: Annotated[bytes, Depends(one_photo)],
    top: Annotated[int, Query(description="How many predictions to return.")] = 5,
    heatmap: Annotated[bool, Query(description="Also return what the model looked at.")] = False,
) -> dict:
    """Name the bird in one photo: the body is the photo's bytes, with its type image/* or none."""
    return await run_sync(classify_photo, classifier, data, top, heatmap, limiter=at_once)


def classify_photo(classifier: Classifier, data: bytes, top: int, heatmap: bool) -> dict:
    """Prepare, predict and encode; the milliseconds of each step are in the answer."""
    started = time.perf_counter()
    prepared = photo.read(data, classifier.size)
    ready_at = time.perf_counter()
    outputs = classifier.predict(prepared.pixels[None])
    done = time.perf_counter()
    seconds = {"prepare": ready_at - started, "model": done - ready_at, "total": done - started}
    return answer.answer(classifier, prepared, outputs, top, heatmap) | {
        "milliseconds": {step: round(1000 * spent, 3) for step, spent in seconds.items()}
    }


@routes.get("/model")
async def model(classifier: Ready) -> dict:
    """Return the model card, without the outputs that only the loader checks."""
    return {key: value for key, value in classifier.card.items() if key != "drawn_photo"}


@routes.get("/health")
async def health(request: Request) -> dict:
    """Say that photos get answers now, or with 503 why they don't."""
    classifier, fault = request.app.state.classifier, request.app.state.fault
    if fault:
        raise problems.not_ready(fault)
    return {"status": "ready", "model": classifier.version}


app = create_app(os.environ.get("FIELDMARK_MODEL") or SHIPPED)

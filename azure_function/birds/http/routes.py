"""The routes of the API: parse the request, call the classifier, encode the response."""

import asyncio
import hmac
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from starlette.datastructures import State
from starlette.requests import ClientDisconnect

from .. import process
from ..identifier import Identifier
from ..photo import TOO_SLOW, PhotoError, PhotoTooSlow
from ..prediction import Options, SameBird, classify_photo
from ..workers.task import DecoderBusy
from . import problems, schema
from .body_buffer import Body
from .load_shedding import RETRY_AFTER, run_while_connected
from .query import check_form, parse_options, reject_unknown_parameters
from .request_body import open_body, read_photos
from .request_log import add_photo, milliseconds_since

PATIENCE = 0.5  # seconds that a large photo waits for the worker for large ones
MAX_TOO_SLOW = 2  # photos of a form; those after them are not decoded
KEY = APIKeyHeader(name="x-functions-key", description="If one is set.", auto_error=False)

routes = APIRouter(prefix="/api")


async def require_identifier(request: Request) -> Identifier:
    """Return the identifier, or raise a Problem; only /api/health says the reason."""
    if request.app.state.fault:
        raise problems.not_ready("No bird can be named just now. Please try again later.")
    return request.app.state.identifier


async def require_key(request: Request, sent: Annotated[str | None, Depends(KEY)]) -> None:
    """Raise a Problem unless the caller sent the function's key, where one is set."""
    key = request.app.state.key
    if key and not hmac.compare_digest(key.encode(), (sent or "").encode()):
        detail = "Send the function's key in the x-functions-key header."
        raise problems.Problem(401, "key-missing", detail)


LoadedIdentifier = Annotated[Identifier, Depends(require_identifier)]


@routes.post(
    "/classify",
    dependencies=[Depends(require_key), Depends(reject_unknown_parameters)],
    response_model=schema.Answer | schema.Results,
    responses=schema.problem_responses(400, 401, 408, 413, 415, 422, 500, 503),
    openapi_extra=schema.REQUEST_BODY,
)
async def classify(
    request: Request,
    identifier: LoadedIdentifier,
    options: Annotated[Options, Depends(parse_options)],
    body: Annotated[Body, Depends(open_body, scope="function")],
) -> JSONResponse:
    """Classify the bird in a photo: the body is its bytes, with a type image/* or none.

    Or a form with one or more files named photo: then `results` has an answer or a problem for each
    of them, in order, and `combined` one answer for all of them if they show the same bird. Or JSON
    with the photo's address, where the owner of the function allows it.
    """
    slots, facts = request.app.state.slots, request.scope["log"]
    started = time.perf_counter()
    photos, is_form = await read_photos(request, body, request.app.state.fetcher)
    facts["milliseconds"] = {"read": milliseconds_since(started)}
    check_form(options, is_form)
    results, failure, too_slow, same_bird = [], None, 0, SameBird()
    with slots.acquire():
        for data in photos:
            if results and await request.is_disconnected():
                raise ClientDisconnect
            queued = time.perf_counter()
            try:
                if too_slow >= MAX_TOO_SLOW:
                    raise PhotoTooSlow(TOO_SLOW)
                work = classify_bytes(request.app.state, data, options, same_bird)
                result = await run_while_connected(request, work)
                kind, stages = result["answer"]["kind"], result["milliseconds"]
            except (PhotoError, DecoderBusy) as error:
                failure = problems.find_problem(error)
                result, kind, stages = problems.problem_document(failure), failure.kind, {}
                too_slow += isinstance(error, PhotoTooSlow)
            add_photo(facts, kind, stages, milliseconds_since(queued))
            results.append(result)
    if options.same_bird:
        combined = same_bird.encode(identifier.classifier.card, options.top)
        return JSONResponse({"results": results, "combined": combined})
    if is_form:
        return JSONResponse({"results": results})
    if failure:
        raise failure
    return JSONResponse(results[0])


async def classify_bytes(state: State, data: bytes, options: Options, same_bird: SameBird) -> dict:
    """Decode a photo in a worker process and classify it in a thread; raises PhotoError.

    Cancelling it ends the decoding at once.
    """
    identifier, is_contended = state.identifier, state.slots.is_contended
    future = identifier.prepare_in_worker(state.decoder, data, options.where, PATIENCE)
    decoded = await asyncio.wrap_future(future)
    work = identifier, decoded, options, is_contended, same_bird
    return await state.slots.run(classify_photo, *work)


@routes.get("/model", responses=schema.problem_responses(500, 503))
async def model_card(identifier: LoadedIdentifier) -> dict:
    """Return the model card, without the outputs that only the loader checks."""
    card = identifier.classifier.card
    return {key: value for key, value in card.items() if key != "drawn_photo"}


@routes.get("/health", responses=schema.problem_responses(500, 503))
async def health(request: Request) -> schema.Health:
    """Return 200 if a photo would be classified now, or 503 with the reason."""
    state = request.app.state
    if state.fault:
        raise problems.not_ready(state.fault)
    if state.slots.is_full():
        detail = f"{state.slots.in_flight} photos are in flight. New ones are refused."
        raise problems.busy(RETRY_AFTER, detail)
    if state.bodies.is_full():
        detail = f"Photos that arrive fill {state.bodies.used:,} bytes. New ones are refused."
        raise problems.busy(RETRY_AFTER, detail)
    return schema.Health(
        model=state.identifier.classifier.version,
        finder=finder_state(state.identifier),
        uptime_seconds=process.uptime(),
        resident_bytes=process.resident_bytes(),
        in_flight=state.slots.in_flight,
        max_in_flight=state.slots.max_in_flight,
        buffered_bytes=state.bodies.used,
        max_buffered_bytes=state.bodies.capacity,
        refused=state.slots.refused,
    )


def finder_state(identifier: Identifier) -> schema.FinderState | None:
    """Describe the finder, and whether it is the one that the model card names."""
    if not (finder := identifier.finder):
        return None
    matches = identifier.mismatch is None
    return schema.FinderState(**finder.version, sha256=finder.sha256, matches=matches)


@routes.get("/health/alive", responses=schema.problem_responses(500))
async def alive() -> schema.Alive:
    """Return 200 while the process responds, even without a model."""
    return schema.Alive(uptime_seconds=process.uptime())

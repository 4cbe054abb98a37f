"""Read the photos of a request; bytes are counted as they arrive and stay in memory."""

from collections.abc import AsyncGenerator, Callable

import anyio
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .. import photo
from . import problems
from .body_buffer import BodyBuffer

MAX_DRAINED = 5 * photo.MAX_BYTES  # bytes that are read of a body that is too large
TIMEOUT = 60  # seconds for a whole body: 20 MiB at 3 Mbit/s
MAX_PHOTOS = 32
MAX_FIELDS = 32  # that are not photos; browsers may add a few


async def read_photos(request: Request, bodies: BodyBuffer) -> tuple[list[bytes], bool]:
    """Return the photos of a request, and whether they came as the parts `photo` of a form.

    Raises Problem, or PhotoError for a body that is empty or too large.
    """
    media_type = request.headers.get("content-type", "image/*").split(";")[0].strip().lower()
    is_form = media_type == "multipart/form-data"
    if not (is_form or media_type.startswith("image/") or media_type == "application/octet-stream"):
        detail = f"Send the bytes of a photo with a type like image/jpeg, not {media_type}."
        raise problems.Problem(415, "not-a-photo", detail)
    with bodies.reserve() as reserve:
        try:
            with anyio.fail_after(TIMEOUT):
                chunks = limited_chunks(request, reserve)
                if is_form:
                    return await parse_form(request, chunks), True
                return [b"".join([chunk async for chunk in chunks])], False
        except TimeoutError as error:
            detail = f"The photo did not arrive within {TIMEOUT} seconds. Send a smaller copy."
            raise problems.Problem(408, "too-slow", detail) from error


async def limited_chunks(
    request: Request, reserve: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a body; at its end raise PhotoError if it was empty or too large.

    Bytes over the limit are counted and dropped, up to MAX_DRAINED: a client that is cut off while
    it sends cannot read the response that says why.
    """
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count <= photo.MAX_BYTES:
            reserve(len(chunk))
            yield chunk
        elif count > MAX_DRAINED:
            break
    request.scope["log"]["bytes"] = count
    photo.check_bytes(count)


async def parse_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> list[bytes]:
    """Return the bytes of the parts named `photo`, in order; raises Problem."""
    parser = MultiPartParser(
        request.headers, chunks, max_files=MAX_PHOTOS, max_fields=MAX_FIELDS, max_part_size=4096
    )
    parser.spool_max_size = MAX_DRAINED  # never writes to a disk: no body is larger
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise problems.bad_form(error.message) from error
    try:
        files = form.getlist("photo")
        if not files:
            raise problems.bad_form("It has no part named photo.")
        photos = [await file.read() for file in files if isinstance(file, UploadFile)]
        if len(photos) < len(files):
            raise problems.bad_form("A part named photo has no filename.")
        return photos
    finally:
        await form.close()

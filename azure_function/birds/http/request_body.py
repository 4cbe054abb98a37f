"""Read the photos of a request; bytes are counted as they arrive and stay in memory."""

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

import anyio
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .. import photo
from . import problems
from .load_shedding import Slots

MAX_DRAINED = 5 * photo.MAX_BYTES  # bytes that are read of a body that is too large
TIMEOUT = 60  # seconds for a whole body: 20 MiB at 3 Mbit/s
MAX_PHOTOS = 32
MAX_FIELDS = 32  # that are not photos; browsers may add a few


class Upload(NamedTuple):
    """The photos of a request; `is_form` makes the response a list of results."""

    photos: list[bytes]
    is_form: bool


class InMemoryParser(MultiPartParser):
    """A form parser that never writes to a disk; the body's size is limited before it."""

    spool_max_size = MAX_DRAINED


async def read_photos(request: Request, slots: Slots) -> Upload:
    """Return the photos of a request: its body, or the parts named `photo` of its form.

    Raises Problem, or PhotoError for a body that is empty or too large.
    """
    media_type = request.headers.get("content-type", "image/*").split(";")[0].strip().lower()
    is_form = media_type == "multipart/form-data"
    if not (is_form or media_type.startswith("image/") or media_type == "application/octet-stream"):
        raise problems.unsupported_type(media_type)
    with slots.reserve_bytes() as reserve:
        try:
            with anyio.fail_after(TIMEOUT):
                chunks = limited_chunks(request, reserve)
                if is_form:
                    return Upload(await parse_form(request, chunks), is_form)
                return Upload([b"".join([chunk async for chunk in chunks])], is_form)
        except TimeoutError as error:
            raise problems.too_slow(TIMEOUT) from error


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
    parser = InMemoryParser(
        request.headers, chunks, max_files=MAX_PHOTOS, max_fields=MAX_FIELDS, max_part_size=4096
    )
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

"""Read the photos out of a request, counting as the bytes come in; nothing touches a disk."""

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

import anyio
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from . import photo, problems
from .places import Places

LINGER = 5 * photo.MAX_BYTES
PATIENCE = 60  # seconds for a whole body: 20 MiB at 3 Mbit/s
PHOTOS = 32
FIELDS = 32  # that are no photos; a browser's form may bring a few


class Upload(NamedTuple):
    """The photos of a request, and whether they came as a form, which is answered as a list."""

    photos: list[bytes]
    form: bool


class InMemory(MultiPartParser):
    """A form parser that keeps in memory what the limit on the body lets through."""

    spool_max_size = LINGER


async def read(request: Request, places: Places) -> Upload:
    """Return the photos of a request: its body, or the `photo` parts of its form.

    Raises Problem, or PhotoError for a body that is empty or too large.
    """
    kind = request.headers.get("content-type", "image/*").split(";")[0].strip().lower()
    form = kind == "multipart/form-data"
    if not (form or kind.startswith("image/") or kind == "application/octet-stream"):
        raise problems.wrong_kind(kind)
    with places.bytes() as hold:
        try:
            with anyio.fail_after(PATIENCE):
                stream = counted(request, hold)
                if form:
                    return Upload(await parts(request, stream), form)
                return Upload([b"".join([chunk async for chunk in stream])], form)
        except TimeoutError as error:
            raise problems.too_slow(PATIENCE) from error


async def counted(request: Request, hold: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a body, and raise a PhotoError at its end if it was none or too much.

    What is over the limit is counted and dropped, up to LINGER: a caller who is cut off in the
    middle of sending never gets to read why.
    """
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count <= photo.MAX_BYTES:
            hold(len(chunk))
            yield chunk
        elif count > LINGER:
            break
    request.scope["log"]["bytes"] = count
    photo.check_bytes(count)


async def parts(request: Request, stream: AsyncGenerator[bytes, None]) -> list[bytes]:
    """Return the bytes of the parts named photo, in their order."""
    try:
        form = await InMemory(
            request.headers, stream, max_files=PHOTOS, max_fields=FIELDS, max_part_size=4096
        ).parse()
    except MultiPartException as error:
        raise problems.bad_form(error.message) from error
    try:
        found = form.getlist("photo")
        if not found:
            raise problems.bad_form("It has no part named photo.")
        if not all(isinstance(each, UploadFile) for each in found):
            raise problems.bad_form("A part named photo has no filename.")
        return [await each.read() for each in found]
    finally:
        await form.close()

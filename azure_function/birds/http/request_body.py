"""Read the photos of a request; bytes are counted as they arrive and stay in memory."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from .. import photo
from . import problems
from .body_buffer import Body
from .load_shedding import run_while_connected

if TYPE_CHECKING:
    from .fetch import Fetcher

MAX_DRAINED = 5 * photo.MAX_BYTES  # bytes that are read of a body that is too large
MAX_PHOTOS = 32
MAX_FIELDS = 32  # that are not photos; browsers may add a few


async def open_body(request: Request) -> AsyncIterator[Body]:
    """Yield the body of a request, which is counted until there is a result."""
    with request.app.state.bodies.open() as body:
        yield body


async def read_photos(
    request: Request, body: Body, fetcher: "Fetcher | None" = None
) -> tuple[list[bytes], bool]:
    """Return the photos of a request, and whether they came as the parts `photo` of a form.

    A photo whose address is sent instead is fetched, if there is a `fetcher`. Raises Problem, or
    PhotoError for a body that is empty or too large.
    """
    media_type = request.headers.get("content-type", "image/*").split(";")[0].strip().lower()
    is_form = media_type == "multipart/form-data"
    if fetcher and media_type == "application/json":
        sent = await read_bytes(request, body)
        return [await run_while_connected(request, fetcher.fetch(sent, body))], False
    if not (is_form or media_type.startswith("image/") or media_type == "application/octet-stream"):
        detail = f"Send the bytes of a photo with a type like image/jpeg, not {media_type}."
        raise problems.Problem(415, "not-a-photo", detail)
    if not is_form:
        return [await read_bytes(request, body)], False
    with body.receive():
        return await parse_form(request, limited_chunks(request, body)), True
    raise AssertionError  # receive() raises after it ended the block


async def read_bytes(request: Request, body: Body) -> bytes:
    """Return the bytes of a body; raises Problem, or PhotoError if it is empty or too large."""
    data = bytearray()  # not a list: millions of tiny chunks would take far more memory
    with body.receive():
        async for chunk in limited_chunks(request, body):
            data += chunk
    return bytes(data)


async def limited_chunks(request: Request, body: Body) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a body; at its end raise PhotoError if it was empty or too large.

    Bytes over the limit are counted and dropped, up to MAX_DRAINED: a client that is cut off while
    it sends cannot read the response that says why.
    """
    count, is_complete = 0, False
    while not is_complete and count <= MAX_DRAINED:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, is_complete = message.get("body", b""), not message.get("more_body", False)
        count += len(chunk)
        is_dropped = count > photo.MAX_BYTES
        body.note(len(chunk), is_complete, is_dropped)
        if chunk and not is_dropped:
            body.reserve(len(chunk))
            yield chunk
    request.scope["log"]["bytes"] = count
    photo.check_bytes(count)


async def parse_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> list[bytes]:
    """Return the bytes of the parts named `photo`, in order; raises Problem.

    The only charset is UTF-8: Python's others include some that cannot decode, and Python keeps
    each unknown name for ever.
    """
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise problems.bad_form("Its charset is not UTF-8.")
    parser = MultiPartParser(
        request.headers, chunks, max_files=MAX_PHOTOS, max_fields=MAX_FIELDS, max_part_size=4096
    )
    parser.spool_max_size = MAX_DRAINED  # never writes to a disk: no body is larger
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise problems.bad_form(error.message) from error
    except UnicodeError as error:
        raise problems.bad_form("Its text is not UTF-8.") from error
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

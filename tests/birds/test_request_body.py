"""Request bodies: forms, limits counted while bytes arrive, nothing written to a disk."""

import encodings
import tempfile

import anyio
import pytest
from fastapi import Request

from birds import drawn, photo
from birds.http import body_buffer, request_body
from birds.http.body_buffer import BodyBuffer
from birds.http.request_body import read_photos
from tests.birds.photos import BIRD, PNG
from tests.birds.problems import check_problem


def form(*photos: bytes) -> list:
    return [("photo", (f"{number}.jpg", data)) for number, data in enumerate(photos)]


def test_each_photo_of_a_form_has_a_result_of_its_own(client):
    files = form(BIRD, b"Dear bird,", b"", BIRD[:500], PNG)
    response = client.post("/api/classify?top=1&heatmap=true", files=files)
    assert response.status_code == 200
    first, letter, empty, half, last = response.json()["results"]
    alone = client.post("/api/classify?top=1&heatmap=true", content=BIRD).json()
    assert first | {"milliseconds": None} == alone | {"milliseconds": None}
    assert last["photo"]["width"] == 64
    assert [result["status"] for result in (letter, empty, half)] == [415, 400, 422]
    assert [result["type"].split(":")[-1] for result in (letter, empty, half)] == [
        *("not-a-photo", "empty-photo", "damaged-photo")
    ]


def test_other_fields_of_a_form_are_ignored(client):
    response = client.post("/api/classify", files=form(BIRD), data={"place": "my garden"})
    assert len(response.json()["results"]) == 1


DISPOSITION = b'content-disposition: form-data; name="photo"; filename="a.png"'
FORM = b"--b\r\n%b\r\n\r\n%b\r\n--b--\r\n" % (DISPOSITION, PNG)
TYPE = b"content-type: text/plain; charset=undefined"
FORM_HEADER = {"content-type": "multipart/form-data"}


@pytest.mark.parametrize(
    ("request_arguments", "reason"),
    [
        pytest.param({"files": {"picture": BIRD}}, "photo", id="other name"),
        pytest.param({"files": form(*[b"x"] * 33)}, "Too many files", id="33 photos"),
        pytest.param({"files": [("photo", (None, "text"))]}, "filename", id="photo as a field"),
        pytest.param(
            {"files": form(BIRD), "data": {f"field {n}": "" for n in range(33)}},
            "Too many fields",
            id="33 fields",
        ),
        pytest.param(
            {"files": form(BIRD), "data": {"note": "x" * 5000}}, "maximum size", id="long field"
        ),
        pytest.param({"content": b"x", "headers": FORM_HEADER}, "boundary", id="no boundary"),
        pytest.param(
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            "Invalid multipart",
            id="not a form",
        ),
    ],
)
def test_a_form_that_cannot_be_parsed_is_refused_with_the_reason(client, request_arguments, reason):
    assert reason in check_problem(
        client.post("/api/classify", **request_arguments), 400, "bad-form"
    )


CHARSETS = ("undefined", "idna", "punycode", "latin-1", '"no\\-such"', "''", "")


@pytest.mark.parametrize("charset", CHARSETS)
def test_a_form_is_in_utf_8_and_other_charsets_are_not_even_looked_up(client, charset):
    known = set(encodings._cache)
    headers = {"content-type": f"multipart/form-data; boundary=b; CharSet={charset}"}
    response = client.post("/api/classify", content=FORM, headers=headers)
    assert "charset" in check_problem(response, 400, "bad-form")
    assert set(encodings._cache) == known


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"'])
def test_a_form_may_say_that_it_is_in_utf_8(client, charset):
    headers = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    response = client.post("/api/classify", content=FORM, headers=headers)
    assert len(response.json()["results"]) == 1


def test_bytes_that_are_no_utf_8_and_charsets_of_parts_are_harmless(client):
    known = set(encodings._cache)
    form = FORM.replace(b"a.png", b"\xff.png").replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % TYPE, 1)
    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = client.post("/api/classify", content=form, headers=headers)
    assert len(response.json()["results"]) == 1
    assert set(encodings._cache) == known


def test_all_photos_of_a_form_share_the_limit_of_a_body(client):
    half = bytes(photo.MAX_BYTES // 2)
    check_problem(client.post("/api/classify", files=form(half, half)), 413, "photo-too-large")


@pytest.mark.parametrize("as_form", [True, False], ids=["form", "bytes"])
def test_a_photo_of_5_mb_is_not_written_to_a_disk(client, monkeypatch, as_form):
    def refuse(*_, **__):
        raise PermissionError("there is no writable folder")

    names = ("NamedTemporaryFile", "TemporaryFile", "mkstemp", "gettempdir", "_mkstemp_inner")
    for name in names:
        monkeypatch.setattr(tempfile, name, refuse)
    data = drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, 1300, 1300), "BMP")
    assert len(data) > 5e6
    arguments = {"files": form(data)} if as_form else {"content": data}
    response = client.post("/api/classify", **arguments)
    assert response.status_code == 200
    body = response.json()["results"][0] if as_form else response.json()
    assert body["photo"]["width"] == 1300


def chunk(data: bytes, more: bool = False) -> dict:
    return {"type": "http.request", "body": data, "more_body": more}


async def read_body(receive, bodies):
    scope = {"type": "http", "method": "POST", "headers": [], "log": {}}
    with bodies.open() as body:
        return await read_photos(Request(scope, receive), body)


def test_bytes_over_the_limit_are_counted_and_dropped():
    bodies, buffered = BodyBuffer(), []

    async def receive():
        buffered.append(bodies.used)
        return chunk(bytes(2**20), more=True)

    with pytest.raises(photo.PhotoTooLarge):
        anyio.run(read_body, receive, bodies)
    assert max(buffered) == photo.MAX_BYTES + body_buffer.OVERHEAD
    assert len(buffered) == request_body.MAX_DRAINED // 2**20 + 1  # then the body is abandoned
    assert bodies.used == 0


def test_azure_sends_a_body_in_one_message():
    async def receive():
        return chunk(PNG)

    assert anyio.run(read_body, receive, BodyBuffer()) == ([PNG], False)

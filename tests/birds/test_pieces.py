"""Responses in pieces: a client that does not read holds little memory."""

import anyio
import pytest

from birds.http.pieces import PIECE, PiecesMiddleware


async def collect(app, path: str = "/") -> list[dict]:
    """Return the messages of the response to a GET."""
    messages = []

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        messages.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    await app(scope | {"scheme": "http"}, receive, send)
    return messages


def test_no_file_is_handed_to_the_server_at_once(client):
    start, *rest = anyio.run(collect, client.app, "/api/docs/swagger-ui-bundle.js")
    length = int(dict(start["headers"])[b"content-length"])
    assert sum(len(message["body"]) for message in rest) == length > 10 * PIECE
    assert max(len(message["body"]) for message in rest) == PIECE
    assert [message.get("more_body", False) for message in rest] == [True] * (len(rest) - 1) + [
        False
    ]


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize("more", [True, False])
def test_the_pieces_are_the_body(size, more):
    body = bytes(range(256)) * (3 * PIECE // 256)

    async def app(scope, receive, send):
        await send({"type": "http.response.body", "body": body[:size], "more_body": more})

    messages = anyio.run(collect, PiecesMiddleware(app))
    assert b"".join(message["body"] for message in messages) == body[:size]
    assert [message["more_body"] for message in messages][-1] == more
    assert len(messages) == max(1, -(-size // PIECE))

"""Send responses in pieces, so that a client that does not read holds little memory."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE = 2**16  # bytes


class PiecesMiddleware:
    """ASGI middleware: pass bodies on in pieces of at most PIECE bytes.

    A server that gets a whole file at once keeps it for each client that does not read; after a
    piece it waits until the client has read.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response in pieces."""

        async def send_pieces(message: Message) -> None:
            body = message.get("body", b"")
            *starts, last = range(0, max(len(body), 1), PIECE)
            for start in starts:
                piece = body[start : start + PIECE]
                await send({"type": message["type"], "body": piece, "more_body": True})
            await send({**message, "body": body[last:]} if starts else message)

        await self.app(scope, receive, send_pieces)

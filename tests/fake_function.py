"""A fake function over HTTP: returns the responses a test sets, and records the requests."""

import io
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

from PIL import Image, UnidentifiedImageError

MODEL = {
    "name": "fake",
    "version": "1",
    "labels": [
        {"label": "Reed <b>Bird</b>", "scientific_name": "Avis arundinis"},
        {"label": "Ash Bird", "scientific_name": None},
    ],
    "trained_on": "20 drawn birds",
    "licence": "Drawn birds are free.",
    "metrics": {"accuracy": {"value": 0.75, "interval": [0.53, 0.89], "n": 20}},
}
RESULT = {
    "predictions": [
        {"label": "Reed <b>Bird</b>", "scientific_name": "Avis arundinis", "probability": 0.8},
        {"label": "Ash Bird", "scientific_name": None, "probability": 0.002},
    ],
    "answer": {"kind": "species", "labels": ["Reed Bird"], "text": "<b>Reed</b> Bird, 80 % sure."},
    "heatmap": {"width": 3, "height": 3, "values": [0, 0.1, 0, 0.1, 1, 0.2, 0, 0.4, 0]},
}
UNKNOWN = RESULT | {"answer": {"kind": "unknown", "labels": [], "text": "I don't know this bird."}}
OTHER = {  # of every bird but the first
    "predictions": [{"label": "Ash Bird", "scientific_name": None, "probability": 0.7}],
    "answer": {"kind": "species", "labels": ["Ash Bird"], "text": "Ash Bird, 70 % sure."},
}
MIDDLE = (0.5, 0.5, 1.0)  # a bird that fills the middle square
UNKNOWN_PARAMETER = {
    "type": "urn:fieldmark:invalid-query",
    "detail": "There is no parameter 'crop'.",
}
BUSY = {"type": "urn:fieldmark:busy", "detail": "Too many photos at once."}


def response(body, status=200, **headers):
    """Return a response as the fake function sends it; `body` is JSON, or raw bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, content


def locate_birds(photo: bytes, crop: str, birds: list | None) -> dict:
    """Return the `photo` and `birds` of a response; nothing for bytes that are no photo.

    `birds` are squares: their centres as shares of width and height, their sides as shares of the
    shorter side of the photo. A function that finds no birds yet has None.
    """
    try:
        width, height = Image.open(io.BytesIO(photo)).size
    except UnidentifiedImageError:
        return {}

    def square(x, y, size):
        side = round(size * min(width, height))
        left, top = round(x * width - side / 2), round(y * height - side / 2)
        return [max(0, min(left, width - side)), max(0, min(top, height - side)), side, side]

    size = {"width": width, "height": height}
    if birds is None:
        return {"photo": size | {"crop": square(*MIDDLE)}}
    if crop not in ("auto", "center"):
        edges = [int(edge) for edge in crop.split(",")]
        is_first = edges == square(*birds[0])
        return {"photo": size | {"crop": edges, "crop_from": "request"}} | (
            {} if is_first else OTHER
        )
    crops = [square(*bird) for bird in birds] if crop == "auto" else []
    where = {"crop": (crops or [square(*MIDDLE)])[0], "crop_from": "finder" if crops else "center"}
    found = [{"box": edges, "score": 0.9, "crop": edges} for edges in crops]
    look = {"photo": size | where, "birds": [bird | OTHER for bird in found]}
    return look | {"milliseconds": {"find": 9.1 if crop == "auto" else 0}}


class FakeFunction(ThreadingHTTPServer):
    """Respond to `POST` once `gate` is open, and to `GET` with the model card once `awake` is set.

    Each of `first_responses` is sent once, before the response of `respond_with`. Responses about a
    photo say where `birds` are in it.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.gate, self.awake = Event(), Event()
        self.requests = []  # path, headers and body
        self.reset()

    def reset(self):
        """Forget the requests, and respond as at the start."""
        self.requests.clear()
        self.gate.set()
        self.awake.set()
        self.first_responses = []
        self.birds = [MIDDLE]
        self.model_card = json.dumps(MODEL).encode()
        self.respond_with(RESULT)

    def respond_with(self, body, status=200, **headers):
        """Set the response to photos: JSON, or raw bytes."""
        self.response = response(body, status, **headers)

    @property
    def photos(self) -> list[bytes]:
        """The photos received, in order."""
        return [body for _, _, body in self.requests if body]

    def handle_error(self, request, client_address):
        """Ignore clients that disconnected before their response."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeFunction

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.gate.wait(60)
        crop = parse_qs(urlsplit(self.path).query).get("crop", [""])[0]
        if crop and self.server.birds is None:
            return self._send(*response(UNKNOWN_PARAMETER, 422))
        first = self.server.first_responses
        status, headers, content = first.pop(0) if first else self.server.response
        if status == 200 and content.startswith(b'{"predictions'):
            result = json.loads(content) | locate_birds(body, crop or "center", self.server.birds)
            content = json.dumps(result).encode()
        self._send(status, headers, content)

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers), b""))
        self.server.awake.wait(60)
        self._send(200, {}, self.server.model_card)

    def _send(self, status, headers, content):
        self.send_response(status)
        for name, value in ({"content-length": len(content)} | headers).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Log nothing."""


@contextmanager
def run_fake_function():
    """Run a fake function until the block ends."""
    with FakeFunction() as server:
        Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.gate.set()
        server.shutdown()

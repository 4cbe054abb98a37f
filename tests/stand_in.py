"""Stand in for the function: give the answer a test lays down, and keep what was asked."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

MODEL = {
    "name": "stand-in",
    "version": "1",
    "labels": [
        {"label": "Reed <b>Bird</b>", "scientific_name": "Avis arundinis"},
        {"label": "Ash Bird", "scientific_name": None},
    ],
    "trained_on": "20 drawn birds",
    "licence": "Drawn birds are free.",
    "metrics": {"accuracy": {"value": 0.75, "interval": [0.53, 0.89], "n": 20}},
}
ANSWER = {
    "predictions": [
        {"label": "Reed <b>Bird</b>", "scientific_name": "Avis arundinis", "probability": 0.8},
        {"label": "Ash Bird", "scientific_name": None, "probability": 0.002},
    ],
    "answer": {"kind": "species", "labels": ["Reed Bird"], "text": "<b>Reed</b> Bird, 80 % sure."},
}


BUSY = {"type": "urn:fieldmark:busy", "detail": "Too many photos at once just now."}


def reply(body, status=200, **headers):
    """Return an answer to be given: JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, content


class StandIn(ThreadingHTTPServer):
    """Answer `POST` with `reply` once `gate` is open, and `GET` with the model's facts.

    Of `first`, answers to be given before that, each is given once. `GET` waits for `awake`.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.gate, self.awake = Event(), Event()
        self.gate.set()
        self.awake.set()
        self.first = []
        self.facts = None  # in the place of MODEL
        self.asked = []
        self.answers(ANSWER)

    def answers(self, body, status=200, **headers):
        """Lay down the next answers: JSON, or bytes as they are."""
        self.reply = reply(body, status, **headers)

    @property
    def photos(self) -> list[bytes]:
        """The photos that were sent, in their order."""
        return [photo for _, _, photo in self.asked if photo]

    def handle_error(self, request, client_address):
        """Stay quiet about callers that did not wait for their answer."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        photo = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.path, dict(self.headers), photo))
        self.server.gate.wait(60)
        self._send(*(self.server.first.pop(0) if self.server.first else self.server.reply))

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers), b""))
        self.server.awake.wait(60)
        self._send(200, {}, self.server.facts or json.dumps(MODEL).encode())

    def _send(self, status, headers, content):
        self.send_response(status)
        for name, value in ({"content-length": len(content)} | headers).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Stay quiet."""


@contextmanager
def stand_in():
    """Run a stand-in for as long as the block lasts."""
    with StandIn() as server:
        Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.gate.set()
        server.shutdown()

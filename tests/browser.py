"""Serve the page and the function, and visit the page in headless Chromium."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

ROOT = Path(__file__).parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
FLAGS += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # nothing from elsewhere
TIMEOUT = 90  # seconds; two busy cores start a kernel slowly


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = iter(random.sample(range(20_000 + 1_000 * WORKER, 21_000 + 1_000 * WORKER), 1_000))


def free_port() -> int:
    """Return a port on which nothing listens.

    The system gives its own free ports to clients too, so that a client of a test beside this one
    may hold such a port when the server wants it.
    """
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port")


class Server(NamedTuple):
    """A running server."""

    url: str
    process: subprocess.Popen
    log: Path


@contextmanager
def run_server(command: list, folder: Path, url: str, log: Path, **environment):
    """Run a Python module in `folder` until the block ends; wait until `url` responds."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: process.poll() is not None or responds(url))
        assert process.poll() is None, log.read_text()
        yield Server(url, process, log)
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def wait_until(condition):
    """Wait until `condition()` holds; fail after the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.2)


def responds(url: str) -> bool:
    """Return whether `url` responds with success."""
    try:
        return requests.get(url, timeout=TIMEOUT).ok
    except requests.ConnectionError:
        return False


@contextmanager
def run_page(function_url: str, log: Path, key: str = "", options=(), **environment):
    """Serve the page as the Procfile does; yield its `Server`."""
    port = free_port()
    command = ["page_server", "app.ipynb", f"--port={port}", "--Voila.ip=127.0.0.1", *options]
    environment = {"JUPYTER_PATH": ".", "FIELDMARK_VISITORS_PER_ADDRESS": "99"} | environment
    environment |= {"FIELDMARK_FUNCTION_URL": function_url, "FIELDMARK_FUNCTION_KEY": key}
    url = f"http://127.0.0.1:{port}/"
    with run_server(
        command, ROOT / "app", f"{url}voila/static/voila.js", log, **environment
    ) as server:
        yield server._replace(url=url)


@contextmanager
def run_function(log: Path, key: str = "", **environment):
    """Serve the function with the model file of the repository; yield its `Server`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["birds.server", f"--port={port}"]
    environment |= {"FIELDMARK_FUNCTION_KEY": key}
    folder = ROOT / "azure_function"
    with run_server(command, folder, f"{url}/api/health", log, **environment) as server:
        yield server._replace(url=url)


@contextmanager
def run_browser():
    """Yield a headless Chromium; skip the test if there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    installed = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = os.environ.get("FIELDMARK_CHROMIUM") or next(filter(None, installed), None)
    with playwright.sync_playwright() as tools:
        try:
            browser = tools.chromium.launch(executable_path=path, args=FLAGS)
        except playwright.Error as error:
            pytest.skip(f"Chromium does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


class Visit:
    """A visit to the page in a browser context of its own, which records all that is received."""

    def __init__(self, browser, url: str, ready: str = ".picker:not(.camera)", **context):
        self.page = browser.new_context(**context).new_page()
        self.page.set_default_timeout(TIMEOUT * 1000)
        self.requested, self.received, self.sent = [], [], []
        self.errors, self.console = [], []
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("response", self._record_response)
        self.page.on("websocket", self._record_frames)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._record_console)
        # Without a listener from the start, a chooser opened by an early click would be missed.
        self.page.on("filechooser", lambda chooser: None)
        self.page.goto(url)
        self.button = self.page.locator(".picker:not(.camera)")
        self.page.locator(ready).first.wait_for()

    def _record_response(self, response):
        if response.url.startswith("http"):  # not a photo's blob: URL
            self.received.append(response)

    def _record_console(self, message):
        if message.type in ("error", "warning"):  # a violation of the policy is an error
            self.console.append(message.text)
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)

    def _record_frames(self, websocket):
        websocket.on("framereceived", lambda frame: self.received.append(frame))
        websocket.on("framesent", lambda frame: self.sent.append(frame))

    def everything_received(self) -> bytes:
        """Return the bodies and websocket frames that the browser received."""
        parts = (part if isinstance(part, str | bytes) else part.body() for part in self.received)
        return b"\n".join(part.encode() if isinstance(part, str) else part for part in parts)

    def leave(self):
        """Leave the page, so that Voila shuts the kernel down."""
        self.page.goto("about:blank")

    def pick(self, name: str, photo: bytes, mime: str = "image/jpeg"):
        """Pick a photo with the button and the file chooser."""
        self.pick_several({name: photo}, mime)

    def pick_several(self, photos: dict[str, bytes], mime: str = "image/jpeg"):
        """Pick several photos, given by their file names."""
        with self.page.expect_file_chooser() as chooser:
            self.button.click()
        chooser.value.set_files(
            [{"name": name, "mimeType": mime, "buffer": data} for name, data in photos.items()]
        )

    def wait_for_result(self):
        """Wait until the result for the selected photo is shown."""
        self.page.locator(".answer .reliability").wait_for()

    def transfer(self, event: str, name: str, photo: bytes, mime: str = "image/jpeg"):
        """Drop or paste a photo, by the event that a browser would send."""
        self.page.evaluate(
            """([event, name, mime, data]) => {
              const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
              const transfer = new DataTransfer();
              transfer.items.add(new File([bytes], name, { type: mime }));
              const options = { bubbles: true, cancelable: true };
              document.body.dispatchEvent(
                event === "paste"
                  ? new ClipboardEvent("paste", { clipboardData: transfer, ...options })
                  : new DragEvent("drop", { dataTransfer: transfer, ...options }),
              );
            }""",
            [event, name, mime, b64encode(photo).decode()],
        )

    def scrolls_sideways(self) -> bool:
        """Return whether the page is wider than the window."""
        root = "document.scrollingElement"
        return self.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth")

    def save_screenshot(self, name: str):
        """Save a picture of the whole page into the folder `FIELDMARK_SHOTS`, if that is set."""
        if folder := os.environ.get("FIELDMARK_SHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

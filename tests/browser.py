"""Serve the page and visit it in headless Chromium, keeping all that the browser saw."""

import os
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parent.parent
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
QUIET += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # nothing is loaded from afar
PATIENCE = 90  # seconds; two busy cores start a kernel slowly


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: list, folder: Path, url: str, log: Path, **environment):
    """Run a module in `folder` until the block ends; start the block once `url` answers."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: process.poll() is not None or answers(url))
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def eventually(holds):
    """Wait until `holds()`, as long as patience lasts."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Tell whether something answers at `url`."""
    try:
        return requests.get(url, timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


@contextmanager
def served_page(function_url: str, log: Path, key: str = "", **environment):
    """Serve the page as the Procfile does, and yield its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = ["front", "app.ipynb", f"--port={port}", "--Voila.ip=127.0.0.1"]
    with served(
        command,
        ROOT / "app",
        f"{url}voila/static/voila.js",
        log,
        FIELDMARK_FUNCTION_URL=function_url,
        FIELDMARK_FUNCTION_KEY=key,
        **({"JUPYTER_PATH": "."} | environment),
    ):
        yield url


@contextmanager
def served_function(log: Path, key: str = "", **environment):
    """Serve the real function with the shipped model, and yield its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["uvicorn", "birds.api:app", f"--port={port}"]
    folder = ROOT / "azure_function"
    environment |= {"FIELDMARK_FUNCTION_KEY": key}
    with served(command, folder, f"{url}/api/health", log, **environment):
        yield url


@contextmanager
def chromium():
    """Yield a headless Chromium; skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = os.environ.get("FIELDMARK_CHROMIUM") or next(filter(None, found), None)
    with playwright.sync_playwright() as tools:
        try:
            browser = tools.chromium.launch(executable_path=path, args=QUIET)
        except playwright.Error as error:
            pytest.skip(f"no Chromium to visit the page with: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


class Visit:
    """One visitor's look at the page: what is on show, and everything the browser received."""

    def __init__(self, browser, url: str, **context):
        self.page = browser.new_context(**context).new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.requested, self.received, self.errors = [], [], []
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("response", lambda response: self.received.append(response))
        self.page.on("websocket", self._keep_frames)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        # from now on, for whoever begins to expect it with the click may come too late
        self.page.on("filechooser", lambda chooser: None)
        self.page.goto(url)
        self.button = self.page.locator(".picker:not(.camera)")
        self.button.wait_for()

    def _keep_frames(self, websocket):
        websocket.on("framereceived", lambda frame: self.received.append(frame))

    def everything_received(self) -> bytes:
        """Return the bodies and the websocket frames that reached the browser."""
        parts = (part if isinstance(part, str | bytes) else part.body() for part in self.received)
        return b"\n".join(part.encode() if isinstance(part, str) else part for part in parts)

    def leave(self):
        """Go elsewhere, which lets Voila end the kernel of this visit."""
        self.page.goto("about:blank")

    def pick(self, name: str, photo: bytes, mime: str = "image/jpeg"):
        """Pick a photo as a visitor does: press the button, choose a file."""
        self.pick_several({name: photo}, mime)

    def pick_several(self, photos: dict[str, bytes], mime: str = "image/jpeg"):
        """Pick photos, given by their names."""
        with self.page.expect_file_chooser() as chooser:
            self.button.click()
        chooser.value.set_files(
            [{"name": name, "mimeType": mime, "buffer": data} for name, data in photos.items()]
        )

    def hand(self, event: str, name: str, photo: bytes, mime: str = "image/jpeg"):
        """Drop a photo on the page or paste it, as the browser would tell the page of it."""
        self.page.evaluate(
            """([event, name, mime, data]) => {
              const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
              const handed = new DataTransfer();
              handed.items.add(new File([bytes], name, { type: mime }));
              const rest = { bubbles: true, cancelable: true };
              document.body.dispatchEvent(
                event === "paste"
                  ? new ClipboardEvent("paste", { clipboardData: handed, ...rest })
                  : new DragEvent("drop", { dataTransfer: handed, ...rest }),
              );
            }""",
            [event, name, mime, b64encode(photo).decode()],
        )

    def scrolls_sideways(self) -> bool:
        """Tell whether something on the page is wider than the window."""
        root = "document.scrollingElement"
        return self.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth")

    def shoot(self, name: str):
        """Save a picture of the page where `FIELDMARK_SHOTS` says, if it says so."""
        if folder := os.environ.get("FIELDMARK_SHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

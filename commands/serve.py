"""Start the function and the page on this computer, as `make app` does, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parents[1]
FUNCTION_PORT = int(os.environ.get("FIELDMARK_FUNCTION_PORT", "7071"))
PAGE_PORT = int(os.environ.get("FIELDMARK_PAGE_PORT", "8866"))
PATIENCE = 120  # seconds for a cold start on a slow disk


def main() -> int:
    """Serve until Ctrl-C; 2 means that a port is taken, 1 that a server ended by itself."""
    function, page = f"http://127.0.0.1:{FUNCTION_PORT}", f"http://127.0.0.1:{PAGE_PORT}"
    for port, name in ((FUNCTION_PORT, "FUNCTION"), (PAGE_PORT, "PAGE")):
        if taken(port):
            say(
                f"Port {port} is taken by another program. Stop that one, or choose another port: "
                f"FIELDMARK_{name}_PORT={port + 1} make app"
            )
            return 2
    for name in ("SIGTERM", "SIGHUP"):  # a closed terminal stops both servers too
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    servers = []
    try:
        servers.append(start_function())
        servers.append(start_page(function))
        for address in (f"{function}/api/health", f"{page}/voila/static/voila.js"):
            wait_for(address, servers)
        fault = requests.get(f"{function}/api/health", timeout=10).json().get("detail")
        if fault:
            say(f"The function answers, but names no birds: {fault}")
        say(f"\n  the page      {page}\n  the function  {function}/api/docs\n\nCtrl-C stops both.")
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
        say("One of the two servers ended; what it printed is above.")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 0
    except TimeoutError as error:
        say(str(error))
        return 1
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def taken(port: int) -> bool:
    """Tell whether something listens on a port of this computer."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_function() -> subprocess.Popen:
    """Serve the very app that Azure serves, with uvicorn."""
    options = ["--host", "127.0.0.1", "--port", str(FUNCTION_PORT), "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", "birds.api:app", "--app-dir", "azure_function"]
    return subprocess.Popen([*command, *options], cwd=ROOT, start_new_session=True)


def start_page(function: str) -> subprocess.Popen:
    """Serve the page with Voila, as the Procfile does."""
    return subprocess.Popen(
        [sys.executable, "-m", "front", "app.ipynb", f"--port={PAGE_PORT}"],
        cwd=ROOT / "app",
        env={"FIELDMARK_FUNCTION_URL": function} | os.environ | {"JUPYTER_PATH": "."},
        start_new_session=True,
    )


def wait_for(address: str, servers: list[subprocess.Popen]) -> None:
    """Return as soon as an address answers anything; raise TimeoutError if it never does."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and all(server.poll() is None for server in servers):
        try:
            requests.get(address, timeout=10)
            return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer; what its server printed is above.")


def say(text: str) -> None:
    """Speak to the person at the terminal."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

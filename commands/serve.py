"""`fieldmark serve`: run the function and the page on this computer until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from birds.errors import UserError

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 120  # seconds; a cold start on a slow disk
STOP_TIMEOUT = 10  # seconds


class ServerError(UserError):
    """A server did not start, or ended by itself."""

    exit_status = 1


def serve(
    function_port: Annotated[
        int,
        typer.Option(
            envvar="FIELDMARK_FUNCTION_PORT", help="TCP port of the function.", metavar="PORT"
        ),
    ] = 7071,
    page_port: Annotated[
        int,
        typer.Option(envvar="FIELDMARK_PAGE_PORT", help="TCP port of the page.", metavar="PORT"),
    ] = 8866,
) -> None:
    """Serve the page and the function on this computer until Ctrl-C.

    The exit status is 1 if a server ends by itself, and 2 if a port is in use.

    Example:

        fieldmark serve --page-port 8080
    """
    import requests

    function, page = f"http://127.0.0.1:{function_port}", f"http://127.0.0.1:{page_port}"
    for port, option in ((function_port, "--function-port"), (page_port, "--page-port")):
        if is_port_used(port):
            raise UserError(
                f"Port {port} is used by another program. Stop that program, or choose another "
                f"port: fieldmark serve {option} {port + 1}"
            )
    for name in ("SIGTERM", "SIGHUP"):  # a closed terminal stops both servers too
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    servers = []
    try:
        servers.append(start_function(function_port))
        servers.append(start_page(page_port, function))
        for address in (f"{function}/api/health", f"{page}/voila/static/voila.js"):
            wait_until_served(address, servers)
        fault = requests.get(f"{function}/api/health", timeout=10).json().get("detail")
        if fault:
            typer.echo(f"The function runs but cannot classify photos: {fault}")
        typer.echo(f"\n  page      {page}\n  function  {function}/api/docs\n\nCtrl-C stops both.")
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
        raise ServerError("A server ended by itself; its output is above.")
    except KeyboardInterrupt:
        typer.echo("\nStopped.")
    finally:
        stop_servers(servers)


def is_port_used(port: int) -> bool:
    """Return whether a program listens on a port of this computer."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_function(port: int, **options: Any) -> subprocess.Popen:
    """Start the app that Azure serves, with the server of the container; `options` are Popen's."""
    command = [sys.executable, "-m", "birds.server", "--port", str(port)]
    options |= {"cwd": ROOT / "azure_function", "start_new_session": True}
    return subprocess.Popen(command, **options)


def start_page(port: int, function: str) -> subprocess.Popen:
    """Start the page with Voila, as the Procfile does."""
    return subprocess.Popen(
        [sys.executable, "-m", "page_server", "app.ipynb", f"--port={port}"],
        cwd=ROOT / "app",
        env={"FIELDMARK_FUNCTION_URL": function} | os.environ | {"JUPYTER_PATH": "."},
        start_new_session=True,
    )


def wait_until_served(address: str, servers: list[subprocess.Popen]) -> None:
    """Return once an address responds; raise ServerError if a server ends or it never does."""
    import requests

    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and all(server.poll() is None for server in servers):
        try:
            requests.get(address, timeout=10)
            return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.2)
    raise ServerError(f"{address} does not respond; the output of its server is above.")


def stop_servers(servers: list[subprocess.Popen]) -> None:
    """Terminate servers, and kill those that do not end in time."""
    for server in servers:
        server.terminate()
    for server in servers:
        try:
            server.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            server.kill()

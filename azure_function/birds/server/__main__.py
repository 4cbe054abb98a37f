"""Serve the API: `python -m birds.server --host 0.0.0.0 --port 7071`, with all limits set."""

import argparse
import contextlib
import os

import uvicorn

from ..json_log import configure_logging, log_uncaught_errors
from . import connection

STOP_TIMEOUT = 5  # seconds for requests in progress


def allow_open_files() -> None:
    """Raise the limit on open files to two for each connection, or accept fewer connections."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    needed = 2 * connection.MAX_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    with contextlib.suppress(ValueError, OSError):  # macOS has another limit below this one
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    connection.MAX_CONNECTIONS = min(connection.MAX_CONNECTIONS, soft // 2)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser("python -m birds.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    port = os.environ.get("PORT") or "7071"
    parser.add_argument("--port", default=port, type=int, help="TCP port; default: PORT, or 7071")
    arguments = parser.parse_args()
    configure_logging()
    log_uncaught_errors()
    allow_open_files()
    uvicorn.run(
        "birds.api:app",
        host=arguments.host,
        port=arguments.port,
        loop="asyncio",  # not uvloop where it happens to be installed
        http=connection.Connection,
        ws="none",
        access_log=False,  # the app logs each request
        log_config=None,
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT,
    )


if __name__ == "__main__":
    main()

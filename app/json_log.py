"""Log one JSON object a line: of this server, of the libraries, and of the kernels."""

import asyncio
import logging
import os
import sys
import threading

from pythonjsonlogger.json import JsonFormatter

NAMES = {"levelname": "level", "name": "logger", "exc_info": "traceback"}
MAX_OUTPUT = 2**14  # bytes of a kernel in one line


def configure_logging() -> None:
    """Send everything that is logged, warned of or raised to standard error, as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=NAMES, timestamp="time")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: logging.critical("The server failed", exc_info=error)
    sys.unraisablehook = lambda raised: logging.error("Ignored an error", exc_info=raised.exc_value)
    threading.excepthook = lambda raised: logging.error(
        "A thread failed", exc_info=raised.exc_value
    )


def open_kernel_output(kernel_id: str) -> int:
    """Return a file descriptor for a kernel's standard output and error, which are logged.

    The caller closes it once the kernel has started.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    asyncio.get_running_loop().add_reader(read_end, _log_output, read_end, kernel_id)
    return write_end


def _log_output(read_end: int, kernel_id: str) -> None:
    output = os.read(read_end, MAX_OUTPUT)
    if output:
        text = output.decode(errors="replace").strip()
        logging.getLogger("fieldmark.kernel").warning(text, extra={"kernel": kernel_id})
    else:
        asyncio.get_running_loop().remove_reader(read_end)
        os.close(read_end)

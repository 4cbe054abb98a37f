"""Write every line of a process's log as one JSON object; loads no web framework.

Nothing of a photo may be logged, and the text of an unexpected error may quote it: a traceback has
the errors' types and the lines of code, without their texts.
"""

import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime

MAX_FRAMES = 30  # of a traceback, the innermost
QUERY = re.compile(r"""\?[^\s"']*=[^\s"']*""")  # of a URL in a server's line; it may hold a key
SILENT = ("PIL", "python_multipart")  # their warnings quote a photo's EXIF, or a form's bytes


class JsonMessage(dict):
    """The members of a log line; as text it is JSON too, where another program formats the log."""

    def __str__(self) -> str:
        """Return the members as JSON."""
        return json.dumps(self)


class JsonFormatter(logging.Formatter):
    """Format a record as a JSON object: time, level, logger, and its message or members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        members = record.msg
        if not isinstance(members, JsonMessage):
            members = JsonMessage(message=QUERY.sub("?...", record.getMessage()))
        line |= members
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = format_traceback(record.exc_info[1])
        return json.dumps(line)


def format_traceback(error: BaseException) -> str:
    """Return the traceback of an error, of those that led to it and of its group, without texts."""
    text = "".join(traceback.format_tb(error.__traceback__, limit=-MAX_FRAMES)) + describe(error)
    for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        text += f"\n\nIn this group:\n\n{format_traceback(member)}"
    hidden = None if error.__suppress_context__ else error.__context__
    if earlier := error.__cause__ or hidden:
        text = f"{format_traceback(earlier)}\n\nLed to:\n\n{text}"
    return text


def describe(error: BaseException) -> str:
    """Return the type of an error, with what cannot be of a photo: a module, the system's text."""
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, ImportError):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.errno:
        return f"{name}: {os.strerror(error.errno)}"
    return name


def configure_logging() -> None:
    """Write all lines to the standard error stream, with the handlers of servers removed.

    Call it again after a server has configured its own logging. Where the root logger has a handler
    of another program, such as Azure's worker, that one formats all lines and nothing changes.
    """
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("fieldmark").setLevel(logging.INFO)
    root = logging.getLogger()
    if any(not isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        return
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
    logging.captureWarnings(True)
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            remove_console_handlers(logger)


def log_uncaught_errors() -> None:
    """Log what ends this process or a thread, and what Python ignores, instead of printing it.

    For a program of ours only, after configure_logging.
    """
    logger = logging.getLogger("fieldmark")
    sys.excepthook = lambda *error: logger.critical("The process ended", exc_info=error)
    sys.unraisablehook = lambda thrown: logger.error("Ignored", exc_info=thrown.exc_value)
    threading.excepthook = lambda thrown: logger.error("A thread ended", exc_info=thrown.exc_value)


def remove_console_handlers(logger: logging.Logger) -> None:
    """Leave the lines of a logger that prints them by itself to the root logger.

    A server's own lines for requests are dropped: the function writes one for each.
    """
    if logger.name.endswith(".access"):
        logger.disabled = True
    for handler in list(logger.handlers):
        if type(handler) is logging.StreamHandler:
            logger.removeHandler(handler)
            logger.propagate = True

"""Every line of a server's log is one JSON object, whatever configured logging before."""

import json
import logging
import subprocess
import sys

from birds import json_log

SCRIPT = """
import asyncio, logging, logging.config, sys, threading, warnings
import uvicorn.config
from birds.json_log import JsonMessage, configure_logging, log_uncaught_errors

configure_logging()
logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)  # a server that starts after the import
configure_logging()
configure_logging()
logging.getLogger("uvicorn.error").info("Started\\nserver %s", "\u2603")
logging.getLogger("uvicorn.error").info('"WebSocket %s" 403', "/api/health?top=1&code=key")
logging.getLogger("uvicorn.access").info("GET /?code=key")
logging.getLogger("python_multipart.multipart").warning("Did not find secret")
logging.getLogger("fieldmark.requests").info(JsonMessage(message="GET", status=200))
warnings.warn("An old name", DeprecationWarning, stacklevel=1)
try:
    try:
        int("my home at 47 N")
    finally:
        raise ExceptionGroup("secret", [OSError("secret")])
except Exception as error:
    logging.getLogger("birds").exception("It failed")

async def leave_a_task():
    asyncio.get_running_loop().call_exception_handler({"message": "Lost a task"})

asyncio.run(leave_a_task())
log_uncaught_errors()

class Fragile:
    def __del__(self):
        open("/missing/secret")

Fragile()
thread = threading.Thread(target=int, args=["secret"])
thread.start()
thread.join()
import missing
"""


def test_every_line_of_a_process_is_one_json_object_without_texts_of_errors():
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", SCRIPT], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("uvicorn.error", "INFO"),
        ("uvicorn.error", "INFO"),
        ("fieldmark.requests", "INFO"),
        ("py.warnings", "WARNING"),
        ("birds", "ERROR"),
        ("asyncio", "ERROR"),
        *[("fieldmark", "ERROR")] * 2,
        ("fieldmark", "CRITICAL"),
    ]
    assert lines[0]["message"] == "Started\nserver \u2603"
    assert lines[1]["message"] == '"WebSocket /api/health?..." 403'
    assert lines[2]["status"] == 200
    for part in ("ValueError", "Led to:", "ExceptionGroup", "In this group:", "OSError", "line"):
        assert part in lines[4]["traceback"]
    assert lines[6]["traceback"].endswith("\nFileNotFoundError: No such file or directory")
    assert lines[8]["traceback"].endswith("\nModuleNotFoundError: No module named 'missing'")
    for secret in ("my home", "secret", "code=key"):
        assert secret not in done.stderr


def test_the_log_of_another_program_keeps_its_handlers(monkeypatch):
    """Azure's worker has one at the root, and sends each message on; ours are JSON as text too."""
    root, server = logging.Logger("root"), logging.getLogger("a.server.access")
    handlers = [logging.StreamHandler()]
    monkeypatch.setattr(root, "handlers", handlers)
    monkeypatch.setattr(server, "handlers", list(handlers))
    monkeypatch.setattr(
        logging, "getLogger", lambda name="": logging.Logger(name) if name else root
    )
    json_log.configure_logging()
    assert root.handlers == server.handlers == handlers
    assert not server.disabled
    assert str(json_log.JsonMessage(message="a")) == '{"message": "a"}'

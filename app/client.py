"""HTTP client of the Fieldmark function."""

import json
import os
import time
from pathlib import Path

import requests

# Shared with the page without a kernel, whose browser sends the requests itself.
SETTINGS = json.loads((Path(__file__).parent / "browser/requests.json").read_text(encoding="utf-8"))
MESSAGES = SETTINGS["messages"]
TIMEOUT = (10, SETTINGS["timeout_seconds"])  # seconds to connect, to respond


class FunctionError(Exception):
    """The function gave no usable response; the message is a sentence for the visitor."""


class InvalidQuery(FunctionError):
    """The function does not accept a parameter of the request."""


def classify(photo: bytes | bytearray, top: int = 5, crop: str = "auto") -> dict:
    """Return the function's response for one photo, with `top` predictions and a heat map.

    `crop` says where the bird is: `auto` to look for all birds, `center` for the middle square, or
    left, top, width and height of a square. A function that does not know `crop` yet takes the
    middle square. Raises `FunctionError`.
    """
    params = {"top": top, "heatmap": "true"}
    search = {"crop": crop, "birds": "all"} if crop == "auto" else {"crop": crop}
    keys = {"predictions", "answer"}
    try:
        return _request("POST", "classify", keys, params=params | search, data=photo)
    except InvalidQuery:
        if crop not in ("auto", "center"):
            raise
        return _request("POST", "classify", keys, params=params, data=photo)


def describe_model() -> dict:
    """Return the model card: labels, training data, licence. Raises `FunctionError`."""
    return _request("GET", "model", {"labels", "trained_on", "licence"})


def _request(method: str, path: str, expected_keys: set, **options) -> dict:
    try:
        response = _send_until_not_busy(method, path, **options)
        if response.status_code in (401, 403):
            raise FunctionError(MESSAGES["unauthorized"])
        body = response.json()
    except requests.Timeout as error:
        raise FunctionError(MESSAGES["timeout"]) from error
    except requests.JSONDecodeError as error:
        reason = "unreadable" if response.ok else "unreachable"
        raise FunctionError(MESSAGES[reason]) from error
    except requests.RequestException as error:
        raise FunctionError(MESSAGES["unreachable"]) from error
    if response.ok and isinstance(body, dict) and expected_keys <= body.keys():
        return body
    problem = body if isinstance(body, dict) else {}
    kind = InvalidQuery if problem.get("type") == "urn:fieldmark:invalid-query" else FunctionError
    detail = problem.get("detail")
    raise kind(detail if isinstance(detail, str) else MESSAGES["unreadable"])


def _send_until_not_busy(method: str, path: str, **options) -> requests.Response:
    url = os.environ.get("FIELDMARK_FUNCTION_URL", "http://127.0.0.1:7071").rstrip("/")
    key = os.environ.get("FIELDMARK_FUNCTION_KEY", "").strip()
    for attempts_left in reversed(range(SETTINGS["busy_attempts"])):
        response = requests.request(
            method,
            f"{url}/api/{path}",
            headers={"x-functions-key": key} if key else {},
            timeout=TIMEOUT,
            allow_redirects=False,  # requests would send the key to another host
            **options,
        )
        busy = response.status_code == 503 and b"urn:fieldmark:busy" in response.content
        if not (busy and attempts_left):
            break
        seconds = int(response.headers.get("retry-after", "1"))
        time.sleep(min(SETTINGS["busy_max_wait_seconds"], seconds))
    return response

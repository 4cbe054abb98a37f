"""Ask the Fieldmark function, over HTTP, which bird is in a photo."""

import os
import time

import requests

TIMEOUT = (10, 60)  # seconds: to connect, to wait for an answer
TRIES = 4  # of a photo that comes when too many others are in hand
LONGEST = 5  # seconds to wait before one of them

UNREACHABLE = "The model cannot be reached just now. Please try again in a minute."
SLOW = "The model took too long to answer. Please try again: the second try is often faster."
REFUSED = "This page is not allowed to ask the model. Its owner has to check the function's key."
UNREADABLE = "The model sent an answer that this page cannot read. Please try again later."


class NoAnswer(Exception):
    """Say in a sentence a visitor can act on why there is no answer."""


def classify(photo: bytes, top: int = 5) -> dict:
    """Return the function's answer for one photo, with the `top` likeliest labels and a heat map.

    Raises `NoAnswer`.
    """
    asked = {"top": top, "heatmap": "true"}
    return _ask("POST", "classify", {"predictions", "answer"}, params=asked, data=photo)


def model() -> dict:
    """Return what the model says of itself: labels, training data, licence.

    Raises `NoAnswer`.
    """
    return _ask("GET", "model", {"labels", "trained_on", "licence"})


def _ask(method: str, path: str, expected: set, **request) -> dict:
    url = os.environ.get("FIELDMARK_FUNCTION_URL", "http://127.0.0.1:7071").rstrip("/")
    key = os.environ.get("FIELDMARK_FUNCTION_KEY", "").strip()
    try:
        for tries in range(1, TRIES + 1):
            response = requests.request(
                method,
                f"{url}/api/{path}",
                headers={"x-functions-key": key} if key else {},
                timeout=TIMEOUT,
                allow_redirects=False,  # requests would carry the key along to another host
                **request,
            )
            if not busy(response) or tries == TRIES:
                break
            time.sleep(min(LONGEST, int(response.headers.get("retry-after", "1"))))
        if response.status_code in (401, 403):
            raise NoAnswer(REFUSED)
        answer = response.json()
    except requests.Timeout as error:
        raise NoAnswer(SLOW) from error
    except requests.JSONDecodeError as error:
        raise NoAnswer(UNREADABLE if response.ok else UNREACHABLE) from error
    except requests.RequestException as error:
        raise NoAnswer(UNREACHABLE) from error
    if response.ok and isinstance(answer, dict) and expected <= answer.keys():
        return answer
    problem = answer.get("detail") if isinstance(answer, dict) else None
    raise NoAnswer(problem if isinstance(problem, str) else UNREADABLE)


def busy(response: requests.Response) -> bool:
    """Tell whether the function has only too much to do just now."""
    return response.status_code == 503 and b"urn:fieldmark:busy" in response.content

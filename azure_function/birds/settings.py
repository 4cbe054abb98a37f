"""Read the function's settings from the environment, in one place."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from . import cpus


class Settings(NamedTuple):
    """What the owner of a function may choose.

    `key`: what callers have to send, empty for none. `origins`: the pages of other sites that a
    browser lets ask, like https://birds.example, or *. `at_once`: photos worked on at a time, each
    by one thread. `in_flight`: those and the ones that wait for their turn. `log`: one line each.
    `page`: whether visitors get a page at /, which asks without a key.
    """

    key: str = ""
    origins: tuple[str, ...] = ()
    at_once: int = cpus.count()
    in_flight: int = 2 * cpus.count()
    log: bool = True
    page: bool = False


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; raise ValueError with a sentence for one that can't be read."""
    chosen = Settings(
        key=environment.get("FIELDMARK_FUNCTION_KEY", "").strip(),
        origins=tuple(each.rstrip("/") for each in environment.get("FIELDMARK_CORS", "").split()),
        page=switched(environment.get("FIELDMARK_PAGE", "")),
    )
    if chosen.page and chosen.key:
        raise ValueError(
            "FIELDMARK_PAGE opens the function to every browser, and FIELDMARK_FUNCTION_KEY closes "
            "it: unset one of them."
        )
    if not (wanted := environment.get("FIELDMARK_IN_FLIGHT", "").strip()):
        return chosen
    if not wanted.isdecimal() or not int(wanted):
        raise ValueError(
            f"FIELDMARK_IN_FLIGHT is {wanted!r}: set it to a number of photos, or not."
        )
    in_flight = int(wanted)
    return chosen._replace(in_flight=in_flight, at_once=min(chosen.at_once, in_flight))


def switched(wanted: str) -> bool:
    """Tell whether FIELDMARK_PAGE is on; a word that is neither opens nothing by mistake."""
    if (word := wanted.strip().lower()) in ("1", "true", "yes", "on"):
        return True
    if word in ("", "0", "false", "no", "off"):
        return False
    raise ValueError(f"FIELDMARK_PAGE is {wanted!r}: set it to 1 or 0.")

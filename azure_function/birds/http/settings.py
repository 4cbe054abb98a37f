"""Read the function's settings from the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from ..errors import UserError
from ..process import cpu_count

PAGE_FILE = Path(__file__).parents[1] / "page.html"  # written by `make page`


class SettingsError(UserError):
    """A setting has an invalid value, or contradicts another one."""


class Settings(NamedTuple):
    """The owner's choices for a function.

    `key`: what callers send, empty for no key. `origins`: other sites whose pages may call the
    function, like https://birds.example, or *. `workers`: photos processed at a time, by one thread
    each. `max_in_flight`: those and the photos that queue. `log`: one line for each request.
    `page`: serve the page at /, which sends no key.
    """

    key: str = ""
    origins: tuple[str, ...] = ()
    workers: int = cpu_count()
    max_in_flight: int = 2 * cpu_count()
    log: bool = True
    page: bool = False


def load_settings(
    environment: Mapping[str, str] = os.environ, page_file: Path = PAGE_FILE
) -> Settings:
    """Return the settings; raises SettingsError."""
    switch = environment.get("FIELDMARK_PAGE", "").strip()
    try:
        page = TypeAdapter(bool).validate_python(switch or "0")
    except ValueError as error:  # no typo opens a page
        raise SettingsError(f"FIELDMARK_PAGE is {switch!r}. Set it to 1 or 0.") from error
    settings = Settings(
        key=environment.get("FIELDMARK_FUNCTION_KEY", "").strip(),
        origins=tuple(url.rstrip("/") for url in environment.get("FIELDMARK_CORS", "").split()),
        page=page,
    )
    if settings.page and settings.key:
        raise SettingsError(
            "FIELDMARK_PAGE serves visitors without a key, but FIELDMARK_FUNCTION_KEY is set. "
            "Unset one of them."
        )
    if settings.page and not page_file.is_file():
        raise SettingsError(
            f"FIELDMARK_PAGE is on, but birds/{page_file.name} is missing. Write it with "
            "`make page` before deployment, or unset FIELDMARK_PAGE."
        )
    if limit := environment.get("FIELDMARK_IN_FLIGHT", "").strip():
        if not limit.isdecimal() or not int(limit):
            raise SettingsError(
                f"FIELDMARK_IN_FLIGHT is {limit!r}. Set it to a number of photos, or unset it."
            )
        workers = min(settings.workers, int(limit))
        settings = settings._replace(max_in_flight=int(limit), workers=workers)
    return settings

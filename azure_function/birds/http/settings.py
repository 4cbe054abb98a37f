"""Read the function's settings from the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import AnyHttpUrl, TypeAdapter

from ..errors import UserError
from ..process import cpu_count, memory_limit
from ..workers.decoder import plan_memory

PAGE_FOLDER = Path(__file__).parents[1] / "page"  # written by `make page`
MAX_KEY = 1024  # characters; servers and proxies limit a header to a few thousand
KEY = re.compile(r"[!-~]+")  # what every client can send in a header, unchanged
HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]")
DECODERS, LARGE_MEMORY = plan_memory(memory_limit(), cpu_count())
WORKERS = min(DECODERS, cpu_count())


class SettingsError(UserError):
    """A setting has an invalid value, or contradicts another one."""


class Settings(NamedTuple):
    """The owner's choices for a function.

    `key`: what callers send, empty for no key. `origins`: other sites whose pages may call the
    function, like https://birds.example, or *. `workers`: photos computed at a time, by one thread
    each. `max_in_flight`: those and the photos that queue. `log`: one line for each request.
    `page`: serve the page at /, which sends no key. `fetch`: fetch photos from addresses that
    callers send. `decoders`: processes that decode photos. `large_memory`: bytes that another
    process may use for large ones.
    """

    key: str = ""
    origins: tuple[str, ...] = ()
    workers: int = WORKERS
    max_in_flight: int = 2 * WORKERS
    log: bool = True
    page: bool = False
    fetch: bool = False
    decoders: int = DECODERS
    large_memory: int = LARGE_MEMORY


def load_settings(
    environment: Mapping[str, str] = os.environ, page_folder: Path = PAGE_FOLDER
) -> Settings:
    """Return the settings; raises SettingsError."""
    settings = Settings(
        key=parse_key(environment.get("FIELDMARK_FUNCTION_KEY", "")),
        origins=parse_origins(environment.get("FIELDMARK_CORS", "")),
        page=parse_switch(environment, "FIELDMARK_PAGE"),
        fetch=parse_switch(environment, "FIELDMARK_FETCH"),
    )
    if settings.page and settings.key:
        raise SettingsError(
            "FIELDMARK_PAGE serves visitors without a key, but FIELDMARK_FUNCTION_KEY is set. "
            "Unset one of them."
        )
    if settings.page and not (page_folder / "index.html").is_file():
        raise SettingsError(
            f"FIELDMARK_PAGE is on, but birds/{page_folder.name}/index.html is missing. Write it "
            "with `make page` before deployment, or unset FIELDMARK_PAGE."
        )
    if limit := environment.get("FIELDMARK_IN_FLIGHT", "").strip():
        if not re.fullmatch(r"0*[1-9][0-9]{0,5}", limit, re.ASCII):
            raise SettingsError(
                f"FIELDMARK_IN_FLIGHT is {limit[:60]!r}. Set it to a number of photos, or unset it."
            )
        workers = min(settings.workers, int(limit))
        settings = settings._replace(max_in_flight=int(limit), workers=workers)
    return settings


def parse_switch(environment: Mapping[str, str], name: str) -> bool:
    """Return whether a setting is on; raises SettingsError, since no typo may turn it on or off."""
    switch = environment.get(name, "").strip()
    try:
        return TypeAdapter(bool).validate_python(switch or "0")
    except ValueError as error:
        raise SettingsError(f"{name} is {switch[:60]!r}. Set it to 1 or 0.") from error


def parse_key(text: str) -> str:
    """Return the key, empty for none; raises SettingsError, which never repeats it.

    A final line break is dropped: some secret stores add one.
    """
    key = text.rstrip("\r\n")
    if text and (len(key) > MAX_KEY or not KEY.fullmatch(key)):
        raise SettingsError(
            "FIELDMARK_FUNCTION_KEY is a key that no client can send. Set it to at most "
            f"{MAX_KEY:,} ASCII letters, digits and signs without spaces, or unset it."
        )
    return key


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the origins as browsers spell them, or *; raises SettingsError."""
    words = text.split()
    if words == ["*"]:
        return ("*",)
    return tuple(parse_origin(word) for word in words)


def parse_origin(text: str) -> str:
    """Return an origin as browsers spell it: lower case, IDNA, without the scheme's own port.

    Raises SettingsError for all that browsers never send: paths, wildcards, a list with commas.
    """
    try:
        url = AnyHttpUrl(text)  # pydantic's parser follows the browsers' standard, WHATWG's
        host = (url.host or "").lower()
        if re.match(r"https?://[^/\\?#@]+/?$", text, re.IGNORECASE) and HOST.fullmatch(host):
            default = {"http": 80, "https": 443}[url.scheme]
            return f"{url.scheme}://{host}" + (f":{url.port}" if url.port != default else "")
    except ValueError:
        pass  # no URL at all
    shown = "an address with a password" if "@" in text else repr(text[:60])
    raise SettingsError(
        f"FIELDMARK_CORS contains {shown}, which is no origin. Write scheme and host only, like "
        "https://birds.example, separate several with spaces, or write * alone to allow all."
    )

"""Read the settings of the page's server from the environment."""

import os
import re

HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_-]+)*")


class SettingError(SystemExit):
    """A setting has a wrong value; the message says which, and what to do."""


def read_count(name: str, default: int, minimum: int = 1) -> int:
    """Return a whole number of at least `minimum`; raise `SettingError` for any other value."""
    value = os.environ.get(name, "").strip() or str(default)
    if not (value.isascii() and value.isdecimal() and minimum <= int(value) <= 10**6):
        kind = "positive whole number" if minimum else "whole number"
        raise SettingError(f"{name} is {value!r}. Set it to a {kind}, or unset it.")
    return int(value)


def read_visitors() -> int:
    """Return the largest number of visitors at a time."""
    return read_count("FIELDMARK_VISITORS", 5)  # docs/deploy.md: what fits beside Voila in 512 MB


def read_share(visitors: int) -> int:
    """Return how many of `visitors` may come from one network address, by default half of them."""
    return read_count("FIELDMARK_VISITORS_PER_ADDRESS", max(1, visitors // 2))


def read_proxies() -> int:
    """Return the number of proxies in front of the page's server."""
    return read_count("FIELDMARK_PROXIES", 0, minimum=0)


def read_hosts() -> frozenset[str]:
    """Return the host names under which the page may be opened; empty if there is no such list."""
    names = os.environ.get("FIELDMARK_HOSTS", "").lower().split()
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise SettingError(
                f"FIELDMARK_HOSTS contains {name!r}, which is no host name. Write names like "
                "birds.example, without scheme, port or path, separated by spaces."
            )
    return frozenset(names)

"""Times with their offset from UTC, from cameras' local times."""

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from fieldmark.bulk.results import ResultsError


def parse_timezone(name: str) -> tzinfo:
    """Return a time zone by its offset, such as +02:00, or name; raises ResultsError."""
    try:
        if re.fullmatch(r"[+-]\d\d:\d\d", name):
            return datetime.strptime(name, "%z").tzinfo or UTC
        return ZoneInfo(name)
    except (ValueError, OSError) as error:
        raise ResultsError(
            f"There is no time zone {name}. Give an offset such as +02:00, or a name such as "
            "Europe/Brussels."
        ) from error


def localize(time: datetime, offset: str | None, zone: tzinfo | None, path: str) -> datetime:
    """Return a camera's time with the offset from EXIF, else that of a zone.

    Raises ResultsError without either.
    """
    if time.tzinfo:
        return time
    zone = parse_timezone(offset) if offset else zone
    if zone is None:
        raise ResultsError(
            f"The time of {path} has no offset from UTC. State that of the cameras' clocks with "
            "--timezone, such as +02:00 or Europe/Brussels."
        )
    return time.replace(tzinfo=zone)

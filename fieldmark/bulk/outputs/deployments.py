"""Deployments of Camtrap DP: one per folder of photos, with what a person states about it."""

import csv
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path

from fieldmark.bulk.outputs.tables import read_rows
from fieldmark.bulk.outputs.times import localize
from fieldmark.bulk.results import Results, ResultsError

START, END = "deploymentStart", "deploymentEnd"
FIELDS = (
    *("deploymentID", "locationID", "locationName", "latitude", "longitude"),
    *("coordinateUncertainty", START, END, "setupBy", "cameraID", "cameraModel"),
    *("cameraDelay", "cameraHeight", "cameraDepth", "cameraTilt", "cameraHeading"),
    *("detectionDistance", "timestampIssues", "baitUse", "featureType", "habitat"),
    *("deploymentGroups", "deploymentTags", "deploymentComments"),
)
COLUMNS = ["path", "taken", "utc_offset", "latitude", "longitude"]


@dataclass
class Deployment:
    """The times and the mean place of a folder's photos."""

    start: datetime | None = None
    end: datetime | None = None
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # of latitudes, of longitudes
    places: int = 0

    def add(self, time: datetime, latitude: float | None, longitude: float | None) -> None:
        """Add a photo."""
        self.start = min(self.start or time, time)
        self.end = max(self.end or time, time)
        if latitude is not None and longitude is not None:
            self.sums = [self.sums[0] + latitude, self.sums[1] + longitude]
            self.places += 1

    def values(self) -> dict:
        """Return the fields of Camtrap DP that photos tell."""
        times = {START: self.start, END: self.end}
        if not self.places:
            return times
        latitude, longitude = (round(total / self.places, 6) for total in self.sums)
        return times | {"latitude": latitude, "longitude": longitude}


def deployment_of(path: str) -> str:
    """Return the deployment of a photo: the folder that it is in."""
    return path.replace("\\", "/").rpartition("/")[0] or "."


def find_deployments(results: Results, zone: tzinfo | None, stated: Path | None) -> list[dict]:
    """Return the deployments of photos with a time, and those stated in a CSV file.

    What is stated replaces what photos tell. Raises ResultsError if a required field is missing.
    """
    found: dict[str, Deployment] = {}
    for row in read_rows(results, COLUMNS):
        if row["taken"] is not None:
            time = localize(row["taken"], row["utc_offset"], zone, row["path"])
            deployment = found.setdefault(deployment_of(row["path"]), Deployment())
            deployment.add(time, row["latitude"], row["longitude"])
    if not found:
        raise ResultsError(
            "No photo has a time, which Camtrap DP requires. Classify the photos with "
            "`fieldmark predict --exif`; without EXIF there can be no package."
        )
    rows = {name: deployment.values() for name, deployment in found.items()}
    for name, values in read_stated(stated, zone).items():
        rows[name] = rows.get(name, {}) | values
    check_complete(rows)
    return [{"deploymentID": name} | rows[name] for name in sorted(rows)]


def read_stated(path: Path | None, zone: tzinfo | None) -> dict[str, dict]:
    """Return the fields that a CSV file states, by deployment; raises ResultsError."""
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path} cannot be read: {error}. Save a CSV file in UTF-8.") from error
    names = {str(name) for row in rows for name in row}
    if unknown := names - set(FIELDS):
        raise ResultsError(
            f"{path} has columns that Camtrap DP does not have: {', '.join(sorted(unknown))}. "
            f"It has {', '.join(FIELDS)}."
        )
    stated = {}
    for row in rows:
        values = {name: text for name, text in row.items() if text}
        name = values.pop("deploymentID", "")
        for key in (START, END):
            if key in values:
                values[key] = parse_stated_time(values[key], zone, f"{key} of {name} in {path}")
        stated[name] = values
    return stated


def parse_stated_time(text: str, zone: tzinfo | None, place: str) -> datetime:
    """Return a time that a person stated; raises ResultsError, which names the `place`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ResultsError(
            f"The {place} is not a time: {text}. Write it as 2026-05-01T06:00:00+02:00."
        ) from error
    return localize(time, None, zone, place)


def check_complete(rows: dict[str, dict]) -> None:
    """Raise ResultsError for deployments without a required field, which says what to do."""
    for name in ("latitude", "longitude", START, END):
        missing = [deployment for deployment, row in rows.items() if row.get(name) is None]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ResultsError(
                f"Camtrap DP requires the {name} of every deployment, and EXIF has none for "
                f"{', '.join(sorted(missing)[:3])}{more}. State it in a CSV file with the columns "
                f"deploymentID,latitude,longitude,{START},{END} and give it with --deployments "
                "FILE. A deploymentID is the folder of its photos."
            )

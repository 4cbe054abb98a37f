"""Write results as a Camera Trap Data Package, Camtrap DP 1.0.2: https://camtrap-dp.tdwg.org."""

import csv
import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from pathlib import Path, PurePath
from typing import Any

from fieldmark.bulk.outputs import deployments, package
from fieldmark.bulk.outputs.boxes import classified_box, finder_box
from fieldmark.bulk.outputs.tables import COLUMNS, open_output, read_rows
from fieldmark.bulk.outputs.taxa import observed_taxon
from fieldmark.bulk.outputs.times import localize
from fieldmark.bulk.results import Results
from fieldmark.files import write_json

MEDIA = (
    *("mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic"),
    *("fileName", "fileMediatype", "exifData", "favorite", "mediaComments"),
)
OBSERVATIONS = (
    *("observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd"),
    *("observationLevel", "observationType", "cameraSetupType", "scientificName", "count"),
    *("lifeStage", "sex", "behavior", "individualID", "individualPositionRadius"),
    *("individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth", "bboxHeight"),
    *("classificationMethod", "classifiedBy", "classificationTimestamp"),
    *("classificationProbability", "observationTags", "observationComments"),
)
HEIF = {".heic": "image/heic", ".heif": "image/heif", ".webp": "image/webp"}


def write_camtrap_dp(
    results: Results,
    folder: Path,
    metadata: dict,
    zone: tzinfo | None = None,
    stated: Path | None = None,
) -> int:
    """Write a package's four files into a folder; return how many photos without a time it lacks.

    `metadata` is of datapackage.json, `stated` a CSV file about deployments. A second pass over the
    rows writes the media and observations, in no particular order. Raises ResultsError.
    """
    package.check_metadata(metadata)
    places = deployments.find_deployments(results, zone, stated)
    manifest = results.manifest
    by = {
        "classificationMethod": "machine",
        "classifiedBy": f"{manifest['model']['name']} {manifest['model']['version']}",
        "classificationTimestamp": manifest["finished"] or manifest["started"],
    }
    names: set[str] = set()
    lacking = 0
    with (
        write_table(folder / "media.csv", MEDIA) as media,
        write_table(folder / "observations.csv", OBSERVATIONS) as observations,
    ):
        for row in read_rows(results, [name for name in COLUMNS if name != "text"]):
            if row["taken"] is None:
                lacking += 1
                continue
            time = localize(row["taken"], row["utc_offset"], zone, row["path"])
            media.writerow(medium(row, time))
            found = observation(row, time) | by
            names.update(filter(None, [found.get("scientificName")]))
            observations.writerow(found)
    with write_table(folder / "deployments.csv", deployments.FIELDS) as table:
        for place in places:
            times = (deployments.START, deployments.END)
            table.writerow(place | {key: place[key].isoformat() for key in times})
    write_json(
        folder / "datapackage.json", package.describe(manifest, metadata, places, names, lacking)
    )
    return lacking


@contextmanager
def write_table(path: Path, fields: tuple[str, ...]) -> Iterator[csv.DictWriter]:
    """Yield a writer of the rows of a CSV file."""
    with open_output(path) as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        yield writer


def medium(row: dict, time: datetime) -> dict[str, Any]:
    """Return the row of a photo in media.csv."""
    path = PurePath(row["path"])
    suffix = path.suffix.lower()
    return {
        "mediaID": row["path"],
        "deploymentID": deployments.deployment_of(row["path"]),
        "timestamp": time.isoformat(),
        "filePath": file_path(row["path"]),
        "filePublic": "false",
        "fileName": path.name,
        "fileMediatype": HEIF.get(suffix) or mimetypes.types_map.get(suffix, "image/jpeg"),
    }


def file_path(path: str) -> str:
    """Return a path as Camtrap DP allows: relative without dots at its start, or an address."""
    path = path.replace("\\", "/").removeprefix("./")
    return Path(path).resolve().as_uri() if path.startswith(("/", ".", "~")) else path


def observation(row: dict, time: datetime) -> dict[str, Any]:
    """Return the row of a photo in observations.csv, without who classified it."""
    name = observed_taxon(row)
    values = {
        "observationID": row["path"],
        "deploymentID": deployments.deployment_of(row["path"]),
        "mediaID": row["path"],
        "eventStart": time.isoformat(),
        "eventEnd": time.isoformat(),
        "observationLevel": "media",
        "observationType": observation_type(row),
        "scientificName": name,
        "classificationProbability": probability(row),
        "observationTags": " | ".join(row["shortlist"] or []),
    }
    number = classified_box(row)
    if number is not None:
        box = finder_box(row, row["boxes"][number])
        values |= zip(("bboxX", "bboxY", "bboxWidth", "bboxHeight"), box, strict=True)
    return values


def observation_type(row: dict) -> str:
    """Return what a photo shows; never blank, which no model here proves."""
    return "unknown" if row["kind"] == "unknown" and not row["boxes"] else "animal"


def probability(row: dict) -> float | None:
    """Return the probability of the species, or of all that are in a shortlist."""
    if row["kind"] not in ("species", "shortlist"):
        return None
    listed = [p["probability"] for p in row["predictions"] if p["label"] in row["shortlist"]]
    return round(min(1.0, sum(listed)), 6) if listed else round(row["probability"], 6)

"""datapackage.json of a Camera Trap Data Package."""

import json
from collections.abc import Collection
from pathlib import Path

from fieldmark.bulk.outputs.deployments import END, START
from fieldmark.bulk.outputs.taxa import list_taxa
from fieldmark.bulk.results import ResultsError
from fieldmark.files import format_json

ADDRESS = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2"
PROFILE = f"{ADDRESS}/camtrap-dp-profile.json"
TEMPLATE = {
    "name": "my-project-2026",
    "contributors": [{"title": "Your name", "email": "you@example.org", "role": "contact"}],
    "project": {
        "title": "My project",
        "samplingDesign": "opportunistic",
        "captureMethod": ["activityDetection"],
    },
}


def read_metadata(path: Path | None) -> dict:
    """Return what a JSON file states about the project; raises ResultsError."""
    if path is None:
        return {}
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}. Write a JSON file.") from error
    return metadata if isinstance(metadata, dict) else {}


def check_metadata(metadata: dict) -> None:
    """Raise ResultsError if metadata lack what Camtrap DP requires and photos cannot tell."""
    project = metadata.get("project", {})
    missing = [name for name in ("name", "contributors", "project") if not metadata.get(name)]
    missing += [f"project.{name}" for name in TEMPLATE["project"] if not project.get(name)]
    if missing:
        raise ResultsError(
            f"Camtrap DP requires {', '.join(missing)}, which photos do not tell. Write them in a "
            f"JSON file and give it with --metadata FILE. Such as:\n{format_json(TEMPLATE)}"
            "Other sampling designs are simpleRandom, systematicRandom, clusteredRandom, "
            "experimental and targeted; the other capture method is timeLapse."
        )


def describe(
    manifest: dict, metadata: dict, places: list[dict], names: Collection[str], lacking: int
) -> dict:
    """Return the content of datapackage.json.

    `places` are the deployments, `names` the scientific names in observations, `lacking` counts the
    photos that have no time.
    """
    points = sorted({(float(place["longitude"]), float(place["latitude"])) for place in places})
    taxa = list_taxa(manifest["labels"])
    model = manifest["model"]
    text = f"Classified by the model {model['name']} {model['version']} with Fieldmark."
    if lacking:
        text += f" Left out: {lacking} photos that could not be read or have no time."
    facts = {"individualAnimals": False, "observationLevel": ["media"]}
    return {
        "profile": PROFILE,
        "created": manifest["finished"] or manifest["started"],
        "description": text,
        **metadata,
        "project": facts | metadata["project"],
        "spatial": {"type": "MultiPoint", "coordinates": [list(point) for point in points]},
        "temporal": {
            "start": min(place[START] for place in places).date().isoformat(),
            "end": max(place[END] for place in places).date().isoformat(),
        },
        "taxonomic": [taxa.get(name, {"scientificName": name}) for name in sorted(names)],
        "resources": [resource(name) for name in ("deployments", "media", "observations")],
    }


def resource(name: str) -> dict:
    """Return the description of a table."""
    return {
        "name": name,
        "path": f"{name}.csv",
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "schema": f"{ADDRESS}/{name}-table-schema.json",
    }

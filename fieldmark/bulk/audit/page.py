"""Write a page on which a person checks photos; one file that needs no server and no network."""

import hashlib
from pathlib import Path

import pyarrow.dataset as ds

from fieldmark.bulk.audit.checks import COLUMNS, Check
from fieldmark.bulk.audit.population import Population
from fieldmark.bulk.html_page import write_template
from fieldmark.bulk.results import Results
from fieldmark.bulk.thumbnails import make_thumbnails

TEMPLATE = Path(__file__).with_name("page.html")
SUGGESTIONS, CROP_SIDE, WHOLE_SIDE = 4, 320, 520


def write_page(
    file: Path, results: Results, population: Population, checks: list[Check], inclusion: list[str]
) -> None:
    """Write the page of some photos; `inclusion` is that of each photo, as in the table."""
    paths = [population.paths[check.photo] for check in checks]
    columns = ["path", "crop", "predictions"]
    found = results.dataset.to_table(columns, filter=ds.field("path").isin(paths))  # type: ignore
    rows = {row["path"]: row for row in found.to_pylist()}
    photos = [
        describe_photo(results, population, check, rows[path], share)
        for check, path, share in zip(checks, paths, inclusion, strict=True)
    ]
    key = hashlib.sha256("\n".join([str(results.folder.resolve()), *paths]).encode()).hexdigest()
    write_template(
        file,
        TEMPLATE,
        data={
            "key": f"fieldmark-{key[:16]}",
            "columns": list(COLUMNS),
            "photos": photos,
            "names": results.common_names,
        },
        count=len(photos),
    )


def describe_photo(
    results: Results, population: Population, check: Check, row: dict, inclusion: str
) -> dict:
    """Return what the page shows of a photo, and the cells of its row in the table."""
    crop, whole, error = make_thumbnails(results, row["path"], row["crop"], CROP_SIDE, WHOLE_SIDE)
    predictions = row["predictions"] or []
    return {
        "path": row["path"],
        "predicted": population.labels[population.label[check.photo]],
        "stratum": population.names[population.stratum[check.photo]],
        "inclusion": inclusion,
        "species": check.species.answer if check.species else "",
        "suggestions": [
            [each["label"], round(float(each["probability"]), 3)]
            for each in predictions[:SUGGESTIONS]
        ],
        "crop": crop,
        "whole": whole,
        "error": error,
    }

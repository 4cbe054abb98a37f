"""Write results of a job without classifying anything: rows of drawn species with known truth."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from birds import drawn
from fieldmark.bulk.results import VERSION
from fieldmark.bulk.rows import SCHEMA
from fieldmark.files import write_json

LABELS = [
    {
        "label": name.replace("_", " "),
        "common_name": name.replace("_", " "),
        "scientific_name": f"Genus{number // 2} species{number}",
        "genus": f"Genus{number // 2}",
        "family": f"Family{number // 4}",
        "order": "Drawniformes",
    }
    for number, name in enumerate(drawn.SPECIES)
]


def sample_row(number: int, generator: np.random.Generator, root: str = "photos") -> dict:
    """Return the row of one made-up photo; one in 50 is broken, one in 10 unknown."""
    path = f"{root}/camera{number % 3}/{number:05}.jpg"
    row: dict = dict.fromkeys(SCHEMA.names) | {"path": path}
    if number % 50 == 49:
        return row | {"error": "This file is not a photo that can be read here."}
    strength = np.ones(len(LABELS)) * 0.05
    strength[number % len(LABELS)] = 3.0
    probability = generator.dirichlet(strength)
    order = (-probability).argsort()
    first = LABELS[order[0]]
    shortlist = [LABELS[i]["label"] for i in order if probability[i] > 0.2]
    kind = "species" if len(shortlist) == 1 else "shortlist"
    unknown = number % 10 == 9
    taken = datetime(2026, 5, 1, 5) + timedelta(seconds=int(number // 4 * 1800 + number % 4 * 2))
    return row | {
        "kind": "unknown" if unknown else kind,
        **{key: first[key] for key in ("label", "common_name", "scientific_name")},
        "probability": probability[order[0]],
        "shortlist": [] if unknown else shortlist,
        "unknown_score": 0.9 if unknown else 0.1,
        "text": f"{first['common_name']}.",
        "predictions": [
            {"label": LABELS[i]["label"], "probability": probability[i]} for i in order
        ],
        **{"width": 640, "height": 480, "crop": [200, 100, 220, 220], "crop_from": "finder"},
        "boxes": [{"left": 210.0, "top": 120.5, "width": 200.0, "height": 180.0, "score": 0.8}],
        **{"taken": taken, "utc_offset": "+02:00", "camera": "Drawn Camera 1"},
        **{"latitude": 50.5, "longitude": 4.25},
    }


def write_sample_results(folder: Path, count: int = 200, seed: int = 0) -> Path:
    """Write a finished job of `count` photos into a folder, in two Parquet files; return it."""
    generator = np.random.default_rng(seed)
    rows = [sample_row(number, generator) for number in range(count)]
    (folder / "photos").mkdir(parents=True)
    for part, chosen in enumerate((rows[::2], rows[1::2])):
        table = pa.Table.from_pylist(chosen, SCHEMA)
        pq.write_table(table, folder / f"photos/part-{part:06}.parquet")
    manifest = {
        "version": VERSION,
        "model": {"name": "drawn", "version": "1", "sha256": "0" * 64},
        "finder": None,
        "labels": LABELS,
        "thresholds": {"shortlist": {"method": "lac", "threshold": 0.8, "level": 0.95}},
        "options": {"crop": "auto", "exif": True, "embedding": False},
        "sources": ["photos"],
        "folder": str(folder.parent),
        "started": "2026-11-28T10:00:00+00:00",
        "finished": "2026-11-28T10:01:00+00:00",
        "photos": count,
    }
    write_json(folder / "job.json", manifest)
    return folder

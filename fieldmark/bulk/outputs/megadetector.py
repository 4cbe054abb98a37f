"""Write results as MegaDetector JSON, version 1.6 of its format.

The format is described at https://lila.science/megadetector-output-format.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from fieldmark.bulk.outputs.boxes import RelativeBox, classified_box, finder_box, relative_box
from fieldmark.bulk.outputs.tables import open_output, read_rows
from fieldmark.bulk.results import Results

FORMAT_VERSION, ANIMAL = "1.6", "1"
COLUMNS = ["path", "kind", "probability", "predictions", "width", "height"]
COLUMNS += ["crop", "crop_from", "boxes", "error"]


def write_megadetector(results: Results, path: Path) -> None:
    """Write a MegaDetector JSON file, an image per photo in no particular order."""
    labels = [label["label"] for label in results.manifest["labels"]]
    numbers = {label: str(number) for number, label in enumerate(labels)}
    head = {
        "info": describe(results.manifest),
        "detection_categories": {ANIMAL: "animal"},
        "classification_categories": {number: label for label, number in numbers.items()},
    }
    with open_output(path) as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [')
        separator = "\n"
        for row in read_rows(results, COLUMNS):
            image = {"file": row["path"].replace("\\", "/"), **describe_image(row, numbers)}
            file.write(separator + json.dumps(image, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]}\n")


def describe(manifest: dict) -> dict[str, Any]:
    """Return `info`: the format, the models and when they ran."""
    model, finder = manifest["model"], manifest["finder"]
    time = datetime.fromisoformat(manifest["finished"] or manifest["started"])
    time = time.strftime("%Y-%m-%d %H:%M:%S")
    return {
        "format_version": FORMAT_VERSION,
        "detector": f"{finder['name']} {finder['version']}" if finder else "none",
        "detector_metadata": finder or {},
        "detection_completion_time": time,
        "classifier": f"{model['name']} {model['version']}",
        "classifier_metadata": model,
        "classification_completion_time": time,
    }


def describe_image(row: dict, numbers: dict[str, str]) -> dict[str, Any]:
    """Return the detections of a row's photo, or why it could not be read.

    `numbers` are the categories of labels. Where nothing was found but the middle of the photo was
    recognized, this square is the detection, with the label's probability as its confidence.
    """
    if row["error"] is not None:
        return {"failure": row["error"], "detections": None}
    boxes = [detection(finder_box(row, box), box["score"]) for box in row["boxes"] or []]
    if row["kind"] != "unknown":
        position = classified_box(row)
        if position is None:
            boxes.append(detection(relative_box(row, *row["crop"]), row["probability"]))
            position = -1
        boxes[position]["classifications"] = [
            [numbers[p["label"]], round(float(p["probability"]), 4)] for p in row["predictions"]
        ]
    return {"detections": boxes}


def detection(box: RelativeBox, confidence: float) -> dict[str, Any]:
    """Return an animal at a box."""
    return {"category": ANIMAL, "conf": round(float(confidence), 4), "bbox": list(box)}
